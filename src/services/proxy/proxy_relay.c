/* SPDX-License-Identifier: MIT */
/* A 2xx's ACK goes on without state (§16.11), but for the look-up of a next hop that is a name. */
#include "location/location.h"
#include "proxy/proxy_priv.h"

enum { RELAYS_MAX = 1000 };

struct relay {
    struct proxy *proxy;
    struct link by_proxy;
    struct rx *rx;
    struct plan plan;
    struct proxy_body_new as;
    struct proxy_target target; /* in the request's arena */
    struct locate_query *query;
};

static void relay_free(struct relay *r)
{
    locate_cancel(r->query);
    list_unlink(&r->by_proxy);
    r->proxy->relays_n--;
    rx_unref(r->rx);
    MEM_GIVE(r);
}

void relays_free(struct proxy *p)
{
    LIST_EACH_SAFE (r, &p->relays, struct relay, by_proxy)
        relay_free(r);
}

static void send_to(struct proxy *p, struct rx *rx, const struct plan *plan,
                    const struct proxy_target *t, const struct proxy_body_new *as,
                    const struct dest *d)
{
    struct outgoing o = {.rx = rx, .plan = plan, .target = t, .dest = d, .raise = as->raise};
    struct exchange x;
    struct block *block;
    struct dest tcp;
    struct flow out;
    struct uri uri;
    if (as->description.p && body_exchange(&x, &rx->msg, as->description))
        o.exchange = &x;
    if (branch_uri(&plan->route, t, &uri, &o.uri) || branch_build(p, &o, &block))
        return;
    if (branch_too_long(p, &o, block->n)) {
        /* §18.1.1: nobody would hear that a connection is refused, so one must be there. */
        tcp = *d;
        tcp.transport = SIP_T_TCP;
        if (sip_flow_for(p->sip, &tcp, &out) == ERR_OK && out.conn) {
            o.dest = &tcp;
            block_unref(block);
            if (branch_build(p, &o, &block))
                return;
        }
    }
    /* An ACK that gets lost is asked for again by the 2xx that is repeated. */
    enum err rc = sip_send(p->sip, o.dest, block, NULL);
    (void)rc;
    block_unref(block);
}

static bool allowed(void *arg, const struct addr *a)
{
    const struct relay *r = arg;
    bool trusted = r->target.trusted && !r->plan.route.next;
    return trusted || location_allowed(r->proxy->sip, a, &r->rx->flow.remote);
}

static void on_located(void *arg, enum err rc, const struct locate_set *set)
{
    struct relay *r = arg;
    r->query = NULL;
    if (!rc)
        send_to(r->proxy, r->rx, &r->plan, &r->target, &r->as, &set->dest[0]);
    relay_free(r);
}

static void send_later(struct proxy *p, struct rx *rx, const struct plan *plan,
                       const struct proxy_target *t, const struct proxy_body_new *as,
                       const struct uri *hop)
{
    struct relay *r = p->relays_n < RELAYS_MAX ? MEM_TAKE(struct relay) : NULL;
    if (!r)
        return;
    r->proxy = p;
    r->rx = rx_ref(rx);
    r->plan = *plan;
    r->target = *t;
    r->target.parsed = NULL;
    r->as = *as;
    list_push(&p->relays, &r->by_proxy);
    p->relays_n++;
    if ((t->uri.p && sv_dup(&rx->arena, t->uri, &r->target.uri)) ||
        (t->path.p && sv_dup(&rx->arena, t->path, &r->target.path)) ||
        locate_start(p->locate, hop, allowed, on_located, r, &r->query))
        relay_free(r);
}

/* Where its URI points. */
static void find_hop(struct proxy *p, struct rx *rx, const struct plan *plan,
                     const struct proxy_target *t, const struct proxy_body_new *as)
{
    const struct proxy_route *route = &plan->route;
    struct locate_set set = {.n = 1};
    const struct uri *own;
    struct uri mem, hop;
    if (branch_uri(route, t, &mem, &own) || branch_hop(route, t, own, &hop))
        return;
    enum err rc =
        p->locate ? locate_numeric(p->locate, &hop, &set) : location_dest(&hop, &set.dest[0]);
    if (rc == ERR_MORE)
        send_later(p, rx, plan, t, as, &hop);
    else if (!rc && ((t->trusted && !route->next) ||
                     location_allowed(p->sip, &set.dest[0].addr, &rx->flow.remote)))
        send_to(p, rx, plan, t, as, &set.dest[0]);
}

void proxy_relay(struct proxy *p, struct rx *rx, const struct proxy_route *route,
                 const struct proxy_target *t, const struct proxy_body_new *as)
{
    static const struct proxy_body_new same;
    struct plan plan = {.route = *route};
    if (t->dest.flow.transport != SIP_T_NONE || t->dest.transport != SIP_T_NONE)
        send_to(p, rx, &plan, t, as ? as : &same, &t->dest);
    else
        find_hop(p, rx, &plan, t, as ? as : &same);
}
