/* SPDX-License-Identifier: MIT */
/* relay/relay.h: ports, whom they listen to, and the way of a packet.            layer: media
 *
 * Spec    RFC 3550, 3605, 4961 (one port to send and receive), 5761 and 7983 (what shares a port); threats D16 to D18.
 * Shape   struct relay is a worker's: its sockets, its counters; the ports are the process's. A transport is what one side of
 *         a call has for one m= line, or for several that are bundled: a pair of ports, and for RTP and for
 *         RTCP a path: whom it listens to and where it sends. A packet that is let in goes to on_packet in
 *         the block that it came in, which may be changed and sent on; RTCP and what is neither say what they are.
 * Path    A source is believed when it is the address that the description told. Another one is learned
 *         only within a window, and only where there is a reason: the description's address is not the one that
 *         its signalling comes from (a NAT), and the packets come from the latter; three that belong together.
 *         Packets that were proved by their keys (SRTP) teach by themselves. Nothing else is taken, and so
 *         nothing is sent to anybody else (RTP bleed).
 *         Nothing is sent to addresses that a description has no business to name (loopback, link-local,
 *         multicast, our own ports; private ones, but by whom signals from such), and to one that never
 *         answers only for some seconds. What is no RTP may be anything, a request to a server that believes our
 *         address too: it goes nowhere but to who has spoken from there, or signals from there.
 * Limits  the ports; STAT_LIMIT_MEDIA_PORTS counts refusals.
 * Threads the loop's. */
#ifndef RELAY_RELAY_H
#define RELAY_RELAY_H
#include "ports/ports.h"
#include "sock/sock.h"

struct relay;
struct relay_config {
    usec latch;   /* media.latch */
    uint8_t dscp; /* media.dscp */
};
/* ports: borrowed. Errors: ERR_NOMEM. */
MUST_USE enum err relay_new(struct loop *l, struct ports *ports, const struct relay_config *c,
                            struct relay **ret_relay);
void relay_free(struct relay *r); /* all transports must be gone */
void relay_configure(struct relay *r, const struct relay_config *c);
struct loop *relay_loop(const struct relay *r);
/* Pairs in use. */
size_t relay_pairs(const struct relay *r);

/* ---- whom a port listens to ---- */

enum relay_component { RELAY_RTP, RELAY_RTCP, RELAY_COMPONENTS };

/* What is known of who is behind a path. */
struct relay_peer {
    struct addr told;  /* by its description; family 0: nothing */
    struct addr party; /* where its signalling comes from, port not looked at; family 0: unknown */
    bool trusted;      /* the configuration names it: its addresses are not doubted */
};
enum { RELAY_VALID_MAX = 4 };
struct relay_path {
    struct addr to;    /* where is sent; family 0: nowhere (yet) */
    bool ice;          /* only addresses that a check has proved are heard, and sent to */
    bool named;        /* `told` may be sent to */
    bool proved;       /* somebody answers from `to` */
    bool secure;       /* what comes is proved by keys before relay_path_hear */
    unsigned unproved; /* sent without an answer, wherever to */
    struct relay_peer peer;
    struct addr valid[RELAY_VALID_MAX];
    uint8_t valid_n;
    struct addr
        other; /* heard beside it, never sent to (a sender that uses two ports); family 0: none */
    /* where it was before its description named another place: heard until it speaks from there, which it does when it
     * knows that we know; family 0: nowhere */
    struct addr former;
    bool unsettled;    /* another place was named before anything came from the one before */
    usec since, until; /* learning */
    /* who may be learned: three packets in order of one source */
    struct addr candidate;
    uint32_t ssrc;
    uint16_t seq;
    uint8_t consistent;
};
/* A description has said (again) who is there. What was learned stays while it says the same.
 *   latch  how long another source may be learned; with p->ice nothing is learned so
 *   mine   our own address there: only who signals from it may name it, or who names a port that is live in
 *          `ports` (another call's, that of a client of our TURN server) */
void relay_path_set(struct relay_path *p, const struct relay_peer *peer, bool secure, usec latch,
                    const struct addr *mine, struct ports *ports, usec now);
/* The description that answers its own is told to it once more, since it may not have come before: who is not there yet is
 * learned for as long again. */
void relay_path_retold(struct relay_path *p, usec latch, usec now);
/* Before the keys are tried: may this source be one? */
bool relay_path_maybe(const struct relay_path *p, const struct addr *from, usec now);
/* The peer may name this address, by its description or by a check: nothing is sent elsewhere (D16). */
bool relay_peer_may_name(const struct relay_peer *peer, const struct addr *a,
                         const struct addr *mine, struct ports *ports);
/* A check has proved this address (RFC 8445 §7.3); selected: data goes there from now on. */
void relay_path_validate(struct relay_path *p, const struct addr *a, bool selected);
/* The peer has gone (RFC 7675): nothing is sent any more. What it may still say is heard. */
void relay_path_lose(struct relay_path *p);
/* A packet, proved if the path is secure. True: it is taken. ssrc, seq: of RTP; of RTCP ssrc and 0. */
bool relay_path_hear(struct relay_path *p, const struct addr *from, uint32_t ssrc, uint16_t seq,
                     usec now);
/* Who is there has spoken, signals from there, or is named by the configuration. */
bool relay_path_is_known(const struct relay_path *p);
/* Counts a packet that is to leave. False: it must not. */
bool relay_path_send(struct relay_path *p);

/* ---- transports ---- */

struct relay_transport;
/* Calls for what a port receives, in turns of the loop. b is the callee's to change, and to send on with a
 * reference of its own. */
struct relay_handler {
    /* neither RTP nor RTCP: STUN and DTLS. From anybody: the callee judges. */
    void (*on_other)(void *arg, struct relay_transport *t, enum relay_component c, struct block *b,
                     const struct addr *from);
    /* RTP or RTCP (muxed or not) of a possible source, before it is believed: the callee proves it (or not),
     * asks relay_path_hear, and goes on. rtcp: by its first octets, which are not encrypted */
    void (*on_packet)(void *arg, struct relay_transport *t, enum relay_component c, bool rtcp,
                      struct block *b, const struct addr *from);
};
struct relay_transport {
    struct relay *relay;
    const struct relay_handler *h;
    void *arg;
    bool mux;
    bool
        opaque; /* no RTP: all that a possible source sends goes to on_packet, and to who is known (T.38) */
    uint16_t first; /* port of RTP */
    usec own_at;    /* when the next packet from a port of ours may come, for their rate */
    struct udp *port[RELAY_COMPONENTS];
    struct relay_path path[RELAY_COMPONENTS]; /* with mux that of RTP alone */
};
/* Opens a pair of ports of at's address. t: the caller's memory. Errors: ERR_BUSY (none left), ERR_UNREACHABLE (the
 * address is not ours), ERR_NOMEM, ERR_IO. */
MUST_USE enum err relay_open(struct relay *r, const struct addr *at, const struct relay_handler *h,
                             void *arg, struct relay_transport *t);
/* The pair at at's port and the one above it, as a session had it that goes on here. Errors: as above; ERR_BUSY: taken. */
MUST_USE enum err relay_open_at(struct relay *r, const struct addr *at,
                                const struct relay_handler *h, void *arg,
                                struct relay_transport *t);
void relay_close(struct relay_transport *t); /* once, of an opened one */
/* Sends to where the path says; b's reference goes over. RTCP with mux leaves by the RTP port. False: nowhere to. */
bool relay_send(struct relay_transport *t, enum relay_component c, struct block *b);
/* Sends to an address: STUN and DTLS. Copies. */
void relay_send_to(struct relay_transport *t, enum relay_component c, const struct addr *to,
                   sv octets);

#endif
