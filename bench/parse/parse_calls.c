/* SPDX-License-Identifier: MIT */
/* parse_calls: preloaded, it counts the calls to the allocator. */
#include <stddef.h>
#include <stdint.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t count, size_t n);
void *__libc_realloc(void *p, size_t n);

uint64_t parse_calls;

void *malloc(size_t n)
{
    parse_calls++;
    return __libc_malloc(n);
}

void *calloc(size_t count, size_t n)
{
    parse_calls++;
    return __libc_calloc(count, n);
}

void *realloc(void *p, size_t n)
{
    parse_calls++;
    return __libc_realloc(p, n);
}
