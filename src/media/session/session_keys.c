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

/* Of the session's secret, for one line of one side and one suite: nothing has to be kept, and no two streams
 * ever have the same. */
static void own_key(const struct session *s, unsigned side, unsigned line, enum offer_suite suite,
                    struct offer_key *ret_key)
{
    const struct srtp_suite_info *info = srtp_suite_info(srtp_suites[suite]);
    uint8_t mac[2][SHA256_LEN];
    char what[4] = {(char)side, (char)line, (char)suite, 0};
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

enum err session_keys_new(struct session *s)
{
    loop_random_bytes(s->all->loop, s->secret, sizeof(s->secret));
    return ERR_OK;
}

void session_keys_ours(struct session *s, unsigned side, unsigned flags, struct offer_ours *o)
{
    (void)flags;
    for (unsigned i = 0; i < s->lines; i++) {
        for (unsigned k = 0; k < SUITES; k++)
            own_key(s, side, i, (enum offer_suite)k, &o->media[i].keys[k]);
        o->media[i].keys_n = SUITES;
    }
}

/* ---- contexts ---- */

static void drop_context(struct srtp_context **c)
{
    if (!*c)
        return;
    srtp_context_done(*c);
    MEM_GIVE(*c);
    *c = NULL;
}

/* New, or with new keys. */
static enum err set_context(struct transport *t, struct srtp_context **c, enum srtp_role role,
                            const struct offer_key *k)
{
    sv key = {(const char *)k->key, k->key_n}, salt = {(const char *)k->key + k->key_n, k->salt_n};
    enum srtp_suite suite = srtp_suites[k->suite];
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

enum err session_keys_apply(struct transport *t, const struct offer_leg *o)
{
    if (t->keying != o->keying)
        session_keys_done(t);
    t->keying = o->keying;
    if (o->keying == OFFER_SDES) {
        TRY(set_context(t, &t->in, SRTP_RECEIVER, &o->theirs));
        TRY(set_context(t, &t->out, SRTP_SENDER, &o->ours));
    }
    return ERR_OK;
}

void session_keys_done(struct transport *t)
{
    drop_context(&t->in);
    drop_context(&t->out);
}

/* ---- packets ---- */

bool session_unseal(struct transport *t, bool rtcp, struct block *b)
{
    size_t n = b->n;
    if (t->keying == OFFER_PLAIN)
        return true;
    enum err rc = !t->in ? ERR_STATE
                  : rtcp ? srtp_rtcp_unprotect(t->in, (uint8_t *)b->p, &n)
                         : srtp_rtp_unprotect(t->in, (uint8_t *)b->p, &n);
    if (rc) {
        t->refused++;
        stat_add(&t->session->all->loop->stats, STAT_MEDIA_REFUSED, 1);
        return false;
    }
    b->n = (uint32_t)n;
    return true;
}

bool session_seal(struct transport *t, bool rtcp, struct block *b)
{
    size_t n = b->n;
    if (t->keying == OFFER_PLAIN)
        return true;
    if (!t->out)
        return false;
    enum err rc = rtcp ? srtp_rtcp_protect(t->out, (uint8_t *)b->p, &n, b->cap)
                       : srtp_rtp_protect(t->out, (uint8_t *)b->p, &n, b->cap);
    b->n = (uint32_t)n;
    return rc == ERR_OK;
}

void session_on_other(void *arg, struct relay_transport *rt, enum relay_component c,
                      struct block *b, const struct addr *from)
{
    (void)arg, (void)c, (void)b, (void)from;
    stat_add(&relay_loop(rt->relay)->stats, STAT_MEDIA_FOREIGN, 1);
}

/* ---- what workers share ---- */

enum err session_shared_new(struct ports *ports, struct session_shared **ret_shared)
{
    struct session_shared *s = MEM_NEW(struct session_shared);
    if (!s)
        return ERR_NOMEM;
    s->ports = ports;
    *ret_shared = s;
    return ERR_OK;
}

void session_shared_free(struct session_shared *s)
{
    mem_free(s);
}
