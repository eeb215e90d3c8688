/* SPDX-License-Identifier: MIT */
/* Values of the attributes of ICE and TURN: their octets, written and read; sizes; who understands which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "stunmsg/stunmsg.h"

#define OCTETS(lit) ((sv){"" lit, sizeof(lit) - 1})

static struct stunmsg msg;
static char mem[1024];
static struct buf b;
static struct stun_out o;

static int setup(void **state)
{
    (void)state;
    buf_init(&b, mem, sizeof mem);
    o = stunmsg_begin(&b, STUN_ALLOCATE, STUN_REQUEST, (const uint8_t *)"transaction.");
    return 0;
}

/* The only attribute's value, if it has the octets that the RFC draws. */
static sv printed(enum stun_type type, sv want)
{
    struct stun_attr a;
    assert_int_equal(b.rc, ERR_OK);
    assert_int_equal(stunmsg_parse(buf_sv(&b), &msg), ERR_OK);
    assert_true(stunmsg_find(&msg, type, &a));
    assert_true(sv_eq(a.value, want));
    setup(NULL);
    return a.value;
}

static void numbers(void **state)
{
    uint32_t v32;
    uint64_t v64;
    uint16_t channel;
    (void)state;
    stunmsg_put_u32(&o, STUN_LIFETIME, 0x01020304);
    assert_int_equal(stunmsg_u32(printed(STUN_LIFETIME, OCTETS("\1\2\3\4")), &v32), ERR_OK);
    assert_int_equal(v32, 0x01020304);
    stunmsg_put_u64(&o, STUN_ICE_CONTROLLING, 0xf102030405060708);
    assert_int_equal(
        stunmsg_u64(printed(STUN_ICE_CONTROLLING, OCTETS("\xf1\2\3\4\5\6\7\x08")), &v64), ERR_OK);
    assert_true(v64 == 0xf102030405060708);
    stunmsg_put_channel(&o, 0x4001);
    assert_int_equal(stunmsg_channel(printed(STUN_CHANNEL_NUMBER, OCTETS("\x40\1\0\0")), &channel),
                     ERR_OK);
    assert_int_equal(channel, 0x4001);
    assert_int_equal(stunmsg_channel(OCTETS("\x40\2\xff\xff"), &channel), ERR_OK); /* RFFU */
    assert_int_equal(channel, 0x4002);
}

static void kinds(void **state)
{
    uint8_t family, protocol;
    bool reserve;
    (void)state;
    stunmsg_put_family(&o, STUN_REQUESTED_ADDRESS_FAMILY, 6);
    assert_int_equal(
        stunmsg_family(printed(STUN_REQUESTED_ADDRESS_FAMILY, OCTETS("\2\0\0\0")), &family),
        ERR_OK);
    assert_int_equal(family, 6);
    stunmsg_put_family(&o, STUN_ADDITIONAL_ADDRESS_FAMILY, 4);
    assert_int_equal(
        stunmsg_family(printed(STUN_ADDITIONAL_ADDRESS_FAMILY, OCTETS("\1\0\0\0")), &family),
        ERR_OK);
    assert_int_equal(family, 4);
    assert_int_equal(stunmsg_family(OCTETS("\3\0\0\0"), &family), ERR_UNSUPPORTED);
    stunmsg_put_transport(&o, 17);
    assert_int_equal(
        stunmsg_transport(printed(STUN_REQUESTED_TRANSPORT, OCTETS("\x11\0\0\0")), &protocol),
        ERR_OK);
    assert_int_equal(protocol, 17);
    for (int i = 0; i < 2; i++) {
        stunmsg_put_even_port(&o, i);
        sv value = printed(STUN_EVEN_PORT, i ? OCTETS("\x80") : OCTETS("\0"));
        assert_int_equal(stunmsg_even_port(value, &reserve), ERR_OK);
        assert_int_equal(reserve, i);
    }
    stunmsg_put_flag(&o, STUN_USE_CANDIDATE);
    printed(STUN_USE_CANDIDATE, OCTETS(""));
}

static void reports(void **state)
{
    struct stun_icmp icmp;
    uint8_t family;
    unsigned code;
    sv reason;
    uint16_t type;
    (void)state;
    stunmsg_put_icmp(&o, &(struct stun_icmp){3, 4, 1280});
    assert_int_equal(stunmsg_icmp(printed(STUN_ICMP, OCTETS("\0\0\3\4\0\0\5\0")), &icmp), ERR_OK);
    assert_int_equal(icmp.type, 3);
    assert_int_equal(icmp.code, 4);
    assert_int_equal(icmp.data, 1280);
    stunmsg_put_address_error(&o, 6, 440, SV("No"));
    assert_int_equal(stunmsg_address_error(printed(STUN_ADDRESS_ERROR_CODE, OCTETS("\2\0\4\x28No")),
                                           &family, &code, &reason),
                     ERR_OK);
    assert_int_equal(family, 6);
    assert_int_equal(code, 440);
    assert_true(sv_eq(reason, SV("No")));
    assert_int_equal(stunmsg_address_error(OCTETS("\7\0\4\x28"), &family, &code, &reason),
                     ERR_UNSUPPORTED);
    stunmsg_put_error_of(&o, STUN_ROLE_CONFLICT);
    assert_int_equal(stunmsg_error_code(printed(STUN_ERROR_CODE, OCTETS("\0\0\4\x57Role Conflict")),
                                        &code, &reason),
                     ERR_OK);
    assert_int_equal(code, 487);
    sv list = OCTETS("\x00\x24\x7f\xff\x01");
    assert_true(stunmsg_unknown_at(list, 1, &type));
    assert_int_equal(type, 0x7fff);
    assert_false(stunmsg_unknown_at(list, 2, &type));
    assert_false(stunmsg_unknown_at(list, SIZE_MAX, &type));
}

static void addresses(void **state)
{
    struct stun_addr a;
    (void)state;
    stunmsg_put_address(&o, STUN_ALTERNATE_SERVER,
                        &(struct stun_addr){.family = 4, .port = 3478, .ip = {192, 0, 2, 1}});
    sv value = printed(STUN_ALTERNATE_SERVER, OCTETS("\0\1\x0d\x96\xc0\0\2\1"));
    assert_int_equal(stunmsg_address(value, &a), ERR_OK);
    assert_int_equal(a.family, 4);
    assert_int_equal(a.port, 3478);
    assert_memory_equal(a.ip, ((uint8_t[]){192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}), 16);
    stunmsg_put_xor_address(&o, STUN_XOR_PEER_ADDRESS,
                            &(struct stun_addr){.family = 6, .port = 1, .ip = {0x20, 1}});
    value = printed(STUN_XOR_PEER_ADDRESS, OCTETS("\0\2\x21\x13\x01\x13\xa4\x42transaction."));
    assert_int_equal(stunmsg_xor_address(&msg, value, &a), ERR_OK);
    assert_int_equal(a.port, 1);
    assert_memory_equal(a.ip, ((uint8_t[]){0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}), 16);
}

static void sizes_are_exact(void **state)
{
    (void)state;
    for (size_t n = 0; n < 12; n++) {
        sv value = sv_sub(OCTETS("\1\1\4\4\0\0\0\0\0\0\0\0"), 0, n);
        uint32_t v32;
        uint64_t v64;
        uint16_t channel;
        uint8_t family;
        bool reserve;
        struct stun_icmp icmp;
        struct stun_addr a;
        unsigned code;
        sv reason;
        assert_int_equal(stunmsg_u32(value, &v32) == ERR_OK, n == 4);
        assert_int_equal(stunmsg_u64(value, &v64) == ERR_OK, n == 8);
        assert_int_equal(stunmsg_channel(value, &channel) == ERR_OK, n == 4);
        assert_int_equal(stunmsg_family(value, &family) == ERR_OK, n == 4);
        assert_int_equal(stunmsg_transport(value, &family) == ERR_OK, n == 4);
        assert_int_equal(stunmsg_even_port(value, &reserve) == ERR_OK, n == 1);
        assert_int_equal(stunmsg_icmp(value, &icmp) == ERR_OK, n == 8);
        assert_int_equal(stunmsg_address(value, &a) == ERR_OK, n == 8);
        assert_int_equal(stunmsg_address_error(value, &family, &code, &reason) == ERR_OK, n >= 4);
    }
}

/* What must be understood and is of another usage is unknown: ICE's to a STUN or TURN server, TURN's to ICE. */
static void each_usage_understands_its_own(void **state)
{
    static const struct {
        enum stun_type type;
        bool basic, ice, turn;
    } row[] = {
        {STUN_USERNAME, true, true, true},
        {STUN_PRIORITY, false, true, false},
        {STUN_USE_CANDIDATE, false, true, false},
        {STUN_LIFETIME, false, false, true},
        {STUN_XOR_PEER_ADDRESS, false, false, true},
        {STUN_CONNECTION_ID, false, false, true},
        {STUN_FINGERPRINT, true, true, true},
        {(enum stun_type)0x0003, false, false, false},
        {(enum stun_type)0x0010, false, false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        assert_int_equal(stunmsg_is_basic((uint16_t)row[i].type), row[i].basic);
        assert_int_equal(stunmsg_is_ice((uint16_t)row[i].type), row[i].ice);
        assert_int_equal(stunmsg_is_turn((uint16_t)row[i].type), row[i].turn);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(numbers, setup),
        cmocka_unit_test_setup(kinds, setup),
        cmocka_unit_test_setup(reports, setup),
        cmocka_unit_test_setup(addresses, setup),
        cmocka_unit_test_setup(sizes_are_exact, setup),
        cmocka_unit_test_setup(each_usage_understands_its_own, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
