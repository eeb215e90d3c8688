/* SPDX-License-Identifier: MIT */
/* auth/auth.h: Digest access authentication, both sides.                        layer: sip
 *
 * Spec    RFC 7616, RFC 8760, RFC 3261 §22; RFC 2069 clients (no qop) are refused.
 * Nonces  stateless: time, 64 random bits and a MAC of 96 bits (SipHash-2-4) over them, the source
 * address and the realm under the process's secret; good for every algorithm allowed; valid for AUTH_NONCE_LIFE. The
 * nonce count must rise strictly: a fixed-size sharded table keeps the highest count per nonce in
 * use; when an entry is pushed out, older nonces of its set become stale, so a replay never passes.
 * Secrets HA1 only; comparison in constant time; an unknown user costs and looks the same as a
 * wrong password (D1, D38). Threads auth_verifier_*: any. Client side: the caller's.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H
#include "clock/clock.h"
#include "crypto/crypto.h"
#include "sipmsg/sipmsg.h"
#include "sock/addr.h"

#define AUTH_NONCE_LIFE (5 * USEC_MIN)

enum auth_algorithm { AUTH_MD5, AUTH_SHA256, AUTH_ALGORITHMS };
enum auth_mode { AUTH_MODE_AUTO, AUTH_MODE_LIST };

/* What a directory knows of an account. */
struct auth_ha1 {
    uint8_t md5[MD5_LEN];
    uint8_t sha256[SHA256_LEN];
    bool has_md5, has_sha256;
};
/* MD5 and SHA-256 of user:realm:password. */
void auth_ha1(sv user, sv realm, sv password, struct auth_ha1 *ret_ha1);

/* security.digest: AUTO: exactly one challenge, SHA-256 to user agents known to take it (by
 * User-Agent alone), MD5 to the rest; LIST: all of list, in that order. */
struct auth_policy {
    enum auth_mode mode;
    enum auth_algorithm list[AUTH_ALGORITHMS];
    unsigned n;
};

/* Credentials in this algorithm may be taken: what was not offered is not (RFC 7616 §5.7, D3). */
bool auth_allows(const struct auth_policy *p, enum auth_algorithm algorithm);

struct auth_verifier;
/* secret: of the nonces; counts: entries of the nonce count table. Errors: ERR_NOMEM. */
MUST_USE enum err auth_verifier_new(const uint8_t secret[static 32], size_t counts,
                                    struct auth_verifier **ret_v);
void auth_verifier_free(struct auth_verifier *v);

/* Challenge lines for 401 (proxy: false) or 407: "WWW-Authenticate: Digest realm=…, nonce=…,
 * algorithm=…, qop=\"auth\"…\r\n". Quoted strings are escaped. user_agent: of the request, may be
 * absent. */
void auth_challenge(struct auth_verifier *v, struct buf *b, const struct auth_policy *p, bool proxy,
                    sv realm, const struct addr *source, sv user_agent, usec wall, uint64_t chance,
                    bool stale);

/* The credentials of req for realm, read but not yet judged. */
struct auth_claim {
    sv username; /* unquoted, in req's arena */
    sv realm, nonce, uri, response, cnonce, nc_text;
    enum auth_algorithm algorithm;
    uint32_t nc;
    /* Set by the caller before auth_verify: the digest URI names this server without a user.
     * Some clients (SIPp) hash the address that
     * they send to instead of the Request-URI; what a replay could gain by that, the rising nonce count takes away. */
    bool uri_names_us;
};
/* Errors: ERR_NOTFOUND (none for this realm: challenge), ERR_SYNTAX (malformed Digest: 400),
 * ERR_UNSUPPORTED (other scheme or algorithm: challenge). */
MUST_USE enum err auth_read(struct sipmsg *req, bool proxy, sv realm, struct auth_claim *ret_claim);

enum auth_verdict {
    AUTH_OK,
    AUTH_STALE, /* right or wrong, the nonce is too old, another source's, not ours, or its count
                   was used: challenge with stale=true when the response was right, else plain */
    AUTH_WRONG
};
/* ha1 NULL: no such user: same work, AUTH_WRONG. The digest URI must equal the Request-URI by
 * comparison (§22.4.8 tolerance: equal as text or as URI). */
enum auth_verdict auth_verify(struct auth_verifier *v, struct sipmsg *req,
                              const struct auth_claim *c, const struct auth_ha1 *ha1,
                              const struct addr *source, usec wall);

/* ---- client ---- */
/* The best challenge of resp (SHA-256 before MD5; qop auth) answered: the header line
 * "Authorization: Digest …\r\n" or "Proxy-Authorization: …". Errors: ERR_NOTFOUND (no challenge
 * that we can answer), ERR_SYNTAX. nc: 1 for a fresh nonce. */
MUST_USE enum err auth_answer(struct buf *b, struct sipmsg *resp, sv method, sv uri, sv user,
                              sv password, sv cnonce, uint32_t nc);
/* The same from what is stored of a password: ha1 was made for user in realm, and answers only
 * challenges of that realm, in an algorithm that it has. Errors: as auth_answer. */
MUST_USE enum err auth_answer_ha1(struct buf *b, struct sipmsg *resp, sv method, sv uri, sv user,
                                  sv realm, const struct auth_ha1 *ha1, sv cnonce, uint32_t nc);

#endif
