/* SPDX-License-Identifier: MIT */
/* A session in octets. One walk over it both writes and reads, so that the two cannot differ. Times are written as
 * how long ago they were.
 *
 *   "TSES" | version (2) | length of the body (4) | its CRC-32C (4) | body */
#include "crypto/crypto.h"
#include "session/session_priv.h"
#include "str/form.h"

enum { VERSION = 3, HEAD = 14, NO_LINE = 255 };
static const char magic[4] = {'T', 'S', 'E', 'S'};
#define AGE_MAX   (10000 * USEC_DAY)
#define COUNT_MAX (1ULL << 48)

struct walk {
    struct buf *b; /* NULL: it reads */
    struct form_reader r;
    struct session *s;
    usec now;
    bool ahead;
    enum err rc; /* of reading, beyond what r knows */
};

static bool reads(const struct walk *w)
{
    return !w->b;
}

static void fail(struct walk *w, enum err rc)
{
    if (!w->rc)
        w->rc = rc;
    w->r.bad = true;
}

/* ---- fields ---- */

static uint64_t number(struct walk *w, uint64_t v, unsigned octets, uint64_t max)
{
    if (reads(w))
        return form_get(&w->r, octets, max);
    form_put(w->b, v, octets);
    return v;
}
/* A field of an unsigned type, or an enumeration, or a bool (max 1). */
#define NUMBER(w, field, max) \
    ((field) = (__typeof__(field))number((w), (uint64_t)(field), sizeof(field), (max)))

static void octets(struct walk *w, void *p, size_t n)
{
    const uint8_t *from = reads(w) ? form_get_mem(&w->r, n) : NULL;
    if (from)
        memcpy(p, from, n);
    else if (!reads(w))
        buf_mem(w->b, p, n);
}

/* 0 and USEC_NEVER mean something of their own. */
static void moment(struct walk *w, usec *t)
{
    enum { NEVER = 1, ZERO = 2, AGE };
    uint64_t v = *t == USEC_NEVER ? NEVER
                 : *t == 0        ? ZERO
                                  : (uint64_t)(w->now - *t + AGE_MAX + AGE);
    v = number(w, v, 8, 2 * (uint64_t)AGE_MAX);
    if (reads(w))
        *t = v < AGE ? (v == NEVER ? USEC_NEVER : 0) : w->now + AGE_MAX + AGE - (usec)v;
}

static void address(struct walk *w, struct addr *a)
{
    NUMBER(w, a->family, 6);
    if (a->family != 0 && a->family != 4 && a->family != 6)
        w->r.bad = true;
    if (a->family == 0)
        return;
    octets(w, a->ip, a->family == 4 ? 4 : 16);
    NUMBER(w, a->scope, UINT32_MAX);
    NUMBER(w, a->port, UINT16_MAX);
}

/* ---- whom a port listens to ---- */

static void path(struct walk *w, struct relay_path *p, const struct session_party *party)
{
    address(w, &p->peer.told);
    p->peer.party = party->source;
    p->peer.trusted = party->trusted;
    NUMBER(w, p->ice, 1);
    NUMBER(w, p->valid_n, RELAY_VALID_MAX);
    for (unsigned i = 0; i < p->valid_n; i++)
        address(w, &p->valid[i]);
    address(w, &p->to);
    address(w, &p->other);
    address(w, &p->former);
    moment(w, &p->since);
    moment(w, &p->until);
    NUMBER(w, p->proved, 1);
    NUMBER(w, p->secure, 1);
    NUMBER(w, p->unproved, UINT32_MAX);
    if (reads(w))
        p->named = p->to.family != 0 && addr_equal(&p->to, &p->peer.told);
}

static void pair(struct walk *w, struct ice_lite_pair *p)
{
    address(w, &p->remote);
    NUMBER(w, p->socket, UINT8_MAX);
    NUMBER(w, p->former, 1);
    NUMBER(w, p->repeats, 1);
    NUMBER(w, p->priority, UINT32_MAX);
    moment(w, &p->heard);
    moment(w, &p->nominated);
    moment(w, &p->since);
}

static void checks(struct walk *w, struct ice_lite *l)
{
    octets(w, &l->ours, sizeof(l->ours));
    octets(w, &l->former, sizeof(l->former));
    NUMBER(w, l->restarting, 1);
    NUMBER(w, l->components, ICE_COMPONENTS_MAX);
    NUMBER(w, l->watched, 1);
    for (unsigned i = 0; i < ICE_COMPONENTS_MAX; i++) {
        struct ice_lite_component *c = &l->component[i];
        uint8_t selected = (uint8_t)(c->selected + 1);
        NUMBER(w, c->n, ICE_LITE_PAIRS);
        NUMBER(w, selected, c->n);
        c->selected = (int8_t)(selected - 1);
        for (unsigned k = 0; k < c->n; k++)
            pair(w, &c->pair[k]);
        pair(w, &c->lost);
    }
}

static void ice(struct walk *w, struct transport *t)
{
    bool there = t->ice;
    NUMBER(w, there, 1);
    if (!there)
        return;
    if (!t->ice) {
        t->ice = MEM_TAKE(struct ice_lite);
        if (!t->ice) {
            fail(w, ERR_NOMEM);
            return;
        }
        ice_lite_init(t->ice, &w->s->ice[t->side], RELAY_COMPONENTS, ICE_LITE_SILENCE_S * USEC_S);
    }
    checks(w, t->ice);
    if (t->ice->components == 0)
        w->r.bad = true;
}

/* ---- keys ---- */

static void put_context(struct walk *w, struct srtp_context *c)
{
    size_t at = w->b->n;
    form_put(w->b, 0, 2);
    if (w->ahead)
        srtp_context_save_ahead(c, w->b);
    else
        srtp_context_save(c, w->b);
    if (!w->b->rc)
        rtpmsg_set_u16(w->b->p, at, (uint16_t)(w->b->n - at - 2));
}
_Static_assert(SRTP_SAVED_MAX <= UINT16_MAX, "its length has two octets");

static void get_context(struct walk *w, struct srtp_context **c, enum srtp_role role)
{
    sv form = form_get_octets(&w->r, SRTP_SAVED_MAX);
    *c = form.p ? MEM_TAKE(struct srtp_context) : NULL;
    if (!*c) {
        fail(w, form.p ? ERR_NOMEM : ERR_CORRUPT);
        return;
    }
    enum err rc = srtp_context_load(*c, w->s->all->engine, form);
    if (!rc && (*c)->role == role)
        return;
    srtp_context_done(*c);
    MEM_GIVE(*c);
    *c = NULL;
    fail(w, rc ? rc : ERR_CORRUPT);
}

static void context(struct walk *w, struct srtp_context **c, enum srtp_role role)
{
    bool there = *c;
    NUMBER(w, there, 1);
    if (there && reads(w))
        get_context(w, c, role);
    else if (there)
        put_context(w, *c);
}

static void certificates(struct walk *w, struct transport *t)
{
    NUMBER(w, t->dtls_client, 1);
    NUMBER(w, t->other_certificate, 1);
    NUMBER(w, t->trust_n, OFFER_FINGERPRINTS_MAX);
    for (unsigned i = 0; i < t->trust_n; i++) {
        struct trusted *x = &t->trust[i];
        NUMBER(w, x->hash_n, sizeof(x->hash));
        NUMBER(w, x->n, sizeof(x->digest));
        octets(w, x->hash, x->hash_n);
        octets(w, x->digest, x->n);
    }
}

static void names(struct walk *w, struct transport *t)
{
    uint8_t n = t->outgoing ? (uint8_t)t->outgoing->n : 0;
    NUMBER(w, n, OUTGOING);
    if (n == 0)
        return;
    if (!t->outgoing && !(t->outgoing = MEM_TAKE(struct outgoings))) {
        fail(w, ERR_NOMEM);
        return;
    }
    t->outgoing->n = n;
    for (unsigned i = 0; i < n; i++) {
        struct outgoing *e = &t->outgoing->e[i];
        NUMBER(w, e->in, UINT32_MAX);
        NUMBER(w, e->out, UINT32_MAX);
        NUMBER(w, e->ahead, UINT16_MAX);
    }
}

/* ---- transports and lines ---- */

static void transport(struct walk *w, unsigned side, unsigned line)
{
    struct transport *t = w->s->transport[side][line];
    uint16_t port = t ? t->relay.first : 0;
    NUMBER(w, port, UINT16_MAX);
    if (port == 0 && !w->r.bad) /* a line that is refused */
        return;
    if (reads(w)) {
        enum err rc = w->r.bad ? ERR_CORRUPT : session_open_transport(w->s, side, line, port);
        if (rc) {
            fail(w, rc);
            return;
        }
        t = w->s->transport[side][line];
    }
    NUMBER(w, t->relay.mux, 1);
    NUMBER(w, t->relay.opaque, 1);
    NUMBER(w, t->open, 1);
    NUMBER(w, t->shared, 1);
    NUMBER(w, t->keying, OFFER_KEYINGS - 1);
    NUMBER(w, t->generation, UINT64_MAX);
    NUMBER(w, t->ice_theirs, UINT64_MAX);
    NUMBER(w, t->foreign, UINT64_MAX);
    NUMBER(w, t->refused, UINT64_MAX);
    NUMBER(w, t->sources_n, SOURCES);
    for (unsigned i = 0; i < t->sources_n; i++) {
        NUMBER(w, t->source[i].ssrc, UINT32_MAX);
        NUMBER(w, t->source[i].line, w->s->lines - 1);
    }
    for (unsigned c = 0; c < RELAY_COMPONENTS; c++) {
        path(w, &t->relay.path[c], &w->s->party[side]);
        context(w, &t->in[c], SRTP_RECEIVER);
        context(w, &t->out[c], SRTP_SENDER);
        address(w, &t->dtls_peer[c]);
    }
    certificates(w, t);
    names(w, t);
    ice(w, t);
}

static const struct quality_codec *const sounds[] = {&quality_unknown, &quality_g711, &quality_g722,
                                                     &quality_opus};
enum { SOUNDS = sizeof(sounds) / sizeof(sounds[0]) };

static void sound(struct walk *w, const struct quality_codec **c)
{
    uint8_t i = SOUNDS - 1;
    while (!reads(w) && i > 0 && sounds[i] != *c)
        i--;
    NUMBER(w, i, SOUNDS - 1);
    *c = sounds[i];
}

/* The figures of the whole call; intervals begin anew. */
static void quality(struct walk *w, struct leg *l)
{
    struct quality_counts *c = &l->quality.in.total;
    uint64_t jitter_us = (uint64_t)c->jitter_sum;
    NUMBER(w, l->clock_hz, 192000);
    if (l->clock_hz == 0)
        return;
    if (reads(w))
        quality_leg_init(&l->quality, l->clock_hz);
    sound(w, &l->quality.codec_in);
    sound(w, &l->quality.codec_out);
    NUMBER(w, c->expected, COUNT_MAX);
    NUMBER(w, c->received, COUNT_MAX);
    NUMBER(w, c->duplicates, COUNT_MAX);
    NUMBER(w, c->reordered, COUNT_MAX);
    NUMBER(w, c->late, COUNT_MAX);
    NUMBER(w, c->octets, COUNT_MAX);
    NUMBER(w, jitter_us, COUNT_MAX);
    NUMBER(w, c->jitter_n, COUNT_MAX);
    NUMBER(w, l->lost_told, COUNT_MAX);
    if (!reads(w))
        return;
    if (jitter_us / USEC_MIN > c->jitter_n) /* each of them is below a second */
        w->r.bad = true;
    c->jitter_sum = (double)jitter_us;
    l->quality.before = *c;
}

static void coder(struct walk *w, struct leg *l)
{
    bool there = l->coder;
    struct transcode_config c = {0};
    NUMBER(w, there, 1);
    if (!there)
        return;
    if (!reads(w)) {
        transcode_save(l->coder, w->b);
        return;
    }
    transcode_load(&w->r, &c);
    enum err rc = w->r.bad ? ERR_CORRUPT : session_coder_resume(l, &c);
    if (rc)
        fail(w, rc == ERR_NOMEM ? rc : ERR_CORRUPT);
}

static void leg(struct walk *w, unsigned line, unsigned side)
{
    struct leg *l = &w->s->stream[line].leg[side];
    uint8_t with = l->transport ? l->transport->line : NO_LINE;
    NUMBER(w, with, UINT8_MAX);
    if (with != NO_LINE && with >= w->s->lines) {
        w->r.bad = true;
        return;
    }
    l->transport = with == NO_LINE ? NULL : w->s->transport[side][with];
    NUMBER(w, l->send, 1);
    NUMBER(w, l->receive, 1);
    octets(w, l->to, sizeof(l->to));
    NUMBER(w, l->packets, UINT64_MAX);
    NUMBER(w, l->octets, UINT64_MAX);
    NUMBER(w, l->sent, UINT64_MAX);
    NUMBER(w, l->ssrc, UINT32_MAX);
    NUMBER(w, l->heard, 1);
    NUMBER(w, l->tells, 1);
    octets(w, l->event_pt, sizeof(l->event_pt));
    NUMBER(w, l->events_heard, 1);
    quality(w, l);
    coder(w, l);
}

/* ---- the session ---- */

static void party(struct walk *w, struct session_party *p)
{
    address(w, &p->local);
    address(w, &p->advertise);
    address(w, &p->source);
    NUMBER(w, p->trusted, 1);
    if (p->local.family == 0)
        w->r.bad = true;
}

/* Of the certificate that our side of associations has shown. */
static bool same_certificate(struct walk *w)
{
    uint8_t ours[SHA256_LEN], theirs[SHA256_LEN];
    const struct dtls_shared *d = w->s->all->shared->dtls;
    sv fingerprint = d ? dtls_shared_fingerprint(d) : SV("");
    crypto_sha256(&fingerprint, 1, ours);
    memcpy(theirs, ours, sizeof(ours));
    octets(w, theirs, sizeof(theirs));
    return memcmp(ours, theirs, sizeof(ours)) == 0;
}

static void resume_keys(struct transport *t, bool same)
{
    t->kept = t->keying == OFFER_DTLS && t->in[RELAY_RTP] && t->out[RELAY_RTP];
    t->other_certificate |= !same;
}

static void whole(struct walk *w)
{
    struct session *s = w->s;
    uint8_t lines = (uint8_t)s->lines;
    uint64_t reserved = s->reserved;
    for (unsigned side = 0; side < SESSION_SIDES; side++) {
        party(w, &s->party[side]);
        NUMBER(w, s->version[side], UINT64_MAX);
        octets(w, &s->ice[side], sizeof(s->ice[side]));
    }
    NUMBER(w, s->applied, 1);
    NUMBER(w, s->number, UINT64_MAX);
    NUMBER(w, s->ssrc, UINT32_MAX);
    NUMBER(w, s->cname_n, sizeof(s->cname));
    octets(w, s->cname, s->cname_n);
    octets(w, s->secret, sizeof(s->secret));
    NUMBER(w, lines, OFFER_MEDIA_MAX);
    NUMBER(w, s->planned, lines);
    bool same = same_certificate(w);
    s->lines = lines;
    for (unsigned i = 0; i < lines && !w->r.bad; i++) {
        for (unsigned side = 0; side < SESSION_SIDES && !w->r.bad; side++)
            transport(w, side, i);
        w->r.bad |= !s->transport[SESSION_OFFERER][i] != !s->transport[SESSION_ANSWERER][i];
    }
    for (unsigned i = 0; i < lines && !w->r.bad; i++) {
        NUMBER(w, s->stream[i].kind, OFFER_OTHER);
        NUMBER(w, s->stream[i].refused, 1);
        for (unsigned side = 0; side < SESSION_SIDES && !w->r.bad; side++) {
            struct transport *t = s->transport[side][i];
            leg(w, i, side);
            if (reads(w) && t)
                resume_keys(t, same);
        }
    }
    NUMBER(w, reserved, OFFER_BANDWIDTH_MAX);
    (void)session_hold(s, reserved, 0); /* it stands: no cap is asked */
}

/* ---- writing ---- */

enum err session_save(struct sessions *m, struct session_id id, enum session_form form,
                      struct buf *b)
{
    struct session *s = session_find(m, id);
    if (!s)
        return ERR_NOTFOUND;
    if (s->alone)
        return ERR_UNSUPPORTED;
    struct walk w = {.b = b, .s = s, .now = loop_now(m->loop), .ahead = form == SESSION_AHEAD};
    size_t at = b->n;
    buf_mem(b, magic, sizeof(magic));
    form_put(b, VERSION, 2);
    form_put(b, 0, 8);
    whole(&w);
    if (b->rc)
        return b->rc;
    s->handed = form == SESSION_LAST;
    rtpmsg_set_u32(b->p, at + 6, (uint32_t)(b->n - at - HEAD));
    rtpmsg_set_u32(b->p, at + 10, crypto_crc32c(0, b->p + at + HEAD, b->n - at - HEAD));
    return ERR_OK;
}

/* ---- reading ---- */

static bool open_form(sv octets, struct form_reader *ret_body)
{
    struct form_reader r = form_reader(octets);
    const uint8_t *m = form_get_mem(&r, sizeof(magic));
    uint64_t version = form_get(&r, 2, VERSION), n = form_get(&r, 4, SESSION_SAVED_MAX);
    uint32_t sum = (uint32_t)form_get(&r, 4, UINT32_MAX);
    *ret_body = r;
    return !r.bad && memcmp(m, magic, sizeof(magic)) == 0 && version == VERSION &&
           form_left(&r) == n && crypto_crc32c(0, r.p, n) == sum;
}

/* Timers, and what a machine that is gone had begun. */
static enum err resume(struct session *s)
{
    for (unsigned i = 0; i < s->lines; i++) {
        for (unsigned side = 0; side < SESSION_SIDES; side++) {
            struct transport *t = s->transport[side][i];
            if (!t)
                continue;
            TRY(session_dtls_resume(t));
            session_timer(t);
        }
    }
    if (s->applied)
        session_start(s);
    return ERR_OK;
}

/* Nobody has heard it: it is not judged. */
static void discard(struct session *s)
{
    for (unsigned i = 0; i < OFFER_MEDIA_MAX; i++)
        s->stream[i].leg[SESSION_OFFERER].clock_hz = s->stream[i].leg[SESSION_ANSWERER].clock_hz =
            0;
    session_free(s);
}

enum err session_restore(struct sessions *m, sv octets, const struct session_handler *h, void *arg,
                         struct session_id *ret_id)
{
    struct walk w = {.now = loop_now(m->loop)};
    if (!open_form(octets, &w.r))
        return ERR_CORRUPT;
    w.s = session_blank(m, h, arg);
    if (!w.s)
        return ERR_BUSY;
    whole(&w);
    if (w.r.bad || form_left(&w.r) > 0)
        fail(&w, ERR_CORRUPT);
    enum err rc = w.rc;
    if (!rc)
        rc = resume(w.s);
    if (!rc)
        rc = session_enter(m, w.s);
    if (rc) {
        discard(w.s);
        return rc;
    }
    *ret_id = w.s->id;
    return ERR_OK;
}
