/* SPDX-License-Identifier: MIT */
/* Certificates for tests: an authority, leaves of it, snapshots that serve them. */
#ifndef TLS_PEMS_H
#define TLS_PEMS_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>
#include "crypto/crypto.h"
#include "tls/tls.h"

enum { PEM_MAX = 16 * 1024 };

struct pem {
    struct buf cert, key;
};

static inline usec pem_now(void)
{
    return (usec)time(NULL) * USEC_S;
}

/* For these names and 127.0.0.1; by NULL: an authority. */
static inline void pem_make_at(struct pem *p, const struct pem *by, const sv *dns, size_t n,
                               usec wall)
{
    struct addr ip;
    assert_int_equal(addr_parse_ip(SV("127.0.0.1"), 0, &ip), ERR_OK);
    struct tls_names names = {.dns = dns, .dns_n = n, .ips = &ip, .ips_n = 1};
    buf_init_heap(&p->cert, PEM_MAX);
    buf_init_heap(&p->key, PEM_MAX);
    enum err rc =
        by ? tls_make_leaf(buf_sv(&by->cert), buf_sv(&by->key), &names, wall, &p->cert, &p->key)
           : tls_make_ca(&names, wall, &p->cert, &p->key);
    assert_int_equal(rc, ERR_OK);
}

static inline void pem_make(struct pem *p, const struct pem *by, const char *dns)
{
    sv name = sv_of(dns);
    pem_make_at(p, by, &name, 1, pem_now());
}

static inline void pem_done(struct pem *p)
{
    buf_done(&p->cert);
    buf_done(&p->key);
}

static inline struct tls_pair pem_pair(const struct pem *p)
{
    return (struct tls_pair){buf_sv(&p->cert), buf_sv(&p->key)};
}

static inline struct tls *pem_tls(const struct tls_config *c)
{
    struct buf why;
    struct tls *t = NULL;
    buf_init_heap(&why, 1024);
    enum err rc = tls_new(c, &why, &t);
    if (rc)
        print_message("%.*s\n", SV_ARG(buf_sv(&why)));
    assert_int_equal(rc, ERR_OK);
    buf_done(&why);
    return t;
}

#endif
