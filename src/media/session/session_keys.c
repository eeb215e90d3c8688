/* SPDX-License-Identifier: MIT */
/* Keys of a session: what stands between a port and its packets. */
#include "crypto/crypto.h"
#include "session/session_priv.h"

static const enum srtp_suite srtp_suites[SUITES] = {
    [SUITE_AES_CM_128_HMAC_SHA1_80] = SRTP_AES_CM_128_HMAC_SHA1_80,
    [SUITE_AES_CM_128_HMAC_SHA1_32] = SRTP_AES_CM_128_HMAC_SHA1_32,
    [SUITE_AES_256_CM_HMAC_SHA1_80] = SRTP_AES_256_CM_HMAC_SHA1_80,
    [SUITE_AES_256_CM_HMAC_SHA1_32] = SRTP_AES_256_CM_HMAC_SHA1_32,
    [SUITE_AEAD_AES_128_GCM] = SRTP_AEAD_AES_128_GCM,
    [SUITE_AEAD_AES_256_GCM] = SRTP_AEAD_AES_256_GCM,
};

/* ---- our own keys of SDES ---- */

/* Of the session's secret, for one line of one side and one suite: nothing has to be kept, and no two streams ever have
 * the same; a sender that begins anew has another (a key stream is never used twice). */
static void own_key(const struct session *s, unsigned side, unsigned line, enum offer_suite suite,
                    struct offer_key *ret_key)
{
    const struct srtp_suite_info *info = srtp_suite_info(srtp_suites[suite]);
    uint8_t mac[2][SHA256_LEN];
    const struct transport *t = s->transport[side][line];
    uint64_t generation = t ? t->generation : 0;
    char what[12] = {(char)side, (char)line, (char)suite, 0};
    memcpy(what + 4, &generation, sizeof(generation));
    sv piece = {what, sizeof(what)};
    for (; what[3] < 2; what[3]++)
        crypto_hmac_sha256((sv){(const char *)s->secret, sizeof(s->secret)}, &piece, 1,
                           mac[(unsigned)what[3]]);
    *ret_key = (struct offer_key){
        .suite = suite, .tag = suite + 1, .key_n = info->key, .salt_n = info->salt};
    memcpy(ret_key->key, mac, (size_t)info->key + info->salt);
    crypto_wipe(mac, sizeof(mac));
}
_Static_assert(OFFER_KEY_MAX <= 2 * SHA256_LEN, "a key and its salt fit two hashes");

void session_keys_new(struct session *s)
{
    uint8_t seed[ICE_SEED];
    loop_random_bytes(s->all->loop, s->secret, sizeof(s->secret));
    for (unsigned side = 0; side < SESSION_SIDES; side++) {
        loop_random_bytes(s->all->loop, seed, sizeof(seed));
        ice_secret_make(seed, &s->ice[side]);
    }
    crypto_wipe(seed, sizeof(seed));
}

enum err session_keys_ours(struct session *s, unsigned side, unsigned flags, struct offer_ours *o)
{
    if (s->all->shared->dtls)
        o->fingerprint = dtls_shared_fingerprint(s->all->shared->dtls);
    o->setup = SDP_ACTPASS;
    for (unsigned i = 0; i < s->lines; i++) {
        const struct transport *t = s->transport[side][i];
        for (unsigned k = 0; k < SUITES; k++)
            own_key(s, side, i, (enum offer_suite)k, &o->media[i].keys[k]);
        o->media[i].keys_n = SUITES;
        /* RFC 8842 §5.3: roles stand from the first answer on, before the ClientHello has come too */
        if (t && t->keying == OFFER_DTLS && !t->other_certificate)
            o->setup = t->dtls_client ? SDP_ACTIVE : SDP_PASSIVE;
    }
    return session_ice_offer(s, side, flags, o);
}

/* ---- contexts ---- */

static void drop_contexts(struct transport *t)
{
    for (unsigned c = 0; c < RELAY_COMPONENTS; c++) {
        struct srtp_context *both[] = {t->in[c], t->out[c]};
        for (unsigned i = 0; i < 2; i++) {
            srtp_context_done(both[i]);
            if (both[i])
                MEM_GIVE(both[i]);
        }
        if (t->out[c]) /* what it has sent is never sent again under the same key */
            t->generation = loop_random(t->session->all->loop);
        t->in[c] = t->out[c] = NULL;
    }
    t->kept = t->other_certificate = false;
}

enum err session_context(struct transport *t, struct srtp_context **c, enum srtp_role role,
                         enum srtp_suite suite, sv key, sv salt)
{
    if (*c)
        return srtp_context_rekey(*c, suite, key, salt);
    struct srtp_context *made = MEM_TAKE(struct srtp_context);
    if (!made)
        return ERR_NOMEM;
    enum err rc = srtp_context_init(made, t->session->all->engine, role, suite, key, salt);
    if (rc) {
        MEM_GIVE(made);
        return rc;
    }
    *c = made;
    return ERR_OK;
}

static enum err of_sdes(struct transport *t, struct srtp_context **c, enum srtp_role role,
                        const struct offer_key *k)
{
    sv key = {(const char *)k->key, k->key_n}, salt = {(const char *)k->key + k->key_n, k->salt_n};
    return session_context(t, c, role, srtp_suites[k->suite], key, salt);
}

enum err session_keys_apply(struct transport *t, const struct offer_leg *o)
{
    if (t->keying != o->keying)
        drop_contexts(t);
    if (o->keying != OFFER_DTLS)
        session_dtls_done(t);
    t->keying = o->keying;
    if (o->keying == OFFER_DTLS)
        return session_dtls_apply(t, o);
    if (o->keying == OFFER_PLAIN)
        return ERR_OK;
    TRY(of_sdes(t, &t->in[RELAY_RTP], SRTP_RECEIVER, &o->theirs));
    return of_sdes(t, &t->out[RELAY_RTP], SRTP_SENDER, &o->ours);
}

void session_keys_done(struct transport *t)
{
    loop_timer_cancel(t->session->all->loop, &t->timer);
    drop_contexts(t);
    session_dtls_done(t);
    session_ice_done(t);
    session_source_done(t);
}

/* ---- packets ---- */

bool session_unseal(struct transport *t, enum relay_component c, bool rtcp, struct block *b)
{
    size_t n = b->n;
    if (t->keying == OFFER_PLAIN)
        return true;
    struct srtp_context *in = t->in[c] ? t->in[c] : t->in[RELAY_RTP];
    enum err rc = !in    ? ERR_STATE
                  : rtcp ? srtp_rtcp_unprotect(in, (uint8_t *)b->p, &n)
                         : srtp_rtp_unprotect(in, (uint8_t *)b->p, &n);
    if (rc) {
        t->refused++;
        stat_add(&t->session->all->loop->stats, STAT_MEDIA_REFUSED, 1);
        return false;
    }
    b->n = (uint32_t)n;
    if (t->dtls[c])
        dtls_settle(t->dtls[c]);
    return true;
}

static enum err protect(struct transport *t, bool rtcp, struct block *b)
{
    size_t n = b->n;
    if (t->keying == OFFER_PLAIN)
        return ERR_OK;
    struct srtp_context *out = rtcp && t->out[RELAY_RTCP] ? t->out[RELAY_RTCP] : t->out[RELAY_RTP];
    if (!out)
        return ERR_STATE;
    TRY(rtcp ? srtp_rtcp_protect(out, (uint8_t *)b->p, &n, b->cap)
             : srtp_rtp_protect(out, (uint8_t *)b->p, &n, b->cap));
    b->n = (uint32_t)n;
    return ERR_OK;
}

bool session_seal(struct transport *t, bool rtcp, struct block *b)
{
    if (t->relay.opaque)
        return protect(t, rtcp, b) == ERR_OK;
    uint32_t ssrc = rtpmsg_u32(b->p, rtcp ? 4 : 8);
    uint16_t seq = rtpmsg_seq(b->p);
    if (t->outgoing)
        session_source_rename(t, rtcp, b);
    enum err rc = protect(t, rtcp, b);
    if (!rc && !rtcp)
        t->stuck.n = 0;
    else if (rc == ERR_EXISTS && session_source_renew(t, rtcp, ssrc, seq, b))
        rc = protect(t, rtcp, b);
    return rc == ERR_OK;
}

void session_on_other(void *arg, struct relay_transport *rt, enum relay_component c,
                      struct block *b, const struct addr *from)
{
    struct transport *t = arg;
    (void)rt;
    if (dtls_is(block_sv(b)))
        session_dtls_receive(t, c, block_sv(b), from);
    else
        session_ice_receive(t, c, b, from);
    session_timer(t);
}

/* ---- time ---- */

void session_timer(struct transport *t)
{
    usec next = session_dtls_next(t), ice = t->ice ? ice_lite_next(t->ice) : USEC_NEVER;
    loop_timer_at(t->session->all->loop, &t->timer, next < ice ? next : ice);
}

void session_on_timer(struct timer *timer, void *arg)
{
    struct transport *t = arg;
    usec now = loop_now(t->session->all->loop);
    (void)timer;
    session_dtls_timer(t, now);
    session_ice_timer(t, now);
    session_timer(t);
}

/* ---- what workers share ---- */

enum err session_shared_new(struct ports *ports, struct session_shared **ret_shared)
{
    struct dtls_shared_config c = {.wall = 0};
    struct session_shared *s = MEM_NEW(struct session_shared);
    if (!s)
        return ERR_NOMEM;
    s->ports = ports;
    enum err rc = crypto_random(s->payer_key, sizeof(s->payer_key));
    if (!rc)
        rc = dtls_shared_new(&c, &s->dtls);
    if (rc && rc != ERR_UNSUPPORTED) {
        mem_free(s);
        return rc;
    }
    *ret_shared = s;
    return ERR_OK;
}

bool session_shared_dtls(const struct session_shared *s)
{
    return s->dtls != NULL;
}

void session_shared_free(struct session_shared *s)
{
    if (!s)
        return;
    dtls_shared_free(s->dtls);
    mem_free(s);
}
