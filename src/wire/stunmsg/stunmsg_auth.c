/* SPDX-License-Identifier: MIT */
/* stunmsg/stunmsg_auth.c: integrity, and keys of passwords. Spec RFC 8489 §9, §14.4-14.6, §14.11, §18.1, §18.5.
 *
 *   | header, attributes ...            | MESSAGE-INTEGRITY | what else stands there
 *   '----- covered by the MAC ----------'                   '
 *          its length field says:  ------------------------>|                                       */
#include "crypto/crypto.h"
#include "stunmsg/stunmsg.h"

#include "stunmsg/stunmsg_priv.h"

enum { ATTRIBUTE_HEADER = 4, FEATURES = 3 };
static const sv nonce_begins = {"obMatJos2", STUN_NONCE_COOKIE - 4};

void stun_mac(enum stun_integrity which, sv key, sv message, size_t end, size_t value_n,
              uint8_t ret_mac[static STUN_SHA256_VALUE])
{
    size_t length = end - STUN_HEADER + ATTRIBUTE_HEADER + value_n;
    const char adjusted[2] = {(char)(length >> 8), (char)length};
    const sv pieces[] = {sv_sub(message, 0, 2), {adjusted, 2}, sv_sub(message, 4, end)};
    if (which == STUN_SHA256)
        crypto_hmac_sha256(key, pieces, 3, ret_mac);
    else
        crypto_hmac_sha1(key, pieces, 3, ret_mac);
}

/* The attribute that counts. */
static enum stun_integrity find_integrity(const struct stunmsg *m, struct stun_attr *ret_attr)
{
    if (stunmsg_find(m, STUN_MESSAGE_INTEGRITY_SHA256, ret_attr))
        return STUN_SHA256;
    return stunmsg_find(m, STUN_MESSAGE_INTEGRITY, ret_attr) ? STUN_SHA1 : STUN_UNSIGNED;
}

enum stun_integrity stunmsg_integrity(const struct stunmsg *m)
{
    struct stun_attr a;
    return find_integrity(m, &a);
}

enum err stunmsg_verify(const struct stunmsg *m, sv key, size_t sha256_min)
{
    struct stun_attr a;
    uint8_t mac[STUN_SHA256_VALUE];
    enum stun_integrity which = find_integrity(m, &a);
    if (which == STUN_UNSIGNED)
        return ERR_NOTFOUND;
    if (sha256_min < STUN_SHA256_MIN)
        sha256_min = STUN_SHA256_MIN; /* §14.6: MUST be at least 16 */
    bool sized = which == STUN_SHA1 ? a.value.n == STUN_SHA1_VALUE
                                    : a.value.n >= sha256_min && a.value.n <= STUN_SHA256_VALUE &&
                                          a.value.n % 4 == 0;
    if (!sized)
        return ERR_SYNTAX;
    stun_mac(which, key, m->text, a.at, a.value.n, mac);
    bool same = crypto_equal(mac, a.value.p, a.value.n);
    crypto_wipe(mac, sizeof mac);
    return same ? ERR_OK : ERR_AUTH;
}

/* ---- keys ---- */

static sv without_zeros(sv s)
{
    while (s.n > 0 && s.p[s.n - 1] == 0)
        s.n--;
    return s;
}

static sv without_quotes(sv s)
{
    s = without_zeros(s);
    return s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"' ? sv_sub(s, 1, s.n - 1) : s;
}

size_t stun_key(enum stun_algorithm algorithm, sv user, sv realm, sv password,
                uint8_t ret_key[static STUN_KEY_MAX])
{
    const sv pieces[] = {without_quotes(user), SV(":"), without_quotes(realm), SV(":"),
                         without_zeros(password)};
    switch (algorithm) {
    case STUN_ALGORITHM_MD5:
        crypto_md5(pieces, 5, ret_key);
        return MD5_LEN;
    case STUN_ALGORITHM_SHA256:
        break;
    }
    crypto_sha256(pieces, 5, ret_key);
    return SHA256_LEN;
}

void stun_userhash(sv user, sv realm, uint8_t ret_hash[static STUN_USERHASH_LEN])
{
    crypto_sha256((sv[]){user, SV(":"), realm}, 3, ret_hash);
}

enum err stunmsg_algorithm_next(sv *list, uint16_t *ret_algorithm, sv *ret_parameters)
{
    sv rest = *list;
    if (rest.n == 0)
        return ERR_NOTFOUND;
    if (rest.n < 4)
        return ERR_SYNTAX;
    size_t n = stun_get_u16(rest, 2);
    if (n > rest.n - 4)
        return ERR_SYNTAX;
    *ret_algorithm = stun_get_u16(rest, 0);
    *ret_parameters = sv_sub(rest, 4, 4 + n);
    *list = sv_sub(rest, 4 + stun_padded(n), rest.n); /* the last may be without its padding */
    return ERR_OK;
}

/* ---- nonces ---- */

void stun_put_nonce_cookie(struct buf *b, uint32_t features)
{
    const uint8_t octets[FEATURES] = {(uint8_t)(features >> 16), (uint8_t)(features >> 8),
                                      (uint8_t)features};
    buf_put(b, nonce_begins);
    crypto_base64(b, octets, sizeof octets);
}

bool stun_nonce_features(sv nonce, uint32_t *ret_features)
{
    char text[4];
    uint8_t octets[FEATURES];
    size_t n;
    if (nonce.n < STUN_NONCE_COOKIE || !sv_starts(nonce, nonce_begins))
        return false;
    for (size_t i = 0; i < sizeof text; i++) { /* base64 as the alphabet that is read here */
        char c = nonce.p[nonce_begins.n + i];
        text[i] = c == '+' ? '-' : c == '/' ? '_' : c;
    }
    if (crypto_base64url_decode((sv){text, sizeof text}, octets, sizeof octets, &n) ||
        n != FEATURES)
        return false;
    *ret_features = (uint32_t)octets[0] << 16 | (uint32_t)octets[1] << 8 | octets[2];
    return true;
}
