/* SPDX-License-Identifier: MIT */
/* ice/ice.h: candidates, credentials and checks: what both kinds of ICE agent share.   layer: media
 *
 * Spec    RFC 8445 §5.1 (candidates, priorities, foundations), §7.2.2, §7.3 (credentials, requests), §16;
 *         RFC 8839 §5.1, §5.4 (their text in SDP); RFC 8421 §4 (both families in turn).
 * Agents  ice/ice_lite.h answers checks (the side of a server), ice/ice_agent.h makes them.
 * Shape   values and pure functions of them.
 * Chance  credentials are made of octets that the caller draws, and that nobody can guess.
 * Threads any. No globals.
 */
#ifndef ICE_ICE_H
#define ICE_ICE_H
#include "sdp/sdp.h"
#include "stun/stun.h"

/* ICE_UFRAG_MAX, ICE_PWD_MAX: of a peer (RFC 8839 §5.4). ICE_CHECK_MAX: a request or answer of ours. */
enum {
    ICE_UFRAG_MAX = 256,
    ICE_PWD_MAX = 256,
    ICE_UFRAG_LEN = 8,
    ICE_PWD_LEN = 24,
    ICE_SEED = 24,
    ICE_COMPONENTS_MAX = 2,
    ICE_FOUNDATION_MAX = 32,
    ICE_CHECK_MAX = 768
};

/* ---- credentials ---- */

/* Ours: 48 bits that name it, 144 that prove it (RFC 8445 §5.3: 24 and 128 at least). */
struct ice_secret {
    char ufrag[ICE_UFRAG_LEN], pwd[ICE_PWD_LEN];
};
void ice_secret_make(const uint8_t seed[static ICE_SEED], struct ice_secret *ret_secret);
void ice_secret_wipe(struct ice_secret *s);
static inline sv ice_ufrag(const struct ice_secret *s)
{
    return (sv){s->ufrag, sizeof s->ufrag};
}
static inline sv ice_pwd(const struct ice_secret *s)
{
    return (sv){s->pwd, sizeof s->pwd};
}
/* Of a peer: lengths and characters of RFC 8839 §5.4 (4 to 256, 22 to 256, letters, digits, + and /). */
bool ice_credentials_hold(sv ufrag, sv pwd);

/* ---- candidates ---- */

enum ice_type { ICE_HOST, ICE_SRFLX, ICE_PRFLX, ICE_RELAY };
struct ice_candidate {
    enum ice_type type;
    uint8_t component; /* 1, 2 */
    uint8_t
        socket; /* of ours: the caller's number of where it sends from and receives (its base) */
    uint32_t priority;
    struct addr addr; /* where a peer reaches it */
    struct addr base; /* of ours: where it is sent from; host and relayed ones: addr */
    char foundation[ICE_FOUNDATION_MAX];
    uint8_t foundation_n;
};

/* RFC 8445 §5.1.2.1 with the recommended preferences of types. */
uint32_t ice_priority(enum ice_type type, uint16_t local_preference, unsigned component);
/* Local preferences of n addresses that stand in order of preference within their family: IPv6 begins, IPv4 comes
 * between them before long (RFC 8421 §4). Each is unique. */
void ice_local_preferences(const struct addr *a, size_t n, uint16_t *ret_preferences);
/* RFC 8445 §6.1.2.3; of priorities below 2^31. */
uint64_t ice_pair_priority(uint32_t controlling, uint32_t controlled);
/* Of a candidate of ours: the same for the same type, base address and server (RFC 8445 §5.1.1.3).
 *   server  that it was learned from; NULL: host */
void ice_foundation(struct ice_candidate *c, const struct addr *server);

/* What SDP says of a candidate, as one. False: it is to be ignored (a name, TCP, a component that we do not have, an
 * unknown type, an address that nobody can be reached at). */
bool ice_candidate_read(const struct sdp_candidate *sdp, struct ice_candidate *ret_candidate);
/* The value of its a=candidate (RFC 8839 §5.1). */
void ice_candidate_put(struct buf *b, const struct ice_candidate *c);

/* ---- checks ---- */

/* A Binding request that was proven by our password, or what is wrong with it. */
struct ice_check {
    struct stunmsg m;
    sv theirs;     /* the sender's ufrag */
    unsigned code; /* 0: proven; else it is answered with this error */
    enum stun_integrity integrity;
    bool use_candidate, has_priority;
    enum { ICE_NO_ROLE, ICE_CONTROLLED, ICE_CONTROLLING } role; /* the sender's */
    uint32_t priority;
    uint64_t tiebreaker;
};
/* Reads a request for `ours`, in constant time where it compares. False: to be ignored (no Binding request, no
 * FINGERPRINT, RFC 8445 §7.3).
 *   ret_check  views into octets; with a code other than 0 nothing of it is proven, but of 420 */
bool ice_check_read(sv octets, const struct ice_secret *ours, struct ice_check *ret_check);
/* The answer to it: success with the address that it came from, or the error of its code. */
void ice_check_answer(struct buf *b, const struct ice_check *c, const struct addr *from,
                      const struct ice_secret *ours);

#endif
