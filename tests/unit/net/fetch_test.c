/* SPDX-License-Identifier: MIT */
/* Webhooks: against a small server on a stream of the same loop. */
#include "net_run.h"
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include "fetch/fetch.h"

struct world {
    struct fetch *fetch;
    struct listener *listener;
    struct stream *stream;
    char got[8192];
    size_t got_n;
    const char *answer; /* NULL: silence */
    unsigned calls, status;
    enum err rc;
};

static void on_data(void *arg, sv octets)
{
    struct world *w = arg;
    if (w->got_n + octets.n < sizeof(w->got)) {
        memcpy(w->got + w->got_n, octets.p, octets.n);
        w->got_n += octets.n;
        w->got[w->got_n] = 0;
    }
    sv answer = sv_of(w->answer);
    if (w->answer && strstr(w->got, "{\"wake\":1}"))
        assert_int_equal(stream_send(w->stream, &answer, 1), ERR_OK);
}

static void on_close(void *arg, enum err why)
{
    (void)why;
    ((struct world *)arg)->stream = NULL;
}

static const struct stream_handler stream_handler_ = {.on_data = on_data, .on_close = on_close};

static void on_accept(void *arg, struct stream *s)
{
    struct world *w = arg;
    stream_close(w->stream, false);
    w->stream = s;
    stream_handle(s, &stream_handler_, w);
}

static const struct listener_handler listener_handler_ = {.on_accept = on_accept};

static void on_done(void *arg, enum err rc, unsigned status)
{
    struct world *w = arg;
    w->calls++;
    w->rc = rc;
    w->status = status;
    net_stop();
}

static void begin(struct world *w)
{
    net_setup(1);
    struct addr bind = net_addr("127.0.0.1:0");
    assert_int_equal(stream_listen(at, &bind, &listener_handler_, w, &w->listener), ERR_OK);
    assert_int_equal(fetch_new(&w->fetch), ERR_OK);
}

static void end(struct world *w)
{
    stream_close(w->stream, false);
    listener_close(w->listener);
    fetch_free(w->fetch);
    net_end();
}

static struct fetch_call *ask(struct world *w, usec time)
{
    char url[64];
    struct fetch_call *call = NULL;
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/wake", w->listener->local.port);
    struct fetch_request rq = {
        .url = sv_of(url),
        .type = SV("application/json"),
        .body = SV("{\"wake\":1}"),
        .headers = {SV("Tandem-Signature: t=1,v1=ab")},
        .headers_n = 1,
        .time = time,
        .done = on_done,
        .arg = w,
    };
    assert_int_equal(fetch_start(w->fetch, at, &rq, &call), ERR_OK);
    return call;
}

static bool library_is_there(void)
{
    void *lib = dlopen("libcurl.so.4", RTLD_NOW | RTLD_NOLOAD);
    if (lib)
        dlclose(lib);
    return lib != NULL;
}

/* The first of all: what was loaded stays. A file that cannot be opened is as good as none. */
static void a_missing_library_is_told(void **state)
{
    (void)state;
    struct rlimit was, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    none = (struct rlimit){0, was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    enum err rc = fetch_load();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    assert_int_equal(rc, ERR_UNSUPPORTED);
    assert_false(library_is_there());
}

/* Before any other is made. */
static void the_library_comes_with_the_first_call(void **state)
{
    (void)state;
    static struct world w;
    w = (struct world){.answer = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"};
    begin(&w);
    assert_false(library_is_there());
    ask(&w, 5 * USEC_S);
    net_run();
    assert_true(library_is_there());
    assert_int_equal(w.rc, ERR_OK);
    end(&w);
    assert_int_equal(fetch_load(), ERR_OK);
}

static void it_posts_and_tells_the_status(void **state)
{
    (void)state;
    static struct world w;
    w = (struct world){.answer = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"};
    begin(&w);
    ask(&w, 5 * USEC_S);
    net_run();
    assert_int_equal(w.calls, 1);
    assert_int_equal(w.rc, ERR_OK);
    assert_int_equal(w.status, 202);
    assert_non_null(strstr(w.got, "POST /wake HTTP/1.1\r\n"));
    assert_non_null(strstr(w.got, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(w.got, "Tandem-Signature: t=1,v1=ab\r\n"));
    end(&w);
}

static void a_redirection_is_not_followed(void **state)
{
    (void)state;
    static struct world w;
    w = (struct world){.answer = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n"
                                 "Content-Length: 0\r\n\r\n"};
    begin(&w);
    ask(&w, 5 * USEC_S);
    net_run();
    assert_int_equal(w.rc, ERR_OK);
    assert_int_equal(w.status, 302);
    end(&w);
}

static void silence_ends_in_time(void **state)
{
    (void)state;
    static struct world w;
    w = (struct world){0};
    begin(&w);
    ask(&w, 200 * USEC_MS);
    net_run();
    assert_int_equal(w.rc, ERR_TIMEOUT);
    end(&w);
}

static void nobody_there_is_unreachable(void **state)
{
    (void)state;
    static struct world w;
    w = (struct world){0};
    begin(&w);
    struct listener *was = w.listener;
    ask(&w, 5 * USEC_S);
    listener_close(was);
    w.listener = NULL;
    net_run();
    assert_true(w.rc == ERR_UNREACHABLE || w.rc == ERR_TIMEOUT);
    end(&w);
}

static void stop_soon(struct timer *t, void *arg)
{
    (void)t;
    (void)arg;
    net_stop();
}

static void a_cancelled_call_is_not_told(void **state)
{
    (void)state;
    static struct world w;
    struct timer t;
    w = (struct world){.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"};
    begin(&w);
    fetch_cancel(ask(&w, 5 * USEC_S));
    timer_init(&t, stop_soon, NULL);
    loop_timer(at, &t, 300 * USEC_MS);
    net_run();
    assert_int_equal(w.calls, 0);
    end(&w);
}

static void what_is_under_way_ends_with_it(void **state)
{
    (void)state;
    static struct world w;
    struct timer t;
    w = (struct world){0};
    begin(&w);
    ask(&w, 20 * USEC_S);
    timer_init(&t, stop_soon, NULL);
    loop_timer(at, &t, 100 * USEC_MS);
    net_run();
    assert_int_equal(w.calls, 0);
    end(&w);
}

static void only_https_or_the_loopback(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        bool allowed;
    } table[] = {
        {"https://push.example.test/wake", true},
        {"http://127.0.0.1:8000/x", true},
        {"http://[::1]/x", true},
        {"http://localhost:9/", true},
        {"http://push.example.test/wake", false},
        {"http://127.0.0.1.example.test/", false},
        {"http://127.0.0.1:80@evil.test/", false},
        {"file:///etc/passwd", false},
        {"https://", false},
        {"https://a/\r\nX: y", false},
        {"https://a b/", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        assert_int_equal(fetch_allowed(sv_of(table[i].url)), table[i].allowed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_library_is_told),
        cmocka_unit_test(the_library_comes_with_the_first_call),
        cmocka_unit_test(it_posts_and_tells_the_status),
        cmocka_unit_test(a_redirection_is_not_followed),
        cmocka_unit_test(silence_ends_in_time),
        cmocka_unit_test(nobody_there_is_unreachable),
        cmocka_unit_test(a_cancelled_call_is_not_told),
        cmocka_unit_test(what_is_under_way_ends_with_it),
        cmocka_unit_test(only_https_or_the_loopback),
    };
    return cmocka_run_group_tests_name("fetch", tests, NULL, NULL);
}
