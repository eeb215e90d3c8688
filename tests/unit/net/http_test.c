/* SPDX-License-Identifier: MIT */
/* HTTP: requests in all their cuts, what is refused, answers, and time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "http/http.h"
#include "puppet.h"

enum { HEAD_MAX = 4096, BODY_MAX = 1000 };
#define HEAD_TIME (10 * USEC_S)
#define BODY_TIME (20 * USEC_S)
#define IDLE      (60 * USEC_S)

static const struct http_limits limits = {.head_max = HEAD_MAX,
                                          .body_max = BODY_MAX,
                                          .head_time = HEAD_TIME,
                                          .body_time = BODY_TIME,
                                          .idle = IDLE};

/* What the user of a connection sees and does. */
struct user {
    struct http *http;
    struct buf seen; /* each request as "METHOD path ?query [name=value]* (body)" */
    unsigned heads, requests, ended, refused, refused_as;
    enum err why;
    unsigned refuse_with; /* by on_head */
    bool later;           /* is not answered in on_request */
    bool no_arena, last, own_words, close_on_head, close_on_request, close_on_end;
    sv answer;
};

static unsigned on_head(void *arg, const struct http_request *rq)
{
    struct user *u = arg;
    assert_true(rq->method.n > 0);
    u->heads++;
    if (u->close_on_head) {
        http_close(u->http, false);
        u->http = NULL;
    }
    return u->refuse_with;
}

static void on_request(void *arg, const struct http_request *rq)
{
    struct user *u = arg;
    struct buf *b = &u->seen;
    u->requests++;
    buf_printf(b, SV_FMT " " SV_FMT, SV_ARG(rq->method), SV_ARG(rq->path));
    if (sv_present(rq->query))
        buf_printf(b, " ?" SV_FMT, SV_ARG(rq->query));
    for (size_t i = 0; i < rq->n; i++)
        buf_printf(b, " " SV_FMT "=" SV_FMT, SV_ARG(rq->fields[i].name),
                   SV_ARG(rq->fields[i].value));
    buf_printf(b, " (" SV_FMT ")%s", SV_ARG(rq->body), rq->websocket ? " ws" : "");
    assert_int_equal(b->rc, ERR_OK);
    if (!u->no_arena)
        assert_non_null(arena_alloc(rq->arena, 100));
    if (u->close_on_request) {
        http_close(u->http, true);
        u->http = NULL;
    } else if (u->last) {
        http_reply_last(u->http, 200, SV_NONE, SV("text/plain"), u->answer);
        assert_int_equal(u->ended, 0); /* not inside the call */
    } else if (!u->later) {
        http_reply(u->http, 200, SV("X-Own: 1\r\n"), SV("text/plain"), u->answer);
    }
}

static void on_end(void *arg, enum err why)
{
    struct user *u = arg;
    u->ended++;
    u->why = why;
    if (u->close_on_end)
        http_close(u->http, true);
    u->http = NULL;
}

static void on_refuse(void *arg, unsigned status)
{
    struct user *u = arg;
    u->refused++;
    u->refused_as = status;
    if (u->own_words)
        http_reply_last(u->http, status, SV("WWW-Authenticate: Bearer\r\n"), SV("application/json"),
                        SV("{}"));
}

static const struct http_handler handler = {
    .on_head = on_head, .on_request = on_request, .on_end = on_end, .on_refuse = on_refuse};

struct rig {
    struct puppet p;
    struct user u;
    size_t live;
};

static void dial(struct rig *r, const struct http_limits *lim)
{
    if (r->u.http)
        http_close(r->u.http, false);
    buf_done(&r->u.seen);
    memset(&r->u, 0, sizeof(r->u));
    buf_init_heap(&r->u.seen, 1024 * 1024);
    r->u.answer = SV("hello\n");
    puppet_again(&r->p);
    assert_int_equal(http_new(&r->p.loop, &r->p.s, lim, &handler, &r->u, &r->u.http), ERR_OK);
}

static void rig_up(struct rig *r)
{
    memset(r, 0, sizeof(*r));
    r->live = mem_live();
    puppet_up(&r->p);
    buf_init_heap(&r->u.seen, 1024);
    dial(r, &limits);
}

static void rig_down(struct rig *r)
{
    http_close(r->u.http, false);
    puppet_turn(&r->p, USEC_S);
    buf_done(&r->u.seen);
    puppet_down(&r->p);
    assert_int_equal(mem_live(), r->live);
}

static void hear_cut(struct rig *r, sv octets, size_t piece)
{
    for (size_t i = 0; i < octets.n && !r->p.closed; i += piece)
        if (!puppet_hear(&r->p, sv_sub(octets, i, i + piece)))
            break;
}

static unsigned status_of(struct rig *r)
{
    sv said = buf_sv(&r->p.said);
    if (!sv_starts(said, SV("HTTP/1.1 ")) || said.n < 12)
        return 0;
    return (unsigned)((said.p[9] - '0') * 100 + (said.p[10] - '0') * 10 + said.p[11] - '0');
}

static bool said_has(struct rig *r, const char *text)
{
    buf_char(&r->p.said, '\0');
    bool has = strstr(r->p.said.p, text) != NULL;
    r->p.said.n--;
    return has;
}

static sv said_body(struct rig *r)
{
    sv said = buf_sv(&r->p.said);
    for (size_t i = 0; i + 4 <= said.n; i++)
        if (memcmp(said.p + i, "\r\n\r\n", 4) == 0)
            return sv_sub(said, i + 4, said.n);
    return SV_NONE;
}

#define O(lit)                  \
    {                           \
        "" lit, sizeof(lit) - 1 \
    }

/* ---- requests ---- */

static const struct {
    sv text, seen;
} good[] = {
    {O("GET / HTTP/1.1\r\n\r\n"), O("GET / ()")},
    {O("\r\n\r\nGET /a?b=c?d HTTP/1.1\r\nHost: x\r\n\r\n"), O("GET /a ?b=c?d Host=x ()")},
    {O("HEAD /? HTTP/1.0\r\nA:b\r\nA:\t c \t\r\nEmpty:\r\n\r\n"), O("HEAD / ? A=b A=c Empty= ()")},
    {O("POST /x HTTP/1.1\r\nContent-Length: 5\r\nHost: x\r\n\r\n12\r\n5"),
     O("POST /x Content-Length=5 Host=x (12\r\n5)")},
    {O("DELETE /x HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), O("DELETE /x Content-Length=0 ()")},
    {O("OPTIONS * HTTP/1.1\r\n\r\n"), O("OPTIONS * ()")},
    {O("GET /\xc3\xa4 HTTP/1.1\r\nX: \xff\r\n\r\n"), O("GET /\xc3\xa4 X=\xff ()")},
    {O("GET / HTTP/1.1\r\nConnection: a, upgrade\r\nUpgrade: WebSocket\r\n\r\n"),
     O("GET / Connection=a, upgrade Upgrade=WebSocket () ws")},
    {O("GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websockets\r\n\r\n"),
     O("GET / Connection=upgrade Upgrade=websockets ()")},
};

static void requests_are_read_however_cut(void **state)
{
    (void)state;
    struct rig r;
    rig_up(&r);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        for (size_t cut = 0; cut <= good[i].text.n; cut++) {
            dial(&r, &limits);
            if (cut == 0) {
                hear_cut(&r, good[i].text, 1);
            } else {
                puppet_hear(&r.p, sv_sub(good[i].text, 0, cut));
                assert_int_equal(r.u.requests, cut == good[i].text.n);
                if (cut < good[i].text.n)
                    puppet_hear(&r.p, sv_sub(good[i].text, cut, good[i].text.n));
            }
            assert_int_equal(r.u.requests, 1);
            assert_int_equal(r.u.heads, 1);
            if (!sv_eq(buf_sv(&r.u.seen), good[i].seen))
                fail_msg("cut at %zu: " SV_FMT ", not " SV_FMT, cut, SV_ARG(buf_sv(&r.u.seen)),
                         SV_ARG(good[i].seen));
            assert_int_equal(status_of(&r), 200);
        }
    }
    rig_down(&r);
}

static const struct {
    sv text;
    unsigned status;
} bad[] = {
    {O("FROB / HTTP/1.1\r\n\r\n"), 400},
    {O("get / HTTP/1.1\r\n\r\n"), 400},
    {O("GET / HTTP/2.0\r\n\r\n"), 505},
    {O("GET / HTTP/0.9\r\n\r\n"), 505},
    {O("GET /\r\n\r\n"), 400},
    {O("GET / HTTP/1.1 \r\n\r\n"), 400},
    {O("GET / HTTP/11.1\r\n\r\n"), 400},
    {O("GET / http/1.1\r\n\r\n"), 400},
    {O("GET / ICE/1.1\r\n\r\n"), 400},
    {O("GET / HTTP/1.\r\n\r\n"), 400},
    {O("GET / a HTTP/1.1\r\n\r\n"), 400},
    {O("GET\t/ HTTP/1.1\r\n\r\n"), 400},
    {O("GET / HTTQ/1.1\r\n\r\n"), 400},
    {O("GET  HTTP/1.1\r\n\r\n"), 400},
    {O("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 400}, /* TLS to the wrong port */
    {O("GET / HTTP/1.1\n\n"), 400},
    {O("GET / HTTP/1.1\nHost: a\n\n"), 400},
    {O("GET / HTTP/1.1\r\nHost: a\n\r\n"), 400},
    {O("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"), 400},
    {O("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"), 400},
    {O("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), 400},
    {O("GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n"), 400}, /* folded */
    {O("GET / HTTP/1.1\r\nX:\r\n\tb\r\n\r\n"), 400},
    {O("GET / HTTP/1.1\r\nX: a\r\n \r\n\r\n"), 400},
    {O("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), 400},
    {O("GET / HTTP/1.1\r\nBad Name: a\r\n\r\n"), 400},
    {O("GET / HTTP/1.1\r\nB\xc3\xa4"
       "d: a\r\n\r\n"),
     400},
    {O("GET / HTTP/1.1\r\nX(a): a\r\n\r\n"), 400},
    {O("GET / HTTP/1.1\r\n: a\r\n\r\n"), 400},
    {O("GET / HTTP/1.1\r\nnothing\r\n\r\n"), 400},
    {O("GET / HTTP/1.1\r\nX: a\x00"
       "b\r\n\r\n"),
     400},
    {O("GET / HTTP/1.1\r\nX: a\x01"
       "b\r\n\r\n"),
     400},
    {O("GET / HTTP/1.1\r\nX: a\x7f\r\n\r\n"), 400},
    {O("GET /a\x00"
       "b HTTP/1.1\r\n\r\n"),
     400},
    {O("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"), 400},
    {O("POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), 400},
    {O("POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc"), 400},
    {O("POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\nabc"), 400},
    {O("POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc"), 400},
    {O("POST / HTTP/1.1\r\nContent-Length: -3\r\n\r\nabc"), 400},
    {O("POST / HTTP/1.1\r\nContent-Length: 0x3\r\n\r\nabc"), 400},
    {O("POST / HTTP/1.1\r\nContent-Length: 3 3\r\n\r\nabc"), 400},
    {O("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n"), 400},
    {O("POST / HTTP/1.1\r\nContent-Length:\r\n\r\n"), 400},
    {O("POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n"), 413},
    {O("POST / HTTP/1.1\r\nContent-Length: 18446744073709551614\r\n\r\n"), 400},
    {O("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 411},
    {O("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400},
    {O("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc"), 400},
    {O("POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc"), 400},
    {O("POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc"), 400},
    {O("POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n"), 400},
    {O("POST / HTTP/1.1\r\nContent-Length: 3\r\nExpect: tea\r\n\r\n"), 417},
};

static void bad_requests_are_refused_however_cut(void **state)
{
    (void)state;
    struct rig r;
    rig_up(&r);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        for (size_t piece = 1; piece < 100; piece += 1 + piece / 2) {
            dial(&r, &limits);
            hear_cut(&r, bad[i].text, piece);
            unsigned status = status_of(&r);
            if (status != bad[i].status)
                fail_msg("%zu by %zu: " SV_FMT ": %u, not %u", i, piece, SV_ARG(bad[i].text),
                         status, bad[i].status);
            assert_int_equal(r.u.requests, 0);
            assert_int_equal(r.u.refused_as, status);
            assert_true(said_has(&r, "\r\nConnection: close\r\n"));
            assert_int_equal(r.u.ended, 1);
            assert_int_equal(r.u.why, ERR_OK);
            assert_true(r.p.closed && r.p.flush);
        }
    }
    rig_down(&r);
}

static void holds_its_limits(void **state)
{
    (void)state;
    struct rig r;
    struct buf b;
    rig_up(&r);
    buf_init_heap(&b, 1024 * 1024);
    static const struct {
        int fields, target, value, body;
        unsigned status;
    } row[] = {
        {64, 1, 1, 0, 200},   {65, 1, 1, 0, 431},    {1000, 1, 1, 0, 431},   {1, 2048, 1, 0, 200},
        {1, 2049, 1, 0, 414}, {1, 9000, 1, 0, 414},  {1, 100000, 1, 0, 414}, {1, 1, 4000, 0, 200},
        {1, 1, 4096, 0, 431}, {1, 1, 90000, 0, 431}, {1, 1, 1, 1000, 200},
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        buf_reset(&b);
        buf_str(&b, "GET ");
        for (int k = 0; k < row[i].target; k++)
            buf_char(&b, '/');
        buf_str(&b, " HTTP/1.1\r\n");
        for (int k = 0; k < row[i].fields - (row[i].body > 0); k++) {
            buf_printf(&b, "X%d:", k);
            for (int v = 0; v < row[i].value; v++)
                buf_char(&b, 'v');
            buf_str(&b, "\r\n");
        }
        if (row[i].body)
            buf_printf(&b, "Content-Length: %d\r\n", row[i].body);
        buf_str(&b, "\r\n");
        for (int k = 0; k < row[i].body; k++)
            buf_char(&b, 'b');
        dial(&r, &limits);
        size_t live = mem_live();
        hear_cut(&r, buf_sv(&b), 1460);
        if (status_of(&r) != row[i].status)
            fail_msg("%zu: %u", i, status_of(&r));
        assert_true(mem_live() <= live + 2);
    }
    buf_done(&b);
    assert_true(atomic_load(&r.p.loop.stats.refusals[STAT_LIMIT_MESSAGE_SIZE]) >= 7);
    /* so many requests a connection */
    struct http_limits three = limits;
    three.requests = 3;
    dial(&r, &three);
    for (int i = 0; i < 3; i++) {
        assert_false(r.p.closed);
        buf_reset(&r.p.said);
        puppet_hear(&r.p, SV("GET / HTTP/1.1\r\n\r\n"));
        assert_int_equal(said_has(&r, "Connection: close"), i == 2);
    }
    assert_true(r.p.closed);
    rig_down(&r);
}

/* ---- answers ---- */

static void answers_have_their_form(void **state)
{
    (void)state;
    struct rig r;
    rig_up(&r);
    puppet_hear(&r.p, SV("GET / HTTP/1.1\r\n\r\n"));
    sv want = SV("HTTP/1.1 200 OK\r\nDate: Fri, 15 Jan 2027 08:00:00 GMT\r\n"
                 "Content-Type: text/plain\r\nContent-Length: 6\r\nX-Own: 1\r\n\r\nhello\n");
    assert_true(sv_eq(buf_sv(&r.p.said), want));
    assert_false(r.p.closed || r.p.paused);
    buf_reset(&r.p.said);
    puppet_hear(&r.p, SV("HEAD / HTTP/1.1\r\n\r\n"));
    assert_true(said_has(&r, "Content-Length: 6\r\n"));
    assert_int_equal(said_body(&r).n, 0);
    assert_false(r.p.closed);
    r.u.later = true;
    buf_reset(&r.p.said);
    puppet_hear(&r.p, SV("GET / HTTP/1.1\r\n\r\n"));
    assert_true(r.p.paused);
    puppet_turn(&r.p, 1000 * USEC_S); /* the user's time, not the peer's */
    assert_int_equal(r.u.ended, 0);
    http_reply(r.u.http, 204, SV_NONE, SV_NONE, SV_NONE);
    assert_false(said_has(&r, "Content-"));
    http_reply(r.u.http, 200, SV_NONE, SV_NONE, SV("nobody asked")); /* nothing */
    assert_int_equal(said_body(&r).n, 0);
    assert_false(r.p.paused);
    /* what ends a connection */
    static const struct {
        const char *text;
        bool ends;
    } row[] = {
        {"GET / HTTP/1.1\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nConnection: a, Close\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", true},
        {"CONNECT a:1 HTTP/1.1\r\n\r\n", true},
        {"GET / HTTP/1.1\r\n\r\nGET /second HTTP/1.1\r\n\r\n", true}, /* no pipelining */
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        dial(&r, &limits);
        puppet_hear(&r.p, sv_of(row[i].text));
        assert_int_equal(status_of(&r), 200);
        assert_int_equal(r.u.requests, 1);
        assert_int_equal(said_has(&r, "Connection: close\r\n"), row[i].ends);
        assert_int_equal(r.p.closed, row[i].ends);
        assert_int_equal(r.u.ended, row[i].ends);
    }
    dial(&r, &limits);
    r.u.last = true;
    puppet_hear(&r.p, SV("GET / HTTP/1.1\r\n\r\n"));
    assert_int_equal(r.u.ended, 1);
    assert_true(r.p.closed);
    rig_down(&r);
}

static void refusals_may_have_words(void **state)
{
    (void)state;
    struct rig r;
    rig_up(&r);
    sv text = SV("POST /secret HTTP/1.1\r\nContent-Length: 100\r\n\r\n");
    r.u.refuse_with = 401;
    puppet_hear(&r.p, text);
    assert_int_equal(status_of(&r), 401); /* before the body */
    assert_true(sv_eq(said_body(&r), SV("401 Unauthorized\n")));
    assert_int_equal(r.u.requests, 0);
    dial(&r, &limits);
    r.u.refuse_with = 401;
    r.u.own_words = true;
    puppet_hear(&r.p, text);
    assert_true(said_has(&r, "\r\nWWW-Authenticate: Bearer\r\n"));
    assert_true(sv_eq(said_body(&r), SV("{}")));
    assert_int_equal(r.u.ended, 1);
    rig_down(&r);
}

static void who_asks_before_a_body_is_answered(void **state)
{
    (void)state;
    struct rig r;
    rig_up(&r);
    sv head = SV("POST / HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n");
    puppet_hear(&r.p, head);
    assert_true(sv_eq(buf_sv(&r.p.said), SV("HTTP/1.1 100 Continue\r\n\r\n")));
    puppet_hear(&r.p, SV("abc"));
    assert_int_equal(r.u.requests, 1);
    /* not a stranger's, nor one that did not wait, nor of HTTP/1.0 */
    dial(&r, &limits);
    r.u.refuse_with = 403;
    puppet_hear(&r.p, head);
    assert_int_equal(status_of(&r), 403);
    dial(&r, &limits);
    puppet_hear(&r.p,
                SV("POST / HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc"));
    assert_int_equal(status_of(&r), 200);
    dial(&r, &limits);
    puppet_hear(&r.p, SV("POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"));
    assert_int_equal(r.p.said.n, 0);
    rig_down(&r);
}

/* ---- time, and peers that do not read ---- */

static void each_phase_has_its_time(void **state)
{
    (void)state;
    struct rig r;
    rig_up(&r);
    static const struct {
        const char *text;
        usec time;
        unsigned status; /* 0: it ends without a word */
    } row[] = {
        {"", HEAD_TIME, 0},
        {"G", HEAD_TIME, 408},
        {"\r\n", HEAD_TIME, 408},
        {"GET / HTTP/1.1\r\nHost: a\r\n", HEAD_TIME, 408},
        {"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n", BODY_TIME, 408},
        {"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n012345678", BODY_TIME, 408},
        {"GET / HTTP/1.1\r\n\r\n", IDLE, 200},
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        dial(&r, &limits);
        if (*row[i].text)
            puppet_hear(&r.p, sv_of(row[i].text));
        puppet_turn(&r.p, row[i].time - USEC_S);
        assert_false(r.p.closed);
        puppet_turn(&r.p, 2 * USEC_S);
        puppet_turn(&r.p, USEC_MS);
        assert_true(r.p.closed);
        assert_int_equal(r.u.ended, 1);
        assert_int_equal(status_of(&r), row[i].status);
    }
    assert_int_equal(atomic_load(&r.p.loop.stats.refusals[STAT_LIMIT_MESSAGE_TIME]), 5);
    /* a drip of right octets does not move it */
    static const char drip[] = "GET / HTTP/1.1\r\nX: aaaaaaaaaaaaaaaaaa";
    dial(&r, &limits);
    for (int i = 0; drip[i] && !r.p.closed; i++) {
        assert_true(i < 12);
        puppet_hear(&r.p, (sv){&drip[i], 1});
        puppet_turn(&r.p, USEC_S);
    }
    assert_int_equal(status_of(&r), 408);
    rig_down(&r);
}

static void who_never_reads_costs_one_answer(void **state)
{
    (void)state;
    struct rig r;
    char *large = malloc(2 * STREAM_QUEUE_MAX);
    memset(large, 'x', 2 * STREAM_QUEUE_MAX);
    rig_up(&r);
    r.u.answer = (sv){large, 2 * STREAM_QUEUE_MAX};
    r.p.stalled = true;
    puppet_hear(&r.p, SV("GET / HTTP/1.1\r\n\r\n"));
    assert_true(r.p.s.queued > 2 * STREAM_QUEUE_MAX); /* larger than the cap, alone */
    assert_true(r.p.paused);
    assert_false(puppet_hear(&r.p, SV("GET / HTTP/1.1\r\n\r\n")));
    puppet_drain(&r.p);
    assert_false(r.p.paused);
    assert_int_equal(r.p.s.queue_max, STREAM_QUEUE_MAX);
    puppet_hear(&r.p, SV("GET / HTTP/1.1\r\n\r\n"));
    assert_int_equal(r.u.requests, 2);
    /* for ever */
    r.p.stalled = true;
    puppet_hear(&r.p, SV("GET / HTTP/1.1\r\n\r\n"));
    puppet_turn(&r.p, IDLE + USEC_S);
    assert_int_equal(r.u.ended, 1);
    assert_int_equal(r.u.why, ERR_TIMEOUT);
    assert_true(r.p.closed && !r.p.flush);
    /* a last answer is waited for, too */
    for (int i = 0; i < 2; i++) {
        dial(&r, &limits);
        r.u.last = true;
        r.p.stalled = true;
        puppet_hear(&r.p, SV("GET / HTTP/1.1\r\n\r\n"));
        puppet_turn(&r.p, IDLE - USEC_S);
        assert_int_equal(r.u.ended, 0);
        if (i == 0)
            puppet_drain(&r.p);
        else
            puppet_turn(&r.p, 2 * USEC_S);
        assert_int_equal(r.u.ended, 1);
        assert_int_equal(r.u.why, i == 0 ? ERR_OK : ERR_TIMEOUT);
    }
    /* a write that fails ends it */
    dial(&r, &limits);
    r.p.send_rc = ERR_CLOSED;
    puppet_hear(&r.p, SV("GET / HTTP/1.1\r\n\r\n"));
    assert_int_equal(r.u.ended, 1);
    assert_int_equal(r.u.why, ERR_CLOSED);
    free(large);
    rig_down(&r);
}

/* ---- ends ---- */

static void it_may_end_anywhere(void **state)
{
    (void)state;
    struct rig r;
    sv text = SV("POST /x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    rig_up(&r);
    for (size_t n = 0; n <= text.n; n++) {
        for (int how = 0; how < 3; how++) {
            dial(&r, &limits);
            r.u.later = true;
            r.u.close_on_end = how == 2;
            if (n > 0)
                puppet_hear(&r.p, sv_sub(text, 0, n));
            if (how == 0) {
                http_close(r.u.http, n & 1);
                r.u.http = NULL;
                assert_true(r.p.closed && r.p.flush == (n & 1));
                assert_int_equal(r.u.ended, 0);
            } else {
                puppet_end(&r.p, ERR_IO);
                assert_int_equal(r.u.ended, 1);
                assert_int_equal(r.u.why, ERR_IO);
            }
            puppet_turn(&r.p, 2 * IDLE);
        }
    }
    for (int how = 0; how < 2; how++) {
        dial(&r, &limits);
        r.u.close_on_head = how == 0;
        r.u.close_on_request = how == 1;
        puppet_hear(&r.p, text);
        assert_true(r.p.closed);
        assert_int_equal(r.u.ended, 0);
        assert_int_equal(r.p.said.n, 0);
    }
    /* closed between its last answer and the end of the turn */
    dial(&r, &limits);
    r.u.later = true;
    puppet_hear(&r.p, text);
    http_reply_last(r.u.http, 200, SV_NONE, SV_NONE, SV_NONE);
    http_close(r.u.http, true);
    r.u.http = NULL;
    puppet_turn(&r.p, USEC_S);
    assert_int_equal(r.u.ended, 0);
    http_close(NULL, true);
    rig_down(&r);
}

static void memory_may_end_anywhere(void **state)
{
    (void)state;
    sv text = SV("POST /x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    bool through = false;
    for (size_t n = 1; n < 100 && !through; n++) {
        struct rig r;
        rig_up(&r);
        buf_printf(&r.p.said, "%2000s", "");
        buf_reset(&r.p.said);
        buf_printf(&r.u.seen, "%500s", "");
        buf_reset(&r.u.seen);
        r.u.later = r.u.no_arena = true;
        mem_fail_after(n);
        hear_cut(&r, text, 13);
        mem_fail_after(0);
        through = r.u.requests == 1;
        if (!through)
            assert_int_equal(r.u.ended, 1);
        rig_down(&r);
    }
    assert_true(through);
}

static void reasons(void **state)
{
    (void)state;
    assert_string_equal(http_reason(200), "OK");
    assert_string_equal(http_reason(431), "Request Header Fields Too Large");
    assert_string_equal(http_reason(599), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_read_however_cut),
        cmocka_unit_test(bad_requests_are_refused_however_cut),
        cmocka_unit_test(holds_its_limits),
        cmocka_unit_test(answers_have_their_form),
        cmocka_unit_test(refusals_may_have_words),
        cmocka_unit_test(who_asks_before_a_body_is_answered),
        cmocka_unit_test(each_phase_has_its_time),
        cmocka_unit_test(who_never_reads_costs_one_answer),
        cmocka_unit_test(it_may_end_anywhere),
        cmocka_unit_test(memory_may_end_anywhere),
        cmocka_unit_test(reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
