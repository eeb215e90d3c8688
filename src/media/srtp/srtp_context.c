/* SPDX-License-Identifier: MIT */
/* srtp/srtp_context.c: suites, engines, keys; a context's life and its written form. */
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

static struct srtp_stream *stream_at(const struct srtp_context *c, unsigned i)
{
    return i == 0 ? (struct srtp_stream *)&c->first : &c->more[i - 1];
}

struct srtp_stream *srtp_stream_find(struct srtp_context *c, uint32_t ssrc)
{
    if (c->recent < c->streams && stream_at(c, c->recent)->ssrc == ssrc)
        return stream_at(c, c->recent);
    for (unsigned i = 0; i < c->streams; i++)
        if (stream_at(c, i)->ssrc == ssrc)
            return stream_at(c, i);
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
    struct srtp_stream *s = stream_at(c, c->streams++);
    *s = (struct srtp_stream){.ssrc = ssrc};
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
    *s = *stream_at(c, --c->streams);
    return ERR_OK;
}

/* ---- written form: version, role, keys, old keys or none, SSRCs; numbers with the high octet first ---- */

enum { FORM = 1 };

static void put(struct buf *b, uint64_t v, unsigned octets)
{
    while (octets-- > 0)
        buf_char(b, (char)(v >> (8 * octets)));
}

static void put_keys(struct buf *b, const struct srtp_keys *k)
{
    put(b, k->suite, 1);
    put(b, k->number, 4);
    put(b, k->packets, 8);
    put(b, k->rtcp_packets, 8);
    buf_mem(b, k->master, suites[k->suite].key + suites[k->suite].salt);
}

static void put_window(struct buf *b, const struct srtp_window *w)
{
    put(b, w->top, 8);
    put(b, w->seen[0], 8);
    put(b, w->seen[1], 8);
}

void srtp_context_save(const struct srtp_context *c, struct buf *b)
{
    assert(c->engine);
    put(b, FORM, 1);
    put(b, c->role, 1);
    put_keys(b, &c->keys);
    put(b, c->old != NULL, 1);
    if (c->old)
        put_keys(b, c->old);
    put(b, c->streams, 2);
    for (unsigned i = 0; i < c->streams; i++) {
        const struct srtp_stream *s = stream_at(c, i);
        put(b, s->ssrc, 4);
        put(b, s->rtp_key, 4);
        put(b, s->rtcp_key, 4);
        put_window(b, &s->rtp);
        put_window(b, &s->rtcp);
    }
}

struct reader {
    const uint8_t *p, *end;
    bool bad;
};

static uint64_t get(struct reader *r, unsigned octets, uint64_t max)
{
    uint64_t v = 0;
    if ((size_t)(r->end - r->p) < octets) {
        r->bad = true;
        return 0;
    }
    while (octets-- > 0)
        v = v << 8 | *r->p++;
    if (v > max) {
        r->bad = true;
        return 0;
    }
    return v;
}

static enum err get_keys(struct reader *r, struct srtp_keys *k, struct srtp_engine *e,
                         enum srtp_role role)
{
    enum srtp_suite suite = (enum srtp_suite)get(r, 1, SRTP_SUITES - 1);
    uint32_t number = (uint32_t)get(r, 4, UINT32_MAX);
    uint64_t packets = get(r, 8, SRTP_PACKETS_MAX);
    uint64_t rtcp_packets = get(r, 8, SRTCP_PACKETS_MAX);
    size_t n = suites[suite].key + suites[suite].salt;
    if (r->bad || (size_t)(r->end - r->p) < n)
        return ERR_CORRUPT;
    TRY(srtp_keys_init(k, e, role, suite, r->p));
    r->p += n;
    k->number = number;
    k->packets = packets;
    k->rtcp_packets = rtcp_packets;
    return ERR_OK;
}

/* The newest one was seen; nothing was seen before the first. */
static void get_window(struct reader *r, struct srtp_window *w, uint64_t max)
{
    w->top = get(r, 8, max);
    w->seen[0] = get(r, 8, UINT64_MAX);
    w->seen[1] = get(r, 8, UINT64_MAX);
    bool none = w->top == 0 && w->seen[0] == 0 && w->seen[1] == 0;
    if (!none && !(w->seen[0] & 1))
        r->bad = true;
}

static enum err get_old(struct srtp_context *c, struct reader *r)
{
    if (get(r, 1, c->role == SRTP_RECEIVER) == 0)
        return ERR_OK;
    c->old = MEM_TAKE(struct srtp_keys);
    if (!c->old)
        return ERR_NOMEM;
    enum err rc = get_keys(r, c->old, c->engine, (enum srtp_role)c->role);
    if (rc) {
        MEM_GIVE(c->old);
        c->old = NULL;
    }
    return rc;
}

static enum err get_streams(struct srtp_context *c, struct reader *r)
{
    for (uint64_t left = get(r, 2, SRTP_SSRCS_MAX); left > 0 && !r->bad; left--) {
        uint32_t ssrc = (uint32_t)get(r, 4, UINT32_MAX);
        if (r->bad || srtp_stream_find(c, ssrc))
            return ERR_CORRUPT;
        struct srtp_stream *s = srtp_stream_add(c, ssrc);
        if (!s)
            return ERR_NOMEM;
        s->rtp_key = (uint32_t)get(r, 4, c->keys.number);
        s->rtcp_key = (uint32_t)get(r, 4, c->keys.number);
        get_window(r, &s->rtp, SRTP_INDEX_MAX);
        get_window(r, &s->rtcp, SRTCP_INDEX_MAX);
    }
    return r->bad || r->p != r->end ? ERR_CORRUPT : ERR_OK;
}

enum err srtp_context_load(struct srtp_context *c, struct srtp_engine *e, sv octets)
{
    struct reader r = {(const uint8_t *)octets.p, (const uint8_t *)octets.p + octets.n, false};
    *c = (struct srtp_context){0};
    uint64_t form = get(&r, 1, FORM);
    c->role = (uint8_t)get(&r, 1, SRTP_RECEIVER);
    if (r.bad || form != FORM)
        return ERR_CORRUPT;
    enum err rc = get_keys(&r, &c->keys, e, (enum srtp_role)c->role);
    if (rc)
        return rc;
    c->engine = e;
    rc = get_old(c, &r);
    if (!rc)
        rc = get_streams(c, &r);
    if (rc)
        srtp_context_done(c);
    return rc;
}
