/* SPDX-License-Identifier: MIT */
/* Keys: payloads and INFO bodies; what a receiver makes of packets that are lost, doubled and out of order; what a
 * sender sends; and both, one behind the other, over a bad network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dtmf/dtmf.h"

#define OCTETS(lit) ((sv){"" lit, sizeof(lit) - 1})

static struct dtmf_rx rx;
static struct dtmf_tx tx;
static struct dtmf_news news[DTMF_NEWS_MAX * DTMF_EVENTS_MAX];
static char mem[400];
static struct buf b;

static int setup(void **state)
{
    (void)state;
    rx = (struct dtmf_rx){0};
    dtmf_tx_init(&tx, 8000, 20);
    buf_init(&b, mem, sizeof mem);
    return 0;
}

/* ---- names, lists, payloads ---- */

static void keys_have_characters(void **state)
{
    uint8_t event;
    (void)state;
    for (unsigned i = 0; i < 256; i++) {
        assert_int_equal(dtmf_char((uint8_t)i), i < 17 ? "0123456789*#ABCD!"[i] : 0);
        assert_true(i >= 17 || (dtmf_of_char(dtmf_char((uint8_t)i), &event) && event == i));
    }
    assert_true(dtmf_of_char('c', &event) && event == 14);
    assert_false(dtmf_of_char('E', &event) || dtmf_of_char(0, &event) || dtmf_of_char(' ', &event));
}

/* Events 0 to 255 in a list, as ranges. */
static const char *listed(sv list)
{
    static char text[200];
    size_t n = 0;
    text[0] = 0;
    for (unsigned i = 0; i < 256; i++)
        if (dtmf_listed(list, (uint8_t)i))
            n += (size_t)snprintf(text + n, sizeof text - n, "%u ", i);
    return text;
}

static void events_are_listed(void **state)
{
    (void)state;
    assert_string_equal(listed(SV("0-3,66,70")), "0 1 2 3 66 70 "); /* as in RFC 4733 §2.4.1 */
    assert_string_equal(listed(SV("255")), "255 ");
    assert_string_equal(listed(SV("")), "");
    assert_string_equal(listed(SV_NONE), "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 "); /* §2.5.1.1 */
    assert_string_equal(listed(SV("x,3-1,256,-,4-,5--6,,-7,8, 9")), "8 9 ");
}

static void payloads_are_read_and_written(void **state)
{
    struct dtmf_event events[DTMF_EVENTS_MAX];
    unsigned n;
    uint8_t octets[DTMF_EVENT];
    (void)state;
    assert_int_equal(dtmf_parse(OCTETS("\x0b\x8a\x03\x20\xff\x7f\xff\xff"), events, &n), ERR_OK);
    assert_int_equal(n, 2);
    assert_true(events[0].event == 11 && events[0].end && events[0].volume == 10 &&
                events[0].duration == 800);
    /* the R bit is ignored, §2.3.3 */
    assert_true(events[1].event == 255 && !events[1].end && events[1].volume == 63 &&
                events[1].duration == 65535);
    dtmf_put(octets, &events[0]);
    assert_memory_equal(octets, "\x0b\x8a\x03\x20", 4);
    events[1].volume = 255;
    dtmf_put(octets, &events[1]);
    assert_memory_equal(octets, "\xff\x3f\xff\xff", 4); /* R is 0 */
    for (size_t len = 0; len <= 40; len++) {
        char *p = malloc(len ? len : 1);
        assert_non_null(p);
        memset(p, 0, len);
        enum err want = len == 0 || len % 4         ? ERR_SYNTAX
                        : len / 4 > DTMF_EVENTS_MAX ? ERR_TOOBIG
                                                    : ERR_OK;
        assert_int_equal(dtmf_parse((sv){p, len}, events, &n), want);
        free(p);
    }
}

/* ---- INFO ---- */

static void info_bodies_are_read(void **state)
{
    static const struct {
        enum dtmf_info form;
        const char *body;
        enum err rc;
        uint8_t event;
        uint32_t ms;
        unsigned line; /* that is wrong */
    } rows[] = {
        {DTMF_INFO_RELAY, "Signal=5\r\nDuration=160\r\n", ERR_OK, 5, 160, 0},
        {DTMF_INFO_RELAY, "Signal= #\nDuration = 250", ERR_OK, 11, 250, 0},
        {DTMF_INFO_RELAY, "duration=100\r\nsignal=d\r\n\r\n", ERR_OK, 15, 100, 0},
        {DTMF_INFO_RELAY, "Signal=10\r\n", ERR_OK, 10, 0, 0},
        {DTMF_INFO_RELAY, "Signal=16\r\nDuration=0\r\n", ERR_OK, 16, 0, 0},
        {DTMF_INFO_RELAY, "Signal=!\r\nVolume=3\r\nwhat is this\r\n", ERR_OK, 16, 0, 0},
        {DTMF_INFO_RELAY, "Signal=17\r\n", ERR_SYNTAX, 0, 0, 1},
        {DTMF_INFO_RELAY, "Signal=\r\n", ERR_SYNTAX, 0, 0, 1},
        {DTMF_INFO_RELAY, "Signal=55\r\n", ERR_SYNTAX, 0, 0, 1},
        {DTMF_INFO_RELAY, "Signal=5\r\nSignal=6\r\n", ERR_SYNTAX, 0, 0, 2},
        {DTMF_INFO_RELAY, "Duration=160\r\n", ERR_SYNTAX, 0, 0, 0},
        {DTMF_INFO_RELAY, "Signal=5\r\nDuration=-1\r\n", ERR_SYNTAX, 0, 0, 2},
        {DTMF_INFO_RELAY, "Signal=5\r\nDuration=60001\r\n", ERR_TOOBIG, 0, 0, 2},
        {DTMF_INFO_RELAY, "Signal=5\r\nDuration=99999999999999999999999\r\n", ERR_TOOBIG, 0, 0, 2},
        {DTMF_INFO_RELAY, "", ERR_SYNTAX, 0, 0, 0},
        {DTMF_INFO_PLAIN, "5", ERR_OK, 5, 0, 0},
        {DTMF_INFO_PLAIN, " *\r\n", ERR_OK, 10, 0, 0},
        {DTMF_INFO_PLAIN, "11", ERR_OK, 11, 0, 0},
        {DTMF_INFO_PLAIN, "", ERR_SYNTAX, 0, 0, 1},
        {DTMF_INFO_PLAIN, "E", ERR_SYNTAX, 0, 0, 1},
        {DTMF_INFO_PLAIN, "1 2", ERR_SYNTAX, 0, 0, 1},
    };
    uint8_t event;
    uint32_t ms;
    unsigned line;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        event = 99;
        ms = 99;
        assert_int_equal(dtmf_info_parse(rows[i].form, sv_of(rows[i].body), &event, &ms, &line),
                         rows[i].rc);
        assert_true(rows[i].rc ? event == 99 && ms == 99
                               : event == rows[i].event && ms == rows[i].ms);
        assert_true(!rows[i].rc || line == rows[i].line);
    }
    memset(mem, '\n', sizeof mem);
    memcpy(mem, "Signal=5", 8);
    assert_int_equal(dtmf_info_parse(DTMF_INFO_RELAY, (sv){mem, 256}, &event, &ms, &line), ERR_OK);
    assert_int_equal(dtmf_info_parse(DTMF_INFO_RELAY, (sv){mem, 257}, &event, &ms, &line),
                     ERR_TOOBIG);
    assert_int_equal(dtmf_info_parse(DTMF_INFO_PLAIN, (sv){mem, 257}, &event, &ms, &line),
                     ERR_TOOBIG);
}

static void info_bodies_are_written(void **state)
{
    uint8_t event;
    uint32_t ms;
    unsigned line;
    (void)state;
    dtmf_info_print(&b, DTMF_INFO_RELAY, 11, 160);
    assert_true(sv_eq(buf_sv(&b), SV("Signal=#\r\nDuration=160\r\n")));
    for (uint8_t i = 0; i < DTMF_KEYS; i++) {
        for (int form = 0; form < 2; form++) {
            buf_reset(&b);
            dtmf_info_print(&b, (enum dtmf_info)form, i, 100000);
            assert_int_equal(dtmf_info_parse((enum dtmf_info)form, buf_sv(&b), &event, &ms, &line),
                             ERR_OK);
            assert_true(event == i && ms == (form == DTMF_INFO_RELAY ? 60000 : 0));
        }
    }
    buf_reset(&b);
    dtmf_info_print(&b, DTMF_INFO_RELAY, 17, 1);
    assert_int_equal(b.rc, ERR_SYNTAX);
}

static void content_types_are_told(void **state)
{
    enum dtmf_info form = DTMF_INFO_PLAIN;
    (void)state;
    assert_true(dtmf_info_of(SV("application/dtmf-relay"), &form) && form == DTMF_INFO_RELAY);
    assert_true(dtmf_info_of(SV("Application/DTMF ; x=y"), &form) && form == DTMF_INFO_PLAIN);
    assert_false(dtmf_info_of(SV("application/sdp"), &form) || dtmf_info_of(SV(""), &form) ||
                 dtmf_info_of(SV("application/dtmf-relay2"), &form));
}

/* ---- receiving ---- */

/* A packet's news as text: "begins 5@1000+160 " "on …" "ended …" "lost …". */
static char told[2000];

static void write_news(unsigned n)
{
    size_t at = strlen(told);
    for (unsigned i = 0; i < n; i++) {
        const struct dtmf_news *x = &news[i];
        const char *what = x->what == DTMF_BEGINS    ? "begins"
                           : x->what == DTMF_GOES_ON ? "on"
                           : x->lost_end             ? "lost"
                                                     : "ended";
        at += (size_t)snprintf(told + at, sizeof told - at, "%s %c@%u+%u ", what,
                               dtmf_char(x->event), x->ts, x->duration);
    }
}

struct packet {
    uint32_t ts;
    uint8_t event;
    uint16_t duration;
    bool marker, end;
};

static const char *receive(const struct packet *packets, size_t n)
{
    rx = (struct dtmf_rx){0};
    told[0] = 0;
    for (size_t i = 0; i < n; i++) {
        struct dtmf_event e = {packets[i].event, packets[i].end, 10, packets[i].duration};
        write_news(
            dtmf_rx_step(&rx, packets[i].ts, packets[i].marker, &e, (usec)i * 20 * USEC_MS, news));
    }
    return told;
}
#define RECEIVE(...)                              \
    receive((const struct packet[]){__VA_ARGS__}, \
            sizeof((const struct packet[]){__VA_ARGS__}) / sizeof(struct packet))

static void a_key_is_received(void **state)
{
    (void)state;
    assert_string_equal(RECEIVE({1000, 5, 160, true, false}, {1000, 5, 320, false, false},
                                {1000, 5, 480, false, true}, {1000, 5, 480, false, true},
                                {1000, 5, 480, false, true}),
                        "begins 5@1000+160 on 5@1000+320 ended 5@1000+480 ");
    assert_int_equal(rx.volume, 10);
    assert_true(dtmf_rx_due(&rx) == USEC_NEVER);
}

static void packets_may_be_lost(void **state)
{
    (void)state;
    /* the first ones */
    assert_string_equal(RECEIVE({1000, 5, 480, false, false}, {1000, 5, 640, false, true}),
                        "begins 5@1000+480 ended 5@1000+640 ");
    /* all but an end */
    assert_string_equal(RECEIVE({1000, 5, 480, false, true}),
                        "begins 5@1000+480 ended 5@1000+480 ");
    /* the ends: the next key, of the same number too, ends it */
    assert_string_equal(RECEIVE({1000, 5, 160, true, false}, {3000, 5, 160, true, false}),
                        "begins 5@1000+160 lost 5@1000+160 begins 5@3000+160 ");
    assert_string_equal(RECEIVE({1000, 5, 160, true, false}, {3000, 6, 320, false, true}),
                        "begins 5@1000+160 lost 5@1000+160 begins 6@3000+320 ended 6@3000+320 ");
}

static void packets_may_be_doubled_and_out_of_order(void **state)
{
    (void)state;
    assert_string_equal(RECEIVE({1000, 5, 320, false, false}, {1000, 5, 160, true, false},
                                {1000, 5, 320, false, false}, {1000, 5, 480, false, true},
                                {1000, 5, 160, true, false}, {1000, 5, 480, false, true}),
                        "begins 5@1000+320 ended 5@1000+480 ");
    /* ends of the last key behind the first of the next */
    assert_string_equal(RECEIVE({1000, 5, 160, true, false}, {1800, 6, 160, true, false},
                                {1000, 5, 320, false, true}, {1800, 6, 320, false, true}),
                        "begins 5@1000+160 lost 5@1000+160 begins 6@1800+160 ended 6@1800+320 ");
    /* an end that says less than was known */
    assert_string_equal(RECEIVE({1000, 5, 320, true, false}, {1000, 5, 160, false, true}),
                        "begins 5@1000+320 ended 5@1000+320 ");
}

/* RFC 4733 §2.3.5. */
static void no_duration_is_no_event(void **state)
{
    (void)state;
    assert_string_equal(
        RECEIVE({1000, 5, 0, true, false}, {1000, 5, 160, false, false}, {1000, 5, 0, false, true}),
        "begins 5@1000+160 ended 5@1000+160 ");
    assert_string_equal(RECEIVE({1000, 5, 0, false, true}), "");
}

static void timestamps_go_round(void **state)
{
    (void)state;
    assert_string_equal(
        RECEIVE({0xffffff00, 1, 160, true, false}, {0xffffff00, 1, 320, false, true},
                {0x00000400, 2, 160, true, false}, {0xffffff00, 1, 320, false, true}),
        "begins 1@4294967040+160 ended 1@4294967040+320 begins 2@1024+160 ");
}

/* A source that sets its clock back is heard again. */
static void a_clock_that_jumps_back_is_followed(void **state)
{
    (void)state;
    assert_string_equal(
        RECEIVE({0x10000000, 1, 160, true, true}, {1000, 2, 160, true, true}),
        "begins 1@268435456+160 ended 1@268435456+160 begins 2@1000+160 ended 2@1000+160 ");
}

/* §2.5.2.3: segments of 0xffff. */
static void a_long_event_is_one(void **state)
{
    (void)state;
    assert_string_equal(RECEIVE({1000, 5, 65440, true, false}, {1000, 5, 65535, false, false},
                                {66535, 5, 160, false, false}, {66535, 5, 65535, false, false},
                                {132070, 5, 800, false, true}, {132070, 5, 800, false, true}),
                        "begins 5@1000+65440 on 5@1000+65535 on 5@1000+65695 on 5@1000+131070 "
                        "ended 5@1000+131870 ");
    /* its last packets of a segment lost */
    assert_string_equal(RECEIVE({1000, 5, 65000, true, false}, {66535, 5, 160, false, false}),
                        "begins 5@1000+65000 on 5@1000+65695 ");
    /* shorter segments, as with redundancy (§2.5.2.3.1) */
    assert_string_equal(RECEIVE({1000, 5, 16000, true, false}, {17000, 5, 160, false, false}),
                        "begins 5@1000+16000 on 5@1000+16160 ");
    /* a marker, a gap, another key, an end before it: a new event */
    assert_string_equal(RECEIVE({0, 5, 65535, true, false}, {65535, 5, 160, true, false}),
                        "begins 5@0+65535 lost 5@0+65535 begins 5@65535+160 ");
    assert_string_equal(RECEIVE({0, 5, 65535, true, false}, {65536, 5, 160, false, false}),
                        "begins 5@0+65535 lost 5@0+65535 begins 5@65536+160 ");
    assert_string_equal(RECEIVE({0, 5, 65535, true, false}, {65535, 6, 160, false, false}),
                        "begins 5@0+65535 lost 5@0+65535 begins 6@65535+160 ");
    assert_string_equal(RECEIVE({0, 5, 65535, true, true}, {65535, 5, 160, false, false}),
                        "begins 5@0+65535 ended 5@0+65535 begins 5@65535+160 ");
}

static void silence_ends_a_key(void **state)
{
    struct dtmf_event e = {5, false, 10, 160};
    (void)state;
    assert_false(dtmf_rx_timeout(&rx, 0, news) || dtmf_rx_timeout(&rx, USEC_NEVER, news));
    told[0] = 0;
    write_news(dtmf_rx_step(&rx, 1000, true, &e, USEC_S, news));
    assert_true(dtmf_rx_due(&rx) == USEC_S + DTMF_SILENCE);
    assert_false(dtmf_rx_timeout(&rx, USEC_S + DTMF_SILENCE - 1, news));
    assert_true(dtmf_rx_timeout(&rx, USEC_S + DTMF_SILENCE, news));
    write_news(1);
    assert_false(dtmf_rx_timeout(&rx, USEC_S + DTMF_SILENCE, news));
    /* §2.5.2.2: "further reports for the event MUST be ignored" */
    e.duration = 65535;
    write_news(dtmf_rx_step(&rx, 1000, false, &e, 2 * USEC_S, news));
    write_news(dtmf_rx_step(&rx, 66535, false, &e, 3 * USEC_S, news));
    e.end = true;
    write_news(dtmf_rx_step(&rx, 66535, false, &e, 3 * USEC_S, news));
    write_news(dtmf_rx_step(&rx, 200000, true, &e, 4 * USEC_S, news));
    assert_string_equal(
        told, "begins 5@1000+160 lost 5@1000+160 begins 5@200000+65535 ended 5@200000+65535 ");
}

/* §2.5.1.5, §2.5.2.4. */
static void several_events_in_a_packet(void **state)
{
    (void)state;
    told[0] = 0;
    write_news(dtmf_rx_payload(
        &rx, 1000, true, OCTETS("\x01\x8a\x03\x20\x02\x8a\x03\x20\x03\x0a\x00\xa0"), 0, news));
    write_news(dtmf_rx_payload(&rx, 2600, false, OCTETS("\x03\x8a\x01\x40"), 0, news));
    write_news(dtmf_rx_payload(&rx, 9000, true, OCTETS("\x03\x8a\x01"), 0, news));
    assert_string_equal(told,
                        "begins 1@1000+800 ended 1@1000+800 begins 2@1800+800 ended 2@1800+800 "
                        "begins 3@2600+160 ended 3@2600+320 ");
}

/* ---- sending ---- */

static char sent[20000];

/* Ticks from ts on, as "[*]ts:key+duration[E]", a dash for sound. */
static const char *ticks(uint32_t ts, unsigned n)
{
    size_t at = 0;
    sent[0] = 0;
    for (unsigned i = 0; i < n; i++, ts += 160) {
        struct dtmf_out out;
        if (!dtmf_tx_tick(&tx, ts, &out)) {
            at += (size_t)snprintf(sent + at, sizeof sent - at, "- ");
            continue;
        }
        at += (size_t)snprintf(sent + at, sizeof sent - at, "%s%u:%c+%u%s ", out.marker ? "*" : "",
                               out.ts, dtmf_char(out.event.event), out.event.duration,
                               out.event.end ? "E" : "");
    }
    return sent;
}

static void a_key_is_sent(void **state)
{
    (void)state;
    assert_string_equal(ticks(0, 2), "- - ");
    assert_false(dtmf_tx_busy(&tx));
    assert_int_equal(dtmf_tx_start(&tx, 5, 10), ERR_OK);
    assert_true(dtmf_tx_busy(&tx));
    assert_string_equal(ticks(1000, 3), "*1000:5+160 1000:5+320 1000:5+480 ");
    dtmf_tx_stop(&tx);
    /* §2.5.1.4: three times, and then sound again */
    assert_string_equal(ticks(1480, 5), "1000:5+640E 1000:5+640E 1000:5+640E - - ");
    assert_false(dtmf_tx_busy(&tx));
}

static void a_key_lasts_as_long_as_was_said(void **state)
{
    (void)state;
    assert_int_equal(dtmf_tx_play(&tx, 11, 10, 50), ERR_OK);
    assert_string_equal(ticks(0, 6), "*0:#+160 0:#+320 0:#+400E 0:#+400E 0:#+400E - ");
    assert_int_equal(dtmf_tx_play(&tx, 1, 10, 1), ERR_OK); /* never under 40 ms */
    assert_string_equal(ticks(10000, 5), "*10000:1+160 10000:1+320E 10000:1+320E 10000:1+320E - ");
    assert_int_equal(dtmf_tx_start(&tx, 2, 10), ERR_OK);
    (void)ticks(20000, 1);
    dtmf_tx_stop(&tx);
    assert_string_equal(ticks(20160, 4), "20000:2+320E 20000:2+320E 20000:2+320E - ");
}

static void keys_wait_for_one_another(void **state)
{
    (void)state;
    assert_int_equal(dtmf_tx_play(&tx, 1, 10, 40), ERR_OK);
    assert_int_equal(dtmf_tx_start(&tx, 2, 10), ERR_OK);
    assert_int_equal(dtmf_tx_play(&tx, 3, 10, 40), ERR_OK);
    dtmf_tx_stop(&tx); /* 2, before its turn: the usual length */
    /* 50 ms between them at least */
    assert_string_equal(ticks(0, 6), "*0:1+160 0:1+320E 0:1+320E 0:1+320E - *800:2+160 ");
    assert_string_equal(
        ticks(960, 7), "800:2+320 800:2+480 800:2+640 800:2+800 800:2+960 800:2+1120 800:2+1280E ");
    assert_string_equal(
        ticks(2080, 8),
        "800:2+1280E 800:2+1280E - *2560:3+160 2560:3+320E 2560:3+320E 2560:3+320E - ");
    for (unsigned i = 0; i < DTMF_QUEUE_MAX; i++)
        assert_int_equal(dtmf_tx_play(&tx, 1, 10, 40), ERR_OK);
    assert_int_equal(dtmf_tx_play(&tx, 1, 10, 40), ERR_TOOBIG);
    assert_int_equal(dtmf_tx_start(&tx, 1, 10), ERR_TOOBIG);
}

static void the_pause_is_kept_with_short_packets(void **state)
{
    struct dtmf_out out;
    (void)state;
    dtmf_tx_init(&tx, 48000, 5);
    assert_int_equal(dtmf_tx_play(&tx, 1, 10, 40), ERR_OK);
    assert_int_equal(dtmf_tx_play(&tx, 2, 10, 40), ERR_OK);
    uint32_t ts = 0, ended = 40 * 48;
    for (; ts < 48000 && !(dtmf_tx_tick(&tx, ts, &out) && out.event.event == 2); ts += 240)
        continue;
    assert_int_equal(ts - ended, 50 * 48);
    assert_true(out.marker && out.event.duration == 240);
}

/* §2.5.1.3. */
static void a_long_key_is_sent_in_segments(void **state)
{
    (void)state;
    assert_int_equal(dtmf_tx_play(&tx, 5, 10, 10000), ERR_OK); /* 80000 units */
    (void)ticks(0, 408);
    assert_string_equal(ticks(65280, 5), "0:5+65440 0:5+65535 0:5+65535 0:5+65535 65535:5+545 ");
    (void)ticks(66080, 84);
    assert_string_equal(
        ticks(79520, 6),
        "65535:5+14145 65535:5+14305 65535:5+14465E 65535:5+14465E 65535:5+14465E - ");
}

static void a_key_that_nobody_lets_go_ends(void **state)
{
    struct dtmf_out out;
    unsigned n = 0;
    (void)state;
    assert_int_equal(dtmf_tx_start(&tx, 5, 10), ERR_OK);
    for (uint32_t ts = 0; dtmf_tx_tick(&tx, ts, &out) && n < 10000; ts += 160)
        n++;
    assert_int_equal(n, 60000 / 20 + 2);
    assert_true(out.event.end);
    /* the stream's clock is set anew */
    assert_int_equal(dtmf_tx_play(&tx, 6, 10, 40), ERR_OK);
    assert_true(dtmf_tx_tick(&tx, 0x90000000, &out) && out.event.event == 6);
}

/* ---- both, over a bad network ---- */

static uint64_t chance;

static uint64_t rnd(void)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return chance;
}

enum { KEYS = 30, ON_WAY = 3 };

/* Thirty keys, packets lost (percent), doubled, and out of order by up to two places. What is heard must be the keys
 * that had a packet arrive, in order, with the right length when an end arrived. */
static void network(uint64_t seed, unsigned percent)
{
    uint8_t keys[KEYS], heard[2 * KEYS];
    uint32_t length[KEYS], heard_length[2 * KEYS];
    bool arrived[KEYS] = {false}, end_arrived[KEYS] = {false}, lost[2 * KEYS];
    struct dtmf_out way[ON_WAY + 1];
    unsigned way_n = 0, begun = 0, ended = 0, key = 0;
    uint32_t ts = (uint32_t)rnd();
    chance = seed * 0x9e3779b97f4a7c15 + 1;
    rx = (struct dtmf_rx){0};
    dtmf_tx_init(&tx, 8000, 20);
    for (unsigned i = 0; i < KEYS; i++) {
        keys[i] = (uint8_t)(rnd() % DTMF_KEYS);
        uint32_t ms = 60 + (uint32_t)(rnd() % 12) * 20;
        length[i] = ms * 8;
        assert_int_equal(dtmf_tx_play(&tx, keys[i], 10, ms), ERR_OK);
    }
    struct dtmf_out out;
    bool any = false;
    for (usec now = 0; dtmf_tx_busy(&tx) || way_n > 0; now += 20 * USEC_MS, ts += 160) {
        if (dtmf_tx_tick(&tx, ts, &out)) {
            if (any && out.marker)
                key++;
            any = true;
            if (rnd() % 100 >= percent) {
                way[way_n++] = out;
                arrived[key] = true;
                end_arrived[key] = end_arrived[key] || out.event.end;
                if (rnd() % 10 == 0 && way_n <= ON_WAY)
                    way[way_n++] = out;
            }
        }
        while (way_n > ON_WAY - 1 || (way_n > 0 && !dtmf_tx_busy(&tx))) {
            unsigned i = (unsigned)(rnd() % way_n);
            if (way[i].ts != way[0].ts)
                i = 0;
            struct dtmf_out p = way[i];
            memmove(way + i, way + i + 1, (--way_n - i) * sizeof way[0]);
            unsigned n = dtmf_rx_step(&rx, p.ts, p.marker, &p.event, now, news);
            for (unsigned k = 0; k < n; k++) {
                if (news[k].what == DTMF_BEGINS) {
                    assert_int_equal(begun, ended);
                    heard[begun++] = news[k].event;
                }
                if (news[k].what == DTMF_ENDED) {
                    heard_length[ended] = news[k].duration;
                    lost[ended++] = news[k].lost_end;
                }
            }
        }
    }
    if (dtmf_rx_timeout(&rx, USEC_HOUR, news)) {
        heard_length[ended] = news[0].duration;
        lost[ended++] = true;
    }
    assert_int_equal(begun, ended);
    unsigned n = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        if (!arrived[i])
            continue;
        assert_true(n < begun && heard[n] == keys[i]);
        if (!lost[n])
            assert_int_equal(heard_length[n], length[i]);
        assert_true(lost[n] == !end_arrived[i]);
        assert_true(heard_length[n] <= length[i]);
        n++;
    }
    assert_int_equal(n, begun);
}

static void keys_survive_a_bad_network(void **state)
{
    (void)state;
    chance = 1;
    for (uint64_t seed = 0; seed < 300; seed++)
        for (unsigned percent = 0; percent <= 60; percent += 20)
            network(seed, percent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(keys_have_characters, setup),
        cmocka_unit_test_setup(events_are_listed, setup),
        cmocka_unit_test_setup(payloads_are_read_and_written, setup),
        cmocka_unit_test_setup(info_bodies_are_read, setup),
        cmocka_unit_test_setup(info_bodies_are_written, setup),
        cmocka_unit_test_setup(content_types_are_told, setup),
        cmocka_unit_test_setup(a_key_is_received, setup),
        cmocka_unit_test_setup(packets_may_be_lost, setup),
        cmocka_unit_test_setup(packets_may_be_doubled_and_out_of_order, setup),
        cmocka_unit_test_setup(no_duration_is_no_event, setup),
        cmocka_unit_test_setup(timestamps_go_round, setup),
        cmocka_unit_test_setup(a_clock_that_jumps_back_is_followed, setup),
        cmocka_unit_test_setup(a_long_event_is_one, setup),
        cmocka_unit_test_setup(silence_ends_a_key, setup),
        cmocka_unit_test_setup(several_events_in_a_packet, setup),
        cmocka_unit_test_setup(a_key_is_sent, setup),
        cmocka_unit_test_setup(a_key_lasts_as_long_as_was_said, setup),
        cmocka_unit_test_setup(keys_wait_for_one_another, setup),
        cmocka_unit_test_setup(the_pause_is_kept_with_short_packets, setup),
        cmocka_unit_test_setup(a_long_key_is_sent_in_segments, setup),
        cmocka_unit_test_setup(a_key_that_nobody_lets_go_ends, setup),
        cmocka_unit_test_setup(keys_survive_a_bad_network, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
