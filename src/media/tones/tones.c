/* SPDX-License-Identifier: MIT */
/* tones/tones.c: points that go round circles, in turns with silence. */
#include "tones/tones.h"

#include <math.h>

/* The largest sine is +3.14 dBm0 (G.711 Table 5: A-law's overload point). */
#define LARGEST_DBM0 3.14
#define LARGEST      32767.0

enum { RAMP_US = 2000 /* at the ends of a tone: no click */ };

struct progress {
    uint16_t hz[2], ms[TONES_PARTS];
};
static const struct progress table[TONES_COUNTRIES][TONES_KINDS] = {
#define X(country, kind, hz1, hz2, on1, off1, on2, off2) \
    [TONES_##country][TONES_##kind] = {{hz1, hz2}, {on1, off1, on2, off2}},
#include "tones/tones.def"
#undef X
};

enum tones_country tones_country(sv code)
{
    static const struct {
        sv code;
        enum tones_country country;
    } codes[] = {{{"CH", 2}, TONES_CH},
                 {{"DE", 2}, TONES_DE},
                 {{"US", 2}, TONES_US},
                 {{"UK", 2}, TONES_UK},
                 {{"GB", 2}, TONES_UK}};
    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
        if (sv_ieq(code, codes[i].code))
            return codes[i].country;
    return TONES_COUNTRIES;
}

static void start(struct tones *t, uint32_t rate_hz, double hz1, double hz2, unsigned level)
{
    *t = (struct tones){.rate_hz = rate_hz, .playing = true, .sines = hz2 > 0 ? 2 : 1};
    double hz[2] = {hz1, hz2}, db = -(double)(level > TONES_LEVEL_MAX ? TONES_LEVEL_MAX : level);
    if (t->sines == 2)
        db -= 10 * log10(2);
    t->amplitude = LARGEST * pow(10, (db - LARGEST_DBM0) / 20);
    for (unsigned i = 0; i < t->sines; i++) {
        double step = 2 * M_PI * hz[i] / rate_hz;
        t->sine[i].x = 1;
        t->sine[i].c = cos(step);
        t->sine[i].s = sin(step);
    }
}

static uint64_t samples(const struct tones *t, uint64_t ms)
{
    return ms * t->rate_hz / 1000;
}

void tones_progress(struct tones *t, uint32_t rate_hz, enum tones_country country,
                    enum tones_kind kind)
{
    if (country >= TONES_COUNTRIES)
        country = TONES_CH;
    const struct progress *p = &table[country][kind < TONES_KINDS ? kind : TONES_BUSY];
    start(t, rate_hz, p->hz[0], p->hz[1], TONES_LEVEL_PROGRESS);
    if (p->ms[1] == 0)
        return; /* without end */
    for (unsigned i = 0; i < TONES_PARTS; i++)
        t->part[i] = samples(t, p->ms[i]);
    t->repeat = true;
}

bool tones_digit(struct tones *t, uint32_t rate_hz, char digit, uint32_t ms, unsigned level)
{
    static const char keys[] = "123A456B789C*0#D";
    static const double rows[] = {697, 770, 852, 941}, columns[] = {1209, 1336, 1477, 1633};
    if (digit >= 'a' && digit <= 'd')
        digit = (char)(digit - 'a' + 'A');
    for (unsigned i = 0; i < 16; i++) {
        if (keys[i] != digit)
            continue;
        start(t, rate_hz, rows[i / 4], columns[i % 4], level);
        t->part[0] = samples(t, ms);
        return true;
    }
    tones_silence(t, rate_hz);
    return false;
}

void tones_sine(struct tones *t, uint32_t rate_hz, double hz, uint32_t ms, unsigned level)
{
    double most = rate_hz / 2.0;
    start(t, rate_hz, hz < 1 ? 1 : hz > most ? most : hz, 0, level);
    t->part[0] = samples(t, ms);
}

void tones_rest(struct tones *t, uint32_t ms)
{
    if (!t->playing)
        return;
    t->part[t->at] = t->within + samples(t, ms);
    t->repeat = false;
    if (ms == 0)
        t->playing = false;
    for (unsigned i = t->at + 1; i < TONES_PARTS; i++)
        t->part[i] = 0;
}

void tones_silence(struct tones *t, uint32_t rate_hz)
{
    *t = (struct tones){.rate_hz = rate_hz};
}

/* How loud within a part of a length: it grows and fades in a few samples. */
static double ramp(const struct tones *t, uint64_t within, uint64_t length)
{
    uint64_t full = (uint64_t)t->rate_hz / 1000 * RAMP_US / 1000;
    uint64_t edge = length && length - within < within + 1 ? length - within : within + 1;
    return edge < full ? (double)edge / (double)full : 1;
}

static double next_point(struct tones *t)
{
    double sum = 0;
    for (unsigned i = 0; i < t->sines; i++) {
        double x = t->sine[i].x, y = t->sine[i].y;
        sum += y;
        t->sine[i].x = x * t->sine[i].c - y * t->sine[i].s;
        t->sine[i].y = x * t->sine[i].s + y * t->sine[i].c;
    }
    return sum;
}

bool tones_make(struct tones *t, int16_t *pcm, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double v = 0;
        if (t->playing && t->at % 2 == 0)
            v = t->amplitude * next_point(t) * ramp(t, t->within, t->part[t->at]);
        pcm[i] = (int16_t)lrint(v > LARGEST ? LARGEST : v < -LARGEST ? -LARGEST : v);
        t->within++;
        if (!t->playing || t->part[t->at] == 0 || t->within < t->part[t->at])
            continue;
        t->within = 0;
        if (++t->at == TONES_PARTS || t->part[t->at] == 0) {
            t->at = 0;
            t->playing = t->repeat;
        }
    }
    return t->playing;
}
