/* SPDX-License-Identifier: MIT */
/* ice_peer.h: a connectivity check as a peer sends it (RFC 8445 §7.1), for tests and for fuzz/. */
#ifndef TESTS_MEDIA_ICE_PEER_H
#define TESTS_MEDIA_ICE_PEER_H
#include "stunmsg/stunmsg.h"

struct peer_check {
    sv ufrag, pwd;     /* of who is asked */
    const char *from;  /* the peer's own ufrag */
    uint32_t priority; /* 0: none */
    bool use, controlled;
};

/* Its octets, in b. */
static inline sv peer_check(const struct peer_check *c, struct buf *b)
{
    char name[64];
    struct buf user;
    struct stun_out o =
        stunmsg_begin(b, STUN_BINDING, STUN_REQUEST, (const uint8_t *)"transaction.");
    buf_init(&user, name, sizeof(name));
    buf_put(&user, c->ufrag);
    buf_char(&user, ':');
    buf_str(&user, c->from);
    stunmsg_put(&o, STUN_USERNAME, buf_sv(&user));
    if (c->priority)
        stunmsg_put_u32(&o, STUN_PRIORITY, c->priority);
    if (c->use)
        stunmsg_put_flag(&o, STUN_USE_CANDIDATE);
    stunmsg_put_u64(&o, c->controlled ? STUN_ICE_CONTROLLED : STUN_ICE_CONTROLLING, 7);
    stunmsg_put_integrity(&o, STUN_SHA1, c->pwd);
    stunmsg_put_fingerprint(&o);
    return buf_sv(b);
}

#endif
