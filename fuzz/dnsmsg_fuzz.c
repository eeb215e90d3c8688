/* SPDX-License-Identifier: MIT */
/* fuzz/dnsmsg_fuzz.c: any octets as a DNS answer; what is understood must survive print and parse.
 */
#include <stdlib.h>

#include "dnsmsg/dnsmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A bound that holds: an abort is what the fuzzer sees. */
static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_name(sv name)
{
    must(name.n <= 253);
    for (size_t i = 0; i < name.n; i++)
        must(name.p[i] > ' ' && name.p[i] < 0x7f && name.p[i] == sv_lower(name.p[i]));
}

static void same_rr(const struct dns_rr *a, const struct dns_rr *b)
{
    must(a->type == b->type && a->ttl_s == b->ttl_s && sv_eq(a->name, b->name));
    check_name(a->name);
    switch (a->type) {
    case DNS_A:
    case DNS_AAAA:
        must(memcmp(a->ip, b->ip, a->type == DNS_A ? 4 : 16) == 0);
        break;
    case DNS_CNAME:
        check_name(a->cname);
        must(sv_eq(a->cname, b->cname));
        break;
    case DNS_SRV:
        check_name(a->srv.target);
        must(sv_eq(a->srv.target, b->srv.target) && a->srv.priority == b->srv.priority &&
             a->srv.weight == b->srv.weight && a->srv.port == b->srv.port);
        break;
    case DNS_NAPTR:
        check_name(a->naptr.replacement);
        must(sv_eq(a->naptr.replacement, b->naptr.replacement) &&
             sv_eq(a->naptr.flags, b->naptr.flags) && sv_eq(a->naptr.service, b->naptr.service) &&
             sv_eq(a->naptr.regexp, b->naptr.regexp) && a->naptr.order == b->naptr.order &&
             a->naptr.preference == b->naptr.preference);
        break;
    case DNS_SOA:
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct dnsmsg m, again;
    struct buf b;
    /* 64 records, each with two names and three strings of at most 255 octets */
    arena_init(&a, NULL, 0, 256 * 1024);
    buf_init_heap(&b, 256 * 1024);
    enum err rc = dnsmsg_parse((sv){(const char *)data, size}, &a, &m);
    must(rc != ERR_NOMEM);
    if (rc == ERR_OK) {
        rc = dnsmsg_print_answer(&b, &m);
        must(rc == ERR_OK || rc == ERR_TOOBIG);
    }
    if (rc == ERR_OK) {
        struct arena a2;
        arena_init(&a2, NULL, 0, 256 * 1024);
        must(dnsmsg_parse(buf_sv(&b), &a2, &again) == ERR_OK);
        must(m.id == again.id && m.response == again.response && m.rcode == again.rcode);
        must(m.truncated == again.truncated && m.n == again.n && m.n <= DNSMSG_RRS_MAX);
        must(m.negative_ttl_s == again.negative_ttl_s);
        must(sv_eq(m.question, again.question) && m.question_type == again.question_type);
        for (size_t i = 0; i < m.n; i++)
            same_rr(&m.rrs[i], &again.rrs[i]);
        arena_done(&a2);
    }
    buf_done(&b);
    arena_done(&a);
    return 0;
}
