/* SPDX-License-Identifier: MIT */
/* Our binding at the registrar: RFC 3261 §10.2; tried again by RFC 5626 §4.5. */
#include "useragent/useragent_priv.h"

enum { RETRY_BASE_S = 30, RETRY_MAX_S = 1800, DEFAULT_S = 3600 };

static enum err start(struct useragent *ua)
{
    if (ua->registration.txn)
        return ERR_STATE;
    loop_timer_cancel(ua->loop, &ua->refresh);
    return request_send(&ua->registration);
}

/* How long the registrar keeps our contact; 0: it is not in the list. */
static uint32_t granted(struct useragent *ua, struct rx *rx)
{
    const struct sip_addr *contacts;
    char mem[512];
    struct buf b;
    size_t n;
    uint32_t expires_s;
    uint64_t v;
    sv text;
    buf_init(&b, mem, sizeof(mem));
    request_put_contact(ua, &b, &rx->flow);
    sv head = SV("Contact: <");
    sv own_text = sv_sub(buf_sv(&b), head.n, b.n - 1);
    struct uri own;
    if (b.rc || uri_parse(own_text, &own, NULL) ||
        sipmsg_addrs(&rx->msg, SIP_H_CONTACT, &contacts, &n))
        return 0;
    for (size_t i = 0; i < n; i++) {
        if (contacts[i].star || !uri_equal(&contacts[i].uri, &own))
            continue;
        if (sip_param(contacts[i].params, SV("expires"), &text) &&
            sv_u64(text, UINT32_MAX, &v) == ERR_OK)
            return (uint32_t)v;
        return sipmsg_number(&rx->msg, SIP_H_EXPIRES, &expires_s) == ERR_OK ? expires_s : DEFAULT_S;
    }
    return 0;
}

static void retry_later(struct useragent *ua)
{
    usec delay = RETRY_BASE_S * USEC_S;
    for (unsigned i = 0; i < ua->failures && delay < RETRY_MAX_S * USEC_S; i++)
        delay *= 2;
    if (delay > RETRY_MAX_S * USEC_S)
        delay = RETRY_MAX_S * USEC_S;
    ua->failures++;
    /* Between half and the whole of it, so that phones do not come all at once. */
    delay -= (usec)(loop_random(ua->loop) % (uint64_t)(delay / 2));
    loop_timer(ua->loop, &ua->refresh, delay);
}

static void on_response(struct request *r, struct rx *rx, uint16_t status)
{
    struct useragent *ua = r->ua;
    uint32_t min_s;
    if (status < 200)
        return;
    if (status == 423 && rx && ua->keep &&
        sipmsg_number(&rx->msg, SIP_H_MIN_EXPIRES, &min_s) == ERR_OK && min_s > ua->expires_s) {
        ua->expires_s = min_s; /* §10.2.8 */
        if (start(ua) == ERR_OK)
            return;
    }
    if (status < 300) {
        ua->failures = 0;
        ua->bound_s = granted(ua, rx);
        if (ua->keep && ua->bound_s)
            loop_timer(ua->loop, &ua->refresh, ua->bound_s * USEC_S / 2);
    } else if (ua->keep) {
        retry_later(ua);
    }
    if (ua->h->on_registered)
        ua->h->on_registered(ua->arg, status, status < 300 ? ua->bound_s : 0, rx);
}

static void on_refresh(struct timer *t, void *arg)
{
    struct useragent *ua = arg;
    (void)t;
    if (start(ua) != ERR_OK && !ua->registration.txn)
        retry_later(ua);
}

void register_init(struct useragent *ua)
{
    ua->registration =
        (struct request){.ua = ua, .method = SIP_REGISTER, .on_response = on_response};
    timer_init(&ua->refresh, on_refresh, ua);
}

void register_done(struct useragent *ua)
{
    loop_timer_cancel(ua->loop, &ua->refresh);
    request_drop(&ua->registration);
}

/* The server reaches us by the connection that the binding came on: a new one needs a new binding.
 */
void register_flow_gone(struct useragent *ua, const struct flow *f)
{
    if (ua->keep && addr_equal(&f->remote, &ua->c.server) && !ua->registration.txn)
        loop_timer(ua->loop, &ua->refresh, (usec)(loop_random(ua->loop) % USEC_S) + 1);
}

enum err useragent_register(struct useragent *ua, uint32_t expires_s)
{
    if (ua->registration.txn)
        return ERR_STATE;
    ua->expires_s = expires_s;
    ua->keep = expires_s > 0;
    ua->all = false;
    return start(ua);
}

enum err useragent_unregister(struct useragent *ua, bool all)
{
    if (ua->registration.txn)
        return ERR_STATE;
    ua->expires_s = 0;
    ua->keep = false;
    ua->all = all;
    return start(ua);
}
