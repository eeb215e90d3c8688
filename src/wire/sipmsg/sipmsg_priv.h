/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg_priv.h: what the files of this module share.                    layer: wire */
#ifndef SIPMSG_SIPMSG_PRIV_H
#define SIPMSG_SIPMSG_PRIV_H
#include "sipmsg/sipmsg.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Character classes of RFC 3261 §25.1. */
enum {
    SC_TOKEN = 1 << 0,
    SC_WORD = 1 << 1,  /* token and most separators: Call-ID */
    SC_VALUE = 1 << 2, /* token and what a host adds: gen-value */
    SC_DIGIT = 1 << 3,
    SC_PLAIN = 1 << 4,  /* all but , " <  : what a walk of a list need not look at */
    SC_QDTEXT = 1 << 5, /* what stands for itself in a quoted string; HTAB too */
};
extern const uint8_t sip_class[256];

static inline bool sip_is(char c, unsigned mask)
{
    return (sip_class[(unsigned char)c] & mask) != 0;
}

/* The end of a run of octets of a class. */
static inline const char *sip_span(const char *p, const char *end, unsigned mask)
{
    for (; end - p >= 4; p += 4) {
        if (!sip_is(p[0], mask))
            return p;
        if (!sip_is(p[1], mask))
            return p + 1;
        if (!sip_is(p[2], mask))
            return p + 2;
        if (!sip_is(p[3], mask))
            return p + 3;
    }
    while (p < end && sip_is(*p, mask))
        p++;
    return p;
}

/* The same with the kinds of the octets at hand: a plain run, which every class holds, is one step. */
static inline const char *sip_run(const struct octet_map *map, const char *p, const char *end,
                                  unsigned mask)
{
    for (;; p++) {
        p = octets_plain_end(map, p);
        if (p >= end || !sip_is(*p, mask))
            return p;
    }
}

static inline bool sip_is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

static inline bool sip_is_blank(char c)
{
    return (unsigned char)c <= ' ' && (c == ' ' || c == '\t' || c == '\r' || c == '\n');
}

/* Steps over SP, HTAB and folds (CR LF and a blank). A CR or LF that is no fold stops it. */
const char *sip_lws_run(const char *p, const char *end);
static inline const char *sip_lws(const char *p, const char *end)
{
    if (p == end || (unsigned char)*p > ' ')
        return p;
    if (*p == ' ' && end - p > 1 && (unsigned char)p[1] > ' ') /* as nearly always */
        return p + 1;
    return sip_lws_run(p, end);
}
/* Text behind its closing quote; p stands at the opening one. NULL: unterminated, or an octet that
 * cannot be quoted. */
const char *sip_quoted_end(const char *p, const char *end);
/* First octet in p..end that is a control (below 0x20, or DEL), or end. */
const char *sip_next_control(const char *p, const char *end);
/* May s stand in a header section as part of a line? Folds and quoted pairs of control octets count
 * as clean when they are whole; anything else that could start a line of its own does not. (D13) */
bool sip_text_clean(sv s);
/* The kinds of headers.def. */
enum sip_kind { SIP_ONE, SIP_LIST, SIP_MANY };

/* Next value of one field's text; *at moves behind its comma. False: end, or *ret_rc set. */
bool sip_list_next(sv value, size_t *at, sv *ret_item, enum err *ret_rc);

/* Four octets, the first one lowest. */
static inline uint32_t sip_load4(const char *p)
{
    uint32_t x;
    memcpy(&x, p, 4);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap32(x);
#endif
    return x;
}

static inline uint64_t sip_load8(const char *p)
{
    uint64_t x;
    memcpy(&x, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

/* The first 16 octets of a header's name, letters without case, zeros behind it. The names of the table
 * are letters and '-', and a token holds no CR, the one other octet that setting bit 5 would turn into
 * '-'. */
struct sip_name_key {
    uint64_t head, tail;
};
enum { SIP_NAME_KEY = 16 };

/* 16 octets at p can be read. */
static inline struct sip_name_key sip_name_key(const char *p, size_t n)
{
    const uint64_t lower = 0x2020202020202020u, all = ~(uint64_t)0;
    uint64_t head = sip_load8(p) | lower, tail = sip_load8(p + 8) | lower;
    if (n < 8)
        return (struct sip_name_key){head & ~(all << 8 * n), 0};
    return (struct sip_name_key){head, n < 16 ? tail & ~(all << 8 * (n - 8)) : tail};
}
/* The hash of names, as the generator of its table and its reader use it. */
#define SIP_NAME_HASH(head, tail, factor, bits) ((((head) ^ (tail)) * (factor)) >> (64 - (bits)))

/* Octets that make a token and nothing else? */
static inline bool sip_token_at(const char *p, const char *end)
{
    return p < end && sip_span(p, end, SC_TOKEN) == end;
}

/* s is this word of 3 to 8 lower-case letters, in any case: setting bit 5 makes no other octet one. */
#define SIP_IS_WORD(s, word) \
    ((s).n == sizeof(word) - 1 && sip_same_word((s).p, word, sizeof(word) - 1))
static inline bool sip_same_word(const char *p, const char *word, size_t n)
{
    if (n == 3)
        return (p[0] | 0x20) == word[0] && (p[1] | 0x20) == word[1] && (p[2] | 0x20) == word[2];
    return (sip_load4(p) | 0x20202020u) == sip_load4(word) &&
           (sip_load4(p + n - 4) | 0x20202020u) == sip_load4(word + n - 4);
}

/* As many digits as always fit, and nothing else. */
static inline bool sip_read_digits(sv text, uint32_t *ret)
{
    const char *p = text.p, *end = p + text.n;
    uint32_t value = 0;
    if (text.n - 1 >= 9)
        return false;
    do {
        unsigned digit = (unsigned)(unsigned char)*p - '0';
        if (digit > 9)
            return false;
        value = value * 10 + digit;
    } while (++p < end);
    *ret = value;
    return true;
}

/* What a message's typed values are kept in: all but lists. */
enum sip_slot { SLOT_URI, SLOT_VIA, SLOT_VIAS, SLOT_FROM, SLOT_TO, SLOT_CSEQ, SLOT_CALL_ID, SLOTS };
struct sipmsg_memo {
    uint8_t rc[SLOTS + SIPMSG_LISTS]; /* enum err: the value was read, and is not good */
    struct sip_more_addrs *others;    /* lists that have no place of their own */
    struct uri uri;
    struct sip_via via;
    struct sip_addr from, to;
    struct sip_cseq cseq;
};

/* Reads a Request-URI of the usual form, which has no blank. False: it is of another. */
static inline bool sip_find_usual_uri(struct sipmsg *m)
{
    const char *p = m->uri_text.p, *end = p + m->uri_text.n;
    if (m->uri_text.n > URI_MAX || uri_read_usual(&m->map, p, end, &m->memo->uri) != end)
        return false;
    m->known.uri = &m->memo->uri;
    return true;
}

/* *( ";" attribute [ "=" value ] ) to the end, nothing else behind it. */
enum err sip_params_check(const char *p, const char *end);

/* The value at *pp, which must end at end or at a comma; *pp then stands there. Blanks before it
 * are skipped. *ret is written in any case. */
enum err sip_via_read(const char **pp, const char *end, struct sip_via *ret_via);
enum err sip_addr_read(const char **pp, const char *end, bool star_ok, struct sip_addr *ret_addr);

/* The same for values as nearly all are written. NULL: of another form, which says nothing about whether
 * it is a good one. Else where the value ends: at a comma or at end. */
const char *sip_via_usual(const struct octet_map *map, const char *p, const char *end,
                          struct sip_via *ret_via);
const char *sip_addr_usual(const struct octet_map *map, const char *p, const char *end,
                           struct sip_addr *ret_addr);

/* Offset behind the line of a field, its CR LF included. */
static inline uint32_t sipmsg_line_end(const struct sipmsg *m, uint16_t field)
{
    return field + 1u < m->count ? m->fields[field + 1].name : m->body_at - 2;
}

/* ---- pass one ---- */

/* The runs of controls that were not popped yet. */
struct sip_runs {
    uint64_t known; /* what is left of the bits of octets at..at + 63 */
    size_t at;
    const uint64_t *next, *stop; /* the bits behind them */
};

/* Pass one while it reads. */
struct sip_pass {
    struct sipmsg *m;
    const char *p, *end;
    struct sip_runs runs;
    enum err rc; /* of the first fault; reading goes on where lines can still be told apart */
    struct sipmsg_fault fault;
    uint16_t last[SIP_HEADERS]; /* field of each id that has a first one */
    struct sipmsg_field fields[SIPMSG_HEADERS_MAX];
    struct octets_bits bits;
};

/* A line, folds included; p moves behind its CR LF. */
struct sip_line {
    const char *from, *end; /* without the CR LF */
    const char *control; /* first control octet that is neither HTAB nor part of a fold, or NULL */
    const char *tab, *fold; /* first of each, or NULL */
};

/* Notes a fault, unless there is one already. */
static inline void sip_fail(struct sip_pass *s, enum err rc, const char *at, uint16_t status,
                            const char *why)
{
    if (s->rc)
        return;
    s->rc = rc;
    s->fault = (struct sipmsg_fault){(uint32_t)(at - s->m->text.p), status, why};
}

/* Offset of the next run of controls, once; there is one. */
static inline size_t sip_next_run(struct sip_runs *r)
{
    while (!r->known) {
        r->known = *r->next++;
        r->at += 64;
    }
    size_t at = r->at + (unsigned)__builtin_ctzll(r->known);
    r->known &= r->known - 1;
    return at;
}

/* The same; after the last one SIZE_MAX. */
static inline size_t sip_pop_run(struct sip_runs *r)
{
    for (; !r->known; r->at += 64) {
        if (r->next == r->stop)
            return SIZE_MAX;
        r->known = *r->next++;
    }
    return sip_next_run(r);
}

/* The line at s->p, whose first control is p. False: no line can be told from here on. */
bool sip_read_line(struct sip_pass *s, const char *p, struct sip_line *ret_line);
/* All fields. True: the blank line was found, s->p stands at the body. */
bool sip_read_fields(struct sip_pass *s);

#endif
