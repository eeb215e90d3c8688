/* SPDX-License-Identifier: MIT */
/* Who says so: a request that claims an address of ours must prove it (Digest, RFC 3261 §22), and
 * own it.
 *
 * Whatever is not proved is answered without state: a challenge to what has no credentials, and to
 * what has wrong ones. While the account is looked up the request waits, and octet for octet the
 * same request beside it is dropped; a server transaction begins with the proof. An unknown user
 * and a wrong password take the same path. */
#include "log/log.h"
#include "routing/routing_priv.h"

enum { CHALLENGE_MAX = 2048, USER_LOGGED = 64 };

static void on_cancelled(void *arg, struct rx *cancel)
{
    (void)cancel;
    pending_answer(arg, 487, NULL, SV_NONE);
}

static void on_txn_gone(void *arg, enum err why)
{
    (void)why;
    struct pending *p = arg;
    p->txn = NULL;
    pending_free(p);
}

static const struct stxn_handler handler = {.on_cancel = on_cancelled, .on_gone = on_txn_gone};

struct pending *pending_new(struct routing *r, struct rx *rx, const struct proxy_route *route)
{
    struct pending *p = mem_take(sizeof(*p));
    if (!p) {
        routing_refuse(r, rx, 503, NULL, SV("Retry-After: 5\r\n"));
        return NULL;
    }
    memset(p, 0, offsetof(struct pending, find.account)); /* that is read when it was found */
    p->r = r;
    p->rx = rx_ref(rx);
    p->set = settings_ref(r->set);
    p->route = *route;
    list_push(&r->pending, &p->by_routing);
    return p;
}

bool routing_transaction(struct routing *r, struct rx *rx, const struct stxn_handler *h, void *arg,
                         struct stxn **ret_txn)
{
    enum err rc = stxn_new(r->sip, rx, h, arg, ret_txn);
    if (rc == ERR_NOMEM)
        routing_refuse(r, rx, 503, NULL, SV("Retry-After: 5\r\n"));
    return rc == ERR_OK;
}

bool pending_transaction(struct pending *p)
{
    hash_remove(&p->r->unproved, &p->by_call_id);
    if (routing_transaction(p->r, p->rx, &handler, p, &p->txn))
        return true;
    pending_free(p);
    return false;
}

void pending_free(struct pending *p)
{
    if (p->find.op.done)
        store_op_cancel(&p->find.op);
    lookup_cancel(&p->lookup);
    list_unlink(&p->by_routing);
    hash_remove(&p->r->unproved, &p->by_call_id);
    rx_unref(p->rx);
    settings_unref(p->set);
    MEM_GIVE(p);
}

void pending_answer(struct pending *p, uint16_t status, const char *why, sv headers)
{
    char tag[24];
    if (!p->txn) {
        routing_refuse(p->r, p->rx, status, why, headers);
        pending_free(p);
        return;
    }
    struct sip_reply reply = {
        .status = status,
        .reason = why ? sv_of(why) : SV_NONE,
        .to_tag = sip_stateless_tag(p->r->sip, p->rx, tag),
        .headers = headers,
    };
    routing_log(p->rx, status, why);
    /* A response that cannot be sent ends the transaction; the peer repeats its request. */
    enum err rc = stxn_reply(p->txn, &reply);
    (void)rc;
    stxn_drop(p->txn);
    pending_free(p);
}

static const struct auth_policy *policy_of(const struct settings *set,
                                           const struct settings_domain *d)
{
    return d->digest.n ? &d->digest : &set->digest;
}

/* The challenge lines for this request, in mem. */
static sv challenge(struct routing *r, struct rx *rx, const struct settings *set,
                    const struct settings_domain *d, bool stale, char mem[static CHALLENGE_MAX])
{
    struct buf b;
    buf_init(&b, mem, CHALLENGE_MAX);
    auth_challenge(r->shared.verifier, &b, policy_of(set, d), rx->msg.method != SIP_REGISTER,
                   d->realm, &rx->flow.remote, sipmsg_value(&rx->msg, SIP_H_USER_AGENT),
                   loop_wall(r->loop), loop_random(r->loop), stale);
    stat_inc(&r->loop->stats, STAT_AUTH_CHALLENGES);
    return buf_sv(&b);
}

static uint16_t challenge_status(const struct rx *rx)
{
    return rx->msg.method == SIP_REGISTER ? 401 : 407;
}

static void challenge_pending(struct pending *p, bool stale)
{
    char mem[CHALLENGE_MAX];
    sv lines = challenge(p->r, p->rx, p->set, p->domain, stale, mem);
    pending_answer(p, challenge_status(p->rx), NULL, lines);
}

/* Not asked of the Request-URI's own octets: those the digest may name in any case. */
static bool names_us(struct pending *p, sv digest_uri)
{
    struct uri u;
    return !sv_eq(digest_uri, p->rx->msg.uri_text) && uri_parse(digest_uri, &u, NULL) == ERR_OK &&
           u.user.n == 0 && u.scheme != URI_TEL &&
           settings_domain_of(p->set, p->r->sip, u.host, u.port) != NULL;
}

/* What the peer is not told the operator is: whether there is such a user. At most so many lines a
 * second; the next one says how many were left out (D25). */
static void log_failure(struct pending *p, bool known)
{
    struct routing *r = p->r;
    char mem[64];
    struct buf b;
    if (!log_may(&r->failures, loop_now(r->loop)))
        return;
    buf_init(&b, mem, sizeof(mem));
    addr_print(&b, &p->rx->flow.remote);
    LOG_WARN("auth", "auth.failure", F_SV("user", sv_sub(p->claim.username, 0, USER_LOGGED)),
             F_STR("account", known ? "known" : "unknown"), F_SV("realm", p->domain->realm),
             F_SV("source", buf_sv(&b)), F_SV("method", p->rx->msg.method_text),
             F_INT("left_out", r->failures.left_out));
    r->failures.left_out = 0;
}

/* The sender is this account. */
static void proved(struct pending *p)
{
    if (!routing_owns(p)) {
        pending_answer(p, 403, NULL, SV_NONE); /* D5, D7 */
        return;
    }
    if (!routing_aor(&p->rx->arena, p->find.account.user, p->find.account.domain, &p->caller)) {
        pending_answer(p, 500, NULL, SV_NONE);
        return;
    }
    if (pending_transaction(p))
        p->next(p);
}

static void on_account(struct store_op *op, enum err rc)
{
    struct pending *p = op->arg;
    struct routing *r = p->r;
    struct auth_ha1 ha1 = {0};
    bool known = rc == ERR_OK && sv_eq(p->find.account.realm, p->domain->realm);
    if (rc != ERR_OK && rc != ERR_NOTFOUND) {
        pending_answer(p, 503, NULL, SV("Retry-After: 5\r\n"));
        return;
    }
    if (p->by_certificate) {
        if (rc == ERR_OK)
            proved(p);
        else
            pending_answer(p, 403, NULL, SV_NONE);
        return;
    }
    if (known) {
        memcpy(ha1.md5, p->find.account.md5, sizeof(ha1.md5));
        memcpy(ha1.sha256, p->find.account.sha256, sizeof(ha1.sha256));
        ha1.has_md5 = p->find.account.has_md5;
        ha1.has_sha256 = p->find.account.has_sha256;
    }
    p->claim.uri_names_us = names_us(p, p->claim.uri);
    enum auth_verdict v = auth_verify(r->shared.verifier, &p->rx->msg, &p->claim,
                                      known ? &ha1 : NULL, &p->rx->flow.remote, loop_wall(r->loop));
    crypto_wipe(&ha1, sizeof(ha1));
    if (v == AUTH_STALE) {
        stat_inc(&r->loop->stats, STAT_AUTH_STALE);
        challenge_pending(p, true);
        return;
    }
    if (v == AUTH_WRONG) {
        stat_inc(&r->loop->stats, STAT_AUTH_FAILURES);
        log_failure(p, rc == ERR_OK);
        challenge_pending(p, false);
        return;
    }
    proved(p);
}

/* A verified certificate with sip:user@domain of this domain says who it is (RFC 5922 §4 leaves users'
 * certificates to policy: ours is that our own CA list decides whom tls.ca trusts). */
static bool certificate_user(struct rx *rx, const struct settings_domain *domain, sv *ret_user)
{
    for (unsigned i = 0; rx->peer && rx->peer->verified && i < rx->peer->sip_uris_n; i++) {
        struct uri u;
        if (uri_parse(rx->peer->sip_uris[i], &u, NULL) == ERR_OK && u.user.n &&
            sv_ieq(u.host, domain->name))
            return routing_canonical(rx, u.user, ret_user);
    }
    return false;
}

void routing_authenticate(struct routing *r, struct rx *rx, const struct proxy_route *route,
                          const struct settings_domain *domain, void (*next)(struct pending *p))
{
    struct auth_claim claim = {0};
    bool proxy = rx->msg.method != SIP_REGISTER;
    if (r->set->require_tls && !flow_secure(&rx->flow)) {
        routing_refuse(r, rx, 403, "TLS Required", SV_NONE);
        return;
    }
    sv certified;
    bool by_certificate = certificate_user(rx, domain, &certified);
    enum err rc = auth_read(&rx->msg, proxy, domain->realm, &claim);
    if (by_certificate)
        rc = ERR_OK;
    if (!rc && !by_certificate && !auth_allows(policy_of(r->set, domain), claim.algorithm))
        rc = ERR_UNSUPPORTED; /* bid down (D3) */
    if (rc == ERR_NOTFOUND || rc == ERR_UNSUPPORTED) {
        char mem[CHALLENGE_MAX];
        routing_refuse(r, rx, challenge_status(rx), NULL,
                       challenge(r, rx, r->set, domain, false, mem));
        return;
    }
    if (rc) {
        routing_refuse(r, rx, 400, "Credentials Are Malformed", SV_NONE);
        return;
    }
    uint64_t key = sip_call_key(r->sip, rx)->a;
    HASH_EACH (other, &r->unproved, key, struct pending, by_call_id) {
        if (sv_eq(other->rx->msg.text, rx->msg.text) &&
            addr_equal(&other->rx->flow.remote, &rx->flow.remote))
            return; /* its repetition */
    }
    struct pending *p = pending_new(r, rx, route);
    if (!p)
        return;
    hash_insert(&r->unproved, &p->by_call_id, key);
    p->domain = domain;
    p->claim = claim;
    p->by_certificate = by_certificate;
    p->next = next;
    p->find.arena = &p->rx->arena;
    p->find.domain = domain->name;
    store_op_init(&p->find.op, on_account, p);
    if (by_certificate)
        p->find.user = certified;
    else if (!routing_canonical(p->rx, claim.username, &p->find.user))
        p->find.user = SV("");
    store_find(r->shared.store, r->loop, &p->find);
}
