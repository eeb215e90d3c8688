/* SPDX-License-Identifier: MIT */
/* offer/offer_key.c: SRTP keys as a=crypto says them.
 *
 *   tag suite inline:<base64 of key and salt>["|" lifetime]["|" MKI ":" length] [session parameters]
 *
 * Spec RFC 4568 §6, §9.2; 6188 (AES-256), 7714 §14.2 (GCM). */
#include "offer/offer.h"

#include "crypto/crypto.h"
#include "offer/offer_priv.h"

static const struct {
    const char *name;
    uint8_t key_n, salt_n;
} suites[SUITES] = {
    [SUITE_AES_CM_128_HMAC_SHA1_80] = {"AES_CM_128_HMAC_SHA1_80", 16, 14},
    [SUITE_AES_CM_128_HMAC_SHA1_32] = {"AES_CM_128_HMAC_SHA1_32", 16, 14},
    [SUITE_AES_256_CM_HMAC_SHA1_80] = {"AES_256_CM_HMAC_SHA1_80", 32, 14},
    [SUITE_AES_256_CM_HMAC_SHA1_32] = {"AES_256_CM_HMAC_SHA1_32", 32, 14},
    [SUITE_AEAD_AES_128_GCM] = {"AEAD_AES_128_GCM", 16, 12},
    [SUITE_AEAD_AES_256_GCM] = {"AEAD_AES_256_GCM", 32, 12},
};

void offer_key_lengths(enum offer_suite suite, uint8_t *ret_key_n, uint8_t *ret_salt_n)
{
    *ret_key_n = suites[suite].key_n;
    *ret_salt_n = suites[suite].salt_n;
}

sv offer_suite_name(enum offer_suite suite)
{
    return sv_of(suites[suite].name);
}

/* The standard alphabet, with its padding or without. */
static enum err unbase64(sv text, uint8_t *p, size_t cap, size_t *ret_n)
{
    char url[(OFFER_KEY_MAX + 2) / 3 * 4];
    while (text.n > 0 && text.p[text.n - 1] == '=')
        text.n--;
    if (text.n > sizeof url)
        return ERR_SYNTAX;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '-' || c == '_')
            return ERR_SYNTAX;
        url[i] = c == '+' ? '-' : c == '/' ? '_' : c;
    }
    return crypto_base64url_decode((sv){url, text.n}, p, cap, ret_n);
}

/* RFC 4568 §6.1: ["2^"] 1*DIGIT. How long a key may be used: longer than any call of ours, so only its form counts.
 */
static bool is_lifetime(sv s)
{
    uint64_t v;
    if (sv_starts(s, SV("2^")))
        s = sv_sub(s, 2, s.n);
    return sv_u64(s, UINT64_MAX, &v) == ERR_OK && v > 0;
}

/* "inline:" key-info; one key only: several need an MKI each, and ';' is no base64. */
static enum err key_info(sv params, struct offer_key *k)
{
    uint8_t octets[OFFER_KEY_MAX];
    size_t n;
    if (!sv_starts(params, SV("inline:")))
        return ERR_UNSUPPORTED;
    params = sv_sub(params, 7, params.n);
    size_t bar = sv_chr(params, '|');
    sv rest = sv_sub(params, bar + 1, params.n);
    if (bar < params.n) {
        size_t next = sv_chr(rest, '|');
        if (next < rest.n || sv_chr(rest, ':') < rest.n)
            return ERR_UNSUPPORTED; /* an MKI */
        if (!is_lifetime(rest))
            return ERR_SYNTAX;
    }
    TRY(unbase64(sv_sub(params, 0, bar), octets, sizeof octets, &n));
    if (n != (size_t)k->key_n + k->salt_n)
        return ERR_SYNTAX;
    memcpy(k->key, octets, n);
    crypto_wipe(octets, sizeof octets);
    return ERR_OK;
}

/* RFC 4568 §6.3: all are mandatory but the window's size, which is a hint, and what begins with a dash. */
static bool parameters_fit(sv params)
{
    sv word;
    while (sdp_word_next(&params, &word))
        if (word.p[0] != '-' && !sv_starts(word, SV("WSH=")))
            return false;
    return true;
}

enum err offer_key_read(sv value, struct offer_key *ret_key)
{
    struct sdp_crypto c;
    struct offer_key k = {.suite = SUITES};
    TRY(sdp_crypto_read(value, &c));
    for (enum offer_suite s = 0; s < SUITES; s++)
        if (sv_eq(c.suite, offer_suite_name(s)))
            k.suite = s;
    if (k.suite == SUITES || !parameters_fit(c.session_params))
        return ERR_UNSUPPORTED;
    k.tag = c.tag;
    offer_key_lengths(k.suite, &k.key_n, &k.salt_n);
    TRY(key_info(c.key_params, &k));
    *ret_key = k;
    return ERR_OK;
}
