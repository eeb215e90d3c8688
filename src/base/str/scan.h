/* SPDX-License-Identifier: MIT */
/* str/scan.h: a cursor over borrowed octets; every call takes a maximum.        layer: base
 *
 * Shape   struct scan moves only forward; a call that fails leaves it where it was.
 * Threads any.
 */
#ifndef STR_SCAN_H
#define STR_SCAN_H
#include "str/sv.h"

struct scan {
    const char *p, *end;
    const char *start; /* where scanning began: offsets for error messages */
};

static inline struct scan scan_of(sv s)
{
    const char *p = s.p ? s.p : "";
    return (struct scan){p, p + s.n, p};
}
static inline bool scan_end(const struct scan *c)
{
    return c->p == c->end;
}
static inline size_t scan_offset(const struct scan *c)
{
    return (size_t)(c->p - c->start);
}
static inline sv scan_rest(const struct scan *c)
{
    return (sv){c->p, (size_t)(c->end - c->p)};
}

/* Exactly c next: step over it. */
bool scan_char(struct scan *c, char want);
/* Exactly text next (case folded): step over it. */
bool scan_itext(struct scan *c, sv text);
/* Decimal digits, value at most max. Errors: ERR_SYNTAX (no digit), ERR_RANGE. */
MUST_USE enum err scan_u64(struct scan *c, uint64_t max, uint64_t *ret_value);
/* One or more octets of set (256 flags), at most max. Errors: ERR_SYNTAX (none), ERR_TOOBIG. */
MUST_USE enum err scan_set(struct scan *c, const bool set[256], size_t max, sv *ret_run);
/* Everything up to (not including) stop, at most max. Errors: ERR_MORE (no stop), ERR_TOOBIG. */
MUST_USE enum err scan_until(struct scan *c, char stop, size_t max, sv *ret_run);
/* Zero or more SP and HTAB. */
void scan_blanks(struct scan *c);

#endif
