/* SPDX-License-Identifier: MIT */
/* ice/ice_agent.h: the full agent: finds the best way to a peer, and notices when it ends. layer: media
 *
 * Spec    RFC 8445 (all of a full agent; peers of RFC 5245), RFC 8838 (trickle: candidates come at any time; 8840 carries
 *         them), RFC 7675 (consent), RFC 8863 (patience before failing).
 * Shape   an agent has data streams with one or two components each. Candidates, credentials, datagrams and the time go
 *         in; datagrams leave by a callback, and what happened is asked for by ice_agent_event(). It gathers
 *         nothing: the owner adds each candidate of ours once the peer has been told of it (RFC 8838 §10), from
 *         its sockets, from struct stun_binding, from a TURN server. Each base is a candidate itself. What is sent
 *         by a relayed one needs a permission of its server first (§7.2.1): whoever sends sees to it.
 * Order   new; add local candidates; tell the peer; ice_agent_set_remote() with its credentials, then its candidates;
 *         ice_agent_end_local() and ice_agent_end_remote() when no more will come: without both it never fails.
 *         Checks that arrive before the peer's credentials are answered, and followed when those are there.
 * Ways    ice_agent_selected() is where data goes; before there is one ice_agent_valid() may be used (§12.1). A
 *         way is left when its peer does not answer for 30 s (consent): nothing may be sent any more.
 * Restart ice_agent_restart() forgets all but the roles and the selected ways: data goes on over them, with their
 *         consent, until the new ones are selected.
 * Nomination regular: as soon as the best way is proven, or `patience` after the first (three times that if it is
 *         relayed). If the check that nominates fails, the stream has failed (§7.2.5.3.4).
 * Forgery what is not proven by the passwords changes nothing (D21): not the role, not a pair, not a timer.
 * Limits  ICE_STREAMS_MAX; ICE_CANDIDATES_MAX a side and stream, of them ICE_REFLEXIVE_MAX of the peer learned
 *         from checks; ICE_PAIRS_MAX pairs, or fewer (§6.1.2.5); one check each 50 ms, each of them sent 7 times at most.
 * Times   ask ice_agent_next() after every call, and call ice_agent_timer() when it is due.
 * Threads one at a time. Allocates in ice_agent_new() alone. io.send comes within ice_agent_on_datagram() and
 *         ice_agent_timer() alone, and must not call the agent.
 */
#ifndef ICE_ICE_AGENT_H
#define ICE_ICE_AGENT_H
#include "ice/ice.h"

enum { ICE_STREAMS_MAX = 8, ICE_CANDIDATES_MAX = 32, ICE_REFLEXIVE_MAX = 8, ICE_PAIRS_MAX = 100 };

/* A way that data takes. */
struct ice_way {
    uint8_t socket; /* of ours, by the owner's number: from there */
    struct addr to;
};
struct ice_io {
    void (*send)(void *arg, unsigned stream, unsigned component, const struct ice_way *way,
                 sv octets);
    void (*random)(void *arg, void *p, size_t n); /* that nobody can guess */
    void *arg;
};
struct ice_config {
    bool controlling; /* who made the offer, unless one side is lite (§6.1.1) */
    bool peer_lite;   /* then we control */
    bool no_consent;  /* the peer's answers are not asked for; indications keep NATs open (§11) */
    unsigned streams;
    uint8_t components[ICE_STREAMS_MAX]; /* 1, 2 */
    unsigned pairs_max;                  /* 0: ICE_PAIRS_MAX */
    usec patience;                       /* 0: ICE_PATIENCE_MS */
};
enum { ICE_TA_MS = 50, ICE_PATIENCE_MS = 400, ICE_PAC_MS = 39500, ICE_CONSENT_S = 30 };

struct ice_agent;
/* Errors: ERR_NOMEM. Its credentials are drawn. */
MUST_USE enum err ice_agent_new(const struct ice_config *config, const struct ice_io *io,
                                struct ice_agent **ret_agent);
void ice_agent_free(struct ice_agent *a); /* wipes its secrets; NULL is fine */

/* Ours, of all streams; others after a restart. */
const struct ice_secret *ice_agent_secret(const struct ice_agent *a);
bool ice_agent_controlling(const struct ice_agent *a);

/* ---- what is known ---- */

/* A candidate of ours: host, srflx or relay, with base, socket, priority and foundation.
 * Errors: ERR_EXISTS (redundant, §5.1.3), ERR_TOOBIG, ERR_STATE (after its end, or the stream has failed). */
MUST_USE enum err ice_agent_add_local(struct ice_agent *a, unsigned stream,
                                      const struct ice_candidate *c, usec now);
void ice_agent_end_local(struct ice_agent *a, unsigned stream, usec now);
/* The peer's credentials; the stream's checks begin. Others than before: only behind ice_agent_restart().
 * Errors: ERR_SYNTAX (their grammar), ERR_STATE (others are set). */
MUST_USE enum err ice_agent_set_remote(struct ice_agent *a, unsigned stream, sv ufrag, sv pwd,
                                       usec now);
/* Errors: ERR_EXISTS, ERR_TOOBIG, ERR_STATE. None of them matters to the session: the others are checked. */
MUST_USE enum err ice_agent_add_remote(struct ice_agent *a, unsigned stream,
                                       const struct ice_candidate *c, usec now);
void ice_agent_end_remote(struct ice_agent *a, unsigned stream, usec now);
/* The stream has one component (rtcp-mux was agreed on). */
void ice_agent_mux(struct ice_agent *a, unsigned stream, usec now);
/* New credentials, for all streams. */
void ice_agent_restart(struct ice_agent *a, usec now);

/* ---- what happens ---- */

/* A STUN datagram (stunmsg_is()) that arrived at this socket of ours, which belongs to this component; through a
 * TURN server: from the peer as it sees it. What is no ICE of ours is ignored. */
void ice_agent_on_datagram(struct ice_agent *a, unsigned stream, unsigned component, uint8_t socket,
                           const struct addr *from, sv octets, usec now);
/* A hard error came back of what was sent there: the next candidate's turn (§7.2.5.2.2). Only of errors that the
 * system proves to be of our own datagrams. */
void ice_agent_unreachable(struct ice_agent *a, unsigned stream, unsigned component,
                           const struct ice_way *way, usec now);
usec ice_agent_next(const struct ice_agent *a);
void ice_agent_timer(struct ice_agent *a, usec now);

enum ice_event_kind {
    ICE_SELECTED,  /* data of this component goes by ice_agent_selected() from now on */
    ICE_COMPLETED, /* each component of the stream has a selected way */
    ICE_FAILED, /* there is no way, of the stream; data goes on over ways of before a restart, if there are */
    ICE_LOST, /* the component's peer has withdrawn its consent or is silent: send nothing */
    ICE_ROLE  /* ice_agent_controlling() has changed */
};
struct ice_event {
    enum ice_event_kind kind;
    uint8_t stream, component;
};
/* The next thing that happened. False: nothing more. Ask after each call that may have changed something. */
bool ice_agent_event(struct ice_agent *a, struct ice_event *ret_event);

/* NULL: none. */
const struct ice_way *ice_agent_selected(const struct ice_agent *a, unsigned stream,
                                         unsigned component);
/* The selected way, or else the best that is proven. False: none. */
bool ice_agent_valid(const struct ice_agent *a, unsigned stream, unsigned component,
                     struct ice_way *ret_way);
/* Data may be taken from there: a way that is proven, or a peer whose check was. */
bool ice_agent_is_checked(const struct ice_agent *a, unsigned stream, unsigned component,
                          uint8_t socket, const struct addr *from);

#endif
