/* SPDX-License-Identifier: MIT */
/* WebSocket: handshakes, messages in all their cuts, and hostile frames. */
#include "websocket_rig.h"

/* ---- the handshake ---- */

static void the_key_is_answered(void **state)
{
    (void)state;
    struct rig r;
    rig_up(&r);
    r.p.s.peer_uid = 7;
    assert_int_equal(addr_parse(SV("192.0.2.1:80"), &r.p.s.local), ERR_OK);
    assert_true(puppet_hear(&r.p, SV(HELLO)));
    /* RFC 6455 §1.3 */
    sv want = SV("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                 "Sec-WebSocket-Protocol: sip\r\n\r\n");
    assert_true(sv_eq(buf_sv(&r.p.said), want));
    assert_false(r.p.paused);
    assert_int_equal(r.u.ws->peer_uid, 7);
    assert_int_equal(r.u.ws->local.port, 80);
    assert_ptr_equal(r.u.ws->loop, &r.p.loop);
    assert_int_equal(r.u.ended, 0); /* the HTTP connection left without a word */
    rig_down(&r);
}

static void what_is_no_upgrade_is_refused(void **state)
{
    (void)state;
#define GET_ "GET / HTTP/1.1\r\n"
#define HOST "Host: a\r\n"
#define V13  "Sec-WebSocket-Version: 13\r\n"
#define SIP  "Sec-WebSocket-Protocol: sip\r\n"
    static const struct {
        const char *text;
        unsigned status;
    } row[] = {
        {GET_ HOST UPGRADE KEY V13 SIP, 101},
        {GET_ HOST "upgrade: WebSocket\r\nconnection: UPGRADE\r\n" KEY V13 SIP, 101},
        {GET_ HOST UPGRADE KEY V13 "Sec-WebSocket-Protocol: a\r\n" SIP, 101},
        {GET_ HOST UPGRADE KEY V13 SIP "Sec-WebSocket-Extensions: permessage-deflate\r\n", 101},
        {GET_ HOST UPGRADE KEY V13, 400},
        {GET_ HOST UPGRADE KEY V13 "Sec-WebSocket-Protocol: sips, sip2\r\n", 400},
        {GET_ HOST UPGRADE V13 SIP, 400},
        {GET_ HOST UPGRADE KEY KEY V13 SIP, 400},
        {GET_ HOST UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n" V13 SIP, 400},
        {GET_ HOST UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=a\r\n" V13 SIP, 400},
        {GET_ HOST UPGRADE "Sec-WebSocket-Key: dGhlIHNhbX~sZSBub25jZQ==\r\n" V13 SIP, 400},
        {GET_ HOST UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQaa==\r\n" V13 SIP, 400},
        {GET_ HOST UPGRADE "Sec-WebSocket-Key:\r\n" V13 SIP, 400},
        {GET_ HOST UPGRADE KEY SIP, 400},
        {GET_ HOST UPGRADE KEY "Sec-WebSocket-Version: 8\r\n" SIP, 426},
        {GET_ HOST UPGRADE KEY "Sec-WebSocket-Version: 14\r\n" SIP, 426},
        {GET_ HOST UPGRADE KEY "Sec-WebSocket-Version: 013\r\n" SIP, 426},
        {GET_ UPGRADE KEY V13 SIP, 400},
        {GET_ HOST "Connection: Upgrade\r\n" KEY V13 SIP, 400},
        {GET_ HOST "Upgrade: websocket\r\n" KEY V13 SIP, 400},
        {GET_ HOST "Upgrade: h2c\r\nConnection: Upgrade\r\n" KEY V13 SIP, 400},
        {"POST / HTTP/1.1\r\n" HOST UPGRADE KEY V13 SIP, 400},
        {"GET / HTTP/1.0\r\n" HOST UPGRADE KEY V13 SIP, 400},
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct rig r;
        char text[1024], want[32];
        rig_up(&r);
        int n = snprintf(text, sizeof(text), "%s\r\n", row[i].text);
        hear_cut(&r, (sv){text, (size_t)n}, 7);
        snprintf(want, sizeof(want), "HTTP/1.1 %u ", row[i].status);
        sv said = buf_sv(&r.p.said);
        if (!sv_starts(said, sv_of(want)))
            fail_msg("%s: not %u: " SV_FMT, row[i].text, row[i].status, SV_ARG(said));
        assert_int_equal(r.u.accepted, row[i].status == 101 ? ERR_OK : ERR_SYNTAX);
        buf_char(&r.p.said, '\0');
        assert_int_equal(!!strstr(r.p.said.p, "\r\nSec-WebSocket-Version: 13\r\n"),
                         row[i].status == 426);
        assert_null(strstr(r.p.said.p, "Extensions")); /* none is agreed to */
        rig_down(&r);
    }
}

static void what_came_behind_the_request_comes_later(void **state)
{
    (void)state;
    struct rig r;
    struct buf b;
    rig_up(&r);
    buf_init_heap(&b, 4096);
    buf_put(&b, SV(HELLO));
    frame(&b, TEXT, SV("one"));
    frame(&b, BINARY, SV("two"));
    size_t n = b.n;
    frame(&b, TEXT, SV("three"));
    assert_true(puppet_hear(&r.p, sv_sub(buf_sv(&b), 0, n - 3)));
    assert_int_equal(r.u.messages, 0);
    assert_true(puppet_hear(&r.p, sv_sub(buf_sv(&b), n - 3, b.n))); /* does not overtake */
    puppet_turn(&r.p, USEC_MS);
    puppet_turn(&r.p, USEC_MS);
    assert_int_equal(r.u.messages, 3);
    buf_done(&b);
    rig_down(&r);
}

/* ---- messages ---- */

static void messages_arrive_whole_however_cut(void **state)
{
    (void)state;
    struct buf b;
    struct rig r;
    rig_open(&r);
    buf_init_heap(&b, 4096);
    frame(&b, TEXT, SV("REGISTER sip:\xc3\xa4 SIP/2.0"));
    frame(&b, PING_, SV("are you there"));
    frame(&b, FIRST, SV("in "));
    frame(&b, PING_, SV(""));
    frame(&b, MORE, SV("three\xe2\x82"));
    frame(&b, PONG, SV("unasked"));
    frame(&b, LAST, SV("\xac pieces"));
    frame(&b, BINARY, SV("\xff\x00\xfe"));
    frame(&b, TEXT, SV(""));
    sv want = SV("REGISTER sip:\xc3\xa4 SIP/2.0|in three\xe2\x82\xac pieces|\xff\x00\xfe||");
    for (size_t cut = 0; cut <= b.n; cut++) {
        if (cut > 0)
            rig_again(&r);
        if (cut == 0) {
            hear_cut(&r, buf_sv(&b), 1);
        } else {
            puppet_hear(&r.p, sv_sub(buf_sv(&b), 0, cut));
            puppet_hear(&r.p, sv_sub(buf_sv(&b), cut, b.n));
        }
        assert_int_equal(r.u.messages, 4);
        assert_true(sv_eq(buf_sv(&r.u.heard), want));
        sv said = buf_sv(&r.p.said), payload;
        assert_int_equal(said_frame(&said, &payload), PONG);
        assert_true(sv_eq(payload, SV("are you there")));
        assert_int_equal(said_frame(&said, &payload), PONG);
        assert_int_equal(payload.n, 0);
        assert_int_equal(said.n, 0);
        stream_close(r.u.ws, true);
        r.u.ws = NULL;
        assert_int_equal(said_close(&r), 1000);
        assert_true(r.p.closed && r.p.flush);
    }
    buf_done(&b);
    rig_down(&r);
}

static void sizes_in_and_out(void **state)
{
    (void)state;
    static const size_t size[] = {0, 1, 124, 125, 126, 127, 4095, 4096, 4097, 65535, 65536};
    char *text = pattern(MESSAGE_MAX + 1);
    struct rig r;
    struct buf b;
    rig_open(&r);
    r.u.echo = true;
    buf_init_heap(&b, 2 * MESSAGE_MAX);
    for (size_t i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
        sv payload;
        buf_reset(&b);
        buf_reset(&r.u.heard);
        buf_reset(&r.p.said);
        frame(&b, i % 2 ? TEXT : BINARY, (sv){text, size[i]});
        hear_cut(&r, buf_sv(&b), 1000);
        assert_int_equal(r.u.messages, i + 1);
        assert_int_equal(r.u.heard.n, size[i] + 1);
        assert_memory_equal(r.u.heard.p, text, size[i]);
        sv said = buf_sv(&r.p.said);
        assert_int_equal(said_frame(&said, &payload), TEXT);
        assert_int_equal(said.n, 0);
        assert_int_equal(payload.n, size[i]);
        assert_memory_equal(payload.p, text, size[i]);
    }
    /* one octet more is too much, and said before it is taken */
    buf_reset(&b);
    frame(&b, TEXT, (sv){text, MESSAGE_MAX + 1});
    puppet_hear(&r.p, sv_sub(buf_sv(&b), 0, 14));
    assert_int_equal(said_close(&r), 1009);
    assert_int_equal(r.u.why, ERR_TOOBIG);
    assert_int_equal(r.u.closed, 1);
    assert_int_equal(atomic_load(&r.p.loop.stats.refusals[STAT_LIMIT_MESSAGE_SIZE]), 1);
    free(text);
    buf_done(&b);
    rig_down(&r);
}

static void fragments_are_counted(void **state)
{
    (void)state;
    char *text = pattern(MESSAGE_MAX);
    struct rig r;
    struct buf b;
    buf_init_heap(&b, 1024 * 1024);
    /* their sum */
    rig_open(&r);
    frame(&b, FIRST, (sv){text, 40000});
    frame(&b, LAST, (sv){text, 40000});
    hear_cut(&r, buf_sv(&b), 4096);
    assert_int_equal(said_close(&r), 1009);
    assert_int_equal(r.u.messages, 0);
    /* empty ones, without end */
    rig_again(&r);
    buf_reset(&b);
    frame(&b, FIRST, SV(""));
    for (int i = 0; i < 5000; i++)
        frame(&b, MORE, SV(""));
    hear_cut(&r, buf_sv(&b), 600);
    assert_int_equal(said_close(&r), 1009);
    assert_int_equal(r.u.why, ERR_TOOBIG);
    /* pings inside a message */
    rig_again(&r);
    buf_reset(&b);
    frame(&b, FIRST, SV("x"));
    for (int i = 0; i < 5000; i++)
        frame(&b, PING_, SV(""));
    hear_cut(&r, buf_sv(&b), 600);
    assert_int_equal(said_close(&r), 1009);
    /* but between messages they are free */
    rig_again(&r);
    buf_reset(&b);
    for (int i = 0; i < 5000; i++)
        frame(&b, PING_, SV(""));
    frame(&b, TEXT, (sv){text, MESSAGE_MAX});
    hear_cut(&r, buf_sv(&b), 600);
    assert_int_equal(r.u.messages, 1);
    /* 64 octets a fragment: what a careful client may do */
    buf_reset(&b);
    for (int i = 0; i < 800; i++)
        frame(&b, i == 0 ? FIRST : i == 799 ? LAST : MORE, (sv){text + 64 * i, 64});
    hear_cut(&r, buf_sv(&b), 600);
    assert_int_equal(r.u.messages, 2);
    free(text);
    buf_done(&b);
    rig_down(&r);
}

/* ---- hostile frames ---- */

#define A    "\x60" /* a */
#define BAD1 "\xfe" /* ff */
#define O(lit)                  \
    {                           \
        "" lit, sizeof(lit) - 1 \
    }
static const struct {
    const char *name;
    sv octets;
    unsigned code; /* 0: all is well; 1: a Close without one */
} hostile[] = {
    {"text", O("\x81\x81" M A), 0},
    {"unmasked text",
     O("\x81\x01"
       "a"),
     1002},
    {"unmasked empty text", O("\x81\x00"), 1002},
    {"unmasked ping", O("\x89\x00"), 1002},
    {"unmasked close", O("\x88\x00"), 1002},
    {"RSV1", O("\xc1\x81" M A), 1002},
    {"RSV2", O("\xa1\x81" M A), 1002},
    {"RSV3", O("\x91\x81" M A), 1002},
    {"RSV on a ping", O("\xc9\x80" M), 1002},
    {"RSV on a close", O("\xf8\x80" M), 1002},
    {"RSV on a continuation", O("\x01\x81" M A "\xc0\x81" M A), 1002},
    {"opcode 3", O("\x83\x80" M), 1002},
    {"opcode 4", O("\x84\x81" M A), 1002},
    {"opcode 5", O("\x85\x80" M), 1002},
    {"opcode 6", O("\x86\x80" M), 1002},
    {"opcode 7", O("\x87\x80" M), 1002},
    {"opcode 11", O("\x8b\x80" M), 1002},
    {"opcode 12", O("\x8c\x81" M A), 1002},
    {"opcode 13", O("\x8d\x80" M), 1002},
    {"opcode 14", O("\x8e\x80" M), 1002},
    {"opcode 15", O("\x8f\x80" M), 1002},
    {"opcode 3 inside a message", O("\x01\x81" M A "\x83\x80" M), 1002},
    {"opcode 11 inside a message", O("\x01\x81" M A "\x8b\x80" M), 1002},
    {"ping of 126", O("\x89\xfe\x00\x7e" M), 1002},
    {"close of 126", O("\x88\xfe\x00\x7e" M), 1002},
    {"ping of 2^63", O("\x89\xff\x80\x00\x00\x00\x00\x00\x00\x00" M), 1002},
    {"ping in fragments", O("\x09\x80" M), 1002},
    {"pong in fragments", O("\x0a\x80" M), 1002},
    {"close in fragments", O("\x08\x80" M), 1002},
    {"continuation of nothing", O("\x80\x81" M A), 1002},
    {"open continuation of nothing", O("\x00\x81" M A), 1002},
    {"continuation after the end", O("\x01\x81" M A "\x80\x81" M A "\x80\x81" M A), 1002},
    {"text inside text", O("\x01\x81" M A "\x81\x81" M A), 1002},
    {"binary inside text", O("\x01\x81" M A "\x02\x81" M A), 1002},
    {"text inside binary", O("\x02\x80" M "\x01\x80" M), 1002},
    {"length 5 in two octets", O("\x81\xfe\x00\x05" M), 1002},
    {"length 5 in eight octets", O("\x81\xff\x00\x00\x00\x00\x00\x00\x00\x05" M), 1002},
    {"length 2^63", O("\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00" M), 1002},
    {"length 2^63-1", O("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff" M), 1009},
    {"length 2^32", O("\x82\xff\x00\x00\x00\x01\x00\x00\x00\x00" M), 1009},
    {"length 65537", O("\x82\xff\x00\x00\x00\x00\x00\x01\x00\x01" M), 1009},
    {"continuation of 65536", O("\x02\x81" M A "\x80\xff\x00\x00\x00\x00\x00\x01\x00\x00" M), 1009},
    {"continuation of 2^63-1", O("\x02\x81" M A "\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff" M),
     1009},
    {"text that is no UTF-8", O("\x81\x81" M BAD1), 1007},
    {"the same in binary", O("\x82\x81" M BAD1), 0},
    {"close without a code", O("\x88\x80" M), 1},
    {"close with half a code", O("\x88\x81" M "\x02"), 1002},
    {"close, its reason no UTF-8", O("\x88\x83" M "\x02\xea\xfc"), 1007},
};

static void hostile_frames_are_told_so(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        for (size_t piece = 1; piece <= 64; piece = piece < 4 ? piece + 1 : piece * 4) {
            rig_again(&r);
            hear_cut(&r, hostile[i].octets, piece);
            unsigned code = said_close(&r);
            if (code != hostile[i].code)
                fail_msg("%s, by %zu: %u, not %u", hostile[i].name, piece, code, hostile[i].code);
        }
    }
    rig_down(&r);
}

/* Text in each cut; the same octets in fragments of one; inside a Close. */
static void utf8_is_checked(void **state)
{
    (void)state;
    static const struct {
        sv text;
        bool good;
    } row[] = {
        {O("plain"), true},
        {O("\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"), true},
        {O("\xc2\x80"), true},
        {O("\xdf\xbf"), true},
        {O("\xe0\xa0\x80"), true},
        {O("\xed\x9f\xbf"), true},
        {O("\xee\x80\x80"), true},
        {O("\xef\xbf\xbf"), true},
        {O("\xf0\x90\x80\x80"), true},
        {O("\xf4\x8f\xbf\xbf"), true},
        {O("\x00\x7f"), true},
        {O("\xc1\xbf"), false},         /* overlong */
        {O("\xe0\x9f\xbf"), false},     /* overlong */
        {O("\xf0\x8f\xbf\xbf"), false}, /* overlong */
        {O("\xed\xa0\x80"), false},     /* a surrogate */
        {O("\xed\xbf\xbf"), false},     /* a surrogate */
        {O("\xf4\x90\x80\x80"), false}, /* above U+10FFFF */
        {O("\xf5\x80\x80\x80"), false},
        {O("\x80"), false},
        {O("\xc3"), false}, /* cut by the end */
        {O("abc\xe2\x82"), false},
        {O("0123456789abcdef\xc3\xa4"
           "0123456789"),
         true},
        {O("\xc3"
           "01234567\xa4"),
         false},
        {O("0123456789abcdef\xff"
           "0123456789"),
         false},
        {O("\xf0\x9f\x98"), false},
        {O("\xc3\x28"), false},
        {O("\xff"), false},
        {O("\xce\xba\xed\xa0\x80"
           "edited"),
         false},
    };
    struct rig r;
    struct buf b;
    char reason[64] = {0x03, (char)0xe8};
    rig_open(&r);
    buf_init_heap(&b, 4096);
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        for (size_t piece = 1; piece < 40; piece++) {
            rig_again(&r);
            buf_reset(&b);
            frame(&b, TEXT, row[i].text);
            hear_cut(&r, buf_sv(&b), piece);
            assert_int_equal(said_close(&r), row[i].good ? 0 : 1007);
            assert_int_equal(r.u.messages, row[i].good);
            rig_again(&r);
            buf_reset(&b);
            frame(&b, FIRST, SV(""));
            for (size_t k = 0; k < row[i].text.n; k++)
                frame(&b, MORE, sv_sub(row[i].text, k, k + 1));
            frame(&b, LAST, SV(""));
            hear_cut(&r, buf_sv(&b), piece);
            assert_int_equal(said_close(&r), row[i].good ? 0 : 1007);
            rig_again(&r);
            buf_reset(&b);
            memcpy(reason + 2, row[i].text.p, row[i].text.n);
            frame(&b, CLOSE, (sv){reason, 2 + row[i].text.n});
            hear_cut(&r, buf_sv(&b), piece);
            assert_int_equal(said_close(&r), row[i].good ? 1000 : 1007);
        }
        /* what we send of it is text or binary */
        sv said, payload;
        rig_again(&r);
        for (size_t cut = 0; cut <= row[i].text.n; cut++) {
            sv pieces[] = {sv_sub(row[i].text, 0, cut), sv_sub(row[i].text, cut, row[i].text.n)};
            buf_reset(&r.p.said);
            assert_int_equal(stream_send(r.u.ws, pieces, 2), ERR_OK);
            said = buf_sv(&r.p.said);
            assert_int_equal(said_frame(&said, &payload), row[i].good ? TEXT : BINARY);
            assert_true(sv_eq(payload, row[i].text));
        }
        stream_close(r.u.ws, false);
        r.u.ws = NULL;
    }
    /* A wrong octet ends it, whatever would come behind it. */
    rig_again(&r);
    buf_reset(&b);
    frame(&b, TEXT,
          SV("abc\xff"
             "0123456789"));
    puppet_hear(&r.p, sv_sub(buf_sv(&b), 0, 10));
    assert_int_equal(said_close(&r), 1007);
    buf_done(&b);
    rig_down(&r);
}

static void close_codes(void **state)
{
    (void)state;
    static const struct {
        unsigned code;
        bool good;
    } row[] = {{0, false},    {1, false},    {999, false},  {1000, true},  {1001, true},
               {1002, true},  {1003, true},  {1004, false}, {1005, false}, {1006, false},
               {1007, true},  {1008, true},  {1009, true},  {1010, true},  {1011, true},
               {1015, false}, {1016, false}, {1100, false}, {2000, false}, {2999, false},
               {3000, true},  {3999, true},  {4000, true},  {4999, true},  {5000, false},
               {65535, false}};
    struct rig r;
    struct buf b;
    rig_open(&r);
    buf_init_heap(&b, 4096);
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char payload[2] = {(char)(row[i].code >> 8), (char)(row[i].code & 0xff)};
        rig_again(&r);
        buf_reset(&b);
        frame(&b, CLOSE, (sv){payload, 2});
        frame(&b, TEXT, SV("after the end"));
        hear_cut(&r, buf_sv(&b), 1000);
        assert_int_equal(said_close(&r), row[i].good ? row[i].code : 1002);
        assert_int_equal(r.u.why, row[i].good ? ERR_OK : ERR_SYNTAX);
        assert_int_equal(r.u.closed, 1);
        assert_int_equal(r.u.messages, 0);
        assert_true(r.p.closed && r.p.flush);
    }
    /* the peer's end without one */
    rig_again(&r);
    puppet_end(&r.p, ERR_OK);
    assert_int_equal(r.u.why, ERR_CLOSED);
    rig_again(&r);
    puppet_end(&r.p, ERR_TIMEOUT);
    assert_int_equal(r.u.why, ERR_TIMEOUT);
    buf_done(&b);
    rig_down(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_is_answered),
        cmocka_unit_test(what_is_no_upgrade_is_refused),
        cmocka_unit_test(what_came_behind_the_request_comes_later),
        cmocka_unit_test(messages_arrive_whole_however_cut),
        cmocka_unit_test(sizes_in_and_out),
        cmocka_unit_test(fragments_are_counted),
        cmocka_unit_test(hostile_frames_are_told_so),
        cmocka_unit_test(utf8_is_checked),
        cmocka_unit_test(close_codes),
    };
    if (crypto_start())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
