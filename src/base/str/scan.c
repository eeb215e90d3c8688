/* SPDX-License-Identifier: MIT */
/* str/scan.c: the cursor. Every branch that fails returns before c->p is written. */
#include "str/scan.h"

bool scan_char(struct scan *c, char want)
{
    if (c->p == c->end || *c->p != want)
        return false;
    c->p++;
    return true;
}

bool scan_itext(struct scan *c, sv text)
{
    sv rest = scan_rest(c);
    if (rest.n < text.n || !sv_ieq(sv_sub(rest, 0, text.n), text))
        return false;
    c->p += text.n;
    return true;
}

enum err scan_u64(struct scan *c, uint64_t max, uint64_t *ret_value)
{
    const char *p = c->p;
    uint64_t value = 0;
    for (; p < c->end; p++) {
        unsigned digit = (unsigned)(unsigned char)*p - '0';
        if (digit > 9)
            break;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return ERR_RANGE;
    }
    if (p == c->p)
        return ERR_SYNTAX;
    if (value > max)
        return ERR_RANGE;
    c->p = p;
    *ret_value = value;
    return ERR_OK;
}

enum err scan_set(struct scan *c, const bool set[256], size_t max, sv *ret_run)
{
    const char *p = c->p;
    while (p < c->end && set[(uint8_t)*p])
        p++;
    size_t n = (size_t)(p - c->p);
    if (n == 0)
        return ERR_SYNTAX;
    if (n > max)
        return ERR_TOOBIG;
    *ret_run = (sv){c->p, n};
    c->p = p;
    return ERR_OK;
}

enum err scan_until(struct scan *c, char stop, size_t max, sv *ret_run)
{
    sv rest = scan_rest(c);
    /* looking at max + 1 octets is enough: a stop behind them is too far */
    sv window = rest.n > max ? sv_sub(rest, 0, max + 1) : rest;
    size_t n = sv_chr(window, stop);
    if (n == window.n)
        return rest.n > max ? ERR_TOOBIG : ERR_MORE;
    *ret_run = sv_sub(rest, 0, n);
    c->p += n;
    return ERR_OK;
}

void scan_blanks(struct scan *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t'))
        c->p++;
}
