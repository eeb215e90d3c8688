/* SPDX-License-Identifier: MIT */
/* Two ends of an association and the way between them, in virtual time. */
#ifndef DTLS_RIG_H
#define DTLS_RIG_H
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crypto/crypto.h"
#include "dtls/dtls.h"

enum { PACKETS = 512, OCTETS = 2048, A = 0, B = 1 };

struct packet {
    usec at;
    uint64_t order; /* of two that arrive together, the first sent is first */
    int to;
    bool used;
    size_t n;
    uint8_t p[OCTETS];
};

struct way;
struct end {
    struct way *way;
    struct dtls *d;
    const struct dtls_shared *shared;
    int me;
    struct dtls_keys keys;
    bool keyed, failed, closed;
    bool free_in_callback;
    enum dtls_why why;
    char text[200];
    unsigned sent, big; /* datagrams; those over the MTU */
    usec sent_at[64];   /* of the first ones */
    size_t octets_sent, octets_received;
};

struct way {
    usec now;
    uint64_t rng, order;
    unsigned loss, twice, late; /* of 256 */
    usec delay;
    struct packet packets[PACKETS];
    struct end ends[2];
    /* sees each datagram as it leaves; false: it is lost */
    bool (*tap)(struct way *w, int from, sv octets);
    unsigned tapped;
};

static struct dtls_shared *alice, *bob; /* two certificates */
static struct way way;

static inline uint64_t chance(struct way *w)
{
    uint64_t z = (w->rng += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline void put(struct way *w, int to, sv octets, usec at)
{
    for (size_t i = 0; i < PACKETS; i++)
        if (!w->packets[i].used) {
            struct packet *p = &w->packets[i];
            *p = (struct packet){
                .at = at, .order = w->order++, .to = to, .used = true, .n = octets.n};
            memcpy(p->p, octets.p, octets.n);
            return;
        }
    fail_msg("too many datagrams under way");
}

static inline usec delay_of(struct way *w)
{
    return w->delay + (chance(w) % 256 < w->late ? (usec)(chance(w) % (300 * USEC_MS)) : 0);
}

static inline void on_send(void *arg, sv octets)
{
    struct end *e = arg;
    struct way *w = e->way;
    assert_true(octets.n <= OCTETS);
    if (e->sent < 64)
        e->sent_at[e->sent] = w->now;
    e->sent++;
    e->big += octets.n > DTLS_MTU;
    e->octets_sent += octets.n;
    if (w->tap && !w->tap(w, e->me, octets))
        return;
    if (chance(w) % 256 < w->loss)
        return;
    put(w, !e->me, octets, w->now + delay_of(w));
    if (chance(w) % 256 < w->twice)
        put(w, !e->me, octets, w->now + delay_of(w));
}

static inline void on_keys(void *arg, const struct dtls_keys *k)
{
    struct end *e = arg;
    assert_false(e->keyed || e->failed);
    e->keyed = true;
    e->keys = *k;
    if (e->free_in_callback) {
        dtls_free(e->d);
        e->d = NULL;
    }
}

static inline void on_failed(void *arg, enum dtls_why why, sv text)
{
    struct end *e = arg;
    assert_false(e->keyed || e->failed);
    e->failed = true;
    e->why = why;
    snprintf(e->text, sizeof(e->text), SV_FMT, SV_ARG(text));
    if (e->free_in_callback) {
        dtls_free(e->d);
        e->d = NULL;
    }
}

static inline void on_closed(void *arg)
{
    struct end *e = arg;
    assert_true(e->keyed && !e->closed);
    e->closed = true;
    if (e->free_in_callback) {
        dtls_free(e->d);
        e->d = NULL;
    }
}

static const struct dtls_user user = {
    .send = on_send, .on_keys = on_keys, .on_failed = on_failed, .on_closed = on_closed};

/* ---- fingerprints ---- */

struct print {
    uint8_t digest[64];
    struct dtls_fingerprint f;
};

static inline void print_of(const struct dtls_shared *s, struct print *p)
{
    sv text = dtls_shared_fingerprint(s);
    char hex[128];
    size_t n = 0;
    assert_true(sv_starts(text, SV("sha-256 ")));
    for (size_t i = sv_chr(text, ' ') + 1; i < text.n; i++)
        if (text.p[i] != ':')
            hex[n++] = text.p[i];
    p->f = (struct dtls_fingerprint){.hash = SV("SHA-256"), .digest = p->digest};
    assert_int_equal(crypto_unhex((sv){hex, n}, p->digest, sizeof(p->digest), &p->f.n), ERR_OK);
    assert_int_equal(p->f.n, 32);
}

static inline enum err trust(struct end *e, const struct dtls_shared *whom)
{
    struct print p;
    print_of(whom, &p);
    return dtls_trust(e->d, &p.f, 1, e->way->now);
}

/* ---- life ---- */

static inline void end_init(struct way *w, int me, const struct dtls_shared *s,
                            const struct dtls_config *c)
{
    struct end *e = &w->ends[me];
    *e = (struct end){.way = w, .me = me, .shared = s};
    assert_int_equal(dtls_new(s, c, &user, e, &e->d), ERR_OK);
}

/* A is the client, B the server. */
static inline void way_init(struct way *w, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    w->rng = seed;
    w->delay = 20 * USEC_MS;
    w->now = 1000 * USEC_S;
    end_init(w, A, alice, &(struct dtls_config){.client = true});
    end_init(w, B, bob, &(struct dtls_config){0});
}

static inline void way_done(struct way *w)
{
    dtls_free(w->ends[A].d);
    dtls_free(w->ends[B].d);
    w->ends[A].d = w->ends[B].d = NULL;
}

static inline void both_trust(struct way *w)
{
    assert_int_equal(trust(&w->ends[A], bob), ERR_OK);
    assert_int_equal(trust(&w->ends[B], alice), ERR_OK);
}

/* One thing happens: what is due first. False: nothing will, before `until`. */
static inline bool step(struct way *w, usec until)
{
    struct packet *next = NULL;
    struct end *timed = NULL;
    usec at = until;
    for (size_t i = 0; i < PACKETS; i++)
        if (w->packets[i].used &&
            (w->packets[i].at < at ||
             (w->packets[i].at == at && (!next || w->packets[i].order < next->order)))) {
            next = &w->packets[i];
            at = next->at;
        }
    for (int i = 0; i < 2; i++)
        if (w->ends[i].d && dtls_deadline(w->ends[i].d) <= at) {
            timed = &w->ends[i];
            at = dtls_deadline(timed->d);
        }
    if (!next && !timed) {
        w->now = until;
        return false;
    }
    if (at > w->now)
        w->now = at;
    if (timed) {
        dtls_timer(timed->d, w->now);
        return true;
    }
    struct end *e = &w->ends[next->to];
    next->used = false;
    e->octets_received += next->n;
    if (e->d) {
        static uint8_t exact[OCTETS]; /* at its end, so that reading beyond is seen */
        uint8_t *at_end = exact + sizeof(exact) - next->n;
        memcpy(at_end, next->p, next->n);
        dtls_receive(e->d, (sv){(char *)at_end, next->n}, w->now);
    }
    return true;
}

static inline void run(struct way *w, usec how_long)
{
    usec until = w->now + how_long;
    while (step(w, until))
        ;
}

static inline bool same_keys(const struct dtls_keys *a, const struct dtls_keys *b)
{
    const struct dtls_suite_info *i = &dtls_suites[a->suite];
    return a->suite == b->suite && memcmp(a->ours.key, b->theirs.key, i->key_n) == 0 &&
           memcmp(a->theirs.key, b->ours.key, i->key_n) == 0 &&
           memcmp(a->ours.salt, b->theirs.salt, i->salt_n) == 0 &&
           memcmp(a->theirs.salt, b->ours.salt, i->salt_n) == 0 &&
           memcmp(a->ours.key, a->theirs.key, i->key_n) != 0;
}

static inline void assert_keyed(const struct way *w)
{
    if (!w->ends[A].keyed || !w->ends[B].keyed)
        fail_msg("client: %s %s, server: %s %s", w->ends[A].keyed ? "keyed" : "not keyed",
                 w->ends[A].text, w->ends[B].keyed ? "keyed" : "not keyed", w->ends[B].text);
    assert_true(same_keys(&w->ends[A].keys, &w->ends[B].keys));
}

static inline int rig_start(void **state)
{
    (void)state;
    assert_int_equal(crypto_start(), ERR_OK);
    struct dtls_shared_config c = {.wall = 1700000000 * USEC_S};
    assert_int_equal(dtls_shared_new(&c, &alice), ERR_OK);
    assert_int_equal(dtls_shared_new(&c, &bob), ERR_OK);
    return 0;
}

static inline int rig_end(void **state)
{
    (void)state;
    dtls_shared_free(alice);
    dtls_shared_free(bob);
    return 0;
}

#endif
