/* SPDX-License-Identifier: MIT */
/* ice/ice_check.c: connectivity checks as they arrive: proven or not, and their answers (RFC 8445 §7.3, RFC 8489 §9.1.3).
 *
 * What is not proven is answered with less than it holds (D15), and changes nothing. */
#include "crypto/crypto.h"
#include "ice/ice.h"

enum { UNKNOWN_MAX = 8, IN_MAX = 1280 };

/* "ours:theirs"; the lengths are no secret. */
static bool is_for(sv username, sv ours, sv *ret_theirs)
{
    if (username.n <= ours.n || username.p[ours.n] != ':' ||
        !crypto_equal(username.p, ours.p, ours.n))
        return false;
    *ret_theirs = sv_sub(username, ours.n + 1, username.n);
    return true;
}

/* RFC 8489 §9.1.3, in its order. */
static unsigned prove(struct ice_check *c, const struct ice_secret *ours)
{
    struct stun_attr a;
    c->integrity = stunmsg_integrity(&c->m);
    if (c->integrity == STUN_UNSIGNED || !stunmsg_find(&c->m, STUN_USERNAME, &a))
        return STUN_BAD_REQUEST;
    if (!is_for(a.value, ice_ufrag(ours), &c->theirs))
        return STUN_UNAUTHENTICATED;
    return stunmsg_verify(&c->m, ice_pwd(ours), SHA256_LEN) ? STUN_UNAUTHENTICATED : 0;
}

/* What ICE says in it. Consent checks need not say any of it (RFC 7675 §5.1). */
static unsigned read_attributes(struct ice_check *c)
{
    struct stun_attr a;
    uint16_t unknown;
    if (stunmsg_unknown(&c->m, stunmsg_is_ice, &unknown, 1) > 0)
        return STUN_UNKNOWN_ATTRIBUTE;
    c->use_candidate = stunmsg_has(&c->m, STUN_USE_CANDIDATE);
    if (stunmsg_find(&c->m, STUN_PRIORITY, &a)) {
        if (stunmsg_u32(a.value, &c->priority))
            return STUN_BAD_REQUEST;
        if (c->priority > INT32_MAX) /* RFC 8445 §5.1.2: 1 to 2**31 - 1 */
            c->priority = INT32_MAX;
        c->has_priority = true;
    }
    if (stunmsg_find(&c->m, STUN_ICE_CONTROLLING, &a))
        c->role = ICE_CONTROLLING;
    else if (stunmsg_find(&c->m, STUN_ICE_CONTROLLED, &a))
        c->role = ICE_CONTROLLED;
    else
        return 0;
    return stunmsg_u64(a.value, &c->tiebreaker) ? STUN_BAD_REQUEST : 0;
}

bool ice_check_read(sv octets, const struct ice_secret *ours, struct ice_check *ret_check)
{
    struct ice_check c = {0};
    if (octets.n > IN_MAX || stunmsg_parse(octets, &c.m) || c.m.class != STUN_REQUEST ||
        c.m.method != STUN_BINDING || !c.m.fingerprint)
        return false;
    c.code = prove(&c, ours);
    if (c.code == 0)
        c.code = read_attributes(&c);
    else
        c.integrity = STUN_UNSIGNED; /* such an answer has none (§9.1.3) */
    *ret_check = c;
    return true;
}

void ice_check_answer(struct buf *b, const struct ice_check *c, const struct addr *from,
                      const struct ice_secret *ours)
{
    uint16_t unknown[UNKNOWN_MAX];
    struct stun_out o =
        stunmsg_begin(b, STUN_BINDING, c->code ? STUN_ERROR : STUN_SUCCESS, c->m.id);
    if (c->code == 0)
        stun_put_xor_addr(&o, STUN_XOR_MAPPED_ADDRESS, from);
    else
        stunmsg_put_error(&o, c->code, SV(""));
    if (c->code == STUN_UNKNOWN_ATTRIBUTE)
        stunmsg_put_unknown(&o, unknown,
                            stunmsg_unknown(&c->m, stunmsg_is_ice, unknown, UNKNOWN_MAX));
    stunmsg_put_integrity(&o, c->integrity, ice_pwd(ours));
    stunmsg_put_fingerprint(&o);
}
