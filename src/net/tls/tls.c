/* SPDX-License-Identifier: MIT */
/* tls/tls.c: a snapshot of certificates, trust and policy as OpenSSL's contexts: one for each pair
 * that we serve, chosen by SNI, and one for connecting. */
#include "tls/tls_priv.h"
#include "crypto/crypto.h"

/* ECDHE and an AEAD, nothing else (RFC 9325 §4.2). TLS 1.3 has no others. First the suites that everybody
 * must have (RFC 8446 §9.1): 128 bits are what the curves give, and SHA-256 is the cheaper hash where
 * processors have instructions for it. */
static const char suites_12[] = "ECDHE+AES128+AESGCM:ECDHE+AESGCM:ECDHE+CHACHA20";
static const char suites_13[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char groups[] = "X25519:P-256:P-384";
static const char signatures[] = "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ed25519:"
                                 "RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512:"
                                 "RSA+SHA256:RSA+SHA384:RSA+SHA512";
enum {
    TICKET_LIFE_S = 2 * 3600, /* so long a client's certificate is taken as read */
    STRENGTH = 2,             /* OpenSSL's security level for peers */
    CHAIN_MAX = 16,           /* certificates of ours after the leaf */
    TRUST_MAX = 4096,         /* certificates in one ca */
};

static enum err bad(struct buf *why, const char *part, const char *what)
{
    ERR_clear_error();
    buf_printf(why, "%s: %s", part, what);
    return ERR_SYNTAX;
}

/* ---- trust ---- */

static enum err trust_pem(X509_STORE *store, sv pem, const char *part, struct buf *why)
{
    BIO *b = pem_open(pem);
    X509 *x;
    int n = 0;
    if (!b)
        return ERR_NOMEM;
    while (n < TRUST_MAX && (x = pem_next(b))) {
        n += X509_STORE_add_cert(store, x) == 1;
        X509_free(x);
    }
    BIO_free(b);
    ERR_clear_error();
    return n > 0 ? ERR_OK : bad(why, part, "no certificate in it");
}

/* A certificate in ca is trusted as it stands, also an intermediate one or a peer's own. */
static enum err store_new(const struct tls_config *c, struct buf *why, X509_STORE **ret_store)
{
    X509_STORE *store = X509_STORE_new();
    enum err rc = ERR_OK;
    if (!store)
        return ERR_NOMEM;
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST);
    if (sv_present(c->ca))
        rc = trust_pem(store, c->ca, "ca", why);
    else
        X509_STORE_set_default_paths(store); /* a system without one: nobody is trusted */
    if (!rc && sv_present(c->ca_own))
        rc = trust_pem(store, c->ca_own, "our own ca", why);
    ERR_clear_error();
    if (rc)
        X509_STORE_free(store);
    else
        *ret_store = store;
    return rc;
}

/* A ticket of one trust is of no use under another: the client's certificate was verified then. */
static void mark_trust(const struct tls_config *c, uint8_t mark[static SHA256_LEN])
{
    uint8_t head[2] = {(uint8_t)c->clients, sv_present(c->ca)};
    uint64_t n = c->ca.n;
    sv pieces[] = {{(char *)head, sizeof(head)}, {(char *)&n, sizeof(n)}, c->ca, c->ca_own};
    crypto_sha256(pieces, 4, mark);
}

static enum err set_trust(struct tls *t, const struct tls_config *c, struct buf *why)
{
    const struct tls *b = c->before;
    mark_trust(c, t->trust);
    if (!b || memcmp(b->trust, t->trust, sizeof(t->trust)) != 0)
        return store_new(c, why, &t->store);
    X509_STORE_up_ref(b->store);
    t->store = b->store;
    return ERR_OK;
}

/* ---- contexts ---- */

static SSL_CTX *ctx_new(const struct tls *t, const struct tls_config *c, const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (!ctx)
        return NULL;
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(ctx, 1); /* see bio_read */
    SSL_CTX_set_security_level(ctx, STRENGTH);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ctx, TICKET_LIFE_S);
    SSL_CTX_set_cert_verify_callback(ctx, tls_stream_verify, NULL);
    SSL_CTX_set_msg_callback(ctx, tls_stream_message);
    /* OpenSSL's own idea of purposes knows nothing of SIP: tls_peer_may. */
    bool ok = SSL_CTX_set_purpose(ctx, X509_PURPOSE_ANY) &&
              SSL_CTX_set_min_proto_version(ctx, c->only_13 ? TLS1_3_VERSION : TLS1_2_VERSION) &&
              SSL_CTX_set_cipher_list(ctx, suites_12) && SSL_CTX_set_ciphersuites(ctx, suites_13) &&
              SSL_CTX_set1_groups_list(ctx, groups) && SSL_CTX_set1_sigalgs_list(ctx, signatures) &&
              SSL_CTX_set_session_id_context(ctx, t->trust, sizeof(t->trust)) == 1;
    SSL_CTX_set1_cert_store(ctx, t->store);
    if (ok)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

/* A weak certificate of our own is the operator's decision: the level gives way to it. */
static bool use_leaf(SSL_CTX *ctx, X509 *leaf)
{
    for (int level = STRENGTH; level >= 0; level--) {
        SSL_CTX_set_security_level(ctx, level);
        if (SSL_CTX_use_certificate(ctx, leaf) == 1)
            return true;
    }
    return false;
}

static enum err use_pair(SSL_CTX *ctx, const struct tls_pair *pair, struct buf *why,
                         X509 **ret_leaf)
{
    BIO *b = pem_open(pair->certificate);
    X509 *leaf = b ? pem_next(b) : NULL, *x;
    EVP_PKEY *key = pem_key(pair->key);
    enum err rc = ERR_OK;
    if (!leaf)
        rc = bad(why, "certificate", "no PEM certificate in it");
    else if (!key)
        rc = bad(why, "key", "no PEM private key in it, or one with a passphrase");
    else if (X509_check_private_key(leaf, key) != 1)
        rc = bad(why, "key", "does not belong to the certificate");
    else if (!use_leaf(ctx, leaf) || SSL_CTX_use_PrivateKey(ctx, key) != 1)
        rc = bad(why, "certificate", "of a kind that TLS does not know");
    for (int i = 0; !rc && i < CHAIN_MAX && (x = pem_next(b)); i++)
        if (SSL_CTX_add0_chain_cert(ctx, x) != 1) {
            X509_free(x);
            rc = bad(why, "certificate", "too weak a chain");
        }
    EVP_PKEY_free(key);
    BIO_free(b);
    if (rc)
        X509_free(leaf);
    else
        *ret_leaf = leaf;
    return rc;
}

/* ---- what a ClientHello asks for ---- */

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    const struct tls *t = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert;
    if (!name)
        return SSL_TLSEXT_ERR_NOACK;
    for (size_t i = 0; i < t->n; i++) {
        if (X509_check_host(t->pair[i].leaf, name, 0, 0, NULL) != 1)
            continue;
        if (i > 0)
            SSL_set_SSL_CTX(ssl, t->pair[i].ctx);
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

/* RFC 7301 §3.2. Who offers only what we do not know is not refused: SIP over TLS did without ALPN
 * for long, and phones differ in what they write there. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                   const unsigned char *in, unsigned in_n, void *arg)
{
    static const sv known[] = {{"http/1.1", 8}, {"sip/2", 5}};
    (void)ssl;
    (void)arg;
    for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++)
        for (unsigned i = 0; i < in_n && in[i] < in_n - i; i += 1u + in[i])
            if (sv_eq((sv){(const char *)in + i + 1, in[i]}, known[k])) {
                *out = in + i + 1;
                *out_n = in[i];
                return SSL_TLSEXT_ERR_OK;
            }
    return SSL_TLSEXT_ERR_NOACK;
}

static enum err add_pair(struct tls *t, const struct tls_config *c, struct buf *why)
{
    static const int mode[] = {
        [TLS_CLIENTS_NONE] = SSL_VERIFY_NONE,
        [TLS_CLIENTS_OPTIONAL] = SSL_VERIFY_PEER,
        [TLS_CLIENTS_REQUIRED] = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
    };
    struct tls_served *p = &t->pair[t->n];
    uint8_t key[TLS_TICKET_KEY];
    p->ctx = ctx_new(t, c, TLS_server_method());
    if (!p->ctx)
        return ERR_NOMEM;
    t->n++;
    TRY(use_pair(p->ctx, &c->pairs[t->n - 1], why, &p->leaf));
    SSL_CTX_set_verify(p->ctx, mode[c->clients], NULL);
    SSL_CTX_set_tlsext_servername_callback(p->ctx, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(p->ctx, t);
    SSL_CTX_set_alpn_select_cb(p->ctx, on_alpn, NULL);
    SSL_CTX_set_num_tickets(p->ctx, 1);
    memcpy(key, c->ticket_key, sizeof(key));
    bool ok = SSL_CTX_set_tlsext_ticket_keys(p->ctx, key, sizeof(key)) == 1;
    crypto_wipe(key, sizeof(key));
    usec ends = tls_time_of(X509_get0_notAfter(p->leaf));
    if (ends < t->expires)
        t->expires = ends;
    return ok ? ERR_OK : ERR_NOMEM;
}

static enum err fill(struct tls *t, const struct tls_config *c, struct buf *why)
{
    X509 *leaf;
    for (size_t i = 0; i < c->n; i++) {
        enum err rc = add_pair(t, c, why);
        if (rc == ERR_SYNTAX && c->n > 1)
            buf_printf(why, " (pair %zu of %zu)", i + 1, c->n);
        TRY(rc);
    }
    t->client = ctx_new(t, c, TLS_client_method());
    if (!t->client)
        return ERR_NOMEM;
    SSL_CTX_set_options(t->client, SSL_OP_NO_TICKET);
    if (c->n > 0) {
        TRY(use_pair(t->client, &c->pairs[0], why, &leaf));
        X509_free(leaf);
        SSL_CTX_set_security_level(t->client, STRENGTH);
    }
    return ERR_OK;
}

enum err tls_new(const struct tls_config *c, struct buf *why, struct tls **ret_tls)
{
    if (c->n > TLS_PAIRS_MAX) {
        buf_printf(why, "more than %d certificates", TLS_PAIRS_MAX);
        return ERR_SYNTAX;
    }
    struct tls *t = MEM_NEW(struct tls);
    if (!t)
        return ERR_NOMEM;
    atomic_init(&t->refs, 1);
    t->clients = c->clients;
    t->expires = USEC_NEVER;
    enum err rc = set_trust(t, c, why);
    if (!rc)
        rc = fill(t, c, why);
    ERR_clear_error();
    if (rc)
        tls_unref(t);
    else
        *ret_tls = t;
    return rc;
}

struct tls *tls_ref(struct tls *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void tls_unref(struct tls *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < t->n; i++) {
        SSL_CTX_free(t->pair[i].ctx);
        X509_free(t->pair[i].leaf);
    }
    SSL_CTX_free(t->client);
    X509_STORE_free(t->store);
    mem_free(t);
}

void tls_fingerprint(const struct tls *t, struct buf *b)
{
    if (t->n > 0)
        pem_put_fingerprint(t->pair[0].leaf, b);
}

usec tls_expires(const struct tls *t)
{
    return t->expires;
}
