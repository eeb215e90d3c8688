/* SPDX-License-Identifier: MIT */
/* dtmf/dtmf.h: keys of a telephone: RFC 4733 events, INFO bodies, and who sends and receives events.   layer: wire
 *
 * Spec    RFC 4733 §2, §3.2; event 16 (flash) is RFC 4734's. INFO: application/dtmf-relay and application/dtmf as
 *         phones have them; no RFC says.
 * Shape   payloads and bodies are read and written by functions; two machines turn events into the packets of a
 *         stream and back. The machines are pure: time is passed in, packets come out.
 *           dtmf_rx_…   of one source: which key went down, is held, was let go
 *           dtmf_tx_…   into one stream: at each tick, what is to be sent instead of sound
 * Life    machines are plain structs; they own nothing.
 * Limits  DTMF_EVENTS_MAX events in a payload, DTMF_INFO_MAX octets of body, DTMF_QUEUE_MAX keys waiting to be sent,
 *         DTMF_LONGEST_MS of any key.
 * Threads any; a machine: one at a time. No globals. */
#ifndef DTMF_DTMF_H
#define DTMF_DTMF_H
#include "clock/clock.h"
#include "str/buf.h"

/* ---- events, RFC 4733 §3.2 ---- */

enum {
    DTMF_STAR = 10, /* 0 to 9: themselves */
    DTMF_HASH = 11,
    DTMF_A = 12, /* to 15: D */
    DTMF_FLASH = 16,
    DTMF_KEYS /* how many events above have a character */
};
/* '0' to '9', '*', '#', 'A' to 'D', '!' for a flash; 0: another event. */
char dtmf_char(uint8_t event);
/* The other way, 'a' to 'd' as well. */
bool dtmf_of_char(char c, uint8_t *ret_event);
/* The event stands in a list as that of a=fmtp: "0-15,66,70" (§2.4.1). No list (p == NULL): 0 to 15, as §2.5.1.1 says.
 * What is malformed in it names nothing. */
bool dtmf_listed(sv list, uint8_t event);

/* ---- payloads, §2.3 ---- */

enum { DTMF_EVENT = 4, DTMF_EVENTS_MAX = 8, DTMF_DURATION_MAX = 0xffff, DTMF_VOLUME_MAX = 63 };

struct dtmf_event {
    uint8_t event;
    bool end;
    uint8_t volume;    /* dBm0 without its sign: 0 is loudest */
    uint16_t duration; /* so far, in units of the stream's clock */
};
/* Events that follow one another without a pause (§2.5.1.5).
 * Errors: ERR_SYNTAX (not whole events, or none), ERR_TOOBIG. */
MUST_USE enum err dtmf_parse(sv payload, struct dtmf_event ret_events[static DTMF_EVENTS_MAX],
                             unsigned *ret_n);
void dtmf_put(uint8_t p[static DTMF_EVENT], const struct dtmf_event *e);

/* ---- INFO bodies ---- */

enum dtmf_info {
    DTMF_INFO_RELAY, /* application/dtmf-relay: "Signal=5\r\nDuration=160\r\n" */
    DTMF_INFO_PLAIN  /* application/dtmf: "5" */
};
enum { DTMF_INFO_MAX = 256, DTMF_INFO_LONGEST_MS = 60000 };
/* Which one a Content-Type means; parameters do not matter. */
bool dtmf_info_of(sv content_type, enum dtmf_info *ret_form);
sv dtmf_info_type(enum dtmf_info form);
/* A key by its character or by its number (10: '*', …). Lines in any order, unknown ones are passed over.
 *   ret_ms       0: not said (always of DTMF_INFO_PLAIN)
 *   reterr_line  which line of the body, 1 the first; 0: what is missing, or the whole
 * Errors: ERR_SYNTAX, ERR_TOOBIG (body, duration). */
MUST_USE enum err dtmf_info_parse(enum dtmf_info form, sv body, uint8_t *ret_event,
                                  uint32_t *ret_ms, unsigned *reterr_line);
/* Errors are b's: ERR_TOOBIG; ERR_SYNTAX: no key. */
void dtmf_info_print(struct buf *b, enum dtmf_info form, uint8_t event, uint32_t ms);

/* ---- receiving: §2.5.2 ----
 * An event is what has one timestamp and one number. The first packet of it that comes begins it, with or without
 * its marker; the first one with an E ends it, the next two are the same news; if none comes, the next event ends it,
 * or DTMF_SILENCE without a packet. Older packets than the newest event's say nothing more. A packet that begins where
 * a segment of the same event may end, without marker, goes on with it (§2.5.2.3). */

/* §2.5.2.2: "not be extended by more than three packet interarrival times", of 50 ms. */
#define DTMF_SILENCE (150 * USEC_MS)

enum dtmf_what { DTMF_BEGINS, DTMF_GOES_ON, DTMF_ENDED };
struct dtmf_news {
    enum dtmf_what what;
    uint8_t event, volume;
    bool lost_end;     /* with DTMF_ENDED: no end was seen; the duration is what was known last */
    uint32_t ts;       /* when it began, on the stream's clock */
    uint32_t duration; /* in units of that */
};
/* Zero before the first packet, and when the source (SSRC) or the clock changes. */
struct dtmf_rx {
    uint8_t state, event, volume;
    bool silenced;      /* it was ended by silence: what may still come of it is not news */
    uint16_t duration;  /* of the segment */
    uint32_t ts, begun; /* of the segment; of the event */
    usec heard;
};
enum { DTMF_NEWS_MAX = 3 };
/* One event of a packet. Returns how much news there is: 0 to 3 (an event ends for want of its end, a new one begins
 * and has ended). An event with no duration that does not end is ignored (§2.3.5). */
unsigned dtmf_rx_step(struct dtmf_rx *rx, uint32_t ts, bool marker, const struct dtmf_event *e,
                      usec now, struct dtmf_news ret_news[static DTMF_NEWS_MAX]);
/* All events of a packet; nothing when it is malformed. */
unsigned dtmf_rx_payload(struct dtmf_rx *rx, uint32_t ts, bool marker, sv payload, usec now,
                         struct dtmf_news ret_news[static DTMF_NEWS_MAX * DTMF_EVENTS_MAX]);
/* When silence ends the event that is on; USEC_NEVER: none is. */
usec dtmf_rx_due(const struct dtmf_rx *rx);
/* Ends it, if that time has come. */
bool dtmf_rx_timeout(struct dtmf_rx *rx, usec now, struct dtmf_news *ret_news);

/* ---- sending: §2.5.1 ----
 * The caller ticks once for each packet interval of the stream (20 ms, say), with the timestamp that a packet of sound
 * would carry. While the tick says so, it sends what comes out instead of sound: with the next sequence number (§2.5.1.6)
 * and the payload type of events. The last packet of a key, and of a segment, is sent three times (§2.5.1.4). */

enum {
    DTMF_QUEUE_MAX = 32,
    DTMF_SHORTEST_MS = 40,   /* Q.24: what a receiver must recognise */
    DTMF_PAUSE_MS = 50,      /* between keys at least: §3.1 */
    DTMF_USUAL_MS = 160,     /* of a key whose length nobody said */
    DTMF_LONGEST_MS = 60000, /* of any key, let go or not */
    DTMF_USUAL_VOLUME = 10
};

struct dtmf_key {
    uint8_t event, volume;
    uint32_t length; /* units; 0: until it is let go */
};
struct dtmf_tx {
    uint32_t clock_hz, step; /* step: units of a tick */
    uint8_t state, left;
    bool marker, stop;
    struct dtmf_key key;
    uint16_t duration;         /* of what is repeated */
    uint32_t ts, begun, ended; /* of the segment; of the key */
    unsigned queue_n;
    struct dtmf_key queue[DTMF_QUEUE_MAX];
};
/* clock_hz: 1000 to 192000. step_ms: of a tick, 1 to 200. */
void dtmf_tx_init(struct dtmf_tx *tx, uint32_t clock_hz, unsigned step_ms);
/* A key for so long (0: DTMF_USUAL_MS), after those before it. Errors: ERR_TOOBIG: too many wait. */
MUST_USE enum err dtmf_tx_play(struct dtmf_tx *tx, uint8_t event, uint8_t volume, uint32_t ms);
/* A key goes down, and is held until dtmf_tx_stop. Errors: ERR_TOOBIG. */
MUST_USE enum err dtmf_tx_start(struct dtmf_tx *tx, uint8_t event, uint8_t volume);
/* The first key that is held is let go; after DTMF_SHORTEST_MS at least. */
void dtmf_tx_stop(struct dtmf_tx *tx);
/* A key is down, ending or waiting. */
bool dtmf_tx_busy(const struct dtmf_tx *tx);

struct dtmf_out {
    uint32_t ts;
    bool marker;
    struct dtmf_event event; /* dtmf_put() makes the payload */
};
/* True: send this instead of sound. */
bool dtmf_tx_tick(struct dtmf_tx *tx, uint32_t ts_now, struct dtmf_out *ret_out);

#endif
