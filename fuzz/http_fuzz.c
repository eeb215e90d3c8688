/* SPDX-License-Identifier: MIT */
/* fuzz/http_fuzz.c: any octets as a client of HTTP; the first answer and what the user saw must be the
 * same however the octets are cut. The first octet says how the user behaves. */
#include "http/http.h"
#include "puppet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct user {
    struct http *http;
    struct buf seen; /* the first request */
    unsigned ended, how;
};

enum { REFUSES = 1, LATER = 2, LAST = 4, OWN_WORDS = 8 };

static unsigned on_head(void *arg, const struct http_request *rq)
{
    struct user *u = arg;
    puppet_must(rq->method.n > 0 && rq->n <= HTTP_FIELDS_MAX && rq->target.n <= HTTP_TARGET_MAX);
    return u->how & REFUSES ? 403 : 0;
}

static void on_request(void *arg, const struct http_request *rq)
{
    struct user *u = arg;
    puppet_must(rq->body.n <= 256);
    if (u->seen.n == 0) {
        buf_put(&u->seen, rq->method);
        buf_put(&u->seen, rq->target);
        for (size_t i = 0; i < rq->n; i++) {
            for (size_t k = 0; k < rq->fields[i].name.n; k++)
                puppet_must(rq->fields[i].name.p[k] > ' ' && rq->fields[i].name.p[k] != 0x7f);
            buf_put(&u->seen, rq->fields[i].name);
            buf_put(&u->seen, rq->fields[i].value);
        }
        buf_put(&u->seen, rq->body);
    }
    if (u->how & LATER)
        return;
    if (u->how & LAST)
        http_reply_last(u->http, 200, SV_NONE, SV("text/plain"), SV("x"));
    else
        http_reply(u->http, 200, SV_NONE, SV("text/plain"), SV("x"));
}

static void on_end(void *arg, enum err why)
{
    struct user *u = arg;
    (void)why;
    puppet_must(u->ended++ == 0);
    u->http = NULL;
}

static void on_refuse(void *arg, unsigned status)
{
    struct user *u = arg;
    if (u->how & OWN_WORDS)
        http_reply_last(u->http, status, SV_NONE, SV_NONE, SV_NONE);
}

/* What the first answer and the first request were. */
static void run(sv octets, unsigned how, size_t piece, struct buf *ret)
{
    static const struct http_handler handler = {
        .on_head = on_head, .on_request = on_request, .on_end = on_end, .on_refuse = on_refuse};
    static const struct http_limits limits = {.head_max = 1024,
                                              .body_max = 256,
                                              .head_time = 10 * USEC_S,
                                              .body_time = 10 * USEC_S,
                                              .idle = 60 * USEC_S};
    static const sv go_on = {"HTTP/1.1 100 Continue\r\n\r\n", 25};
    struct puppet p;
    struct user u = {.how = how};
    size_t live = mem_live();
    puppet_up(&p);
    buf_init_heap(&u.seen, 4096);
    puppet_must(http_new(&p.loop, &p.s, &limits, &handler, &u, &u.http) == ERR_OK);
    for (size_t i = 0; i < octets.n && !p.closed; i += piece) {
        puppet_hear(&p, sv_sub(octets, i, i + piece));
        if (p.paused && u.http && (how & LATER))
            http_reply(u.http, 204, SV_NONE, SV_NONE, SV_NONE);
        loop_run_deferred(&p.loop);
    }
    sv said = buf_sv(&p.said);
    if (sv_starts(said, go_on)) /* only who sends the body later is told so */
        said = sv_sub(said, go_on.n, said.n);
    buf_put(ret, sv_sub(said, 0, 12));
    buf_put(ret, buf_sv(&u.seen));
    puppet_turn(&p, 100 * USEC_S);
    http_close(u.http, true);
    puppet_must(p.closed);
    buf_done(&u.seen);
    puppet_down(&p);
    puppet_must(mem_live() == live + (ret->p != NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, cut;
    if (size < 1 || size > 4096)
        return 0;
    sv octets = {(const char *)data + 1, size - 1};
    buf_init_heap(&whole, 8192);
    run(octets, data[0] & 15, size, &whole);
    for (size_t piece = 1; piece < 8; piece += 2) {
        size_t live = mem_live();
        buf_init_heap(&cut, 8192);
        run(octets, data[0] & 15, piece, &cut);
        puppet_must(sv_eq(buf_sv(&whole), buf_sv(&cut)));
        buf_done(&cut);
        puppet_must(mem_live() == live);
    }
    buf_done(&whole);
    return 0;
}
