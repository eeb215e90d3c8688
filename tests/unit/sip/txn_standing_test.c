/* SPDX-License-Identifier: MIT */
/* What stands when the last word is said: what it still answers, and how little it costs. */
#include <malloc.h>
#include "txn_user.h"

/* The nth datagram that came, up to its end. */
static sv datagram(const struct world *w, unsigned n)
{
    const char *at = w->inbox, *next;
    while (n-- > 0) {
        at = strstr(at + 1, "SIP/2.0 2");
        assert_non_null(at);
    }
    next = strstr(at + 1, "SIP/2.0 2");
    return sv_of(at).n && next ? (sv){at, (size_t)(next - at)} : sv_of(at);
}

static void forget_the_user(void)
{
    stxn_drop(tell.s);
    tell.s = NULL;
}

/* ---- what it says ---- */

static const struct sip_reply full = {
    .status = 200,
    .reason = SV("Yes indeed"),
    .to_tag = SV("ours"),
    .record_route = true,
    .headers =
        SV("Contact: <sip:bob@192.0.2.7>;expires=60\r\nDate: Mon, 23 Nov 2026 08:00:00 GMT\r\n"),
    .content_type = SV("text/plain"),
    .body = SV("a body\r\n"),
};

static void say_full(struct world *w)
{
    (void)w;
    struct sip_reply r = full;
    assert_int_equal(stxn_reply(tell.s, &r), ERR_OK);
    forget_the_user();
}

/* Somebody else's response, as a proxy passes it on. */
static void say_relayed(struct world *w)
{
    struct sip_reply r = full;
    struct block *octets;
    assert_int_equal(sip_build_reply(w->sip[0], stxn_rx(tell.s), &r, &octets), ERR_OK);
    assert_int_equal(stxn_respond(tell.s, 200, octets), ERR_OK);
    block_unref(octets);
    forget_the_user();
}

static void the_same_response_comes_again(void **state)
{
    (void)state;
    static void (*const say[])(struct world * w) = {say_full, say_relayed};
    for (int i = 0; i < 2; i++) {
        struct world *w = start();
        const char *asked = request("REGISTER", "UDP", "z9hG4bKa;rport", "c1",
                                    "Record-Route: <sip:192.0.2.5;lr>\r\n");
        say_udp(w, asked);
        run(w, 50 * USEC_MS);
        act(w, loop0(w), say[i]);
        run(w, 50 * USEC_MS);
        assert_int_equal(block_pool_live(loop0(w)->blocks), 0); /* nothing of the message stands */
        for (int k = 0; k < 3; k++) {
            run(w, 9 * USEC_S);
            say_udp(w, asked);
        }
        run(w, 50 * USEC_MS);
        assert_int_equal(tell.requests, 1);
        assert_int_equal(w->datagrams, 4);
        assert_int_equal(heard(w, "Yes indeed"), 4);
        assert_int_equal(heard(w, "rport=5070"), 4);
        assert_int_equal(heard(w, "Record-Route: <sip:192.0.2.5;lr>"), 4);
        for (unsigned k = 1; k < 4; k++)
            assert_true(sv_eq(datagram(w, k), datagram(w, 0)));
        assert_int_equal(tell.gone, 0);
        assert_int_equal(live(w), 1);
        run(w, 5 * USEC_S); /* Timer J */
        assert_int_equal(live(w), 0);
        world_free(w);
    }
}

/* RFC 3261 §17.2.2: the same response. A request that has only the branch is judged by itself. */
static void another_request_with_the_branch_is_not_answered_for(void **state)
{
    (void)state;
    static const char *const other[] = {"c2", "c1"};
    struct world *w = start();
    say_udp(w, request("REGISTER", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 50 * USEC_MS);
    act(w, loop0(w), say_full);
    run(w, 50 * USEC_MS);
    for (unsigned i = 0; i < 2; i++) {
        inbox_clear(w);
        say_udp(w, request("REGISTER", "UDP", "z9hG4bKa", other[i], ""));
        run(w, 50 * USEC_MS);
        assert_int_equal(heard(w, "Yes indeed"), i);
    }
    assert_int_equal(tell.requests, 2);
    world_free(w);
}

static void a_cancel_too_late_gets_the_tag_that_was_given(void **state)
{
    (void)state;
    static void (*const say[])(struct world * w) = {say_full, say_relayed};
    for (int i = 0; i < 2; i++) {
        struct world *w = start();
        say_udp(w, request("MESSAGE", "UDP", "z9hG4bKa", "c1", ""));
        run(w, 50 * USEC_MS);
        act(w, loop0(w), say[i]);
        run(w, 50 * USEC_MS);
        inbox_clear(w);
        say_udp(w, request("CANCEL", "UDP", "z9hG4bKa", "c1", ""));
        run(w, 50 * USEC_MS);
        assert_int_equal(heard(w, "CSeq: 1 CANCEL"), 1);
        assert_int_equal(heard(w, "To: <sip:bob@example.com>;tag=ours"), 1); /* §9.2 */
        world_free(w);
    }
}

enum { LONG = 20000 };

/* One that is as long as the room for answers of twenty transactions. */
static void say_much(struct world *w)
{
    static char body[LONG];
    (void)w;
    memset(body, 'x', sizeof body);
    struct sip_reply r = full;
    r.body = (sv){body, sizeof body};
    assert_int_equal(stxn_reply(tell.s, &r), ERR_OK);
    forget_the_user();
}

static void long_answers_are_not_kept_without_bound(void **state)
{
    (void)state;
    static const char *const branch[] = {"z9hG4bK0", "z9hG4bK1", "z9hG4bK2", "z9hG4bK3",
                                         "z9hG4bK4", "z9hG4bK5", "z9hG4bK6", "z9hG4bK7"};
    struct world *w = start();
    for (size_t i = 0; i < 8; i++) {
        say_udp(w, request("MESSAGE", "UDP", branch[i], branch[i], ""));
        run(w, 50 * USEC_MS);
        act(w, loop0(w), say_much);
        run(w, 50 * USEC_MS);
    }
    assert_int_equal(block_pool_live(loop0(w)->blocks), 3); /* five of them are 100 KiB */
    inbox_clear(w);
    for (size_t i = 0; i < 8; i++)
        say_udp(w, request("MESSAGE", "UDP", branch[i], branch[i], ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(heard(w, "Yes indeed"), 8); /* and all come again */
    assert_int_equal(tell.requests, 8);
    run(w, 32 * USEC_S);
    assert_int_equal(live(w), 0);
    world_free(w);
}

static void say_200(struct world *w)
{
    (void)w;
    assert_int_equal(reply(200), ERR_OK);
    forget_the_user();
}

static void an_answered_invite_absorbs(void **state)
{
    (void)state;
    struct world *w = start();
    const char *asked = request("INVITE", "UDP", "z9hG4bKa", "c1", "");
    say_udp(w, asked);
    run(w, 50 * USEC_MS);
    act(w, loop0(w), say_200);
    run(w, 50 * USEC_MS);
    assert_int_equal(block_pool_live(loop0(w)->blocks), 0);
    say_udp(w, asked);
    run(w, 50 * USEC_MS);
    assert_int_equal(w->datagrams, 1);
    assert_int_equal(tell.requests, 1);
    say_udp(w, request("ACK", "UDP", "z9hG4bKa", "c1", "")); /* RFC 6026 §7.1: passed to the user */
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.acks, 1);
    run(w, 32 * USEC_S);
    assert_int_equal(live(w), 0);
    world_free(w);
}

static void refuse(struct world *w)
{
    (void)w;
    assert_int_equal(reply(486), ERR_OK);
    forget_the_user();
}

static void a_refusal_is_forgotten_with_its_ack(void **state)
{
    (void)state;
    struct world *w = start();
    const char *asked = request("INVITE", "UDP", "z9hG4bKa", "c1", "");
    say_udp(w, asked);
    run(w, 50 * USEC_MS);
    act(w, loop0(w), refuse);
    run(w, 600 * USEC_MS);
    assert_int_equal(heard(w, "SIP/2.0 486"), 2); /* Timer G goes on without the user */
    say_udp(w, request("ACK", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(block_pool_live(loop0(w)->blocks), 0);
    say_udp(w, asked);
    run(w, 2 * USEC_S);
    assert_int_equal(w->datagrams, 2);
    assert_int_equal(live(w), 1);
    run(w, 4 * USEC_S); /* Timer I */
    assert_int_equal(live(w), 0);
    world_free(w);
}

/* ---- how many ---- */

/* What only stands hinders nothing that has work to do, and has an end too. */
static void many_may_stand(void **state)
{
    (void)state;
    enum { WORKING = 10, ALL = SIP_STANDING * WORKING };
    char branch[32];
    world_transactions = WORKING;
    struct world *w = start();
    world_transactions = 100;
    for (int i = 0; i < ALL; i++) {
        assert_int_equal(sip_transactions_full(w->sip[0]), i / SIP_STANDING * 100 / WORKING);
        snprintf(branch, sizeof branch, "z9hG4bK%d", i);
        say_udp(w, request("REGISTER", "UDP", branch, branch, ""));
        run(w, 5 * USEC_MS);
        act(w, loop0(w), say_full);
        inbox_clear(w);
    }
    assert_int_equal(live(w), ALL);
    assert_int_equal(tell.rc, ERR_OK);
    assert_int_equal(sip_transactions_full(w->sip[0]), 100);
    say_udp(w, request("REGISTER", "UDP", "z9hG4bKmore", "more", ""));
    run(w, 5 * USEC_MS);
    assert_int_equal(tell.rc, ERR_NOMEM);
    assert_int_equal(live(w), ALL);
    run(w, 32 * USEC_S);
    assert_int_equal(sip_transactions_full(w->sip[0]), 0);
    say_udp(w, request("REGISTER", "UDP", "z9hG4bKlater", "later", ""));
    run(w, 5 * USEC_MS);
    assert_int_equal(tell.rc, ERR_OK);
    assert_int_equal(sip_transactions_full(w->sip[0]), 10);
    world_free(w);
}

/* ---- what it costs ---- */

enum { STANDING = 2000 };

/* Octets of the heap for each of STANDING requests that have been answered; 0: nobody counts here. */
static size_t cost(const char *method, const char *more, void (*say)(struct world *w))
{
    char branch[32];
    size_t before = 0;
    world_transactions = 2 * STANDING;
    struct world *w = start();
    world_transactions = 100;
    for (int i = 0; i < 2 * STANDING; i++) {
        if (i == STANDING) /* tables have their size, and memory for recycling is there */
            before = mallinfo2().uordblks;
        snprintf(branch, sizeof branch, "z9hG4bK%d", i);
        say_udp(w, request(method, "UDP", branch, branch, more));
        run(w, 5 * USEC_MS);
        act(w, loop0(w), say);
        inbox_clear(w);
    }
    size_t after = mallinfo2().uordblks;
    assert_int_equal(live(w), 2 * STANDING);
    world_free(w);
    return (after - before) / STANDING;
}

static void it_costs_little(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        void (*say)(struct world *w);
        size_t most;
    } of[] = {
        {"INVITE", say_200, 240},
        {"MESSAGE", say_200, 270},
        {"REGISTER", say_full, 350},
        {"BYE", say_relayed, 480},
    };
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        size_t octets = cost(of[i].method, "", of[i].say);
        print_message("%s: %zu octets\n", of[i].method, octets);
        assert_true(octets <= of[i].most);
    }
}

/* ---- many at once ---- */

enum { CROWD = 200 };

/* All of them have said their last word in one interval of the grid, at whose end Timer J ends them. */
static struct world *crowd(usec grid)
{
    char branch[32];
    struct world *w = start();
    loop0(w)->grid = grid;
    for (int i = 0; i < CROWD; i++) {
        snprintf(branch, sizeof branch, "z9hG4bK%d", i);
        say_udp(w, request("REGISTER", "UDP", branch, branch, ""));
        run(w, 2 * USEC_MS);
        act(w, loop0(w), say_full);
        inbox_clear(w);
    }
    usec ends = (sim_now(w->sim) + 32 * USEC_S) / grid * grid + grid;
    run(w, ends - 1 - sim_now(w->sim));
    assert_int_equal(live(w), CROWD);
    return w;
}

/* They do not hold up what comes meanwhile. */
static void few_of_many_end_in_a_turn(void **state)
{
    (void)state;
    struct world *w = crowd(10 * USEC_S);
    struct loop *l = loop0(w);
    while (live(w) == CROWD)
        run(w, 1);
    for (size_t before = live(w); before > 0; before = live(w)) {
        assert_true(wheel_next(&l->wheel) <= l->now); /* the next turn is not waited for */
        wheel_advance(&l->wheel, l->now, SIZE_MAX);
        assert_true(live(w) < before && live(w) + 16 >= before);
    }
    world_free(w);
}

/* Who has had no time for them for half of the grid ends all. */
static void none_waits_for_the_next(void **state)
{
    (void)state;
    struct world *w = crowd(10 * USEC_S);
    struct loop *l = loop0(w);
    while (live(w) == CROWD)
        run(w, 1);
    assert_true(live(w) > CROWD / 2);
    usec step = l->now; /* one turn, however late it is */
    l->now += 5 * USEC_S;
    wheel_advance(&l->wheel, step, SIZE_MAX);
    assert_int_equal(live(w), 0);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_response_comes_again),
        cmocka_unit_test(another_request_with_the_branch_is_not_answered_for),
        cmocka_unit_test(a_cancel_too_late_gets_the_tag_that_was_given),
        cmocka_unit_test(long_answers_are_not_kept_without_bound),
        cmocka_unit_test(an_answered_invite_absorbs),
        cmocka_unit_test(a_refusal_is_forgotten_with_its_ack),
        cmocka_unit_test(many_may_stand),
        cmocka_unit_test(it_costs_little),
        cmocka_unit_test(few_of_many_end_in_a_turn),
        cmocka_unit_test(none_waits_for_the_next),
    };
    return crypto_start() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
