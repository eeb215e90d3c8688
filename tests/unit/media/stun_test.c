/* SPDX-License-Identifier: MIT */
/* STUN as client and server: when a request is repeated, which answers are taken, how much is answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "stun/stun.h"

#define ID ((const uint8_t *)"transaction.")

static char mem[2048], out_mem[256];
static struct buf b, out;
static struct addr server, other, us;

static int setup(void **state)
{
    (void)state;
    buf_init(&b, mem, sizeof mem);
    buf_init(&out, out_mem, sizeof out_mem);
    assert_int_equal(addr_parse(SV("192.0.2.1:3478"), &server), ERR_OK);
    assert_int_equal(addr_parse(SV("192.0.2.1:3479"), &other), ERR_OK);
    assert_int_equal(addr_parse(SV("198.51.100.7:40000"), &us), ERR_OK);
    return 0;
}

/* ---- transactions ---- */

static void requests_are_repeated_as_the_rfc_counts(void **state)
{
    static const usec at_ms[] = {0, 500, 1500, 3500, 7500, 15500, 31500};
    struct stun_txn t;
    usec now = 7 * USEC_S;
    (void)state;
    stun_txn_start(&t, ID, &stun_udp, now);
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(stun_txn_next(&t), now + at_ms[i] * USEC_MS);
        assert_int_equal(stun_txn_step(&t, stun_txn_next(&t) - 1), STUN_WAIT);
        assert_int_equal(stun_txn_step(&t, stun_txn_next(&t)), STUN_TRANSMIT);
    }
    assert_int_equal(stun_txn_next(&t), now + 39500 * USEC_MS);
    assert_int_equal(stun_txn_step(&t, stun_txn_next(&t) - 1), STUN_WAIT);
    assert_int_equal(stun_txn_step(&t, stun_txn_next(&t)), STUN_TIMED_OUT);
    assert_int_equal(stun_txn_next(&t), USEC_NEVER);
    assert_int_equal(stun_txn_step(&t, USEC_NEVER), STUN_WAIT);

    stun_txn_start(&t, ID, &stun_reliable, now);
    assert_int_equal(stun_txn_step(&t, now), STUN_TRANSMIT);
    assert_int_equal(stun_txn_next(&t), now + 39500 * USEC_MS);
    assert_int_equal(stun_txn_step(&t, stun_txn_next(&t)), STUN_TIMED_OUT);
}

static void a_late_caller_sends_once(void **state)
{
    struct stun_txn t;
    (void)state;
    stun_txn_start(&t, ID, &stun_udp, 0);
    assert_int_equal(stun_txn_step(&t, 0), STUN_TRANSMIT);
    assert_int_equal(stun_txn_rtt(&t, 30 * USEC_MS), 30 * USEC_MS);
    assert_int_equal(stun_txn_step(&t, 10 * USEC_S), STUN_TRANSMIT);
    assert_int_equal(stun_txn_step(&t, 10 * USEC_S), STUN_WAIT);
    assert_int_equal(stun_txn_next(&t), 11 * USEC_S);
    assert_int_equal(stun_txn_rtt(&t, 11 * USEC_S), 0); /* Karn */
}

/* ---- what our address is ---- */

static struct stun_binding binding;

static struct stunmsg parsed(void)
{
    struct stunmsg m;
    assert_int_equal(b.rc, ERR_OK);
    assert_int_equal(stunmsg_parse(buf_sv(&b), &m), ERR_OK);
    return m;
}

static void ask(void)
{
    stun_binding_start(&binding, &server, ID, &stun_udp, 0);
    assert_int_equal(stun_txn_step(&binding.txn, 0), STUN_TRANSMIT);
    buf_reset(&b);
}

static struct stun_out answer(enum stun_class class)
{
    buf_reset(&b);
    return stunmsg_begin(&b, STUN_BINDING, class, ID);
}

static void our_address_is_asked_and_told(void **state)
{
    (void)state;
    ask();
    stun_binding_put(&binding, &b);
    assert_true(stun_answer(buf_sv(&b), &us, &out));
    buf_reset(&b);
    buf_put(&b, buf_sv(&out));
    struct stunmsg m = parsed();
    assert_int_equal(stun_binding_on_message(&binding, &m, &other), STUN_BINDING_NONE);
    assert_int_equal(stun_binding_on_message(&binding, &m, &server), STUN_BINDING_MAPPED);
    assert_true(addr_equal(&binding.mapped, &us));
    assert_int_equal(stun_binding_on_message(&binding, &m, &server), STUN_BINDING_NONE); /* again */
    assert_int_equal(stun_txn_next(&binding.txn), USEC_NEVER);
}

static void only_its_own_answer_counts(void **state)
{
    struct stunmsg m;
    (void)state;
    stun_binding_start(&binding, &server, ID, &stun_udp, 0);
    answer(STUN_SUCCESS);
    m = parsed();
    assert_int_equal(stun_binding_on_message(&binding, &m, &server),
                     STUN_BINDING_NONE); /* not asked yet */
    ask();
    stunmsg_begin(&b, STUN_BINDING, STUN_SUCCESS, (const uint8_t *)"transaction,");
    m = parsed();
    assert_int_equal(stun_binding_on_message(&binding, &m, &server), STUN_BINDING_NONE);
    answer(STUN_REQUEST);
    m = parsed();
    assert_int_equal(stun_binding_on_message(&binding, &m, &server), STUN_BINDING_NONE);
    answer(STUN_INDICATION);
    m = parsed();
    assert_int_equal(stun_binding_on_message(&binding, &m, &server), STUN_BINDING_NONE);
    buf_reset(&b);
    stunmsg_begin(&b, STUN_ALLOCATE, STUN_SUCCESS, ID);
    m = parsed();
    assert_int_equal(stun_binding_on_message(&binding, &m, &server), STUN_BINDING_NONE);
    assert_true(binding.txn.running);
}

static void refusals_end_it(void **state)
{
    static const struct stun_addr next = {.family = 4, .port = 3478, .ip = {192, 0, 2, 9}};
    static const struct stun_addr next6 = {.family = 6, .port = 3478, .ip = {0x20, 1}};
    static const struct stun_addr own = {.family = 4, .port = 9, .ip = {198, 51, 100, 1}};
    struct stunmsg m;
    struct stun_out o;
    (void)state;
    ask();
    o = answer(STUN_ERROR);
    stunmsg_put_error_of(&o, STUN_SERVER_ERROR);
    m = parsed();
    assert_int_equal(stun_binding_on_message(&binding, &m, &server), STUN_BINDING_FAILED);
    ask();
    answer(STUN_SUCCESS); /* without an address */
    m = parsed();
    assert_int_equal(stun_binding_on_message(&binding, &m, &server), STUN_BINDING_FAILED);
    ask();
    o = answer(STUN_SUCCESS);
    stunmsg_put_address(&o, STUN_MAPPED_ADDRESS, &own); /* of an old server */
    m = parsed();
    assert_int_equal(stun_binding_on_message(&binding, &m, &server), STUN_BINDING_MAPPED);
    assert_int_equal(binding.mapped.port, 9);
    ask();
    o = answer(STUN_SUCCESS);
    stunmsg_put_xor_address(&o, STUN_XOR_MAPPED_ADDRESS, &own);
    stunmsg_put(&o, 0x7777, SV("must be understood"));
    m = parsed();
    assert_int_equal(stun_binding_on_message(&binding, &m, &server), STUN_BINDING_FAILED);
    ask();
    o = answer(STUN_ERROR);
    stunmsg_put_error_of(&o, STUN_TRY_ALTERNATE);
    stunmsg_put_address(&o, STUN_ALTERNATE_SERVER, &next);
    m = parsed();
    assert_int_equal(stun_binding_on_message(&binding, &m, &server), STUN_BINDING_ALTERNATE);
    assert_int_equal(binding.mapped.ip[3], 9);
    ask();
    o = answer(STUN_ERROR);
    stunmsg_put_error_of(&o, STUN_TRY_ALTERNATE);
    stunmsg_put_address(&o, STUN_ALTERNATE_SERVER, &next6);
    m = parsed();
    assert_int_equal(stun_binding_on_message(&binding, &m, &server), STUN_BINDING_FAILED);
}

static void mapped_ipv6_is_ipv4(void **state)
{
    static const struct stun_addr mapped = {
        .family = 6, .port = 5, .ip = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1}};
    (void)state;
    struct addr a = stun_to_addr(&mapped);
    assert_int_equal(a.family, 4);
    assert_int_equal(addr_class(&a), ADDR_LOOPBACK);
}

/* ---- the server ---- */

/* Requests of all sizes, with and without what is unknown: the answer is never more than the address beyond them. */
static void answers_are_bounded(void **state)
{
    struct addr from6;
    (void)state;
    assert_int_equal(addr_parse(SV("[2001:db8::1]:1"), &from6), ERR_OK);
    for (unsigned unknown = 0; unknown < 40; unknown++) {
        for (int fingerprint = 0; fingerprint < 2; fingerprint++) {
            struct stun_out o = answer(STUN_REQUEST);
            for (unsigned i = 0; i < unknown; i++)
                stunmsg_put(&o, (uint16_t)(0x1000 + i), SV(""));
            if (fingerprint)
                stunmsg_put_fingerprint(&o);
            buf_reset(&out);
            assert_true(stun_answer(buf_sv(&b), &from6, &out));
            assert_true(out.n <= b.n + 24 && out.n <= STUN_ANSWER_MAX);
            struct stunmsg m;
            assert_int_equal(stunmsg_parse(buf_sv(&out), &m), ERR_OK);
            assert_int_equal(m.class, unknown ? STUN_ERROR : STUN_SUCCESS);
            assert_int_equal(m.fingerprint, fingerprint);
            assert_memory_equal(m.id, ID, STUN_ID);
            buf_reset(&out);
            assert_true(stun_answer(buf_sv(&b), &us, &out));
            assert_true(out.n <= b.n + (unknown ? 24 : 12));
        }
    }
}

static void all_else_is_ignored(void **state)
{
    (void)state;
    answer(STUN_INDICATION);
    assert_false(stun_answer(buf_sv(&b), &us, &out));
    answer(STUN_SUCCESS);
    assert_false(stun_answer(buf_sv(&b), &us, &out));
    buf_reset(&b);
    stunmsg_begin(&b, STUN_ALLOCATE, STUN_REQUEST, ID);
    assert_false(stun_answer(buf_sv(&b), &us, &out));
    assert_false(stun_answer(SV("no STUN, but long enough"), &us, &out));
    struct stun_out o = answer(STUN_REQUEST);
    static char much[1300];
    stunmsg_put(&o, STUN_SOFTWARE, (sv){much, sizeof much});
    assert_false(stun_answer(buf_sv(&b), &us, &out));
    assert_int_equal(out.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(requests_are_repeated_as_the_rfc_counts, setup),
        cmocka_unit_test_setup(a_late_caller_sends_once, setup),
        cmocka_unit_test_setup(our_address_is_asked_and_told, setup),
        cmocka_unit_test_setup(only_its_own_answer_counts, setup),
        cmocka_unit_test_setup(refusals_end_it, setup),
        cmocka_unit_test_setup(mapped_ipv6_is_ipv4, setup),
        cmocka_unit_test_setup(answers_are_bounded, setup),
        cmocka_unit_test_setup(all_else_is_ignored, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
