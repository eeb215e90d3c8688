/* SPDX-License-Identifier: MIT */
/* fuzz/dtmf_fuzz.c: any octets as a payload of events, as an INFO body, as a list, as packets to a receiver, and as
 * what a user does with a sender, which a receiver must understand. */
#include <stdlib.h>

#include "dtmf/dtmf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A bound that holds: an abort is what the fuzzer sees. */
static void must(bool holds)
{
    if (!holds)
        abort();
}

static void payload(sv octets)
{
    struct dtmf_event events[DTMF_EVENTS_MAX];
    unsigned n;
    if (dtmf_parse(octets, events, &n))
        return;
    must(n > 0 && n <= DTMF_EVENTS_MAX && 4 * n == octets.n);
    for (unsigned i = 0; i < n; i++) {
        uint8_t again[DTMF_EVENT];
        dtmf_put(again, &events[i]);
        again[1] |= (uint8_t)octets.p[4 * i + 1] & 0x40; /* R */
        must(memcmp(again, octets.p + (size_t)4 * i, DTMF_EVENT) == 0);
    }
}

static void info(sv body, enum dtmf_info form)
{
    char mem[DTMF_INFO_MAX];
    struct buf b;
    uint8_t event, event2 = 0;
    uint32_t ms, ms2 = 0;
    unsigned line;
    if (dtmf_info_parse(form, body, &event, &ms, &line)) {
        must(line <= body.n);
        return;
    }
    must(event < DTMF_KEYS && ms <= DTMF_INFO_LONGEST_MS);
    buf_init(&b, mem, sizeof mem);
    dtmf_info_print(&b, form, event, ms);
    must(b.rc == ERR_OK && dtmf_info_parse(form, buf_sv(&b), &event2, &ms2, &line) == ERR_OK);
    must(event == event2 && ms == ms2);
}

/* An event begins, goes on and ends in this order, and never shrinks. */
struct follow {
    bool on;
    uint8_t event;
    uint32_t duration;
    unsigned ended;
};

static void follow(struct follow *f, const struct dtmf_news *news, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        must(f->on == (news[i].what != DTMF_BEGINS));
        if (f->on)
            must(news[i].event == f->event && news[i].duration >= f->duration);
        f->on = news[i].what != DTMF_ENDED;
        f->event = news[i].event;
        f->duration = news[i].duration;
        f->ended += news[i].what == DTMF_ENDED;
    }
}

/* Eight octets a packet: flags, a step of the timestamp, an event. */
static void receive(const uint8_t *p, size_t n)
{
    struct dtmf_news news[DTMF_NEWS_MAX * DTMF_EVENTS_MAX];
    struct dtmf_rx rx = {0};
    struct follow f = {0};
    uint32_t ts = 0;
    usec now = 0;
    for (; n >= 8; p += 8, n -= 8) {
        now += p[0] * USEC_MS;
        ts += (uint32_t)p[2] << (p[1] & 31);
        if (p[1] & 64)
            ts = p[3];
        if (dtmf_rx_timeout(&rx, now, news))
            follow(&f, news, 1);
        unsigned got =
            dtmf_rx_payload(&rx, ts, p[1] & 128, (sv){(const char *)p + 4, 4}, now, news);
        must(got <= DTMF_NEWS_MAX);
        follow(&f, news, got);
        must(f.on == (dtmf_rx_due(&rx) != USEC_NEVER));
    }
    must(dtmf_rx_payload(&rx, ts, false, (sv){(const char *)p, n}, now, news) <= DTMF_NEWS_MAX * 2);
}

/* One octet a tick: what the user does. All keys arrive, no more. */
static void send(const uint8_t *p, size_t n)
{
    struct dtmf_news news[DTMF_NEWS_MAX];
    struct dtmf_tx tx;
    struct dtmf_rx rx = {0};
    struct follow f = {0};
    struct dtmf_out out;
    unsigned keys = 0;
    uint32_t ts = 0;
    dtmf_tx_init(&tx, 8000, 20);
    for (size_t i = 0; i < n + 20000 && (i < n || dtmf_tx_busy(&tx)); i++, ts += 160) {
        uint8_t does = i < n ? p[i] : 1;
        if (does == 1)
            dtmf_tx_stop(&tx);
        else if (does == 2)
            keys += !dtmf_tx_start(&tx, does & 15, 10);
        else if (does >= 128)
            keys += !dtmf_tx_play(&tx, does & 15, does, does == 255 ? 9000 : does & 127);
        if (dtmf_tx_tick(&tx, ts, &out)) {
            must(out.event.duration > 0 && out.event.volume <= DTMF_VOLUME_MAX);
            follow(&f, news, dtmf_rx_step(&rx, out.ts, out.marker, &out.event, 0, news));
        }
    }
    must(!dtmf_tx_busy(&tx) && !f.on && f.ended == keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sv octets = {(const char *)data, size};
    if (size == 0)
        return 0;
    payload(octets);
    info(octets, DTMF_INFO_RELAY);
    info(octets, DTMF_INFO_PLAIN);
    (void)dtmf_listed(octets, data[0]);
    receive(data, size);
    if (size <= 12)
        send(data, size);
    return 0;
}
