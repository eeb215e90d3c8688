/* SPDX-License-Identifier: MIT */
/* Ranks (RFC 3261 §16.6), their breadth (RFC 5393), and redirections that are followed (§16.7 step 4). */
#include "proxy_rig.h"

#define BOB_URI "sip:bob@example.com"
#define BOB_AT  "sip:bob@192.0.2.12:5060"
#define DESK_AT "sip:desk@192.0.2.13:5060"
#define AWAY_AT "sip:away@203.0.113.9:5060"
#define CONTACT "Contact: <sip:alice@192.0.2.11:5060>\r\n"

static int setup(void **state)
{
    struct bench *b = bench_new();
    b->target[0] = (struct proxy_target){.uri = SV(BOB_AT), .rank = 9};
    b->target[1] = (struct proxy_target){.uri = SV(DESK_AT), .rank = 9};
    b->target[2] = (struct proxy_target){.uri = SV(AWAY_AT), .rank = 5};
    b->next.n = 3;
    *state = b;
    return 0;
}
static int teardown(void **state)
{
    bench_free(*state);
    return 0;
}

static void invite(struct bench *b, const char *call_id, const char *more)
{
    say(&b->rig, ALICE, request(&b->rig, ALICE, "INVITE", BOB_URI, TO_BOB, call_id, more));
}
/* The peer's response to the INVITE that it got. */
static void respond(struct bench *b, int peer, unsigned status, const char *more)
{
    static const char *const tags[] = {"a", "b1", "d1", "c1"};
    struct rig *r = &b->rig;
    say(r, peer, reply(find_raw(r, peer, "INVITE"), status, tags[peer], more));
}
static void ack(struct bench *b, const char *call_id, const char *response)
{
    ack_refusal(&b->rig, BOB_URI, call_id, response);
}

/* Two together, then the third; the best of all goes up. */
static void test_serial(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    invite(b, "s", CONTACT);
    assert_int_equal(heard(r, BOB, "INVITE") + heard(r, DESK, "INVITE"), 2);
    respond(b, BOB, 180, "");
    respond(b, BOB, 486, "");
    assert_int_equal(heard(r, STRANGER, ""), 0);
    respond(b, DESK, 404, "");
    assert_int_equal(heard(r, STRANGER, "INVITE " AWAY_AT), 1);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 4"), 0);
    respond(b, STRANGER, 480, "");
    assert_int_equal(heard(r, ALICE, "SIP/2.0 486 "), 1);
    assert_int_equal(failovers(b), 0);
    ack(b, "s", find_got(r, ALICE, "SIP/2.0 486"));
    bench_quiet(b);
}

/* What decides for all: 2xx, 6xx, the caller. The rank that waits never begins. */
static void test_decided(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    invite(b, "ok", CONTACT);
    respond(b, BOB, 404, "");
    respond(b, DESK, 200, CONTACT);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    bench_quiet(b);
    rig_clear(r);
    invite(b, "no", CONTACT);
    respond(b, DESK, 180, "");
    respond(b, BOB, 603, "");
    assert_int_equal(heard(r, DESK, "CANCEL"), 1);
    respond(b, DESK, 487, "");
    assert_int_equal(heard(r, ALICE, "SIP/2.0 603 "), 1);
    ack(b, "no", find_got(r, ALICE, "SIP/2.0 603"));
    bench_quiet(b);
    rig_clear(r);
    invite(b, "end", CONTACT);
    respond(b, BOB, 180, "");
    respond(b, DESK, 486, "");
    say(r, ALICE, request(r, ALICE, "CANCEL", BOB_URI, TO_BOB, "end", ""));
    respond(b, BOB, 487, "");
    assert_int_equal(heard(r, ALICE, "SIP/2.0 486 "), 1);
    ack(b, "end", find_got(r, ALICE, "SIP/2.0 486"));
    bench_quiet(b);
    assert_int_equal(heard(r, STRANGER, ""), 0);
    assert_int_equal(b->unreachable, 0);
}

/* A rank rings as long as it may; the next does not wait for those who do not even end. */
static void test_step_time(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    b->next.step_time = 15 * USEC_S;
    invite(b, "t", CONTACT);
    respond(b, BOB, 180, "");
    respond(b, DESK, 180, "");
    rig_run(r, 14 * USEC_S);
    assert_int_equal(heard(r, BOB, "CANCEL"), 0);
    rig_run(r, 2 * USEC_S);
    assert_true(heard(r, BOB, "CANCEL") && heard(r, DESK, "CANCEL"));
    assert_true(heard(r, STRANGER, "INVITE") > 0);
    respond(b, BOB, 487, "");
    respond(b, STRANGER, 180, "");
    /* Too late, but a 2xx is a 2xx: it wins. */
    respond(b, DESK, 200, CONTACT);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    assert_int_equal(heard(r, STRANGER, "CANCEL"), 1);
    respond(b, STRANGER, 487, "");
    bench_quiet(b);
    /* The last rank's time ends it. */
    rig_clear(r);
    invite(b, "t2", CONTACT);
    respond(b, BOB, 480, "");
    respond(b, DESK, 480, "");
    respond(b, STRANGER, 180, "");
    rig_run(r, 16 * USEC_S);
    assert_true(heard(r, STRANGER, "CANCEL") >= 1);
    respond(b, STRANGER, 487, "");
    assert_int_equal(heard(r, ALICE, "SIP/2.0 480 "), 1);
    ack(b, "t2", find_got(r, ALICE, "SIP/2.0 480"));
    bench_quiet(b);
}

/* A message goes to the next rank when nobody of the first says a word, in time for the caller. */
static void test_message(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    say(r, ALICE, request(r, ALICE, "MESSAGE", BOB_URI, TO_BOB, "m", ""));
    rig_run(r, 4100 * USEC_MS);
    assert_int_equal(heard(r, STRANGER, "MESSAGE") > 0, 1);
    say(r, STRANGER, reply(find_raw(r, STRANGER, "MESSAGE"), 200, "c", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    bench_quiet(b);
}

/* However many ranks there are, the last one's answer is in time for the caller. */
static void test_message_to_many(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    static char uris[12][64];
    for (unsigned i = 0; i < 12; i++) {
        snprintf(uris[i], sizeof(uris[i]), i < 11 ? "sip:x%u@192.0.2.12" : DESK_AT, i);
        b->target[i] = (struct proxy_target){.uri = sv_of(uris[i]), .rank = (uint16_t)(20 - i)};
    }
    b->next.n = 12;
    say(r, ALICE, request(r, ALICE, "MESSAGE", BOB_URI, TO_BOB, "mm", ""));
    rig_run(r, 31 * USEC_S);
    assert_true(heard(r, DESK, "MESSAGE") > 0);
    say(r, DESK, reply(find_raw(r, DESK, "MESSAGE"), 200, "d", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    bench_quiet(b);
}

/* RFC 5393 §5.3.3: what is under way together never has more than came. */
static void test_breadth(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    invite(b, "b1", CONTACT "Max-Breadth: 1\r\n"); /* too little for two at once, but not for one */
    assert_int_equal(heard(r, BOB, "") + heard(r, DESK, ""), 0);
    assert_non_null(strstr(find_got(r, STRANGER, "INVITE"), "Max-Breadth: 1\r\n"));
    respond(b, STRANGER, 486, "");
    assert_int_equal(heard(r, ALICE, "SIP/2.0 486 "), 1);
    ack(b, "b1", find_got(r, ALICE, "SIP/2.0 486"));
    rig_clear(r);
    invite(b, "b9", CONTACT "Max-Breadth: 9\r\n");
    assert_non_null(strstr(find_got(r, BOB, "INVITE"), "Max-Breadth: 3\r\n"));
    respond(b, BOB, 404, "");
    respond(b, DESK, 404, "");
    assert_non_null(strstr(find_got(r, STRANGER, "INVITE"), "Max-Breadth: 9\r\n"));
    respond(b, STRANGER, 404, "");
    ack(b, "b9", find_got(r, ALICE, "SIP/2.0 404"));
    bench_quiet(b);
    /* The first rank still ends: its share is not given twice. */
    rig_clear(r);
    b->next.step_time = 5 * USEC_S;
    invite(b, "b10", CONTACT "Max-Breadth: 9\r\n");
    rig_run(r, 6 * USEC_S);
    assert_non_null(strstr(find_got(r, STRANGER, "INVITE"), "Max-Breadth: 3\r\n"));
    bench_quiet(b);
    /* More of a rank than settings.breadth, and more than there can be: left out, and counted. */
    rig_clear(r);
    b->next.step_time = 0;
    r->set->breadth = 1;
    invite(b, "b2", CONTACT);
    assert_int_equal(heard(r, BOB, "INVITE"), 1);
    assert_int_equal(heard(r, DESK, "INVITE"), 0);
    const struct stats *s = &r->group->loop[0]->stats;
    assert_int_equal(s->refusals[STAT_LIMIT_BRANCHES], 1);
    bench_quiet(b);
    r->set->breadth = 200;
    static char uris[PROXY_TARGETS_MAX + 2][64];
    for (unsigned i = 0; i < PROXY_TARGETS_MAX + 2; i++) {
        int n = snprintf(uris[i], sizeof(uris[i]), "sip:bob%u@192.0.2.12:5060", i);
        b->target[i] = b->target[0];
        b->target[i].uri = (sv){uris[i], (size_t)n};
    }
    b->target[1] = b->target[0]; /* §16.5: one that is there already is not added */
    b->next.n = PROXY_TARGETS_MAX + 2;
    rig_clear(r);
    invite(b, "b3", CONTACT);
    assert_int_equal(r->peer[BOB].n, PROXY_TARGETS_MAX);
    const char *share = value(find_got(r, BOB, "INVITE"), "Max-Breadth"); /* 200 among 32 */
    assert_true(strcmp(share, "6") == 0 || strcmp(share, "7") == 0);
    assert_int_equal(s->refusals[STAT_LIMIT_BRANCHES], 2);
    bench_quiet(b);
}

/* Another rank begins in the place of one that cannot be reached at all. */
static void test_unreachable_rank(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    b->target[0].uri = SV("sip:x@192.0.2.13:5060;transport=tls");
    b->target[1].uri = SV("sip:y@192.0.2.13:5060;transport=tls");
    invite(b, "u", CONTACT);
    assert_int_equal(heard(r, STRANGER, "INVITE"), 1);
    assert_int_equal(b->unreachable, 2);
    respond(b, STRANGER, 486, "");
    assert_int_equal(heard(r, ALICE, "SIP/2.0 486 "), 1);
    ack(b, "u", find_got(r, ALICE, "SIP/2.0 486"));
    bench_quiet(b);
}

/* RFC 5626 §7: another flow of the same phone comes in the place of one that leads nowhere. */
static void test_flows_of_a_phone(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct addr local = address(SERVER_IP, 5060);
    struct flow dead = {
        .transport = SIP_T_TCP, .conn = 99, .local = local, .remote = r->peer[BOB].addr};
    struct flow bob = {.transport = SIP_T_UDP, .local = local, .remote = r->peer[BOB].addr};
    struct flow desk = {.transport = SIP_T_UDP, .local = local, .remote = r->peer[DESK].addr};
    static const struct {
        unsigned first, third; /* answers of BOB and of DESK; 0: none comes */
        bool reached;
        const char *then;
    } table[] = {{430, 486, true, "SIP/2.0 486 "},
                 {408, 486, true, "SIP/2.0 486 "},
                 {0, 486, true, "SIP/2.0 486 "},
                 {486, 0, false, "SIP/2.0 486 "},
                 {503, 0, false, "SIP/2.0 500 "}};
    b->target[0] = (struct proxy_target){
        .uri = SV("sip:x@y.invalid"), .dest = {.flow = dead}, .flow_only = true};
    b->target[1] = (struct proxy_target){
        .uri = SV("sip:x@y.invalid"), .dest = {.flow = bob}, .alternative = true};
    b->target[2] = (struct proxy_target){
        .uri = SV("sip:x@y.invalid"), .dest = {.flow = desk}, .alternative = true};
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char call[8];
        snprintf(call, sizeof(call), "f%u", i);
        rig_clear(r);
        invite(b, call, CONTACT);
        rig_run(r, 20 * USEC_MS);
        assert_int_equal(heard(r, BOB, "INVITE"), 1);
        if (table[i].first)
            respond(b, BOB, table[i].first, "");
        else
            rig_run(r, 4100 * USEC_MS);
        assert_int_equal(heard(r, DESK, "INVITE") > 0, table[i].reached);
        if (table[i].reached)
            respond(b, DESK, table[i].third, "");
        if (heard(r, ALICE, table[i].then) != 1)
            fail_msg("case %u", i);
        ack(b, call, find_got(r, ALICE, table[i].then));
    }
    bench_quiet(b);
    /* A message shares its time among the flows. */
    rig_clear(r);
    say(r, ALICE, request(r, ALICE, "MESSAGE", BOB_URI, TO_BOB, "fm", ""));
    rig_run(r, 4100 * USEC_MS);
    assert_true(heard(r, DESK, "MESSAGE") > 0);
    say(r, DESK, reply(find_raw(r, DESK, "MESSAGE"), 200, "d", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    bench_quiet(b);
    /* The last one leads nowhere either: 430. */
    rig_clear(r);
    b->target[1].dest.flow = b->target[2].dest.flow = dead;
    b->target[2].flow_only = true;
    invite(b, "f9", CONTACT);
    rig_run(r, 20 * USEC_MS);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 430 "), 1);
    assert_int_equal(b->unreachable, 1);
    ack(b, "f9", find_got(r, ALICE, "SIP/2.0 430"));
    bench_quiet(b);
}

/* ---- redirections ---- */

/* Each contact of the 3xx is a target. */
static void follow(struct bench *b, struct proxy_redirect *redirect, struct rx *rx)
{
    struct proxy_target t[8] = {0};
    const struct sip_addr *contacts = NULL;
    size_t n = 0;
    assert_int_equal(sipmsg_addrs(&rx->msg, SIP_H_CONTACT, &contacts, &n), ERR_OK);
    for (size_t i = 0; i < n && i < 8; i++) {
        sv q;
        t[i].uri = contacts[i].uri.text;
        t[i].rank = sip_param(contacts[i].params, SV("q"), &q) ? 100 : 1000;
    }
    (void)b;
    proxy_redirected(redirect, t, n);
}
static void follow_later(struct bench *b, struct proxy_redirect *redirect, struct rx *rx)
{
    (void)rx;
    b->redirect = redirect;
}
static void follow_not(struct bench *b, struct proxy_redirect *redirect, struct rx *rx)
{
    (void)b;
    (void)rx;
    proxy_redirected(redirect, NULL, 0);
}

static void test_redirect(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    b->next.n = 1;
    b->next.watch = &bench_watch;
    b->on_redirect = follow;
    invite(b, "r", CONTACT);
    respond(b, BOB, 302, "Contact: <" DESK_AT ">, <" AWAY_AT ">;q=0.1\r\n");
    assert_int_equal(heard(r, BOB, "ACK"), 1);
    assert_int_equal(heard(r, DESK, "INVITE " DESK_AT), 1);
    assert_int_equal(heard(r, STRANGER, ""), 0);
    respond(b, DESK, 180, "");
    /* The 302 is nobody's answer any more; who was asked is not asked again (§16.5). */
    respond(b, DESK, 302, "Contact: <" BOB_AT ">, <" DESK_AT ">\r\n");
    assert_int_equal(heard(r, BOB, "INVITE"), 1);
    assert_int_equal(heard(r, STRANGER, "INVITE " AWAY_AT), 1);
    respond(b, STRANGER, 486, "");
    assert_int_equal(heard(r, ALICE, "SIP/2.0 302 "), 1); /* DESK's: it led nowhere new */
    assert_int_equal(b->redirects, 2);
    ack(b, "r", find_got(r, ALICE, "SIP/2.0 302"));
    bench_quiet(b);
    /* Without a watcher, and by one that says no: it goes up. 305 is not even asked about. */
    static const struct {
        const char *call, *contact;
        unsigned status, asked;
        bool watched;
    } table[] = {{"r2", DESK_AT, 302, 0, false},
                 {"r3", DESK_AT, 302, 1, true},
                 {"r4", DESK_AT, 305, 0, true},
                 {"r5", "sips:desk@192.0.2.13", 302, 0, true}}; /* RFC 5630 §5.3 */
    b->on_redirect = follow_not;
    for (unsigned i = 0; i < 4; i++) {
        char more[96];
        rig_clear(r);
        b->redirects = 0;
        b->next.watch = table[i].watched ? &bench_watch : &bench_watch_plain;
        invite(b, table[i].call, CONTACT);
        snprintf(more, sizeof(more), "Contact: <%s>\r\n", table[i].contact);
        respond(b, BOB, table[i].status, more);
        assert_int_equal(heard(r, ALICE, "SIP/2.0 30"), 1);
        assert_int_equal(heard(r, DESK, ""), 0);
        assert_int_equal(b->redirects, table[i].asked);
        ack(b, table[i].call, find_got(r, ALICE, "SIP/2.0 30"));
    }
    bench_quiet(b);
}

/* One leads to the next: PROXY_REDIRECTS in a row. */
static void test_redirect_depth(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    b->next.n = 1;
    b->next.watch = &bench_watch;
    b->on_redirect = follow;
    invite(b, "d", CONTACT);
    for (unsigned i = 0; i <= PROXY_REDIRECTS; i++) {
        char begins[64], more[96];
        snprintf(begins, sizeof(begins), i ? "INVITE sip:x%u@" : "INVITE sip:bob@", i);
        snprintf(more, sizeof(more), "Contact: <sip:x%u@192.0.2.12:5060>\r\n", i + 1);
        assert_int_equal(heard(r, BOB, begins), 1);
        say(r, BOB, reply(find_raw(r, BOB, begins), 301, "b", more));
    }
    assert_int_equal(b->redirects, PROXY_REDIRECTS);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 301 "), 1);
    ack(b, "d", find_got(r, ALICE, "SIP/2.0 301"));
    bench_quiet(b);
}

/* The answer comes later; meanwhile the caller may have gone, or somebody else answered. */
static void test_redirect_later(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct proxy_target away = {.uri = SV(AWAY_AT)};
    b->next.n = 2;
    b->next.watch = &bench_watch;
    b->on_redirect = follow_later;
    invite(b, "l1", CONTACT);
    respond(b, BOB, 302, "Contact: <" AWAY_AT ">\r\n");
    respond(b, DESK, 486, "");
    rig_run(r, USEC_S);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 4") + heard(r, ALICE, "SIP/2.0 3"), 0);
    proxy_redirected(b->redirect, &away, 1);
    rig_run(r, 20 * USEC_MS);
    respond(b, STRANGER, 404, "");
    assert_int_equal(heard(r, ALICE, "SIP/2.0 486 "), 1);
    ack(b, "l1", find_got(r, ALICE, "SIP/2.0 486"));
    bench_quiet(b);
    /* Cancelled. */
    rig_clear(r);
    invite(b, "l2", CONTACT);
    respond(b, BOB, 302, "Contact: <" AWAY_AT ">\r\n");
    respond(b, DESK, 180, "");
    say(r, ALICE, request(r, ALICE, "CANCEL", BOB_URI, TO_BOB, "l2", ""));
    respond(b, DESK, 487, "");
    assert_int_equal(heard(r, ALICE, "SIP/2.0 487 "), 1);
    ack(b, "l2", find_got(r, ALICE, "SIP/2.0 487"));
    assert_int_equal(proxy_contexts(b->proxy), 0);
    proxy_redirected(b->redirect, &away, 1);
    rig_run(r, 20 * USEC_MS);
    assert_int_equal(heard(r, STRANGER, ""), 0);
    bench_quiet(b);
    /* Answered elsewhere. */
    rig_clear(r);
    invite(b, "l3", CONTACT);
    respond(b, BOB, 302, "Contact: <" AWAY_AT ">\r\n");
    respond(b, DESK, 200, CONTACT);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    proxy_redirected(b->redirect, &away, 1);
    rig_run(r, 20 * USEC_MS);
    assert_int_equal(heard(r, STRANGER, ""), 0);
    bench_quiet(b);
}

/* However often it says that it rings, it does not ring for ever (D10). */
static void test_rings_for_ever(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    b->next.n = 1;
    r->set->ringing = 200 * USEC_S;
    invite(b, "e", CONTACT);
    const char *in = find_raw(r, BOB, "INVITE");
    usec began = sim_now(r->sim);
    while (!heard(r, BOB, "CANCEL")) {
        rig_clear(r);
        say(r, BOB, reply(in, 180, "b1", ""));
        rig_run(r, 100 * USEC_S);
        if (sim_now(r->sim) - began > 2 * PROXY_RINGING_MAX)
            fail_msg("it still rings");
        assert_true(heard(r, BOB, "CANCEL") || sim_now(r->sim) - began < PROXY_RINGING_MAX);
    }
    assert_true(sim_now(r->sim) - began >= PROXY_RINGING_MAX);
    bench_quiet(b);
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_serial),           T(test_decided),          T(test_step_time),
        T(test_message),          T(test_message_to_many),  T(test_breadth),
        T(test_unreachable_rank), T(test_flows_of_a_phone), T(test_redirect),
        T(test_redirect_depth),   T(test_redirect_later),   T(test_rings_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
