/* SPDX-License-Identifier: MIT */
/* DTLS's cookie exchange (RFC 6347 §4.2.1): a path that nobody has validated gets less than it gives. */
#include "dtls_rig.h"
#include "mem/mem.h"

#define PEER SV("\xc0\x00\x02\x01\x13\xc4")

static void with_cookies(uint64_t seed)
{
    way_init(&way, seed);
    dtls_free(way.ends[B].d);
    end_init(&way, B, bob, &(struct dtls_config){.cookies = true, .peer = PEER});
    both_trust(&way);
}

/* The ClientHello that is under way to the server. */
static sv hello_on_the_way(void)
{
    for (size_t i = 0; i < PACKETS; i++)
        if (way.packets[i].used && way.packets[i].to == B)
            return (sv){(char *)way.packets[i].p, way.packets[i].n};
    fail_msg("no ClientHello");
    return SV_NONE;
}

static void a_cookie_comes_back_before_anything_is_kept(void **state)
{
    (void)state;
    with_cookies(1);
    dtls_start(way.ends[A].d, way.now);
    run(&way, 25 * USEC_MS);
    assert_int_equal(way.ends[B].sent, 1);
    assert_true(way.ends[B].octets_sent < way.ends[B].octets_received); /* D15 */
    assert_int_equal(dtls_state(way.ends[B].d), DTLS_NEW);
    assert_true(dtls_deadline(way.ends[B].d) == USEC_NEVER);
    run(&way, USEC_S);
    assert_keyed(&way);
    assert_int_equal(way.ends[A].sent, 3);
    assert_int_equal(way.ends[B].sent, 3);
    way_done(&way);
}

static void without_the_cookie_little_is_sent(void **state)
{
    (void)state;
    with_cookies(1);
    dtls_start(way.ends[A].d, way.now);
    sv hello = hello_on_the_way();
    size_t calls = mem_calls(), live = mem_live();
    for (int i = 0; i < 1000; i++) {
        dtls_receive(way.ends[B].d, hello, way.now);
        assert_true(way.ends[B].octets_sent < (size_t)(i + 1) * hello.n);
        memset(way.packets, 0, sizeof(way.packets) / 2 * (i % 2)); /* do not pile up */
        for (size_t k = 0; k < PACKETS; k++)
            if (way.packets[k].used && way.packets[k].to == A)
                way.packets[k].used = false;
    }
    assert_int_equal(mem_calls(), calls);
    assert_int_equal(mem_live(), live);
    assert_int_equal(dtls_state(way.ends[B].d), DTLS_NEW);
    way_done(&way);
}

static void a_way_with_loss_gives_keys_with_cookies_too(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        with_cookies(seed);
        way.loss = 40;
        way.twice = 20;
        way.late = 100;
        dtls_start(way.ends[A].d, way.now);
        run(&way, 100 * USEC_S);
        if (!way.ends[A].failed)
            assert_keyed(&way);
        else
            assert_int_equal(way.ends[A].why, DTLS_WHY_SILENT);
        way_done(&way);
    }
}

/* ---- by hand ---- */

static uint8_t answer[DTLS_ANSWER_MAX];
static size_t answer_n;

static enum dtls_hello ask(sv peer, sv hello, usec now)
{
    return dtls_hello(bob, peer, hello, now, answer, &answer_n);
}

/* The ClientHello with the answer's cookie in it, as a client would send it: message_seq 1, another record. */
static size_t with_answer(sv hello, uint8_t *p)
{
    enum { HEAD = 13, FRAGMENT = 12, AT = HEAD + FRAGMENT + 34, COOKIE = 16 };
    size_t sid = (uint8_t)hello.p[AT], at = AT + 1 + sid;
    const uint8_t *cookie = answer + answer_n - COOKIE;
    assert_int_equal(hello.p[at], 0);
    memcpy(p, hello.p, at);
    p[at] = COOKIE;
    memcpy(p + at + 1, cookie, COOKIE);
    memcpy(p + at + 1 + COOKIE, hello.p + at + 1, hello.n - at - 1);
    size_t n = hello.n + COOKIE;
    p[10] = 1;
    p[11] = (uint8_t)((n - HEAD) >> 8);
    p[12] = (uint8_t)(n - HEAD);
    p[HEAD + 2] = (uint8_t)((n - HEAD - FRAGMENT) >> 8);
    p[HEAD + 3] = (uint8_t)(n - HEAD - FRAGMENT);
    p[HEAD + 5] = 1;
    memcpy(p + HEAD + 10, p + HEAD + 2, 2);
    return n;
}

static void a_cookie_is_good_for_one_peer_and_a_while(void **state)
{
    (void)state;
    uint8_t p[OCTETS];
    usec now = 1234 * USEC_S;
    with_cookies(1);
    dtls_start(way.ends[A].d, way.now);
    sv hello = hello_on_the_way();
    assert_int_equal(ask(PEER, hello, now), DTLS_HELLO_ANSWER);
    assert_true(answer_n < hello.n);
    assert_int_equal(answer[0], 22); /* handshake */
    assert_int_equal(answer[13], 3); /* hello_verify_request */
    memcpy(p, hello.p, hello.n);     /* §4.2.1: the ClientHello's record number */
    memcpy(p + 5, "\x01\x02\x03\x04\x05\x06", 6);
    assert_int_equal(ask(PEER, (sv){(char *)p, hello.n}, now), DTLS_HELLO_ANSWER);
    assert_memory_equal(answer + 3, p + 3, 8);
    sv second = {(char *)p, with_answer(hello, p)};
    assert_int_equal(ask(PEER, second, now), DTLS_HELLO_PROVEN);
    assert_int_equal(ask(PEER, second, now + 29 * USEC_S), DTLS_HELLO_PROVEN);
    assert_int_equal(ask(PEER, second, now + 61 * USEC_S), DTLS_HELLO_ANSWER);
    assert_int_equal(ask(SV("\xc0\x00\x02\x01\x13\xc5"), second, now), DTLS_HELLO_ANSWER);
    assert_int_equal(ask(SV(""), second, now), DTLS_HELLO_ANSWER);
    assert_int_equal(dtls_hello(alice, PEER, second, now, answer, &answer_n), DTLS_HELLO_ANSWER);
    for (size_t i = 0; i < 16; i++) { /* each octet counts */
        size_t at = 13 + 12 + 34 + 1 + (uint8_t)p[13 + 12 + 34] + 1 + i;
        p[at] ^= 1;
        assert_int_equal(ask(PEER, second, now), DTLS_HELLO_ANSWER);
        p[at] ^= 1;
    }
    p[13 + 12 + 5] ^= 1; /* another random: another ClientHello */
    assert_int_equal(ask(PEER, second, now), DTLS_HELLO_ANSWER);
    way_done(&way);
}

/* Cut anywhere, or of another kind: nothing, and no reading beyond. */
static void what_is_no_client_hello_is_not_answered(void **state)
{
    (void)state;
    uint8_t p[OCTETS];
    with_cookies(1);
    dtls_start(way.ends[A].d, way.now);
    sv hello = hello_on_the_way();
    for (size_t n = 0; n < hello.n; n++) {
        char *cut = malloc(n + 1);
        memcpy(cut, hello.p, n);
        char *exact = realloc(cut, n ? n : 1);
        assert_int_equal(ask(PEER, (sv){exact, n}, way.now), DTLS_HELLO_NONE);
        free(exact);
    }
    static const struct {
        size_t at;
        uint8_t v;
    } changes[] = {{0, 21}, {0, 23},  {1, 3},  {4, 1},  {12, 0},
                   {13, 2}, {15, 99}, {18, 2}, {21, 1}, {24, 1}};
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        memcpy(p, hello.p, hello.n);
        p[changes[i].at] = changes[i].v;
        if (ask(PEER, (sv){(char *)p, hello.n}, way.now) != DTLS_HELLO_NONE)
            fail_msg("change %zu", i);
    }
    assert_false(dtls_is(SV("\x13")) || dtls_is(SV("\x40")) || dtls_is(SV("")));
    assert_true(dtls_is(SV("\x14")) && dtls_is(SV("\x3f")) && dtls_is(hello));
    way_done(&way);
}

/* Without a machine until there is a proof. */
static void a_proven_hello_begins_a_machine(void **state)
{
    (void)state;
    uint8_t p[OCTETS];
    with_cookies(1);
    dtls_start(way.ends[A].d, way.now);
    sv hello = hello_on_the_way();
    assert_int_equal(ask(PEER, hello, way.now), DTLS_HELLO_ANSWER);
    for (size_t i = 0; i < PACKETS; i++)
        way.packets[i].used = false;
    put(&way, A, (sv){(char *)answer, answer_n}, way.now);
    run(&way, 0); /* the client's own second one */
    hello = hello_on_the_way();
    memcpy(p, hello.p, hello.n);
    assert_int_equal(ask(PEER, (sv){(char *)p, hello.n}, way.now), DTLS_HELLO_PROVEN);
    run(&way, USEC_S);
    assert_keyed(&way);
    assert_int_equal(way.ends[B].sent, 2);
    way_done(&way);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cookie_comes_back_before_anything_is_kept),
        cmocka_unit_test(without_the_cookie_little_is_sent),
        cmocka_unit_test(a_way_with_loss_gives_keys_with_cookies_too),
        cmocka_unit_test(a_cookie_is_good_for_one_peer_and_a_while),
        cmocka_unit_test(what_is_no_client_hello_is_not_answered),
        cmocka_unit_test(a_proven_hello_begins_a_machine),
    };
    return cmocka_run_group_tests(tests, rig_start, rig_end);
}
