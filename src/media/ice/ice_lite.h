/* SPDX-License-Identifier: MIT */
/* ice/ice_lite.h: the side of ICE that answers: for servers with an address that all can reach. layer: media
 *
 * Spec    RFC 8445 §2.5, §6.2, §7.3, §7.3.2, §8.2, §9; consent of a peer RFC 7675 (which asks nothing of a lite agent).
 * Shape   one struct for one peer's transport (one data stream, or a BUNDLE), embedded by its owner; datagrams and the
 *         time go in, an answer and what changed come out. It sends no checks and knows no candidates of the peer: a
 *         proven check shows where it is, also from an address that nobody named (peer-reflexive). So it may be fed
 *         before the answer to our offer arrives.
 * Pairs   checked    a proven check came from there: data and ClientHello may be taken from there (D17, D20)
 *         selected   one with USE-CANDIDATE: data goes there, once each component has one (§12.1.1)
 *         Of several nominations the last counts (a browser that changes its network nominates anew), but for those that
 *         come within a second of another with a higher priority (RFC 5245's aggressive nomination).
 * Roles   a lite agent is controlled; a peer that says ICE-CONTROLLED gets 487 and must change (§6.1.1: the full one
 *         controls). Two lite agents send no checks: data goes to the peer's candidate of the same family (§8.2), and
 *         nothing of this is needed.
 * Consent a peer that checks its selected pair again and again (RFC 7675, all browsers) shows by its silence that it
 *         is gone: after `silence` without check or data the pair is lost, sending stops, and a new nomination, or data
 *         from there, brings it back. A peer that never repeats a check (RFC 5245) is measured by its data and
 *         keepalives while it is sent to: ice_lite_watch_data(). Else it is not, and one forged nomination would have us
 *         send for as long as the call lasts.
 * Forgery without our password nothing changes (D21): no pair, no time, no role; the answer is smaller than the request.
 *         An insider can have us send to an address that he has forged as his check's source, for no answer is needed
 *         (§19.5): the owner's rules for addresses (D16) come before what it is fed with.
 * Limits  ICE_LITE_PAIRS addresses a component; a new one replaces the one heard of longest ago, never the selected.
 * Life    ice_lite_done() wipes the passwords.
 * Threads one at a time. Allocates nothing.
 */
#ifndef ICE_ICE_LITE_H
#define ICE_ICE_LITE_H
#include "ice/ice.h"

enum { ICE_LITE_PAIRS = 8, ICE_LITE_SILENCE_S = 30 };

struct ice_lite_pair {
    struct addr remote;
    uint8_t socket; /* the caller's number of where it arrived */
    bool former;    /* of before the restart */
    bool repeats;   /* still checked seconds after it was nominated: its peer keeps consent fresh */
    uint32_t priority;
    usec heard;
    usec nominated, since; /* last and first; since is USEC_NEVER: never */
};
struct ice_lite_component {
    uint8_t n;
    int8_t selected; /* -1: none */
    struct ice_lite_pair pair[ICE_LITE_PAIRS];
    struct ice_lite_pair lost; /* was selected, and fell silent; remote.family 0: none */
};
struct ice_lite {
    struct ice_secret ours, former;
    bool restarting; /* former still answers for the selected pairs of before */
    uint8_t components;
    bool watched; /* data has to come, or consent */
    usec silence; /* 0: nobody is lost by silence */
    struct ice_lite_component component[ICE_COMPONENTS_MAX];
};

/* components: 1 with rtcp-mux, else 2. silence: ICE_LITE_SILENCE_S * USEC_S, or 0. */
void ice_lite_init(struct ice_lite *l, const struct ice_secret *ours, unsigned components,
                   usec silence);
void ice_lite_done(struct ice_lite *l);
/* New credentials (§9): data goes on over the pairs of before until their successors are nominated. Checks with
 * the former credentials are still answered there, and nowhere else. */
void ice_lite_restart(struct ice_lite *l, const struct ice_secret *ours);
/* The peer has no second component (rtcp-mux was agreed on): ice_lite_ready() may be true from now on. */
void ice_lite_mux(struct ice_lite *l);

/* Whether the owner sends to the peer, and says when data comes (ice_lite_data), at least every few seconds while it
 * does. While nothing is sent to it, a peer without consent owes no sign of life. */
void ice_lite_watch_data(struct ice_lite *l, bool on, usec now);
/* Data that its owner believes came for this component from there: a sign of life of a selected pair, and of the
 * other component's on the same host (who only listens sends RTCP alone). A mask of enum ice_lite_change: SELECTED, that
 * of a pair that was lost selects it again. */
unsigned ice_lite_data(struct ice_lite *l, unsigned component, const struct addr *from, usec now);

/* What a datagram changed: a mask. */
enum ice_lite_change {
    ICE_LITE_ANSWER = 1 << 0,   /* send the answer, from where it arrived to where it came from */
    ICE_LITE_CHECKED = 1 << 1,  /* this source was not known before */
    ICE_LITE_SELECTED = 1 << 2, /* data of this component goes to another address from now on */
    ICE_LITE_READY = 1 << 3     /* now each component has a selected pair: data may be sent */
};
/* A STUN datagram (stunmsg_is()) that arrived for this component.
 *   component  1, 2; one that we do not have is ignored
 *   socket     which of our addresses it arrived at
 *   b          gets the answer; ICE_CHECK_MAX octets are enough */
unsigned ice_lite_on_datagram(struct ice_lite *l, unsigned component, uint8_t socket,
                              const struct addr *from, sv octets, usec now, struct buf *b);

/* Where data of the component goes; NULL: nowhere. */
const struct ice_lite_pair *ice_lite_selected(const struct ice_lite *l, unsigned component);
/* A proven check came from there, and it has not been lost or replaced since. */
bool ice_lite_is_checked(const struct ice_lite *l, unsigned component, uint8_t socket,
                         const struct addr *from);
/* Each component has a selected pair. */
bool ice_lite_ready(const struct ice_lite *l);

/* When ice_lite_timer() has something to do. */
usec ice_lite_next(const struct ice_lite *l);
/* Pairs that were silent too long are forgotten. Returns a mask of the components that lost their selected
 * pair: bit 0 is component 1. Nothing may be sent there any more. */
unsigned ice_lite_timer(struct ice_lite *l, usec now);

#endif
