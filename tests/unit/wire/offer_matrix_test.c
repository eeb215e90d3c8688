/* SPDX-License-Identifier: MIT */
/* Each kind of client with each: what is put to the callee, what the caller hears, and the plan hold what RFC 3264 and
 * the rules of each kind want, and show neither side the other's addresses and keys. */
#include "offer_world.h"

static const char ours_a_ip[] = "203.0.113.1", ours_b_ip[] = "203.0.113.2";

/* Of one pair of clients. */
struct call {
    const struct client *caller, *callee;
    struct offer_policy policy;
    sv passed_text, answer_text;
    struct offer_session *offer, *passed, *answered, *answer;
    struct offer_plan plan;
    struct offer_reasons why;
};

#define MUST(c, cond)                                                                              \
    do {                                                                                           \
        if (!(cond))                                                                               \
            fail_msg("%s -> %s: not %s\npassed:\n" SV_FMT "\nanswer:\n" SV_FMT, (c)->caller->name, \
                     (c)->callee->name, #cond, SV_ARG((c)->passed_text),                           \
                     SV_ARG((c)->answer_text));                                                    \
    } while (0)

static bool listed(const struct sdp_media *m, unsigned pt)
{
    char text[8];
    snprintf(text, sizeof text, "%u", pt);
    for (size_t i = 0; i < m->n_formats; i++)
        if (sv_eq(m->formats[i], sv_of(text)))
            return true;
    return false;
}

static const struct offer_codec *by_pt(const struct offer_media *m, unsigned pt)
{
    for (unsigned i = 0; i < m->codecs_n; i++)
        if (m->codecs[i].pt == pt)
            return &m->codecs[i];
    return NULL;
}

static bool alike(const struct offer_codec *a, const struct offer_codec *b)
{
    return a && b && a->id == b->id && sv_ieq(a->name, b->name) && a->clock_hz == b->clock_hz;
}

/* ---- any description of ours ---- */

static void check_lines(struct call *c, const struct offer_session *like,
                        const struct offer_session *made, const char *our_ip)
{
    MUST(c, made->text->n_media == like->text->n_media);
    for (unsigned i = 0; i < made->n; i++) {
        const struct offer_media *m = &made->media[i];
        MUST(c, sv_eq(m->text->type, like->media[i].text->type));
        if (m->refused)
            continue;
        MUST(c, sv_eq(sdp_conn_of(made->text, m->text)->address, sv_of(our_ip)));
        /* each payload type is explained, once */
        MUST(c, m->kind == OFFER_T38 || m->codecs_n == m->text->n_formats);
        for (unsigned k = 0; k < m->codecs_n; k++)
            MUST(c, listed(m->text, m->codecs[k].pt));
        const struct sdp_attr *attr = NULL;
        while ((attr = sdp_attr_next(&m->text->attrs, attr, SV("rtpmap")))) {
            struct sdp_rtpmap map;
            MUST(c, sdp_rtpmap_read(attr->value, &map) == ERR_OK && listed(m->text, map.pt));
        }
        while ((attr = sdp_attr_next(&m->text->attrs, attr, SV("rtcp-fb")))) {
            sv rest = attr->value, word;
            uint64_t pt = 0;
            MUST(c, sdp_word_next(&rest, &word));
            MUST(c, sv_eq(word, SV("*")) ||
                        (sv_u64(word, 127, &pt) == ERR_OK && listed(m->text, (unsigned)pt)));
        }
    }
}

/* Nothing that is one side's own. */
static void check_secrets(struct call *c, sv text, const struct client *other)
{
    static const char *const secrets[] = {KEY_A,       KEY_B,       PRINT_A,      "fragA", "fragB",
                                          "passwordA", "passwordB", "x-bypassid", "a=tool"};
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
        MUST(c, !holds(text, secrets[i]));
    MUST(c, !holds(text, other->address));
    MUST(c, !holds(text, "127.0.0.1"));
    MUST(c, !holds(text, ".26\r\n"));
}

/* ---- what the callee is offered ---- */

static void check_codecs_pass(struct call *c, const struct offer_media *o,
                              const struct offer_media *p)
{
    for (unsigned k = 0; k < o->codecs_n; k++) { /* first, in order, by number */
        MUST(c, k < p->codecs_n && p->codecs[k].pt == o->codecs[k].pt);
        MUST(c, alike(&p->codecs[k], &o->codecs[k]));
        MUST(c, sv_eq(p->codecs[k].fmtp, o->codecs[k].fmtp));
    }
    MUST(c, o->kind == OFFER_AUDIO || p->codecs_n == o->codecs_n);
    for (unsigned k = o->codecs_n; k < p->codecs_n; k++)
        MUST(c, !by_pt(o, p->codecs[k].pt));
}

static void check_passed(struct call *c)
{
    static const char *const protos[] = {"RTP/AVP", "RTP/SAVP", "UDP/TLS/RTP/SAVP",
                                         "UDP/TLS/RTP/SAVPF"};
    enum offer_profile profile = c->callee->profile;
    check_lines(c, c->offer, c->passed, ours_b_ip);
    check_secrets(c, c->passed_text, c->caller);
    for (unsigned i = 0; i < c->passed->n; i++) {
        const struct offer_media *o = &c->offer->media[i], *p = &c->passed->media[i];
        MUST(c, p->refused == (o->kind == OFFER_OTHER));
        if (p->refused)
            continue;
        MUST(c, sv_eq(p->text->proto, sv_of(protos[profile])));
        check_codecs_pass(c, o, p);
        MUST(c, p->direction == o->direction);
        bool dtls = profile == OFFER_DTLS_AVP || profile == OFFER_WEB;
        MUST(c, p->cryptos_n == (dtls ? 0 : 3));
        MUST(c, p->fingerprints_n > 0); /* beside a=crypto: for phones that know one of them */
        MUST(c, p->fingerprints_n == 0 || p->setup == SDP_ACTPASS);
        MUST(c, p->ice == (dtls || o->ice));
        MUST(c, p->candidates_n == (p->ice ? profile == OFFER_WEB ? 1u : 2u : 0u));
        MUST(c, !p->ice || p->ice_lite);
        MUST(c, p->mux == (dtls || o->mux));
        /* RFC 9143 §9.1.1: not where a payload type would mean two things */
        bool collides = false;
        for (unsigned k = 0; i > 0 && k < p->codecs_n; k++)
            collides = collides || by_pt(&c->passed->media[0], p->codecs[k].pt);
        MUST(c, p->bundle == (profile == OFFER_WEB && !collides));
        MUST(c, (p->mid.n > 0) == (profile == OFFER_WEB));
        bool browsers = profile == OFFER_WEB && o->web;
        MUST(c, browsers || (!sdp_attr_find(&p->text->attrs, SV("extmap")) &&
                             !sdp_attr_find(&p->text->attrs, SV("ssrc"))));
    }
}

/* ---- what the caller hears ---- */

static void check_keys(struct call *c, const struct offer_media *o, const struct offer_media *r,
                       const struct offer_leg *leg)
{
    enum offer_keying want = o->dtls_only       ? OFFER_DTLS
                             : o->cryptos_n > 0 ? OFFER_SDES
                                                : OFFER_PLAIN;
    MUST(c, leg->keying == want);
    /* RFC 4568 §5.1.2, 8643 §3.2: one key, by one way */
    MUST(c, r->cryptos_n == (want == OFFER_SDES) && r->cryptos_lost == 0);
    MUST(c, r->bundled || (r->fingerprints_n == 1) == (want == OFFER_DTLS));
    if (want == OFFER_SDES) {
        MUST(c, r->cryptos[0].tag == o->cryptos[0].tag);
        MUST(c, r->cryptos[0].suite == o->cryptos[0].suite);
        MUST(c, r->cryptos[0].key[0] == 'a' && leg->ours.key[0] == 'a');
        MUST(c, memcmp(leg->theirs.key, o->cryptos[0].key, leg->theirs.key_n) == 0);
    }
    if (want == OFFER_DTLS)
        MUST(c, r->setup == SDP_PASSIVE && !leg->dtls_client && leg->fingerprints_n == 1);
}

static void check_answer_line(struct call *c, unsigned i)
{
    const struct offer_media *o = &c->offer->media[i], *r = &c->answer->media[i];
    const struct offer_stream *s = &c->plan.streams[i];
    MUST(c, s->refused == r->refused);
    MUST(c, !o->mid.n || sv_eq(o->mid, r->mid));
    MUST(c, sv_eq(o->text->proto, r->text->proto));
    if (r->refused)
        return;
    MUST(c, !o->refused && o->kind != OFFER_OTHER);
    for (unsigned k = 0; k < r->codecs_n; k++)
        MUST(c, alike(by_pt(o, r->codecs[k].pt), &r->codecs[k]));
    check_keys(c, o, r, &s->leg[0]);
    MUST(c, r->ice == o->ice && s->leg[0].ice == o->ice);
    MUST(c, r->mux == o->mux && s->leg[0].mux == o->mux);
    MUST(c, !r->mux_only);
    MUST(c, r->bundle == o->bundle && r->bundled == s->leg[0].bundled);
    MUST(c, r->direction == SDP_SENDRECV && s->leg[0].send && s->leg[0].receive);
    MUST(c, s->leg[1].send && s->leg[1].receive);
}

/* ---- the plan ---- */

static void check_callee_leg(struct call *c, unsigned i)
{
    const struct offer_leg *leg = &c->plan.streams[i].leg[1];
    const struct offer_media *p = &c->passed->media[i], *b = &c->answered->media[i];
    enum offer_keying can = c->callee->keying;
    bool fits = can == OFFER_DTLS ? p->fingerprints_n > 0 : can == OFFER_SDES && p->cryptos_n > 0;
    MUST(c, leg->keying == (fits ? can : OFFER_PLAIN));
    MUST(c, leg->keying != OFFER_SDES || (leg->ours.key[0] == 'b' && leg->theirs.key[0] == '1' &&
                                          leg->ours.suite == leg->theirs.suite));
    MUST(c, leg->keying != OFFER_DTLS || (leg->fingerprints_n == 1 && !leg->dtls_client));
    MUST(c, leg->ice == (c->callee->ice && p->ice));
    MUST(c, leg->mux == (c->callee->mux && p->mux));
    MUST(c, leg->rtp.port == (leg->bundled ? 40000 : b->rtp.port));
}

static void check_map(struct call *c, unsigned i, int way)
{
    const struct offer_stream *s = &c->plan.streams[i];
    const struct offer_media *told = way ? &c->passed->media[i] : &c->answer->media[i];
    const struct offer_media *own = way ? &c->answered->media[i] : told;
    const struct offer_media *to = way ? &c->answer->media[i] : &c->answered->media[i];
    MUST(c, s->map_n[way] > 0);
    for (unsigned k = 0; k < s->map_n[way]; k++) {
        const struct offer_map *m = &s->map[way][k];
        MUST(c, m->from == m->in.pt && m->to == m->out.pt);
        MUST(c, alike(by_pt(told, m->from), &m->in) || alike(by_pt(own, m->from), &m->in));
        if (m->to == OFFER_NO_PT) {
            MUST(c, m->transcode && (m->in.id == CODEC_EVENT || m->in.id == CODEC_CN));
        } else {
            MUST(c, alike(by_pt(to, m->to), &m->out));
            MUST(c, m->transcode != alike(&m->in, &m->out));
        }
        for (unsigned n = 0; n < k; n++)
            MUST(c, s->map[way][n].from != m->from);
    }
}

static void check_plan(struct call *c)
{
    MUST(c, c->plan.n == c->offer->n);
    for (unsigned i = 0; i < c->plan.n; i++) {
        const struct offer_stream *s = &c->plan.streams[i];
        MUST(c, s->kind == c->offer->media[i].kind);
        if (s->refused)
            continue;
        check_callee_leg(c, i);
        check_map(c, i, 0);
        check_map(c, i, 1);
        for (unsigned k = 0; k < c->answer->media[i].codecs_n; k++) { /* all that it may send */
            bool found = false;
            for (unsigned n = 0; n < s->map_n[0]; n++)
                found = found || s->map[0][n].from == c->answer->media[i].codecs[k].pt;
            MUST(c, found);
        }
        for (int side = 0; side < 2; side++)
            MUST(c, !s->leg[side].bundled || s->leg[side].bundle_with == 0);
    }
    MUST(c, !c->plan.streams[0].refused);
}

static void check_reasons(struct call *c)
{
    MUST(c, c->why.n > 0);
    for (unsigned i = 0; i < c->why.n; i++)
        for (size_t k = 0; k < c->why.line[i].n; k++)
            MUST(c, (unsigned char)c->why.line[i].p[k] >= ' ' && c->why.line[i].p[k] != '"');
}

static void run(struct call *c)
{
    struct offer_ours *ours_a = world_ours(ours_a_ip, 'a'), *ours_b = world_ours(ours_b_ip, 'b');
    c->offer = world_read(sv_of(c->caller->offer));
    MUST(c, offer_pass(c->offer, &c->policy, c->callee->profile, ours_b, &world, &c->passed_text,
                       &c->why) == ERR_OK);
    check_reasons(c);
    c->passed = world_read(c->passed_text);
    check_passed(c);
    c->answered = world_read(client_answer(c->callee, c->passed));
    enum err rc = offer_answer(c->offer, c->passed, c->answered, &c->policy, ours_a, ours_b, &world,
                               &c->answer_text, &c->plan, &c->why);
    if (rc)
        fail_msg("%s -> %s: %s: " SV_FMT, c->caller->name, c->callee->name, err_name(rc),
                 SV_ARG(c->why.line[c->why.n - 1]));
    check_reasons(c);
    c->answer = world_read(c->answer_text);
    check_lines(c, c->offer, c->answer, ours_a_ip);
    check_secrets(c, c->answer_text, c->callee);
    for (unsigned i = 0; i < c->offer->n; i++)
        check_answer_line(c, i);
    check_plan(c);
}

static void everyone_talks_to_everyone(void **state)
{
    for (size_t a = 0; a < CLIENTS; a++)
        for (size_t b = 0; b < CLIENTS; b++) {
            struct call c = {&clients[a], &clients[b], .policy = world_policy};
            run(&c);
            world_teardown(state);
            world_setup(state);
        }
}

/* Whatever a client makes of it, our description is one that we read again, and another of it has the same media. */
static void what_is_passed_can_be_passed_on(void **state)
{
    for (size_t a = 0; a < CLIENTS; a++)
        for (enum offer_profile p = OFFER_AVP; p <= OFFER_WEB; p++) {
            sv first, second;
            struct offer_reasons why;
            struct offer_policy policy = world_policy;
            policy.transcode = false;
            struct offer_ours *ours = world_ours(ours_b_ip, 'b');
            const struct offer_session *o = world_read(sv_of(clients[a].offer));
            assert_int_equal(offer_pass(o, &policy, p, ours, &world, &first, &why), ERR_OK);
            o = world_read(first);
            assert_int_equal(offer_pass(o, &policy, p, ours, &world, &second, &why), ERR_OK);
            if (!sv_eq(first, second))
                fail_msg("%s:\n" SV_FMT "\n" SV_FMT, clients[a].name, SV_ARG(first),
                         SV_ARG(second));
            world_teardown(state);
            world_setup(state);
        }
}

/* An answer of our own to each of them. */
static void we_answer_everyone(void **state)
{
    (void)state;
    for (size_t a = 0; a < CLIENTS; a++) {
        struct call c = {&clients[a], &clients[a], .policy = world_policy};
        c.offer = world_read(sv_of(clients[a].offer));
        MUST(&c, offer_accept(c.offer, &c.policy, world_ours(ours_a_ip, 'a'), &world,
                              &c.answer_text, &c.plan, &c.why) == ERR_OK);
        c.answer = world_read(c.answer_text);
        check_lines(&c, c.offer, c.answer, ours_a_ip);
        check_secrets(&c, c.answer_text, c.caller);
        const struct offer_media *o = &c.offer->media[0], *r = &c.answer->media[0];
        MUST(&c, !r->refused);
        MUST(&c, sv_eq(o->text->proto, r->text->proto));
        check_keys(&c, o, r, &c.plan.streams[0].leg[0]);
        MUST(&c, c.plan.streams[0].map_n[0] == r->codecs_n);
        MUST(&c, alike(&c.plan.streams[0].map[0][0].in, &r->codecs[0]));
        for (unsigned i = 1; i < c.offer->n; i++)
            MUST(&c, c.plan.streams[i].refused && c.answer->media[i].refused);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everyone_talks_to_everyone, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(what_is_passed_can_be_passed_on, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(we_answer_everyone, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
