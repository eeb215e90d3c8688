/* SPDX-License-Identifier: MIT */
/* tls/tls_gate.c: handshakes take turns.
 *
 * Each loop has a gate. A turn's budget goes to the first who ask; the others stand in line, and a
 * mail to the loop itself brings the next turn about: it polls without sleeping, so that sockets and
 * timers come between any two of them. */
#include "tls/tls_priv.h"
#include <assert.h>

enum { TURN_BUDGET = TLS_HANDSHAKES_TURN * TLS_HEAVY };
/* When the mailbox is full. */
#define TRY_AGAIN (1 * USEC_MS)

struct gate {
    struct loop *loop;
    struct mail mail;
    struct timer timer;
    struct link waiting; /* not empty: mail or timer are under way */
    bool mailed;
    usec turn;     /* loop_now of the turn that left belongs to */
    unsigned left; /* of its budget */
};

static void refill(struct gate *g)
{
    if (g->turn == loop_now(g->loop))
        return;
    g->turn = loop_now(g->loop);
    g->left = TURN_BUDGET;
}

/* Another turn, soon. */
static void call_back(struct gate *g)
{
    if (g->mailed || timer_armed(&g->timer))
        return;
    enum err rc = loop_mail(g->loop, &g->mail);
    g->mailed = !rc;
    if (rc == ERR_BUSY)
        loop_timer(g->loop, &g->timer, TRY_AGAIN);
}

static bool take(struct gate *g, unsigned cost)
{
    if (g->left < cost)
        return false;
    g->left -= cost;
    return true;
}

static void next(struct gate *g)
{
    refill(g);
    while (!list_empty(&g->waiting)) {
        struct tls_wait *w = CONTAINER(g->waiting.next, struct tls_wait, by_gate);
        if (!take(g, w->cost))
            break;
        list_unlink(&w->by_gate);
        w->go(w);
    }
    if (!list_empty(&g->waiting))
        call_back(g);
}

static void on_mail(struct loop *at, struct mail *m)
{
    struct gate *g = CONTAINER(m, struct gate, mail);
    g->mailed = false;
    if (!loop_stopping(at))
        next(g);
}

static void on_timer(struct timer *t, void *arg)
{
    (void)t;
    next(arg);
}

static void gate_free(void *tls)
{
    struct gate *g = tls;
    assert(!g->mailed); /* a loop that ends has given all mail back */
    mem_free(g);
}

enum err tls_gate_open(struct loop *l)
{
    if (l->tls)
        return ERR_OK;
    struct gate *g = MEM_NEW(struct gate);
    if (!g)
        return ERR_NOMEM;
    g->loop = l;
    g->mail.fn = on_mail;
    g->left = TURN_BUDGET;
    timer_init(&g->timer, on_timer, g);
    list_init(&g->waiting);
    l->tls = g;
    l->tls_free = gate_free;
    return ERR_OK;
}

bool tls_gate_pass(struct loop *l, struct tls_wait *w)
{
    struct gate *g = l->tls;
    refill(g);
    if (list_empty(&g->waiting) && take(g, w->cost))
        return true;
    list_push(&g->waiting, &w->by_gate);
    call_back(g);
    return false;
}
