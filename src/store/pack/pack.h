/* SPDX-License-Identifier: MIT */
/* pack/pack.h: values as octets: what backends keep in tables and files.        layer: store
 *
 * Shape   writing goes to a struct buf (capped, sticky error); reading is a cursor with a sticky
 *         error of its own: after the first fault every call gives zeros. Integers of fixed width
 *         are little-endian; others are base 128, low bits first.
 * Texts   length + 1, then the octets; 0 is an absent one.
 * Errors  unpack.rc: ERR_CORRUPT.
 * Threads one at a time.
 */
#ifndef PACK_PACK_H
#define PACK_PACK_H
#include "str/buf.h"

enum { PACK_VARINT_MAX = 10 };

void pack_u32(struct buf *b, uint32_t v);
void pack_u64(struct buf *b, uint64_t v);
void pack_varint(struct buf *b, uint64_t v);
void pack_sv(struct buf *b, sv s);
/* Over octets that are there already: a length or checksum known later. */
void pack_u32_at(char *p, uint32_t v);
void pack_u64_at(char *p, uint64_t v);
/* To p, where there is room for PACK_VARINT_MAX octets, and those of s. Returns the end. */
char *pack_varint_to(char *p, uint64_t v);
char *pack_sv_to(char *p, sv s);

struct unpack {
    const unsigned char *p, *end;
    enum err rc;
};
struct unpack unpack_of(sv octets);
uint8_t unpack_u8(struct unpack *u);
uint32_t unpack_u32(struct unpack *u);
uint64_t unpack_u64(struct unpack *u);
uint64_t unpack_long_varint(struct unpack *u, uint64_t max);
/* Above max: ERR_CORRUPT. Most are of one octet. */
static inline uint64_t unpack_varint(struct unpack *u, uint64_t max)
{
    if (u->rc || u->p == u->end || *u->p >= 0x80 || *u->p > max)
        return unpack_long_varint(u, max);
    return *u->p++;
}
sv unpack_sv(struct unpack *u); /* a view into what is read */
sv unpack_octets(struct unpack *u, size_t n);
/* The verdict: also ERR_CORRUPT when octets are left. */
MUST_USE enum err unpack_end(const struct unpack *u);

#endif
