/* SPDX-License-Identifier: MIT */
/* pack_test.c: values as octets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "pack/pack.h"

static const uint64_t numbers[] = {
    0, 1, 127, 128, 16383, 16384, UINT32_MAX, 1ull << 63, UINT64_MAX - 1, UINT64_MAX};
enum { NUMBERS = sizeof numbers / sizeof numbers[0] };

static void put_all(struct buf *b)
{
    for (int i = 0; i < NUMBERS; i++)
        pack_varint(b, numbers[i]);
    pack_sv(b, SV_NONE);
    pack_sv(b, SV(""));
    pack_sv(b, SV("text"));
    buf_char(b, (char)200);
    pack_u32(b, 0x80000001);
    pack_u64(b, 0x8000000000000002);
    buf_str(b, "end");
}

static enum err get_all(sv octets)
{
    struct unpack u = unpack_of(octets);
    for (int i = 0; i < NUMBERS; i++)
        if (unpack_varint(&u, UINT64_MAX) != numbers[i] && !u.rc)
            fail();
    sv none = unpack_sv(&u), empty = unpack_sv(&u), text = unpack_sv(&u);
    uint8_t octet = unpack_u8(&u);
    uint32_t u32 = unpack_u32(&u);
    uint64_t u64 = unpack_u64(&u);
    sv end = unpack_octets(&u, 3);
    if (!u.rc) {
        assert_false(sv_present(none));
        assert_true(sv_present(empty) && empty.n == 0);
        assert_true(sv_eq(text, SV("text")));
        assert_int_equal(octet, 200);
        assert_true(u32 == 0x80000001 && u64 == 0x8000000000000002);
        assert_true(sv_eq(end, SV("end")));
    }
    return unpack_end(&u);
}

static void what_is_put_is_read_and_nothing_shorter_or_longer(void **state)
{
    char mem[256];
    struct buf b;
    (void)state;
    buf_init(&b, mem, sizeof mem);
    put_all(&b);
    assert_int_equal(b.rc, ERR_OK);
    assert_int_equal(get_all(buf_sv(&b)), ERR_OK);
    for (size_t cut = 0; cut < b.n; cut++)
        assert_int_equal(get_all((sv){mem, cut}), ERR_CORRUPT);
    buf_char(&b, 0);
    assert_int_equal(get_all(buf_sv(&b)), ERR_CORRUPT);
}

static void numbers_have_their_bounds(void **state)
{
    (void)state;
    struct unpack u = unpack_of(SV("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02")); /* 2^64 */
    assert_int_equal(unpack_varint(&u, UINT64_MAX), 0);
    assert_int_equal(u.rc, ERR_CORRUPT);
    u = unpack_of(SV("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00")); /* eleven octets */
    assert_int_equal(unpack_varint(&u, UINT64_MAX), 0);
    assert_int_equal(u.rc, ERR_CORRUPT);
    u = unpack_of(SV("\x0b"));
    assert_int_equal(unpack_varint(&u, 10), 0);
    assert_int_equal(u.rc, ERR_CORRUPT);
    u = unpack_of(SV("\x0b"));
    assert_int_equal(unpack_varint(&u, 11), 11);
    assert_int_equal(unpack_end(&u), ERR_OK);
    u = unpack_of(SV("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")); /* a text of 2^64 - 2 */
    assert_false(sv_present(unpack_sv(&u)));
    assert_int_equal(u.rc, ERR_CORRUPT);
    assert_int_equal(unpack_u8(&u), 0); /* sticky */
    u = unpack_of(SV_NONE);
    assert_int_equal(unpack_end(&u), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_read_and_nothing_shorter_or_longer),
        cmocka_unit_test(numbers_have_their_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
