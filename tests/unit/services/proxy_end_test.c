/* SPDX-License-Identifier: MIT */
/* The server ends while calls ring: who is cancelled, what the caller hears and when, and answers that come all the same. */
#include "proxy_rig.h"

#define BOB_URI "sip:bob@example.com"
#define BOB_AT  "sip:bob@192.0.2.12:5060"
#define DESK_AT "sip:desk@192.0.2.13:5060"
#define AWAY_AT "sip:away@203.0.113.9:5060"
#define CONTACT "Contact: <sip:alice@192.0.2.11:5060>\r\n"
#define REASON  "SIP;cause=503;text=\"the server ends\""

static const struct sip_reply gone = {
    .status = 503, .reason = SV("Going"), .headers = SV("Retry-After: 7\r\n")};

/* bob alone; next.n 2: desk with him; 3: the one outside behind them. */
static int setup(void **state)
{
    struct bench *b = bench_new();
    b->target[0] = (struct proxy_target){.uri = SV(BOB_AT), .rank = 9};
    b->target[1] = (struct proxy_target){.uri = SV(DESK_AT), .rank = 9};
    b->target[2] = (struct proxy_target){.uri = SV(AWAY_AT), .rank = 5};
    *state = b;
    return 0;
}
static int teardown(void **state)
{
    bench_free(*state);
    return 0;
}

static void invite(struct bench *b, const char *call_id)
{
    rig_clear(&b->rig);
    say(&b->rig, ALICE, request(&b->rig, ALICE, "INVITE", BOB_URI, TO_BOB, call_id, CONTACT));
}
static void respond(struct bench *b, int peer, unsigned status)
{
    static const char *const tags[] = {"a", "b1", "d1", "c1"};
    static const char *const contacts[] = {"", "Contact: <" BOB_AT ">\r\n",
                                           "Contact: <" DESK_AT ">\r\n", ""};
    struct rig *r = &b->rig;
    say(r, peer, reply(find_raw(r, peer, "INVITE"), status, tags[peer], contacts[peer]));
}
/* All that have no answer; how many that were. */
static size_t end(struct bench *b)
{
    size_t most = SIZE_MAX, n = proxy_end(b->proxy, &gone, &most);
    rig_run(&b->rig, 20 * USEC_MS);
    return n;
}
/* The caller has heard this, once; he acknowledges it, and nothing is left. */
static void ended(struct bench *b, const char *call_id, const char *answer)
{
    struct rig *r = &b->rig;
    assert_int_equal(heard(r, ALICE, answer), 1);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 3") + heard(r, ALICE, "SIP/2.0 4") +
                         heard(r, ALICE, "SIP/2.0 5") + heard(r, ALICE, "SIP/2.0 6"),
                     1);
    assert_int_equal(stxn_awaited(r->sip), 1);
    ack_refusal(r, BOB_URI, call_id, find_raw(r, ALICE, answer));
    assert_int_equal(stxn_awaited(r->sip), 0);
    assert_int_equal(proxy_unanswered(b->proxy), 0);
    bench_quiet(b);
}

/* As if the caller had cancelled, but for what he hears; again and again is once. */
static void test_rings(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    invite(b, "rings");
    respond(b, BOB, 180);
    assert_int_equal(proxy_unanswered(b->proxy), 1);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(end(b), 1);
    assert_int_equal(heard(r, BOB, "CANCEL " BOB_AT), 1);
    assert_string_equal(value(find_raw(r, BOB, "CANCEL"), "Reason"), REASON);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 5"), 0);
    assert_int_equal(ctxn_awaited(r->sip, SIP_INVITE), 1);
    respond(b, BOB, 487);
    assert_int_equal(heard(r, BOB, "ACK"), 1);
    assert_int_equal(ctxn_awaited(r->sip, SIP_INVITE), 0);
    assert_string_equal(value(find_raw(r, ALICE, "SIP/2.0 503 Going\r\n"), "Retry-After"), "7");
    assert_int_equal(end(b), 0);
    ended(b, "rings", "SIP/2.0 503 ");
}

/* Some at a time, and other requests are left alone. */
static void test_some(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    char id[8];
    for (unsigned i = 0; i < 5; i++) {
        snprintf(id, sizeof(id), "m%u", i);
        say(r, ALICE, request(r, ALICE, "INVITE", BOB_URI, TO_BOB, id, CONTACT));
    }
    say(r, ALICE, request(r, ALICE, "MESSAGE", BOB_URI, TO_BOB, "text", CONTACT));
    for (unsigned i = 0; i < 5; i++)
        say(r, BOB, reply(r->peer[BOB].raw[i], 180, "b", ""));
    size_t most = 3;
    assert_int_equal(proxy_end(b->proxy, &gone, &most), 5);
    assert_int_equal(most, 0);
    rig_run(r, 20 * USEC_MS);
    assert_int_equal(heard(r, BOB, "CANCEL"), 3);
    most = 3;
    assert_int_equal(proxy_end(b->proxy, &gone, &most), 5);
    assert_int_equal(most, 1);
    rig_run(r, 20 * USEC_MS);
    assert_int_equal(heard(r, BOB, "CANCEL"), 5);
    respond(b, BOB, 487);
    most = 3;
    assert_int_equal(proxy_end(b->proxy, &gone, &most), 4);
    assert_int_equal(most, 3);
    bench_quiet(b);
}

/* Two ring together, one behind them would: nobody else is tried, whatever the two say. */
static void test_no_next(void **state)
{
    static const unsigned last[] = {487, 486, 503, 302, 404};
    struct bench *b = *state;
    struct rig *r = &b->rig;
    b->next.n = 3;
    b->next.step_time = USEC_S;
    b->next.watch = &bench_watch;
    for (size_t i = 0; i < sizeof(last) / sizeof(last[0]); i++) {
        char id[8];
        snprintf(id, sizeof(id), "n%zu", i);
        invite(b, id);
        respond(b, BOB, 180);
        respond(b, DESK, 183);
        end(b);
        respond(b, BOB, last[i]);
        rig_run(r, 1100 * USEC_MS); /* longer than a rank rings */
        respond(b, DESK, 487);
        assert_int_equal(heard(r, STRANGER, ""), 0);
        assert_int_equal(b->redirects, 0);
        ended(b, id, "SIP/2.0 503 ");
    }
}

/* §16.7 step 5: who declines does so for all, and that is the better word. */
static void test_declined(void **state)
{
    struct bench *b = *state;
    b->next.n = 2;
    invite(b, "no");
    respond(b, BOB, 180);
    respond(b, DESK, 180);
    end(b);
    respond(b, BOB, 603);
    respond(b, DESK, 487);
    ended(b, "no", "SIP/2.0 603 ");
}

/* One of a fork does not say a word: §9.1 has no CANCEL for it, and the caller hears no later for that. */
static void test_silent(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    b->next.n = 2;
    invite(b, "silent");
    respond(b, BOB, 180);
    end(b);
    respond(b, BOB, 487);
    rig_run(r, PROXY_END_WAIT - 100 * USEC_MS);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 5"), 0);
    rig_run(r, 100 * USEC_MS);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 503 Going\r\n"), 1);
    assert_int_equal(heard(r, DESK, "CANCEL"), 0);
    /* it did hear: the CANCEL is as late as its word is */
    respond(b, DESK, 180);
    assert_int_equal(heard(r, DESK, "CANCEL"), 1);
    assert_int_equal(ctxn_awaited(r->sip, SIP_INVITE), 1);
    respond(b, DESK, 487);
    assert_int_equal(heard(r, DESK, "ACK"), 1);
    assert_int_equal(ctxn_awaited(r->sip, SIP_INVITE), 0);
    ended(b, "silent", "SIP/2.0 503 ");
}

/* Neither CANCEL nor the INVITE is answered; the caller does not acknowledge: both are said again. */
static void test_lost(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    invite(b, "lost");
    respond(b, BOB, 180);
    end(b);
    rig_run(r, PROXY_END_WAIT);
    assert_int_equal(heard(r, BOB, "CANCEL"), 3);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 503 "), 1);
    rig_run(r, 1600 * USEC_MS);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 503 "), 3);
    bench_quiet(b);
}

/* Who gives up himself, before or behind us, hears what he asked for; also when the phone says nothing. */
static void test_caller_cancels(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    for (unsigned i = 0; i < 4; i++) {
        bool before = i & 1, obeys = i & 2;
        char id[8];
        snprintf(id, sizeof(id), "c%u", i);
        invite(b, id);
        respond(b, BOB, 180);
        if (!before)
            end(b);
        say(r, ALICE, request(r, ALICE, "CANCEL", BOB_URI, TO_BOB, id, ""));
        if (before)
            end(b);
        assert_int_equal(heard(r, BOB, "CANCEL"), 1);
        if (obeys)
            respond(b, BOB, 487);
        else
            rig_run(r, PROXY_END_WAIT);
        ended(b, id, "SIP/2.0 487 ");
    }
}

/* Nobody was asked yet: a name is looked up, a phone is woken. */
static void test_not_begun(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct proxy_target awake = {.uri = SV(BOB_AT)};
    b->target[0] = (struct proxy_target){.uri = SV("sip:bob@there.example.net")};
    invite(b, "name");
    end(b);
    ended(b, "name", "SIP/2.0 503 ");
    assert_int_equal(heard(r, BOB, ""), 0);
    b->target[0] = (struct proxy_target){.uri = SV(BOB_AT), .held = true};
    b->next.watch = &bench_watch;
    invite(b, "sleeps");
    end(b);
    proxy_redirected(b->held, &awake, 1);
    ended(b, "sleeps", "SIP/2.0 503 ");
    assert_int_equal(heard(r, BOB, ""), 0);
}

/* §9.1: CANCEL came too late. The call stands, and the others of the fork are cancelled as they were. */
static void test_answered(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    b->next.n = 2;
    invite(b, "stands");
    respond(b, BOB, 180);
    respond(b, DESK, 180);
    end(b);
    respond(b, BOB, 200);
    respond(b, DESK, 487);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    assert_int_equal(end(b), 0);
    rig_run(r, 2 * PROXY_END_WAIT);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 5"), 0);
    assert_int_equal(heard(r, BOB, "BYE") + heard(r, DESK, "BYE"), 0);
    bench_quiet(b);
}

/* The caller was refused: who answers behind that is acknowledged and hears BYE, each time and from each. */
static void test_answered_behind(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    for (unsigned i = 0; i < 2; i++) {
        bool at_once = i;
        char id[8];
        snprintf(id, sizeof(id), "b%u", i);
        b->next.n = 2;
        invite(b, id);
        respond(b, BOB, 180);
        if (at_once)
            assert_int_equal(proxy_end(b->proxy, &gone, NULL), 1);
        else
            end(b);
        rig_run(r, at_once ? 20 * USEC_MS : PROXY_END_WAIT);
        assert_int_equal(heard(r, ALICE, "SIP/2.0 503 Going\r\n"), 1);
        assert_int_equal(heard(r, BOB, "CANCEL") > 0, 1);
        respond(b, BOB, 200);
        respond(b, DESK, 200); /* at once */
        respond(b, BOB, 200);
        assert_int_equal(heard(r, BOB, "ACK " BOB_AT), 2);
        assert_int_equal(heard(r, DESK, "ACK " DESK_AT), 1);
        const int who[] = {BOB, DESK};
        for (unsigned k = 0; k < 2; k++) {
            const char *bye = find_raw(r, who[k], "BYE ");
            assert_int_equal(heard(r, who[k], "BYE "), 1);
            assert_string_equal(value(bye, "Reason"), REASON);
            assert_string_equal(value(bye, "CSeq"), "2 BYE");
            assert_int_equal(ctxn_awaited(r->sip, SIP_BYE), 2 - k);
            say(r, who[k], reply(bye, 200, NULL, ""));
        }
        assert_int_equal(ctxn_awaited(r->sip, SIP_BYE), 0);
        assert_int_equal(heard(r, ALICE, "SIP/2.0 2"), 0);
        ended(b, id, "SIP/2.0 503 ");
    }
}

/* It may end at once in the midst of an end. */
static void test_at_once(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    b->next.n = 3;
    invite(b, "now");
    respond(b, BOB, 180);
    end(b);
    assert_int_equal(proxy_end(b->proxy, &gone, NULL), 1);
    assert_int_equal(proxy_end(b->proxy, &gone, NULL), 0);
    rig_run(r, 20 * USEC_MS);
    assert_int_equal(heard(r, BOB, "CANCEL"), 1);
    assert_int_equal(heard(r, STRANGER, ""), 0);
    respond(b, BOB, 487);
    assert_int_equal(heard(r, BOB, "ACK"), 1);
    ended(b, "now", "SIP/2.0 503 ");
    assert_int_equal(b->gone, 1);
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_rings),           T(test_some),      T(test_no_next),  T(test_declined),
        T(test_silent),          T(test_lost),      T(test_answered), T(test_caller_cancels),
        T(test_answered_behind), T(test_not_begun), T(test_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
