/* SPDX-License-Identifier: MIT */
/* A branch answered 3xx: its contacts are followed as far as the account that redirects may call them
 * itself: the same routes, the same built-in rule (RFC 3261 §16.5; D6: a forwarded call is the
 * forwarder's). What may not be followed goes upstream. */
#include "routing/routing_match.h"
#include "routing/routing_priv.h"

/* Contacts of one 3xx that are looked at. */
enum { CONTACTS_MAX = 8 };

struct redirected {
    struct link by_watched;
    struct watched *w;
    struct proxy_redirect *redirect;
    struct rx *rx;   /* the 3xx */
    sv user, domain; /* the account whose phone said it */
    const struct sip_addr *contacts;
    size_t n, at;
    struct proxy_target targets[PROXY_TARGETS_MAX];
    size_t found;
    struct lookup lookup;
};

static void next(struct redirected *d);

static void redirected_free(struct redirected *d)
{
    lookup_cancel(&d->lookup);
    list_unlink(&d->by_watched);
    rx_unref(d->rx);
    mem_free(d);
}

static void on_looked_up(struct lookup *k)
{
    struct redirected *d = CONTAINER(k, struct redirected, lookup);
    for (unsigned i = 0; i < k->found && d->found < PROXY_TARGETS_MAX; i++)
        d->targets[d->found++] = k->targets[i];
    d->at++;
    next(d);
}

/* True: its targets are being looked up. */
static bool follow(struct redirected *d, const struct sip_addr *contact)
{
    struct routing *r = d->w->r;
    struct destination to;
    const struct settings_domain *domain = settings_domain_of(d->w->set, NULL, d->domain, 0);
    if (contact->star || !destination_read(r, d->w->set, d->rx, &contact->uri, domain, &to) ||
        (d->w->secure && !to.secure))
        return false;
    struct routing_facts f = routing_facts_of(r, d->w->rx, &to);
    f.account_user = d->user;
    f.account_domain = d->domain;
    f.source = (struct addr){0}; /* where the caller is gives the forwarder nothing */
    f.peer = NULL;
    const struct settings_route *rule = routing_match(d->w->set, &f);
    if (rule ? rule->action != ACTION_TO : !to.ours)
        return false;
    d->lookup = (struct lookup){
        .r = r,
        .set = d->w->set,
        .arena = &d->rx->arena,
        .list = rule ? rule->target : NULL,
        .n = rule ? rule->targets_n : 0,
        .uri = to.uri,
        .user = to.user,
        .domain = to.ours ? to.domain : SV(""),
        .gruu = to.gruu,
        .secure = d->w->secure,
        .done = on_looked_up,
    };
    lookup_start(&d->lookup);
    return true;
}

static void next(struct redirected *d)
{
    for (; d->at < d->n; d->at++) {
        if (follow(d, &d->contacts[d->at]))
            return;
    }
    struct proxy_redirect *redirect = d->redirect;
    struct rx *rx = rx_ref(d->rx); /* the targets' texts are in it */
    struct proxy_target targets[PROXY_TARGETS_MAX];
    size_t found = d->found;
    memcpy(targets, d->targets, found * sizeof(targets[0]));
    redirected_free(d);
    proxy_redirected(redirect, targets, found);
    rx_unref(rx);
}

void routing_redirected(struct watched *w, struct proxy_redirect *redirect,
                        const struct proxy_target *t, struct rx *rx)
{
    const struct sip_addr *contacts = NULL;
    size_t n = 0;
    struct redirected *d = t->account.n ? MEM_NEW(struct redirected) : NULL;
    sv account;
    if (!d || sv_dup(&rx->arena, t->account, &account) ||
        sipmsg_addrs(&rx->msg, SIP_H_CONTACT, &contacts, &n)) {
        mem_free(d);
        proxy_redirected(redirect, NULL, 0);
        return;
    }
    d->w = w;
    d->redirect = redirect;
    d->rx = rx_ref(rx);
    d->user = sv_sub(account, 0, sv_chr(account, '@'));
    d->domain = sv_sub(account, d->user.n + 1, account.n);
    d->contacts = contacts;
    d->n = n < CONTACTS_MAX ? n : CONTACTS_MAX;
    list_push(&w->redirected, &d->by_watched);
    next(d);
}

void routing_redirects_end(struct watched *w)
{
    LIST_EACH_SAFE (d, &w->redirected, struct redirected, by_watched) {
        struct proxy_redirect *redirect = d->redirect;
        redirected_free(d);
        proxy_redirected(redirect, NULL, 0); /* an answer is owed always */
    }
}
