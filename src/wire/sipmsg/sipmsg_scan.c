/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg_scan.c: blanks, controls, quoted strings, tokens, values of lists. */
#include "sipmsg/sipmsg_priv.h"

#define Q (SC_PLAIN | SC_QDTEXT)
#define T (SC_TOKEN | SC_WORD | SC_VALUE | Q)
const uint8_t sip_class[256] = {
    [0 ... 8] = SC_PLAIN,
    ['\t'] = Q,
    [10 ... 31] = SC_PLAIN,
    [' '] = Q,
    ['!'] = T,
    ['"'] = SC_WORD,
    ['#'] = Q,
    ['$'] = Q,
    ['%'] = T,
    ['&'] = Q,
    ['\''] = T,
    ['('] = SC_WORD | Q,
    [')'] = SC_WORD | Q,
    ['*'] = T,
    ['+'] = T,
    [','] = SC_QDTEXT,
    ['-'] = T,
    ['.'] = T,
    ['/'] = SC_WORD | Q,
    ['0' ... '9'] = T | SC_DIGIT,
    [':'] = SC_WORD | SC_VALUE | Q,
    [';'] = Q,
    ['<'] = SC_WORD | SC_QDTEXT,
    ['='] = Q,
    ['>'] = SC_WORD | Q,
    ['?'] = SC_WORD | Q,
    ['@'] = Q,
    ['A' ... 'Z'] = T,
    ['['] = SC_WORD | SC_VALUE | Q,
    ['\\'] = SC_WORD | SC_PLAIN,
    [']'] = SC_WORD | SC_VALUE | Q,
    ['^'] = Q,
    ['_'] = T,
    ['`'] = T,
    ['a' ... 'z'] = T,
    ['{'] = SC_WORD | Q,
    ['|'] = Q,
    ['}'] = SC_WORD | Q,
    ['~'] = T,
    [0x7f] = SC_PLAIN,
    [0x80 ... 0xff] = Q,
};

bool sip_is_token(sv s)
{
    return s.n > 0 && sip_token_at(s.p, s.p + s.n);
}

const char *sip_lws_run(const char *p, const char *end)
{
    for (;;) {
        while (p < end && (*p == ' ' || *p == '\t'))
            p++;
        if (end - p < 3 || p[0] != '\r' || p[1] != '\n' || (p[2] != ' ' && p[2] != '\t'))
            return p;
        p += 3;
    }
}

#ifdef __SSE2__
/* Which of 16 octets are controls. */
static inline unsigned controls16(const char *p)
{
    const __m128i space = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f);
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (unsigned)_mm_movemask_epi8(
        _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(x, space), x), _mm_cmpeq_epi8(x, del)));
}
#endif

/* Has it any of 8 octets? */
static inline bool has_control8(const char *p)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t x, del;
    memcpy(&x, p, 8);
    del = x ^ 0x7f * ones;
    /* an octet below 0x20 borrows from the top bit, so does one that is zero */
    return (((x - 0x20 * ones) & ~x) | ((del - ones) & ~del)) & tops;
}

const char *sip_next_control(const char *p, const char *end)
{
    size_t n = (size_t)(end - p);
#ifdef __SSE2__
    if (n >= 16) {
        for (; end - p >= 16; p += 16) {
            unsigned found = controls16(p);
            if (found)
                return p + __builtin_ctz(found);
        }
        /* the last ones, some of them for the second time */
        unsigned found = controls16(end - 16);
        return found ? end - 16 + __builtin_ctz(found) : end;
    }
#endif
    if (n >= 8) {
        for (; end - p >= 8; p += 8)
            if (has_control8(p))
                break;
        if (end - p < 8 && !has_control8(end - 8))
            return end;
    }
    while (p < end && !sip_is_control(*p))
        p++;
    return p;
}

const char *sip_quoted_end(const char *p, const char *end)
{
    for (p++; (p = sip_span(p, end, SC_QDTEXT)) < end; p++) {
        if (*p == '"')
            return p + 1;
        if (*p == '\\') {
            /* RFC 3261 §25.1: the characters CR and LF cannot be escaped; UTF-8 neither. */
            if (++p == end || *p == '\r' || *p == '\n' || (unsigned char)*p > 0x7f)
                return NULL;
        } else {
            const char *next = sip_lws(p, end);
            if (next == p)
                return NULL;
            p = next - 1;
        }
    }
    return NULL;
}

/* The long way, for text that has a control octet which is neither HTAB nor part of a fold. */
static bool clean_in_quotes(const char *p, const char *end)
{
    while (p < end) {
        const char *next = p + 1;
        if (*p == '"')
            next = sip_quoted_end(p, end);
        else if (sip_is_control(*p) && *p != '\t')
            next = sip_lws(p, end);
        if (!next || next == p)
            return false;
        p = next;
    }
    return true;
}

bool sip_text_clean(sv s)
{
    if (!s.p)
        return true;
    const char *p = s.p, *end = s.p + s.n;
    while ((p = sip_next_control(p, end)) < end) {
        const char *next = sip_lws(p, end);
        if (next == p)
            return clean_in_quotes(s.p, end);
        p = next;
    }
    return true;
}

/* The first of , " < from p on, or end: what a walk of a list has to look at. */
static const char *next_stop(const char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i comma = _mm_set1_epi8(','), quote = _mm_set1_epi8('"'), open = _mm_set1_epi8('<');
    for (; end - p >= 16; p += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i stop =
            _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(x, comma), _mm_cmpeq_epi8(x, quote)),
                         _mm_cmpeq_epi8(x, open));
        unsigned found = (unsigned)_mm_movemask_epi8(stop);
        if (found)
            return p + __builtin_ctz(found);
    }
#endif
    return sip_span(p, end, SC_PLAIN);
}

bool sip_list_next(sv value, size_t *at, sv *ret_item, enum err *ret_rc)
{
    const char *end = value.p + value.n, *p = value.p + *at, *from;
    *ret_rc = ERR_OK;
    if (*at > value.n) /* the comma before was the last octet's follower: the list had ended */
        return false;
    p = from = sip_lws(p, end);
    while (p < end && *p != ',') {
        if (*p == '"') {
            p = sip_quoted_end(p, end);
        } else if (*p == '<') {
            p = memchr(p, '>', (size_t)(end - p));
            p = p ? p + 1 : NULL;
        } else {
            p++;
        }
        if (!p) {
            *ret_rc = ERR_SYNTAX;
            return false;
        }
        p = next_stop(p, end);
    }
    *at = (size_t)(p - value.p) + 1; /* behind the comma, or value.n + 1 at the end */
    *ret_item = sv_trim((sv){from, (size_t)(p - from)});
    if (ret_item->n == 0) {
        *ret_rc = ERR_SYNTAX;
        return false;
    }
    return true;
}
