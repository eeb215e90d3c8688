/* SPDX-License-Identifier: MIT */
/* txn_user.h: a user of transactions on a world's server, and what it was told. */
#ifndef TESTS_SIP_TXN_USER_H
#define TESTS_SIP_TXN_USER_H
#include "world.h"
#include "txn/txn.h"

struct tell {
    unsigned requests, cancels, gone, responses, acks, merged;
    enum err why;
    uint16_t status[64];
    struct stxn *s;
    struct ctxn *c;
    uint16_t answer; /* at once; 0: later */
    bool drop, refuse;
    usec gone_at;
    enum err rc;
};
static struct tell tell;

static inline void on_gone_server(void *arg, enum err why)
{
    struct world *w = arg;
    tell.gone++;
    tell.why = why;
    tell.gone_at = sim_now(w->sim);
    tell.s = NULL;
}

static inline void on_cancel(void *arg, struct rx *cancel)
{
    (void)arg;
    assert_int_equal(cancel->msg.method, SIP_CANCEL);
    tell.cancels++;
    struct sip_reply r = {.status = 487, .to_tag = SV("ours")};
    if (tell.drop) {
        stxn_drop(tell.s);
        tell.s = NULL;
    } else if (stxn_reply(tell.s, &r)) {
        assert_true(tell.refuse); /* no memory, as the test wants it */
    }
}

static const struct stxn_handler server_handler = {.on_cancel = on_cancel,
                                                   .on_gone = on_gone_server};

static inline enum err reply(uint16_t status)
{
    struct sip_reply r = {.status = status, .to_tag = status > 100 ? SV("ours") : SV_NONE};
    return stxn_reply(tell.s, &r);
}

static inline void take(struct world *w, struct rx *rx)
{
    if (rx->msg.method == SIP_ACK) {
        tell.acks++;
        return;
    }
    if (rx->msg.method == SIP_CANCEL) {
        struct sip_reply r = {.status = 481};
        assert_int_equal(sip_reply(w->sip[0], rx, &r), ERR_OK);
        return;
    }
    tell.requests++;
    tell.merged += stxn_merged(w->sip[0], rx);
    tell.rc = stxn_new(w->sip[0], rx, &server_handler, w, &tell.s);
    if (tell.rc) {
        tell.s = NULL;
        return;
    }
    if (tell.answer)
        assert_int_equal(reply(tell.answer), ERR_OK);
    if (tell.drop && tell.answer) {
        stxn_drop(tell.s);
        tell.s = NULL;
    }
}

static inline void start_txns(struct sip *s)
{
    assert_int_equal(txn_start(s), ERR_OK);
}

static inline struct world *start(void)
{
    struct world *w = world_new(1, start_txns);
    memset(&tell, 0, sizeof tell);
    w->on_request = take;
    return w;
}

static inline size_t live(struct world *w)
{
    return sip_transactions(w->sip[0]);
}

static inline void near(usec at, usec want)
{
    if (at < want - 5 * USEC_MS || at > want + 20 * USEC_MS)
        fail_msg("%lld us, not %lld us", (long long)at, (long long)want);
}

static inline struct loop *loop0(struct world *w)
{
    return w->group->loop[0];
}

#endif
