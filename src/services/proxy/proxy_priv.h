/* SPDX-License-Identifier: MIT */
/* proxy_priv.h: the parts of the proxy among themselves.
 *
 *   proxy.c           contexts; responses upstream; effects of the step
 *   proxy_branch.c    downstream: servers of a target, failover
 *   proxy_attempt.c   one server that is asked
 *   proxy_echo.c      2xx of an INVITE that come late or again
 *   proxy_redirect.c  3xx that are followed
 *   proxy_body.c      session descriptions that are exchanged
 *   proxy_unfit.c     2xx that cannot go up: acknowledged, and their dialog ended
 *   proxy_end.c       the server ends: what is not answered yet is cancelled
 *   proxy_relay.c     ACKs, without state
 *   proxy_build.c     the request as it leaves
 *   proxy_session.c   session timers
 *   proxy_route.c     before a request is routed
 *   proxy_step.c      what happens next, as a pure function */
#ifndef PROXY_PRIV_H
#define PROXY_PRIV_H
#include "proxy/proxy.h"
#include "proxy/proxy_step.h"

struct context;
struct branch;

/* Length of the loop hash in a branch and in a Record-Route user, in characters. */
enum { PROXY_HASH_LEN = 11 };

/* Another flow of a branch's phone. In the request's arena. */
struct alternative {
    const struct proxy_target *target;
    struct alternative *next;
};

/* One server that was asked: a client transaction. */
struct attempt {
    struct branch *branch;
    struct link by_branch;
    struct ctxn *txn;
    struct dest dest;
    bool heard; /* a response of any kind has come */
    bool done;  /* a final one of 300 or more: no 2xx can come of it */
};

/* A session description as it leaves. In the request's arena. */
struct exchange {
    struct sip_description was;
    sv description, type;
};
/* What the watcher said of a response. In the response's arena. */
struct judged {
    struct sip_description was;
    enum proxy_body act;
    struct proxy_body_new to;
};
/* Why a branch's request did not leave, or its 2xx did not go up. In the request's arena. */
struct refusal {
    struct proxy_body_new why;
    sv warning; /* as a line */
};

struct branch {
    struct context *ctx;
    uint8_t index;
    /* both in the request's arena; NULL once a 2xx went up */
    const struct proxy_target *target;
    const struct uri *uri;            /* the target's, or the request's own */
    struct alternative *alternatives; /* not yet tried, in order */
    struct link attempts;
    struct attempt *current; /* whose responses decide; NULL: none */
    struct attempt only;     /* nearly always there is one at a time; its branch NULL: unused */
    struct timer timer_c, silence;
    usec began;       /* of the first attempt */
    struct dest dest; /* of whom we heard last */
    /* its servers, in the request's arena; what was found by name is valid until `until` */
    const struct dest *server;
    unsigned servers, next;
    usec until;
    bool located; /* by name: what failed is remembered */
    bool tcp;     /* the current attempt stands in for one over UDP (§18.1.1) */
    bool tcp_off; /* with this server that has failed */
    uint8_t redirects;
    uint16_t share;                  /* its Max-Breadth */
    enum err why;                    /* of its last transport error */
    struct locate_query *query;      /* under way */
    struct proxy_redirect *redirect; /* asked for */
    struct rx *final;                /* its final response, kept until the best is chosen */
    void *leg;                       /* of the watcher of bodies */
    const struct exchange
        *exchange;                 /* for the server asked now; NULL: the body leaves as it came */
    const struct refusal *refusal; /* NULL: not refused by the watcher of bodies */
    const struct judged *judged;   /* of the 2xx that is about to go up; NULL: not asked yet */
    uint32_t raise;                /* of its CSeq */
    uint32_t cseq;                 /* what the caller's is; 0: as it leaves */
    uint8_t again;                 /* how often its request was sent again */
};

/* RFC 4028 §8: what the request says of a session timer as it leaves. */
struct session_plan {
    uint32_t expires, min; /* seconds; 0: nothing is put in */
    bool known;            /* the caller knows session timers */
};

/* What every branch is built from; in the request's arena. */
struct plan {
    struct proxy_route route;
    /* proxy_loop_hash, which every branch carries; SV_NONE: none does, as the request goes to one place */
    sv loop;
    char loop_text[PROXY_HASH_LEN];
    bool record_route, secure;
    sv identity;
    struct session_plan session;
    usec step_time;
    unsigned breadth;
    uint16_t otherwise;
    sv otherwise_reason, otherwise_headers;
};

/* One request on its way out. */
struct outgoing {
    struct rx *rx; /* what came */
    const struct plan *plan;
    const struct proxy_target *target;
    const struct uri *uri; /* the target's: branch_uri */
    const struct dest *dest;
    unsigned breadth; /* its Max-Breadth; 0: sent without state (§16.11), Max-Breadth as it came */
    bool server;      /* not a phone: overload is spoken of (RFC 7339 §4.1) */
    const struct exchange *exchange; /* NULL: the body as it came */
    uint32_t raise;                  /* of its CSeq */
    struct txn_key *ret_key;         /* what answers are matched by; NULL: none are awaited */
};

/* Where responses to a request go, and what they gain on their way through us. */
struct upstream {
    struct dest dest;
    struct session_plan session;
    bool oc; /* it is told how busy we are (RFC 7339 §5.2) */
};

struct context {
    struct proxy *proxy;
    struct link by_proxy;
    struct stxn *server; /* NULL: ended */
    struct rx *rx;       /* the request; a reference; NULL once a 2xx went up */
    struct plan *plan;   /* NULL with rx */
    struct upstream up;
    struct timer rank_time;
    unsigned live;     /* client transactions */
    unsigned busy;     /* calls into the context on the stack: it is freed by the last */
    bool sips_refused; /* a target was left out because it has no TLS */
    bool ending;       /* the server ends; rank_time says how long it is waited for */
    sv reason;         /* of the caller's CANCEL, or of ours, while it is handled */
    const struct proxy_watch *watch;
    void *watch_arg;
    const struct proxy_bodies *bodies; /* NULL: bodies are not looked at */
    void *bodies_arg;
    struct branch first; /* branch[0]: mostly there is no other */
    /* last: what is beyond step.n is never touched */
    struct step_context step;
    struct branch *branch[PROXY_TARGETS_MAX];
};

struct proxy {
    struct sip *sip;
    struct settings *set;
    struct locate *locate;      /* may be NULL */
    const struct overload *own; /* may be NULL */
    struct overload_peers peers;
    struct link contexts;
    struct link relays; /* ACKs that wait for a name */
    struct link echoes;
    struct link unfits;
    size_t count, relays_n, echoes_n, unfits_n;
    /* of this process: tokens of connections do not outlive it */
    uint64_t epoch;
};

/* ---- proxy.c ---- */
void context_enter(struct context *c);
/* The last call into the context; it may be gone afterwards. */
void context_leave(struct context *c);
/* status: when there is no rx to take it from. Between enter and leave. */
void context_event(struct context *c, struct branch *b, enum step_event ev, struct rx *rx,
                   uint16_t status);
/* The branches of the mask, which are TRYING, begin. */
void context_begin(struct context *c, uint32_t starting);
void context_timer_c(struct timer *t, void *arg);
static inline struct step_branch *branch_step(const struct branch *b)
{
    return &b->ctx->step.branch[b->index];
}

/* A response as it goes upstream: our Via off, the rest as it came (§16.7 steps 3, 8, 9). */
void upstream_edit(struct sipedit *e, struct sipmsg *m);
/* rx as edited; more: octets that it gains beyond what a response mostly does. NULL: no memory, or it
 * cannot be written. */
struct block *upstream_write(struct proxy *p, const struct upstream *u, struct rx *rx,
                             uint16_t status, struct sipedit *e, size_t more);

/* ---- proxy_body.c: of contexts with a watcher of bodies alone ---- */
/* Asks about the request to the next server of b. False: refused, and the branch has ended. */
bool body_request(struct branch *b);
/* A final response that would end the branch: its request is to be sent again. */
bool body_again(struct branch *b, const struct rx *rx);
/* Asks about a 2xx to INVITE of b that is the first of its context. False: it must not go up; *ret_told of it. */
bool body_fits(struct branch *b, struct rx *rx, const struct judged **ret_told);
/* Asks whether the request's description can pass at all. NULL: it may; else what the caller hears. */
const struct refusal *body_begin(struct context *c);
/* What the caller hears if b is the best. */
void body_refused(struct branch *b, const struct proxy_body_new *why);
/* What was refused has its effect; rx: the request, or the response that goes without its description. */
void body_told(struct context *c, struct rx *rx, const struct proxy_body_new *why);
/* Asks about a response of b, unless that was done; what it gains at most.
 *   ret_warning  the line that is among it; SV_NONE: none */
size_t body_response(struct branch *b, struct rx *rx, uint16_t status, struct sipedit *e,
                     sv *ret_warning);
/* What stands for description in m. False: there is none to be exchanged, nor room for one. */
bool body_exchange(struct exchange *x, const struct sipmsg *m, sv description);
/* x into what leaves. */
void body_edit(struct sipedit *e, const struct exchange *x);
size_t body_room(const struct exchange *x);
/* Legs of branches of which nothing can come any more are told gone; all: all are. */
void bodies_end(struct context *c, bool all);
/* A 2xx went up: the watcher of bodies goes if it has kept no leg. */
void bodies_leave(struct context *c);

/* ---- proxy_echo.c ---- */
/* txn's 2xx go upstream from now on, until it ends; nobody else hears of it. False: no memory. */
bool echo_new(struct proxy *p, const struct upstream *u, struct ctxn *txn);
void echoes_free(struct proxy *p);

/* ---- proxy_unfit.c ---- */
/* What a's server has answered is nobody's: acknowledges rx, a 2xx to INVITE, says BYE, and does so with all that come of
 * its transaction from now on. a is gone then. False: no memory; nothing was done. */
bool unfit_new(struct attempt *a, struct rx *rx, const struct judged *told);
/* Likewise for each 2xx that is still to come of a's server. a is gone then, or there was no memory. why: static. */
void unfit_await(struct attempt *a, uint16_t status, const char *why);
void unfits_free(struct proxy *p);

/* ---- proxy_end.c ---- */
/* Whoever has not answered CANCEL by now is waited for no longer; c may be gone afterwards. */
void context_cut(struct context *c);

/* ---- proxy_branch.c ---- */
/* One more branch, not begun; what t points to is copied. NULL: no memory, or too many. */
struct branch *branch_new(struct context *c, const struct proxy_target *t);
/* t as an alternative of b. Errors: ERR_NOMEM. */
MUST_USE enum err branch_alternative(struct branch *b, const struct proxy_target *t);
void branch_free(struct branch *b);
/* Finds its servers and asks the first; it may fail within the call. */
void branch_begin(struct branch *b);
/* Its request goes to the server that was asked once more. */
void branch_again(struct branch *b);
/* The server asked now is given up, the next one asked. */
void branch_next(struct branch *b);
/* Nobody waits for it any more. reason: a Reason value or SV_NONE. */
void branch_cancel(struct branch *b, sv reason);
/* Max-Breadth for those of the mask, which begin now (RFC 5393 §5.3.3). False: too little. */
bool branches_share(struct context *c, uint32_t starting);
/* The URI of t, which is the request's own when it names none; parsed into *mem when need be. Errors:
 * ERR_SYNTAX. */
MUST_USE enum err branch_uri(const struct proxy_route *route, const struct proxy_target *t,
                             struct uri *mem, const struct uri **ret_uri);
/* The URI that names the next hop of t, whose own is uri (RFC 3263 §4). Errors: ERR_SYNTAX. */
MUST_USE enum err branch_hop(const struct proxy_route *route, const struct proxy_target *t,
                             const struct uri *uri, struct uri *ret_uri);
/* Errors: ERR_NOMEM, as sip_flow_for and sipedit_write. */
MUST_USE enum err branch_build(struct proxy *p, const struct outgoing *o, struct block **ret_block);
/* §18.1.1: this many octets to where o goes should not leave over UDP. */
bool branch_too_long(struct proxy *p, const struct outgoing *o, size_t n);

/* ---- proxy_attempt.c ---- */
/* The request to where o goes, whose answers decide from now on. Errors: as ctxn_new. */
MUST_USE enum err branch_ask(struct branch *b, const struct outgoing *o, struct block *octets);
/* Nobody waits for it any more: Timer C and the silence. */
void branch_stop(struct branch *b);
void branch_silence(struct timer *t, void *arg);
/* What the memory of servers learns (RFC 3263 §4.3, RFC 3261 §21.5.4). */
void branch_remember(struct branch *b, const struct dest *d, bool works, usec retry_after);
void attempts_free(struct branch *b);
void attempt_free(struct attempt *a);
/* What is left of its attempts is an echo each. False: no memory. */
bool attempts_echo(struct branch *b);

/* ---- proxy_redirect.c ---- */
/* §16.5: a target is not added twice: the same URI by the same way. */
bool branch_tried(const struct context *c, const struct proxy_target *t);
/* Asks the watcher about the branch's 3xx, b->final. */
void redirect_ask(struct branch *b);
/* Asks the watcher where a target that is held leads. */
void redirect_hold(struct branch *b);
/* The branch has ended before the answer. NULL is fine. */
void redirect_forget(struct proxy_redirect *redirect);
/* A 3xx whose contacts may be asked for. */
bool redirect_wanted(const struct branch *b, struct rx *rx);

/* ---- proxy_relay.c ---- */
void relays_free(struct proxy *p);

/* ---- proxy_session.c ---- */
enum { SESSION_LINE = 64, SESSION_ROOM = 80 }; /* octets that a response gains at most */
/* §8.1: answer 422 with this Min-SE (seconds). */
bool session_too_small(const struct settings *set, const struct sipmsg *m, uint32_t *ret_min);
void session_plan(const struct settings *set, const struct sipmsg *m, struct session_plan *ret);
/* texts: where what is put in is kept, as long as e. */
void session_request(struct sipedit *e, const struct sipmsg *m, const struct session_plan *s,
                     struct buf *texts);
/* §8.2: the callee knows no session timers, the caller does. mem lives as long as e. */
void session_response(struct sipedit *e, const struct sipmsg *m, const struct session_plan *s,
                      char mem[static SESSION_LINE]);

/* ---- proxy_build.c ---- */
/* §16.6 steps 1 to 9: the request as it leaves on flow out, into b. */
MUST_USE enum err proxy_build(struct proxy *p, const struct outgoing *o, const struct flow *out,
                              struct buf *b);
/* The part of our branches that tells a loop from a spiral (RFC 5393 §4.2): of what routing depends
 * on. */
void proxy_loop_hash(struct proxy *p, struct rx *rx, char ret_text[static PROXY_HASH_LEN]);
/* The part that binds a flow token to them both, and, when it is of a connection, to this process. */
void proxy_token_hash(struct proxy *p, sv call_id, sv token, bool connection,
                      char ret_text[static PROXY_HASH_LEN]);

#endif
