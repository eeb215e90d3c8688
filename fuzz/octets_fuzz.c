/* SPDX-License-Identifier: MIT */
/* fuzz/octets_fuzz.c: every way that this processor has finds the same kinds of octets, and those that
 * the definition says; runs end where a walk octet by octet ends. */
#include <stdlib.h>
#include "mem/mem.h"
#include "octets/octets.h"

#define HOLD(what)   \
    do {             \
        if (!(what)) \
            abort(); \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool is_control(uint8_t c)
{
    return c < 0x20 || c == 0x7f;
}

static bool is_plain(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!'*+-._~", c));
}

static void check_bits(const struct octets_bits *bits, const uint8_t *data, size_t n)
{
    struct octet_map o = {(const char *)data, bits->odd};
    size_t run_end = 0;
    for (size_t i = 0; i < bits->words * 64; i++) {
        bool run = i < n && is_control(data[i]) && (i == 0 || !is_control(data[i - 1]));
        HOLD((bits->runs[i / 64] >> i % 64 & 1) == run);
        bool plain = i < n && is_plain(data[i]);
        HOLD((bits->odd[i / 64] >> i % 64 & 1) == !plain);
        while (i < n && (run_end < i || (run_end < n && is_plain(data[run_end]))))
            run_end++;
        if (i < n && run_end / 64 < bits->words)
            HOLD(octets_plain_end(&o, o.base + i) == o.base + run_end);
    }
}

static void check_controls(const uint8_t *data, size_t n)
{
    for (size_t at = 0; at + 64 <= n; at += 61) { /* blocks at every alignment */
        uint64_t controls = 0;
        for (unsigned i = 0; i < 64; i++)
            controls |= (uint64_t)is_control(data[at + i]) << i;
        HOLD(octets_controls((const char *)data + at) == controls);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint64_t odd[2][OCTETS_ROOM(OCTETS_MAX)];
    static struct octets_bits first = {.odd = odd[0]}, other = {.odd = odd[1]};
    if (n > OCTETS_MAX)
        return 0;
    char *text = malloc(n + BLOCK_SLACK);
    HOLD(text);
    if (n)
        memcpy(text, data, n);
    memset(text + n, n % 2 ? '\n' : 'a', BLOCK_SLACK);
    data = (const uint8_t *)text;
    octets_scan(text, n, &first);
    const uint8_t *blank = n < 4 ? NULL : memmem(data, n, "\r\n\r\n", 4);
    size_t seen = blank ? (size_t)(blank - data) + 4 : n;
    HOLD(first.words == (seen + 63) / 64 && first.odd[first.words] == ~(uint64_t)0);
    check_bits(&first, data, n);
    check_controls(data, n);
    for (unsigned i = 0; i < OCTETS_VARIANTS; i++) {
        octets_scan_fn *scan = octets_variant(i);
        if (!scan)
            continue;
        scan(text, n, &other);
        HOLD(other.words == first.words && other.blank == (blank != NULL));
        HOLD(memcmp(other.runs, first.runs, first.words * sizeof(first.runs[0])) == 0);
        HOLD(memcmp(other.odd, first.odd, (first.words + 1) * sizeof(first.odd[0])) == 0);
    }
    free(text);
    return 0;
}
