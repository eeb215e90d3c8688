/* SPDX-License-Identifier: MIT */
/* srtp/srtp_priv.h: keys and ciphers below the packets. */
#ifndef SRTP_SRTP_PRIV_H
#define SRTP_SRTP_PRIV_H
#include "crypto/crypto.h"
#include "srtp/srtp.h"
#define ERR_STATE openssl_err_state /* OpenSSL has a type of this name, we a value */
#include <openssl/evp.h>
#undef ERR_STATE

/* RFC 3711 §9.2, §3.3.1, §3.4. */
#define SRTP_PACKETS_MAX  (1ULL << 48)
#define SRTCP_PACKETS_MAX (1ULL << 31)
#define SRTP_INDEX_MAX    (SRTP_PACKETS_MAX - 1)
#define SRTCP_INDEX_MAX   (SRTCP_PACKETS_MAX - 1)

enum { GCM_TAG = 16, GCM_IV = 12, AES_BLOCK = 16 };

struct srtp_engine {
    EVP_CIPHER *ecb[2], *gcm[2];               /* AES-128, AES-256 */
    EVP_CIPHER_CTX *ecb_once[2], *gcm_once[2]; /* given their key each time */
};

/* RFC 3711 §4.3.2: what a master key gives for RTP, and again for RTCP. */
struct srtp_session {
    uint8_t key[SRTP_KEY_MAX], salt[SRTP_SALT_MAX], auth[SHA1_LEN];
};
enum {
    SRTP_LABEL_RTP = 0,
    SRTP_LABEL_RTCP = 3
}; /* of the key; then the authentication key, the salt */

/* n octets of the key stream of RFC 3711 §4.3.3 for this label.
 *   key    of 16 or 32 octets; salt up to 14 */
void srtp_derive(struct srtp_engine *e, sv key, sv salt, uint8_t label, uint8_t *ret, size_t n);

/* Keys of a suite from its master key and salt, together in master. Errors: ERR_NOMEM. */
MUST_USE enum err srtp_keys_init(struct srtp_keys *k, struct srtp_engine *e, enum srtp_role role,
                                 enum srtp_suite suite, const uint8_t *master);
/* The same from what is derived; k->suite is set. */
MUST_USE enum err srtp_keys_session(struct srtp_keys *k, struct srtp_engine *e, enum srtp_role role,
                                    const struct srtp_session *rtp,
                                    const struct srtp_session *rtcp);
void srtp_keys_done(struct srtp_keys *k);
/* A packet was authentic with the present keys: those before may have to go. */
void srtp_keys_proven(struct srtp_context *c, bool began_anew);

static inline bool srtp_window_empty(const struct srtp_window *w)
{
    return !(w->seen[0] & 1);
}

/* The ith of those that are here. */
struct srtp_stream *srtp_stream_at(const struct srtp_context *c, unsigned i);
/* NULL: not here. */
struct srtp_stream *srtp_stream_find(struct srtp_context *c, uint32_t ssrc);
/* One that is not here. NULL: over the cap, no memory. */
struct srtp_stream *srtp_stream_add(struct srtp_context *c, uint32_t ssrc);
/* A packet of it was sent or taken: it is looked for first. */
void srtp_stream_used(struct srtp_context *c, const struct srtp_stream *s);

void srtp_hmac_key(struct srtp_hmac *h, const uint8_t key[static SHA1_LEN]);
void srtp_hmac(const struct srtp_hmac *h, const uint8_t *p, size_t n,
               uint8_t ret_mac[static SHA1_LEN]);

/* What one packet needs of its keys. */
struct srtp_packet {
    const struct srtp_keys *keys;
    struct srtp_engine *engine;
    uint8_t *p;
    size_t header, n; /* what is not encrypted; all without what SRTP adds behind it */
    uint32_t ssrc;
    uint64_t index;
};
/* Encrypts and puts behind it what belongs there; so many octets. */
size_t srtp_seal_rtp(const struct srtp_packet *q);
size_t srtp_seal_rtcp(const struct srtp_packet *q);
/* Authentic: it is decrypted. Otherwise the octets are as they were. */
bool srtp_open_rtp(const struct srtp_packet *q);
bool srtp_open_rtcp(const struct srtp_packet *q);

#endif
