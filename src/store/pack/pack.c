/* SPDX-License-Identifier: MIT */
/* pack/pack.c: values as octets. */
#include "pack/pack.h"

/* Compilers make one word of it where the low octet comes first; not of a loop. */
static inline void put_low32(char *p, uint32_t v)
{
    p[0] = (char)v;
    p[1] = (char)(v >> 8);
    p[2] = (char)(v >> 16);
    p[3] = (char)(v >> 24);
}

void pack_u32_at(char *p, uint32_t v)
{
    put_low32(p, v);
}

void pack_u64_at(char *p, uint64_t v)
{
    put_low32(p, (uint32_t)v);
    put_low32(p + 4, (uint32_t)(v >> 32));
}

void pack_u32(struct buf *b, uint32_t v)
{
    char octets[4];
    pack_u32_at(octets, v);
    buf_mem(b, octets, sizeof octets);
}

void pack_u64(struct buf *b, uint64_t v)
{
    char octets[8];
    pack_u64_at(octets, v);
    buf_mem(b, octets, sizeof octets);
}

char *pack_varint_to(char *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (char)(v | 0x80);
    *p++ = (char)v;
    return p;
}

char *pack_sv_to(char *p, sv s)
{
    p = pack_varint_to(p, sv_present(s) ? (uint64_t)s.n + 1 : 0);
    if (s.n)
        memcpy(p, s.p, s.n);
    return p + s.n;
}

void pack_varint(struct buf *b, uint64_t v)
{
    char octets[PACK_VARINT_MAX];
    buf_mem(b, octets, (size_t)(pack_varint_to(octets, v) - octets));
}

void pack_sv(struct buf *b, sv s)
{
    pack_varint(b, sv_present(s) ? (uint64_t)s.n + 1 : 0);
    buf_put(b, s);
}

struct unpack unpack_of(sv octets)
{
    const unsigned char *p = (const unsigned char *)(octets.p ? octets.p : "");
    return (struct unpack){p, p + octets.n, ERR_OK};
}

sv unpack_octets(struct unpack *u, size_t n)
{
    if (u->rc || n > (size_t)(u->end - u->p)) {
        u->rc = ERR_CORRUPT;
        return SV_NONE;
    }
    sv s = {(const char *)u->p, n};
    u->p += n;
    return s;
}

/* The next n octets; NULL: there are fewer. */
static inline const unsigned char *take(struct unpack *u, size_t n)
{
    const unsigned char *p = u->p;
    if (u->rc || n > (size_t)(u->end - p)) {
        u->rc = ERR_CORRUPT;
        return NULL;
    }
    u->p += n;
    return p;
}

/* As put_low32(). */
static inline uint32_t low32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint8_t unpack_u8(struct unpack *u)
{
    const unsigned char *p = take(u, 1);
    return p ? *p : 0;
}

uint32_t unpack_u32(struct unpack *u)
{
    const unsigned char *p = take(u, 4);
    return p ? low32(p) : 0;
}

uint64_t unpack_u64(struct unpack *u)
{
    const unsigned char *p = take(u, 8);
    return p ? low32(p) | (uint64_t)low32(p + 4) << 32 : 0;
}

uint64_t unpack_long_varint(struct unpack *u, uint64_t max)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t octet = unpack_u8(u);
        uint64_t part = octet & 0x7f;
        if (u->rc || (shift == 63 && part > 1))
            break;
        v |= part << shift;
        if (!(octet & 0x80)) {
            if (v > max)
                break;
            return v;
        }
    }
    u->rc = ERR_CORRUPT;
    return 0;
}

sv unpack_sv(struct unpack *u)
{
    uint64_t n = unpack_varint(u, (uint64_t)(u->end - u->p) + 1);
    return n ? unpack_octets(u, (size_t)n - 1) : SV_NONE;
}

enum err unpack_end(const struct unpack *u)
{
    return u->rc ? u->rc : u->p == u->end ? ERR_OK : ERR_CORRUPT;
}
