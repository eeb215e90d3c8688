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

/* id: NULL for one in the clear. */
static void put_address(const struct stun_out *o, uint16_t type, const struct stun_addr *a,
                        const uint8_t *id)
{
    uint8_t value[20] = {0, stun_family_of(a->family), (uint8_t)(a->port >> 8), (uint8_t)a->port};
    size_t n = a->family == 4 ? 4 : 16;
    memcpy(value + 4, a->ip, n);
    if (id) {
        stun_xor(value + 2, 2, id);
        stun_xor(value + 4, n, id);
    }
    stunmsg_put(o, type, (sv){(const char *)value, 4 + n});
}

void stunmsg_put_xor_address(const struct stun_out *o, uint16_t type, const struct stun_addr *a)
{
    uint8_t id[STUN_ID];
    if (o->b->rc)
        return;
    memcpy(id, o->b->p + o->at + 8, STUN_ID);
    put_address(o, type, a, id);
}

void stunmsg_put_address(const struct stun_out *o, uint16_t type, const struct stun_addr *a)
{
    put_address(o, type, a, NULL);
}

static void put_code(const struct stun_out *o, uint16_t type, uint8_t first, unsigned code,
                     sv reason)
{
    char value[4 + 128] = {(char)first, 0, (char)(code / 100), (char)(code % 100)};
    reason = sv_sub(reason, 0, sizeof value - 5); /* §14.8: fewer than 128 characters */
    if (reason.n > 0)
        memcpy(value + 4, reason.p, reason.n);
    stunmsg_put(o, type, (sv){value, 4 + reason.n});
}

void stunmsg_put_error(const struct stun_out *o, unsigned code, sv reason)
{
    put_code(o, STUN_ERROR_CODE, 0, code, reason);
}

void stunmsg_put_address_error(const struct stun_out *o, uint8_t family, unsigned code, sv reason)
{
    put_code(o, STUN_ADDRESS_ERROR_CODE, stun_family_of(family), code, reason);
}

static sv words(enum stun_error code)
{
    switch (code) {
    case STUN_TRY_ALTERNATE:
        return SV("Try Alternate");
    case STUN_BAD_REQUEST:
        return SV("Bad Request");
    case STUN_UNAUTHENTICATED:
        return SV("Unauthenticated");
    case STUN_FORBIDDEN:
        return SV("Forbidden");
    case STUN_UNKNOWN_ATTRIBUTE:
        return SV("Unknown Attribute");
    case STUN_ALLOCATION_MISMATCH:
        return SV("Allocation Mismatch");
    case STUN_STALE_NONCE:
        return SV("Stale Nonce");
    case STUN_FAMILY_NOT_SUPPORTED:
        return SV("Address Family not Supported");
    case STUN_WRONG_CREDENTIALS:
        return SV("Wrong Credentials");
    case STUN_UNSUPPORTED_TRANSPORT:
        return SV("Unsupported Transport Protocol");
    case STUN_PEER_FAMILY_MISMATCH:
        return SV("Peer Address Family Mismatch");
    case STUN_CONNECTION_EXISTS:
        return SV("Connection Already Exists");
    case STUN_CONNECTION_FAILED:
        return SV("Connection Timeout or Failure");
    case STUN_QUOTA_REACHED:
        return SV("Allocation Quota Reached");
    case STUN_ROLE_CONFLICT:
        return SV("Role Conflict");
    case STUN_SERVER_ERROR:
        return SV("Server Error");
    case STUN_INSUFFICIENT_CAPACITY:
        return SV("Insufficient Capacity");
    }
    return SV("");
}

void stunmsg_put_error_of(const struct stun_out *o, enum stun_error code)
{
    stunmsg_put_error(o, code, words(code));
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

void stunmsg_put_flag(const struct stun_out *o, uint16_t type)
{
    stunmsg_put(o, type, SV(""));
}

void stunmsg_put_u32(const struct stun_out *o, uint16_t type, uint32_t v)
{
    const char value[] = {(char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v};
    stunmsg_put(o, type, (sv){value, sizeof value});
}

void stunmsg_put_u64(const struct stun_out *o, uint16_t type, uint64_t v)
{
    char value[8];
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (char)(v >> (56 - 8 * i));
    stunmsg_put(o, type, (sv){value, sizeof value});
}

void stunmsg_put_channel(const struct stun_out *o, uint16_t channel)
{
    stunmsg_put_u32(o, STUN_CHANNEL_NUMBER, (uint32_t)channel << 16);
}

void stunmsg_put_family(const struct stun_out *o, uint16_t type, uint8_t family)
{
    stunmsg_put_u32(o, type, (uint32_t)stun_family_of(family) << 24);
}

void stunmsg_put_even_port(const struct stun_out *o, bool reserve)
{
    const char value = (char)(reserve ? 0x80 : 0);
    stunmsg_put(o, STUN_EVEN_PORT, (sv){&value, 1});
}

void stunmsg_put_transport(const struct stun_out *o, uint8_t protocol)
{
    stunmsg_put_u32(o, STUN_REQUESTED_TRANSPORT, (uint32_t)protocol << 24);
}

void stunmsg_put_icmp(const struct stun_out *o, const struct stun_icmp *icmp)
{
    stunmsg_put_u64(o, STUN_ICMP,
                    (uint64_t)icmp->type << 40 | (uint64_t)icmp->code << 32 | icmp->data);
}

void stunmsg_put_algorithms(const struct stun_out *o, uint16_t type, const uint16_t *algorithms,
                            size_t n)
{
    put_u16(o->b, type);
    put_u16(o->b, (uint16_t)(4 * n));
    for (size_t i = 0; i < n; i++) {
        put_u16(o->b, algorithms[i]);
        put_u16(o->b, 0);
    }
    set_length(o, 0);
}

void stunmsg_put_integrity(const struct stun_out *o, enum stun_integrity which, sv key)
{
    uint8_t mac[STUN_SHA256_VALUE];
    size_t n = which == STUN_SHA256 ? STUN_SHA256_VALUE : STUN_SHA1_VALUE;
    if (which == STUN_UNSIGNED || o->b->rc)
        return;
    sv message = {o->b->p + o->at, o->b->n - o->at};
    stun_mac(which, key, message, message.n, n, mac);
    stunmsg_put(o, which == STUN_SHA256 ? STUN_MESSAGE_INTEGRITY_SHA256 : STUN_MESSAGE_INTEGRITY,
                (sv){(const char *)mac, n});
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
