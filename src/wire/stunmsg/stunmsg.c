/* SPDX-License-Identifier: MIT */
/* stunmsg/stunmsg.c: reading.
 *
 *   0                   2                   4           8                20
 *   | 00, method, class | length (of rest)  | cookie    | transaction id | attributes ...
 *
 *   attribute: type 2 | length 2 | value | padding to 4 octets
 *
 * The class is two bits within the type (RFC 8489 §5): M11..M7 C1 M6..M4 C0 M3..M0. */
#include "stunmsg/stunmsg.h"

#include "stunmsg/stunmsg_priv.h"

enum { ATTRIBUTE_HEADER = 4, FINGERPRINT_VALUE = 4 };
/* §14.7: so that the CRC of another protocol is no fingerprint */
enum { FINGERPRINT_XOR = 0x5354554e };

const uint8_t stun_cookie[STUN_COOKIE] = {0x21, 0x12, 0xa4, 0x42};

uint32_t stun_fingerprint(const void *p, size_t n)
{
    /* ITU V.42, reflected, four bits at a time */
    static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
                                       0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                       0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                       0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    const uint8_t *octets = p;
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        crc = table[(crc ^ octets[i]) & 15] ^ crc >> 4;
        crc = table[(crc ^ octets[i] >> 4) & 15] ^ crc >> 4;
    }
    return ~crc ^ FINGERPRINT_XOR;
}

void stun_xor(uint8_t *p, size_t n, const uint8_t id[static STUN_ID])
{
    uint8_t pad[STUN_COOKIE + STUN_ID];
    memcpy(pad, stun_cookie, STUN_COOKIE);
    memcpy(pad + STUN_COOKIE, id, STUN_ID);
    for (size_t i = 0; i < n && i < sizeof(pad); i++)
        p[i] ^= pad[i];
}

bool stunmsg_is(sv octets)
{
    return octets.n >= STUN_HEADER && (stun_octet(octets, 0) & 0xc0) == 0 &&
           memcmp(octets.p + 4, stun_cookie, STUN_COOKIE) == 0;
}

/* ---- attributes ---- */

/* The attribute at `at`, and where the next begins; false: none begins, or it does not fit. */
static bool attribute_at(sv text, size_t at, struct stun_attr *ret_attr, size_t *ret_next)
{
    if (at > text.n || text.n - at < ATTRIBUTE_HEADER)
        return false;
    size_t n = stun_get_u16(text, at + 2), value = at + ATTRIBUTE_HEADER;
    if (stun_padded(n) > text.n - value)
        return false;
    *ret_attr = (struct stun_attr){stun_get_u16(text, at), {text.p + value, n}, at};
    *ret_next = value + stun_padded(n);
    return true;
}

static bool counts(const struct stun_walk *w, uint16_t type)
{
    if (type == STUN_FINGERPRINT)
        return true;
    return !w->signed256 && (!w->signed1 || type == STUN_MESSAGE_INTEGRITY_SHA256);
}

bool stunmsg_next(const struct stunmsg *m, struct stun_walk *w, struct stun_attr *ret_attr)
{
    struct stun_attr a;
    if (w->at == 0)
        w->at = STUN_HEADER;
    while (attribute_at(m->text, w->at, &a, &w->at)) {
        if (!counts(w, a.type))
            continue;
        w->signed1 = w->signed1 || a.type == STUN_MESSAGE_INTEGRITY;
        w->signed256 = w->signed256 || a.type == STUN_MESSAGE_INTEGRITY_SHA256;
        *ret_attr = a;
        return true;
    }
    return false;
}

bool stunmsg_find(const struct stunmsg *m, enum stun_type type, struct stun_attr *ret_attr)
{
    struct stun_walk w = {0};
    for (struct stun_attr a; stunmsg_next(m, &w, &a);) {
        if (a.type == type) {
            *ret_attr = a;
            return true;
        }
    }
    return false;
}

/* Who is to understand an attribute. */
enum { BASIC = 1 << 0, ICE = 1 << 1, TURN = 1 << 2 };

static unsigned usages(uint16_t type)
{
    switch ((enum stun_type)type) {
    case STUN_MAPPED_ADDRESS:
    case STUN_USERNAME:
    case STUN_MESSAGE_INTEGRITY:
    case STUN_ERROR_CODE:
    case STUN_UNKNOWN_ATTRIBUTES:
    case STUN_REALM:
    case STUN_NONCE:
    case STUN_MESSAGE_INTEGRITY_SHA256:
    case STUN_PASSWORD_ALGORITHM:
    case STUN_USERHASH:
    case STUN_XOR_MAPPED_ADDRESS:
    case STUN_PASSWORD_ALGORITHMS:
    case STUN_ALTERNATE_DOMAIN:
    case STUN_SOFTWARE:
    case STUN_ALTERNATE_SERVER:
    case STUN_FINGERPRINT:
        return BASIC | ICE | TURN;
    case STUN_PRIORITY:
    case STUN_USE_CANDIDATE:
    case STUN_ICE_CONTROLLED:
    case STUN_ICE_CONTROLLING:
        return ICE;
    case STUN_CHANNEL_NUMBER:
    case STUN_LIFETIME:
    case STUN_XOR_PEER_ADDRESS:
    case STUN_DATA:
    case STUN_XOR_RELAYED_ADDRESS:
    case STUN_REQUESTED_ADDRESS_FAMILY:
    case STUN_EVEN_PORT:
    case STUN_REQUESTED_TRANSPORT:
    case STUN_DONT_FRAGMENT:
    case STUN_RESERVATION_TOKEN:
    case STUN_CONNECTION_ID:
    case STUN_ADDITIONAL_ADDRESS_FAMILY:
    case STUN_ADDRESS_ERROR_CODE:
    case STUN_ICMP:
        return TURN;
    }
    return 0;
}

bool stunmsg_is_basic(uint16_t type)
{
    return usages(type) & BASIC;
}

bool stunmsg_is_ice(uint16_t type)
{
    return usages(type) & ICE;
}

bool stunmsg_is_turn(uint16_t type)
{
    return usages(type) & TURN;
}

static bool listed(const uint16_t *types, size_t n, uint16_t type)
{
    for (size_t i = 0; i < n; i++)
        if (types[i] == type)
            return true;
    return false;
}

size_t stunmsg_unknown(const struct stunmsg *m, bool (*knows)(uint16_t type), uint16_t *ret_types,
                       size_t max)
{
    struct stun_walk w = {0};
    size_t n = 0;
    for (struct stun_attr a; n < max && stunmsg_next(m, &w, &a);)
        if (a.type < STUN_OPTIONAL && !knows(a.type) && !listed(ret_types, n, a.type))
            ret_types[n++] = a.type;
    return n;
}

/* ---- the whole ---- */

/* All attributes lie within text, and a FINGERPRINT is the last of them and right (§14.7). */
static bool attributes_hold(sv text, bool *ret_fingerprint)
{
    struct stun_attr a;
    size_t at = STUN_HEADER;
    bool fingerprint = false;
    while (at < text.n) {
        if (fingerprint || !attribute_at(text, at, &a, &at))
            return false;
        fingerprint = a.type == STUN_FINGERPRINT;
        if (fingerprint && (a.value.n != FINGERPRINT_VALUE ||
                            stun_get_u32(a.value, 0) != stun_fingerprint(text.p, a.at)))
            return false;
    }
    *ret_fingerprint = fingerprint;
    return true;
}

enum err stunmsg_parse(sv octets, struct stunmsg *ret_msg)
{
    struct stunmsg m = {.text = octets};
    if (!stunmsg_is(octets) || octets.n - STUN_HEADER != stun_get_u16(octets, 2) ||
        octets.n % 4 != 0 || !attributes_hold(octets, &m.fingerprint))
        return ERR_SYNTAX;
    unsigned type = stun_get_u16(octets, 0);
    m.class = (enum stun_class)((type >> 7 & 2) | (type >> 4 & 1));
    m.method = (uint16_t)((type & 0x000f) | (type & 0x00e0) >> 1 | (type & 0x3e00) >> 2);
    memcpy(m.id, octets.p + 8, STUN_ID);
    *ret_msg = m;
    return ERR_OK;
}
