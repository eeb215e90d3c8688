/* SPDX-License-Identifier: MIT */
/* fuzz/stunmsg_fuzz.c: any octets as a STUN message; what is understood must survive print and parse.
 */
#include <stdlib.h>

#include "crypto/crypto.h"
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

static bool is_xored(uint16_t type)
{
    return type == STUN_XOR_MAPPED_ADDRESS || type == STUN_XOR_PEER_ADDRESS ||
           type == STUN_XOR_RELAYED_ADDRESS;
}

/* Every reader looks at every value: what it says lies within the message and its bounds. */
static void read_all(const struct stunmsg *m, sv value)
{
    struct stun_addr addr;
    struct stun_icmp icmp;
    unsigned code;
    sv reason, list = value;
    uint8_t octet;
    uint16_t number;
    uint32_t v32;
    uint64_t v64;
    bool flag;
    if (!stunmsg_error_code(value, &code, &reason))
        must(code >= 300 && code <= 699 && within(reason, m->text));
    if (!stunmsg_address_error(value, &octet, &code, &reason))
        must((octet == 4 || octet == 6) && code >= 300 && code <= 699 && within(reason, m->text));
    if (!stunmsg_address(value, &addr) || !stunmsg_xor_address(m, value, &addr))
        must(addr.family == 4 || addr.family == 6);
    if (!stunmsg_family(value, &octet))
        must(octet == 4 || octet == 6);
    (void)(stunmsg_u32(value, &v32) || stunmsg_u64(value, &v64) ||
           stunmsg_channel(value, &number) || stunmsg_transport(value, &octet) ||
           stunmsg_even_port(value, &flag) || stunmsg_icmp(value, &icmp));
    for (size_t i = 0; stunmsg_unknown_at(value, i, &number); i++)
        must(i < value.n / 2);
    while (!stunmsg_algorithm_next(&list, &number, &reason))
        must(within(reason, m->text) && within(list, m->text));
    if (stun_nonce_features(value, &v32))
        must(v32 < 1 << 24);
}

/* Addresses are written as they were read, and read again; all else is copied. */
static void put_again(const struct stunmsg *m, const struct stun_out *o, const struct stun_attr *a)
{
    struct stun_addr addr;
    if (a->type == STUN_FINGERPRINT)
        stunmsg_put_fingerprint(o);
    else if (is_xored(a->type) && !stunmsg_xor_address(m, a->value, &addr))
        stunmsg_put_xor_address(o, a->type, &addr);
    else
        stunmsg_put(o, a->type, a->value);
    read_all(m, a->value);
}

/* Signed anew with a key of ours it verifies; as it came it does not, but by a chance that nobody has. */
static void sign_again(const struct stunmsg *m, const struct buf *printed)
{
    static const sv key = {"a key that no input knows", 25};
    struct stunmsg again;
    struct buf b;
    must(stunmsg_verify(m, key, STUN_SHA256_MIN) != ERR_OK);
    if (stunmsg_integrity(m) != STUN_UNSIGNED || m->fingerprint)
        return;
    for (int which = STUN_SHA1; which <= STUN_SHA256; which++) {
        buf_init_heap(&b, printed->n + 64);
        buf_put(&b, buf_sv(printed));
        struct stun_out o = {&b, 0};
        stunmsg_put_integrity(&o, (enum stun_integrity)which, key);
        must(b.rc == ERR_TOOBIG || (!stunmsg_parse(buf_sv(&b), &again) &&
                                    stunmsg_verify(&again, key, STUN_SHA256_MIN) == ERR_OK));
        buf_done(&b);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sv octets = {(const char *)data, size};
    struct stunmsg m, again;
    must(crypto_start() == ERR_OK);
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
        must(is_xored(a.type) || a.type == STUN_FINGERPRINT || sv_eq(a.value, a2.value));
    }
    must(!stunmsg_next(&again, &w2, &a2));
    sign_again(&m, &b);
    uint16_t unknown[UNKNOWN];
    must(stunmsg_unknown(&m, stunmsg_is_basic, unknown, UNKNOWN) <= UNKNOWN);
    buf_done(&b);
    return 0;
}
