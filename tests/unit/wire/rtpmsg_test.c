/* SPDX-License-Identifier: MIT */
/* RTP packets: what a datagram is, borders of headers, fields in place, header extensions, printing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rtpmsg/rtpmsg.h"

#define OCTETS(lit) ((sv){"" lit, sizeof(lit) - 1})
#define FIELDS      "\xe0\xff\xfe\x12\x34\x56\x78\x9a\xbc\xde\xf0" /* marker, PT 96, seq, ts, SSRC */

static const sv usual = OCTETS("\x80" FIELDS "payload");
/* two CSRCs, an extension of one word, three octets of padding */
static const sv full = OCTETS("\xb2" FIELDS "\x00\x00\x00\x01\x80\x00\x00\x02"
                              "\xbe\xde\x00\x01\x10\xff\x00\x00"
                              "payload\x00\x00\x03");

static struct rtpmsg msg;
static char mem[400000];
static struct buf b;

static int setup(void **state)
{
    (void)state;
    buf_init(&b, mem, sizeof mem);
    memset(&msg, 0, sizeof msg);
    return 0;
}

/* A copy of exactly these octets on the heap: the sanitizer sees who reads on. */
static enum err parse_exactly(sv octets, bool protected)
{
    char *copy = malloc(octets.n + 1);
    assert_non_null(copy);
    memcpy(copy + 1, octets.p, octets.n);
    sv exact = {copy + 1, octets.n};
    struct rtpmsg m;
    enum err rc = protected ? rtpmsg_parse_protected(exact, &m) : rtpmsg_parse(exact, &m);
    (void)rtpmsg_kind(exact);
    free(copy);
    return rc;
}

/* ---- what a datagram is ---- */

/* RFC 7983 §7, figure 3, for every first octet of a long datagram. */
static void the_first_octet_tells_the_protocol(void **state)
{
    char octets[40] = {0};
    (void)state;
    for (unsigned first = 0; first < 256; first++) {
        enum rtpmsg_kind want = first <= 3                     ? RTPMSG_STUN
                                : first >= 16 && first <= 19   ? RTPMSG_ZRTP
                                : first >= 20 && first <= 63   ? RTPMSG_DTLS
                                : first >= 64 && first <= 79   ? RTPMSG_TURN_CHANNEL
                                : first >= 128 && first <= 191 ? RTPMSG_RTP
                                                               : RTPMSG_NOTHING;
        octets[0] = (char)first;
        assert_int_equal(rtpmsg_kind((sv){octets, sizeof octets}), want);
    }
}

/* RFC 5761 §4: packet types 192 to 223 are RTCP, which payload types 64 to 95 with the marker look like. */
static void the_second_octet_tells_rtcp_from_rtp(void **state)
{
    char octets[40] = {(char)0x80};
    (void)state;
    for (unsigned second = 0; second < 256; second++) {
        octets[1] = (char)second;
        enum rtpmsg_kind want = second >= 192 && second <= 223 ? RTPMSG_RTCP : RTPMSG_RTP;
        assert_int_equal(rtpmsg_kind((sv){octets, sizeof octets}), want);
    }
    assert_int_equal(rtpmsg_kind(OCTETS("\x80\xc9\x00\x01\x12\x34\x56\x78")), RTPMSG_RTCP); /* RR */
}

static void what_is_too_short_is_nothing(void **state)
{
    static const struct {
        uint8_t first, second;
        size_t least;
        enum rtpmsg_kind kind;
    } rows[] = {
        {0, 1, 20, RTPMSG_STUN},         {16, 0, 12, RTPMSG_ZRTP}, {22, 254, 13, RTPMSG_DTLS},
        {64, 0, 4, RTPMSG_TURN_CHANNEL}, {128, 0, 12, RTPMSG_RTP}, {191, 200, 8, RTPMSG_RTCP},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t n = 0; n < 40; n++) {
            char *octets = calloc(1, n + 1);
            assert_non_null(octets);
            if (n > 0)
                octets[0] = (char)rows[i].first;
            if (n > 1)
                octets[1] = (char)rows[i].second;
            char *exact = malloc(n ? n : 1);
            assert_non_null(exact);
            memcpy(exact, octets, n);
            assert_int_equal(rtpmsg_kind((sv){exact, n}),
                             n < rows[i].least ? RTPMSG_NOTHING : rows[i].kind);
            free(exact);
            free(octets);
        }
    }
}

/* ---- headers ---- */

static void assert_fields(void)
{
    assert_true(msg.marker);
    assert_int_equal(msg.pt, 96);
    assert_int_equal(msg.seq, 0xfffe);
    assert_int_equal(msg.ts, 0x12345678);
    assert_int_equal(msg.ssrc, 0x9abcdef0);
}

static void the_usual_packet_is_read(void **state)
{
    (void)state;
    assert_int_equal(rtpmsg_parse(usual, &msg), ERR_OK);
    assert_fields();
    assert_int_equal(msg.csrcs.n, 0);
    assert_false(sv_present(msg.extension));
    assert_int_equal(msg.padding, 0);
    assert_int_equal(rtpmsg_payload_at(&msg), RTP_HEADER);
    assert_true(sv_eq(msg.payload, SV("payload")));
    struct rtpmsg slow;
    assert_int_equal(rtpmsg_parse_any(usual, false, &slow), ERR_OK);
    assert_true(slow.payload.p == msg.payload.p && slow.payload.n == msg.payload.n &&
                slow.ts == msg.ts && slow.pt == msg.pt && slow.marker == msg.marker);
}

static void the_full_header_is_read(void **state)
{
    (void)state;
    assert_int_equal(rtpmsg_parse(full, &msg), ERR_OK);
    assert_fields();
    assert_int_equal(msg.csrcs.n, 8);
    assert_int_equal(rtpmsg_csrc(&msg, 0), 1);
    assert_int_equal(rtpmsg_csrc(&msg, 1), 0x80000002);
    assert_int_equal(msg.profile, RTP_EXT_ONE_BYTE);
    assert_int_equal(msg.extension.n, 4);
    assert_int_equal(msg.padding, 3);
    assert_int_equal(rtpmsg_payload_at(&msg), 28);
    assert_true(sv_eq(msg.payload, SV("payload")));
    /* of SRTP the last octet is not ours to read */
    assert_int_equal(rtpmsg_parse_protected(full, &msg), ERR_OK);
    assert_int_equal(msg.padding, 0);
    assert_int_equal(msg.payload.n, 10);
}

/* The header is whole or the packet is refused; nobody reads beyond the datagram. */
static void every_cut_is_told(void **state)
{
    (void)state;
    for (size_t n = 0; n < full.n; n++) {
        sv cut = {full.p, n};
        assert_int_equal(parse_exactly(cut, true), n < 28 ? ERR_SYNTAX : ERR_OK);
        (void)parse_exactly(cut, false);
        assert_int_equal(parse_exactly((sv){usual.p, n < usual.n ? n : usual.n}, false),
                         n < RTP_HEADER ? ERR_SYNTAX : ERR_OK);
    }
}

static void only_version_2_is_rtp(void **state)
{
    char octets[24];
    (void)state;
    for (unsigned version = 0; version < 4; version++) {
        memset(octets, 0, sizeof octets);
        octets[0] = (char)(version << 6);
        assert_int_equal(parse_exactly((sv){octets, sizeof octets}, false),
                         version == 2 ? ERR_OK : ERR_SYNTAX);
    }
}

static void padding_lies_behind_the_header(void **state)
{
    char octets[RTP_HEADER + 4] = {(char)0xa0};
    sv packet = {octets, sizeof octets};
    (void)state;
    for (unsigned count = 0; count < 256; count++) {
        octets[sizeof octets - 1] = (char)count;
        assert_int_equal(rtpmsg_parse(packet, &msg),
                         count >= 1 && count <= 4 ? ERR_OK : ERR_SYNTAX);
        if (count >= 1 && count <= 4)
            assert_int_equal(msg.payload.n, 4 - count);
        assert_int_equal(rtpmsg_parse_protected(packet, &msg), ERR_OK);
    }
    assert_int_equal(parse_exactly((sv){octets, RTP_HEADER}, false),
                     ERR_SYNTAX); /* no octet to count */
}

static void an_extension_longer_than_the_packet_is_refused(void **state)
{
    char octets[RTP_HEADER + 4 + 8] = {(char)0x90};
    (void)state;
    for (unsigned words = 0; words < 65536; words++) {
        rtpmsg_set_u16(octets, RTP_HEADER + 2, (uint16_t)words);
        assert_int_equal(rtpmsg_parse((sv){octets, sizeof octets}, &msg),
                         words <= 2 ? ERR_OK : ERR_SYNTAX);
    }
}

/* ---- in place ---- */

static void fields_are_changed_in_place(void **state)
{
    char octets[40];
    (void)state;
    memcpy(octets, usual.p, usual.n);
    rtpmsg_set_pt(octets, 8);
    assert_true(rtpmsg_marker(octets));
    rtpmsg_set_marker(octets, false);
    rtpmsg_set_seq(octets, 0xabcd);
    rtpmsg_set_ts(octets, 0xdeadbeef);
    rtpmsg_set_ssrc(octets, 0x01020304);
    assert_int_equal(rtpmsg_parse((sv){octets, usual.n}, &msg), ERR_OK);
    assert_false(msg.marker);
    assert_int_equal(msg.pt, 8);
    assert_int_equal(msg.seq, 0xabcd);
    assert_int_equal(msg.ts, 0xdeadbeef);
    assert_int_equal(msg.ssrc, 0x01020304);
    assert_true(sv_eq(msg.payload, SV("payload")));
    rtpmsg_set_marker(octets, true);
    rtpmsg_set_pt(octets, 0xff); /* seven bits */
    assert_int_equal((uint8_t)octets[1], 0xff);
    rtpmsg_set_marker(octets, false);
    assert_int_equal((uint8_t)octets[1], 0x7f);

    uint8_t header[RTP_HEADER];
    rtpmsg_put_header(header, true, 96, 0xfffe, 0x12345678, 0x9abcdef0);
    assert_memory_equal(header, usual.p, RTP_HEADER);
}

static void numbers_go_round(void **state)
{
    (void)state;
    assert_int_equal(rtpmsg_seq_ahead(2, 65535), 3);
    assert_int_equal(rtpmsg_seq_ahead(65535, 2), -3);
    assert_int_equal(rtpmsg_ts_ahead(100, UINT32_MAX - 99), 200);
    assert_int_equal(rtpmsg_ts_ahead(UINT32_MAX - 99, 100), -200);
}

/* ---- printing ---- */

static void what_is_read_is_printed(void **state)
{
    (void)state;
    assert_int_equal(rtpmsg_parse(full, &msg), ERR_OK);
    rtpmsg_print(&b, &msg);
    assert_int_equal(b.rc, ERR_OK);
    assert_true(sv_eq(buf_sv(&b), full));
    buf_reset(&b);
    assert_int_equal(rtpmsg_parse(usual, &msg), ERR_OK);
    rtpmsg_print(&b, &msg);
    assert_true(sv_eq(buf_sv(&b), usual));
}

static void no_header_has_such_a_length(void **state)
{
    static const char zeros[68];
    (void)state;
    const struct rtpmsg bad[] = {{.csrcs = {zeros, 3}},
                                 {.csrcs = {zeros, 64}},
                                 {.extension = {zeros, 2}},
                                 {.extension = {mem, 4 * 65536}}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        rtpmsg_print(&b, &bad[i]);
        assert_int_equal(b.rc, ERR_SYNTAX);
        assert_int_equal(b.n, 0);
        buf_reset(&b);
    }
    buf_init(&b, mem, 15);
    assert_int_equal(rtpmsg_parse(usual, &msg), ERR_OK);
    rtpmsg_print(&b, &msg);
    assert_int_equal(b.rc, ERR_TOOBIG);
}

/* ---- header extensions ---- */

/* ids and lengths of the elements as "id:length " */
static const char *elements(uint16_t profile, sv data)
{
    static char text[200];
    struct rtp_ext_walk w = {0};
    size_t n = 0;
    char *exact = malloc(data.n + 1);
    assert_non_null(exact);
    memcpy(exact + 1, data.p, data.n);
    struct rtpmsg m = {.profile = profile, .extension = {exact + 1, data.n}};
    text[0] = 0;
    for (struct rtp_ext e; rtpmsg_ext_next(&m, &w, &e);) {
        assert_true(e.data.p >= m.extension.p && e.data.p + e.data.n <= m.extension.p + data.n);
        n += (size_t)snprintf(text + n, sizeof text - n, "%u:%zu ", e.id, e.data.n);
    }
    struct rtp_ext none;
    assert_false(rtpmsg_ext_next(&m, &w, &none));
    free(exact);
    return text;
}

static void one_byte_elements_are_walked(void **state)
{
    (void)state;
    /* the example of RFC 8285 §4.2 */
    assert_string_equal(
        elements(0xbede, OCTETS("\x10\xaa\x21\xbb\xbb\x00\x00\x33\xcc\xcc\xcc\xcc")),
        "1:1 2:2 3:4 ");
    assert_string_equal(elements(0xbede, OCTETS("\x10\xaa\xf0\xbb\x20\xcc\x00\x00")), "1:1 ");
    assert_string_equal(elements(0xbede, OCTETS("\x10\xaa\x01\xbb\x20\xcc\x00\x00")), "1:1 ");
    assert_string_equal(elements(0xbede, OCTETS("\x10\xaa\x2f\xbb")), "1:1 "); /* does not fit */
    assert_string_equal(elements(0xbede, OCTETS("\x10")), "");
    assert_string_equal(elements(0xbede, OCTETS("\x00\x00\x00\x00")), "");
    assert_string_equal(elements(0x1234, OCTETS("\x10\xaa\x00\x00")), "");
}

static void two_byte_elements_are_walked(void **state)
{
    (void)state;
    /* the example of §4.3; the bits of the application do not matter */
    for (uint16_t profile = 0x1000; profile <= 0x100f; profile++)
        assert_string_equal(
            elements(profile, OCTETS("\x05\x00\x06\x01\xaa\x00\xff\x04\xcc\xcc\xcc\xcc")),
            "5:0 6:1 255:4 ");
    assert_string_equal(elements(0x1000, OCTETS("\x05\x00\x06\x03\xaa\x00")), "5:0 ");
    assert_string_equal(elements(0x1000, OCTETS("\x05\x00\x06")), "5:0 ");
}

static void elements_are_written_and_found(void **state)
{
    sv found;
    (void)state;
    rtpmsg_ext_put(&b, RTP_EXT_ONE_BYTE, 3, SV("mid"));
    rtpmsg_ext_put(&b, RTP_EXT_ONE_BYTE, 14, SV("0123456789abcdef"));
    rtpmsg_ext_pad(&b, 0);
    assert_int_equal(b.rc, ERR_OK);
    assert_int_equal(b.n, 24);
    struct rtpmsg m = {.profile = RTP_EXT_ONE_BYTE, .extension = buf_sv(&b)};
    assert_true(rtpmsg_ext_find(&m, 14, &found) && sv_eq(found, SV("0123456789abcdef")));
    assert_true(rtpmsg_ext_find(&m, 3, &found) && sv_eq(found, SV("mid")));
    assert_false(rtpmsg_ext_find(&m, 4, &found));

    buf_reset(&b);
    rtpmsg_ext_put(&b, RTP_EXT_TWO_BYTE, 200, SV("01234567890123456789"));
    rtpmsg_ext_put(&b, RTP_EXT_TWO_BYTE, 1, SV(""));
    rtpmsg_ext_pad(&b, 0);
    m = (struct rtpmsg){.profile = RTP_EXT_TWO_BYTE, .extension = buf_sv(&b)};
    assert_true(rtpmsg_ext_find(&m, 200, &found) && found.n == 20);
    assert_true(rtpmsg_ext_find(&m, 1, &found) && found.n == 0);

    static const struct {
        uint16_t profile;
        uint8_t id;
        size_t n;
    } bad[] = {{0xbede, 0, 1}, {0xbede, 15, 1},  {0xbede, 1, 0}, {0xbede, 1, 17},
               {0x1000, 0, 1}, {0x1000, 1, 256}, {0, 1, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        buf_reset(&b);
        rtpmsg_ext_put(&b, bad[i].profile, bad[i].id, (sv){mem + 1000, bad[i].n});
        assert_int_equal(b.rc, ERR_SYNTAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_first_octet_tells_the_protocol, setup),
        cmocka_unit_test_setup(the_second_octet_tells_rtcp_from_rtp, setup),
        cmocka_unit_test_setup(what_is_too_short_is_nothing, setup),
        cmocka_unit_test_setup(the_usual_packet_is_read, setup),
        cmocka_unit_test_setup(the_full_header_is_read, setup),
        cmocka_unit_test_setup(every_cut_is_told, setup),
        cmocka_unit_test_setup(only_version_2_is_rtp, setup),
        cmocka_unit_test_setup(padding_lies_behind_the_header, setup),
        cmocka_unit_test_setup(an_extension_longer_than_the_packet_is_refused, setup),
        cmocka_unit_test_setup(fields_are_changed_in_place, setup),
        cmocka_unit_test_setup(numbers_go_round, setup),
        cmocka_unit_test_setup(what_is_read_is_printed, setup),
        cmocka_unit_test_setup(no_header_has_such_a_length, setup),
        cmocka_unit_test_setup(one_byte_elements_are_walked, setup),
        cmocka_unit_test_setup(two_byte_elements_are_walked, setup),
        cmocka_unit_test_setup(elements_are_written_and_found, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
