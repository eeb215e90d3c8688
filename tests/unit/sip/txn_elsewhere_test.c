/* SPDX-License-Identifier: MIT */
/* Responses whose connection is gone, and whose source takes no new one: sent-by is asked of the DNS (RFC
 * 3261 §18.2.2, RFC 3263 §5). */
#include "locate/locate.h"
#include "txn_user.h"

static struct locate_shared *cache;
static struct locate *locate;

static struct world *start_locating(const char *zone)
{
    static const uint8_t seed[16] = "sixteen octets.";
    struct world *w = start();
    assert_int_equal(sim_zone(w->sim, sv_of(zone)), ERR_OK);
    assert_int_equal(locate_shared_new(seed, 100, &cache), ERR_OK);
    assert_int_equal(locate_new(w->sip[0], cache, &locate), ERR_OK);
    txn_locate(w->sip[0], locate);
    return w;
}

static void end_locating(struct world *w)
{
    txn_locate(w->sip[0], NULL);
    locate_free(locate);
    world_free(w);
    locate_shared_free(cache);
}

/* A request comes over TCP with this Via, and its connection ends. */
static void ask_and_leave(struct world *w, const char *method, const char *sent_by)
{
    char text[2048];
    int n = snprintf(text, sizeof text,
                     "%s sip:bob@" SERVER_IP " SIP/2.0\r\n"
                     "Via: SIP/2.0/TCP %s;branch=z9hG4bKa\r\nMax-Forwards: 70\r\n"
                     "From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:bob@example.com>\r\n"
                     "Call-ID: c\r\nCSeq: 1 %s\r\nContent-Length: 0\r\n\r\n",
                     method, sent_by, method);
    dial(w);
    say_tcp(w, (sv){text, (size_t)n});
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.requests, 1);
    stream_close(w->stream, false);
    w->stream = NULL;
    run(w, 50 * USEC_MS);
    inbox_clear(w);
}

static void say_200(struct world *w)
{
    (void)w;
    assert_int_equal(reply(200), ERR_OK);
}

static void answer(struct world *w)
{
    act(w, loop0(w), say_200);
    run(w, USEC_S);
}

static void the_servers_of_sent_by_are_tried(void **state)
{
    static const char *methods[] = {"INVITE", "OPTIONS"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct world *w = start_locating("_sip._tcp.phone.test SRV 60 0 0 5079 host.phone.test\n"
                                         "_sip._tcp.phone.test SRV 60 1 0 5070 host.phone.test\n"
                                         "host.phone.test A 60 " PEER_IP "\n");
        ask_and_leave(w, methods[i], "phone.test");
        answer(w);
        assert_int_equal(heard(w, "SIP/2.0 200 OK\r\n"), 1);
        assert_int_equal(tell.gone, 0);
        run(w, 40 * USEC_S);
        assert_int_equal(live(w), 0);
        end_locating(w);
    }
}

static void where_nobody_takes_it_the_user_is_told(void **state)
{
    static const struct {
        const char *zone, *sent_by;
    } row[] = {
        {"other.test A 60 " PEER_IP "\n", "phone.test"},
        {"phone.test A 60 " PEER_IP "\n", "phone.test:5079"},
        {"phone.test A 60 10.0.0.1\n", "phone.test:5079"},      /* of another class */
        {"phone.test A 60 " SERVER_IP "\n", "phone.test:5060"}, /* ours */
        {"phone.test A 60 " PEER_IP "\n", "10.0.0.1:5079"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct world *w = start_locating(row[i].zone);
        ask_and_leave(w, "INVITE", row[i].sent_by);
        act(w, loop0(w), say_200);
        run(w, 15 * USEC_S);
        assert_int_equal(tell.requests, 1); /* not even we */
        assert_int_equal(tell.gone, 1);
        assert_int_equal(tell.why, ERR_REFUSED);
        assert_int_equal(heard(w, "SIP/2.0 200 OK\r\n"), 0);
        run(w, 40 * USEC_S);
        assert_int_equal(live(w), 0);
        end_locating(w);
    }
}

/* The client comes again by itself: there it is answered. */
static void a_client_that_returns_is_answered_there(void **state)
{
    (void)state;
    struct world *w = start_locating("phone.test A 60 " PEER_IP "\n");
    ask_and_leave(w, "OPTIONS", "phone.test:5079");
    act(w, loop0(w), say_200);
    dial(w);
    say_tcp(w, SV("OPTIONS sip:bob@" SERVER_IP " SIP/2.0\r\n"
                  "Via: SIP/2.0/TCP phone.test:5079;branch=z9hG4bKa\r\nMax-Forwards: 70\r\n"
                  "From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:bob@example.com>\r\n"
                  "Call-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"));
    run(w, 50 * USEC_MS);
    assert_int_equal(heard(w, "SIP/2.0 200 OK\r\n"), 1);
    assert_int_equal(tell.requests, 1);
    run(w, 40 * USEC_S);
    assert_int_equal(live(w), 0);
    end_locating(w);
}

static void what_is_asked_may_end_first(void **state)
{
    (void)state;
    struct world *w = start_locating("phone.test A 60 " PEER_IP "\n");
    ask_and_leave(w, "INVITE", "phone.test:5079");
    act(w, loop0(w), say_200); /* the answer of the source, or of the DNS, is under way */
    end_locating(w);
    assert_int_equal(tell.gone, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_servers_of_sent_by_are_tried),
        cmocka_unit_test(where_nobody_takes_it_the_user_is_told),
        cmocka_unit_test(a_client_that_returns_is_answered_there),
        cmocka_unit_test(what_is_asked_may_end_first),
    };
    return crypto_start() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
