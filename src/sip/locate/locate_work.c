/* SPDX-License-Identifier: MIT */
/* locate/locate_work.c: from what is asked for to a set of targets. Spec RFC 3263 §4, §5.
 *
 *   number ────────────────────────────────────────────────► one address
 *   name:port ───────────────────────────────► A, AAAA ────► addresses
 *   name;transport=t ────────────► SRV of t ─► A, AAAA
 *   name ─► NAPTR ─► SRV it names            ▲
 *             └ none ─► SRV of each ─ none ──┘ of the name, default port
 *
 * A query remembers the answers it has got and is worked out anew from the URI with each that comes:
 * what is missing is asked, what is there gives targets, and when nothing is missing that is the
 * set. The chance that orders the records of an SRV answer comes from the query's seed, so
 * every working-out agrees. */
#include "locate/locate_priv.h"

enum { PORT = 5060, PORT_TLS = 5061 };

/* ---- transports ---- */

bool locate_has(const struct locate *l, enum sip_transport t)
{
    return sip_has_transport(l->sip, t, 4) || sip_has_transport(l->sip, t, 6);
}

/* RFC 3263 §4.1: "the client SHOULD use UDP for a SIP URI, and TCP for a SIPS URI", there under TLS. */
enum sip_transport locate_transport(const struct locate *l, const struct locate_goal *g)
{
    if (g->transport != SIP_T_NONE)
        return g->transport;
    if (g->secure)
        return SIP_T_TLS;
    return locate_has(l, SIP_T_UDP) || !locate_has(l, SIP_T_TCP) ? SIP_T_UDP : SIP_T_TCP;
}

uint16_t locate_port(const struct locate_goal *g, enum sip_transport t)
{
    return g->port ? g->port : t == SIP_T_TLS ? PORT_TLS : PORT;
}

struct dest locate_dest(const struct addr *ip, uint16_t port, enum sip_transport t)
{
    struct dest d = {.addr = *ip, .transport = t};
    d.addr.port = port;
    return d;
}

/* ---- working out ---- */

/* The answer, if it is here; else it is asked, and pending says so. */
static const struct locate_answer *get(struct locate_work *w, sv name, enum dns_type type)
{
    struct locate_query *q = w->q;
    struct locate_slot *slot = NULL;
    for (unsigned i = 0; i < q->slots && !slot; i++)
        if (locate_slot_is(&q->slot[i], name, type))
            slot = &q->slot[i];
    if (!slot) {
        if (q->slots == LOCATE_QUESTIONS) {
            w->refused = true;
            return NULL;
        }
        slot = &q->slot[q->slots];
        slot->query = q;
        list_init(&slot->by_question);
        enum err rc = locate_ask(q->l, name, type, slot);
        if (rc) {
            if (!w->rc && rc != ERR_NOTFOUND)
                w->rc = rc;
            return NULL;
        }
        q->slots++;
    }
    if (!slot->answer) {
        w->pending++;
        return NULL;
    }
    if (slot->answer->rc && slot->answer->rc != ERR_NOTFOUND && !w->rc)
        w->rc = slot->answer->rc;
    return slot->answer->n > 0 ? slot->answer : NULL;
}

static void rests_on(struct locate_work *w, const struct locate_answer *a)
{
    if (a->until < w->set->until)
        w->set->until = a->until;
}

static void add(struct locate_work *w, const struct addr *ip, uint16_t port, enum sip_transport t)
{
    const struct locate_query *q = w->q;
    struct locate_set *set = w->set;
    struct dest d = locate_dest(ip, port, t);
    struct flow way;
    if (set->n == LOCATE_TARGETS_MAX || (q->allowed && !q->allowed(q->arg, &d.addr))) {
        w->refused = true;
        return;
    }
    if (!sip_has_transport(q->l->sip, t, d.addr.family) || sip_flow_for(q->l->sip, &d, &way))
        return; /* RFC 6724 §5 rule 1: there is no way to it from here */
    for (unsigned i = 0; i < set->n; i++)
        if (addr_equal(&set->dest[i].addr, &d.addr) && set->dest[i].transport == t)
            return;
    set->dest[set->n++] = d;
}

static void add_record(struct locate_work *w, const struct locate_answer *a, unsigned i,
                       uint16_t port, enum sip_transport t)
{
    if (!a || i >= a->n)
        return;
    struct addr ip = addr_from_ip(a->record[i].ip, a->type == DNS_A ? 4 : 16, port);
    rests_on(w, a);
    add(w, &ip, port, t);
}

/* RFC 7984 §3.1: a dual-stack client looks up both; §4: in the order of one name's addresses alone. */
static void addresses(struct locate_work *w, sv name, uint16_t port, enum sip_transport t)
{
    const struct locate_answer *v6 = NULL, *v4 = NULL;
    unsigned pending = w->pending;
    if (w->set->n + w->waiting >= LOCATE_TARGETS_MAX) {
        w->refused = true;
        return;
    }
    if (sip_has_transport(w->q->l->sip, t, 6))
        v6 = get(w, name, DNS_AAAA);
    if (sip_has_transport(w->q->l->sip, t, 4))
        v4 = get(w, name, DNS_A);
    w->waiting += w->pending > pending;
    for (unsigned i = 0; (v6 && i < v6->n) || (v4 && i < v4->n); i++) {
        add_record(w, v6, i, port, t);
        add_record(w, v4, i, port, t);
    }
}

/* RFC 2782: "A Target of '.' means that the service is decidedly not available at this domain": NEVER. */
enum found { NONE, PENDING, THERE, NEVER };

static enum found servers(struct locate_work *w, sv name, enum sip_transport t)
{
    uint8_t order[LOCATE_RECORDS];
    unsigned pending = w->pending;
    const struct locate_answer *a = get(w, name, DNS_SRV);
    if (!a)
        return w->pending > pending ? PENDING : NONE;
    if (a->n == 1 && a->record[0].name_n == 0)
        return NEVER;
    rests_on(w, a);
    uint64_t seed = w->q->seed ^ a->hash;
    locate_order_srv(a, &seed, order);
    for (unsigned i = 0; i < a->n; i++) {
        const struct locate_record *r = &a->record[order[i]];
        if (r->name_n > 0 && r->port > 0)
            addresses(w, locate_record_name(a, r), r->port, t);
        else
            w->refused = true;
    }
    return THERE;
}

/* The SRV records of the host itself for a transport (RFC 3263 §4.2). */
static enum found service(struct locate_work *w, enum sip_transport t)
{
    char mem[LOCATE_NAME_MAX];
    struct buf b;
    if (!locate_has(w->q->l, t))
        return NONE;
    buf_init(&b, mem, sizeof mem);
    buf_str(&b, t == SIP_T_TLS ? "_sips._tcp." : t == SIP_T_TCP ? "_sip._tcp." : "_sip._udp.");
    buf_put(&b, w->q->goal.host);
    return b.rc ? NONE : servers(w, buf_sv(&b), t);
}

static void by_transport(struct locate_work *w, enum sip_transport t)
{
    if (service(w, t) == NONE)
        addresses(w, w->q->goal.host, locate_port(&w->q->goal, t), t);
}

/* RFC 3403 §4.1: "once a match is found the Client MUST NOT consider any NAPTRs with a higher value
 * of ORDER". Those of the same order come by preference. */
static bool by_naptr(struct locate_work *w)
{
    const struct locate_query *q = w->q;
    const struct locate_record *first = NULL;
    const struct locate_answer *a = get(w, q->goal.host, DNS_NAPTR);
    if (!a)
        return w->pending > 0;
    for (unsigned i = 0; i < a->n; i++) {
        const struct locate_record *r = &a->record[i];
        enum sip_transport t = (enum sip_transport)r->transport;
        /* RFC 3263 §4.1: "a client resolving a SIPS URI MUST discard any services that do not
         * contain 'SIPS'" */
        if ((q->goal.secure && t != SIP_T_TLS) || !locate_has(q->l, t))
            continue;
        if (!first)
            first = r;
        if (r->order != first->order)
            break;
        rests_on(w, a);
        if (servers(w, locate_record_name(a, r), t) == NONE)
            addresses(w, q->goal.host, locate_port(&q->goal, t), t);
    }
    return first != NULL;
}

static void by_name(struct locate_work *w)
{
    if (by_naptr(w))
        return;
    if (w->q->goal.secure) {
        by_transport(w, SIP_T_TLS);
        return;
    }
    /* RFC 3263 §4.1: "does a query for each": so all are asked at once. */
    enum found tls = service(w, SIP_T_TLS);
    if (tls == THERE)
        return;
    enum found udp = service(w, SIP_T_UDP), tcp = service(w, SIP_T_TCP);
    if (tls == PENDING)
        w->set->n = 0; /* slowness is no reason to speak in the clear either */
    if (tls == PENDING || udp == PENDING || tcp == PENDING || udp == THERE || tcp == THERE)
        return;
    enum sip_transport t = locate_transport(w->q->l, &w->q->goal);
    if ((t == SIP_T_UDP ? udp : tcp) == NONE)
        addresses(w, w->q->goal.host, locate_port(&w->q->goal, t), t);
}

void locate_work_out(struct locate_query *q, struct locate_work *w, struct locate_set *set)
{
    *w = (struct locate_work){.q = q, .set = set};
    set->n = 0;
    set->until = USEC_NEVER;
    const struct locate_goal *g = &q->goal;
    enum sip_transport t = locate_transport(q->l, g);
    if (g->ip.family)
        add(w, &g->ip, locate_port(g, t), t);
    else if (g->port)
        addresses(w, g->host, g->port, t);
    else if (g->transport != SIP_T_NONE)
        by_transport(w, t);
    else
        by_name(w);
}
