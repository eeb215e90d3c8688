/* SPDX-License-Identifier: MIT */
/* ice/ice_priv.h: the parts of the full agent among themselves.
 *
 *   ice_agent.c    what is known and asked: candidates, credentials, events, ways, restart
 *   ice_pairs.c    checklists: pairs, their priorities and states, which is checked next
 *   ice_client.c   checks sent, their answers, nomination
 *   ice_server.c   checks received: roles, peer-reflexive candidates, triggered checks
 *   ice_consent.c  what happens on selected ways
 *
 * The valid pair of a check (§7.2.5.3.2) is kept as the pair that was checked: data takes the same way, from the base. Its
 * priority is of the address that the answer showed. */
#ifndef ICE_ICE_PRIV_H
#define ICE_ICE_PRIV_H
#include "ice/ice_agent.h"

enum pair_state { PAIR_FROZEN, PAIR_WAITING, PAIR_IN_PROGRESS, PAIR_SUCCEEDED, PAIR_FAILED };
enum { CONSENTS = 8, BEFORES = 3, PAIR_NONE = -1 };

/* What a request that may still be answered said. */
struct asked {
    uint8_t id[STUN_ID];
    bool use, controlling;
    usec until; /* its answer counts before */
};

struct pair {
    bool used;
    uint8_t state; /* enum pair_state */
    uint8_t stream, component, local, remote;
    bool valid, nominated;
    bool heard;      /* a proven check came this way */
    bool use;        /* we control: its next check nominates */
    bool wanted;     /* the peer controls and has nominated it */
    uint32_t queued; /* in the triggered-check queue, in this order; 0: not */
    uint64_t priority, valid_priority;
    struct stun_txn txn;
    struct asked now;             /* of txn */
    struct asked before[BEFORES]; /* that were cancelled for it (§7.3.1.4), the last first */
};

struct remote_secret {
    uint16_t ufrag_n, pwd_n;
    char ufrag[ICE_UFRAG_MAX], pwd[ICE_PWD_MAX];
};
static inline sv remote_ufrag(const struct remote_secret *r)
{
    return (sv){r->ufrag, r->ufrag_n};
}
static inline sv remote_pwd(const struct remote_secret *r)
{
    return (sv){r->pwd, r->pwd_n};
}

struct component {
    bool selected;
    bool former;      /* the selected way is of before the restart */
    int pair;         /* of the selected way, in this generation */
    int nominating;   /* whose check nominates */
    usec first_valid; /* USEC_NEVER: none yet */
    struct ice_way way;
    usec consent_next, consent_ends;
    struct asked consent[CONSENTS];
    uint8_t consent_at;
    bool lost; /* the way of this generation is not to be used again */
    bool ev_selected, ev_lost;
};

enum stream_state { STREAM_RUNNING, STREAM_COMPLETED, STREAM_FAILED };
struct stream {
    uint8_t state; /* enum stream_state */
    uint8_t components;
    bool remote_known, local_end, remote_end;
    bool ev_completed, ev_failed;
    struct remote_secret remote, former;
    struct ice_candidate locals[ICE_CANDIDATES_MAX], remotes[ICE_CANDIDATES_MAX];
    uint32_t remote_of[ICE_CANDIDATES_MAX]; /* whose ufrag an early check named */
    uint8_t locals_n, remotes_n;
    struct component component[ICE_COMPONENTS_MAX];
};

struct ice_agent {
    struct ice_config config;
    struct ice_io io;
    struct ice_secret ours, former;
    bool has_former, ev_role;
    uint64_t tiebreaker;
    unsigned role_changes, reflexive; /* reflexive: names peer-reflexive foundations */
    bool checked;               /* a check was sent since the start: states are no longer initial */
    unsigned turn;              /* whose checklist is next */
    uint32_t queue;             /* the last order given */
    usec ta_next, ta_last, pac; /* ta_next: USEC_NEVER: nothing to check */
    unsigned pairs_end;         /* places behind it were never used */
    struct pair pair[ICE_PAIRS_MAX];
    struct stream stream[]; /* config.streams */
};
static inline size_t agent_size(unsigned streams)
{
    return offsetof(struct ice_agent, stream) + streams * sizeof(struct stream);
}

#define PAIR_EACH(p, a)                                                   \
    for (struct pair *p = (a)->pair; p < (a)->pair + (a)->pairs_end; p++) \
        if (p->used)

static inline struct stream *pair_stream(struct ice_agent *a, const struct pair *p)
{
    return &a->stream[p->stream];
}
static inline struct component *pair_component(struct ice_agent *a, const struct pair *p)
{
    return &a->stream[p->stream].component[p->component - 1];
}
static inline const struct ice_candidate *pair_local(const struct ice_agent *a,
                                                     const struct pair *p)
{
    return &a->stream[p->stream].locals[p->local];
}
static inline const struct ice_candidate *pair_remote(const struct ice_agent *a,
                                                      const struct pair *p)
{
    return &a->stream[p->stream].remotes[p->remote];
}
static inline struct ice_way pair_way(const struct ice_agent *a, const struct pair *p)
{
    return (struct ice_way){pair_local(a, p)->socket, pair_remote(a, p)->addr};
}

/* ---- ice_pairs.c ---- */
/* Pairs of the stream's i-th local or remote candidate with all that it may be paired with (§6.1.2.2). */
void pairs_of_local(struct ice_agent *a, unsigned stream, unsigned local, usec now);
void pairs_of_remote(struct ice_agent *a, unsigned stream, unsigned remote, usec now);
/* NULL: there is none. */
struct pair *pair_find(struct ice_agent *a, unsigned stream, unsigned local, unsigned remote);
/* The pair of a base and a remote candidate, made if there is none. NULL: no room, or they cannot be one. */
struct pair *pair_get(struct ice_agent *a, unsigned stream, unsigned local, unsigned remote);
void pair_drop(struct ice_agent *a, struct pair *p);
void pairs_drop_stream(struct ice_agent *a, unsigned stream);
/* After a change of roles, or of a remote candidate's priority. */
void pairs_reprioritise(struct ice_agent *a);
/* Frozen pairs of the same foundation may be checked (§7.2.5.3.3). */
void pairs_unfreeze(struct ice_agent *a, const struct pair *like);
/* Into the triggered-check queue. */
void pair_trigger(struct ice_agent *a, struct pair *p, usec now);
/* The pair whose check is due (§6.1.4.2); NULL: none anywhere. */
struct pair *pairs_pick(struct ice_agent *a);
/* Something may be checked: the pace goes on. */
void pairs_kick(struct ice_agent *a, usec now);

/* ---- ice_client.c ---- */
void client_check(struct ice_agent *a, struct pair *p, usec now);
void client_step(struct ice_agent *a, struct pair *p, usec now);
void client_on_response(struct ice_agent *a, unsigned stream, unsigned component, uint8_t socket,
                        const struct addr *from, const struct stunmsg *m, usec now);
/* A request to the stream's peer, under its credentials. */
void client_put(const struct ice_agent *a, const struct remote_secret *to,
                const struct ice_secret *ours, const uint8_t id[static STUN_ID], uint32_t priority,
                bool use, struct buf *b);
void client_fail(struct ice_agent *a, struct pair *p, usec now);
/* p is proven and nominated by whoever controls. */
void client_nominated(struct ice_agent *a, struct pair *p, usec now);
/* States of checklists, and whom to nominate, after anything that may have changed them. */
void client_update(struct ice_agent *a, unsigned stream, usec now);
usec client_patience(const struct ice_agent *a, unsigned stream);
void client_role(struct ice_agent *a, bool controlling);

/* ---- ice_server.c ---- */
void server_on_request(struct ice_agent *a, unsigned stream, unsigned component, uint8_t socket,
                       const struct addr *from, sv octets, usec now);

/* ---- ice_consent.c ---- */
void consent_start(struct ice_agent *a, struct component *c, usec now);
void consent_step(struct ice_agent *a, unsigned stream, unsigned component, usec now);
/* False: the response is of no consent check of this component. */
bool consent_on_response(struct ice_agent *a, unsigned stream, unsigned component, uint8_t socket,
                         const struct addr *from, const struct stunmsg *m, usec now);
void consent_lost(struct component *c);

/* ---- ice_agent.c ---- */
/* Each component of each stream has a way of this generation: nobody needs the former credentials. */
void agent_forget_former(struct ice_agent *a);

#endif
