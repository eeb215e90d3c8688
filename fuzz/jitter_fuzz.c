/* SPDX-License-Identifier: MIT */
/* fuzz/jitter_fuzz.c: any numbers at any times. What is played is in order, each packet once, as it was put. */
#include <stdlib.h>
#include <string.h>

#include "jitter/jitter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEP = 6, TICKS = 160, GETS_MAX = 4 * JITTER_PACKETS };

static void must(bool holds)
{
    if (!holds)
        abort();
}

/* A packet carries its own number, and when it was put. */
struct label {
    uint32_t serial;
};
static uint8_t played[65536 / 8]; /* by serial: of this input */

static void play(struct jitter *j, usec now, bool quiet, uint32_t serial)
{
    struct jitter_out o;
    unsigned gets = 0;
    do {
        jitter_get(j, now, quiet, &o);
        must(++gets < GETS_MAX && o.ticks <= 8000);
        if (o.what != JITTER_SOUND)
            continue;
        struct label l;
        must(o.payload.n == sizeof(l));
        memcpy(&l, o.payload.p, sizeof(l));
        must(l.serial <= serial && l.serial < 65536);
        must(!(played[l.serial / 8] & 1 << l.serial % 8));
        played[l.serial / 8] |= (uint8_t)(1 << l.serial % 8);
    } while (o.what == JITTER_SOUND && o.skip);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct jitter_config c = {.clock_hz = 8000, .payload_max = sizeof(struct label)};
    struct jitter *j;
    if (size > 65536 || jitter_new(&c, &j))
        return 0;
    memset(played, 0, sizeof(played));
    usec now = 0;
    struct label l = {0};
    uint16_t seq = 65000;
    uint32_t ssrc = 1;
    uint32_t ts = 0xffff0000;
    uint64_t put = 0;
    for (size_t at = 0; size - at >= STEP; at += STEP) {
        const uint8_t *d = data + at;
        seq = (uint16_t)(seq + (d[0] & 1 ? (int8_t)d[1] * (d[0] & 2 ? 301 : 1) : 1));
        ts += (uint32_t)(int16_t)(d[2] << 8 | d[3]) * (d[0] & 4 ? 9001U : 1U);
        if (d[0] & 8)
            ssrc = d[4] & 3;
        l.serial++;
        now += (usec)d[5] * (d[0] & 16 ? 10000 : 150);
        struct rtpmsg m = {
            .seq = seq, .ts = ts, .ssrc = ssrc, .payload = {(const char *)&l, sizeof(l)}};
        put += jitter_put(j, now, &m, d[0] & 32 ? 0 : TICKS) == ERR_OK;
        if (d[0] & 64)
            play(j, now, d[0] & 128, l.serial);
        const struct jitter_stats *s = jitter_stats(j);
        must(s->received == put && s->played + s->discarded <= s->received &&
             s->received - s->played - s->discarded <= JITTER_PACKETS);
        must(s->wanted_ms <= JITTER_MAX_MS);
    }
    jitter_free(j);
    return 0;
}
