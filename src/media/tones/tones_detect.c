/* SPDX-License-Identifier: MIT */
/* tones/tones_detect.c: digits in sound, by spandsp, which looks at blocks of 12.75 ms at 8 kHz. Higher rates are brought
 * there by averages: nothing of a digit lies above 1,633 Hz. */
#define SPANDSP_EXPOSE_INTERNAL_STRUCTURES
#include <spandsp.h>

#include "tones/tones.h"

#include "mem/mem.h"

enum { DETECT_HZ = 8000 };

struct tones_detector {
    dtmf_rx_state_t rx;
    unsigned of; /* samples that become one */
    unsigned have;
    int sum;
    uint64_t passed; /* samples at our rate */
    char digit;      /* down now; 0: none */
    struct tones_news *news;
    unsigned news_n;
};

static void tell(struct tones_detector *d, char digit, bool down)
{
    if (d->news && d->news_n < TONES_NEWS_MAX)
        d->news[d->news_n++] = (struct tones_news){digit, down, d->passed};
}

/* From spandsp, within tones_detect: a digit's character, or 0 when none is heard. */
static void on_change(void *arg, int code, int level, int delay)
{
    struct tones_detector *d = arg;
    (void)level;
    (void)delay;
    if (d->digit)
        tell(d, d->digit, false);
    d->digit = (char)code;
    if (d->digit)
        tell(d, d->digit, true);
}

enum err tones_detector_new(uint32_t rate_hz, struct tones_detector **ret_detector)
{
    if (rate_hz != 8000 && rate_hz != 16000 && rate_hz != 48000)
        return ERR_UNSUPPORTED;
    struct tones_detector *d = MEM_TAKE(struct tones_detector);
    if (!d)
        return ERR_NOMEM;
    dtmf_rx_init(&d->rx, NULL, NULL);
    dtmf_rx_set_realtime_callback(&d->rx, on_change, d);
    d->of = rate_hz / DETECT_HZ;
    *ret_detector = d;
    return ERR_OK;
}

void tones_detector_free(struct tones_detector *d)
{
    if (d)
        MEM_GIVE(d);
}

unsigned tones_detect(struct tones_detector *d, const int16_t *pcm, size_t n,
                      struct tones_news ret_news[static TONES_NEWS_MAX])
{
    enum { PIECE = 20 };
    int16_t narrow[PIECE];
    size_t have = 0;
    d->news = ret_news;
    d->news_n = 0;
    for (size_t i = 0; i < n; i++) {
        d->sum += pcm[i];
        d->passed++;
        if (++d->have < d->of)
            continue;
        narrow[have++] = (int16_t)(d->sum / (int)d->of);
        d->sum = 0;
        d->have = 0;
        if (have == PIECE) {
            dtmf_rx(&d->rx, narrow, PIECE);
            have = 0;
        }
    }
    dtmf_rx(&d->rx, narrow, (int)have);
    d->news = NULL;
    return d->news_n;
}

bool tones_maybe(const struct tones_detector *d)
{
    return d->rx.last_hit != 0;
}
