/* SPDX-License-Identifier: MIT */
/* STUN messages: the vectors of RFC 5769, borders, fingerprints, what counts, printing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "stunmsg/stunmsg.h"

#define OCTETS(lit) ((sv){"" lit, sizeof(lit) - 1})
#define COOKIE      "\x21\x12\xa4\x42"
#define ID          "\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae"

/* RFC 5769 §2.1 */
static const sv request =
    OCTETS("\x00\x01\x00\x58" COOKIE ID "\x80\x22\x00\x10STUN test client"
           "\x00\x24\x00\x04\x6e\x00\x01\xff"
           "\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36"
           "\x00\x06\x00\x09\x65\x76\x74\x6a\x3a\x68\x36\x76\x59\x20\x20\x20"
           "\x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49"
           "\xc1\xb5\x71\xa2"
           "\x80\x28\x00\x04\xe5\x7a\x3b\xcf");
/* §2.2 */
static const sv answer4 =
    OCTETS("\x01\x01\x00\x3c" COOKIE ID "\x80\x22\x00\x0btest vector "
           "\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43"
           "\x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53"
           "\xf0\x6b\xe7\xd7"
           "\x80\x28\x00\x04\xc0\x7d\x4c\x96");
/* §2.3 */
static const sv answer6 =
    OCTETS("\x01\x01\x00\x48" COOKIE ID "\x80\x22\x00\x0btest vector "
           "\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5"
           "\xbe\xd2\xb9\xd9"
           "\x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75"
           "\xbf\xe3\xed\x41"
           "\x80\x28\x00\x04\xc8\xfb\x0b\x4c");
/* §2.4 */
static const sv request_long_term =
    OCTETS("\x00\x01\x00\x60" COOKIE "\x78\xad\x34\x33\xc6\xad\x72\xc0\x29\xda\x41\x2e"
           "\x00\x06\x00\x12\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf\xe3"
           "\x82\xb9\x00\x00"
           "\x00\x15\x00\x1c\x66\x2f\x2f\x34\x39\x39\x6b\x39\x35\x34\x64\x36\x4f\x4c\x33\x34"
           "\x6f\x4c\x39\x46\x53\x54\x76\x79\x36\x34\x73\x41"
           "\x00\x14\x00\x0b\x65\x78\x61\x6d\x70\x6c\x65\x2e\x6f\x72\x67\x00"
           "\x00\x08\x00\x14\xf6\x70\x24\x65\x6d\xd6\x4a\x3e\x02\xb8\xe0\x71\x2e\x85\xc9\xa2"
           "\x8c\xa8\x96\x66");

static struct stunmsg msg;
static char mem[70000];
static struct buf b;

static int setup(void **state)
{
    (void)state;
    buf_init(&b, mem, sizeof mem);
    return 0;
}

/* A copy of exactly these octets on the heap: the sanitizer sees who reads on. */
static enum err parse_exactly(sv octets)
{
    char *copy = malloc(octets.n + 1);
    assert_non_null(copy);
    memcpy(copy + 1, octets.p, octets.n);
    enum err rc = stunmsg_parse((sv){copy + 1, octets.n}, &msg);
    free(copy);
    return rc;
}

/* ---- vectors ---- */

static void the_sample_requests_are_read(void **state)
{
    struct stun_attr a;
    struct stun_walk w = {0};
    static const uint16_t types[] = {0x8022, 0x0024, 0x8029, 0x0006, 0x0008, 0x8028};
    (void)state;
    assert_int_equal(stunmsg_parse(request, &msg), ERR_OK);
    assert_int_equal(msg.class, STUN_REQUEST);
    assert_int_equal(msg.method, STUN_BINDING);
    assert_memory_equal(msg.id, ID, STUN_ID);
    assert_true(msg.fingerprint);
    for (size_t i = 0; i < 6; i++) {
        assert_true(stunmsg_next(&msg, &w, &a));
        assert_int_equal(a.type, types[i]);
    }
    assert_false(stunmsg_next(&msg, &w, &a));
    assert_true(stunmsg_find(&msg, STUN_USERNAME, &a));
    assert_true(sv_eq(a.value, SV("evtj:h6vY")));
    assert_true(stunmsg_find(&msg, STUN_MESSAGE_INTEGRITY, &a));
    assert_int_equal(a.at, request.n - 8 - 24);
    uint16_t unknown[4];
    assert_int_equal(stunmsg_unknown(&msg, stunmsg_is_basic, unknown, 4), 1);
    assert_int_equal(unknown[0], 0x0024); /* PRIORITY is ICE's */

    assert_int_equal(stunmsg_parse(request_long_term, &msg), ERR_OK);
    assert_false(msg.fingerprint);
    assert_true(stunmsg_find(&msg, STUN_REALM, &a));
    assert_true(sv_eq(a.value, SV("example.org")));
    assert_int_equal(stunmsg_unknown(&msg, stunmsg_is_basic, unknown, 4), 0);
}

static void the_sample_answers_are_read(void **state)
{
    static const uint8_t ip4[] = {192, 0, 2, 1};
    static const uint8_t ip6[] = {0x20, 0x01, 0x0d, 0xb8, 0x12, 0x34, 0x56, 0x78,
                                  0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77};
    struct stun_attr a;
    struct stun_addr mapped;
    (void)state;
    assert_int_equal(stunmsg_parse(answer4, &msg), ERR_OK);
    assert_int_equal(msg.class, STUN_SUCCESS);
    assert_true(stunmsg_find(&msg, STUN_XOR_MAPPED_ADDRESS, &a));
    assert_int_equal(stunmsg_xor_address(&msg, a.value, &mapped), ERR_OK);
    assert_int_equal(mapped.family, 4);
    assert_int_equal(mapped.port, 32853);
    assert_memory_equal(mapped.ip, ip4, 4);

    assert_int_equal(stunmsg_parse(answer6, &msg), ERR_OK);
    assert_true(stunmsg_find(&msg, STUN_XOR_MAPPED_ADDRESS, &a));
    assert_int_equal(stunmsg_xor_address(&msg, a.value, &mapped), ERR_OK);
    assert_int_equal(mapped.family, 6);
    assert_int_equal(mapped.port, 32853);
    assert_memory_equal(mapped.ip, ip6, 16);
}

/* The sample answers again, from our printer; but for their padding, which is zero here. */
static void the_sample_answers_are_written(void **state)
{
    static const struct stun_addr mapped4 = {.family = 4, .port = 32853, .ip = {192, 0, 2, 1}};
    (void)state;
    struct stun_out o = stunmsg_begin(&b, STUN_BINDING, STUN_SUCCESS, (const uint8_t *)ID);
    struct stun_attr a;
    stunmsg_put(&o, STUN_SOFTWARE, SV("test vector"));
    stunmsg_put_xor_address(&o, STUN_XOR_MAPPED_ADDRESS, &mapped4);
    assert_int_equal(stunmsg_parse(answer4, &msg), ERR_OK);
    assert_true(stunmsg_find(&msg, STUN_MESSAGE_INTEGRITY, &a));
    stunmsg_put(&o, STUN_MESSAGE_INTEGRITY, a.value);
    mem[STUN_HEADER + 4 + 11] = ' '; /* theirs */
    stunmsg_put_fingerprint(&o);
    assert_int_equal(b.rc, ERR_OK);
    assert_true(sv_eq(buf_sv(&b), answer4));
}

/* ---- what is none ---- */

static void every_cut_is_refused(void **state)
{
    (void)state;
    for (size_t n = 0; n < request.n; n++)
        assert_int_equal(parse_exactly((sv){request.p, n}), ERR_SYNTAX);
    assert_int_equal(parse_exactly(request), ERR_OK);
    memcpy(mem, request.p, request.n);
    memset(mem + request.n, 0, 8);
    assert_int_equal(parse_exactly((sv){mem, request.n + 4}), ERR_SYNTAX); /* octets behind */
}

static void every_wrong_octet_breaks_the_fingerprint(void **state)
{
    (void)state;
    for (size_t i = 0; i < request.n; i++) {
        memcpy(mem, request.p, request.n);
        mem[i] ^= 0x40;
        enum err rc = stunmsg_parse((sv){mem, request.n}, &msg);
        if (rc == ERR_OK) /* then it is none any more: the attribute has another type */
            assert_true(!msg.fingerprint && i >= request.n - 8 && i < request.n - 6);
    }
}

static void borders_of_attributes_hold(void **state)
{
    static const struct {
        sv octets;
        enum err rc;
    } row[] = {
        {OCTETS("\x00\x01\x00\x00" COOKIE ID), ERR_OK},
        {OCTETS("\x00\x01\x00\x04" COOKIE ID "\x00\x06\x00\x00"), ERR_OK},
        {OCTETS("\x00\x01\x00\x04" COOKIE ID "\x00\x06\x00\x01"), ERR_SYNTAX},
        {OCTETS("\x00\x01\x00\x08" COOKIE ID "\x00\x06\x00\x01zzzz"), ERR_OK},
        {OCTETS("\x00\x01\x00\x08" COOKIE ID "\x00\x06\x00\x05zzzz"), ERR_SYNTAX},
        {OCTETS("\x00\x01\x00\x08" COOKIE ID "\x00\x06\xff\xffzzzz"), ERR_SYNTAX},
        {OCTETS("\x00\x01\x00\x02" COOKIE ID "\x00\x06"), ERR_SYNTAX},
        {OCTETS("\x00\x01\x00\x04" COOKIE ID), ERR_SYNTAX},
        {OCTETS("\x40\x01\x00\x00" COOKIE ID), ERR_SYNTAX},
        {OCTETS("\x00\x01\x00\x00\x21\x12\xa4\x43" ID), ERR_SYNTAX},
        /* FINGERPRINT: too short, and not the last */
        {OCTETS("\x00\x01\x00\x04" COOKIE ID "\x80\x28\x00\x00"), ERR_SYNTAX},
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
        assert_int_equal(parse_exactly(row[i].octets), row[i].rc);
    struct stun_out o = stunmsg_begin(&b, STUN_BINDING, STUN_REQUEST, (const uint8_t *)ID);
    stunmsg_put_fingerprint(&o);
    assert_int_equal(stunmsg_parse(buf_sv(&b), &msg), ERR_OK);
    assert_true(msg.fingerprint);
    buf_reset(&b);
    o = stunmsg_begin(&b, STUN_BINDING, STUN_REQUEST, (const uint8_t *)ID);
    stunmsg_put_fingerprint(&o);
    stunmsg_put(&o, STUN_SOFTWARE, SV("x"));
    assert_int_equal(stunmsg_parse(buf_sv(&b), &msg), ERR_SYNTAX);
}

static void values_have_their_sizes(void **state)
{
    static const sv bad[] = {OCTETS(""), OCTETS("\0\1\0"), OCTETS("\0\1zzabc"),
                             OCTETS("\0\1zzabcde"), OCTETS("\0\2zzabcd")};
    struct stun_addr mapped;
    unsigned code;
    sv reason;
    (void)state;
    assert_int_equal(stunmsg_parse(request, &msg), ERR_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(stunmsg_xor_address(&msg, bad[i], &mapped), ERR_SYNTAX);
    assert_int_equal(stunmsg_xor_address(&msg, OCTETS("\0\3zzabcd"), &mapped), ERR_UNSUPPORTED);
    assert_int_equal(stunmsg_error_code(OCTETS("\0\0\4"), &code, &reason), ERR_SYNTAX);
    assert_int_equal(stunmsg_error_code(OCTETS("\0\0\2\0"), &code, &reason), ERR_SYNTAX);
    assert_int_equal(stunmsg_error_code(OCTETS("\0\0\4\x64"), &code, &reason), ERR_SYNTAX);
    assert_int_equal(stunmsg_error_code(OCTETS("\xff\xff\xfc\x14Why"), &code, &reason), ERR_OK);
    assert_int_equal(code, 420);
    assert_true(sv_eq(reason, SV("Why")));
}

/* ---- what counts ---- */

static bool knows_none(uint16_t type)
{
    (void)type;
    return false;
}

static void behind_the_integrity_little_counts(void **state)
{
    struct stun_attr a;
    struct stun_walk w = {0};
    uint16_t unknown[8];
    (void)state;
    struct stun_out o = stunmsg_begin(&b, STUN_BINDING, STUN_REQUEST, (const uint8_t *)ID);
    stunmsg_put(&o, 0x7001, SV("a"));
    stunmsg_put(&o, 0x7001, SV("again"));
    stunmsg_put(&o, 0xf001, SV("optional"));
    stunmsg_put(&o, STUN_MESSAGE_INTEGRITY, SV("01234567890123456789"));
    stunmsg_put(&o, 0x7002, SV("b"));
    stunmsg_put(&o, STUN_MESSAGE_INTEGRITY_SHA256, SV("01234567890123456789"));
    stunmsg_put(&o, STUN_MESSAGE_INTEGRITY, SV("01234567890123456789"));
    stunmsg_put(&o, 0x7003, SV("c"));
    stunmsg_put_fingerprint(&o);
    assert_int_equal(stunmsg_parse(buf_sv(&b), &msg), ERR_OK);
    static const uint16_t types[] = {0x7001, 0x7001, 0xf001, 0x0008, 0x001c, 0x8028};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        assert_true(stunmsg_next(&msg, &w, &a));
        assert_int_equal(a.type, types[i]);
    }
    assert_false(stunmsg_next(&msg, &w, &a));
    assert_false(stunmsg_find(&msg, STUN_USERNAME, &a));
    assert_int_equal(stunmsg_unknown(&msg, stunmsg_is_basic, unknown, 8), 1);
    assert_int_equal(unknown[0], 0x7001);
    assert_int_equal(stunmsg_unknown(&msg, knows_none, unknown, 8), 3);
    assert_int_equal(stunmsg_unknown(&msg, knows_none, unknown, 2), 2);
}

/* ---- printing ---- */

static void classes_and_methods_come_back(void **state)
{
    (void)state;
    for (uint16_t method = 0; method < 0x1000; method++) {
        for (int class = STUN_REQUEST; class <= STUN_ERROR; class ++) {
            buf_reset(&b);
            stunmsg_begin(&b, method, (enum stun_class) class, (const uint8_t *)ID);
            assert_int_equal(stunmsg_parse(buf_sv(&b), &msg), ERR_OK);
            assert_int_equal(msg.method, method);
            assert_int_equal(msg.class, class);
        }
    }
}

static void a_refusal_says_what_is_unknown(void **state)
{
    static const uint16_t types[] = {0x0024, 0x7fff, 0x0003};
    struct stun_attr a;
    unsigned code;
    sv reason;
    (void)state;
    buf_str(&b, "before"); /* a message may begin anywhere */
    struct stun_out o = stunmsg_begin(&b, STUN_BINDING, STUN_ERROR, (const uint8_t *)ID);
    stunmsg_put_error(&o, 420, SV("Unknown Attribute"));
    stunmsg_put_unknown(&o, types, 3);
    stunmsg_put_fingerprint(&o);
    assert_int_equal(stunmsg_parse(sv_sub(buf_sv(&b), 6, b.n), &msg), ERR_OK);
    assert_int_equal(msg.class, STUN_ERROR);
    assert_true(msg.fingerprint);
    assert_true(stunmsg_find(&msg, STUN_ERROR_CODE, &a));
    assert_int_equal(stunmsg_error_code(a.value, &code, &reason), ERR_OK);
    assert_int_equal(code, 420);
    assert_true(sv_eq(reason, SV("Unknown Attribute")));
    assert_true(stunmsg_find(&msg, STUN_UNKNOWN_ATTRIBUTES, &a));
    assert_true(sv_eq(a.value, OCTETS("\x00\x24\x7f\xff\x00\x03")));
}

static void nothing_is_written_over_its_cap(void **state)
{
    char small[30];
    (void)state;
    buf_init(&b, small, sizeof small);
    struct stun_out o = stunmsg_begin(&b, STUN_BINDING, STUN_SUCCESS, (const uint8_t *)ID);
    stunmsg_put(&o, STUN_SOFTWARE, SV("more than there is room for"));
    stunmsg_put_fingerprint(&o);
    stunmsg_put_xor_address(&o, STUN_XOR_MAPPED_ADDRESS, &(struct stun_addr){.family = 6});
    assert_int_equal(b.rc, ERR_TOOBIG);
    buf_init(&b, mem, sizeof mem);
    o = stunmsg_begin(&b, STUN_BINDING, STUN_SUCCESS, (const uint8_t *)ID);
    static char big[UINT16_MAX + 1];
    stunmsg_put(&o, STUN_SOFTWARE, (sv){big, UINT16_MAX}); /* fits the field, not the message's */
    assert_int_equal(b.rc, ERR_TOOBIG);
    buf_reset(&b);
    o = stunmsg_begin(&b, STUN_BINDING, STUN_SUCCESS, (const uint8_t *)ID);
    stunmsg_put(&o, STUN_SOFTWARE, (sv){big, UINT16_MAX + 1});
    assert_int_equal(b.rc, ERR_TOOBIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_sample_requests_are_read, setup),
        cmocka_unit_test_setup(the_sample_answers_are_read, setup),
        cmocka_unit_test_setup(the_sample_answers_are_written, setup),
        cmocka_unit_test_setup(every_cut_is_refused, setup),
        cmocka_unit_test_setup(every_wrong_octet_breaks_the_fingerprint, setup),
        cmocka_unit_test_setup(borders_of_attributes_hold, setup),
        cmocka_unit_test_setup(values_have_their_sizes, setup),
        cmocka_unit_test_setup(behind_the_integrity_little_counts, setup),
        cmocka_unit_test_setup(classes_and_methods_come_back, setup),
        cmocka_unit_test_setup(a_refusal_says_what_is_unknown, setup),
        cmocka_unit_test_setup(nothing_is_written_over_its_cap, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
