/* SPDX-License-Identifier: MIT */
/* transcode/transcode_dtmf.c: digits from events, from tones and from elsewhere, into events or tones.
 *
 *   events  --dtmf_rx-->  event by event into the other clock, or a tone as long as is known
 *   tones   --detector-> \
 *   send_digit ---------->  dtmf_tx: an event, or a tone, in the place of each frame */
#include "transcode/transcode_priv.h"

enum {
    SHORTEST_MS = DTMF_SHORTEST_MS, /* of a tone */
    STEP_MAX_MS = 200,              /* of a tone, for one packet: updates come each 20 or 50 ms */
    AHEAD_MAX_MS = 5000,            /* an event begins so far behind the sound before it at most */
    TX_HZ = 8000,                   /* of tones: an own clock */
    ENDS = 3                        /* RFC 4733 §2.5.1.4: the last packet, in all */
};

static bool events_go_out(const struct transcode *t)
{
    return t->c.dtmf == TRANSCODE_DTMF_EVENTS && t->c.out_event != TRANSCODE_NO_PT;
}

static uint32_t tx_clock(const struct transcode *t)
{
    return events_go_out(t) ? t->c.out_event_hz : TX_HZ;
}

void transcode_dtmf_init(struct transcode *t)
{
    dtmf_tx_init(&t->event_out.tx, tx_clock(t), (unsigned)(t->frame / (t->rate_hz / 1000)));
}

static void tell(struct transcode *t, uint8_t event, int64_t line)
{
    char digit = dtmf_char(event);
    t->stats.digits++;
    if (digit && t->h.on_digit)
        t->h.on_digit(t->arg, digit, (uint32_t)(us_of(line) / 1000));
}

/* ---- events that come ---- */

static void send_event(struct transcode *t, const struct dtmf_event *e, bool marker, int64_t at)
{
    uint8_t payload[DTMF_EVENT];
    dtmf_put(payload, e);
    transcode_send(t, t->c.out_event, t->c.out.codec->clock_hz, marker, at,
                   (sv){(const char *)payload, sizeof(payload)});
}

/* The event that is on has lasted for `line` so far. In the other clock it may have more segments (§2.5.1.3). */
static void pass_event(struct transcode *t, struct dtmf_event e, bool marker, int64_t line)
{
    struct event_in *in = &t->event_in;
    int64_t unit = LINE_HZ / (int64_t)t->c.out_event_hz, full = DTMF_DURATION_MAX;
    int64_t total = line / unit > 0 ? line / unit : 1;
    while (total > (in->segment + 1) * full) {
        struct dtmf_event whole = e;
        whole.end = false;
        whole.duration = DTMF_DURATION_MAX;
        send_event(t, &whole, marker, in->at + in->segment * full * unit);
        in->segment++;
        marker = false;
    }
    e.duration = (uint16_t)(total - in->segment * full);
    send_event(t, &e, marker, in->at + in->segment * full * unit);
}

/* The tone goes on until there, as far as that is paid for. */
static void play(struct transcode *t, usec now, int64_t until)
{
    int64_t most = t->at + line_ms(STEP_MAX_MS);
    if (until > most)
        until = most;
    if (until <= t->at || !transcode_pay(t, now, us_of(until - t->at)))
        return;
    size_t left = (size_t)((until - t->at) * t->rate_hz / LINE_HZ);
    while (left > 0) {
        size_t n = t->rate_hz / 1000 * PIECE_MS;
        if (n > left)
            n = left;
        tones_make(&t->event_in.tone, t->pcm + t->pcm_n, n);
        transcode_grown(t, n);
        left -= n;
    }
}

static uint32_t clock_now(const struct transcode *t)
{
    return t->next_hz ? t->next_hz : transcode_clock_of(&t->c.in[0]);
}

/* The first that was given of this digit; of each press one. */
static bool take_given(struct transcode *t, usec now, char digit)
{
    for (unsigned i = 0; i < GIVEN_MAX; i++) {
        if (digit == 0 || t->given[i].digit != digit || now >= t->given[i].until)
            continue;
        t->given[i].digit = 0;
        return true;
    }
    return false;
}

/* The time of the event that is on is filled with sound of ours; of one that is known, with silence, in which what was
 * given goes out. */
static bool fills(const struct transcode *t)
{
    return t->c.dtmf == TRANSCODE_DTMF_TONES || t->event_in.known;
}

static void begins(struct transcode *t, usec now, const struct dtmf_news *n)
{
    struct event_in *in = &t->event_in;
    in->known = take_given(t, now, dtmf_char(n->event));
    int64_t ahead = t->anchor + line_of(clock_now(t), (int32_t)(n->ts - t->next_ts)) - t->at;
    in->placed = ahead > -line_ms(AHEAD_MAX_MS) && ahead <= line_ms(AHEAD_MAX_MS);
    if (ahead < 0 || !in->placed)
        ahead = 0;
    if (ahead > 0 || !fills(t))
        transcode_jump(t, t->at + ahead);
    in->on = true;
    in->at = t->at;
    in->segment = 0;
    in->said = 0;
    t->quiet = QUIET_NOT;
    if (in->known)
        tones_silence(&in->tone, t->rate_hz);
    else if (fills(t))
        tones_digit(&in->tone, t->rate_hz, dtmf_char(n->event), 0, n->volume);
}

static void ends(struct transcode *t, usec now, const struct dtmf_news *n)
{
    struct event_in *in = &t->event_in;
    int64_t line = line_of(t->event_in.hz, n->duration), end = in->at + line;
    uint32_t hz = clock_now(t);
    in->on = false;
    if (fills(t)) {
        int64_t until = in->at + (line < line_ms(SHORTEST_MS) ? line_ms(SHORTEST_MS) : line);
        if (until > t->at)
            tones_rest(&in->tone, (uint32_t)(us_of(until - t->at) / 1000));
        play(t, now, until);
    } else if (n->lost_end && events_go_out(t)) {
        struct dtmf_event e = {.event = n->event, .end = true, .volume = n->volume};
        for (int i = 0; i < ENDS; i++)
            pass_event(t, e, false, in->said);
    }
    if (end > t->at)
        transcode_jump(t, end);
    if (in->placed) {
        t->next_ts = n->ts + (uint32_t)(line / (LINE_HZ / (int64_t)hz));
        t->next_hz = hz;
        t->anchor = end;
    }
    tell(t, n->event, line);
}

static void on_news(struct transcode *t, usec now, const struct dtmf_news *n)
{
    if (n->what == DTMF_BEGINS)
        begins(t, now, n);
    if (n->what == DTMF_ENDED)
        ends(t, now, n);
    else if (fills(t))
        play(t, now, t->event_in.at + line_of(t->event_in.hz, n->duration));
}

/* What an event says to have lasted is paid for as sound is: else a packet of eight whole segments, in a slow clock, would
 * become hundreds in a fast one. */
static bool pays(struct transcode *t, usec now, int64_t line)
{
    struct event_in *in = &t->event_in;
    if (line > in->said) {
        if (!transcode_pay(t, now, us_of(line - in->said)))
            return false;
        in->said = line;
    }
    return true;
}

void transcode_on_event(struct transcode *t, usec now, const struct rtpmsg *p, uint32_t hz)
{
    struct dtmf_event events[DTMF_EVENTS_MAX];
    struct dtmf_rx *rx = &t->event_in.rx;
    uint32_t ts = p->ts;
    unsigned events_n;
    if (dtmf_parse(p->payload, events, &events_n)) {
        t->stats.odd++;
        return;
    }
    if (!transcode_pay(t, now, 0))
        return;
    if (hz != t->event_in.hz)
        transcode_event_forget(t, now);
    t->event_in.hz = hz;
    for (unsigned i = 0; i < events_n; i++) {
        struct dtmf_news news[DTMF_NEWS_MAX];
        unsigned n = dtmf_rx_step(rx, ts, p->marker && events_n == 1, &events[i], now, news);
        bool new = false;
        for (unsigned k = 0; k < n; k++) {
            on_news(t, now, &news[k]);
            new |= news[k].what == DTMF_BEGINS;
        }
        int64_t line = line_of(hz, (uint32_t)(ts - rx->begun) + events[i].duration);
        if (events_go_out(t) && !t->event_in.known && rx->ts == ts &&
            rx->event == events[i].event && events[i].duration > 0 && pays(t, now, line))
            pass_event(t, events[i], new, line);
        ts += events[i].duration;
    }
    t->due = now;
}

void transcode_event_timeout(struct transcode *t, usec now)
{
    struct dtmf_news news;
    if (dtmf_rx_timeout(&t->event_in.rx, now, &news))
        on_news(t, now, &news);
}

void transcode_event_forget(struct transcode *t, usec now)
{
    struct dtmf_news news;
    if (t->event_in.on && dtmf_rx_timeout(&t->event_in.rx, USEC_NEVER - 1, &news))
        ends(t, now, &news);
    t->event_in = (struct event_in){0};
}

void transcode_event_succeed(struct transcode *t, const struct transcode *former)
{
    memcpy(t->given, former->given, sizeof(t->given));
    if (former->event_in.on)
        return;
    t->event_in.rx = former->event_in.rx;
    t->event_in.hz = former->event_in.hz;
    t->event_in.known = former->event_in.known;
}

/* ---- tones that are heard ---- */

static void tone_ends(struct transcode *t, uint64_t at)
{
    uint8_t event;
    if (events_go_out(t))
        dtmf_tx_stop(&t->event_out.tx);
    if (dtmf_of_char(t->heard, &event))
        tell(t, event, line_of(t->rate_hz, (int64_t)(at - t->heard_from)));
    t->heard = 0;
}

bool transcode_hear(struct transcode *t, int16_t *pcm, size_t n)
{
    struct tones_news news[TONES_NEWS_MAX];
    bool tone = t->heard != 0;
    unsigned got = tones_detect(t->detector, pcm, n, news);
    for (unsigned i = 0; i < got; i++) {
        uint8_t event;
        t->heard_at = news[i].at;
        if (!news[i].down && t->heard)
            tone_ends(t, news[i].at);
        if (!news[i].down || !dtmf_of_char(news[i].digit, &event))
            continue;
        t->heard = news[i].digit;
        t->heard_from = news[i].at;
        tone = true;
        if (events_go_out(t) && dtmf_tx_start(&t->event_out.tx, event, DTMF_USUAL_VOLUME))
            t->stats.over++;
    }
    if (tones_maybe(t->detector)) /* else so much of it would pass that the receiver knows it too */
        tone = true;
    tone = tone && t->c.dtmf != TRANSCODE_DTMF_TONES;
    if (tone)
        memset(pcm, 0, n * sizeof(*pcm));
    return tone;
}

void transcode_hear_end(struct transcode *t)
{
    if (t->heard)
        tone_ends(t, t->heard_at);
}

/* ---- what goes out in the place of sound ---- */

static void tone_frame(struct transcode *t, const struct dtmf_out *o, int16_t *pcm)
{
    struct event_out *out = &t->event_out;
    if (o->marker) {
        tones_digit(&out->tone, t->rate_hz, dtmf_char(o->event.event), 0, o->event.volume);
        out->begun = o->ts;
        out->made = 0;
    }
    uint32_t total = o->ts - out->begun + o->event.duration;
    size_t n = (size_t)(total - out->made) * (t->rate_hz / TX_HZ);
    if (n > t->frame)
        n = t->frame;
    if (o->event.end && n > 0)
        tones_rest(&out->tone, (uint32_t)(n / (t->rate_hz / 1000)));
    tones_make(&out->tone, pcm, n);
    memset(pcm + n, 0, (t->frame - n) * sizeof(*pcm));
    out->made = total;
}

bool transcode_digit_frame(struct transcode *t, int16_t *pcm, int64_t at)
{
    uint32_t hz = tx_clock(t), ts = (uint32_t)(at / (LINE_HZ / (int64_t)hz));
    struct dtmf_out o;
    if (!dtmf_tx_tick(&t->event_out.tx, ts, &o))
        return false;
    if (!events_go_out(t)) {
        tone_frame(t, &o, pcm);
        return false;
    }
    send_event(t, &o.event, o.marker, at + line_of(hz, (int32_t)(o.ts - ts)));
    return true;
}

enum err transcode_send_digit(struct transcode *t, usec now, char digit, uint32_t ms)
{
    uint8_t event;
    (void)now;
    if (!dtmf_of_char(digit, &event))
        return ERR_RANGE;
    if (!events_go_out(t) && t->c.dtmf != TRANSCODE_DTMF_TONES)
        return ERR_UNSUPPORTED;
    return dtmf_tx_play(&t->event_out.tx, event, DTMF_USUAL_VOLUME, ms);
}

void transcode_given(struct transcode *t, usec now, char digit)
{
    struct given *oldest = &t->given[0];
    for (unsigned i = 1; i < GIVEN_MAX && oldest->digit; i++) {
        if (!t->given[i].digit || t->given[i].until < oldest->until)
            oldest = &t->given[i];
    }
    *oldest = (struct given){digit, now + TRANSCODE_SAME_US};
}
