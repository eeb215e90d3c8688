/* SPDX-License-Identifier: MIT */
/* str/buf.h: building text and octets under a cap.                              layer: base
 *
 * Shape   a cursor over memory that the caller gave (buf_init) or that grows on the heap up to a
 *         stated cap (buf_init_heap). There is no buffer without a cap.
 * Errors  sticky: after the first failure every call is a no-op; buf.rc is checked once
 *         at the end. A failed call writes nothing of its piece.
 * Life    buf_done frees heap memory; harmless on caller's memory.
 * Threads one at a time.
 */
#ifndef STR_BUF_H
#define STR_BUF_H
#include <stdarg.h>
#include "mem/mem.h"
#include "str/sv.h"

struct buf {
    char *p;
    size_t n, cap;  /* used, available now */
    size_t cap_max; /* may grow to this; == cap for caller's memory */
    enum err rc;    /* ERR_OK, ERR_TOOBIG, ERR_NOMEM, ERR_SYNTAX (buf_quoted) */
    bool heap;
};

void buf_init(struct buf *b, void *mem, size_t cap);
void buf_init_heap(struct buf *b, size_t cap_max);
void buf_done(struct buf *b);
void buf_reset(struct buf *b); /* keeps memory; clears n and rc */
static inline sv buf_sv(const struct buf *b)
{
    return (sv){b->p ? b->p : "", b->n};
}

static inline sv block_sv(const struct block *b)
{
    return (sv){b->p, b->n};
}

/* n writable octets behind what is there; NULL, with the sticky error, if there are none. The caller
 * adds to b->n what it wrote. */
char *buf_room(struct buf *b, size_t n);
/* n octets when they do not fit as it is: grows, or sets the error. */
void buf_grow_mem(struct buf *b, const void *p, size_t n);
static inline void buf_mem(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    if (b->rc || n > b->cap - b->n) {
        buf_grow_mem(b, p, n);
        return;
    }
    memcpy(b->p + b->n, p, n);
    b->n += n;
}
static inline void buf_put(struct buf *b, sv s)
{
    buf_mem(b, s.p, s.n);
}
static inline void buf_char(struct buf *b, char c)
{
    buf_mem(b, &c, 1);
}
void buf_str(struct buf *b, const char *cstr);
void buf_u64(struct buf *b, uint64_t v);
void buf_i64(struct buf *b, int64_t v);
void buf_hex(struct buf *b, const void *p, size_t n);
/* An IPv4 (n 4) or IPv6 (n 16) address in network order, as RFC 5952 §4 writes it, without brackets. */
void buf_ip(struct buf *b, const uint8_t *ip, size_t n);
/* A piece of 256 octets or more needs room for one octet beyond it. */
__attribute__((format(printf, 2, 3))) void buf_printf(struct buf *b, const char *fmt, ...);
/* s as the inside of a JSON string: quotes, backslash, controls and invalid UTF-8 escaped. (D25) */
void buf_json(struct buf *b, sv s);
/* s as the inside of a SIP quoted-string: `"` and `\` escaped; CTL octets refused with ERR_SYNTAX.
 * (D13) */
void buf_quoted(struct buf *b, sv s);
/* s for a log line or a terminal: controls, those of a text's direction among them, and invalid UTF-8 as \xNN. (D25) */
void buf_printable(struct buf *b, sv s);

#endif
