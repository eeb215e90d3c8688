/* SPDX-License-Identifier: MIT */
/* proxy_priv.h: the parts of the proxy among themselves. */
#ifndef PROXY_PRIV_H
#define PROXY_PRIV_H
#include "proxy/proxy.h"
#include "proxy/proxy_step.h"

struct context;

struct branch {
    struct context *ctx;
    struct ctxn *txn; /* NULL: ended */
    struct timer timer_c;
    struct dest dest;
    struct rx *final; /* its final response, kept until the best is chosen */
};

struct context {
    struct proxy *proxy;
    struct link by_proxy;
    struct stxn *server;  /* NULL: ended */
    struct rx *rx;        /* the request; a reference; NULL once a 2xx went up */
    struct dest upstream; /* where its responses go */
    struct step_context step;
    struct branch *branch; /* step.n of them */
    unsigned live;         /* client transactions */
    unsigned busy;         /* calls into the context on the stack: it is freed by the last */
    const struct proxy_watch *watch;
    void *watch_arg;
};

struct proxy {
    struct sip *sip;
    struct settings *set;
    struct link contexts;
    size_t count;
};

/* Length of the loop hash in a branch and in a Record-Route user, in characters. */
enum { PROXY_HASH_LEN = 11 };

/* §16.6 steps 1 to 9: the request as it goes to t on flow, into b. breadth: its Max-Breadth; 0:
 * sent
 * without state (§16.11), Max-Breadth as it came. */
MUST_USE enum err proxy_build(struct proxy *p, struct rx *rx, const struct proxy_route *route,
                              const struct proxy_target *t, const struct flow *out, uint16_t slot,
                              bool record_route, unsigned breadth, struct buf *b);
/* The part of our branches that tells a loop from a spiral (RFC 5393 §4.2): of what routing depends
 * on. */
void proxy_loop_hash(struct proxy *p, struct rx *rx, char ret_text[static PROXY_HASH_LEN]);
/* The part of our Record-Route users that binds them to a Call-ID. */
void proxy_call_hash(struct proxy *p, sv call_id, char ret_text[static PROXY_HASH_LEN]);

#endif
