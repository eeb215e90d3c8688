/* SPDX-License-Identifier: MIT */
/* Where a request outside a dialog goes: its destination in one canonical form (D42), the first route
 * that matches, else the built-in rule; then its targets are looked up and the proxy takes it there. */
#include "log/log.h"
#include "routing/routing_match.h"
#include "routing/routing_priv.h"

/* ---- numbers ---- */

static bool is_number(const struct uri *u)
{
    sv kind;
    return u->scheme == URI_TEL || (uri_param(u, SV("user"), &kind) && sv_ieq(kind, SV("phone")));
}

/* A telephone-subscriber without its parameters and visual separators (RFC 3966 §3). */
static bool canonical_number(struct rx *rx, const struct uri *u, sv *ret_number)
{
    sv text;
    if (!routing_canonical(rx, u->scheme == URI_TEL ? u->opaque : u->user, &text))
        return false;
    text = sv_sub(text, 0, sv_chr(text, ';'));
    char *mem = arena_alloc(&rx->arena, text.n + 1);
    struct buf b;
    if (!mem)
        return false;
    buf_init(&b, mem, text.n + 1);
    for (size_t i = 0; i < text.n; i++) {
        if (sv_chr(SV("-.()"), text.p[i]) == 4)
            buf_char(&b, text.p[i]);
    }
    *ret_number = buf_sv(&b);
    return b.n > 0;
}

/* Whose plan a tel number belongs to: the domain of its context (RFC 3966 §5.1.5), else the
 * caller's. NULL: not ours. */
static const struct settings_domain *number_domain(const struct settings *set,
                                                   const struct settings_domain *callers,
                                                   const struct uri *tel)
{
    sv context;
    if (uri_param(tel, SV("phone-context"), &context))
        return settings_domain_of(set, NULL, context, 0);
    return callers;
}

/* A host in one form (D42): lower case, without the last dot, an address as we write it. False: no
 * memory. */
static bool foreign_domain(struct rx *rx, sv host, sv *ret)
{
    char mem[64];
    struct buf b;
    uint8_t ip[16];
    size_t n;
    if (host.n > 1 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = sv_sub(host, 1, host.n - 1);
    if (host.n > 1 && host.p[host.n - 1] == '.')
        host.n--;
    if (uri_host_ip(host, ip, &n) == ERR_OK) {
        struct addr a = addr_from_ip(ip, n, 0);
        buf_init(&b, mem, sizeof(mem));
        addr_print_ip(&b, &a);
        return sv_dup(&rx->arena, buf_sv(&b), ret) == ERR_OK;
    }
    return sv_dup_lower(&rx->arena, host, ret) == ERR_OK;
}

static bool is_digit(char c)
{
    return (c >= '0' && c <= '9') || c == '*' || c == '#' || c == '+';
}

static bool is_separator(char c)
{
    return c == '-' || c == '.' || c == '(' || c == ')' || c == ' ';
}

/* The user as the number that a gateway would read in it: without visual separators, %2B a plus.
 * False: it is none, or no memory. */
static bool phone_form(struct rx *rx, sv user, sv *ret)
{
    struct buf b;
    if (user.n == 0 || (!is_digit(user.p[0]) && !is_separator(user.p[0]) && user.p[0] != '%'))
        return false;
    char *mem = arena_alloc(&rx->arena, user.n + 1);
    if (!mem)
        return false;
    buf_init(&b, mem, user.n + 1);
    user = sv_sub(user, 0, sv_chr(user, ';')); /* parameters of a telephone-subscriber */
    if (user.n >= 3 && sv_ieq(sv_sub(user, 0, 3), SV("%2b"))) {
        buf_char(&b, '+');
        user = sv_sub(user, 3, user.n);
    }
    for (size_t i = 0; i < user.n; i++) {
        if (is_separator(user.p[i]))
            continue;
        if (!is_digit(user.p[i]))
            return false;
        buf_char(&b, user.p[i]);
    }
    *ret = buf_sv(&b);
    return b.n > 0;
}

/* False: no memory. One that is none of ours names nobody. */
static bool read_gruu(struct routing *r, const struct settings *set, struct rx *rx,
                      const struct uri *uri, struct destination *ret)
{
    struct registrar_gruu g, *copy;
    enum err rc = registrar_gruu_read(r->sip, uri, &rx->arena, &g);
    if (rc == ERR_NOTFOUND)
        return true;
    if (rc == ERR_DENIED) {
        ret->user = SV("");
        return true;
    }
    copy = rc ? NULL : ARENA_NEW(&rx->arena, struct registrar_gruu);
    if (!copy)
        return false;
    *copy = g;
    ret->gruu = copy;
    if (g.temporary) {
        ret->user = g.user;
        ret->ours = settings_domain_of(set, r->sip, g.domain, 0);
        ret->domain = ret->ours ? ret->ours->name : g.domain;
    }
    return true;
}

bool destination_read(struct routing *r, const struct settings *set, struct rx *rx,
                      const struct uri *uri, const struct settings_domain *callers,
                      struct destination *ret)
{
    *ret = (struct destination){.uri = uri, .secure = uri->scheme == URI_SIPS};
    sv host = uri->host, maddr;
    ret->ours = uri->scheme == URI_TEL ? number_domain(set, callers, uri)
                                       : settings_domain_of(set, r->sip, uri->host, uri->port);
    if (!ret->ours && uri_param(uri, SV("maddr"), &maddr))
        host = maddr; /* that is where it would go (RFC 3263 §4) */
    if (ret->ours)
        ret->domain = ret->ours->name;
    else if (!foreign_domain(rx, host, &ret->domain))
        return false;
    /* What stands for nobody that we could know still has a form that routes can look at. */
    bool read = is_number(uri) ? canonical_number(rx, uri, &ret->user)
                               : routing_canonical(rx, uri->user, &ret->user);
    if (!read)
        ret->user = SV("");
    if (!phone_form(rx, ret->user, &ret->number))
        ret->number = ret->user;
    return !ret->ours || uri->scheme == URI_TEL || read_gruu(r, set, rx, uri, ret);
}

/* ---- the rule ---- */

struct routing_facts routing_facts_of(struct routing *r, const struct rx *rx,
                                      const struct destination *d)
{
    return (struct routing_facts){
        .method = rx->msg.method_text,
        .source = rx->flow.remote,
        .peer = rx->peer,
        .zone = sip_zone_of(r->sip, &rx->flow),
        .user = d->user,
        .number = d->number,
        .domain = d->domain,
        .domain_ours = d->ours != NULL,
    };
}

/* ---- answers ---- */

/* A contact that another can use: not the way through our connection or somebody's NAT, and not what
 * was asked for (§8.3). */
static bool may_name(const struct pending *p, const struct proxy_target *t)
{
    return t->dest.flow.transport == SIP_T_NONE && !t->held && !sv_eq(t->uri, p->rx->msg.uri_text);
}

/* "Contact: <uri>;q=0.500": the q of a contact is relative to the others of this answer. */
enum { CONTACT_ROOM = 32 };
static void put_contact(struct buf *b, sv uri, unsigned q)
{
    const char digits[] = {(char)('0' + q / 1000), '.', (char)('0' + q / 100 % 10),
                           (char)('0' + q / 10 % 10), (char)('0' + q % 10)};
    buf_put(b, SV("Contact: <"));
    buf_put(b, uri);
    buf_put(b, SV(">;q="));
    buf_mem(b, digits, sizeof(digits));
    buf_put(b, SV("\r\n"));
}

/* 302 with the places that were found, best first (§8.3, §21.3.3): the targets are sorted. */
static void redirect(struct pending *p)
{
    struct lookup *k = &p->lookup;
    struct buf b;
    size_t room = 0;
    for (unsigned i = 0; i < k->found; i++)
        room += k->targets[i].uri.n + CONTACT_ROOM;
    char *mem = arena_alloc(k->arena, room);
    buf_init(&b, mem, mem ? room : 0);
    for (unsigned i = 0; i < k->found; i++) {
        const struct proxy_target *t = &k->targets[i];
        if (may_name(p, t))
            put_contact(&b, t->uri, 1000u * t->rank / k->targets[0].rank);
    }
    if (b.rc)
        pending_answer(p, 500, NULL, SV_NONE);
    else if (b.n == 0)
        pending_answer(p, 480, NULL, SV_NONE);
    else
        pending_answer(p, 302, NULL, buf_sv(&b));
}

static int by_rank(const struct proxy_target *a, const struct proxy_target *b)
{
    return (int)b->rank - (int)a->rank;
}

/* Stable: what is registered last stays first among equals. */
static void sort_targets(struct proxy_target *t, unsigned n)
{
    for (unsigned i = 1; i < n; i++) {
        struct proxy_target x = t[i];
        unsigned at = i;
        for (; at > 0 && by_rank(&t[at - 1], &x) > 0; at--)
            t[at] = t[at - 1];
        t[at] = x;
    }
}

/* An account of ours, somebody who is taken for one, or whom a route names: by his network or his certificate. */
static bool is_known(const struct pending *p)
{
    bool named = p->rule && p->rule->when.from_n;
    for (unsigned i = 0; named && i < p->rule->when.from_n; i++)
        named = p->rule->when.from[i].kind != FROM_STRANGERS;
    return p->caller.p || p->anybody || named;
}

/* Whom somebody is there for, but no phone: the call has a record. Not a stranger's, who could fill the books without
 * ringing any phone, and none of what is answered without state, as each repetition would have one. */
static void book_absence(struct pending *p, uint16_t status, const char *why)
{
    bool there = p->lookup.status && p->lookup.status != 404;
    if (there && p->txn && p->rx->msg.method == SIP_INVITE && is_known(p))
        accounting_refused(p->r->accounting, p->rx, p->caller, status, sv_of(why));
}

static void on_looked_up(struct lookup *k)
{
    struct pending *p = CONTAINER(k, struct pending, lookup);
    if (k->found == 0) {
        /* A stranger learns nothing from the difference between nobody and nobody there (D1). */
        uint16_t status = k->status ? k->status : 480;
        const char *why = k->reject && k->reason.n ? k->reason.p : NULL;
        if (k->reject)
            status = k->reject;
        else if (status == 404 && !p->caller.p)
            status = 480;
        book_absence(p, status, why ? why : sip_reason(status));
        pending_answer(p, status, why, SV_NONE);
        return;
    }
    sort_targets(k->targets, k->found);
    if (p->rule && p->rule->action == ACTION_REDIRECT)
        redirect(p);
    else
        routing_forward(p);
}

static void look_up(struct pending *p)
{
    struct lookup *k = &p->lookup;
    k->r = p->r;
    k->set = p->set;
    k->arena = &p->rx->arena;
    k->uri = p->to.uri;
    k->user = p->to.user;
    k->domain = p->to.ours ? p->to.domain : SV("");
    k->gruu = p->to.gruu;
    k->routed = p->route.next != NULL;
    k->secure = p->to.secure;
    k->done = on_looked_up;
    lookup_start(k);
}

/* RFC 3261 §8.2.7: what a stranger, or who needs no proof, is answered here has no state: a repetition is
 * answered again, and alike. DEVIATES from §8.3, where a redirect server keeps its transaction. What is
 * proved has one already, as its credentials are taken once. */
static void go(struct pending *p)
{
    bool forwards = !p->rule || p->rule->action == ACTION_TO;
    if (!forwards)
        look_up(p);
    else if (p->txn || pending_transaction(p))
        routing_payer(p, look_up);
}

/* ---- outside a dialog ---- */

static void take_call(struct pending *p)
{
    struct routing *r = p->r;
    struct answer_call *call = answer_take(r->answer, p->txn, p->caller, NULL, NULL);
    p->txn = NULL;
    if (call)
        r->media->on_call(r->media_arg, call, p->payer, p->what);
    pending_free(p);
}

void routing_local(struct pending *p, const struct settings_target *what)
{
    struct routing *r = p->r;
    if (p->rx->msg.method != SIP_INVITE) {
        pending_answer(p, 405, NULL, SV("Allow: INVITE, ACK, CANCEL, BYE\r\n"));
        return;
    }
    if (!r->media) {
        pending_answer(p, 501, "No Media Service Is Running", SV_NONE);
        return;
    }
    if (!p->txn && !pending_transaction(p))
        return;
    p->what = what;
    routing_payer(p, take_call);
}

/* What is dialled on any phone. */
static bool is_code(const struct pending *p, sv code)
{
    bool ours = p->caller.p || p->anybody;
    return code.n && ours && p->to.ours && !p->route.next && sv_eq(p->to.number, code);
}

static void log_route(const struct pending *p)
{
    if (log_enabled("routing", LOG_LEVEL_DEBUG))
        LOG_DEBUG("routing", "route", F_SV("name", p->rule ? p->rule->name : SV("built in")),
                  F_SV("uri", p->to.uri->text),
                  F_SV("caller", p->caller.p ? p->caller : SV("stranger")));
}

/* What nobody wrote a route for: a user of ours, and nothing leaves (D6). */
static bool built_in(struct pending *p)
{
    bool stranger = p->caller.p == NULL && !p->anybody;
    if (stranger && (!p->to.ours || p->set->strangers == SETTINGS_STRANGERS_REFUSE)) {
        pending_answer(p, 403, NULL, SV_NONE);
        return false;
    }
    if (!p->to.ours || p->route.next) {
        /* Another's domain, or a route that somebody else wrote: not ours to carry (D6). */
        pending_answer(p, 403, "Relaying Denied", SV_NONE);
        return false;
    }
    if (p->to.user.n == 0) {
        pending_answer(p, 404, NULL, SV_NONE);
        return false;
    }
    return true;
}

/* Whose call it is. Where only REGISTER is challenged, From is believed. */
static void facts_of_caller(struct pending *p, struct routing_facts *f)
{
    const struct sip_addr *from;
    if (p->caller.p) {
        f->account_user = p->find.account.user;
        f->account_domain = p->find.account.domain;
    } else if (p->anybody && sipmsg_from(&p->rx->msg, &from) == ERR_OK &&
               routing_canonical(p->rx, from->uri.user, &f->account_user)) {
        f->account_domain = p->domain->name;
    }
}

/* The first that takes this request to such a destination; nothing is asked where nobody wrote one. */
static const struct settings_route *rule_for(struct pending *p, const struct destination *to)
{
    if (!p->set->routes_n)
        return NULL;
    struct routing_facts facts = routing_facts_of(p->r, p->rx, to);
    facts_of_caller(p, &facts);
    return routing_match(p->set, &facts);
}

static bool follows_routes(const struct settings_route *r)
{
    bool plain = r->when.domain_n == 0 && r->when.user_n == 0 && !r->has_unless;
    return r->action == ACTION_REJECT || (plain && r->action == ACTION_TO && r->targets_n == 1 &&
                                          r->target[0].kind == TARGET_URI);
}

void routing_outside(struct pending *p)
{
    struct routing *r = p->r;
    if (!p->to.uri && !destination_read(r, p->set, p->rx, p->route.uri, p->domain, &p->to)) {
        pending_answer(p, 400, NULL, SV_NONE);
        return;
    }
    p->rule = rule_for(p, &p->to);
    log_route(p);
    if (!p->rule && is_code(p, p->set->codes.echo)) {
        static const struct settings_target echo = {.kind = TARGET_ECHO};
        routing_local(p, &echo);
        return;
    }
    if (!p->rule) {
        if (built_in(p))
            go(p);
        return;
    }
    /* A Route that the caller wrote leads elsewhere than what the rule looked at: only a rule that looks at
     * neither domain nor user and says `uri` lets it (D6). */
    if (p->route.next && !follows_routes(p->rule)) {
        pending_answer(p, 403, "Relaying Denied", SV_NONE);
        return;
    }
    if (p->rule->action == ACTION_REJECT) {
        pending_answer(p, p->rule->status, p->rule->reason.n ? p->rule->reason.p : NULL, SV_NONE);
        return;
    }
    if (p->rule->target[0].kind == TARGET_ECHO || p->rule->target[0].kind == TARGET_PLAY) {
        routing_local(p, &p->rule->target[0]);
        return;
    }
    p->lookup.list = p->rule->target;
    p->lookup.n = p->rule->targets_n;
    go(p);
}

bool routing_may_follow(struct pending *p, const struct uri *next)
{
    struct destination to;
    if (!destination_read(p->r, p->set, p->rx, next, p->domain, &to))
        return false;
    const struct settings_route *rule = rule_for(p, &to);
    for (unsigned i = 0; rule && rule->action == ACTION_TO && i < rule->targets_n; i++) {
        if (rule->target[i].kind == TARGET_URI)
            return true;
    }
    return false;
}

bool routing_strangers_route(struct routing *r, const struct rx *rx, const struct destination *to)
{
    if (!r->set->routes_n)
        return false;
    struct routing_facts facts = routing_facts_of(r, rx, to);
    return routing_match(r->set, &facts) != NULL;
}
