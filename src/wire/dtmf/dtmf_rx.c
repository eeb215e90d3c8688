/* SPDX-License-Identifier: MIT */
/* dtmf/dtmf_rx.c: events of one source, received (RFC 4733 §2.5.2).
 *
 *             first packet                   E, silence, or a newer event
 *    NONE  ------------------>  ON  ------------------------------------>  OVER
 *                               ^  \ more of it: goes on                    |
 *                               |   <-'                                     | its packets: nothing
 *                               '--------------- a newer event -------------' */
#include "dtmf/dtmf.h"

enum { NONE, ON, OVER };
/* What lies so far behind is no late packet: the source's clock has jumped. */
enum { FAR_BEHIND = 1 << 24 };

static struct dtmf_news news(const struct dtmf_rx *rx, enum dtmf_what what)
{
    uint32_t total = rx->ts - rx->begun + rx->duration;
    return (struct dtmf_news){
        .what = what, .event = rx->event, .volume = rx->volume, .ts = rx->begun, .duration = total};
}

static struct dtmf_news lost_end(struct dtmf_rx *rx)
{
    struct dtmf_news n = news(rx, DTMF_ENDED);
    n.lost_end = true;
    rx->state = OVER;
    return n;
}

/* §2.5.2.3: it begins where the segment before it ends: at the longest duration, or, with redundancy, at the one
 * that was said last. */
static bool continues(const struct dtmf_rx *rx, uint32_t ts, bool marker, uint8_t event)
{
    uint32_t ahead = ts - rx->ts;
    return (rx->state == ON || rx->silenced) && !marker && event == rx->event &&
           (ahead == DTMF_DURATION_MAX || ahead == rx->duration) && ts - rx->begun <= INT32_MAX;
}

/* A packet of the event that rx knows. */
static unsigned same_event(struct dtmf_rx *rx, const struct dtmf_event *e, struct dtmf_news *ret)
{
    bool longer = e->duration > rx->duration;
    if (longer)
        rx->duration = e->duration;
    if (rx->state != ON)
        return 0;
    if (e->end) {
        rx->state = OVER;
        *ret = news(rx, DTMF_ENDED);
        return 1;
    }
    if (!longer)
        return 0;
    *ret = news(rx, DTMF_GOES_ON);
    return 1;
}

static unsigned new_event(struct dtmf_rx *rx, uint32_t ts, const struct dtmf_event *e,
                          struct dtmf_news *ret)
{
    unsigned n = 0;
    if (rx->state == ON)
        ret[n++] = lost_end(rx);
    *rx = (struct dtmf_rx){.state = ON,
                           .event = e->event,
                           .volume = e->volume,
                           .duration = e->duration,
                           .ts = ts,
                           .begun = ts,
                           .heard = rx->heard};
    ret[n++] = news(rx, DTMF_BEGINS);
    if (e->end) {
        rx->state = OVER;
        ret[n++] = news(rx, DTMF_ENDED);
    }
    return n;
}

unsigned dtmf_rx_step(struct dtmf_rx *rx, uint32_t ts, bool marker, const struct dtmf_event *e,
                      usec now, struct dtmf_news ret_news[static DTMF_NEWS_MAX])
{
    int32_t ahead = (int32_t)(ts - rx->ts);
    bool known = rx->state != NONE && ahead == 0 && e->event == rx->event;
    if (e->duration == 0 && !(known && e->end)) /* §2.3.5 */
        return 0;
    if (rx->state != NONE && ahead < 0 && ahead > -FAR_BEHIND)
        return 0;
    if (known) {
        rx->heard = now;
        return same_event(rx, e, ret_news);
    }
    if (rx->state != NONE && ahead > 0 && continues(rx, ts, marker, e->event)) {
        rx->heard = now;
        rx->ts = ts;
        rx->duration = 0;
        return same_event(rx, e, ret_news);
    }
    rx->heard = now;
    return new_event(rx, ts, e, ret_news);
}

unsigned dtmf_rx_payload(struct dtmf_rx *rx, uint32_t ts, bool marker, sv payload, usec now,
                         struct dtmf_news ret_news[static DTMF_NEWS_MAX * DTMF_EVENTS_MAX])
{
    struct dtmf_event events[DTMF_EVENTS_MAX];
    unsigned n = 0, events_n;
    if (dtmf_parse(payload, events, &events_n))
        return 0;
    for (unsigned i = 0; i < events_n; i++) {
        /* §2.5.1.5: with several, the marker may be another's */
        n += dtmf_rx_step(rx, ts, marker && events_n == 1, &events[i], now, ret_news + n);
        ts += events[i].duration; /* §2.5.2.4 */
    }
    return n;
}

usec dtmf_rx_due(const struct dtmf_rx *rx)
{
    return rx->state == ON ? rx->heard + DTMF_SILENCE : USEC_NEVER;
}

bool dtmf_rx_timeout(struct dtmf_rx *rx, usec now, struct dtmf_news *ret_news)
{
    if (rx->state != ON || now < dtmf_rx_due(rx))
        return false;
    *ret_news = lost_end(rx);
    rx->silenced = true;
    return true;
}
