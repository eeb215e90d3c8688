/* SPDX-License-Identifier: MIT */
/* fuzz/turnserver_fuzz.c: a TURN server under any messages, stream octets, peers and times, with and without an
 * allocation. Nothing may ever be sent to where a client may not send; all is given back in the end.
 *
 *   input   a first octet (1: an allocation stands), then steps: kind, length of two octets, octets */
#include <stdlib.h>

#include "crypto/crypto.h"
#include "turnserver/turnserver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FIRST = 20000, LAST = 20031, STEPS_MAX = 64, OPEN_MAX = 64 };
#define REALM SV("example.test")

struct world {
    struct ports *ports;
    struct turnserver_shared *shared;
    struct turnserver_core *core;
    struct turnserver_limits limits;
    struct stats stats;
    struct wheel wheel;
    usec now, wall;
    uint64_t chance;
    struct turnserver_relay *open[OPEN_MAX];
    struct turnserver_peer *peer[OPEN_MAX]; /* connections under way or standing */
    bool connecting[OPEN_MAX];
    struct turnserver_tuple client[3]; /* UDP, TCP, and a data connection */
    char user[64], password[64];
    size_t user_n, password_n;
    struct {
        char p[128];
        size_t n;
    } nonce[2]; /* an address's: of the first client, and of the others */
};

/* A bound that holds: an abort is what the fuzzer sees. */
static void must(bool holds)
{
    if (!holds)
        abort();
}

static struct addr ip(const char *text, uint16_t port)
{
    struct addr a = {.family = 0};
    must(addr_parse_ip(sv_of(text), port, &a) == ERR_OK);
    return a;
}

static void to_client(void *arg, const struct turnserver_tuple *client, const sv *pieces, size_t n)
{
    struct world *w = arg;
    struct stunmsg m;
    struct stun_attr a;
    static char mem[70000];
    size_t at = 0;
    unsigned whose = client->client.family == 6;
    for (size_t i = 0; i < n; i++) {
        must(at + pieces[i].n <= sizeof(mem));
        if (pieces[i].n > 0)
            memcpy(mem + at, pieces[i].p, pieces[i].n);
        at += pieces[i].n;
    }
    must(at >= 4);
    if ((mem[0] & 0xc0) == 0x40) {
        must(n >= 2);
        return;
    }
    must(stunmsg_parse((sv){mem, at}, &m) == ERR_OK);
    if (stunmsg_find(&m, STUN_NONCE, &a) && a.value.n < sizeof(w->nonce[0].p)) {
        memcpy(w->nonce[whose].p, a.value.p, a.value.n);
        w->nonce[whose].n = a.value.n;
    }
}

static bool relay_address(void *arg, const struct turnserver_tuple *client, unsigned family,
                          struct addr *ret_bound, struct addr *ret_told)
{
    (void)arg;
    (void)client;
    *ret_bound = *ret_told = family == 4 ? ip("198.51.100.1", 0) : ip("2001:db8:ffff::1", 0);
    return true;
}

static enum err relay_open(void *arg, struct turnserver_relay *r)
{
    struct world *w = arg;
    for (size_t i = 0; i < OPEN_MAX; i++) {
        if (w->open[i])
            continue;
        w->open[i] = r;
        r->io = &w->open[i];
        return ERR_OK;
    }
    return ERR_BUSY;
}

static bool is_ours(void *arg, const struct addr *a)
{
    (void)arg;
    struct addr one = ip("198.51.100.1", 0), two = ip("2001:db8:ffff::1", 0);
    return addr_equal_ip(a, &one) || addr_equal_ip(a, &two);
}

static bool relay_send(void *arg, struct turnserver_relay *r, const struct addr *to, sv octets)
{
    struct world *w = arg;
    struct addr in;
    must(*(struct turnserver_relay **)r->io == r);
    must(octets.n == 0 || octets.p != NULL);
    must(to->family == r->bound.family && to->port != 0);
    must(turnserver_peer_class(&w->limits, to, &in) == TURNSERVER_OPEN);
    must(!is_ours(w, &in) || ports_is_live(w->ports, to));
    return true;
}

static void relay_close(void *arg, struct turnserver_relay *r)
{
    (void)arg;
    must(*(struct turnserver_relay **)r->io == r);
    *(struct turnserver_relay **)r->io = NULL;
    r->io = NULL;
}

static bool hold(struct world *w, struct turnserver_peer *p, bool connecting)
{
    for (size_t i = 0; i < OPEN_MAX; i++) {
        if (w->peer[i])
            continue;
        w->peer[i] = p;
        w->connecting[i] = connecting;
        p->io = &w->peer[i];
        return true;
    }
    return false;
}

static enum err peer_connect(void *arg, struct turnserver_relay *r, struct turnserver_peer *p)
{
    struct world *w = arg;
    struct addr in;
    must(r->tcp && turnserver_peer_class(&w->limits, &p->addr, &in) == TURNSERVER_OPEN);
    must(!is_ours(w, &in));
    return hold(w, p, true) ? ERR_OK : ERR_BUSY;
}

static void peer_close(void *arg, struct turnserver_peer *p)
{
    (void)arg;
    must(*(struct turnserver_peer **)p->io == p);
    *(struct turnserver_peer **)p->io = NULL;
}

static void peer_bind(void *arg, const struct turnserver_tuple *client, uint32_t id, sv user,
                      const struct turnserver_answer *answer)
{
    struct world *w = arg;
    struct turnserver_peer *p;
    unsigned code = turnserver_core_claim(w->core, id, user, &p);
    turnserver_core_answer(w->core, client, answer, code);
    must(code || p->id == id);
}

static bool has_account(void *arg, sv account)
{
    (void)arg;
    return sv_eq(account, SV("alice@example.test"));
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

static const struct turnserver_ops ops = {
    .to_client = to_client,
    .relay_address = relay_address,
    .relay_open = relay_open,
    .relay_send = relay_send,
    .relay_close = relay_close,
    .is_ours = is_ours,
    .has_account = has_account,
    .chance = chance,
    .peer_connect = peer_connect,
    .peer_bind = peer_bind,
    .peer_close = peer_close,
};

static void receive(struct world *w, unsigned who, sv octets)
{
    turnserver_core_receive(w->core, &w->client[who % 3], octets, w->now, w->wall);
}

/* A request with these attributes, as octets, by one who knows the password. */
static void signed_request(struct world *w, unsigned who, uint16_t method, sv attributes)
{
    char mem[4096];
    uint8_t key[STUN_KEY_MAX], id[STUN_ID] = {(uint8_t)w->now};
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    struct stun_out o = stunmsg_begin(&b, method, STUN_REQUEST, id);
    buf_put(&b, sv_sub(attributes, 0, attributes.n & ~(size_t)3));
    stunmsg_put(&o, STUN_USERNAME, (sv){w->user, w->user_n});
    stunmsg_put(&o, STUN_REALM, REALM);
    unsigned whose = w->client[who % 3].client.family == 6;
    stunmsg_put(&o, STUN_NONCE, (sv){w->nonce[whose].p, w->nonce[whose].n});
    size_t n = stun_key(STUN_ALGORITHM_MD5, (sv){w->user, w->user_n}, REALM,
                        (sv){w->password, w->password_n}, key);
    stunmsg_put_integrity(&o, STUN_SHA1, (sv){(char *)key, n});
    if (!b.rc)
        receive(w, who, buf_sv(&b));
}

static void stream(struct world *w, unsigned who, sv octets)
{
    sv message;
    size_t whole;
    while (!turnserver_frame(octets, &message, &whole)) {
        must(message.n <= whole && whole <= octets.n && whole >= 4);
        receive(w, who, message);
        octets = sv_sub(octets, whole, octets.n);
    }
}

static struct turnserver_relay *some_relay(struct world *w, unsigned which)
{
    for (unsigned i = 0; i < OPEN_MAX; i++)
        if (w->open[(which + i) % OPEN_MAX])
            return w->open[(which + i) % OPEN_MAX];
    return NULL;
}

/* Of the first octets of a step. */
static struct addr some_peer(sv s)
{
    static const char *const peers[] = {"203.0.113.7", "203.0.113.8", "2001:db8::7",
                                        "198.51.100.1"};
    return ip(peers[s.n > 0 ? s.p[0] & 3 : 0], (uint16_t)(9 + (s.n > 1 ? s.p[1] & 7 : 0)));
}

/* A peer connects, a connection stands, fails or ends, one is bound. */
static void tcp(struct world *w, struct turnserver_relay *r, sv s)
{
    struct addr peer = some_peer(s);
    unsigned what = s.n > 2 ? (uint8_t)s.p[2] : 0;
    struct turnserver_peer **at = &w->peer[what / 8 % OPEN_MAX], *p = *at;
    if (what % 4 == 0 && r && r->tcp) {
        p = turnserver_core_accepted(w->core, r, &peer, w->now);
        if (p && !hold(w, p, false))
            turnserver_core_ended(w->core, p);
    } else if (p && what % 4 == 1) {
        char id[8] = {0, 0x2a, 0, 4};
        for (int i = 0; i < 4; i++)
            id[4 + i] = (char)(p->id >> (24 - 8 * i));
        signed_request(w, 2, STUN_CONNECTION_BIND, (sv){id, 8});
    } else if (p && w->connecting[at - w->peer]) {
        bool stands = what % 4 == 2;
        w->connecting[at - w->peer] = false;
        *at = stands ? p : NULL;
        turnserver_core_connected(w->core, p, stands ? ERR_OK : ERR_REFUSED, w->now);
    } else if (p) {
        *at = NULL;
        turnserver_core_ended(w->core, p);
    }
}

static void step(struct world *w, unsigned kind, sv s)
{
    static const uint16_t methods[] = {STUN_ALLOCATE,        STUN_REFRESH, STUN_CREATE_PERMISSION,
                                       STUN_CHANNEL_BIND,    STUN_BINDING, STUN_CONNECT,
                                       STUN_CONNECTION_BIND, STUN_SEND};
    struct turnserver_relay *r = some_relay(w, kind >> 4);
    struct addr peer = some_peer(s);
    switch (kind & 7) {
    case 0:
        receive(w, kind >> 3, s);
        break;
    case 1:
        stream(w, kind >> 3, s);
        break;
    case 2:
    case 3:
        signed_request(w, kind >> 7, methods[kind >> 3 & 7], s);
        break;
    case 4:
        if (r)
            turnserver_core_relayed(w->core, r, &peer, sv_sub(s, 2, s.n), w->now);
        break;
    case 5:
        w->now += (usec)(s.n > 0 ? (uint8_t)s.p[0] : 1) * 10 * USEC_S;
        w->wall += 100 * USEC_S;
        wheel_advance(&w->wheel, w->now, SIZE_MAX);
        break;
    case 6:
        if (r)
            turnserver_core_refused(w->core, r, &peer, ERR_REFUSED, w->now);
        break;
    default:
        if (s.n > 2) {
            tcp(w, r, s);
            break;
        }
        if (s.n == 0)
            turnserver_core_gone(w->core, &w->client[kind >> 3 & 1]);
        w->limits.quota = 1 + s.n % 7;
        turnserver_core_limits(w->core, &w->limits);
        break;
    }
}

static void start(struct world *w, bool allocated)
{
    static const uint8_t secret[32] = "of the fuzzer";
    struct buf user, password;
    static struct wheel fresh; /* its lists point into w, which stays where it is */
    if (fresh.step == 0) {
        wheel_init(&w->wheel, 1000 * USEC_S);
        fresh = w->wheel;
    }
    memset(&w->stats, 0, offsetof(struct world, wheel) - offsetof(struct world, stats));
    memset(w->open, 0, sizeof(w->open));
    memset(w->peer, 0, sizeof(w->peer));
    w->wheel = fresh;
    w->now = 1000 * USEC_S;
    w->wall = 1790000000 * USEC_S;
    w->chance = w->nonce[0].n = w->nonce[1].n = 0;
    w->limits = (struct turnserver_limits){.lifetime = USEC_HOUR, .quota = 5};
    w->client[0] = (struct turnserver_tuple){ip("192.0.2.77", 5000), ip("198.51.100.1", 3478),
                                             TURNSERVER_UDP, NULL};
    w->client[1] = (struct turnserver_tuple){ip("2001:db8::77", 5000), ip("2001:db8:ffff::1", 3478),
                                             TURNSERVER_TCP, NULL};
    w->client[2] = w->client[1];
    w->client[2].client.port++;
    /* What all share is large, and as new when all is given back. */
    must(w->shared || (!crypto_start() && !ports_new(FIRST, LAST, &w->ports) &&
                       !turnserver_shared_new(secret, REALM, w->ports, &w->shared)));
    must(!turnserver_core_new(w->shared, 5, &w->limits, &ops, w, &w->wheel, &w->stats, &w->core));
    buf_init(&user, w->user, sizeof(w->user));
    buf_init(&password, w->password, sizeof(w->password));
    must(!turnserver_credential(w->shared, SV("alice@example.test"), w->wall, 3600, &user,
                                &password));
    w->user_n = user.n;
    w->password_n = password.n;
    for (unsigned who = 0; who < 2; who++)
        receive(w, who, (sv){"\0\3\0\0\x21\x12\xa4\x42nonce please", 20});
    if (allocated) {
        signed_request(w, 0, STUN_ALLOCATE, (sv){"\0\x19\0\4\x11\0\0\0\x80\0\0\4\2\0\0\0", 16});
        signed_request(w, 0, STUN_CHANNEL_BIND, /* 0x4000 to 203.0.113.7:9 */
                       (sv){"\0\x0c\0\4\x40\0\0\0\0\x12\0\x08\0\1\x21\x1b\xea\x12\xd5\x45", 20});
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world w;
    if (size == 0)
        return 0;
    start(&w, data[0] & 1);
    size_t at = 1;
    for (unsigned i = 0; i < STEPS_MAX && size - at >= 3; i++) {
        size_t n = (size_t)(data[at + 1] << 8 | data[at + 2]);
        if (n > size - at - 3)
            n = size - at - 3;
        step(&w, data[at], (sv){(const char *)data + at + 3, n});
        at += 3 + n;
    }
    turnserver_core_free(w.core);
    for (size_t i = 0; i < OPEN_MAX; i++)
        must(w.open[i] == NULL && w.peer[i] == NULL);
    must(stat_get(&w.stats, STAT_TURN_ALLOCATIONS) == 0);
    if (ports_taken(w.ports) > 0) { /* some are held for who shows a token */
        turnserver_shared_free(w.shared);
        w.shared = NULL;
        must(ports_taken(w.ports) == 0);
        ports_free(w.ports);
    }
    return 0;
}
