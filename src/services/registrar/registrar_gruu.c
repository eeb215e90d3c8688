/* SPDX-License-Identifier: MIT */
/* GRUUs: addresses that lead to one phone of an account (RFC 5627).
 *
 * Public: the address of record with its instance in gr= (appendix A.1). Temporary: nothing is stored
 * for them but a seed in the bindings of the phone; the user part is
 *
 *   "tgruu." base64url( D || C || A )
 *   D  80 bits of chance     C  the seed and the address of record, enciphered with D as nonce
 *   A  80 bits of HMAC-SHA256 over D and C
 *
 * so that two of them say nothing of whether they lead to the same phone (§5.1 property 2) and nobody
 * else can make one. They hold as long as a binding of the phone has the seed: a new Call-ID makes a
 * new seed (§5.1), and with the last binding it is gone (§5.3). The keys come of the process's secret,
 * so they survive a restart. */
#include "registrar/registrar_priv.h"
#include "crypto/crypto.h"
#include "location/location.h"

enum { NONCE = 10, MAC = 10, KEY = 32, AOR_MAX = 128, BLOCK = 16 };
enum { PLAIN_MAX = GRUU_SEED + AOR_MAX, TOKEN_MAX = NONCE + PLAIN_MAX + MAC };

static const sv prefix = {"tgruu.", 6};

/* ---- the token ---- */

static void key_of(const struct sip *s, sv use, uint8_t ret_key[static KEY])
{
    static const char digits[] = "0123";
    for (size_t i = 0; i < KEY / 8; i++) {
        sv pieces[] = {SV("temporary GRUU"), use, {&digits[i], 1}};
        uint64_t h = home_hash(sip_home(s), pieces, 3);
        memcpy(ret_key + 8 * i, &h, 8);
    }
}

/* The same both ways. */
static void encipher(const struct sip *s, const uint8_t nonce[static NONCE], uint8_t *p, size_t n)
{
    uint8_t key[KEY], stream[SHA256_LEN];
    key_of(s, SV("cipher"), key);
    for (size_t i = 0; i < n; i++) {
        if (i % SHA256_LEN == 0) {
            char counter = (char)(i / SHA256_LEN);
            sv pieces[] = {{(const char *)nonce, NONCE}, {&counter, 1}};
            crypto_hmac_sha256((sv){(const char *)key, KEY}, pieces, 2, stream);
        }
        p[i] ^= stream[i % SHA256_LEN];
    }
}

static void authenticate(const struct sip *s, const uint8_t *p, size_t n,
                         uint8_t ret_mac[static SHA256_LEN])
{
    uint8_t key[KEY];
    sv piece = {(const char *)p, n};
    key_of(s, SV("mac"), key);
    crypto_hmac_sha256((sv){(const char *)key, KEY}, &piece, 1, ret_mac);
}

static bool put_token(struct buf *b, const struct registrar_input *in, const struct binding *x)
{
    uint8_t token[TOKEN_MAX] = {0}, key[KEY], mac[SHA256_LEN];
    size_t padded = (in->aor.n + BLOCK - 1) / BLOCK * BLOCK; /* lengths say little */
    if (in->aor.n > AOR_MAX || x->gruu.n != GRUU_SEED)
        return false;
    key_of(in->sip, SV("nonce"), key);
    sv pieces[] = {{(const char *)&in->chance, sizeof(in->chance)}, x->instance, in->aor};
    crypto_hmac_sha256((sv){(const char *)key, KEY}, pieces, 3, mac);
    memcpy(token, mac, NONCE);
    memcpy(token + NONCE, x->gruu.p, GRUU_SEED);
    memcpy(token + NONCE + GRUU_SEED, in->aor.p, in->aor.n);
    size_t n = NONCE + GRUU_SEED + padded;
    encipher(in->sip, token, token + NONCE, n - NONCE);
    authenticate(in->sip, token, n, mac);
    memcpy(token + n, mac, MAC);
    crypto_base64url(b, token, n + MAC);
    return true;
}

static enum err read_token(const struct sip *s, sv text, struct arena *a,
                           struct registrar_gruu *ret_gruu)
{
    uint8_t token[TOKEN_MAX], mac[SHA256_LEN];
    size_t n;
    if (crypto_base64url_decode(text, token, sizeof(token), &n) || n < NONCE + GRUU_SEED + MAC)
        return ERR_DENIED;
    n -= MAC;
    authenticate(s, token, n, mac);
    if (!crypto_equal(mac, token + n, MAC))
        return ERR_DENIED;
    encipher(s, token, token + NONCE, n - NONCE);
    sv plain = {(const char *)token + NONCE, n - NONCE};
    sv aor = sv_sub(plain, GRUU_SEED, plain.n);
    aor = sv_sub(aor, 0, sv_chr(aor, 0));
    TRY(sv_dup(a, sv_sub(plain, 0, GRUU_SEED), &ret_gruu->seed));
    TRY(sv_dup(a, aor, &aor));
    size_t at = aor.n; /* the last @: a domain has none */
    while (at > 0 && aor.p[at - 1] != '@')
        at--;
    if (at == 0)
        return ERR_DENIED;
    ret_gruu->user = sv_sub(aor, 0, at - 1);
    ret_gruu->domain = sv_sub(aor, at, aor.n);
    ret_gruu->temporary = true;
    return ERR_OK;
}

bool gruu_is_temporary_user(sv user)
{
    return user.n > prefix.n && sv_ieq(sv_sub(user, 0, prefix.n), prefix);
}

/* ---- the seed ---- */

enum err gruu_seed(const struct registrar_input *in, struct binding *set, size_t n,
                   struct binding *made, struct arena *a)
{
    const struct binding *prior = NULL;
    sv seed = SV_NONE;
    if (made->instance.n == 0)
        return ERR_OK;
    for (size_t i = 0; i < n; i++) {
        const struct binding *b = &set[i];
        if (!location_same_instance(made->instance, b->instance))
            continue;
        if (b->gruu.n)
            seed = b->gruu;
        /* Of a flow, the one that it takes the place of; other flows have Call-IDs of their own. */
        if ((!made->reg_id || made->reg_id == b->reg_id) && (!prior || b->expires > prior->expires))
            prior = b;
    }
    if (seed.n == 0 || (prior && !sv_eq(prior->call_id, made->call_id))) {
        uint64_t fresh = in->chance + n; /* several in one request must differ, no more */
        TRY(sv_dup(a, (sv){(const char *)&fresh, sizeof(fresh)}, &seed));
        for (size_t i = 0; i < n; i++)
            if (location_same_instance(made->instance, set[i].instance))
                set[i].gruu = seed;
    }
    made->gruu = seed;
    return ERR_OK;
}

/* ---- in a 200 ---- */

static bool is_param_char(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("-_.!~*'()[]/:&+$", c));
}

/* The scheme is the Contact's (RFC 5630 §5.2.1). */
static void put_scheme(struct buf *b, const struct binding *x)
{
    struct uri u;
    bool sips = uri_parse(x->uri, &u, NULL) == ERR_OK && u.scheme == URI_SIPS;
    buf_str(b, sips ? "\"sips:" : "\"sip:");
}

void gruu_put(struct buf *b, const struct registrar_input *in, const struct binding *x)
{
    sv urn = sv_sub(x->instance, 1, x->instance.n - 1);
    size_t before = b->n;
    if (!in->sip || x->instance.n < 3)
        return;
    buf_str(b, ";pub-gruu=");
    put_scheme(b, x);
    buf_quoted(b, in->aor);
    buf_str(b, ";gr=");
    for (size_t i = 0; i < urn.n; i++) {
        if (is_param_char((unsigned char)urn.p[i]))
            buf_char(b, urn.p[i]);
        else
            buf_printf(b, "%%%02X", (unsigned char)urn.p[i]);
    }
    buf_char(b, '"');
    before = b->n;
    buf_str(b, ";temp-gruu=");
    put_scheme(b, x);
    buf_put(b, prefix);
    if (!put_token(b, in, x)) {
        if (!b->rc)
            b->n = before;
        return;
    }
    buf_char(b, '@');
    size_t at = in->aor.n;
    while (at > 0 && in->aor.p[at - 1] != '@')
        at--;
    buf_quoted(b, sv_sub(in->aor, at, in->aor.n));
    buf_str(b, ";gr\"");
}

/* ---- in a request ---- */

/* "<" gr without escapes ">" */
static enum err instance_of(sv gr, struct arena *a, sv *ret_instance)
{
    char *mem = arena_alloc(a, gr.n + 3);
    struct buf b;
    if (!mem)
        return ERR_NOMEM;
    buf_init(&b, mem, gr.n + 3);
    buf_char(&b, '<');
    for (size_t i = 0; i < gr.n; i++) {
        uint8_t octet;
        size_t n;
        if (gr.p[i] == '%' && crypto_unhex(sv_sub(gr, i + 1, i + 3), &octet, 1, &n) == ERR_OK &&
            n == 1) {
            buf_char(&b, (char)octet);
            i += 2;
        } else {
            buf_char(&b, gr.p[i]);
        }
    }
    buf_char(&b, '>');
    *ret_instance = buf_sv(&b);
    return b.rc;
}

enum err registrar_gruu_read(const struct sip *s, const struct uri *u, struct arena *a,
                             struct registrar_gruu *ret_gruu)
{
    sv gr;
    *ret_gruu = (struct registrar_gruu){0};
    if ((u->scheme != URI_SIP && u->scheme != URI_SIPS) || !uri_param(u, SV("gr"), &gr))
        return ERR_NOTFOUND;
    if (gruu_is_temporary_user(u->user))
        return gr.n ? ERR_DENIED : read_token(s, sv_sub(u->user, prefix.n, u->user.n), a, ret_gruu);
    if (gr.n == 0)
        return ERR_DENIED;
    return instance_of(gr, a, &ret_gruu->instance);
}

size_t registrar_gruu_bindings(const struct registrar_gruu *g, struct binding *b, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        bool meant = g->temporary ? sv_eq(g->seed, b[i].gruu)
                                  : location_same_instance(g->instance, b[i].instance);
        struct binding x = b[i];
        if (!meant)
            continue;
        memmove(&b[kept + 1], &b[kept], (i - kept) * sizeof(*b));
        b[kept++] = x;
    }
    return kept;
}
