/* SPDX-License-Identifier: MIT */
/* stunmsg/stunmsg_print.c: messages as octets. Spec RFC 8489 §5, §14. */
#include "stunmsg/stunmsg.h"

#include "stunmsg/stunmsg_priv.h"

static void put_u16(struct buf *b, uint16_t v)
{
    uint8_t octets[] = {(uint8_t)(v >> 8), (uint8_t)v};
    buf_mem(b, octets, sizeof octets);
}

static void put_u32(struct buf *b, uint32_t v)
{
    put_u16(b, (uint16_t)(v >> 16));
    put_u16(b, (uint16_t)v);
}

/* The length field says what is there, and `more` octets that follow. */
static void set_length(const struct stun_out *o, size_t more)
{
    size_t n = o->b->n - o->at - STUN_HEADER + more;
    if (o->b->rc)
        return;
    if (n > UINT16_MAX) {
        o->b->rc = ERR_TOOBIG;
        return;
    }
    o->b->p[o->at + 2] = (char)(n >> 8);
    o->b->p[o->at + 3] = (char)n;
}

struct stun_out stunmsg_begin(struct buf *b, uint16_t method, enum stun_class class,
                              const uint8_t id[static STUN_ID])
{
    struct stun_out o = {b, b->n};
    put_u16(b, (uint16_t)((method & 0x00f) | (method & 0x070) << 1 | (method & 0xf80) << 2 |
                          (class & 1) << 4 | (class & 2) << 7));
    put_u16(b, 0);
    buf_mem(b, stun_cookie, STUN_COOKIE);
    buf_mem(b, id, STUN_ID);
    return o;
}

void stunmsg_put(const struct stun_out *o, uint16_t type, sv value)
{
    static const char zeros[3];
    if (value.n > UINT16_MAX) {
        if (!o->b->rc)
            o->b->rc = ERR_TOOBIG;
        return;
    }
    put_u16(o->b, type);
    put_u16(o->b, (uint16_t)value.n);
    buf_put(o->b, value);
    buf_mem(o->b, zeros, (4 - value.n % 4) % 4);
    set_length(o, 0);
}

void stunmsg_put_xor_address(const struct stun_out *o, uint16_t type, const struct stun_addr *a)
{
    uint8_t value[20] = {0, a->family == 4 ? 1 : 2, (uint8_t)(a->port >> 8), (uint8_t)a->port};
    uint8_t id[STUN_ID];
    size_t n = a->family == 4 ? 4 : 16;
    if (o->b->rc)
        return;
    memcpy(id, o->b->p + o->at + 8, STUN_ID);
    memcpy(value + 4, a->ip, n);
    stun_xor(value + 2, 2, id);
    stun_xor(value + 4, n, id);
    stunmsg_put(o, type, (sv){(const char *)value, 4 + n});
}

void stunmsg_put_error(const struct stun_out *o, unsigned code, sv reason)
{
    char value[4 + 128] = {0, 0, (char)(code / 100), (char)(code % 100)};
    reason = sv_sub(reason, 0, sizeof value - 5); /* §14.8: fewer than 128 characters */
    if (reason.n > 0)
        memcpy(value + 4, reason.p, reason.n);
    stunmsg_put(o, STUN_ERROR_CODE, (sv){value, 4 + reason.n});
}

void stunmsg_put_unknown(const struct stun_out *o, const uint16_t *types, size_t n)
{
    put_u16(o->b, STUN_UNKNOWN_ATTRIBUTES);
    put_u16(o->b, (uint16_t)(2 * n));
    for (size_t i = 0; i < n; i++)
        put_u16(o->b, types[i]);
    if (n % 2)
        put_u16(o->b, 0);
    set_length(o, 0);
}

void stunmsg_put_fingerprint(const struct stun_out *o)
{
    set_length(o, 8); /* the CRC covers it */
    if (o->b->rc)
        return;
    uint32_t crc = stun_fingerprint(o->b->p + o->at, o->b->n - o->at);
    put_u16(o->b, STUN_FINGERPRINT);
    put_u16(o->b, 4);
    put_u32(o->b, crc);
    set_length(o, 0);
}
