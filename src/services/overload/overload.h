/* SPDX-License-Identifier: MIT */
/* overload/overload.h: how much of the new work is refused, and what peers ask us to hold back.  layer: services
 *
 * Spec    RFC 7339: the loss algorithm (§7), oc in the topmost Via (§4, §5); 503 with Retry-After
 *         RFC 3261 §21.5.4.
 * Shape   three values without a clock, a socket or memory of their own:
 *           struct overload        our own load, judged every OVERLOAD_INTERVAL from the least lag in it and
 *                                  the fullest table: the share of new requests to refuse, in percent;
 *           struct overload_peers  what servers below us have asked for;
 *           struct overload_probe  measures how late the loop is, while there is work: the least of the last
 *                                  OVERLOAD_LOOKS. A machine that stands still for a moment, or twice, is
 *                                  no overload: to refuse what came meanwhile would win nothing.
 *         What goes on is never refused: requests within a dialog, ACK, BYE, CANCEL, PRACK; nor what asks
 *         for help (urn:service:sos, RFC 5031).
 * Limits  OVERLOAD_PEERS servers; the one heard of longest ago is forgotten.
 * Threads its worker's.
 */
#ifndef OVERLOAD_OVERLOAD_H
#define OVERLOAD_OVERLOAD_H
#include "transport/transport.h"

enum { OVERLOAD_PEERS = 64, OVERLOAD_RETRY_MIN = 5, OVERLOAD_RETRY_MAX = 30 };
enum { OVERLOAD_LOOKS = 4 };
#define OVERLOAD_INTERVAL (100 * USEC_MS)
/* A peer repeats what waits longer than T1, half a second: before that nothing is won by refusing. */
#define OVERLOAD_LAG_LOW  (100 * USEC_MS) /* at or below: less is refused */
#define OVERLOAD_LAG_HIGH (250 * USEC_MS) /* above: more is */
/* Of the cap of transactions, in percent; the same. */
enum { OVERLOAD_FULL_LOW = 80, OVERLOAD_FULL_HIGH = 90 };

/* ---- ourselves ---- */
struct overload {
    unsigned percent; /* of new requests that are refused now */
    usec judged;      /* when last */
    usec lag;         /* the least since then; -1: none was measured */
    unsigned full;    /* percent of the cap, the most since then */
    uint32_t seq;     /* of the value (RFC 7339 §4.4): grows with each change */
};
/* lag: how late the loop is; full: percent of the transactions that there may be. now: monotonic. */
void overload_measure(struct overload *o, usec now, usec lag, unsigned full);
/* m may be refused at all. */
bool overload_sheddable(struct sipmsg *m);
/* m is refused: answer 503 with "Retry-After: " overload_retry_s(). chance: any random number. */
bool overload_sheds(const struct overload *o, struct sipmsg *m, uint64_t chance);
/* Seconds; spread, so that they do not all come back at once. */
unsigned overload_retry_s(uint64_t chance);

/* A request whose topmost Via this is offers oc with the loss algorithm (§5.1). */
bool overload_is_offered(const struct sip_via *via);
/* The Via of a request that offers oc with the loss algorithm, as its response shall carry it: the whole
 * value into b. False: it does not offer it, or does not fit; b is untouched then. (§5.1, §5.2) */
bool overload_put_via(struct buf *b, const struct overload *o, const struct sip_via *via);
/* Answers a request 503 without state, oc in its Via when that was offered. Errors: as sip_reply. */
MUST_USE enum err overload_refuse(const struct overload *o, struct sip *s, struct rx *rx);

/* ---- servers below us ---- */
struct overload_peer {
    struct addr addr; /* family 0: free */
    uint32_t seq;
    unsigned percent;
    usec heard, until;
};
struct overload_peers {
    struct overload_peer peer[OVERLOAD_PEERS];
};
/* What the Via that we wrote says in a response from this address (§5.4). */
void overload_heard(struct overload_peers *p, const struct addr *from, const struct sip_via *via,
                    usec now);
/* The request may go there now (§5.5, §7.2): what is sheddable gives way first. */
bool overload_may_send(const struct overload_peers *p, const struct addr *to, struct sipmsg *m,
                       usec now, uint64_t chance);

/* ---- the loop's lag ---- */
struct overload_probe {
    struct loop *loop;
    struct timer timer;
    usec due; /* 0: not armed */
    bool work;
    usec look[OVERLOAD_LOOKS]; /* each lag measured, in turn */
    unsigned at;
    usec lag; /* the least of them; 0 when there is no work */
};
void overload_probe_init(struct overload_probe *p, struct loop *l);
/* A request came: the loop's lag is measured in 100 ms, and every 10 ms while it is high. Without requests
 * no timer is armed. */
void overload_probe_work(struct overload_probe *p);
void overload_probe_done(struct overload_probe *p);

#endif
