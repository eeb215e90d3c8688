/* SPDX-License-Identifier: MIT */
/* DTLS-SRTP with a third party on the way (D15, D20): what it can write from the peer's address ends nothing, and
 * makes nothing large. */
#include "dtls_rig.h"
#include <malloc.h>
#include "mem/mem.h"

enum { SEEDS = 200, KEPT = 64, HEAD = 13 };

/* Datagrams that were seen. */
static struct packet kept[KEPT];
static size_t kept_n;

static void put_be(uint8_t *p, size_t n, uint64_t v)
{
    while (n-- > 0) {
        p[n] = (uint8_t)v;
        v >>= 8;
    }
}

static size_t record(uint8_t *p, uint8_t type, unsigned epoch, uint64_t number, const void *body,
                     size_t n)
{
    p[0] = type;
    put_be(p + 1, 2, 0xfefd);
    put_be(p + 3, 2, epoch);
    put_be(p + 5, 6, number);
    put_be(p + 11, 2, n);
    memcpy(p + HEAD, body, n);
    return HEAD + n;
}

static size_t fragment(uint8_t *p, uint8_t type, size_t length, unsigned seq, size_t offset,
                       size_t n)
{
    p[0] = type;
    put_be(p + 1, 3, length);
    put_be(p + 4, 2, seq);
    put_be(p + 6, 3, offset);
    put_be(p + 9, 3, n);
    memset(p + 12, 0x41, n);
    return 12 + n;
}

/* Something that must not matter, whenever it comes. */
static size_t forge(struct way *w, int to, uint8_t *p)
{
    uint8_t body[1200];
    size_t n = 1 + chance(w) % 200;
    uint64_t number = chance(w) % 4 ? chance(w) % 32 : (1ull << 48) - 1 - chance(w) % 2;
    for (size_t i = 0; i < sizeof(body); i++)
        body[i] = (uint8_t)chance(w);
    switch (chance(w) % 16) {
    case 0: /* chance alone */
        memcpy(p, body, n);
        return n;
    case 1: /* fatal, in the clear */
        return record(p, 21, 0, number, (uint8_t[]){2, (uint8_t)chance(w)}, 2);
    case 2: /* close_notify, in the clear */
        return record(p, 21, 0, number, (uint8_t[]){1, 0}, 2);
    case 3:
        return record(p, 21, 0, number, body, n);
    case 4: /* warnings: OpenSSL bears 4 */
        return record(p, 21, 0, number, (uint8_t[]){1, 90}, 2);
    case 5:
        return record(p, 21, 1, number, body, n);
    case 6: /* ChangeCipherSpec before its time, and what is none */
        return record(p, 20, 0, number, (uint8_t[]){(uint8_t)(1 + chance(w) % 2)}, 1);
    case 7:
        return record(p, 23, (unsigned)(chance(w) % 3), number, body, n);
    case 8: /* epochs that are not */
        return record(p, 22, 2 + (unsigned)(chance(w) % 5), number, body, n);
    case 9: /* the next epoch's */
        return record(p, (uint8_t)(22 - chance(w) % 2), 1, number, body, n);
    case 10: /* a HelloRequest */
        return record(p, 22, 0, number, body,
                      fragment(body, 0, 0, (unsigned)(chance(w) % 4), 0, 0));
    case 11: /* a fragment beyond its message, or of none */
        return record(p, 22, 0, number, body,
                      fragment(body, 11, 100, (unsigned)(chance(w) % 8), 90, 20 + chance(w) % 50));
    case 12: /* too large a message */
        return record(p, 22, 0, number, body,
                      fragment(body, 11, 1 << 23, (unsigned)(chance(w) % 8), 0, 50));
    case 13: /* half a head */
        return record(p, 22, 0, number, body, 1 + chance(w) % 11);
    case 14: /* other content types */
        return record(p, (uint8_t)(24 + chance(w) % 8), 0, number, body, n);
    default: /* what was seen before, whole or cut */
        if (kept_n == 0)
            return 0;
        size_t i = chance(w) % kept_n, cut = chance(w) % 2 ? chance(w) % kept[i].n : 0;
        if (kept[i].to != to)
            return 0;
        memcpy(p, kept[i].p, kept[i].n);
        return kept[i].n - cut;
    }
}

static unsigned forgeries;
static bool forge_around(struct way *w, int from, sv octets)
{
    uint8_t p[OCTETS];
    if (kept_n < KEPT) {
        kept[kept_n].n = octets.n;
        kept[kept_n].to = !from;
        memcpy(kept[kept_n++].p, octets.p, octets.n);
    }
    for (uint64_t i = chance(w) % 8; i > 0; i--) {
        int to = (int)(chance(w) % 2);
        size_t n = forge(w, to, p);
        if (n == 0)
            continue;
        forgeries++;
        put(w, to, (sv){(char *)p, n}, w->now + (usec)(chance(w) % (40 * USEC_MS)));
    }
    return true;
}

/* Nothing is lost, so nothing may take longer than without forgeries. */
static void forgeries_do_not_end_a_handshake(void **state)
{
    (void)state;
    forgeries = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        way_init(&way, seed);
        way.tap = forge_around;
        kept_n = 0;
        both_trust(&way);
        for (int i = 0; i < 3; i++)
            forge_around(&way, A, SV("\x16"));
        dtls_start(way.ends[A].d, way.now);
        run(&way, 500 * USEC_MS);
        if (!way.ends[A].keyed || !way.ends[B].keyed)
            fail_msg("seed %llu: %s, %s", (unsigned long long)seed, way.ends[A].text,
                     way.ends[B].text);
        assert_keyed(&way);
        for (int i = 0; i < 10; i++) /* and when it is established */
            forge_around(&way, A, SV("\x16"));
        run(&way, USEC_S);
        way.tap = NULL;
        assert_false(way.ends[A].closed || way.ends[B].closed);
        dtls_close(way.ends[A].d); /* it still hears what is true */
        run(&way, USEC_S);
        assert_true(way.ends[B].closed);
        way_done(&way);
    }
    assert_true(forgeries > SEEDS * 10);
}

/* What comes from the peer's address alone, without the other end: nothing comes back but what a ClientHello
 * brings about. */
static void forgeries_alone_are_not_answered(void **state)
{
    (void)state;
    uint8_t p[OCTETS];
    for (int me = 0; me < 2; me++) {
        way_init(&way, (uint64_t)me);
        kept_n = 0;
        if (me == A)
            dtls_start(way.ends[A].d, way.now);
        unsigned sent = way.ends[me].sent;
        for (int i = 0; i < 5000; i++) {
            size_t n = forge(&way, me, p);
            dtls_receive(way.ends[me].d, (sv){(char *)p, n}, way.now);
        }
        assert_int_equal(way.ends[me].sent, sent);
        assert_int_equal(dtls_state(way.ends[me].d), me == A ? DTLS_SHAKING : DTLS_NEW);
        way_done(&way);
    }
}

/* ---- alerts in the clear ---- */

static void an_alert_in_the_clear_is_believed_when_nothing_else_comes(void **state)
{
    (void)state;
    uint8_t p[OCTETS];
    size_t n = record(p, 21, 0, 9, (uint8_t[]){2, 40}, 2);
    way_init(&way, 1);
    way.loss = 256;
    both_trust(&way);
    dtls_start(way.ends[A].d, way.now);
    usec begun = way.now;
    run(&way, USEC_S / 2);
    for (int i = 0; i < 3; i++) { /* more of them change nothing */
        dtls_receive(way.ends[A].d, (sv){(char *)p, n}, way.now);
        run(&way, USEC_S);
    }
    assert_false(way.ends[A].failed);
    assert_true(dtls_deadline(way.ends[A].d) <= begun + USEC_S / 2 + DTLS_RUMOUR);
    run(&way, DTLS_RUMOUR);
    assert_true(way.ends[A].failed);
    assert_int_equal(way.ends[A].why, DTLS_WHY_REFUSED);
    assert_non_null(strstr(way.ends[A].text, "handshake failure"));
    way_done(&way);
}

static void a_warning_in_the_clear_is_nothing(void **state)
{
    (void)state;
    uint8_t p[OCTETS];
    size_t n = record(p, 21, 0, 9, (uint8_t[]){1, 90}, 2);
    way_init(&way, 1);
    way.loss = 256;
    dtls_start(way.ends[A].d, way.now);
    dtls_receive(way.ends[A].d, (sv){(char *)p, n}, way.now);
    run(&way, DTLS_GIVE_UP - 1);
    assert_false(way.ends[A].failed);
    run(&way, 1);
    assert_int_equal(way.ends[A].why, DTLS_WHY_SILENT);
    way_done(&way);
}

/* ---- floods ---- */

static size_t used(void)
{
    mem_tidy();
    return mallinfo2().uordblks;
}

/* The first octets of messages that never come whole: each is room for all of it. Records of the next
 * epoch: each is a buffer. */
static void floods_are_bounded(void **state)
{
    (void)state;
    static struct stats stats;
    uint8_t p[OCTETS], body[OCTETS];
    way_init(&way, 1);
    dtls_free(way.ends[B].d);
    end_init(&way, B, bob, &(struct dtls_config){.stats = &stats});
    dtls_start(way.ends[A].d, way.now);
    run(&way, 30 * USEC_MS); /* the server waits for the client's last flight, which is under way */
    size_t before = used();
    struct dtls *d = way.ends[B].d;
    for (uint64_t i = 0; i < 20000; i++) {
        size_t n = fragment(body, (uint8_t)(i % 2 ? 11 : 16), 10000 + i % 6000,
                            (unsigned)(2 + i % 40), i % 1000, 100);
        n = record(p, 22, 0, 100 + i, body, n);
        dtls_receive(d, (sv){(char *)p, n}, way.now);
        n = record(p, 22, 1, i, body, 100);
        dtls_receive(d, (sv){(char *)p, n}, way.now);
    }
    size_t after = used();
    printf("a flood of 40,000 records makes a leg larger by %zd octets\n",
           (ssize_t)(after - before));
#ifndef __SANITIZE_ADDRESS__
    assert_true(after < before + 128 * 1024);
#endif
    assert_true(atomic_load(&stats.refusals[STAT_LIMIT_DTLS]) > 0);
    assert_int_equal(dtls_state(d), DTLS_SHAKING);
    assert_int_equal(way.ends[B].sent, 1);
    way_done(&way);
}

/* ---- the ClientHello race ---- */

static uint8_t first[OCTETS];
static size_t first_n;
static bool keep_first(struct way *w, int from, sv octets)
{
    (void)w;
    if (from == A && first_n == 0) {
        first_n = octets.n;
        memcpy(first, octets.p, octets.n);
    }
    return true;
}

/* After the handshake a ClientHello, of whom ever, is nothing: RFC 8842 §4. */
static void a_client_hello_on_a_keyed_machine_is_nothing(void **state)
{
    (void)state;
    way_init(&way, 1);
    first_n = 0;
    way.tap = keep_first;
    both_trust(&way);
    dtls_start(way.ends[A].d, way.now);
    run(&way, USEC_S);
    assert_keyed(&way);
    unsigned sent = way.ends[B].sent;
    for (int i = 0; i < 256; i++) {
        first[HEAD + 12 + 10] ^= (uint8_t)i; /* its random */
        first[10] = (uint8_t)i;              /* its record's number */
        dtls_receive(way.ends[B].d, (sv){(char *)first, first_n}, way.now);
    }
    assert_int_equal(way.ends[B].sent, sent);
    dtls_settle(way.ends[B].d);
    dtls_receive(way.ends[B].d, (sv){(char *)first, first_n}, way.now);
    assert_int_equal(way.ends[B].sent, sent);
    assert_int_equal(dtls_state(way.ends[B].d), DTLS_KEYED);
    way_done(&way);
}

/* Who answers in the peer's place with a certificate of his own gets no keys, and with a machine for each source
 * the true one does. */
static void a_stranger_fails_alone(void **state)
{
    (void)state;
    static struct way other;
    struct dtls_shared *mallory;
    assert_int_equal(dtls_shared_new(&(struct dtls_shared_config){0}, &mallory), ERR_OK);
    way_init(&other, 1);
    dtls_free(other.ends[A].d);
    end_init(&other, A, mallory, &(struct dtls_config){.client = true});
    both_trust(&other);
    dtls_start(other.ends[A].d, other.now);
    run(&other, USEC_S);
    assert_true(other.ends[B].failed && other.ends[B].why == DTLS_WHY_FINGERPRINT);
    way_init(&way, 1);
    both_trust(&way);
    dtls_start(way.ends[A].d, way.now);
    run(&way, USEC_S);
    assert_keyed(&way);
    way_done(&way);
    way_done(&other);
    dtls_shared_free(mallory);
}

static void no_datagram_is_larger_than_the_mtu(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        way_init(&way, seed);
        way.loss = 64;
        both_trust(&way);
        dtls_start(way.ends[A].d, way.now);
        run(&way, 100 * USEC_S);
        assert_int_equal(way.ends[A].big + way.ends[B].big, 0);
        way_done(&way);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forgeries_do_not_end_a_handshake),
        cmocka_unit_test(forgeries_alone_are_not_answered),
        cmocka_unit_test(an_alert_in_the_clear_is_believed_when_nothing_else_comes),
        cmocka_unit_test(a_warning_in_the_clear_is_nothing),
        cmocka_unit_test(floods_are_bounded),
        cmocka_unit_test(a_client_hello_on_a_keyed_machine_is_nothing),
        cmocka_unit_test(a_stranger_fails_alone),
        cmocka_unit_test(no_datagram_is_larger_than_the_mtu),
    };
    return cmocka_run_group_tests(tests, rig_start, rig_end);
}
