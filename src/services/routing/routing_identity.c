/* SPDX-License-Identifier: MIT */
/* Who is shown as the caller, who a request claims to be from, and who pays: RFC 3323, RFC 3325.
 *
 * The edge of the trust domain runs between us and every phone: what a phone asserts of itself is a
 * preference (P-Preferred-Identity) or nothing; what we assert is the account that was proved. */
#include "routing/routing_priv.h"

enum { LINES_MAX = 1024 };

static bool anonymous(const struct uri *u)
{
    return sv_ieq(u->host, SV("anonymous.invalid")); /* RFC 3323 §4.1.1.3 */
}

/* The first P-Preferred-Identity (RFC 3325 §9.2). */
static const struct sip_addr *preferred(struct rx *rx)
{
    const struct sip_addr *list;
    size_t n;
    if (sipmsg_addrs(&rx->msg, SIP_H_P_PREFERRED_IDENTITY, &list, &n) || n == 0)
        return NULL;
    return &list[0];
}

const struct settings_domain *routing_claimed(struct routing *r, struct rx *rx)
{
    const struct sip_addr *from, *ppi;
    if (sipmsg_from(&rx->msg, &from))
        return NULL;
    sv context;
    if (from->uri.scheme == URI_TEL)
        return uri_param(&from->uri, SV("phone-context"), &context)
                   ? settings_domain_of(r->set, NULL, context, 0)
                   : NULL;
    if (!anonymous(&from->uri))
        return settings_domain_of(r->set, r->sip, from->uri.host, from->uri.port);
    /* Who hides from the callee does not hide from us: one of ours says so by a preferred identity, or
     * asks for privacy, and proves himself like anybody. */
    ppi = preferred(rx);
    if (ppi && ppi->uri.scheme != URI_TEL)
        return settings_domain_of(r->set, r->sip, ppi->uri.host, ppi->uri.port);
    return ppi || sipmsg_has(&rx->msg, SIP_H_PRIVACY) ? &r->set->domains[0] : NULL;
}

/* user is the account itself or one of its numbers. */
static bool is_of(const struct account *a, sv user)
{
    if (sv_eq(user, a->user))
        return true;
    for (unsigned i = 0; i < a->numbers_n; i++) {
        if (sv_eq(user, a->numbers[i]))
            return true;
    }
    return false;
}

bool routing_owns(struct pending *p)
{
    const struct sip_addr *addr;
    struct destination d;
    struct rx *rx = p->rx;
    bool registers = rx->msg.method == SIP_REGISTER;
    if (registers ? sipmsg_to(&rx->msg, &addr) : sipmsg_from(&rx->msg, &addr))
        return false;
    if (!registers && anonymous(&addr->uri)) {
        addr = preferred(rx);
        if (!addr)
            return true; /* nobody in particular is claimed */
    }
    if (!destination_read(p->r, p->set, rx, &addr->uri, p->domain, &d) || d.ours != p->domain)
        return false;
    return is_of(&p->find.account, d.user);
}

/* ---- who pays ---- */

/* It came the way that this phone has registered by: its connection, or over UDP from its address and port. An address alone
 * is everybody's behind a NAT, and the way to a proxy everybody's behind it. */
static bool came_by(const struct binding *b, uint64_t epoch, const struct flow *f)
{
    struct flow known = location_flow(b, epoch);
    return b->path.n == 0 && known.transport == f->transport && known.conn == f->conn &&
           (f->conn == 0 || known.worker == f->worker) && addr_equal(&known.remote, &f->remote);
}

static void on_bindings(struct store_op *op, enum err rc)
{
    struct pending *p = op->arg;
    const struct store_bindings *b = &p->lookup.bindings;
    uint64_t epoch = store_epoch(p->r->shared.store);
    for (size_t i = 0; !rc && i < b->n; i++) {
        if (came_by(&b->bindings[i], epoch, &p->rx->flow))
            p->payer = b->aor;
    }
    p->next(p);
}

/* The address that an unproved sender claims, in the request's arena. */
static bool claimed_aor(struct pending *p, sv *ret_aor)
{
    const struct sip_addr *addr;
    sv user;
    if (sipmsg_from(&p->rx->msg, &addr))
        return false;
    if (anonymous(&addr->uri))
        addr = preferred(p->rx);
    return addr && routing_canonical(p->rx, addr->uri.user, &user) && user.n &&
           routing_aor(&p->rx->arena, user, p->domain->name, ret_aor);
}

/* Where nobody need prove who he is, he is known by his phone: what says an account's name, and comes by the flow that one
 * has registered by for it, is that account's; what does not is nobody's. */
void routing_payer(struct pending *p, void (*next)(struct pending *p))
{
    struct store_bindings *b = &p->lookup.bindings;
    p->payer = p->caller;
    p->next = next;
    if (!p->anybody || !p->r->anchor || p->rx->msg.method != SIP_INVITE ||
        !claimed_aor(p, &b->aor)) {
        next(p);
        return;
    }
    b->arena = &p->rx->arena;
    b->wall = loop_wall(p->r->loop);
    store_op_init(&b->op, on_bindings, p);
    store_bindings(p->r->shared.store, p->r->loop, b);
}

/* A display name as a quoted-string; none when it has octets that have no place in one. */
static void put_name(struct buf *b, sv name)
{
    char mem[LINES_MAX];
    struct buf quoted;
    buf_init(&quoted, mem, sizeof(mem));
    buf_quoted(&quoted, name);
    if (quoted.rc || name.n == 0)
        return;
    buf_char(b, '"');
    buf_put(b, buf_sv(&quoted));
    buf_str(b, "\" ");
}

sv routing_identity(struct pending *p)
{
    const struct account *a = &p->find.account;
    const struct sip_addr *ppi;
    struct destination d;
    struct buf b;
    if (!p->caller.p)
        return SV_NONE;
    sv user = a->user;
    bool tel = false;
    ppi = preferred(p->rx);
    /* RFC 3325 §6: a preference counts when it is his. */
    if (ppi && destination_read(p->r, p->set, p->rx, &ppi->uri, p->domain, &d) &&
        d.ours == p->domain && is_of(a, d.user)) {
        user = d.user;
        tel = ppi->uri.scheme == URI_TEL && user.p[0] == '+';
    }
    char *mem = arena_alloc(&p->rx->arena, LINES_MAX);
    if (!mem)
        return SV_NONE;
    buf_init(&b, mem, LINES_MAX);
    buf_str(&b, "P-Asserted-Identity: ");
    put_name(&b, a->name);
    buf_str(&b, tel ? "<tel:" : "<sip:");
    uri_put_user(&b, user);
    if (!tel) {
        buf_char(&b, '@');
        buf_put(&b, a->domain);
    }
    buf_str(&b, ">\r\n");
    return b.rc ? SV_NONE : buf_sv(&b);
}
