/* SPDX-License-Identifier: MIT */
/* srtp/srtp_context.c: suites, engines, keys; a context's life. Its written form is srtp_form.c's. */
#include "srtp/srtp_priv.h"
#include <assert.h>

#define SHARED_PACKETS_MAX (1ULL << 31) /* RFC 4568 §6.4.2 */

static const struct srtp_suite_info suites[SRTP_SUITES] = {
#define X(id, name, profile, key, salt, tag, rtcp_tag, aead) \
    [SRTP_##id] = {SV(name), profile, key, salt, tag, rtcp_tag, aead},
#include "srtp/srtp.def"
#undef X
};

const struct srtp_suite_info *srtp_suite_info(enum srtp_suite suite)
{
    return &suites[suite];
}

enum err srtp_suite_named(sv name, enum srtp_suite *ret_suite)
{
    for (int i = 0; i < SRTP_SUITES; i++)
        if (sv_eq(name, suites[i].name)) {
            *ret_suite = (enum srtp_suite)i;
            return ERR_OK;
        }
    return ERR_NOTFOUND;
}

enum err srtp_suite_of_profile(uint16_t profile, enum srtp_suite *ret_suite)
{
    for (int i = 0; i < SRTP_SUITES; i++)
        if (profile != 0 && suites[i].profile == profile) {
            *ret_suite = (enum srtp_suite)i;
            return ERR_OK;
        }
    return ERR_NOTFOUND;
}

/* ---- engines ---- */

static enum err engine_fill(struct srtp_engine *e)
{
    static const char *const ecb[2] = {"AES-128-ECB", "AES-256-ECB"};
    static const char *const gcm[2] = {"AES-128-GCM", "AES-256-GCM"};
    for (int i = 0; i < 2; i++) {
        e->ecb[i] = EVP_CIPHER_fetch(NULL, ecb[i], NULL);
        e->gcm[i] = EVP_CIPHER_fetch(NULL, gcm[i], NULL);
        if (!e->ecb[i] || !e->gcm[i])
            return ERR_UNSUPPORTED;
        e->ecb_once[i] = EVP_CIPHER_CTX_new();
        e->gcm_once[i] = EVP_CIPHER_CTX_new();
        if (!e->ecb_once[i] || !e->gcm_once[i] ||
            EVP_EncryptInit_ex2(e->ecb_once[i], e->ecb[i], NULL, NULL, NULL) != 1 ||
            EVP_EncryptInit_ex2(e->gcm_once[i], e->gcm[i], NULL, NULL, NULL) != 1 ||
            EVP_CIPHER_CTX_set_padding(e->ecb_once[i], 0) != 1)
            return ERR_NOMEM;
    }
    return ERR_OK;
}

enum err srtp_engine_new(struct srtp_engine **ret_engine)
{
    struct srtp_engine *e = MEM_NEW(struct srtp_engine);
    if (!e)
        return ERR_NOMEM;
    enum err rc = engine_fill(e);
    if (rc) {
        srtp_engine_free(e);
        return rc;
    }
    *ret_engine = e;
    return ERR_OK;
}

void srtp_engine_free(struct srtp_engine *e)
{
    if (!e)
        return;
    for (int i = 0; i < 2; i++) {
        EVP_CIPHER_CTX_free(e->ecb_once[i]);
        EVP_CIPHER_CTX_free(e->gcm_once[i]);
        EVP_CIPHER_free(e->ecb[i]);
        EVP_CIPHER_free(e->gcm[i]);
    }
    mem_free(e);
}

/* ---- keys ---- */

enum err srtp_keys_session(struct srtp_keys *k, struct srtp_engine *e, enum srtp_role role,
                           const struct srtp_session *rtp, const struct srtp_session *rtcp)
{
    const struct srtp_suite_info *suite = &suites[k->suite];
    bool wide = suite->key == SRTP_KEY_MAX;
    memcpy(k->salt, rtp->salt, suite->salt);
    memcpy(k->rtcp_salt, rtcp->salt, suite->salt);
    memcpy(k->rtcp_key, rtcp->key, suite->key);
    srtp_hmac_key(&k->hmac, rtp->auth);
    srtp_hmac_key(&k->rtcp_hmac, rtcp->auth);
    k->cipher = EVP_CIPHER_CTX_new();
    /* Counter mode encrypts both ways. */
    if (!k->cipher ||
        EVP_CipherInit_ex2(k->cipher, suite->aead ? e->gcm[wide] : e->ecb[wide], rtp->key, NULL,
                           role == SRTP_SENDER || !suite->aead, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(k->cipher, 0) != 1) {
        srtp_keys_done(k);
        return ERR_NOMEM;
    }
    return ERR_OK;
}

static void derive(struct srtp_engine *e, const struct srtp_suite_info *suite,
                   const uint8_t *master, uint8_t label, struct srtp_session *ret)
{
    sv key = {(const char *)master, suite->key};
    sv salt = {(const char *)master + suite->key, suite->salt};
    srtp_derive(e, key, salt, label, ret->key, suite->key);
    srtp_derive(e, key, salt, label + 1, ret->auth, sizeof ret->auth);
    srtp_derive(e, key, salt, label + 2, ret->salt, suite->salt);
}

enum err srtp_keys_init(struct srtp_keys *k, struct srtp_engine *e, enum srtp_role role,
                        enum srtp_suite suite, const uint8_t *master)
{
    struct srtp_session rtp = {0}, rtcp = {0};
    *k = (struct srtp_keys){.suite = (uint8_t)suite};
    memcpy(k->master, master, suites[suite].key + suites[suite].salt);
    derive(e, &suites[suite], master, SRTP_LABEL_RTP, &rtp);
    derive(e, &suites[suite], master, SRTP_LABEL_RTCP, &rtcp);
    enum err rc = srtp_keys_session(k, e, role, &rtp, &rtcp);
    crypto_wipe(&rtp, sizeof rtp);
    crypto_wipe(&rtcp, sizeof rtcp);
    return rc;
}

void srtp_keys_done(struct srtp_keys *k)
{
    EVP_CIPHER_CTX_free(k->cipher); /* wipes what it has */
    crypto_wipe(k, sizeof *k);
}

/* ---- life ---- */

static enum err master_of(enum srtp_suite suite, sv key, sv salt,
                          uint8_t ret_master[static SRTP_KEY_MAX + SRTP_SALT_MAX])
{
    if (key.n != suites[suite].key || salt.n != suites[suite].salt)
        return ERR_SYNTAX;
    memset(ret_master, 0, SRTP_KEY_MAX + SRTP_SALT_MAX);
    memcpy(ret_master, key.p, key.n);
    memcpy(ret_master + key.n, salt.p, salt.n);
    return ERR_OK;
}

enum err srtp_context_init(struct srtp_context *c, struct srtp_engine *e, enum srtp_role role,
                           enum srtp_suite suite, sv key, sv salt)
{
    uint8_t master[SRTP_KEY_MAX + SRTP_SALT_MAX];
    *c = (struct srtp_context){0};
    TRY(master_of(suite, key, salt, master));
    enum err rc = srtp_keys_init(&c->keys, e, role, suite, master);
    crypto_wipe(master, sizeof master);
    if (rc)
        return rc;
    c->engine = e;
    c->role = (uint8_t)role;
    c->keys.number = 1;
    return ERR_OK;
}

static void drop_old(struct srtp_context *c)
{
    if (c->old) {
        srtp_keys_done(c->old);
        MEM_GIVE(c->old);
        c->old = NULL;
    }
}

void srtp_context_done(struct srtp_context *c)
{
    if (!c || !c->engine)
        return;
    drop_old(c);
    srtp_keys_done(&c->keys);
    mem_give(c->more, c->room * sizeof(c->more[0]));
    *c = (struct srtp_context){0};
}

enum err srtp_context_rekey(struct srtp_context *c, enum srtp_suite suite, sv key, sv salt)
{
    uint8_t master[SRTP_KEY_MAX + SRTP_SALT_MAX];
    struct srtp_keys *old = NULL, keys;
    enum err rc = ERR_OK;
    TRY(master_of(suite, key, salt, master));
    if (suite == c->keys.suite && crypto_equal(master, c->keys.master, sizeof master))
        goto out;
    if (c->role == SRTP_RECEIVER && !(old = MEM_TAKE(struct srtp_keys))) {
        rc = ERR_NOMEM;
        goto out;
    }
    rc = srtp_keys_init(&keys, c->engine, (enum srtp_role)c->role, suite, master);
    if (rc) {
        if (old)
            MEM_GIVE(old);
        goto out;
    }
    keys.number = c->keys.number + 1;
    drop_old(c);
    if (old)
        *old = c->keys;
    else
        srtp_keys_done(&c->keys);
    c->old = old;
    c->keys = keys;
    crypto_wipe(&keys, sizeof keys);
out:
    crypto_wipe(master, sizeof master);
    return rc;
}

void srtp_keys_proven(struct srtp_context *c, bool began_anew)
{
    if (c->old && (began_anew || c->keys.packets >= SRTP_OLD_PACKETS))
        drop_old(c);
}

bool srtp_context_worn(const struct srtp_context *c, uint64_t lifetime)
{
    if (lifetime == 0)
        lifetime = SHARED_PACKETS_MAX;
    if (lifetime > SRTP_PACKETS_MAX)
        lifetime = SRTP_PACKETS_MAX;
    return c->keys.packets >= lifetime - lifetime / 16 ||
           c->keys.rtcp_packets >= SRTCP_PACKETS_MAX - SRTCP_PACKETS_MAX / 16 ||
           c->streams >= SRTP_SSRCS_MAX - SRTP_SSRCS_MAX / 4;
}

/* ---- SSRCs ---- */

struct srtp_stream *srtp_stream_at(const struct srtp_context *c, unsigned i)
{
    return i == 0 ? (struct srtp_stream *)&c->first : &c->more[i - 1];
}

struct srtp_stream *srtp_stream_find(struct srtp_context *c, uint32_t ssrc)
{
    if (c->recent < c->streams && srtp_stream_at(c, c->recent)->ssrc == ssrc)
        return srtp_stream_at(c, c->recent);
    for (unsigned i = 0; i < c->streams; i++)
        if (srtp_stream_at(c, i)->ssrc == ssrc)
            return srtp_stream_at(c, i);
    return NULL;
}

/* Room for 1, 2, 4, 8 ... of them together. */
struct srtp_stream *srtp_stream_add(struct srtp_context *c, uint32_t ssrc)
{
    if (c->streams == SRTP_SSRCS_MAX)
        return NULL;
    if (c->streams == c->room + 1) {
        size_t room = 2 * (size_t)c->room + 1;
        struct srtp_stream *more = mem_take(room * sizeof *more);
        if (!more)
            return NULL;
        if (c->room > 0)
            memcpy(more, c->more, c->room * sizeof *more);
        mem_give(c->more, c->room * sizeof *more);
        c->more = more;
        c->room = (uint16_t)room;
    }
    struct srtp_stream *s = srtp_stream_at(c, c->streams++);
    *s = (struct srtp_stream){.ssrc = ssrc, .rtp_end = SRTP_INDEX_MAX, .rtcp_end = SRTCP_INDEX_MAX};
    return s;
}

void srtp_stream_used(struct srtp_context *c, const struct srtp_stream *s)
{
    c->recent = s == &c->first ? 0 : (uint16_t)(s - c->more + 1);
}

enum err srtp_context_forget(struct srtp_context *c, uint32_t ssrc)
{
    if (c->role == SRTP_SENDER)
        return ERR_STATE;
    struct srtp_stream *s = srtp_stream_find(c, ssrc);
    if (!s)
        return ERR_NOTFOUND;
    *s = *srtp_stream_at(c, --c->streams);
    return ERR_OK;
}

enum err srtp_context_fresh(struct srtp_context *c, uint32_t ssrc)
{
    if (c->role == SRTP_RECEIVER)
        return ERR_STATE;
    if (srtp_stream_find(c, ssrc))
        return ERR_EXISTS;
    return srtp_stream_add(c, ssrc) ? ERR_OK : ERR_NOMEM;
}

bool srtp_context_next(struct srtp_context *c, uint32_t ssrc, uint16_t *ret_seq, bool *ret_behind)
{
    const struct srtp_stream *s = srtp_stream_find(c, ssrc);
    if (!s || c->role == SRTP_RECEIVER || srtp_window_empty(&s->rtp) || s->rtp.top >= s->rtp_end)
        return false;
    *ret_seq = (uint16_t)(s->rtp.top + 1);
    *ret_behind = s->rtp_behind;
    return true;
}
