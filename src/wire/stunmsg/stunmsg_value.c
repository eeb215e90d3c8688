/* SPDX-License-Identifier: MIT */
/* stunmsg/stunmsg_value.c: values of attributes, read. Spec RFC 8489 §14, RFC 8445 §16.1, RFC 8656 §18.
 *
 * Reserved bits are ignored, sizes are not: a value of another size is another attribute. */
#include "stunmsg/stunmsg.h"

#include "stunmsg/stunmsg_priv.h"

enum { CLASS_MIN = 3, CLASS_MAX = 6, NUMBER_MAX = 99 };

/* id: NULL for one in the clear. */
static enum err address(sv value, const uint8_t *id, struct stun_addr *ret_addr)
{
    struct stun_addr a = {0};
    uint8_t port[2];
    if (value.n < 4)
        return ERR_SYNTAX;
    if (stun_octet(value, 1) != STUN_FAMILY_IPV4 && stun_octet(value, 1) != STUN_FAMILY_IPV6)
        return ERR_UNSUPPORTED;
    size_t n = stun_octet(value, 1) == STUN_FAMILY_IPV4 ? 4 : 16;
    if (value.n != 4 + n)
        return ERR_SYNTAX;
    memcpy(port, value.p + 2, 2);
    memcpy(a.ip, value.p + 4, n);
    if (id) {
        stun_xor(port, 2, id);
        stun_xor(a.ip, n, id);
    }
    a.family = n == 4 ? 4 : 6;
    a.port = (uint16_t)(port[0] << 8 | port[1]);
    *ret_addr = a;
    return ERR_OK;
}

enum err stunmsg_xor_address(const struct stunmsg *m, sv value, struct stun_addr *ret_addr)
{
    return address(value, m->id, ret_addr);
}

enum err stunmsg_address(sv value, struct stun_addr *ret_addr)
{
    return address(value, NULL, ret_addr);
}

enum err stunmsg_error_code(sv value, unsigned *ret_code, sv *ret_reason)
{
    if (value.n < 4)
        return ERR_SYNTAX;
    unsigned class = stun_octet(value, 2) & 7, number = stun_octet(value, 3);
    if (class < CLASS_MIN || class > CLASS_MAX || number > NUMBER_MAX)
        return ERR_SYNTAX;
    *ret_code = class * 100 + number;
    *ret_reason = sv_sub(value, 4, value.n);
    return ERR_OK;
}

bool stunmsg_unknown_at(sv value, size_t i, uint16_t *ret_type)
{
    if (i >= value.n / 2)
        return false;
    *ret_type = stun_get_u16(value, 2 * i);
    return true;
}

enum err stunmsg_u32(sv value, uint32_t *ret_value)
{
    if (value.n != 4)
        return ERR_SYNTAX;
    *ret_value = stun_get_u32(value, 0);
    return ERR_OK;
}

enum err stunmsg_u64(sv value, uint64_t *ret_value)
{
    if (value.n != 8)
        return ERR_SYNTAX;
    *ret_value = (uint64_t)stun_get_u32(value, 0) << 32 | stun_get_u32(value, 4);
    return ERR_OK;
}

enum err stunmsg_channel(sv value, uint16_t *ret_channel)
{
    if (value.n != 4)
        return ERR_SYNTAX;
    *ret_channel = stun_get_u16(value, 0);
    return ERR_OK;
}

static enum err family(uint8_t octet, uint8_t *ret_family)
{
    if (octet != STUN_FAMILY_IPV4 && octet != STUN_FAMILY_IPV6)
        return ERR_UNSUPPORTED;
    *ret_family = octet == STUN_FAMILY_IPV4 ? 4 : 6;
    return ERR_OK;
}

enum err stunmsg_family(sv value, uint8_t *ret_family)
{
    return value.n != 4 ? ERR_SYNTAX : family(stun_octet(value, 0), ret_family);
}

enum err stunmsg_even_port(sv value, bool *ret_reserve)
{
    if (value.n != 1)
        return ERR_SYNTAX;
    *ret_reserve = stun_octet(value, 0) & 0x80;
    return ERR_OK;
}

enum err stunmsg_transport(sv value, uint8_t *ret_protocol)
{
    if (value.n != 4)
        return ERR_SYNTAX;
    *ret_protocol = stun_octet(value, 0);
    return ERR_OK;
}

enum err stunmsg_address_error(sv value, uint8_t *ret_family, unsigned *ret_code, sv *ret_reason)
{
    unsigned code;
    sv reason;
    TRY(stunmsg_error_code(value, &code, &reason));
    TRY(family(stun_octet(value, 0), ret_family));
    *ret_code = code;
    *ret_reason = reason;
    return ERR_OK;
}

enum err stunmsg_icmp(sv value, struct stun_icmp *ret_icmp)
{
    if (value.n != 8)
        return ERR_SYNTAX;
    *ret_icmp =
        (struct stun_icmp){stun_octet(value, 2), stun_octet(value, 3), stun_get_u32(value, 4)};
    return ERR_OK;
}
