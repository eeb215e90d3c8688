/* SPDX-License-Identifier: MIT */
/* srtp.c: what a packet costs in SRTP, ours and libsrtp2 in turns: nanoseconds of CPU, the least and the median of
 * the rounds. `srtp [payload [rounds]]`, 160 octets and 41 rounds unless told. Then what a relay with many legs has:
 * a packet is taken at one and sent at another, of so many that each finds its context cold; and the memory of such
 * a pair. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "crypto/crypto.h"
#include "srtp/srtp.h"
#undef SRTP_SRTP_H /* theirs has this guard too */
#include <srtp2/srtp.h>

enum { HEADER = 12, BATCH = 500, ROUNDS_MAX = 1001, ROOM = 2048, LEGS = 2000, KEYS = 46 };

static uint8_t keys[KEYS] = "forty-six octets of a key and a salt together";
static struct srtp_engine *engine;
static size_t payload = 160;
static unsigned rounds = 41;

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "srtp: %s\n", what);
        exit(1);
    }
}

typedef void (*policy_fn)(srtp_crypto_policy_t *);
static const policy_fn policies[SRTP_SUITES] = {
    srtp_crypto_policy_set_rtp_default,
    srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32,
    srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80,
    srtp_crypto_policy_set_aes_cm_256_hmac_sha1_32,
    srtp_crypto_policy_set_aes_gcm_128_16_auth,
    srtp_crypto_policy_set_aes_gcm_256_16_auth,
};

/* One direction of a leg: ours, or theirs. */
struct leg {
    struct srtp_context ours;
    srtp_t theirs;
};

static struct leg leg_new(bool ours, enum srtp_role role, enum srtp_suite suite)
{
    struct leg l = {0};
    const struct srtp_suite_info *i = srtp_suite_info(suite);
    if (ours) {
        sv key = {(const char *)keys, i->key}, salt = {(const char *)keys + i->key, i->salt};
        must(srtp_context_init(&l.ours, engine, role, suite, key, salt) == ERR_OK, "context");
        return l;
    }
    srtp_policy_t p = {.window_size = SRTP_WINDOW, .key = keys};
    p.ssrc.type = role == SRTP_SENDER ? ssrc_any_outbound : ssrc_any_inbound;
    policies[suite](&p.rtp);
    policies[suite](&p.rtcp);
    must(srtp_create(&l.theirs, &p) == srtp_err_status_ok, "peer's context");
    return l;
}

static void leg_done(struct leg *l)
{
    srtp_context_done(&l->ours);
    if (l->theirs)
        srtp_dealloc(l->theirs);
}

static size_t leg_protect(struct leg *l, uint8_t *p, size_t n)
{
    int m = (int)n;
    if (!l->theirs)
        must(srtp_rtp_protect(&l->ours, p, &n, ROOM) == ERR_OK, "protect");
    else
        must(srtp_protect(l->theirs, p, &m) == srtp_err_status_ok, "peer's protect");
    return l->theirs ? (size_t)m : n;
}

static size_t leg_unprotect(struct leg *l, uint8_t *p, size_t n)
{
    int m = (int)n;
    if (!l->theirs)
        must(srtp_rtp_unprotect(&l->ours, p, &n) == ERR_OK, "unprotect");
    else
        must(srtp_unprotect(l->theirs, p, &m) == srtp_err_status_ok, "peer's unprotect");
    return l->theirs ? (size_t)m : n;
}

static _Alignas(64) uint8_t packets[BATCH][ROOM];

static void header(uint8_t *p, unsigned seq)
{
    static const uint8_t start[HEADER] = {0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4};
    memcpy(p, start, HEADER);
    p[2] = (uint8_t)(seq >> 8);
    p[3] = (uint8_t)seq;
}

struct figures {
    double protect[ROUNDS_MAX], unprotect[ROUNDS_MAX];
};

static void one_round(struct leg *tx, struct leg *rx, unsigned *seq, double *protect,
                      double *unprotect)
{
    size_t n = 0;
    for (unsigned i = 0; i < BATCH; i++)
        header(packets[i], (*seq)++);
    double t = now_ns();
    for (unsigned i = 0; i < BATCH; i++)
        n = leg_protect(tx, packets[i], HEADER + payload);
    *protect = (now_ns() - t) / BATCH;
    t = now_ns();
    for (unsigned i = 0; i < BATCH; i++)
        (void)leg_unprotect(rx, packets[i], n);
    *unprotect = (now_ns() - t) / BATCH;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(const char *who, double *v)
{
    qsort(v, rounds, sizeof *v, by_value);
    printf("%s%7.0f %7.0f", who, v[0], v[rounds / 2]);
}

static void one_suite(enum srtp_suite suite)
{
    static struct figures f[2];
    struct leg tx[2], rx[2];
    unsigned seq[2] = {0};
    for (int who = 0; who < 2; who++) {
        tx[who] = leg_new(who == 0, SRTP_SENDER, suite);
        rx[who] = leg_new(who == 0, SRTP_RECEIVER, suite);
    }
    for (unsigned r = 0; r < rounds; r++)
        for (int who = 0; who < 2; who++)
            one_round(&tx[who], &rx[who], &seq[who], &f[who].protect[r], &f[who].unprotect[r]);
    printf("%-24s", srtp_suite_info(suite)->name.p);
    print(" ", f[0].protect);
    print("  |", f[1].protect);
    print("  ||", f[0].unprotect);
    print("  |", f[1].unprotect);
    printf("\n");
    for (int who = 0; who < 2; who++) {
        leg_done(&tx[who]);
        leg_done(&rx[who]);
    }
}

static size_t in_use(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* Packets of LEGS legs, one by one: taken with one context, sent with another. */
static void many_legs(enum srtp_suite suite, bool ours)
{
    size_t before = in_use();
    struct leg *rx = calloc(LEGS, sizeof *rx), *tx = calloc(LEGS, sizeof *tx);
    struct leg from;
    must(rx && tx, "memory");
    double least = 1e18;
    for (int i = 0; i < LEGS; i++) {
        rx[i] = leg_new(ours, SRTP_RECEIVER, suite);
        tx[i] = leg_new(ours, SRTP_SENDER, suite);
    }
    size_t empty = in_use();
    from = leg_new(ours, SRTP_SENDER, suite);
    for (unsigned r = 0; r < (ours ? 15 : 1); r++) {
        size_t n;
        header(packets[0], r);
        n = leg_protect(&from, packets[0], HEADER + payload);
        double t = now_ns();
        for (unsigned i = 0; i < LEGS; i++) {
            memcpy(packets[1], packets[0], n);
            (void)leg_unprotect(&rx[i], packets[1], n);
            (void)leg_protect(&tx[i], packets[1], HEADER + payload);
        }
        double took = now_ns() - t;
        if (r > 0 && took / LEGS < least)
            least = took / LEGS;
    }
    size_t used = in_use();
    printf("%-24s %-9s %6.2f KiB a pair, %6.2f with an SSRC in each",
           srtp_suite_info(suite)->name.p, ours ? "ours" : "libsrtp2",
           (double)(empty - before) / 1024 / LEGS, (double)(used - before) / 1024 / LEGS);
    if (ours)
        printf(", %.0f ns a relayed packet", least);
    printf("\n");
    for (int i = 0; i < LEGS; i++) {
        leg_done(&rx[i]);
        leg_done(&tx[i]);
    }
    leg_done(&from);
    free(rx);
    free(tx);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        payload = strtoul(argv[1], NULL, 10);
    if (argc > 2)
        rounds = (unsigned)strtoul(argv[2], NULL, 10);
    must(payload <= 1500 && rounds > 0 && rounds <= ROUNDS_MAX, "srtp [payload [rounds]]");
    must(srtp_engine_new(&engine) == ERR_OK && srtp_init() == srtp_err_status_ok, "start");
    printf("ns a packet of %zu octets, least and median of %u rounds\n%-24s %15s  |%15s  ||%15s  "
           "|%15s\n",
           HEADER + payload, rounds, "", "protect ours", "libsrtp2", "unprotect ours", "libsrtp2");
    for (enum srtp_suite s = 0; s < SRTP_SUITES; s++)
        one_suite(s);
    for (enum srtp_suite s = 0; s < SRTP_SUITES; s += 2)
        for (int ours = 1; ours >= 0; ours--)
            many_legs(s, ours);
    srtp_engine_free(engine);
    srtp_shutdown();
    return 0;
}
