/* SPDX-License-Identifier: MIT */
/* dtls/dtls_trust.c: fingerprints (RFC 8122 §5): is the certificate the one that was named? */
#include "dtls/dtls_priv.h"
#include "mem/mem.h"

/* The strongest last: "an endpoint MUST select the set of fingerprints that use its most preferred
 * hash function (out of those offered by the peer)". */
static const struct {
    const char *name;
    size_t n;
    const EVP_MD *(*md)(void);
} hashes[DTLS_HASHES] = {
    [DTLS_SHA_256] = {"sha-256", 32, EVP_sha256},
    [DTLS_SHA_384] = {"sha-384", 48, EVP_sha384},
    [DTLS_SHA_512] = {"sha-512", 64, EVP_sha512},
};

/* DTLS_HASHES: none of ours. RFC 8122 §5: "MUST NOT use the MD2 and MD5 hash functions"; nor SHA-1, of which
 * collisions have been made. */
static unsigned hash_of(sv name)
{
    unsigned h = 0;
    while (h < DTLS_HASHES && !sv_ieq(name, sv_of(hashes[h].name)))
        h++;
    return h;
}

bool dtls_hash_accepted(sv hash)
{
    return hash_of(hash) < DTLS_HASHES;
}

/* The strongest kind. ERR_UNSUPPORTED: there is none. A digest of the wrong size is none. */
static enum err select_set(const struct dtls_fingerprint *f, size_t n, struct dtls_trusted *ret)
{
    ret->n = 0;
    ret->hash = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned h = hash_of(f[i].hash);
        if (h == DTLS_HASHES || f[i].n != hashes[h].n || (ret->n > 0 && h < ret->hash))
            continue;
        if (h > ret->hash)
            ret->n = 0;
        ret->hash = h;
        if (ret->n < DTLS_TRUST_MAX)
            memcpy(ret->digest[ret->n++], f[i].digest, f[i].n);
    }
    return ret->n > 0 ? ERR_OK : ERR_UNSUPPORTED;
}

static bool holds(const struct dtls *d, const struct dtls_trusted *t)
{
    bool found = false;
    for (unsigned i = 0; d->certified && i < t->n; i++)
        found |= crypto_equal(t->digest[i], d->digest[t->hash], hashes[t->hash].n);
    return found;
}

bool dtls_trust_holds(const struct dtls *d)
{
    return d->trusted && holds(d, d->trusted);
}

bool dtls_trust_digest(struct dtls *d, const X509 *x)
{
    unsigned n;
    for (unsigned h = 0; h < DTLS_HASHES; h++)
        if (X509_digest(x, hashes[h].md(), d->digest[h], &n) != 1 || n != hashes[h].n)
            return false;
    d->certified = true;
    return true;
}

bool dtls_matches(const struct dtls *d, const struct dtls_fingerprint *f, size_t n)
{
    struct dtls_trusted t;
    return (d->state == DTLS_HELD || d->state == DTLS_KEYED) && !select_set(f, n, &t) &&
           holds(d, &t);
}

enum err dtls_trust_set(struct dtls *d, const struct dtls_fingerprint *f, size_t n)
{
    struct dtls_trusted t;
    TRY(select_set(f, n, &t));
    if (!d->trusted && !(d->trusted = MEM_TAKE(struct dtls_trusted)))
        return ERR_NOMEM;
    *d->trusted = t;
    return ERR_OK;
}
