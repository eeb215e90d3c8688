/* SPDX-License-Identifier: MIT */
/* stun/stun_server.c: Binding requests answered, each by itself (RFC 8489 §12): no credentials, no state, no SOFTWARE,
 * for an answer that holds more than the address would serve those who have it sent to others (D15). */
#include "stun/stun.h"

/* What is in reach of the largest answer: names of unknown attributes that the request itself held. */
enum { IN_MAX = 1280 };

bool stun_answer(sv octets, const struct addr *from, struct buf *b)
{
    struct stunmsg m;
    uint16_t unknown[STUN_ANSWER_UNKNOWN_MAX];
    if (octets.n > IN_MAX || !stunmsg_is(octets) || stunmsg_parse(octets, &m) ||
        m.class != STUN_REQUEST || m.method != STUN_BINDING)
        return false;
    size_t n = stunmsg_unknown(&m, stunmsg_is_basic, unknown, STUN_ANSWER_UNKNOWN_MAX);
    struct stun_out o = stunmsg_begin(b, STUN_BINDING, n > 0 ? STUN_ERROR : STUN_SUCCESS, m.id);
    if (n > 0) { /* §6.3.1. Without words: each unknown took four octets, and takes two */
        stunmsg_put_error(&o, STUN_UNKNOWN_ATTRIBUTE, SV(""));
        stunmsg_put_unknown(&o, unknown, n);
    } else {
        stun_put_xor_addr(&o, STUN_XOR_MAPPED_ADDRESS, from);
    }
    if (m.fingerprint)
        stunmsg_put_fingerprint(&o);
    return b->rc == ERR_OK;
}
