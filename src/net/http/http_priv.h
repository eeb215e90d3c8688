/* SPDX-License-Identifier: MIT */
/* http_priv.h: the connection (http.c) and the request that arrives on it (http_request.c). */
#ifndef HTTP_PRIV_H
#define HTTP_PRIV_H
#include "http/http.h"
#include <http_parser.h>

/* Where in the text a field is: the text moves while it grows. */
struct place {
    uint32_t name, name_n, value, value_n;
};

struct incoming {
    struct http_request rq;
    struct http_field fields[HTTP_FIELDS_MAX];
    struct place at[HTTP_FIELDS_MAX];
    struct arena arena;
    http_parser parser;
    struct buf text; /* target, names and values end to end */
    size_t target_n;
    unsigned n;
    bool in_value;   /* the last piece of a field was of its value */
    unsigned status; /* why it is refused; 0: it is not */

    size_t head_n, head_max; /* octets of the head so far */
    unsigned lines;          /* complete ones */
    size_t line_n;           /* octets of this line */
    char last;               /* the octet before */
    char version[8];         /* what the request line ends with */
    bool head_done;

    char *body; /* body_n of body_cap octets, wiped when freed */
    size_t body_n, body_cap;
    struct buf rest; /* came behind an upgrade request */
};

struct incoming *incoming_new(const struct http_limits *limits); /* NULL: out of memory */
void incoming_free(struct incoming *in);                         /* NULL is fine */
/* Takes what belongs to the head off *octets; once head_done, in->rq is filled, but for the body.
 * 0, or the status that refuses it. */
unsigned incoming_head(struct incoming *in, sv *octets);
/* Room for the body. 0, or the status that refuses it. */
unsigned incoming_body_begin(struct incoming *in, size_t body_max);
/* Takes what belongs to the body. True: it is whole. */
bool incoming_body(struct incoming *in, sv *octets);

#endif
