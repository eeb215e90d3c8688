/* SPDX-License-Identifier: MIT */
/* fuzz/stunmsg_fuzz.c: any octets as a STUN message; what is understood must survive print and parse.
 */
#include <stdlib.h>

#include "stunmsg/stunmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { UNKNOWN = 8 };

/* A bound that holds: an abort is what the fuzzer sees. */
static void must(bool holds)
{
    if (!holds)
        abort();
}

static bool within(sv part, sv whole)
{
    return part.p >= whole.p && part.p + part.n <= whole.p + whole.n;
}

/* Addresses are written as they were read, and read again; all else is copied. */
static void put_again(const struct stunmsg *m, const struct stun_out *o, const struct stun_attr *a)
{
    struct stun_addr addr;
    unsigned code;
    sv reason;
    if (a->type == STUN_FINGERPRINT)
        stunmsg_put_fingerprint(o);
    else if (a->type == STUN_XOR_MAPPED_ADDRESS && !stunmsg_xor_address(m, a->value, &addr))
        stunmsg_put_xor_address(o, a->type, &addr);
    else
        stunmsg_put(o, a->type, a->value);
    if (a->type == STUN_ERROR_CODE && !stunmsg_error_code(a->value, &code, &reason))
        must(code >= 300 && code <= 699 && within(reason, m->text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sv octets = {(const char *)data, size};
    struct stunmsg m, again;
    if (stunmsg_parse(octets, &m))
        return 0;
    must(stunmsg_is(octets) && m.method < 0x1000 && m.class <= STUN_ERROR);
    struct buf b;
    buf_init_heap(&b, 2 * size + 64);
    struct stun_out o = stunmsg_begin(&b, m.method, m.class, m.id);
    struct stun_walk w = {0}, w2 = {0};
    struct stun_attr a, a2;
    size_t n = 0;
    for (; stunmsg_next(&m, &w, &a); n++) {
        must(within(a.value, m.text) && a.at < size);
        put_again(&m, &o, &a);
    }
    must(n <= size / 4);
    must(b.rc == ERR_OK && stunmsg_parse(buf_sv(&b), &again) == ERR_OK);
    must(again.method == m.method && again.class == m.class && again.fingerprint == m.fingerprint &&
         memcmp(again.id, m.id, STUN_ID) == 0);
    w = (struct stun_walk){0};
    while (stunmsg_next(&m, &w, &a)) {
        must(stunmsg_next(&again, &w2, &a2) && a.type == a2.type && a.value.n == a2.value.n);
        /* an address has an octet that says nothing, a fingerprint is of these octets */
        must(a.type == STUN_XOR_MAPPED_ADDRESS || a.type == STUN_FINGERPRINT ||
             sv_eq(a.value, a2.value));
    }
    must(!stunmsg_next(&again, &w2, &a2));
    uint16_t unknown[UNKNOWN];
    must(stunmsg_unknown(&m, stunmsg_is_basic, unknown, UNKNOWN) <= UNKNOWN);
    buf_done(&b);
    return 0;
}
