/* SPDX-License-Identifier: MIT */
/* DTLS-SRTP on a bad way: loss, repetition, disorder, by seeds; and when what is sent again. */
#include "dtls_rig.h"

enum { SEEDS = 1000, BAD_SEEDS = 200 };

/* Every run ends: in the same keys on both sides, or in a reason. A client that gave up has a server that
 * may have keys: its last flight was lost, and it cannot know. */
static void check_end(uint64_t seed, unsigned *failed)
{
    const struct end *a = &way.ends[A], *b = &way.ends[B];
    bool ended = (a->keyed || a->failed) && (b->keyed || b->failed || b->octets_received == 0);
    if (!ended || (a->keyed && !b->keyed) || (a->keyed && !same_keys(&a->keys, &b->keys)))
        fail_msg("seed %llu: client %d %s, server %d %s", (unsigned long long)seed, a->keyed,
                 a->text, b->keyed, b->text);
    if (a->failed)
        assert_int_equal(a->why, DTLS_WHY_SILENT);
    if (b->failed)
        assert_int_equal(b->why, DTLS_WHY_SILENT);
    *failed += a->failed;
}

static unsigned run_seeds(uint64_t first, uint64_t last, unsigned loss, unsigned twice,
                          unsigned late, bool early)
{
    unsigned failed = 0;
    for (uint64_t seed = first; seed <= last; seed++) {
        way_init(&way, seed);
        way.loss = loss;
        way.twice = twice;
        way.late = late;
        if (!early)
            both_trust(&way);
        dtls_start(way.ends[A].d, way.now);
        if (early) { /* the ClientHello before the answer */
            run(&way, (usec)(chance(&way) % (3 * USEC_S)));
            both_trust(&way);
        }
        run(&way, 100 * USEC_S);
        check_end(seed, &failed);
        way_done(&way);
    }
    return failed;
}

static void a_way_with_loss_gives_keys(void **state)
{
    (void)state;
    /* a tenth: four losses of a flight in a row, in one run of 3,000 */
    assert_in_range(run_seeds(1, SEEDS / 2, 26, 26, 128, false), 0, 3);
}

static void the_client_hello_may_come_before_the_answer(void **state)
{
    (void)state;
    assert_in_range(run_seeds(SEEDS / 2 + 1, SEEDS, 26, 13, 64, true), 0, 3);
}

static void a_very_bad_way_ends_in_keys_or_a_reason(void **state)
{
    (void)state;
    unsigned failed = run_seeds(1, BAD_SEEDS, 128, 64, 128, false);
    printf("half of all lost: %u of %u gave up\n", failed, BAD_SEEDS);
    assert_in_range(failed, BAD_SEEDS / 50, BAD_SEEDS / 2);
}

static void on_a_dead_way_the_client_gives_up(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        way_init(&way, seed);
        way.loss = 256;
        both_trust(&way);
        usec begun = way.now;
        dtls_start(way.ends[A].d, way.now);
        run(&way, DTLS_GIVE_UP - 1);
        assert_false(way.ends[A].failed);
        run(&way, 1);
        assert_true(way.ends[A].failed && way.ends[A].why == DTLS_WHY_SILENT);
        /* RFC 6347 §4.2.4.1: 1 s, doubled each time */
        static const usec at[] = {0, 1, 3, 7, 15};
        assert_int_equal(way.ends[A].sent, 5);
        for (size_t i = 0; i < 5; i++)
            assert_true(way.ends[A].sent_at[i] == begun + at[i] * USEC_S);
        assert_true(dtls_deadline(way.ends[A].d) == USEC_NEVER);
        way_done(&way);
    }
}

/* ---- one flight is lost ---- */

static int lost_from, lose_n;
static bool lose_some(struct way *w, int from, sv octets)
{
    (void)w;
    (void)octets;
    if (from != lost_from || lose_n == 0)
        return true;
    lose_n--;
    return false;
}

static bool lose_after_first(struct way *w, int from, sv octets)
{
    return w->ends[from].sent == 1 || lose_some(w, from, octets);
}

static usec time_to_keys(void)
{
    usec begun = way.now;
    way.delay = 10 * USEC_MS;
    both_trust(&way);
    dtls_start(way.ends[A].d, way.now);
    while (!(way.ends[A].keyed && way.ends[B].keyed) && step(&way, begun + 60 * USEC_S))
        ;
    assert_keyed(&way);
    return way.now - begun;
}

static void a_lost_flight_comes_again_after_a_second(void **state)
{
    (void)state;
    for (lost_from = 0; lost_from < 2; lost_from++) {
        way_init(&way, 1);
        way.tap = lose_some;
        lose_n = 1;
        /* ClientHello lost: its second one, 1 s later. The server's flight lost: the client's timer brings a
         * second ClientHello, and that at once the server's flight */
        assert_true(time_to_keys() == USEC_S + 40 * USEC_MS);
        way_done(&way);
        way_init(&way, 1);
        way.tap = lose_after_first;
        lose_n = 1;
        /* the client's last flight lost: both timers fire, the server's first; the server's: the
         * client's timer brings its Finished again, and that the server's */
        usec t = time_to_keys();
        assert_true(t >= USEC_S + 20 * USEC_MS && t <= USEC_S + 50 * USEC_MS);
        way_done(&way);
    }
}

/* RFC 6347 §4.2.4: "the node that transmits the last flight MUST respond to a retransmit of the
 * peer's last flight with a retransmit of the last flight." */
static void the_last_flight_is_sent_again_for_who_missed_it(void **state)
{
    (void)state;
    way_init(&way, 1);
    way.tap = lose_after_first;
    lost_from = B;
    lose_n = 3;
    both_trust(&way);
    dtls_start(way.ends[A].d, way.now);
    run(&way, 29 * USEC_S);
    assert_keyed(&way);
    assert_int_equal(way.ends[B].sent, 1 + 4);
    way_done(&way);
}

/* ---- a ClientHello in pieces ---- */

enum { HEAD = 13, FRAGMENT = 12 };

static bool backwards;

/* The octets from..to of the message of this datagram, as a datagram of their own. */
static void put_piece(sv whole, size_t from, size_t to, usec at)
{
    uint8_t p[OCTETS];
    size_t n = to - from, at_from[] = {HEAD + 7, from}, at_n[] = {HEAD + 10, n},
           at_body[] = {11, FRAGMENT + n};
    memcpy(p, whole.p, HEAD + FRAGMENT);
    memcpy(p + HEAD + FRAGMENT, whole.p + HEAD + FRAGMENT + from, n);
    const size_t *const fields[] = {at_from, at_n, at_body};
    for (size_t i = 0; i < 3; i++) {
        p[fields[i][0]] = (uint8_t)(fields[i][1] >> 8);
        p[fields[i][0] + 1] = (uint8_t)fields[i][1];
    }
    p[10] = (uint8_t)from; /* a record of its own */
    put(&way, B, (sv){(char *)p, HEAD + FRAGMENT + n}, at);
}

static bool cut_first(struct way *w, int from, sv octets)
{
    enum { PIECE = 40 };
    if (from != A || w->ends[A].sent > 1)
        return true;
    size_t n = octets.n - HEAD - FRAGMENT;
    for (size_t at = 0, i = 0; at < n; at += PIECE, i++)
        put_piece(octets, at, at + PIECE < n ? at + PIECE : n,
                  w->now + (backwards ? 10 - (usec)i : (usec)i) * USEC_MS);
    return false;
}

/* As browsers send it whose keys are large. */
static void a_client_hello_comes_in_pieces(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        backwards = i;
        way_init(&way, 1);
        way.tap = cut_first;
        both_trust(&way);
        dtls_start(way.ends[A].d, way.now);
        run(&way, 500 * USEC_MS);
        assert_keyed(&way);
        assert_int_equal(way.ends[A].sent, 2);
        way_done(&way);
    }
}

/* A ClientHello that is repeated by whom ever brings few repetitions of ours, and does not end the handshake. */
static void repetitions_are_answered_a_few_times(void **state)
{
    (void)state;
    uint8_t hello[OCTETS];
    size_t n = 0;
    way_init(&way, 1);
    both_trust(&way);
    dtls_start(way.ends[A].d, way.now);
    for (size_t i = 0; i < PACKETS; i++)
        if (way.packets[i].used) {
            n = way.packets[i].n;
            memcpy(hello, way.packets[i].p, n);
            way.packets[i].used = false;
        }
    assert_true(n > 0);
    for (int i = 0; i < 100; i++) {
        way.now += USEC_MS;
        hello[10] = (uint8_t)i; /* its record's number: a new record each time */
        dtls_receive(way.ends[B].d, (sv){(char *)hello, n}, way.now);
    }
    assert_int_equal(way.ends[B].sent, 1 + 6);
    run(&way, 20 * USEC_S);
    assert_keyed(&way);
    way_done(&way);
}

/* OpenSSL gives up after 12 repetitions on either side: not here. */
static void an_honest_peer_that_repeats_much_is_borne(void **state)
{
    (void)state;
    way_init(&way, 7);
    way.twice = 256; /* everything twice, far apart */
    way.late = 256;
    both_trust(&way);
    dtls_start(way.ends[A].d, way.now);
    run(&way, 20 * USEC_S);
    assert_keyed(&way);
    way_done(&way);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_way_with_loss_gives_keys),
        cmocka_unit_test(the_client_hello_may_come_before_the_answer),
        cmocka_unit_test(a_very_bad_way_ends_in_keys_or_a_reason),
        cmocka_unit_test(on_a_dead_way_the_client_gives_up),
        cmocka_unit_test(a_lost_flight_comes_again_after_a_second),
        cmocka_unit_test(the_last_flight_is_sent_again_for_who_missed_it),
        cmocka_unit_test(a_client_hello_comes_in_pieces),
        cmocka_unit_test(repetitions_are_answered_a_few_times),
        cmocka_unit_test(an_honest_peer_that_repeats_much_is_borne),
    };
    return cmocka_run_group_tests(tests, rig_start, rig_end);
}
