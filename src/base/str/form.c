/* SPDX-License-Identifier: MIT */
#include "str/form.h"

void form_put(struct buf *b, uint64_t v, unsigned octets)
{
    char p[8];
    for (unsigned i = 0; i < octets; i++)
        p[i] = (char)(v >> 8 * (octets - 1 - i));
    buf_mem(b, p, octets);
}

void form_put_octets(struct buf *b, sv octets)
{
    if (octets.n > UINT16_MAX) {
        b->rc = b->rc ? b->rc : ERR_TOOBIG;
        return;
    }
    form_put(b, octets.n, 2);
    buf_put(b, octets);
}

const uint8_t *form_get_mem(struct form_reader *r, size_t n)
{
    const uint8_t *p = r->p;
    if (r->bad || form_left(r) < n) {
        r->bad = true;
        return NULL;
    }
    r->p += n;
    return p;
}

uint64_t form_get(struct form_reader *r, unsigned octets, uint64_t max)
{
    uint64_t v = 0;
    const uint8_t *p = form_get_mem(r, octets);
    for (unsigned i = 0; p && i < octets; i++)
        v = v << 8 | p[i];
    if (v <= max)
        return v;
    r->bad = true;
    return 0;
}

bool form_get_bool(struct form_reader *r)
{
    return form_get(r, 1, 1) != 0;
}

sv form_get_octets(struct form_reader *r, size_t max)
{
    size_t n = (size_t)form_get(r, 2, max);
    const uint8_t *p = form_get_mem(r, n);
    return p ? (sv){(const char *)p, n} : (sv){NULL, 0};
}
