/* SPDX-License-Identifier: MIT */
/* stun/stun.h: STUN as a client and as a server of Binding, both without sockets.    layer: media
 *
 * Spec    RFC 8489 §6.2.1 (retransmission), §6.2.2 (reliable transport), §6.3 (what is taken), §10 (alternate
 *         server), §12 (a Binding server).
 * Shape   a client's request is a struct stun_txn that its owner embeds: it is stepped with the time and says when
 *         to send, and tells whether a message is its answer. What the request says is the owner's. Over it,
 *         struct stun_binding asks a server for our address. The server is one pure function.
 * Life    nothing is owned; nothing to end.
 * Chance  transaction ids are made by the caller, of 96 bits that nobody can guess (RFC 8489 §5).
 * Limits  a Binding server's answer is STUN_ANSWER_MAX octets at most; to 20 octets it answers 32 (IPv4) or 44 (IPv6),
 *         for the address is the answer, and never more than 12 or 24 beyond what it got (D15). How often a source is
 *         answered is the caller's to limit.
 * Threads any. No globals.
 */
#ifndef STUN_STUN_H
#define STUN_STUN_H
#include "clock/clock.h"
#include "sock/addr.h"
#include "stunmsg/stunmsg.h"

/* An address of a message as one of ours: IPv4-mapped ones become IPv4 (D16, D22); and the other way. */
struct addr stun_to_addr(const struct stun_addr *a);
struct stun_addr stun_from_addr(const struct addr *a);
/* The address in the first attribute of this type of m, an XORed one. Errors: ERR_NOTFOUND, ERR_SYNTAX,
 * ERR_UNSUPPORTED. */
MUST_USE enum err stun_xor_addr_of(const struct stunmsg *m, enum stun_type type,
                                   struct addr *ret_addr);
void stun_put_xor_addr(const struct stun_out *o, enum stun_type type, const struct addr *a);

/* ---- one request of a client ---- */

/* Ti of a reliable transport equals what the default retransmissions take together. */
enum { STUN_RTO_MS = 500, STUN_RC = 7, STUN_RM = 16, STUN_TI_MS = 39500 };
struct stun_timing {
    usec rto;
    unsigned rc; /* requests in all; 1 with rm == 1 and rto == Ti: a reliable transport */
    unsigned rm; /* after the last one rm times the first RTO is waited */
};
extern const struct stun_timing stun_udp, stun_reliable;

struct stun_txn {
    uint8_t id[STUN_ID];
    bool running;
    unsigned sent;
    struct stun_timing timing;
    usec began, next; /* next: when stun_txn_step() has something to do */
};
enum stun_step { STUN_WAIT, STUN_TRANSMIT, STUN_TIMED_OUT };

/* The first request is due at now: stun_txn_step() says so. */
void stun_txn_start(struct stun_txn *t, const uint8_t id[static STUN_ID],
                    const struct stun_timing *timing, usec now);
/* TRANSMIT: send it (again) now, the same octets. TIMED_OUT is said once, then it has ended. */
enum stun_step stun_txn_step(struct stun_txn *t, usec now);
static inline usec stun_txn_next(const struct stun_txn *t)
{
    return t->running ? t->next : USEC_NEVER;
}
/* m is a response of this transaction, which has not ended. That it came from where the request went, and that it is
 * authentic, is to be checked before anything is done about it; then the owner ends it by stun_txn_end(). */
bool stun_txn_is_of(const struct stun_txn *t, const struct stunmsg *m);
static inline void stun_txn_end(struct stun_txn *t)
{
    t->running = false;
}
/* How long the answer took; 0: not known, for the request was repeated (Karn). */
usec stun_txn_rtt(const struct stun_txn *t, usec now);

/* ---- what our address is ---- */

enum stun_binding_event {
    STUN_BINDING_NONE,      /* not ours, forged, or nothing new */
    STUN_BINDING_MAPPED,    /* mapped is our address as the server sees it */
    STUN_BINDING_ALTERNATE, /* ask the server at mapped instead; the caller decides, and once (§10) */
    STUN_BINDING_FAILED     /* it refused, or did not answer */
};
struct stun_binding {
    struct stun_txn txn;
    struct addr server;
    struct addr mapped;
};
void stun_binding_start(struct stun_binding *s, const struct addr *server,
                        const uint8_t id[static STUN_ID], const struct stun_timing *timing,
                        usec now);
/* The request, for the server, when stun_txn_step() says TRANSMIT. */
void stun_binding_put(const struct stun_binding *s, struct buf *b);
/* A STUN message that arrived where the request was sent from. */
enum stun_binding_event stun_binding_on_message(struct stun_binding *s, const struct stunmsg *m,
                                                const struct addr *from);

/* ---- a server ---- */

enum { STUN_ANSWER_MAX = 128, STUN_ANSWER_UNKNOWN_MAX = 16 };
/* The answer to these octets from there, into b. False: none is due (no Binding request, or no STUN). */
bool stun_answer(sv octets, const struct addr *from, struct buf *b);

#endif
