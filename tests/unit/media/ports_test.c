/* SPDX-License-Identifier: MIT */
/* ports_test.c: each port has one taker; a live one is known by its address. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "ports/ports.h"

enum { FIRST = 20001, LAST = 20010 };

static struct addr at(const char *ip, uint16_t port)
{
    struct addr a;
    assert_int_equal(addr_parse_ip(sv_of(ip), port, &a), ERR_OK);
    return a;
}

static struct ports *fresh(void)
{
    struct ports *p;
    assert_int_equal(ports_new(FIRST, LAST, &p), ERR_OK);
    return p;
}

static void each_port_has_one_taker_until_it_is_given_back(void **state)
{
    struct ports *p = fresh();
    bool seen[LAST + 1] = {false};
    uint16_t port;
    (void)state;
    assert_int_equal(ports_count(p), 10);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(ports_take(p, 1, false, 7919 * i, &port), ERR_OK);
        assert_in_range(port, FIRST, LAST);
        assert_false(seen[port]);
        seen[port] = true;
    }
    assert_int_equal(ports_take(p, 1, false, 3, &port), ERR_BUSY);
    assert_int_equal(ports_taken(p), 10);
    ports_give(p, 20005, 1);
    assert_int_equal(ports_take(p, 1, false, 3, &port), ERR_OK);
    assert_int_equal(port, 20005);
    ports_free(p);
}

static void runs_are_in_a_row_and_even_ones_begin_even(void **state)
{
    struct ports *p = fresh();
    uint16_t port;
    (void)state;
    for (unsigned i = 0; i < 4; i++) { /* 20002..20009: the odd ends fit no even pair */
        assert_int_equal(ports_take(p, 2, true, i, &port), ERR_OK);
        assert_int_equal(port % 2, 0);
    }
    assert_int_equal(ports_take(p, 2, true, 0, &port), ERR_BUSY);
    assert_int_equal(ports_take(p, 2, false, 0, &port), ERR_BUSY); /* 20001 and 20010 are alone */
    assert_int_equal(ports_taken(p), 8); /* a failed search keeps nothing */
    assert_int_equal(ports_take(p, 1, false, 0, &port), ERR_OK);
    assert_int_equal(port, 20001);
    ports_give(p, 20004, 2);
    assert_int_equal(ports_take(p, 2, false, 0, &port), ERR_OK);
    assert_int_equal(port, 20004);
    ports_free(p);
}

static void a_live_port_is_known_by_its_address(void **state)
{
    struct ports *p = fresh();
    uint16_t port;
    (void)state;
    assert_int_equal(ports_take(p, 1, false, 4, &port), ERR_OK);
    struct addr mine = at("192.0.2.1", port), other = at("192.0.2.2", port);
    struct addr beside = at("192.0.2.1", (uint16_t)(port + 1)), six = at("2001:db8::1", port);
    assert_false(ports_is_live(p, &mine));
    ports_live(p, &mine);
    assert_true(ports_is_live(p, &mine));
    assert_false(ports_is_live(p, &other));
    assert_false(ports_is_live(p, &beside));
    assert_false(ports_is_live(p, &six));
    ports_give(p, port, 1);
    assert_false(ports_is_live(p, &mine));
    /* bound to all addresses of its family */
    struct addr any = at("0.0.0.0", port);
    assert_int_equal(ports_take(p, 1, false, 4, &port), ERR_OK);
    ports_live(p, &any);
    assert_true(ports_is_live(p, &mine) && ports_is_live(p, &other));
    assert_false(ports_is_live(p, &six));
    struct addr outside = at("192.0.2.1", 5060), above = at("192.0.2.1", LAST + 1);
    assert_false(ports_is_live(p, &outside) || ports_is_live(p, &above));
    ports_live(p, &outside); /* nobody's: nothing happens */
    assert_false(ports_is_live(p, &outside));
    ports_free(p);
}

static void addresses_beyond_the_cap_are_never_live(void **state)
{
    struct ports *p = fresh();
    uint16_t port;
    (void)state;
    for (unsigned i = 0; i <= PORTS_ADDRESSES; i++) {
        assert_int_equal(ports_take(p, 1, false, 0, &port), ERR_OK);
        struct addr a = {.family = 4, .port = port, .ip = {192, 0, 2, (uint8_t)i}};
        ports_live(p, &a);
        assert_int_equal(ports_is_live(p, &a), i < PORTS_ADDRESSES);
        ports_give(p, port, 1);
    }
    ports_free(p);
}

static void a_claimed_port_is_no_longer_found(void **state)
{
    struct ports *p = fresh();
    uint16_t port;
    (void)state;
    assert_int_equal(ports_claim(p, 20004, 2), ERR_OK);
    assert_int_equal(ports_claim(p, 20005, 1), ERR_BUSY);
    assert_int_equal(ports_claim(p, 20003, 2), ERR_BUSY); /* and 20003 stays free */
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(ports_take(p, 1, false, 3, &port), ERR_OK);
        assert_true(port != 20004 && port != 20005);
    }
    assert_int_equal(ports_take(p, 1, false, 3, &port), ERR_BUSY);
    assert_int_equal(ports_claim(p, 65535, 2), ERR_BUSY);
    assert_int_equal(ports_claim(p, 0, 1), ERR_BUSY);
    /* another range */
    assert_int_equal(ports_range(p, 30000, 30003), ERR_OK);
    assert_int_equal(ports_count(p), 4);
    assert_int_equal(ports_take(p, 2, true, 1, &port), ERR_OK);
    assert_int_equal(port, 30002);
    assert_int_equal(ports_taken(p), 12);
    assert_int_equal(ports_range(p, 5, 4), ERR_RANGE);
    ports_free(p);
}

static void a_range_must_be_one(void **state)
{
    struct ports *p;
    (void)state;
    assert_int_equal(ports_new(0, 10, &p), ERR_RANGE);
    assert_int_equal(ports_new(11, 10, &p), ERR_RANGE);
    assert_int_equal(ports_new(65535, 65535, &p), ERR_OK);
    uint16_t port;
    assert_int_equal(ports_take(p, 2, false, 0, &port), ERR_BUSY);
    assert_int_equal(ports_take(p, 1, true, 0, &port), ERR_BUSY);
    assert_int_equal(ports_take(p, 1, false, 0, &port), ERR_OK);
    assert_int_equal(port, 65535);
    ports_free(p);
    ports_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_port_has_one_taker_until_it_is_given_back),
        cmocka_unit_test(runs_are_in_a_row_and_even_ones_begin_even),
        cmocka_unit_test(a_live_port_is_known_by_its_address),
        cmocka_unit_test(addresses_beyond_the_cap_are_never_live),
        cmocka_unit_test(a_claimed_port_is_no_longer_found),
        cmocka_unit_test(a_range_must_be_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
