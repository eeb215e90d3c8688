/* SPDX-License-Identifier: MIT */
/* parse.h: what a parser brings to be measured beside the others. */
#ifndef PARSE_H
#define PARSE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
    const char *p;
    size_t n;
};

enum { PARSE_ABSENT = -1, PARSE_SLACK = 64, PARSE_OUT = 16384 };

/* What a proxy reads of every message; the texts live until drop(). */
struct reading {
    struct text method; /* of a request */
    int64_t status;     /* of a response */
    struct text uri_user, uri_host;
    int64_t vias;
    struct text via_host, via_branch; /* of the topmost */
    struct text from_tag, to_tag, call_id;
    int64_t cseq;
    struct text cseq_method;
    int64_t contacts;
    struct text contact_host; /* of the first */
    int64_t routes;
    struct text route_host; /* of the first */
    int64_t max_forwards, expires, content_length;
};

/* The Via that an edit puts on top. */
#define PARSE_VIA "SIP/2.0/UDP proxy.example.net:5060;branch=z9hG4bK3f0a77c1d2.16.8b"

struct parser {
    const char *name;
    bool (*start)(void);
    /* Reads one message of exactly n octets, behind which PARSE_SLACK zeros stand; false: refused.
     * What it keeps is its own until drop(). */
    bool (*read)(const char *p, size_t n, struct reading *ret);
    void (*drop)(void);
    /* Reads it and writes it as a proxy sends it on: a request with PARSE_VIA on top and one hop
     * less, a response without its topmost Via. Octets written, 0: refused. NULL: the library cannot
     * print what it has read. */
    size_t (*edit)(const char *p, size_t n, char *out);
};
extern const struct parser parser; /* parse_<name>.c has it */

static inline struct text text_z(const char *s)
{
    return (struct text){s, s ? strlen(s) : 0};
}

static inline int64_t text_number(struct text t)
{
    int64_t value = 0;
    for (size_t i = 0; i < t.n; i++)
        value = value * 10 + (t.p[i] - '0');
    return t.n ? value : PARSE_ABSENT;
}

#endif
