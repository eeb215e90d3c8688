/* SPDX-License-Identifier: MIT */
/* str/form.h: written forms: numbers in octets of our own, to be read again by ourselves.   layer: base
 *
 * Shape   numbers of 1 to 8 octets with the high one first, and runs of octets behind their length. A writer appends
 *         to a buf. A reader takes what it may get with each number: what is cut off or beyond that is
 *         bad, and so is all that follows; it is asked once at the end.
 * Life    what is read as octets is a view of what is read.
 * Errors  a writer's are its buf's; a reader's is `bad`, and what it gives is 0 or nothing then.
 * Threads any. */
#ifndef STR_FORM_H
#define STR_FORM_H
#include "str/buf.h"

void form_put(struct buf *b, uint64_t v, unsigned octets);
/* Length in two octets, then the octets: 65535 at most, else the error is ERR_TOOBIG. */
void form_put_octets(struct buf *b, sv octets);

struct form_reader {
    const uint8_t *p, *end;
    bool bad;
};
static inline struct form_reader form_reader(sv octets)
{
    const uint8_t *p = (const uint8_t *)octets.p;
    return (struct form_reader){p, p + octets.n, false};
}
static inline size_t form_left(const struct form_reader *r)
{
    return (size_t)(r->end - r->p);
}
/* max: the largest that there may be. */
uint64_t form_get(struct form_reader *r, unsigned octets, uint64_t max);
bool form_get_bool(struct form_reader *r);
/* n octets as they are; p == NULL: bad. */
const uint8_t *form_get_mem(struct form_reader *r, size_t n);
/* Octets behind their length. */
sv form_get_octets(struct form_reader *r, size_t max);

#endif
