/* SPDX-License-Identifier: MIT */
/* fuzz/offer_fuzz.c: an offer and an answer, any two descriptions, under any policy. What is read of them stays within
 * bounds; what is made of them parses, has the offer's lines, explains its payload types, says no address but ours, and
 * fits its plan.
 *
 *   two octets of settings, the offer, 0xff, the answer (none: our own offer comes back as its answer) */
#include <stdlib.h>

#include "offer/offer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WEB_BITS = 3, ARENA_CAP = 8 << 20 };

static struct arena arena;
static struct offer_ours ours;
static struct offer_policy policy;
static struct offer_reasons why;
static struct offer_plan plan;

static void must(bool holds)
{
    if (!holds)
        abort();
}

/* ---- reading ---- */

static void check_read(const struct offer_session *s)
{
    must(s->n <= OFFER_MEDIA_MAX && s->n + s->lost == s->text->n_media);
    for (unsigned i = 0; i < s->n; i++) {
        const struct offer_media *m = &s->media[i];
        must(m->codecs_n <= OFFER_CODECS_MAX && m->cryptos_n <= OFFER_CRYPTOS_MAX);
        must(m->fingerprints_n <= OFFER_FINGERPRINTS_MAX);
        must(m->candidates_n <= OFFER_CANDIDATES_MAX);
        must(!m->bundled || (m->bundle_with < s->n && !s->media[m->bundle_with].bundled));
        must(!m->ice || (m->ufrag.n >= 4 && m->pwd.n >= 22));
        for (unsigned k = 0; k < m->codecs_n; k++)
            for (unsigned n = 0; n < k; n++)
                must(m->codecs[n].pt != m->codecs[k].pt);
        for (unsigned k = 0; k < m->cryptos_n; k++)
            must(m->cryptos[k].suite < SUITES);
    }
}

/* What is taken for plain at first sight is so when it is read. */
static void check_plain(sv text, const struct offer_session *s)
{
    struct offer_party a = {.web = false}, b = {.web = false};
    sv reason;
    a.source = s->n > 0 ? s->media[0].rtp : (struct offer_ip){.n = 4};
    b.source = a.source;
    if (!offer_way_plain(text, &a, &b, &reason))
        return;
    must(s->n > 0 && offer_way(s, &a, &b, &reason) == OFFER_DIRECT);
    for (unsigned i = 0; i < s->n; i++)
        must(!s->media[i].refused && s->media[i].keying == OFFER_PLAIN && !s->media[i].ice);
}

static struct offer_session *read_any(sv text)
{
    struct sdp *sdp = ARENA_NEW(&arena, struct sdp);
    struct offer_session *s = arena_calloc(&arena, 1, sizeof *s);
    struct sdp_fault fault = {0};
    must(sdp && s);
    if (sdp_parse(text, &arena, sdp, &fault) != ERR_OK)
        return NULL;
    enum err rc = offer_read(sdp, &arena, s, &fault);
    must(rc == ERR_OK || (rc == ERR_SYNTAX && fault.why));
    if (rc)
        return NULL;
    check_read(s);
    check_plain(text, s);
    return s;
}

/* ---- what is made ---- */

static const struct offer_codec *by_pt(const struct offer_media *m, unsigned pt)
{
    for (unsigned i = 0; i < m->codecs_n; i++)
        if (m->codecs[i].pt == pt)
            return &m->codecs[i];
    return NULL;
}

static bool is_ours(const uint8_t *ip, uint8_t n)
{
    const struct offer_ours_media *m = &ours.media[0];
    return (n == m->rtp.n && memcmp(ip, m->rtp.ip, n) == 0) ||
           (n == m->more[0].n && memcmp(ip, m->more[0].ip, n) == 0);
}

static struct offer_session *check_made(sv text, const struct offer_session *offer)
{
    struct offer_session *s = read_any(text);
    must(s && s->text->n_media == offer->text->n_media);
    for (size_t i = 0; i < s->text->n_media; i++)
        must(sv_eq(s->text->media[i].type, offer->text->media[i].type));
    for (unsigned i = 0; i < s->n; i++) {
        const struct offer_media *m = &s->media[i];
        if (m->refused)
            continue;
        must(m->kind != OFFER_OTHER && is_ours(m->rtp.ip, m->rtp.n));
        must(m->kind == OFFER_T38 || (m->codecs_n == m->text->n_formats && m->codecs_lost == 0));
        must(m->cryptos_lost == 0 && m->fingerprints_n <= 1);
        must(!m->ice || sv_eq(m->ufrag, ours.ufrag));
        for (unsigned k = 0; k < m->candidates_n; k++)
            must(is_ours(m->candidates[k].ip, m->candidates[k].ip_n));
    }
    return s;
}

static void check_why(enum err rc)
{
    must(why.n <= OFFER_REASONS_MAX && (rc == ERR_OK || rc == ERR_TOOBIG || why.n > 0));
    for (unsigned i = 0; i < why.n; i++)
        for (size_t k = 0; k < why.line[i].n; k++)
            must((unsigned char)why.line[i].p[k] >= ' ' && why.line[i].p[k] != '"');
}

static void check_maps(const struct offer_stream *s)
{
    bool transcodes = false, sound = false;
    for (int way = 0; way < 2; way++) {
        must(s->map_n[way] <= OFFER_CODECS_MAX);
        for (unsigned k = 0; k < s->map_n[way]; k++) {
            const struct offer_map *m = &s->map[way][k];
            must(m->from == m->in.pt && m->to == m->out.pt && m->from < 128);
            must(m->to < 128 || (m->to == OFFER_NO_PT && m->transcode));
            must(m->transcode || m->in.clock_hz == m->out.clock_hz);
            for (unsigned n = 0; n < k; n++)
                must(s->map[way][n].from != m->from);
            transcodes = transcodes || m->transcode;
            sound = sound || (m->transcode && m->in.id != CODEC_EVENT); /* a key becomes INFO */
        }
    }
    must(transcodes == s->transcodes);
    must(policy.transcode || !sound);
}

static void check_answer(const struct offer_session *offer, const struct offer_session *answer)
{
    must(plan.n == offer->n);
    for (unsigned i = 0; i < plan.n; i++) {
        const struct offer_media *o = &offer->media[i], *r = &answer->media[i];
        const struct offer_stream *s = &plan.streams[i];
        must(s->refused == r->refused && s->kind == o->kind);
        if (r->refused)
            continue;
        must(!o->refused && sv_eq(o->text->proto, r->text->proto));
        must(r->cryptos_n == (s->leg[0].keying == OFFER_SDES));
        must(policy.srtp != OFFER_SRTP_REQUIRE || s->leg[0].keying != OFFER_PLAIN);
        must(policy.srtp != OFFER_SRTP_NEVER || s->leg[0].keying == OFFER_PLAIN);
        /* RFC 9143 §7.3.1: with the line that heads the answer's bundle, which may not head the offer's */
        must(!r->ice || o->ice || (r->bundled && offer->media[r->bundle_with].ice));
        must(!r->mux || o->mux);
        must(!r->bundle || o->bundle);
        must(r->direction == SDP_INACTIVE || o->direction != SDP_INACTIVE);
        for (unsigned k = 0; k < r->codecs_n; k++) {
            const struct offer_codec *c = by_pt(o, r->codecs[k].pt);
            must(c && c->id == r->codecs[k].id && sv_ieq(c->name, r->codecs[k].name));
        }
        check_maps(s);
        for (int side = 0; side < 2; side++) {
            const struct offer_leg *leg = &s->leg[side];
            must(leg->keying != OFFER_DTLS || leg->fingerprints_n > 0);
            must(leg->keying != OFFER_SDES || leg->ours.suite == leg->theirs.suite);
            must(!leg->bundled ||
                 (leg->bundle_with < plan.n && !plan.streams[leg->bundle_with].refused &&
                  !plan.streams[leg->bundle_with].leg[side].bundled));
            must(!leg->ice || leg->ufrag.n > 0);
        }
    }
}

static void run_answer(const struct offer_session *offer, const struct offer_session *passed,
                       const struct offer_session *reply)
{
    sv text;
    enum err rc =
        offer_answer(offer, passed, reply, &policy, &ours, &ours, &arena, &text, &plan, &why);
    must(rc == ERR_OK || rc == ERR_UNSUPPORTED || rc == ERR_DENIED || rc == ERR_SYNTAX ||
         rc == ERR_TOOBIG);
    check_why(rc);
    if (rc == ERR_OK)
        check_answer(offer, check_made(text, offer));
}

/* ---- settings ---- */

static const struct offer_ip more = {.ip = {0x20, 1, 0xd, 0xb8, 1}, .n = 16, .port = 31000};

static void settle(uint8_t a, uint8_t b)
{
    memset(&ours, 0, sizeof ours);
    for (unsigned i = 0; i < OFFER_MEDIA_MAX; i++) {
        struct offer_ours_media *m = &ours.media[i];
        m->rtp =
            (struct offer_ip){.ip = {203, 0, 113, 1}, .n = 4, .port = (uint16_t)(30000 + 2 * i)};
        m->rtcp = m->rtp;
        m->rtcp.port += b & 1;
        for (enum offer_suite s = 0; s < ((b & 2) ? SUITES : 2); s++) {
            struct offer_key *k = &m->keys[m->keys_n++];
            k->suite = s;
            offer_key_lengths(s, &k->key_n, &k->salt_n);
        }
        m->more = &more;
        m->more_n = b >> 2 & 1;
    }
    if (b & 8)
        ours.media[2].rtp.n = 0;
    if (b & 16)
        ours.media[1].rtp = ours.media[1].rtcp = ours.media[0].rtp;
    ours.fingerprint = b & 32 ? SV_NONE : SV("sha-256 01:02");
    ours.ufrag = b & 64 ? SV_NONE : SV("ours");
    ours.pwd = b & 64 ? SV_NONE : SV("0123456789012345678901");
    ours.setup = b & 128 ? SDP_ACTIVE : SDP_ACTPASS;
    policy = (struct offer_policy){
        .srtp = (a >> 2 & 3) == 3 ? OFFER_SRTP_PREFER : (enum offer_srtp)(a >> 2 & 3),
        .codecs = {CODEC_OPUS, CODEC_G722, CODEC_PCMA, CODEC_PCMU, CODEC_L16},
        .codecs_n = 5,
        .transcode = !(a & 16),
        .t38 = !(a & 32),
        .dtmf = (enum offer_dtmf)(a >> 6),
        .keys = {{b & 1, b & 2, b & 4}, {b & 2, b & 4, b & 1}},
    };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t none[2];
    sv rest = {(const char *)(size < 2 ? none : data + 2), size < 2 ? 0 : size - 2};
    size_t at = sv_chr(rest, (char)0xff);
    settle(size < 2 ? 0 : data[0], size < 2 ? 0 : data[1]);
    arena_init(&arena, NULL, 0, ARENA_CAP);
    sv text;
    const struct offer_session *offer = read_any(sv_sub(rest, 0, at));
    const struct offer_session *reply = at < rest.n ? read_any(sv_sub(rest, at + 1, rest.n)) : NULL;
    if (offer) {
        enum err rc = offer_accept(offer, &policy, &ours, &arena, &text, &plan, &why);
        must(rc == ERR_OK || rc == ERR_UNSUPPORTED || rc == ERR_DENIED || rc == ERR_TOOBIG);
        check_why(rc);
        if (rc == ERR_OK)
            check_answer(offer, check_made(text, offer));
        enum offer_profile profile = (size < 2 ? 0 : data[0]) & WEB_BITS;
        rc = offer_pass(offer, &policy, profile, &ours, &arena, &text, &why);
        must(rc == ERR_OK || rc == ERR_UNSUPPORTED || rc == ERR_DENIED || rc == ERR_TOOBIG);
        check_why(rc);
        if (rc == ERR_OK) {
            const struct offer_session *passed = check_made(text, offer);
            run_answer(offer, passed, passed);
            if (reply)
                run_answer(offer, passed, reply);
        }
    }
    arena_done(&arena);
    return 0;
}
