/* SPDX-License-Identifier: MIT */
/* crypto/crypto.c: digests over OpenSSL's EVP.
 *
 * The algorithms are fetched once (a fetch by name takes locks and costs more than the hash). Each
 * thread keeps one context an algorithm, so hashing does not allocate; a thread's end frees them.
 */
#include "crypto/crypto.h"
#include "mem/mem.h"
#include <assert.h>
#include <errno.h>
#define ERR_STATE openssl_err_state /* OpenSSL has a type of this name, we a value */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#undef ERR_STATE
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

enum { HMAC_BLOCK = 64, JOINT = 256 }; /* a block of SHA-1 and of SHA-256 */

enum algorithm { ALG_MD5, ALG_SHA1, ALG_SHA256, ALGS };

static EVP_MD *md[ALGS];
static pthread_key_t contexts_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool started;

struct contexts {
    EVP_MD_CTX *of[ALGS];
};
static _Thread_local struct contexts *mine;

static void contexts_free(void *arg)
{
    struct contexts *c = arg;
    for (int i = 0; i < ALGS; i++)
        EVP_MD_CTX_free(c->of[i]);
    free(c);
}

/* OpenSSL takes its memory from us: a handshake is some 1,500 allocations, always of the same sizes. */
static void *lib_alloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return mem_lib_alloc(n);
}

static void *lib_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return mem_lib_realloc(p, n);
}

static void lib_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    mem_lib_free(p);
}

static void start_once(void)
{
    /* Refused when OpenSSL has memory of the heap's already: then it stays with that. */
    (void)CRYPTO_set_mem_functions(lib_alloc, lib_realloc, lib_free);
    static const char *const name[ALGS] = {
        [ALG_MD5] = "MD5", [ALG_SHA1] = "SHA1", [ALG_SHA256] = "SHA256"};
    for (int i = 0; i < ALGS; i++) {
        md[i] = EVP_MD_fetch(NULL, name[i], NULL);
        if (!md[i])
            return;
    }
    started = pthread_key_create(&contexts_key, contexts_free) == 0;
}

enum err crypto_start(void)
{
    pthread_once(&once, start_once);
    return started ? ERR_OK : ERR_UNSUPPORTED;
}

/* A thread's first hash makes its contexts. Without memory for these few hundred octets no answer
 * could be computed or refused, so the process ends; a peer cannot bring this about later. */
static EVP_MD_CTX *context(enum algorithm alg)
{
    assert(started);
    if (!mine) {
        struct contexts *c = calloc(1, sizeof *c);
        for (int i = 0; c && i < ALGS; i++)
            if (!(c->of[i] = EVP_MD_CTX_new()) || EVP_DigestInit_ex2(c->of[i], md[i], NULL) != 1)
                abort();
        if (!c || pthread_setspecific(contexts_key, c) != 0)
            abort();
        mine = c;
    }
    return mine->of[alg];
}

static void check(int ok)
{
    if (ok != 1)
        abort(); /* a digest of fetched algorithms has no way to fail but a broken library */
}

/* Short pieces are put together: a call of the library costs more than their copy. */
static void digest(enum algorithm alg, const sv *pieces, size_t n, uint8_t *ret_digest)
{
    char joint[JOINT];
    size_t at = 0;
    EVP_MD_CTX *ctx = context(alg);
    check(EVP_DigestInit_ex2(ctx, NULL, NULL));
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].n > sizeof joint - at) {
            check(EVP_DigestUpdate(ctx, joint, at));
            at = 0;
        }
        if (pieces[i].n > sizeof joint) {
            check(EVP_DigestUpdate(ctx, pieces[i].p, pieces[i].n));
        } else if (pieces[i].n > 0) {
            memcpy(joint + at, pieces[i].p, pieces[i].n);
            at += pieces[i].n;
        }
    }
    check(EVP_DigestUpdate(ctx, joint, at));
    check(EVP_DigestFinal_ex(ctx, ret_digest, NULL));
    crypto_wipe(joint, sizeof joint);
}

void crypto_md5(const sv *pieces, size_t n, uint8_t ret_digest[static MD5_LEN])
{
    digest(ALG_MD5, pieces, n, ret_digest);
}

void crypto_sha256(const sv *pieces, size_t n, uint8_t ret_digest[static SHA256_LEN])
{
    digest(ALG_SHA256, pieces, n, ret_digest);
}

/* RFC 2104 §2: H(K xor opad, H(K xor ipad, text)); keys longer than a block are hashed first. */
static void hmac(enum algorithm alg, size_t len, sv key, const sv *pieces, size_t n,
                 uint8_t *ret_mac)
{
    uint8_t pad[HMAC_BLOCK] = {0}, inner[SHA256_LEN];
    if (key.n > sizeof pad)
        digest(alg, &key, 1, pad);
    else if (key.n)
        memcpy(pad, key.p, key.n);

    EVP_MD_CTX *ctx = context(alg);
    for (size_t i = 0; i < sizeof pad; i++)
        pad[i] ^= 0x36;
    check(EVP_DigestInit_ex2(ctx, NULL, NULL));
    check(EVP_DigestUpdate(ctx, pad, sizeof pad));
    for (size_t i = 0; i < n; i++)
        check(EVP_DigestUpdate(ctx, pieces[i].p, pieces[i].n));
    check(EVP_DigestFinal_ex(ctx, inner, NULL));

    for (size_t i = 0; i < sizeof pad; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    check(EVP_DigestInit_ex2(ctx, NULL, NULL));
    check(EVP_DigestUpdate(ctx, pad, sizeof pad));
    check(EVP_DigestUpdate(ctx, inner, len));
    check(EVP_DigestFinal_ex(ctx, ret_mac, NULL));
    crypto_wipe(pad, sizeof pad);
    crypto_wipe(inner, sizeof inner);
}

void crypto_hmac_sha1(sv key, const sv *pieces, size_t n, uint8_t ret_mac[static SHA1_LEN])
{
    hmac(ALG_SHA1, SHA1_LEN, key, pieces, n, ret_mac);
}

void crypto_hmac_sha256(sv key, const sv *pieces, size_t n, uint8_t ret_mac[static SHA256_LEN])
{
    hmac(ALG_SHA256, SHA256_LEN, key, pieces, n, ret_mac);
}

bool crypto_equal(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

void crypto_wipe(void *p, size_t n)
{
    OPENSSL_cleanse(p, n);
}

enum err crypto_random(void *p, size_t n)
{
    uint8_t *at = p;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ERR_IO;
        at += got;
        n -= (size_t)got;
    }
    return ERR_OK;
}
