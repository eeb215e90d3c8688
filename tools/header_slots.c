/* SPDX-License-Identifier: MIT */
/* tools/header_slots.c: prints sipmsg/header_slots.h, a perfect hash over the names and compact forms
 * of headers.def: no two of them share a place in it, so a lookup looks at one name. Run by the build. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "sipmsg/sipmsg_priv.h"

enum { NAMES_MAX = 256, BITS_MIN = 8, BITS_MAX = 12, TRIES = 2000000 };

static const char *const names[] = {
#define X(id, name, compact, kind, rfc) name, compact,
#include "sipmsg/headers.def"
#undef X
};
enum { NAMES = sizeof(names) / sizeof(names[0]) };

/* Every name and compact form that there is; slot 0 is nobody's, with a key that no name has. */
static struct {
    struct sip_name_key key;
    size_t n;
    unsigned id;
} slots[NAMES_MAX] = {{{UINT64_MAX, UINT64_MAX}, 0, 0}};
static unsigned count = 1;
static uint8_t hash[1 << BITS_MAX];

/* Fills the hash; false: two names meet. */
static int fill(uint64_t factor, unsigned bits)
{
    memset(hash, 0, (size_t)1 << bits);
    for (unsigned i = 1; i < count; i++) {
        uint8_t *place = &hash[SIP_NAME_HASH(slots[i].key.head, slots[i].key.tail, factor, bits)];
        if (*place)
            return 0;
        *place = (uint8_t)i;
    }
    return 1;
}

static void print(uint64_t factor, unsigned bits)
{
    printf("/* made by tools/header_slots.c from headers.def */\n"
           "#define SIP_NAME_PLACE(head, tail) SIP_NAME_HASH(head, tail, 0x%" PRIx64 "u, %u)\n"
           "static const uint8_t header_hash[1 << %u] = {",
           factor, bits, bits);
    for (unsigned i = 0; i < 1u << bits; i++)
        printf("%s%u,", i % 16 ? " " : "\n    ", hash[i]);
    printf("\n};\n"
           "static const struct header_slot {\n"
           "    _Alignas(32) struct sip_name_key key;\n    uint8_t n, id;\n} header_slots[] = {\n");
    for (unsigned i = 0; i < count; i++)
        printf("    {{0x%" PRIx64 "u, 0x%" PRIx64 "u}, %zu, %u},\n", slots[i].key.head,
               slots[i].key.tail, slots[i].n, slots[i].id);
    printf("};\n");
}

int main(void)
{
    _Static_assert((int)NAMES < (int)NAMES_MAX, "a slot's number is an octet");
    for (unsigned i = 0; i < NAMES; i++) {
        char padded[64] = {0};
        size_t n = strlen(names[i]);
        if (n == 0)
            continue;
        memcpy(padded, names[i], n);
        slots[count].key = sip_name_key(padded, n);
        slots[count].n = n;
        slots[count++].id = i / 2 + 1; /* 0 is SIP_H_OTHER */
    }
    uint64_t factor = 0x9e3779b97f4a7c15u; /* any odd start will do */
    for (unsigned bits = BITS_MIN; bits <= BITS_MAX; bits++) {
        for (unsigned i = 0; i < TRIES; i++) {
            factor = factor * 6364136223846793005u + 1442695040888963407u;
            if (fill(factor | 1, bits)) {
                print(factor | 1, bits);
                return 0;
            }
        }
    }
    fprintf(stderr, "header_slots: no perfect hash over headers.def; widen the key\n");
    return 1;
}
