/* SPDX-License-Identifier: MIT */
/* Keys by DTLS (RFC 5764): whose datagrams are taken, when we begin, what the keys are for. See dtls.h. */
#include "session/session_priv.h"

static sv octets_of(const uint8_t *p, size_t n)
{
    return (sv){(const char *)p, n};
}

/* ---- guests ---- */

static bool is_guest(const struct dtls_hand *h)
{
    const struct transport *t = h->transport;
    return h != &t->hand[h->component][t->mine[h->component]];
}

static void drop(struct transport *t, enum relay_component c)
{
    dtls_free(t->dtls[c]);
    t->dtls[c] = NULL;
}

static void drop_guest(struct transport *t, enum relay_component c)
{
    dtls_free(t->guest[c].dtls);
    t->guest[c].dtls = NULL;
}

/* It has shown the certificate that the description names: it is the side, and who was taken for it is not. */
static void promote(struct transport *t, enum relay_component c)
{
    drop(t, c);
    t->dtls[c] = t->guest[c].dtls;
    t->dtls_peer[c] = t->guest[c].peer;
    t->guest[c].dtls = NULL;
    t->mine[c] ^= 1;
    t->kept = t->other_certificate = false;
}

/* ---- what a machine says ---- */

static void on_send(void *arg, sv octets)
{
    struct dtls_hand *h = arg;
    struct transport *t = h->transport;
    enum relay_component c = h->component;
    relay_send_to(&t->relay, c, is_guest(h) ? &t->guest[c].peer : &t->dtls_peer[c], octets);
}

static void on_keys(void *arg, const struct dtls_keys *k)
{
    struct dtls_hand *h = arg;
    struct transport *t = h->transport;
    const struct dtls_suite_info *info = &dtls_suites[k->suite];
    enum srtp_suite suite;
    enum err rc = srtp_suite_of_profile(info->wire, &suite);
    if (is_guest(h))
        promote(t, h->component);
    else
        drop_guest(t, h->component);
    if (!rc)
        rc = session_context(t, &t->in[h->component], SRTP_RECEIVER, suite,
                             octets_of(k->theirs.key, info->key_n),
                             octets_of(k->theirs.salt, info->salt_n));
    if (!rc)
        rc = session_context(t, &t->out[h->component], SRTP_SENDER, suite,
                             octets_of(k->ours.key, info->key_n),
                             octets_of(k->ours.salt, info->salt_n));
    if (rc)
        session_tell(t->session, SESSION_KEY_FAULT, t->side, sv_of(err_text(rc)));
    else if (h->component == RELAY_RTP)
        session_tell(t->session, SESSION_SECURED, t->side, sv_of(info->name));
}

static void on_failed(void *arg, enum dtls_why why, sv text)
{
    const struct dtls_hand *h = arg;
    (void)why;
    if (is_guest(h)) {
        drop_guest(h->transport, h->component);
        return;
    }
    session_tell(h->transport->session, SESSION_KEY_FAULT, h->transport->side, text);
}

static void on_closed(void *arg)
{
    (void)arg; /* its BYE, or its silence, ends the call */
}

static const struct dtls_user user = {
    .send = on_send, .on_keys = on_keys, .on_failed = on_failed, .on_closed = on_closed};

/* ---- machines ---- */

/* For the leg, or for a guest: it is at peer. */
static enum err make(struct transport *t, enum relay_component c, bool client, bool cookies,
                     const struct addr *peer, unsigned hand, struct dtls **ret_dtls)
{
    struct dtls_config config = {
        .client = client, .cookies = cookies, .stats = &t->session->all->loop->stats};
    uint8_t key[ADDR_KEY];
    if (cookies) {
        addr_key(peer, key);
        config.peer = octets_of(key, sizeof(key));
    }
    t->hand[c][hand] = (struct dtls_hand){t, c};
    return dtls_new(t->session->all->shared->dtls, &config, &user, &t->hand[c][hand], ret_dtls);
}

static enum err make_mine(struct transport *t, enum relay_component c, bool client, bool cookies)
{
    t->kept = t->other_certificate = false;
    return make(t, c, client, cookies, &t->dtls_peer[c], t->mine[c], &t->dtls[c]);
}

void session_dtls_done(struct transport *t)
{
    for (unsigned c = 0; c < RELAY_COMPONENTS; c++) {
        if (t->dtls[c])
            dtls_close(t->dtls[c]);
        drop(t, c);
        drop_guest(t, c);
    }
}

/* ---- whom we believe ---- */

/* ret_same: they are those of before. */
static enum err keep_trust(struct transport *t, const struct offer_leg *o, bool *ret_same)
{
    unsigned before = t->trust_n;
    *ret_same = true;
    t->trust_n = 0;
    for (unsigned i = 0; i < o->fingerprints_n && t->trust_n < OFFER_FINGERPRINTS_MAX; i++) {
        struct trusted *x = &t->trust[t->trust_n], was = *x;
        const struct sdp_fingerprint *f = &o->fingerprints[i];
        if (f->hash.n > sizeof(x->hash) || f->n > sizeof(x->digest))
            continue;
        *x = (struct trusted){.hash_n = (uint8_t)f->hash.n, .n = f->n};
        memcpy(x->hash, f->hash.p, f->hash.n);
        memcpy(x->digest, f->digest, f->n);
        *ret_same &= memcmp(x, &was, sizeof(was)) == 0;
        t->trust_n++;
    }
    *ret_same &= t->trust_n == before;
    return t->trust_n > 0 ? ERR_OK : ERR_UNSUPPORTED;
}

/* Before its description has come there is nobody to believe: keys wait. */
static enum err trust(const struct transport *t, struct dtls *dtls)
{
    struct dtls_fingerprint f[OFFER_FINGERPRINTS_MAX];
    for (unsigned i = 0; i < t->trust_n; i++)
        f[i] = (struct dtls_fingerprint){.hash = {t->trust[i].hash, t->trust[i].hash_n},
                                         .digest = t->trust[i].digest,
                                         .n = t->trust[i].n};
    return t->trust_n > 0 ? dtls_trust(dtls, f, t->trust_n, loop_now(t->session->all->loop))
                          : ERR_OK;
}

/* ---- when ---- */

void session_dtls_begin(struct transport *t)
{
    for (unsigned c = 0; c < RELAY_COMPONENTS; c++) {
        const struct relay_path *p = &t->relay.path[c];
        if (t->keying != OFFER_DTLS || !t->dtls_client || p->to.family == 0 || !t->dtls[c])
            continue;
        t->dtls_peer[c] = p->to;
        if (dtls_state(t->dtls[c]) == DTLS_NEW)
            dtls_start(t->dtls[c], loop_now(t->session->all->loop));
    }
}

/* A machine of the right kind that believes what the description says. Another certificate, another role: another
 * association (RFC 8842 §4). */
static enum err apply_component(struct transport *t, enum relay_component c, bool client)
{
    if (t->dtls[c] && (t->dtls_client != client || dtls_state(t->dtls[c]) == DTLS_OVER))
        drop(t, c);
    drop_guest(t, c);
    if (t->dtls[c] && trust(t, t->dtls[c]) != ERR_AUTH)
        return ERR_OK; /* what it holds against them it has told */
    drop(t, c);
    if (!client)
        return ERR_OK; /* made when its ClientHello comes */
    TRY(make_mine(t, c, true, false));
    return trust(t, t->dtls[c]);
}

enum err session_dtls_apply(struct transport *t, const struct offer_leg *o)
{
    if (!t->session->all->shared->dtls)
        return ERR_UNSUPPORTED;
    bool same;
    TRY(keep_trust(t, o, &same));
    if (t->kept && same && !t->other_certificate && t->dtls_client == o->dtls_client)
        return ERR_OK; /* the association of before (RFC 8842 §4) */
    for (unsigned c = 0; c < RELAY_COMPONENTS; c++) {
        if (c == RELAY_RTCP && o->mux) {
            drop(t, c);
            drop_guest(t, c);
        } else {
            TRY(apply_component(t, c, o->dtls_client));
        }
    }
    t->dtls_client = o->dtls_client;
    session_dtls_begin(t);
    return ERR_OK;
}

/* A peer that has not ended its handshake sends again what we have lost, and meets one that begins. */
enum err session_dtls_resume(struct transport *t)
{
    if (t->keying != OFFER_DTLS || t->kept || !t->dtls_client || !t->open ||
        !t->session->all->shared->dtls)
        return ERR_OK;
    for (unsigned c = 0; c < (t->relay.mux ? 1 : RELAY_COMPONENTS); c++) {
        TRY(make_mine(t, c, true, false));
        TRY(trust(t, t->dtls[c]));
    }
    session_dtls_begin(t);
    return ERR_OK;
}

/* ---- datagrams ---- */

/* Somebody begins, and has shown that he is there. */
static bool hello(struct transport *t, enum relay_component c, sv octets, const struct addr *from)
{
    uint8_t answer[DTLS_ANSWER_MAX], key[ADDR_KEY];
    size_t n;
    addr_key(from, key);
    switch (dtls_hello(t->session->all->shared->dtls, octets_of(key, sizeof(key)), octets,
                       loop_now(t->session->all->loop), answer, &n)) {
    case DTLS_HELLO_ANSWER:
        relay_send_to(&t->relay, c, from, octets_of(answer, n));
        return false;
    case DTLS_HELLO_NONE:
        return false;
    case DTLS_HELLO_PROVEN:
        break;
    }
    return true;
}

/* The side is looked for there. */
static bool is_likely(const struct transport *t, enum relay_component c, const struct addr *from)
{
    const struct relay_path *p = &t->relay.path[c];
    return addr_equal(from, &p->to) || addr_equal(from, &p->peer.told) ||
           addr_equal_ip(from, &p->peer.party);
}

/* A server's machine for who begins. Where nobody but the side can be, it is the leg's; else it has to show keys first. A
 * stranger can make nothing but a machine that fails, and nobody hears of that (RFC 5763 §5). */
static struct dtls *welcome(struct transport *t, enum relay_component c, const struct addr *from,
                            bool checked)
{
    struct dtls_guest *g = &t->guest[c];
    bool likely = checked || is_likely(t, c, from);
    bool there = t->dtls[c] && dtls_state(t->dtls[c]) != DTLS_OVER;
    if (likely && (checked || !there)) {
        drop(t, c);
        t->dtls_peer[c] = *from;
        return make_mine(t, c, false, !checked) || trust(t, t->dtls[c]) ? NULL : t->dtls[c];
    }
    if (g->dtls && !likely && is_likely(t, c, &g->peer))
        return NULL;
    drop_guest(t, c);
    g->peer = *from;
    return make(t, c, false, true, from, t->mine[c] ^ 1u, &g->dtls) || trust(t, g->dtls) ? NULL
                                                                                         : g->dtls;
}

/* Before the answer only a checked address may begin. */
static bool possible(struct transport *t, enum relay_component c, const struct addr *from,
                     bool checked)
{
    const struct session *s = t->session;
    const struct relay_path *p = &t->relay.path[c];
    if (!s->all->shared->dtls)
        return false;
    if (!s->applied)
        return checked;
    if (t->keying != OFFER_DTLS || (t->kept && t->dtls_client))
        return false;
    return p->ice ? checked : relay_path_maybe(p, from, loop_now(s->all->loop));
}

void session_dtls_receive(struct transport *t, enum relay_component c, sv octets,
                          const struct addr *from)
{
    bool checked = t->ice && ice_lite_is_checked(t->ice, c + 1, 0, from);
    bool known = t->dtls[c] && addr_equal(from, &t->dtls_peer[c]);
    if (!possible(t, c, from, checked)) {
        t->foreign++;
        stat_add(&t->session->all->loop->stats, STAT_MEDIA_FOREIGN, 1);
        return;
    }
    if (!known && t->dtls[c] && checked) { /* ICE has moved it */
        t->dtls_peer[c] = *from;
        known = true;
    }
    struct dtls *d = known ? t->dtls[c] : NULL;
    if (!d && t->guest[c].dtls && addr_equal(from, &t->guest[c].peer))
        d = t->guest[c].dtls;
    if (!d && t->dtls[c] && (t->dtls_client || dtls_state(t->dtls[c]) == DTLS_KEYED))
        return;
    if (!d && (checked || hello(t, c, octets, from)))
        d = welcome(t, c, from, checked);
    if (d)
        dtls_receive(d, octets, loop_now(t->session->all->loop));
}

/* ---- time ---- */

usec session_dtls_next(const struct transport *t)
{
    usec next = USEC_NEVER;
    for (unsigned c = 0; c < RELAY_COMPONENTS; c++) {
        const struct dtls *both[] = {t->dtls[c], t->guest[c].dtls};
        for (unsigned i = 0; i < 2; i++) {
            usec at = both[i] ? dtls_deadline(both[i]) : USEC_NEVER;
            next = at < next ? at : next;
        }
    }
    return next;
}

void session_dtls_timer(struct transport *t, usec now)
{
    for (unsigned c = 0; c < RELAY_COMPONENTS; c++) {
        if (t->dtls[c] && dtls_deadline(t->dtls[c]) <= now)
            dtls_timer(t->dtls[c], now);
        if (t->guest[c].dtls && dtls_deadline(t->guest[c].dtls) <= now)
            dtls_timer(t->guest[c].dtls, now);
    }
}
