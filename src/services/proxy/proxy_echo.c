/* SPDX-License-Identifier: MIT */
/* What remains of an answered INVITE: for 64*T1 its 2xx may come again, or one of another branch (RFC
 * 3261 §16.7 step 5, RFC 6026 §7.2). Each client transaction then needs to know where upstream is and no
 * more: so much is what a call costs when its context has ended. */
#include "proxy/proxy_priv.h"

struct echo {
    struct proxy *proxy;
    struct link by_proxy;
    struct ctxn *txn;
    struct upstream up;
};

static void echo_free(struct echo *x)
{
    list_unlink(&x->by_proxy);
    x->proxy->echoes_n--;
    MEM_GIVE(x);
}

static void on_response(void *arg, struct rx *rx)
{
    struct echo *x = arg;
    const struct sip_via *vias;
    struct sipedit e;
    char mem[SESSION_LINE];
    size_t n;
    /* §16.7 step 3: one whose only Via is ours was for us. */
    if (rx->msg.status / 100 != 2 || sipmsg_vias(&rx->msg, &vias, &n) || n < 2)
        return;
    upstream_edit(&e, &rx->msg);
    session_response(&e, &rx->msg, &x->up.session, mem);
    struct block *out = upstream_write(x->proxy, &x->up, rx, rx->msg.status, &e, 0);
    if (!out)
        return;
    /* One that gets lost comes again. */
    enum err rc = sip_send(x->proxy->sip, &x->up.dest, out, NULL);
    (void)rc;
    block_unref(out);
}

static void on_gone(void *arg, enum err why)
{
    (void)why;
    echo_free(arg);
}

static const struct ctxn_handler handler = {.on_response = on_response, .on_gone = on_gone};

bool echo_new(struct proxy *p, const struct upstream *u, struct ctxn *txn)
{
    struct echo *x = MEM_TAKE(struct echo);
    if (!x)
        return false;
    x->proxy = p;
    x->txn = txn;
    x->up = *u;
    list_push(&p->echoes, &x->by_proxy);
    p->echoes_n++;
    ctxn_handle(txn, &handler, x);
    return true;
}

void echoes_free(struct proxy *p)
{
    LIST_EACH_SAFE (x, &p->echoes, struct echo, by_proxy) {
        ctxn_drop(x->txn);
        echo_free(x);
    }
}
