/* SPDX-License-Identifier: MIT */
/* All that are bound to an address of record, as targets: who is reached how, who rings together,
 * who is an alternative of whom. */
#include "location/location.h"

/* The first URI of a Path: where a request for this phone goes next. */
static enum err path_first(sv path, struct sip_addr *ret_addr)
{
    size_t end = sv_chr(path, '>'); /* a Path value is a name-addr (RFC 3327 §4) */
    return sip_addr_parse(sv_trim(sv_sub(path, 0, end + 1)), false, ret_addr);
}

static bool path_is_secure(sv path)
{
    struct sip_addr first;
    return path_first(path, &first) == ERR_OK && location_transport(&first.uri) == SIP_T_TLS;
}

bool location_hangs_on_flow(const struct binding *b)
{
    struct uri contact;
    struct dest d;
    struct flow none = {.transport = SIP_T_NONE};
    if (!b->conn || b->path.n)
        return false;
    /* A phone on plain TCP that wrote an address may listen there as well. */
    return b->reg_id || b->transport != SIP_T_TCP || uri_parse(b->uri, &contact, NULL) ||
           location_contact(&contact, &none, false, &d);
}

/* How b is reached; false: not at all. */
static bool reach(const struct location_query *q, const struct binding *b,
                  const struct uri *contact, struct location_target *t)
{
    struct flow flow = location_flow(b, q->epoch);
    if (b->path.n) {
        t->path = b->path;
        return !q->secure || path_is_secure(b->path);
    }
    if (flow.transport == SIP_T_NONE && location_hangs_on_flow(b))
        return false;
    if (location_contact(contact, &flow, b->by_flow, &t->dest))
        return false;
    /* When the flow is gone what is left is an address that nobody has judged yet (D16). */
    if (t->dest.flow.transport == SIP_T_NONE &&
        (!location_allowed(q->sip, &t->dest.addr, &b->remote) ||
         (b->by_flow && addr_class(&t->dest.addr) == ADDR_GLOBAL &&
          !addr_equal_ip(&t->dest.addr, &b->remote))))
        return false;
    t->flow_only = b->by_flow && (b->reg_id || location_hangs_on_flow(b));
    if (t->flow_only)
        t->dest.or_connect = false;
    /* RFC 3261 §26.2.2, §16.6 step 2: what asks for sips goes on over TLS or not at all (D24).
     * DEVIATES: RFC 5630 §5.3 would also leave out who registered over TLS with a sip: Contact;
     * browsers have no other, and the last hop is as secure. */
    bool tls = t->dest.transport == SIP_T_TLS || t->dest.transport == SIP_T_WSS;
    return tls || (!q->secure && contact->scheme != URI_SIPS);
}

/* RFC 5630 §5.3: a request for sip: is not forwarded to a sips: URI, but to its sip: form, over TLS. */
static enum err target_uri(const struct location_query *q, const struct uri *contact,
                           struct arena *a, struct location_target *t)
{
    t->uri = contact->text;
    t->parsed = contact;
    if (q->secure || contact->scheme != URI_SIPS)
        return ERR_OK;
    sv rest = sv_sub(contact->text, contact->scheme_text.n, contact->text.n);
    char *mem = arena_alloc(a, rest.n + 3);
    struct buf b;
    if (!mem)
        return ERR_NOMEM;
    buf_init(&b, mem, rest.n + 3);
    buf_str(&b, "sip");
    buf_put(&b, rest);
    t->uri = buf_sv(&b);
    t->parsed = NULL;
    return b.rc;
}

static bool before(const struct location_target *x, const struct location_target *y)
{
    const struct binding *a = x->binding, *b = y->binding;
    if (x->asleep != y->asleep)
        return y->asleep;
    if (a->q != b->q)
        return a->q > b->q;
    return a->expires > b->expires; /* refreshed later */
}

static void insert(struct location_target *list, size_t *n, size_t from,
                   const struct location_target *t)
{
    size_t k = (*n)++;
    for (; k > from && before(t, &list[k - 1]); k--)
        list[k] = list[k - 1];
    list[k] = *t;
}

/* Each phone in one run: its best way first, the others behind it. */
static void group(const struct location_target *sorted, size_t n, struct location_target *out)
{
    size_t have = 0;
    for (size_t i = 0; i < n; i++) {
        sv instance = sorted[i].binding->instance;
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++)
            seen = location_same_instance(instance, sorted[k].binding->instance);
        if (seen)
            continue;
        uint16_t rank = sorted[i].rank;
        out[have++] = sorted[i];
        for (size_t k = i + 1; k < n; k++) {
            if (!location_same_instance(instance, sorted[k].binding->instance))
                continue;
            out[have] = sorted[k];
            out[have].alternative = true;
            out[have++].rank = rank;
        }
    }
}

enum err location_targets(const struct location_query *q, const struct binding *b, size_t n,
                          struct arena *a, struct location_target **ret_targets, size_t *ret_n)
{
    bool groups = n > 1; /* what is alone needs no second list */
    struct location_target *sorted = arena_alloc(a, (n + 1) * sizeof(*sorted));
    struct location_target *out = groups ? arena_alloc(a, n * sizeof(*out)) : sorted;
    size_t have = 0;
    if (!sorted || !out)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        struct location_target t = {.rank = b[i].q, .binding = &b[i]};
        struct uri *contact = arena_alloc(a, sizeof(*contact));
        if (!contact)
            return ERR_NOMEM;
        if (uri_parse(b[i].uri, contact, NULL))
            continue;
        /* A datagram wakes nobody, and says nothing of whether it arrived; a connection that stands
         * does. */
        bool up = reach(q, &b[i], contact, &t);
        t.asleep = q->push && b[i].push.n && (!up || t.dest.flow.conn == 0);
        if (!up && !t.asleep)
            continue;
        TRY(target_uri(q, contact, a, &t));
        insert(sorted, &have, 0, &t);
    }
    if (groups)
        group(sorted, have, out);
    *ret_targets = out;
    *ret_n = have;
    return ERR_OK;
}
