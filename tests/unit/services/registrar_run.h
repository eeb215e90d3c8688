/* SPDX-License-Identifier: MIT */
/* A REGISTER applied to a set of bindings, for tests. */
#ifndef REGISTRAR_RUN_H
#define REGISTRAR_RUN_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "registrar/registrar.h"
#include "registrar/registrar_priv.h"

enum { ROOM = 256 * 1024, PEER_PORT = 5070 };
static char store_mem[ROOM], text_mem[16384 + BLOCK_SLACK];
static const usec now = 1000000 * USEC_S;
#define PEER "192.0.2.9"

struct fixture {
    struct arena keep;  /* the bindings before */
    struct arena arena; /* of the request */
    struct sipmsg msg;
    struct registrar_limits lim;
    struct flow flow;
    struct registrar_input in;
    struct registrar_result result;
    struct binding before[64];
    size_t n;
};

static inline struct addr address(const char *ip, uint16_t port)
{
    struct addr a;
    assert_int_equal(addr_parse_ip(sv_of(ip), port, &a), ERR_OK);
    return a;
}

static inline void begin(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    arena_init(&f->keep, store_mem, sizeof(store_mem), 1 << 20);
    arena_init(&f->arena, NULL, 0, 1 << 22);
    f->lim = (struct registrar_limits){
        .expires_min_s = 60, .expires_max_s = 7200, .expires_default_s = 7200, .contacts = 3};
    f->flow = (struct flow){.transport = SIP_T_UDP,
                            .local = address("192.0.2.1", 5060),
                            .remote = address(PEER, PEER_PORT)};
}

static inline void done(struct fixture *f)
{
    arena_done(&f->keep);
    arena_done(&f->arena);
}

/* A REGISTER with these lines; the result stays in f. */
static inline void apply_uri(struct fixture *f, const char *uri, const char *via,
                             const char *call_id, unsigned cseq, const char *lines)
{
    int n = snprintf(text_mem, sizeof(text_mem) - BLOCK_SLACK,
                     "REGISTER %s SIP/2.0\r\nVia: %s;branch=z9hG4bK1\r\n"
                     "Max-Forwards: 70\r\nFrom: <sip:a@example.com>;tag=1\r\n"
                     "To: <sip:a@example.com>\r\nCall-ID: %s\r\nCSeq: %u REGISTER\r\n%s"
                     "Content-Length: 0\r\n\r\n",
                     uri, via, call_id, cseq, lines);
    assert_true(n > 0 && (size_t)n < sizeof(text_mem) - BLOCK_SLACK);
    arena_reset(&f->arena);
    assert_int_equal(sipmsg_parse((sv){text_mem, (size_t)n}, &f->arena, &f->msg, NULL), ERR_OK);
    f->in = (struct registrar_input){.req = &f->msg,
                                     .flow = &f->flow,
                                     .aor = SV("a@example.com"),
                                     .old = f->before,
                                     .old_n = f->n,
                                     .epoch = 7,
                                     .chance = f->in.chance + 1,
                                     .now = now};
    assert_int_equal(registrar_apply(&f->in, &f->lim, &f->arena, &f->result), ERR_OK);
}

static inline void apply_via(struct fixture *f, const char *via, const char *call_id, unsigned cseq,
                             const char *lines)
{
    apply_uri(f, "sip:example.com", via, call_id, cseq, lines);
}

static inline void apply(struct fixture *f, const char *call_id, unsigned cseq, const char *lines)
{
    apply_via(f, "SIP/2.0/UDP " PEER ":5070", call_id, cseq, lines);
}

/* The result becomes what stands. */
static inline void keep(struct fixture *f)
{
    assert_int_equal(f->result.status, 200);
    for (size_t i = 0; i < f->result.n; i++) {
        struct binding b = f->result.bindings[i];
        assert_int_equal(sv_dup(&f->keep, b.uri, &b.uri), ERR_OK);
        assert_int_equal(sv_dup(&f->keep, b.params, &b.params), ERR_OK);
        assert_int_equal(sv_dup(&f->keep, b.call_id, &b.call_id), ERR_OK);
        assert_int_equal(sv_dup(&f->keep, b.path, &b.path), ERR_OK);
        assert_int_equal(sv_dup(&f->keep, b.instance, &b.instance), ERR_OK);
        assert_int_equal(sv_dup(&f->keep, b.push, &b.push), ERR_OK);
        assert_int_equal(sv_dup(&f->keep, b.gruu, &b.gruu), ERR_OK);
        b.agent = SV_NONE;
        f->before[i] = b;
    }
    f->n = f->result.n;
}

/* The header lines of the 200. */
static inline const char *headers(struct fixture *f, const struct settings *set)
{
    static char mem[32768];
    struct buf b;
    buf_init(&b, mem, sizeof(mem) - 1);
    registrar_put_headers(&b, &f->in, &f->result, set);
    assert_int_equal(b.rc, ERR_OK);
    mem[b.n] = 0;
    return mem;
}

/* The Contacts of the 200, a line each, without Date. */
static inline const char *contacts(struct fixture *f)
{
    static char mem[32768];
    struct buf b;
    buf_init(&b, mem, sizeof(mem) - 1);
    registrar_put_bindings(&b, &f->in, f->result.bindings, f->result.n, false);
    assert_int_equal(b.rc, ERR_OK);
    mem[b.n] = 0;
    char *date = strstr(mem, "Date: ");
    assert_non_null(date);
    *date = 0;
    return mem;
}

#endif
