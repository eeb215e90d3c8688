/* SPDX-License-Identifier: MIT */
/* fuzz/srtp_fuzz.c: a sender and a receiver are led by the input: packets sent, kept, delivered as they are or
 * broken, foreign octets, new keys, written forms. What is broken is not taken, what was taken is not taken again,
 * what is taken is what was sent. */
#include <stdlib.h>
#include "srtp/srtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { KEPT = 8, ROOM = 512 };

/* A bound that holds: an abort is what the fuzzer sees. */
static void must(bool holds)
{
    if (!holds)
        abort();
}

struct wire {
    uint8_t p[ROOM], plain[ROOM];
    size_t n, plain_n;
    bool rtcp, there, taken;
};

static struct {
    const uint8_t *p, *end;
    struct srtp_engine *engine;
    struct srtp_context tx, rx;
    enum srtp_suite suite;
    uint8_t keys;
    bool anew; /* the receiver may take things again */
    struct wire kept[KEPT];
} now;

static uint8_t next(void)
{
    return now.p < now.end ? *now.p++ : 0;
}

static void keys_of(uint8_t number, sv *ret_key, sv *ret_salt)
{
    static char octets[SRTP_KEY_MAX + SRTP_SALT_MAX];
    const struct srtp_suite_info *i = srtp_suite_info(now.suite);
    memset(octets, number, sizeof octets);
    *ret_key = (sv){octets, i->key};
    *ret_salt = (sv){octets + i->key, i->salt};
}

static void send(bool rtcp)
{
    struct wire *w = &now.kept[next() % KEPT];
    size_t n = 12 + next();
    memset(w, 0, sizeof *w);
    w->rtcp = rtcp;
    w->p[0] = (uint8_t)(0x80 | next());
    w->p[1] = rtcp ? 200 : 0;
    w->p[2] = next();
    w->p[3] = next();
    w->p[rtcp ? 7 : 11] = next() % 8;
    for (size_t i = 12; i < n; i++)
        w->p[i] = (uint8_t)(i * w->p[3]);
    memcpy(w->plain, w->p, n);
    w->plain_n = w->n = n;
    size_t cap = n + next() % 32;
    enum err rc = (rtcp ? srtp_rtcp_protect : srtp_rtp_protect)(&now.tx, w->p, &w->n, cap);
    must(rc == ERR_OK || rc == ERR_SYNTAX || rc == ERR_EXISTS || rc == ERR_TOOBIG ||
         rc == ERR_STATE);
    w->there = rc == ERR_OK;
    if (rc)
        must(w->n == n && memcmp(w->p, w->plain, n) == 0);
    else
        must(w->n <= cap && w->n > n);
}

static enum err take(bool rtcp, uint8_t *p, size_t *n)
{
    uint8_t was[ROOM];
    size_t was_n = *n;
    memcpy(was, p, was_n);
    enum err rc = (rtcp ? srtp_rtcp_unprotect : srtp_rtp_unprotect)(&now.rx, p, n);
    must(rc == ERR_OK || rc == ERR_SYNTAX || rc == ERR_EXISTS || rc == ERR_AUTH || rc == ERR_STATE);
    must(rc == ERR_OK ? *n < was_n : *n == was_n && memcmp(was, p, was_n) == 0);
    return rc;
}

static void deliver(void)
{
    struct wire *w = &now.kept[next() % KEPT], copy = *w;
    if (!w->there || take(w->rtcp, copy.p, &copy.n))
        return;
    must(now.anew || !w->taken);
    must(copy.n == w->plain_n && memcmp(copy.p, w->plain, copy.n) == 0);
    w->taken = true;
}

static void deliver_broken(void)
{
    struct wire *w = &now.kept[next() % KEPT], copy = *w;
    uint8_t how = next(), by = next(), at = next();
    if (!w->there)
        return;
    if (how % 4 == 0)
        copy.n = at % copy.n;
    else if (how % 4 == 1 && copy.n < ROOM)
        copy.p[copy.n++] = by;
    else
        copy.p[at % copy.n] ^= (uint8_t)(by ? by : 1);
    enum err rc = take(w->rtcp, copy.p, &copy.n);
    /* 32 bits may be met by chance */
    must(rc != ERR_OK || (!w->rtcp && (now.suite == SRTP_AES_CM_128_HMAC_SHA1_32 ||
                                       now.suite == SRTP_AES_256_CM_HMAC_SHA1_32)));
}

static void deliver_foreign(bool rtcp)
{
    uint8_t p[ROOM];
    size_t n = next(), left = (size_t)(now.end - now.p);
    n = n < left ? n : left;
    memcpy(p, now.p, n);
    now.p += n;
    (void)take(rtcp, p, &n);
}

static void write_again(struct srtp_context *c)
{
    char one[SRTP_SAVED_MAX], two[SRTP_SAVED_MAX];
    struct buf b, again;
    buf_init(&b, one, sizeof one);
    buf_init(&again, two, sizeof two);
    srtp_context_save(c, &b);
    must(b.rc == ERR_OK);
    srtp_context_done(c);
    must(srtp_context_load(c, now.engine, buf_sv(&b)) == ERR_OK);
    srtp_context_save(c, &again);
    must(sv_eq(buf_sv(&b), buf_sv(&again)));
}

/* Its writer is gone: who reads has never sent, or taken, what is still to come. */
static void write_ahead(struct srtp_context *c)
{
    char one[SRTP_SAVED_MAX];
    uint16_t seq;
    bool behind;
    struct buf b;
    buf_init(&b, one, sizeof one);
    srtp_context_save_ahead(c, &b);
    must(b.rc == ERR_OK);
    srtp_context_done(c);
    must(srtp_context_load(c, now.engine, buf_sv(&b)) == ERR_OK);
    for (uint32_t ssrc = 0; ssrc < 8; ssrc++)
        must(!srtp_context_next(c, ssrc, &seq, &behind) || behind);
}

static void change(void)
{
    uint8_t what = next();
    sv key, salt;
    switch (what % 4) {
    case 0:
        now.suite = (enum srtp_suite)(what / 4 % SRTP_SUITES);
        keys_of(++now.keys, &key, &salt);
        must(srtp_context_rekey(&now.tx, now.suite, key, salt) == ERR_OK);
        must(srtp_context_rekey(&now.rx, now.suite, key, salt) == ERR_OK);
        memset(now.kept, 0, sizeof now.kept);
        break;
    case 1:
        now.anew |= srtp_context_forget(&now.rx, what / 4 % 8) == ERR_OK;
        break;
    case 2:
        (what & 4 ? write_ahead : write_again)(&now.tx);
        (what & 8 ? write_ahead : write_again)(&now.rx);
        must(srtp_context_fresh(&now.tx, what / 16) != ERR_STATE);
        break;
    default:
        (void)srtp_context_worn(&now.tx, what);
        break;
    }
}

/* Octets as a written form. */
static void read_form(sv octets)
{
    char text[SRTP_SAVED_MAX];
    struct buf b;
    buf_init(&b, text, sizeof text);
    if (srtp_context_load(&now.rx, now.engine, octets))
        return;
    srtp_context_save(&now.rx, &b);
    must(sv_eq(octets, buf_sv(&b)));
    srtp_context_done(&now.rx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sv key, salt;
    if (!now.engine)
        must(srtp_engine_new(&now.engine) == ERR_OK);
    if (size == 0)
        return 0;
    if (data[0] == 'w') {
        read_form((sv){(const char *)data + 1, size - 1});
        return 0;
    }
    now.p = data + 1;
    now.end = data + size;
    now.suite = (enum srtp_suite)(data[0] % SRTP_SUITES);
    now.keys = 0;
    now.anew = false;
    memset(now.kept, 0, sizeof now.kept);
    keys_of(0, &key, &salt);
    must(srtp_context_init(&now.tx, now.engine, SRTP_SENDER, now.suite, key, salt) == ERR_OK);
    must(srtp_context_init(&now.rx, now.engine, SRTP_RECEIVER, now.suite, key, salt) == ERR_OK);
    while (now.p < now.end) {
        uint8_t op = next();
        if (op % 8 < 2)
            send(op % 8 == 1);
        else if (op % 8 < 4)
            deliver();
        else if (op % 8 == 4)
            deliver_broken();
        else if (op % 8 < 7)
            deliver_foreign(op % 8 == 5);
        else
            change();
    }
    srtp_context_done(&now.tx);
    srtp_context_done(&now.rx);
    return 0;
}
