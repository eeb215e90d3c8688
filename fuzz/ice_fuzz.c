/* SPDX-License-Identifier: MIT */
/* fuzz/ice_fuzz.c: datagrams into running agents, a full one and a lite one, as they come and with the right password put
 * under them, and time between them. Input: steps of one octet what, one octet how much, and that many octets. */
#include <stdlib.h>

#include "crypto/crypto.h"
#include "ice/ice_agent.h"
#include "ice/ice_lite.h"
#include "ice/ice_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS_MAX = 24 };
static const sv remote_ufrag_text = {"abcd", 4};
static const sv remote_pwd_text = {"0123456789abcdefghijkl", 22};
static uint8_t last_id[STUN_ID];
static unsigned drawn;
static usec now;

static void must(bool holds)
{
    if (!holds)
        abort();
}

static struct addr from_of(uint8_t which)
{
    struct addr a = {.family = which & 0x40 ? 6 : 4, .port = (uint16_t)(1000 + (which & 7))};
    static const uint8_t v4[] = {198, 51, 100, 1}, v6[] = {0x20, 1, 0xd, 0xb8, 1};
    memcpy(a.ip, a.family == 4 ? v4 : v6, a.family == 4 ? sizeof v4 : sizeof v6);
    return a;
}

/* The agent's own requests: the input may answer the last one. */
static void on_send(void *arg, unsigned stream, unsigned component, const struct ice_way *way,
                    sv octets)
{
    struct stunmsg m;
    (void)arg;
    must(stream < 2 && component >= 1 && component <= 2 && way->to.family != 0);
    must(stunmsg_parse(octets, &m) == ERR_OK && m.fingerprint && octets.n <= ICE_CHECK_MAX);
    if (m.class == STUN_REQUEST)
        memcpy(last_id, m.id, STUN_ID);
}

static void on_random(void *arg, void *p, size_t n)
{
    (void)arg;
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)p)[i] = (uint8_t)(++drawn * 37);
}

static void add_candidates(struct ice_agent *a, unsigned stream)
{
    for (unsigned i = 0; i < 3; i++) {
        struct ice_candidate c = {.type = ICE_HOST,
                                  .component = (uint8_t)(1 + i % 2),
                                  .socket = (uint8_t)(i / 2),
                                  .priority = 1000 - i,
                                  .addr = from_of(i == 2 ? 0x47 : 7),
                                  .foundation = "1",
                                  .foundation_n = 1};
        c.addr.ip[3] = 9;
        c.base = c.addr;
        (void)!ice_agent_add_local(a, stream, &c, now);
        c.addr = from_of((uint8_t)(i == 2 ? 0x40 : i));
        (void)!ice_agent_add_remote(a, stream, &c, now);
    }
}

/* Octets as they are; or a message of them: attributes, behind a header, before an integrity that holds. */
static sv message(uint8_t what, sv octets, const struct ice_secret *ours, struct buf *b)
{
    if (!(what & 1))
        return octets;
    bool request = what & 2;
    struct stun_out o = stunmsg_begin(b, STUN_BINDING,
                                      request    ? STUN_REQUEST
                                      : what & 4 ? STUN_ERROR
                                                 : STUN_SUCCESS,
                                      last_id);
    if (request) {
        char name[ICE_UFRAG_LEN + 5];
        memcpy(name, ours->ufrag, ICE_UFRAG_LEN);
        memcpy(name + ICE_UFRAG_LEN, ":abcd", 5);
        stunmsg_put(&o, STUN_USERNAME, (sv){name, sizeof name});
    } else if (!(what & 4)) {
        struct addr mapped = from_of(what);
        stun_put_xor_addr(&o, STUN_XOR_MAPPED_ADDRESS, &mapped);
    }
    for (size_t at = 0; at + 2 <= octets.n;) { /* type, length, value: of one octet each */
        uint8_t type = (uint8_t)octets.p[at], n = (uint8_t)octets.p[at + 1] & 15;
        sv value = sv_sub(octets, at + 2, at + 2 + n);
        stunmsg_put(&o, (uint16_t)(type & 0x80 ? 0x8000 | (type & 0x7f) : type), value);
        at += 2 + (size_t)n;
    }
    stunmsg_put_integrity(&o, STUN_SHA1, request ? ice_pwd(ours) : remote_pwd_text);
    stunmsg_put_fingerprint(&o);
    return b->rc ? octets : buf_sv(b);
}

static void agent_holds(const struct ice_agent *a)
{
    unsigned pairs = 0;
    for (unsigned i = 0; i < ICE_PAIRS_MAX; i++)
        pairs += a->pair[i].used;
    must(pairs <= a->config.pairs_max);
    for (unsigned s = 0; s < a->config.streams; s++) {
        must(a->stream[s].remotes_n <= ICE_CANDIDATES_MAX);
        for (unsigned c = 0; c < ICE_COMPONENTS_MAX; c++) {
            const struct component *k = &a->stream[s].component[c];
            must(k->pair == PAIR_NONE ||
                 (a->pair[k->pair].used && a->pair[k->pair].valid && a->pair[k->pair].stream == s));
        }
    }
}

static void step(struct ice_agent *a, struct ice_lite *l, uint8_t what, sv octets)
{
    char mem[2048], out[ICE_CHECK_MAX];
    struct buf b, answer;
    struct ice_event e;
    unsigned stream = what >> 6 & 1, component = 1 + (what >> 5 & 1);
    struct addr from = from_of(octets.n > 0 ? (uint8_t)octets.p[octets.n - 1] : 0);
    if ((what & 0x1f) == 0x1e) {
        ice_agent_restart(a, now);
        (void)!ice_agent_set_remote(a, stream, remote_ufrag_text, remote_pwd_text, now);
        add_candidates(a, stream);
    } else if ((what & 0x1f) == 0x1c) {
        ice_lite_restart(l, &(struct ice_secret){"newufrag", "0123456789abcdefghijkl+/"});
    } else if ((what & 0x1f) == 0x1a) {
        ice_lite_watch_data(l, octets.n & 1, now);
        ice_lite_data(l, component, &from, now);
    } else if ((what & 0x18) == 0x10) {
        now += (usec)(1 + (what & 7)) * 700 * USEC_MS;
    }
    buf_init(&b, mem, sizeof mem);
    ice_agent_on_datagram(a, stream, component, what >> 7, &from,
                          message(what, octets, &a->ours, &b), now);
    buf_init(&b, mem, sizeof mem);
    buf_init(&answer, out, sizeof out);
    sv m = message(what, octets, &l->ours, &b);
    unsigned did = ice_lite_on_datagram(l, component, what >> 7, &from, m, now, &answer);
    must(!(did & ICE_LITE_ANSWER) || answer.n <= m.n + 64);
    for (int i = 0; i < 8 && ice_agent_next(a) <= now; i++)
        ice_agent_timer(a, now);
    must(ice_agent_next(a) > now); /* it asks for no time at which it then does nothing */
    ice_lite_timer(l, now);
    must(ice_lite_next(l) > now);
    while (ice_agent_event(a, &e))
        must(e.stream < 2 && e.component <= 2);
    agent_holds(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ice_secret ours = {"ourufrag", "our/password/of/24/octet"};
    struct ice_config config = {
        .controlling = size & 1, .streams = 2, .components = {2, 1}, .pairs_max = 20};
    struct ice_io io = {on_send, on_random, NULL};
    struct ice_agent *a;
    struct ice_lite l;
    now = 1000 * USEC_S;
    drawn = 0;
    must(crypto_start() == ERR_OK);
    if (ice_agent_new(&config, &io, &a))
        return 0;
    ice_lite_init(&l, &ours, 2, 30 * USEC_S);
    for (unsigned s = 0; s < 2; s++) {
        must(!ice_agent_set_remote(a, s, remote_ufrag_text, remote_pwd_text, now));
        add_candidates(a, s);
    }
    size_t at = 0;
    for (int i = 0; i < STEPS_MAX && at + 2 <= size; i++) {
        sv octets = sv_sub((sv){(const char *)data, size}, at + 2, at + 2 + data[at + 1]);
        step(a, &l, data[at], octets);
        at += 2 + (size_t)data[at + 1];
    }
    ice_lite_done(&l);
    ice_agent_free(a);
    return 0;
}
