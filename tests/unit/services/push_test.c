/* SPDX-License-Identifier: MIT */
/* The wake-up call: who can be woken, what the provider is told, and once for a moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "crypto/crypto.h"
#include "push/push.h"
#include "worker/worker.h"

#define PNS "pn-provider=acme;pn-prid=a%22b;pn-param=org.example"

struct world {
    struct loop_group *group;
    struct loop *loop;
    struct fetch *fetch;
    struct push *push;
    struct settings *set;
    struct listener *listener;
    struct stream *stream;
    struct timer timer;
    char got[8192], url[64];
    size_t n;
    unsigned requests;
};

static void on_data(void *arg, sv octets)
{
    struct world *w = arg;
    sv answer = SV("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_true(w->n + octets.n < sizeof(w->got));
    memcpy(w->got + w->n, octets.p, octets.n);
    w->n += octets.n;
    w->got[w->n] = 0;
    if (!strstr(w->got, "\"time\":"))
        return;
    w->requests++;
    assert_int_equal(stream_send(w->stream, &answer, 1), ERR_OK);
}
static void on_close(void *arg, enum err why)
{
    (void)why;
    ((struct world *)arg)->stream = NULL;
}
static const struct stream_handler events = {.on_data = on_data, .on_close = on_close};
static void on_accept(void *arg, struct stream *s)
{
    struct world *w = arg;
    stream_close(w->stream, false);
    w->stream = s;
    stream_handle(s, &events, w);
}
static const struct listener_handler doors = {.on_accept = on_accept};

static void stop(struct timer *t, void *arg)
{
    (void)t;
    worker_group_stop(((struct world *)arg)->group);
}

static int setup(void **state)
{
    struct world *w = MEM_NEW(struct world);
    struct addr bind;
    assert_int_equal(crypto_start(), ERR_OK);
    assert_int_equal(addr_parse(SV("127.0.0.1:0"), &bind), ERR_OK);
    assert_int_equal(worker_group_new(1, &w->group), ERR_OK);
    w->loop = w->group->loop[0];
    assert_int_equal(stream_listen(w->loop, &bind, &doors, w, &w->listener), ERR_OK);
    assert_int_equal(fetch_new(&w->fetch), ERR_OK);
    assert_int_equal(push_new(w->loop, w->fetch, &w->push), ERR_OK);
    assert_int_equal(settings_default(SV("example.com"), &w->set), ERR_OK);
    snprintf(w->url, sizeof(w->url), "http://127.0.0.1:%u/", w->listener->local.port);
    w->set->push = (struct settings_push){.url = sv_of(w->url), .secret = SV("s")};
    timer_init(&w->timer, stop, w);
    *state = w;
    return 0;
}
static int teardown(void **state)
{
    struct world *w = *state;
    push_free(w->push);
    stream_close(w->stream, false);
    listener_close(w->listener);
    fetch_free(w->fetch);
    settings_unref(w->set);
    worker_group_free(w->group);
    mem_free(w);
    return 0;
}

static void run(struct world *w)
{
    loop_timer(w->loop, &w->timer, 400 * USEC_MS);
    assert_int_equal(worker_group_run(w->group), ERR_OK);
}

static void who_can_be_woken(void **state)
{
    struct world *w = *state;
    struct binding b = {.uri = SV("sip:bob@192.0.2.1"), .push = SV(PNS)};
    assert_true(push_can_wake(w->push, w->set, &b));
    b.push = SV("pn-prid=x");
    assert_false(push_can_wake(w->push, w->set, &b));
    b.push = SV("");
    assert_false(push_can_wake(w->push, w->set, &b));
    b.push = SV(PNS);
    w->set->push.url = SV("");
    assert_false(push_can_wake(w->push, w->set, &b));
    assert_false(push_can_wake(NULL, w->set, &b));
}

static void the_provider_is_told_once(void **state)
{
    struct world *w = *state;
    static const char text[] =
        "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKp\r\n"
        "From: \"\\\"},{\" <sip:eve@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\n"
        "Call-ID: quote\"d\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
    struct binding b = {.uri = SV("sip:bob@192.0.2.1"), .push = SV(PNS)};
    struct rx rx = {.rc = ERR_OK};
    char mem[sizeof(text) + BLOCK_SLACK];
    memcpy(mem, text, sizeof(text));
    arena_init(&rx.arena, NULL, 0, 1 << 20);
    assert_int_equal(sipmsg_parse((sv){mem, sizeof(text) - 1}, &rx.arena, &rx.msg, NULL), ERR_OK);
    push_wake(w->push, w->set, &b, SV("bob@example.com"), &rx);
    push_wake(w->push, w->set, &b, SV("bob@example.com"), &rx);
    run(w);
    assert_int_equal(w->requests, 1);
    assert_int_equal(stat_get(&w->loop->stats, STAT_PUSHES), 1);
    assert_non_null(strstr(w->got, "POST / HTTP/1.1\r\n"));
    assert_non_null(strstr(w->got, "\r\nTandem-Signature: t="));
    assert_non_null(strstr(w->got, "\"provider\":\"acme\",\"prid\":\"a%22b\","
                                   "\"param\":\"org.example\",\"account\":\"bob@example.com\","
                                   "\"method\":\"INVITE\",\"call_id\":\"quote\\\"d\","
                                   "\"from\":\"sip:eve@example.com\","));
    arena_done(&rx.arena);
}

/* The phone is of nobody's concern any more when its worker ends. */
static void what_is_under_way_may_end(void **state)
{
    struct world *w = *state;
    static const char text[] = "INVITE sip:bob@example.com SIP/2.0\r\nCall-ID: x\r\n\r\n";
    struct binding b = {.uri = SV("sip:bob@192.0.2.1"), .push = SV(PNS)};
    struct rx rx = {.rc = ERR_OK};
    char mem[sizeof(text) + BLOCK_SLACK];
    memcpy(mem, text, sizeof(text));
    arena_init(&rx.arena, NULL, 0, 1 << 20);
    assert_int_equal(sipmsg_parse((sv){mem, sizeof(text) - 1}, &rx.arena, &rx.msg, NULL), ERR_OK);
    push_wake(w->push, w->set, &b, SV("bob@example.com"), &rx);
    push_free(w->push);
    w->push = NULL;
    run(w);
    arena_done(&rx.arena);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(who_can_be_woken),
        T(the_provider_is_told_once),
        T(what_is_under_way_may_end),
    };
    return cmocka_run_group_tests_name("push", tests, NULL, NULL);
}
