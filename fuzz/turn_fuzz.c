/* SPDX-License-Identifier: MIT */
/* fuzz/turn_fuzz.c: a TURN client under any messages of its server, forged ones and such as are signed as they should be.
 *
 *   input   a first octet (1: a stream), then steps: kind, length of two octets, octets */
#include <stdlib.h>

#include "crypto/crypto.h"
#include "turn/turn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS_MAX = 64, SENT_MAX = 2048 };

struct world {
    struct turn *t;
    usec now;
    uint64_t chance;
    bool over, reliable;
    char sent[SENT_MAX];
    size_t sent_n;
};

/* A bound that holds: an abort is what the fuzzer sees. */
static void must(bool holds)
{
    if (!holds)
        abort();
}

static struct addr peer_of(unsigned i)
{
    return (struct addr){
        .family = i & 4 ? 6 : 4, .port = (uint16_t)(9 + (i & 3)), .ip = {203, 0, 113, 7}};
}

static void on_send(void *arg, const sv *pieces, size_t n)
{
    struct world *w = arg;
    must(!w->over);
    w->sent_n = 0;
    for (size_t i = 0; i < n && w->sent_n + pieces[i].n <= SENT_MAX; i++) {
        if (pieces[i].n > 0)
            memcpy(w->sent + w->sent_n, pieces[i].p, pieces[i].n);
        w->sent_n += pieces[i].n;
    }
    must(!w->reliable || w->sent_n % 4 == 0);
}

static void on_data(void *arg, const struct addr *peer, sv octets)
{
    struct world *w = arg;
    must(!w->over && (peer->family == 4 || peer->family == 6) && (octets.p || octets.n == 0));
}

static void on_event(void *arg, const struct turn_event *e)
{
    struct world *w = arg;
    must(!w->over);
    w->over = e->kind == TURN_FAILED || e->kind == TURN_STOPPED;
    if (e->kind == TURN_ALTERNATE || e->kind == TURN_ANOTHER_PORT)
        turn_start(w->t, w->now);
}

static void chance(void *arg, void *p, size_t n)
{
    struct world *w = arg;
    uint8_t *octets = p;
    for (size_t i = 0; i < n; i++) {
        w->chance = w->chance * 6364136223846793005u + 1442695040888963407u;
        octets[i] = (uint8_t)(w->chance >> 56);
    }
}

static const struct turn_ops ops = {
    .send = on_send, .on_data = on_data, .on_event = on_event, .chance = chance};

/* An answer to what was sent last, with these attributes, signed as the request was. */
static void answer(struct world *w, enum stun_class class, unsigned code, sv attributes)
{
    struct stunmsg m;
    char mem[4096];
    uint8_t key[STUN_KEY_MAX];
    struct buf b;
    if (stunmsg_parse((sv){w->sent, w->sent_n}, &m))
        return;
    buf_init(&b, mem, sizeof(mem));
    struct stun_out o = stunmsg_begin(&b, m.method, class, m.id);
    if (class == STUN_ERROR)
        stunmsg_put_error(&o, code, SV(""));
    if (code == STUN_UNAUTHENTICATED || code == STUN_STALE_NONCE) {
        stunmsg_put(&o, STUN_REALM, SV("r"));
        stunmsg_put(&o, STUN_NONCE, SV("n"));
    }
    buf_put(&b, sv_sub(attributes, 0, attributes.n & ~(size_t)3));
    enum stun_integrity how = stunmsg_integrity(&m);
    size_t n = stun_key(how == STUN_SHA256 ? STUN_ALGORITHM_SHA256 : STUN_ALGORITHM_MD5, SV("u"),
                        SV("r"), SV("p"), key);
    stunmsg_put_integrity(&o, how, (sv){(char *)key, n});
    if (!b.rc)
        turn_receive(w->t, buf_sv(&b), w->now);
}

static void step(struct world *w, unsigned kind, sv s)
{
    static const unsigned codes[] = {401, 438, 300, 437, 400, 403, 508, 486};
    struct addr peer = peer_of(kind >> 3);
    enum err rc = ERR_OK;
    switch (kind & 7) {
    case 0:
        turn_receive(w->t, s, w->now);
        break;
    case 1:
        answer(w, STUN_SUCCESS, 0, s);
        break;
    case 2:
        answer(w, STUN_ERROR, codes[kind >> 3 & 7], s);
        break;
    case 3:
        rc = turn_permit(w->t, &peer, w->now);
        break;
    case 4:
        rc = turn_send(w->t, &peer, s);
        break;
    case 5:
        w->now += (usec)(1 + s.n) * USEC_S;
        turn_step(w->t, w->now);
        must(w->over == (turn_next(w->t) == USEC_NEVER) || !w->over);
        break;
    case 6:
        turn_forget(w->t, &peer);
        break;
    default:
        if (s.n == 0)
            turn_stop(w->t, w->now);
        break;
    }
    must(rc == ERR_OK || rc == ERR_STATE || rc == ERR_TOOBIG);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world w;
    if (size == 0)
        return 0;
    w = (struct world){.now = 1000 * USEC_S, .reliable = (data[0] & 1) != 0};
    struct turn_config c = {
        .user = SV("u"), .password = SV("p"), .reliable = w.reliable, .both = (data[0] & 2) != 0};
    must(!crypto_start() && !turn_new(&c, &ops, &w, &w.t));
    turn_start(w.t, w.now);
    size_t at = 1;
    for (unsigned i = 0; i < STEPS_MAX && size - at >= 3; i++) {
        size_t n = (size_t)(data[at + 1] << 8 | data[at + 2]);
        if (n > size - at - 3)
            n = size - at - 3;
        step(&w, data[at], (sv){(const char *)data + at + 3, n});
        at += 3 + n;
    }
    turn_free(w.t);
    return 0;
}
