/* SPDX-License-Identifier: MIT */
/* txn/txn_elsewhere.c: a response whose connection is gone, and that its source does not take on a new one
 * either: the servers of sent-by are tried, when that is a name (RFC 3261 §18.2.2, RFC 3263 §5).
 *
 *   connection ─ gone ─► source, port of sent-by ─ refused ─► here: sent-by in the DNS ─► each of its servers
 *                                                                  └─ nothing, all refused: the machine's TX_ERROR
 *
 * Whoever connects writes sent-by, so he could aim our answers: only addresses of the class that he is
 * in himself are taken, never our own, and over TLS they must show that name (D15, D16, D24). Over
 * datagrams nobody is tried: an ICMP report is not worth a second packet to a third party. */
#include "txn/txn_priv.h"
#include "locate/locate.h"

enum { RESPONSE_ARENA = 256 * 1024 };

struct elsewhere {
    struct txn *t;
    struct locate_query *query; /* NULL: answered */
    struct locate_set set;
    unsigned next; /* the server in use; set.n: none is left */
};

static bool allowed(void *arg, const struct addr *a)
{
    const struct txn_work *w = ((const struct elsewhere *)arg)->t->work;
    return addr_class(a) == addr_class(&w->dest.flow.remote) && !sip_is_own(w->table->sip, a);
}

static void on_located(void *arg, enum err rc, const struct locate_set *set)
{
    struct elsewhere *e = arg;
    struct txn *t = e->t;
    e->query = NULL;
    if (!rc)
        e->set = *set;
    if (rc)
        stxn_run(t->work->table, CONTAINER(t, struct stxn, t), TXN_TX_ERROR, NULL);
    else
        txn_send(t, t->work->octets, true);
}

static enum err ask(struct elsewhere *e)
{
    struct txn *t = e->t;
    struct arena a;
    struct sipmsg m;
    struct sipmsg_fault fault;
    const struct sip_via *via;
    uint8_t ip[16];
    size_t n;
    arena_init(&a, NULL, 0, RESPONSE_ARENA);
    enum err rc = sipmsg_parse(block_sv(t->work->octets), &a, &m, &fault);
    if (!rc)
        rc = sipmsg_via(&m, &via);
    /* By number it is the source, which has been tried, or an address that proves nothing. */
    if (!rc && (via->transport != t->work->dest.flow.transport || !uri_host_ip(via->host, ip, &n)))
        rc = ERR_UNREACHABLE;
    if (!rc)
        rc = locate_response(t->work->table->locate, via, allowed, on_located, e, &e->query);
    arena_done(&a);
    return rc;
}

bool txn_elsewhere(struct txn *t)
{
    struct txn_work *w = t->work;
    struct elsewhere *e = w->elsewhere;
    if (!w->table->locate || w->table->closing || !w->octets || !w->dest.or_connect)
        return false;
    if (e) {
        if (e->next < e->set.n)
            e->next++;
        if (e->next < e->set.n)
            txn_send(t, t->work->octets, true);
        return e->query || e->next < e->set.n;
    }
    e = MEM_NEW(struct elsewhere);
    if (!e)
        return false;
    e->t = t;
    w->elsewhere = e;
    return ask(e) == ERR_OK;
}

const struct dest *txn_dest(const struct txn *t)
{
    const struct elsewhere *e = t->work->elsewhere;
    return e && e->next < e->set.n ? &e->set.dest[e->next] : &t->work->dest;
}

void txn_elsewhere_done(struct txn *t)
{
    struct txn_work *w = t->work;
    if (!w || !w->elsewhere)
        return;
    locate_cancel(w->elsewhere->query);
    mem_free(w->elsewhere);
    w->elsewhere = NULL;
}

void txn_locate(struct sip *s, struct locate *l)
{
    struct txn_table *tt = sip_txns(s);
    tt->locate = l;
    if (!l)
        for (int i = 0; i < TXN_WAITS; i++)
            LIST_EACH (t, &tt->queue[i].waiting, struct txn, by_wait)
                txn_elsewhere_done(t);
}
