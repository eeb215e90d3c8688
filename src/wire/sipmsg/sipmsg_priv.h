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
/* Which of the 64 octets at p are controls: bit i for p[i]. Every variant says the same of the same
 * octets; sip_controls() is the widest that this processor has. */
typedef uint64_t sip_controls_fn(const char *p);
sip_controls_fn *sip_controls(void);
enum { SIP_CONTROLS_VARIANTS = 4 };
/* The ith of them all, for tests; NULL: this processor has it not. */
sip_controls_fn *sip_controls_variant(unsigned i);

/* May s stand in a header section as part of a line? Folds and quoted pairs of control octets count
 * as clean when they are whole; anything else that could start a line of its own does not. (D13) */
bool sip_text_clean(sv s);
enum sip_kind { SIP_ONE, SIP_LIST, SIP_MANY };
enum sip_kind sip_header_kind(enum sip_header h);

/* Next value of one field's text; *at moves behind its comma. False: end, or *ret_rc set. */
bool sip_list_next(sv value, size_t *at, sv *ret_item, enum err *ret_rc);

/* The hash of header names, as the generator of its table and its reader use it: length, first, middle
 * and last octet of a name of at least one; letters lose their case. */
static inline uint32_t sip_hash_key(const char *name, size_t n)
{
    const uint8_t *s = (const uint8_t *)name;
    return ((uint32_t)s[0] | (uint32_t)s[n / 2] << 8 | (uint32_t)s[n - 1] << 16 | 0x202020u) ^
           (uint32_t)n << 24;
}
#define SIP_HASH_SLOT(key, factor, bits) ((uint32_t)((key) * (factor)) >> (32 - (bits)))

/* The id of a name that is known to be a token. */
enum sip_header sip_header_lookup(sv token);
/* The first colon of the 16 octets at p; p itself when there is none, or less to read. */
static inline const char *sip_near_colon(const char *p, const char *end)
{
    if (end - p < 16)
        return p;
#ifdef __SSE2__
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    unsigned found = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8(':')));
    return found ? p + __builtin_ctz(found) : p;
#else
    const char *colon = memchr(p, ':', 16);
    return colon ? colon : p;
#endif
}

/* Octets that make a token and nothing else? */
static inline bool sip_token_at(const char *p, const char *end)
{
    return p < end && sip_span(p, end, SC_TOKEN) == end;
}

/* *( ";" attribute [ "=" value ] ) to the end, nothing else behind it. */
enum err sip_params_check(const char *p, const char *end);

/* The value at *pp, which must end at end or at a comma; *pp then stands there. Blanks before it
 * are skipped. *ret is written in any case. */
enum err sip_via_read(const char **pp, const char *end, struct sip_via *ret_via);
enum err sip_addr_read(const char **pp, const char *end, bool star_ok, struct sip_addr *ret_addr);

/* Offset behind the line of a field, its CR LF included. */
static inline uint32_t sipmsg_line_end(const struct sipmsg *m, uint16_t field)
{
    return field + 1u < m->count ? m->fields[field + 1].name : m->body_at - 2;
}

#endif
