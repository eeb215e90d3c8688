/* SPDX-License-Identifier: MIT */
/* tools/header_slots.c: prints sipmsg/header_slots.h, a perfect hash over the names and compact forms
 * of headers.def: no two of them share a slot, so a lookup looks at one name. Run by the build. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "sipmsg/sipmsg_priv.h"

enum { NAMES_MAX = 512, BITS_MIN = 8, BITS_MAX = 12, TRIES = 2000000 };

static const char *const names[] = {
#define X(id, name, compact, kind, rfc) name, compact,
#include "sipmsg/headers.def"
#undef X
};
enum { NAMES = sizeof(names) / sizeof(names[0]) };

static uint32_t keys[NAMES];
static uint8_t slots[1 << BITS_MAX];

/* Fills the slots; false: two names meet. names[i] is of header i / 2 + 1: 0 is SIP_H_OTHER. */
static int fill(uint32_t factor, unsigned bits)
{
    memset(slots, 0, (size_t)1 << bits);
    for (unsigned i = 0; i < NAMES; i++) {
        uint8_t *slot = &slots[SIP_HASH_SLOT(keys[i], factor, bits)];
        if (names[i][0] == 0)
            continue;
        if (*slot)
            return 0;
        *slot = (uint8_t)(i / 2 + 1);
    }
    return 1;
}

static void print(uint32_t factor, unsigned bits)
{
    printf("/* made by tools/header_slots.c from headers.def */\n"
           "enum { SIP_HASH_BITS = %u };\n#define SIP_HASH_FACTOR %uu\n"
           "static const uint8_t header_slots[1 << SIP_HASH_BITS] = {",
           bits, factor);
    for (unsigned i = 0; i < 1u << bits; i++)
        printf("%s%u,", i % 16 ? " " : "\n    ", slots[i]);
    printf("\n};\n");
}

int main(void)
{
    _Static_assert(NAMES / 2 < UINT8_MAX, "a slot is an octet");
    for (unsigned i = 0; i < NAMES; i++)
        if (names[i][0])
            keys[i] = sip_hash_key(names[i], strlen(names[i]));
    uint32_t factor = 2654435769u; /* any odd start will do */
    for (unsigned bits = BITS_MIN; bits <= BITS_MAX; bits++) {
        for (unsigned i = 0; i < TRIES; i++) {
            factor = factor * 1664525u + 1013904223u;
            if (fill(factor | 1, bits)) {
                print(factor | 1, bits);
                return 0;
            }
        }
    }
    fprintf(stderr, "header_slots: no perfect hash over headers.def; widen the key\n");
    return 1;
}
