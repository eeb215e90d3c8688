/* SPDX-License-Identifier: MIT */
/* fuzz/dtls_fuzz.c: any datagrams at any time of a handshake, between, instead of and into those of an honest
 * peer. What comes out is bounded, a machine with keys keeps them, and keys are never given for another
 * certificate than the one that was named.
 *
 * The first octet is the scene: who we are, and how far the handshake is. Then pieces: what to do, how many
 * octets, octets. Chance is made of a counter, so that an input does the same each time. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <stdlib.h>

#include "crypto/crypto.h"
#include "dtls/dtls.h"
#define ERR_STATE openssl_err_state /* OpenSSL has a type of this name, we a value */
#include <openssl/rand.h>
#undef ERR_STATE

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { QUEUE = 32, OCTETS = 1500, PIECES = 24, SENT_MAX = 48 * 1024, HEAD = 13 };
enum {
    CLIENT = 1,
    COOKIES = 8,
    STRANGER = 16,
    LATE = 32,
    LATER = 64
}; /* of a scene; with LATER, 2 and 4: how far */

struct side {
    struct dtls *d;
    struct side *other;
    unsigned keys, failed, closed;
    size_t sent;
    struct {
        size_t n;
        uint8_t p[OCTETS];
    } queue[QUEUE]; /* from the other one, not yet received */
    unsigned first, last;
    uint8_t scene;
};

static struct dtls_shared *ours, *theirs, *strangers;
static struct side us, peer;
static usec now;

/* A bound that holds: an abort is what the fuzzer sees. */
static void must(bool holds)
{
    if (!holds)
        abort();
}

/* ---- chance ---- */

static uint64_t counter;

static int chance(unsigned char *p, int n)
{
    for (int i = 0; i < n; i++) {
        uint64_t z = (counter += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        p[i] = (uint8_t)(z ^ (z >> 31));
    }
    return 1;
}

static int chance_ready(void)
{
    return 1;
}

/* ---- users ---- */

static void on_send(void *arg, sv octets)
{
    struct side *s = arg, *o = s->other;
    must(octets.n > 0 && octets.n <= DTLS_MTU);
    s->sent += octets.n;
    if (o->last - o->first == QUEUE)
        return;
    o->queue[o->last % QUEUE].n = octets.n;
    memcpy(o->queue[o->last++ % QUEUE].p, octets.p, octets.n);
}

static void on_keys(void *arg, const struct dtls_keys *k)
{
    struct side *s = arg;
    must(s->keys++ == 0 && s->failed == 0 && k->suite < DTLS_SUITES);
}

static void on_failed(void *arg, enum dtls_why why, sv text)
{
    struct side *s = arg;
    must(s->failed++ == 0 && s->keys == 0 && why < DTLS_WHYS && text.n > 0);
}

static void on_closed(void *arg)
{
    struct side *s = arg;
    must(s->closed++ == 0 && s->keys == 1);
}

static const struct dtls_user user = {on_send, on_keys, on_failed, on_closed};

static void trust(struct side *s, const struct dtls_shared *whom)
{
    sv text = dtls_shared_fingerprint(whom);
    char hex[96];
    uint8_t digest[32];
    struct dtls_fingerprint f = {SV("sha-256"), digest, 0};
    size_t n = 0;
    for (size_t i = sv_chr(text, ' ') + 1; i < text.n; i++)
        if (text.p[i] != ':')
            hex[n++] = text.p[i];
    must(crypto_unhex((sv){hex, n}, digest, sizeof(digest), &f.n) == ERR_OK);
    enum err rc = dtls_trust(s->d, &f, 1, now);
    must(rc == ERR_OK || rc == ERR_STATE || rc == ERR_AUTH);
}

/* ---- what happens ---- */

static void start_once(void)
{
    static const RAND_METHOD method = {NULL, chance, NULL, NULL, chance, chance_ready};
    if (ours)
        return;
    must(crypto_start() == ERR_OK && RAND_set_rand_method(&method) == 1);
    must(dtls_shared_new(&(struct dtls_shared_config){0}, &ours) == ERR_OK &&
         dtls_shared_new(&(struct dtls_shared_config){0}, &theirs) == ERR_OK &&
         dtls_shared_new(&(struct dtls_shared_config){0}, &strangers) == ERR_OK);
}

static void make(struct side *s, const struct dtls_shared *shared, bool client, uint8_t scene)
{
    struct dtls_config c = {.client = client, .cookies = scene & COOKIES, .peer = SV("address")};
    must(dtls_new(shared, &c, &user, s, &s->d) == ERR_OK);
}

static void begin(uint8_t scene)
{
    counter = 0;
    now = 100 * USEC_S;
    memset(&us, 0, sizeof(us));
    memset(&peer, 0, sizeof(peer));
    us.other = &peer;
    peer.other = &us;
    peer.scene = scene;
    make(&us, ours, scene & CLIENT, scene);
    if (!(scene & LATE))
        trust(&us, theirs);
}

/* The honest one begins when it is first needed: most inputs are of one side. */
static struct dtls *honest(void)
{
    if (!peer.d) {
        make(&peer, peer.scene & STRANGER ? strangers : theirs, !(peer.scene & CLIENT), peer.scene);
        trust(&peer, ours);
    }
    return peer.d;
}

/* To s, as it is or with a change. */
static void pass(struct side *s, sv change)
{
    dtls_start(honest(), now);
    if (s->first == s->last)
        return;
    uint8_t *p = s->queue[s->first % QUEUE].p;
    size_t n = s->queue[s->first++ % QUEUE].n;
    for (size_t i = 0; i + 2 < change.n; i += 3)
        p[(((size_t)(uint8_t)change.p[i] << 8) | (uint8_t)change.p[i + 1]) % n] ^=
            (uint8_t)change.p[i + 2];
    dtls_receive(s->d, (sv){(const char *)p, n}, now);
}

/* The octets as the body of a record that looks right. */
static void wrap(uint8_t type, uint8_t epoch, sv body, bool fragment, uint8_t seq)
{
    uint8_t p[OCTETS] = {type, 254, 253, 0, epoch};
    size_t at = HEAD, n = body.n < 1000 ? body.n : 1000;
    if (fragment) {
        uint8_t head[12] = {(uint8_t)(body.n > 0 ? body.p[0] : 0),
                            0,
                            (uint8_t)(n >> 8),
                            (uint8_t)n,
                            0,
                            seq,
                            0,
                            0,
                            0,
                            0,
                            (uint8_t)(n >> 8),
                            (uint8_t)n};
        memcpy(p + at, head, sizeof(head));
        at += sizeof(head);
    }
    if (n > 0)
        memcpy(p + at, body.p, n);
    p[11] = (uint8_t)((at + n - HEAD) >> 8);
    p[12] = (uint8_t)(at + n - HEAD);
    dtls_receive(us.d, (sv){(const char *)p, at + n}, now);
}

static void piece(uint8_t what, sv octets)
{
    switch (what % 10) {
    case 0:
        dtls_receive(us.d, octets, now);
        break;
    case 1:
        pass(&us, SV_NONE);
        break;
    case 2:
        pass(&us, octets);
        break;
    case 3:
        pass(&peer, SV_NONE);
        break;
    case 4:
        now += (usec)(octets.n > 0 ? (uint8_t)octets.p[0] : 1) * 100 * USEC_MS;
        if (now >= dtls_deadline(us.d))
            dtls_timer(us.d, now);
        if (peer.d && now >= dtls_deadline(peer.d))
            dtls_timer(peer.d, now);
        break;
    case 5:
        wrap(22, 0, octets, true, what / 10 % 8);
        break;
    case 6:
        wrap(20 + what / 10 % 5, what / 50 % 3, octets, false, 0);
        break;
    case 7:
        trust(&us, what & 16 ? strangers : theirs);
        break;
    case 8:
        pass(&peer, octets);
        break;
    default:
        if (what == 9)
            dtls_close(honest());
        else
            dtls_settle(us.d);
    }
}

static void check(uint8_t scene, bool named_stranger)
{
    enum dtls_state s = dtls_state(us.d);
    must(us.keys + us.failed <= 1 && s <= DTLS_OVER);
    must(us.keys == 0 || s == DTLS_KEYED || us.closed == 1);
    must(s != DTLS_KEYED || us.keys == 1);
    /* its certificate is not the one that was named */
    must(us.keys == 0 || !(scene & STRANGER) || named_stranger);
    must(us.sent <= SENT_MAX);
}

/* The parts that need no OpenSSL. */
static void clear_parts(sv octets)
{
    uint8_t answer[DTLS_ANSWER_MAX];
    size_t n = 0;
    if (dtls_hello(ours, SV("address"), octets, now, answer, &n) == DTLS_HELLO_ANSWER)
        must(n > 0 && n < octets.n); /* D15 */
    (void)dtls_is(octets);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    start_once();
    uint8_t scene = data[0];
    bool named_stranger = false;
    clear_parts((sv){(const char *)data + 1, size - 1});
    begin(scene);
    dtls_start(us.d, now);
    for (unsigned far = scene & LATER ? scene >> 1 & 3 : 0; far > 0;
         far--) { /* so many flights are behind us */
        pass(&peer, SV_NONE);
        pass(&us, SV_NONE);
    }
    size_t at = 1;
    for (int i = 0; i < PIECES && at + 3 <= size; i++) {
        uint8_t what = data[at];
        size_t n = (size_t)data[at + 1] << 8 | data[at + 2], left = size - at - 3;
        n = n < left ? n : left;
        named_stranger |= what % 10 == 7 && what & 16;
        piece(what, (sv){(const char *)data + at + 3, n});
        check(scene, named_stranger);
        at += 3 + n;
    }
    dtls_free(us.d);
    dtls_free(peer.d);
    return 0;
}
