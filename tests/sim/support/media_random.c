/* SPDX-License-Identifier: MIT */
/* OpenSSL's chance, by a seed: certificates, keys and handshakes are the same each time. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdint.h>

static uint64_t state;

static int bytes(unsigned char *p, int n)
{
    for (int i = 0; i < n; i++) {
        uint64_t z = (state += 0x9e3779b97f4a7c15u);
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        p[i] = (unsigned char)(z ^ z >> 31);
    }
    return 1;
}

static int status(void)
{
    return 1;
}

static const RAND_METHOD method = {.bytes = bytes, .pseudorand = bytes, .status = status};

bool media_random_start(void)
{
    return RAND_set_rand_method(&method) == 1;
}

void media_random_seed(uint64_t seed)
{
    state = seed;
}
