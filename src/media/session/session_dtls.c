/* SPDX-License-Identifier: MIT */
/* Keys by DTLS (RFC 5764): whose datagrams are taken, when we begin, what the keys are for. See dtls.h. */
#include "session/session_priv.h"

static sv octets_of(const uint8_t *p, size_t n)
{
    return (sv){(const char *)p, n};
}

/* ---- what a machine says ---- */

static void on_send(void *arg, sv octets)
{
    struct dtls_hand *h = arg;
    struct transport *t = h->transport;
    relay_send_to(&t->relay, h->component, &t->dtls_peer[h->component], octets);
}

static void on_keys(void *arg, const struct dtls_keys *k)
{
    struct dtls_hand *h = arg;
    struct transport *t = h->transport;
    const struct dtls_suite_info *info = &dtls_suites[k->suite];
    enum srtp_suite suite;
    enum err rc = srtp_suite_of_profile(info->wire, &suite);
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
    session_tell(h->transport->session, SESSION_KEY_FAULT, h->transport->side, text);
}

static void on_closed(void *arg)
{
    (void)arg; /* its BYE, or its silence, ends the call */
}

static const struct dtls_user user = {
    .send = on_send, .on_keys = on_keys, .on_failed = on_failed, .on_closed = on_closed};

/* ---- machines ---- */

static enum err make(struct transport *t, enum relay_component c, bool client, bool cookies)
{
    struct dtls_config config = {
        .client = client, .cookies = cookies, .stats = &t->session->all->loop->stats};
    uint8_t key[ADDR_KEY];
    if (cookies) {
        addr_key(&t->dtls_peer[c], key);
        config.peer = octets_of(key, sizeof(key));
    }
    t->hand[c] = (struct dtls_hand){t, c};
    t->kept = t->other_certificate = false;
    return dtls_new(t->session->all->shared->dtls, &config, &user, &t->hand[c], &t->dtls[c]);
}

static void drop(struct transport *t, enum relay_component c)
{
    dtls_free(t->dtls[c]);
    t->dtls[c] = NULL;
}

void session_dtls_done(struct transport *t)
{
    for (unsigned c = 0; c < RELAY_COMPONENTS; c++) {
        if (t->dtls[c])
            dtls_close(t->dtls[c]);
        drop(t, c);
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
static enum err trust(struct transport *t, enum relay_component c)
{
    struct dtls_fingerprint f[OFFER_FINGERPRINTS_MAX];
    for (unsigned i = 0; i < t->trust_n; i++)
        f[i] = (struct dtls_fingerprint){.hash = {t->trust[i].hash, t->trust[i].hash_n},
                                         .digest = t->trust[i].digest,
                                         .n = t->trust[i].n};
    return t->trust_n > 0 ? dtls_trust(t->dtls[c], f, t->trust_n, loop_now(t->session->all->loop))
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
    if (t->dtls[c] && trust(t, c) != ERR_AUTH)
        return ERR_OK; /* what it holds against them it has told */
    drop(t, c);
    if (!client)
        return ERR_OK; /* made when its ClientHello comes */
    TRY(make(t, c, true, false));
    return trust(t, c);
}

enum err session_dtls_apply(struct transport *t, const struct offer_leg *o)
{
    bool same;
    TRY(keep_trust(t, o, &same));
    if (t->kept && same && !t->other_certificate && t->dtls_client == o->dtls_client)
        return ERR_OK; /* the association of before (RFC 8842 §4) */
    for (unsigned c = 0; c < RELAY_COMPONENTS; c++) {
        if (c == RELAY_RTCP && o->mux)
            drop(t, c);
        else
            TRY(apply_component(t, c, o->dtls_client));
    }
    t->dtls_client = o->dtls_client;
    session_dtls_begin(t);
    return ERR_OK;
}

/* A peer that has not ended its handshake sends again what we have lost, and meets one that begins. */
enum err session_dtls_resume(struct transport *t)
{
    if (t->keying != OFFER_DTLS || t->kept || !t->dtls_client || !t->open)
        return ERR_OK;
    for (unsigned c = 0; c < (t->relay.mux ? 1 : RELAY_COMPONENTS); c++) {
        TRY(make(t, c, true, false));
        TRY(trust(t, c));
    }
    session_dtls_begin(t);
    return ERR_OK;
}

/* ---- datagrams ---- */

/* A server's machine for somebody who has shown that he is there. */
static bool hello(struct transport *t, enum relay_component c, sv octets, const struct addr *from,
                  bool checked)
{
    uint8_t answer[DTLS_ANSWER_MAX], key[ADDR_KEY];
    size_t n;
    if (!checked) {
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
    }
    drop(t, c);
    t->dtls_peer[c] = *from;
    return make(t, c, false, !checked) == ERR_OK && trust(t, c) == ERR_OK;
}

/* Before the answer only a checked address may begin. */
static bool possible(struct transport *t, enum relay_component c, const struct addr *from,
                     bool checked)
{
    const struct session *s = t->session;
    const struct relay_path *p = &t->relay.path[c];
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
    if (!known && t->dtls[c] && (t->dtls_client || dtls_state(t->dtls[c]) == DTLS_KEYED))
        return;
    if (known || hello(t, c, octets, from, checked))
        dtls_receive(t->dtls[c], octets, loop_now(t->session->all->loop));
}

/* ---- time ---- */

usec session_dtls_next(const struct transport *t)
{
    usec next = USEC_NEVER;
    for (unsigned c = 0; c < RELAY_COMPONENTS; c++) {
        usec at = t->dtls[c] ? dtls_deadline(t->dtls[c]) : USEC_NEVER;
        next = at < next ? at : next;
    }
    return next;
}

void session_dtls_timer(struct transport *t, usec now)
{
    for (unsigned c = 0; c < RELAY_COMPONENTS; c++) {
        if (t->dtls[c] && dtls_deadline(t->dtls[c]) <= now)
            dtls_timer(t->dtls[c], now);
    }
}
