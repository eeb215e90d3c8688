/* SPDX-License-Identifier: MIT */
/* ice_world.h: two ICE agents in virtual time: a net that loses, repeats and reorders, NATs of all kinds, relays, what is
 * told when, and others who write into the wires. */
#ifndef ICE_WORLD_H
#define ICE_WORLD_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crypto/crypto.h"
#include "ice/ice_agent.h"
#include "ice/ice_lite.h"

/* ---- chance and time ---- */

static uint64_t chance_state;
static usec now;

static inline uint64_t chance(uint64_t below)
{
    uint64_t z = (chance_state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

/* ---- the net ---- */

enum nat_kind { OPEN, FULL_CONE, RESTRICTED, PORT_RESTRICTED, SYMMETRIC, NAT_KINDS };
enum { SOCKS = 64, MAPS = 256, FLIGHTS = 4096, EVENTS = 1024, TRIES = 8 };

struct sock {
    int peer;
    unsigned stream, component;
    uint8_t number;
    struct addr addr;
    int nat; /* -1: everybody reaches it */
};
struct map {
    struct addr inside, dest;
    uint16_t port;
};
static struct nat {
    enum nat_kind kind;
    struct addr ip;
    struct map
        map[MAPS]; /* of who was written to, for the filter; a mapping is the first with its port */
    unsigned n;
    uint16_t port;
} nats[2];
static struct sock socks[SOCKS];
static unsigned socks_n;
static struct flight {
    usec at;
    struct addr from, to;
    size_t n;
    char octets[ICE_CHECK_MAX];
} flights[FLIGHTS];
static unsigned flights_n;
static unsigned loss, twice, forging; /* of 1000 */
static unsigned slow;                 /* milliseconds more, at most */
static unsigned sent_n;

static inline bool same_mapping(const struct nat *t, const struct map *m, const struct addr *inside,
                                const struct addr *dest)
{
    return addr_equal(&m->inside, inside) && (t->kind != SYMMETRIC || addr_equal(&m->dest, dest));
}

/* Outwards: a mapping, and a hole in the filter. */
static inline struct addr translate(struct nat *t, const struct addr *inside,
                                    const struct addr *dest)
{
    struct addr out = t->ip;
    out.port = 0;
    for (unsigned i = 0; i < t->n; i++) {
        if (!same_mapping(t, &t->map[i], inside, dest))
            continue;
        out.port = t->map[i].port;
        if (addr_equal(&t->map[i].dest, dest))
            return out;
    }
    if (out.port == 0)
        out.port = t->port++;
    assert_true(t->n < MAPS);
    t->map[t->n++] = (struct map){*inside, *dest, out.port};
    return out;
}

/* Inwards: whom it is for, if it may pass. */
static inline const struct addr *passes(const struct nat *t, uint16_t port, const struct addr *from)
{
    for (unsigned i = 0; i < t->n; i++) {
        const struct map *m = &t->map[i];
        if (m->port == port &&
            (t->kind == FULL_CONE ||
             (t->kind == RESTRICTED ? addr_equal_ip(&m->dest, from) : addr_equal(&m->dest, from))))
            return &m->inside;
    }
    return NULL;
}

static inline bool is_private(const struct addr *a)
{
    return a->family == 4 && a->ip[0] == 10;
}

static inline void fly(const struct addr *from, const struct addr *to, sv octets)
{
    if (flights_n == FLIGHTS || octets.n > ICE_CHECK_MAX)
        return;
    struct flight *f = &flights[flights_n++];
    f->at = now + (usec)(5 + chance(60 + slow)) * USEC_MS;
    f->from = *from;
    f->to = *to;
    f->n = octets.n;
    memcpy(f->octets, octets.p, octets.n);
}

static inline void forge(const struct addr *from, const struct addr *to, sv octets);

static inline void net_send(const struct sock *s, const struct addr *to, sv octets)
{
    struct addr from = s->addr;
    sent_n++;
    if (is_private(to)) {
        if (s->nat < 0 || s->addr.ip[1] != to->ip[1])
            return; /* another house */
    } else if (s->nat >= 0) {
        from = translate(&nats[s->nat], &s->addr, to);
    }
    if (forging && chance(1000) < forging)
        forge(&from, to, octets);
    if (chance(1000) >= loss)
        fly(&from, to, octets);
    if (chance(1000) < twice)
        fly(&from, to, octets);
}

static inline struct sock *sock_at(const struct addr *a)
{
    for (unsigned i = 0; i < socks_n; i++)
        if (addr_equal(&socks[i].addr, a))
            return &socks[i];
    return NULL;
}

static inline struct sock *sock_for(const struct flight *f)
{
    for (unsigned i = 0; i < 2; i++) {
        if (nats[i].kind == OPEN || !addr_equal_ip(&nats[i].ip, &f->to))
            continue;
        const struct addr *inside = passes(&nats[i], f->to.port, &f->from);
        return inside ? sock_at(inside) : NULL;
    }
    return sock_at(&f->to);
}

/* ---- the two sides ---- */

static struct peer {
    struct ice_agent *ice; /* NULL: lite */
    struct ice_lite lite;
    struct ice_candidate candidate[32];
    unsigned candidate_stream[32], candidates_n;
    unsigned selected, completed, failed, lost;
    char data[64]; /* the last that arrived which is no STUN */
    struct addr data_from;
    uint8_t data_socket;
} peers[2];
static unsigned streams, components;
static bool no_consent;
static bool plain; /* the lite side answers whatever is proven */

static inline struct sock *sock_of(int peer, unsigned stream, unsigned component, uint8_t number)
{
    for (unsigned i = 0; i < socks_n; i++)
        if (socks[i].peer == peer && socks[i].stream == stream && socks[i].component == component &&
            socks[i].number == number)
            return &socks[i];
    fail();
    return NULL;
}

static inline void on_send(void *arg, unsigned stream, unsigned component,
                           const struct ice_way *way, sv octets)
{
    int peer = (int)((struct peer *)arg - peers);
    net_send(sock_of(peer, stream, component, way->socket), &way->to, octets);
}

static inline void on_random(void *arg, void *p, size_t n)
{
    (void)arg;
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)p)[i] = (uint8_t)chance(256);
}

static inline void take_events(struct peer *p)
{
    struct ice_event e;
    while (p->ice && ice_agent_event(p->ice, &e)) {
        p->selected += e.kind == ICE_SELECTED;
        p->completed += e.kind == ICE_COMPLETED;
        p->failed += e.kind == ICE_FAILED;
        p->lost += e.kind == ICE_LOST;
    }
}

static inline void hand(struct sock *s, const struct addr *from, sv octets)
{
    struct peer *p = &peers[s->peer];
    char mem[ICE_CHECK_MAX];
    struct buf b;
    if (!stunmsg_is(octets)) {
        snprintf(p->data, sizeof p->data, SV_FMT, SV_ARG(octets));
        p->data_from = *from;
        p->data_socket = s->number;
    } else if (p->ice) {
        ice_agent_on_datagram(p->ice, s->stream, s->component, s->number, from, octets, now);
    } else if (plain) {
        struct ice_check k;
        buf_init(&b, mem, sizeof mem);
        if (ice_check_read(octets, &p->lite.ours, &k) && k.code == 0) {
            ice_check_answer(&b, &k, from, &p->lite.ours);
            net_send(s, from, buf_sv(&b));
        }
    } else {
        buf_init(&b, mem, sizeof mem);
        if (ice_lite_on_datagram(&p->lite, s->component, s->number, from, octets, now, &b) &
            ICE_LITE_ANSWER)
            net_send(s, from, buf_sv(&b));
    }
}

/* ---- who does not belong there ---- */

/* With all that can be seen on the wire but the password: answers to ids that are under way, requests with the right
 * names, from either side's address or from elsewhere. */
static inline void forge(const struct addr *from, const struct addr *to, sv octets)
{
    char mem[ICE_CHECK_MAX];
    struct buf b;
    struct stunmsg m;
    struct stun_attr a;
    struct addr spy = {.family = from->family, .ip = {203, 0, 113, 66}, .port = 666};
    if (stunmsg_parse(octets, &m) || m.class != STUN_REQUEST)
        return;
    buf_init(&b, mem, sizeof mem);
    int kind = (int)chance(6);
    struct stun_out o = stunmsg_begin(&b, STUN_BINDING,
                                      kind < 2   ? STUN_REQUEST
                                      : kind < 4 ? STUN_SUCCESS
                                                 : STUN_ERROR,
                                      m.id);
    if (kind < 2) { /* a role of its own, and a nomination */
        if (stunmsg_find(&m, STUN_USERNAME, &a))
            stunmsg_put(&o, STUN_USERNAME, a.value);
        stunmsg_put_u32(&o, STUN_PRIORITY, 0x7fffffff);
        stunmsg_put_flag(&o, STUN_USE_CANDIDATE);
        stunmsg_put_u64(&o, chance(2) ? STUN_ICE_CONTROLLED : STUN_ICE_CONTROLLING,
                        chance(2) ? 0 : UINT64_MAX);
    } else if (kind < 4) {
        stun_put_xor_addr(&o, STUN_XOR_MAPPED_ADDRESS, &spy);
    } else {
        stunmsg_put_error_of(&o, chance(2) ? STUN_ROLE_CONFLICT : STUN_FORBIDDEN);
    }
    if (chance(2))
        stunmsg_put_integrity(&o, STUN_SHA1, SV("what nobody told him"));
    stunmsg_put_fingerprint(&o);
    if (kind < 2)
        fly(chance(2) ? from : &spy, to, buf_sv(&b));
    else
        fly(chance(2) ? to : &spy, from, buf_sv(&b));
}

/* ---- what is to happen when ---- */

enum happening { LOCAL, LOCAL_END, CREDENTIALS, REMOTE, REMOTE_END, RESTART };
static struct event {
    usec at;
    enum happening what;
    int peer;
    unsigned stream, candidate;
} events[EVENTS];
static unsigned events_n;

static inline void plan(usec at, enum happening what, int peer, unsigned stream, unsigned candidate)
{
    assert_true(events_n < EVENTS);
    events[events_n++] = (struct event){at, what, peer, stream, candidate};
}

static inline sv ufrag_of(int peer)
{
    return ice_ufrag(peers[peer].ice ? ice_agent_secret(peers[peer].ice) : &peers[peer].lite.ours);
}

static inline sv pwd_of(int peer)
{
    return ice_pwd(peers[peer].ice ? ice_agent_secret(peers[peer].ice) : &peers[peer].lite.ours);
}

static inline void tolerate(enum err rc)
{
    assert_true(rc == ERR_OK || rc == ERR_EXISTS || rc == ERR_STATE);
}

static inline void happens(const struct event *e)
{
    struct peer *p = &peers[e->peer], *q = &peers[!e->peer];
    if (!p->ice && e->what == RESTART) {
        struct ice_secret s;
        uint8_t seed[ICE_SEED];
        on_random(NULL, seed, sizeof seed);
        ice_secret_make(seed, &s);
        ice_lite_restart(&p->lite, &s);
    }
    if (!p->ice)
        return;
    switch (e->what) {
    case LOCAL:
        tolerate(ice_agent_add_local(p->ice, e->stream, &p->candidate[e->candidate], now));
        break;
    case LOCAL_END:
        ice_agent_end_local(p->ice, e->stream, now);
        break;
    case CREDENTIALS:
        assert_int_equal(
            ice_agent_set_remote(p->ice, e->stream, ufrag_of(!e->peer), pwd_of(!e->peer), now),
            ERR_OK);
        break;
    case REMOTE:
        tolerate(ice_agent_add_remote(p->ice, e->stream, &q->candidate[e->candidate], now));
        break;
    case REMOTE_END:
        ice_agent_end_remote(p->ice, e->stream, now);
        break;
    case RESTART:
        ice_agent_restart(p->ice, now);
        break;
    }
}

static inline usec sooner(usec a, usec b)
{
    return a < b ? a : b;
}

static inline usec next_time(void)
{
    usec next = USEC_NEVER;
    for (unsigned i = 0; i < flights_n; i++)
        next = sooner(next, flights[i].at);
    for (unsigned i = 0; i < events_n; i++)
        next = sooner(next, events[i].at);
    for (int i = 0; i < 2; i++)
        next = sooner(next,
                      peers[i].ice ? ice_agent_next(peers[i].ice) : ice_lite_next(&peers[i].lite));
    return next;
}

/* In order of their times; those of one time in the order of planning. */
static inline void due(void)
{
    for (unsigned i = 0; i < events_n;) {
        if (events[i].at > now) {
            i++;
            continue;
        }
        struct event e = events[i];
        memmove(&events[i], &events[i + 1], (--events_n - i) * sizeof e);
        happens(&e);
    }
    for (unsigned i = 0; i < flights_n;) {
        if (flights[i].at > now) {
            i++;
            continue;
        }
        static struct flight f;
        f = flights[i];
        flights[i] = flights[--flights_n];
        struct sock *s = sock_for(&f);
        if (s)
            hand(s, &f.from, (sv){f.octets, f.n});
    }
    for (int i = 0; i < 2; i++) {
        if (peers[i].ice)
            ice_agent_timer(peers[i].ice, now);
        else if (ice_lite_timer(&peers[i].lite, now))
            peers[i].lost++;
        take_events(&peers[i]);
    }
}

static inline bool all_selected(int peer)
{
    for (unsigned s = 0; s < streams; s++)
        for (unsigned c = 1; c <= components; c++)
            if (peers[peer].ice ? !ice_agent_selected(peers[peer].ice, s, c)
                                : !ice_lite_selected(&peers[peer].lite, c))
                return false;
    return true;
}

static inline bool settled(void)
{
    for (int i = 0; i < 2; i++)
        if (!all_selected(i) || (peers[i].ice && peers[i].completed < streams))
            return false;
    return events_n == 0;
}

static inline bool never(void)
{
    return false;
}

static inline void run(usec until, bool (*done)(void))
{
    usec turns = 0;
    while (!done()) {
        usec next = next_time();
        if (next > until)
            break;
        assert_true(turns++ < 400000); /* or somebody asks for a time and does nothing then */
        if (next > now)
            now = next;
        due();
    }
    if (!done() && until > now)
        now = until;
}

/* ---- building ---- */

static inline struct addr at(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(sv_of(text), &a), ERR_OK);
    return a;
}

static inline void offer_candidate(int peer, const struct sock *s, enum ice_type type,
                                   const struct addr *mapped, uint16_t preference)
{
    struct peer *p = &peers[peer];
    struct ice_candidate c = {.type = type,
                              .component = (uint8_t)s->component,
                              .socket = s->number,
                              .addr = *mapped,
                              .base = type == ICE_RELAY ? *mapped : s->addr,
                              .priority = ice_priority(type, preference, s->component)};
    struct addr server = at("192.0.2.53:3478");
    ice_foundation(&c, type == ICE_HOST ? NULL : &server);
    assert_true(p->candidates_n < 32);
    p->candidate_stream[p->candidates_n] = s->stream;
    p->candidate[p->candidates_n++] = c;
}

static inline struct sock *open_socket(int peer, unsigned stream, unsigned component,
                                       uint8_t number, struct addr ip, int nat)
{
    struct sock *s = &socks[socks_n++];
    assert_true(socks_n <= SOCKS);
    ip.port = (uint16_t)(20000 + 100 * peer + 10 * stream + 4 * number + component);
    *s = (struct sock){peer, stream, component, number, ip, nat};
    return s;
}

/* What one side has: a host, perhaps behind a NAT, perhaps IPv6, perhaps a relay. */
struct house {
    enum nat_kind kind;
    int nat; /* which; two sides may share one */
    bool ipv6, relay, only_ipv6;
};

static inline void furnish(int peer, const struct house *h)
{
    struct addr inside = at(h->nat ? "10.1.0.1:1" : "10.0.0.1:1"), outside = at("198.51.100.1:1");
    struct addr six = at("[2001:db8::1]:1"), relay = at("192.0.2.100:1"),
                stun = at("192.0.2.53:3478");
    inside.ip[3] = outside.ip[3] = relay.ip[3] = six.ip[15] = (uint8_t)(10 + peer);
    for (unsigned s = 0; s < streams; s++) {
        for (unsigned c = 1; c <= components; c++) {
            bool natted = h->kind != OPEN;
            if (!h->only_ipv6) {
                struct sock *k =
                    open_socket(peer, s, c, 0, natted ? inside : outside, natted ? h->nat : -1);
                offer_candidate(peer, k, ICE_HOST, &k->addr, 65534);
                struct addr mapped = natted ? translate(&nats[h->nat], &k->addr, &stun) : k->addr;
                if (natted)
                    offer_candidate(peer, k, ICE_SRFLX, &mapped, 65534);
            }
            if (h->ipv6 || h->only_ipv6) {
                struct sock *k = open_socket(peer, s, c, 1, six, -1);
                offer_candidate(peer, k, ICE_HOST, &k->addr, 65535);
            }
            if (h->relay) {
                struct sock *k = open_socket(peer, s, c, 2, relay, -1);
                offer_candidate(peer, k, ICE_RELAY, &k->addr, 65535);
            }
        }
    }
}

static inline void clear(uint64_t seed)
{
    for (int i = 0; i < 2; i++) {
        ice_agent_free(peers[i].ice);
        peers[i] = (struct peer){0};
        nats[i] = (struct nat){.port = (uint16_t)(40000 + 1000 * i)};
        nats[i].ip = at(i ? "203.0.113.2:1" : "203.0.113.1:1");
    }
    chance_state = seed;
    now = USEC_S;
    socks_n = flights_n = events_n = sent_n = 0;
    loss = twice = forging = slow = 0;
    streams = components = 1;
    plain = no_consent = false;
}

static inline void make_agent(int peer, bool controlling, bool peer_lite)
{
    struct ice_config config = {.controlling = controlling,
                                .peer_lite = peer_lite,
                                .streams = streams,
                                .no_consent = no_consent};
    struct ice_io io = {on_send, on_random, &peers[peer]};
    for (unsigned i = 0; i < streams; i++)
        config.components[i] = (uint8_t)components;
    assert_int_equal(ice_agent_new(&config, &io, &peers[peer].ice), ERR_OK);
}

static inline void make_lite(int peer)
{
    uint8_t seed[ICE_SEED];
    struct ice_secret s;
    on_random(NULL, seed, sizeof seed);
    ice_secret_make(seed, &s);
    ice_lite_init(&peers[peer].lite, &s, components, ICE_LITE_SILENCE_S * USEC_S);
}

/* Candidates are gathered one by one up to `spread` from now, and told as they come; what is told arrives in order. */
static inline void signal(int peer, usec credentials_at, usec spread)
{
    for (unsigned s = 0; s < streams; s++) {
        usec last = now, told = credentials_at;
        plan(credentials_at, CREDENTIALS, !peer, s, 0);
        for (unsigned i = 0; i < peers[peer].candidates_n; i++) {
            if (peers[peer].candidate_stream[i] != s)
                continue;
            usec gathered = last + (spread ? (usec)chance((uint64_t)spread / 8 + 1) : 0);
            usec arrives = gathered + (usec)chance(300) * USEC_MS;
            last = gathered;
            told = arrives > told ? arrives : told;
            plan(gathered, LOCAL, peer, s, i);
            plan(told, REMOTE, !peer, s, i);
        }
        plan(last, LOCAL_END, peer, s, 0);
        plan(told, REMOTE_END, !peer, s, 0);
    }
}

/* ---- what must be ---- */

static inline struct ice_way way_of(int peer, unsigned stream, unsigned component)
{
    if (peers[peer].ice) {
        const struct ice_way *w = ice_agent_selected(peers[peer].ice, stream, component);
        assert_non_null(w);
        return *w;
    }
    const struct ice_lite_pair *p = ice_lite_selected(&peers[peer].lite, component);
    assert_non_null(p);
    return (struct ice_way){p->socket, p->remote};
}

/* Data goes both ways, and both use the same pair: what one side sends comes from where the other sends to. */
static inline void ways_are_one(void)
{
    unsigned was = loss, spying = forging;
    loss = forging = 0;
    for (unsigned s = 0; s < streams; s++) {
        for (unsigned c = 1; c <= components; c++) {
            for (int from = 0; from < 2; from++) {
                struct ice_way w = way_of(from, s, c), back = way_of(!from, s, c);
                struct peer *to = &peers[!from];
                to->data[0] = 0;
                net_send(sock_of(from, s, c, w.socket), &w.to, SV("sound"));
                run(now + (200 + slow) * USEC_MS, never);
                assert_string_equal(to->data, "sound");
                assert_int_equal(to->data_socket, back.socket);
                assert_true(addr_equal(&to->data_from, &back.to));
                if (to->ice)
                    assert_true(ice_agent_is_checked(to->ice, s, c, back.socket, &to->data_from));
            }
        }
    }
    loss = was;
    forging = spying;
}

static inline void roles_differ(void)
{
    if (peers[0].ice && peers[1].ice)
        assert_true(ice_agent_controlling(peers[0].ice) != ice_agent_controlling(peers[1].ice));
}

/* ---- for cmocka ---- */

static inline int setup(void **state)
{
    (void)state;
    clear(1);
    return crypto_start();
}

static inline int teardown(void **state)
{
    (void)state;
    clear(1);
    return 0;
}

#endif
