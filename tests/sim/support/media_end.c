/* SPDX-License-Identifier: MIT */
/* What stands behind a description of media_sim's phones: ports, keys, checks; what is said there says who says
 * it, in which call, and how often he has spoken, and what is heard is held against that. */
#include "support/media.h"
#include <stdio.h>
#include <string.h>

enum { MAGIC = 0x544d6d6du, SPEECH = 16, PACKET_ROOM = 256, REPORT_EVERY = 7 };
enum srtp_suite media_suite(enum offer_suite s)
{
    enum srtp_suite suite = SRTP_AES_CM_128_HMAC_SHA1_80;
    media_need(srtp_suite_named(offer_suite_name(s), &suite));
    return suite;
}

bool media_sends(enum sdp_direction d)
{
    return d == SDP_SENDRECV || d == SDP_SENDONLY;
}

bool media_takes(enum sdp_direction d)
{
    return d == SDP_SENDRECV || d == SDP_RECVONLY;
}

/* ---- ways ---- */

struct media_way *media_way(struct media_end *e, const struct addr *remote, bool make)
{
    for (unsigned i = 0; i < e->ways; i++) {
        if (addr_equal(&e->way[i].remote[0], remote) || addr_equal(&e->way[i].remote[1], remote))
            return &e->way[i];
    }
    if (!make || e->ways == MEDIA_WAYS)
        return NULL;
    struct media_way *way = &e->way[e->ways++];
    *way = (struct media_way){.end = e, .remote = {*remote}};
    return way;
}

/* Where its packets go; false: nowhere yet. */
static bool place(const struct media_way *way, unsigned c, struct addr *ret)
{
    struct ice_way x;
    *ret = way->remote[way->end->mux ? 0 : c];
    if (!way->end->ice || !way->checked)
        return ret->family != 0;
    if (!ice_agent_valid(way->end->ice, 0, 1, &x))
        return false;
    *ret = x.to;
    return true;
}

static void send_to(struct media_end *e, unsigned c, const struct addr *to, const void *p, size_t n)
{
    sv octets = {p, n};
    enum err rc = udp_send(e->port[e->mux ? 0 : c], NULL, to, &octets, 1);
    (void)rc; /* lost */
}

static void set_tick(struct media_end *e)
{
    usec next = e->ice ? ice_agent_next(e->ice) : USEC_NEVER;
    for (unsigned i = 0; i < e->ways; i++) {
        usec at = e->way[i].dtls ? dtls_deadline(e->way[i].dtls) : USEC_NEVER;
        next = at < next ? at : next;
    }
    loop_timer_at(e->phone->loop, &e->tick, next);
}

/* ---- keys ---- */

static void set_context(struct media_way *way, struct srtp_context **c, enum srtp_role role,
                        enum srtp_suite suite, const void *key, const void *salt)
{
    const struct srtp_suite_info *info = srtp_suite_info(suite);
    sv k = {key, info->key}, s = {salt, info->salt};
    if (*c) {
        media_need(srtp_context_rekey(*c, suite, k, s));
        return;
    }
    *c = media_take(way->end->phone->world, sizeof(**c));
    media_need(srtp_context_init(*c, way->end->phone->engine, role, suite, k, s));
}

static void drop_contexts(struct media_way *way)
{
    srtp_context_done(way->in);
    srtp_context_done(way->out);
    way->in = way->out = NULL;
}

static void drop_dtls(struct media_way *way)
{
    if (way->dtls)
        dtls_free(way->dtls);
    way->dtls = NULL;
}

static void on_dtls_send(void *arg, sv octets)
{
    struct media_way *way = arg;
    struct addr to;
    if (place(way, 0, &to))
        send_to(way->end, 0, &to, octets.p, octets.n);
}

static void on_keys(void *arg, const struct dtls_keys *k)
{
    struct media_way *way = arg;
    struct media_world *w = way->end->phone->world;
    const struct dtls_suite_info *info = &dtls_suites[k->suite];
    enum srtp_suite suite;
    uint8_t both[SRTP_KEY_MAX + SRTP_SALT_MAX];
    media_need(srtp_suite_of_profile(info->wire, &suite));
    set_context(way, &way->in, SRTP_RECEIVER, suite, k->theirs.key, k->theirs.salt);
    set_context(way, &way->out, SRTP_SENDER, suite, k->ours.key, k->ours.salt);
    memcpy(both, k->theirs.key, info->key_n);
    memcpy(both + info->key_n, k->theirs.salt, info->salt_n);
    if (addr_equal_ip(&way->remote[0], &w->server))
        media_tap_key(way->end, suite, both, (size_t)info->key_n + info->salt_n);
    w->handshakes++;
}

static void on_failed(void *arg, enum dtls_why why, sv text)
{
    struct media_way *way = arg;
    struct media_world *w = way->end->phone->world;
    (void)why;
    if (w->program->trace)
        printf("%lld phone%u no keys: " SV_FMT "\n", (long long)sim_now(w->sim),
               way->end->phone->index, SV_ARG(text));
    way->dtls_failed = true;
    w->given_up += way->live; /* else of a branch that lost */
}

static void on_closed(void *arg)
{
    (void)arg;
}

static const struct dtls_user dtls_handler = {
    .send = on_dtls_send, .on_keys = on_keys, .on_failed = on_failed, .on_closed = on_closed};

static void make_dtls(struct media_way *way, bool client)
{
    struct dtls_config c = {.client = client};
    drop_dtls(way);
    way->dtls_client = client;
    way->dtls_failed = false;
    media_need(dtls_new(way->end->phone->certificate, &c, &dtls_handler, way, &way->dtls));
}

/* A client begins as soon as there is somewhere to. */
static void begin_dtls(struct media_way *way)
{
    struct addr to;
    if (way->dtls && way->dtls_client && dtls_state(way->dtls) == DTLS_NEW && place(way, 0, &to))
        dtls_start(way->dtls, loop_now(way->end->phone->loop));
}

static void set_dtls(struct media_way *way, const struct offer_media *m)
{
    struct media_end *e = way->end;
    struct dtls_fingerprint f[OFFER_FINGERPRINTS_MAX];
    bool client = e->offered ? m->setup_said && m->setup == SDP_PASSIVE : way->dtls_client;
    if (!way->dtls || way->dtls_client != client || way->dtls_failed)
        make_dtls(way, client);
    for (unsigned i = 0; i < m->fingerprints_n; i++)
        f[i] = (struct dtls_fingerprint){.hash = m->fingerprints[i].hash,
                                         .digest = m->fingerprints[i].digest,
                                         .n = m->fingerprints[i].n};
    if (dtls_trust(way->dtls, f, m->fingerprints_n, loop_now(e->phone->loop)))
        media_fail(e->phone->world, "fingerprints that prove nothing", "phone %u", e->phone->index);
    begin_dtls(way);
}

static void set_ice(struct media_way *way, const struct offer_media *m)
{
    struct media_end *e = way->end;
    usec now = loop_now(e->phone->loop);
    way->checked = m->ice;
    if (!m->ice || !e->ice)
        return;
    enum err rc = ice_agent_set_remote(e->ice, 0, m->ufrag, m->pwd, now);
    e->ice_peer = media_keep(e->phone->world, m->ufrag);
    if (rc == ERR_STATE)
        media_fail(e->phone->world, "other credentials without a restart", "phone %u",
                   e->phone->index);
    for (unsigned i = 0; i < m->candidates_n && !rc; i++) {
        struct ice_candidate c;
        if (ice_candidate_read(&m->candidates[i], &c) && c.component == 1 &&
            ice_agent_add_remote(e->ice, 0, &c, now))
            continue;
    }
    ice_agent_end_remote(e->ice, 0, now);
}

void media_way_set(struct media_way *way, const struct offer_media *m,
                   const struct offer_key *theirs)
{
    struct media_end *e = way->end;
    enum media_kind kind = e->phone->kind;
    enum offer_keying keying = kind == MEDIA_DTLS || kind == MEDIA_WEB ? OFFER_DTLS
                               : theirs                                ? OFFER_SDES
                                                                       : OFFER_PLAIN;
    if (kind == MEDIA_SDES && !theirs)
        media_fail(e->phone->world, "SRTP was answered without a key", "phone %u", e->phone->index);
    if (keying != way->keying)
        drop_contexts(way);
    way->keying = keying;
    way->takes = media_takes(m->direction);
    e->mux = m->mux && e->mux;
    set_ice(way, m);
    if (keying == OFFER_DTLS)
        set_dtls(way, m);
    if (keying == OFFER_SDES) {
        enum srtp_suite suite = media_suite(theirs->suite);
        set_context(way, &way->in, SRTP_RECEIVER, suite, theirs->key, theirs->key + theirs->key_n);
        set_context(way, &way->out, SRTP_SENDER, suite, e->key, e->key + theirs->key_n);
    }
    if (!timer_armed(&e->talk))
        loop_timer(e->phone->loop, &e->talk, 1);
    set_tick(e);
}

/* ---- checks ---- */

static void on_ice_send(void *arg, unsigned stream, unsigned component, const struct ice_way *way,
                        sv octets)
{
    struct media_end *e = arg;
    (void)stream;
    (void)component;
    send_to(e, 0, &way->to, octets.p, octets.n);
}

static void on_ice_random(void *arg, void *p, size_t n)
{
    const struct media_end *e = arg;
    loop_random_bytes(e->phone->loop, p, n);
}

static void tell_agent(struct media_end *e)
{
    usec now = loop_now(e->phone->loop);
    struct ice_candidate host = {.type = ICE_HOST, .component = 1, .addr = e->port[0]->local};
    host.base = host.addr;
    host.priority = ice_priority(ICE_HOST, 65535, 1);
    ice_foundation(&host, NULL);
    media_need(ice_agent_add_local(e->ice, 0, &host, now));
    ice_agent_end_local(e->ice, 0, now);
    set_tick(e);
}

void media_end_restart(struct media_end *e)
{
    ice_agent_restart(e->ice, loop_now(e->phone->loop));
    e->restarted = true;
    tell_agent(e);
}

void media_end_checks(struct media_end *e, bool controlling, bool peer_lite)
{
    struct ice_config c = {
        .controlling = controlling, .peer_lite = peer_lite, .streams = 1, .components = {1}};
    struct ice_io io = {.send = on_ice_send, .random = on_ice_random, .arg = e};
    if (e->ice)
        return;
    media_need(ice_agent_new(&c, &io, &e->ice));
    tell_agent(e);
}

static bool stands(const struct media_end *e)
{
    for (unsigned i = 0; i < e->ways; i++)
        if (e->way[i].live)
            return true;
    return false;
}

static void after_checks(struct media_end *e)
{
    struct media_world *w = e->phone->world;
    struct ice_event event;
    while (e->ice && ice_agent_event(e->ice, &event)) {
        w->unchecked += event.kind == ICE_FAILED;
        w->lapsed += event.kind == ICE_LOST && stands(e);
        e->lapsed = event.kind == ICE_LOST || (e->lapsed && event.kind != ICE_SELECTED);
    }
    for (unsigned i = 0; i < e->ways; i++)
        begin_dtls(&e->way[i]);
}

/* ---- talking ---- */

static uint32_t ssrc_of(const struct media_end *e)
{
    return e->call->number << 8 | e->phone->index << 4 | e->life;
}

/* It talks on while the other side does not want to hear: the server keeps that from it. */
static bool is_rude(const struct media_end *e, const struct media_way *way)
{
    return e->call->number % 3 == 1 && addr_equal_ip(&way->remote[0], &e->phone->world->server);
}

static void say(struct media_way *way, uint16_t seq, bool report)
{
    struct media_end *e = way->end;
    uint8_t p[PACKET_ROOM] = {0};
    struct addr to;
    size_t n = RTP_HEADER + SPEECH;
    if (!way->claimed || !way->live ||
        ((!way->takes || !media_sends(e->direction)) && !is_rude(e, way)) ||
        (way->keying != OFFER_PLAIN && !way->out) || !place(way, report, &to))
        return;
    if (report) { /* RFC 3550 §6.4.1: SR without blocks */
        n = 28;
        p[0] = 0x80;
        p[1] = 200;
        rtpmsg_set_u16(p, 2, 6);
        rtpmsg_set_u32(p, 4, ssrc_of(e));
    } else {
        uint32_t ts = (uint32_t)(e->phone->world->pace / 125) * e->number; /* 8,000 Hz */
        rtpmsg_put_header(p, false, 0, seq, ts, ssrc_of(e));
        rtpmsg_set_u32(p, RTP_HEADER, MAGIC);
        rtpmsg_set_u32(p, RTP_HEADER + 4, e->call->number);
        rtpmsg_set_u32(p, RTP_HEADER + 8, e->phone->index);
        rtpmsg_set_u32(p, RTP_HEADER + 12, e->number);
    }
    if (way->out && (report ? srtp_rtcp_protect(way->out, p, &n, sizeof(p))
                            : srtp_rtp_protect(way->out, p, &n, sizeof(p))))
        return;
    send_to(e, report, &to, p, n);
}

static void on_talk(struct timer *t, void *arg)
{
    struct media_end *e = arg;
    bool dtls = e->phone->kind == MEDIA_DTLS && !e->mux;
    e->number++;
    e->seq++;
    for (unsigned i = 0; i < e->ways; i++) {
        say(&e->way[i], e->seq, false);
        if (e->number % REPORT_EVERY == 0 && !dtls && !e->phone->world->tame)
            say(&e->way[i], 0, true);
    }
    loop_timer(e->phone->loop, t, e->phone->world->pace);
}

/* ---- listening ---- */

/* Who says so is the other one of this call. */
static bool is_other(const struct media_end *e, uint32_t call, uint32_t phone)
{
    if (call != e->call->number || phone >= MEDIA_PHONES || phone == e->phone->index)
        return false;
    return e->phone == e->call->caller ? e->call->callees >> phone & 1
                                       : phone == e->call->caller->index;
}

static void hear(struct media_end *e, struct media_way *way, const uint8_t *p, size_t n, bool rtcp)
{
    struct media_world *w = e->phone->world;
    uint32_t ssrc = rtcp ? rtpmsg_u32(p, 4) : rtpmsg_ssrc(p);
    bool other = is_other(e, ssrc >> 8, ssrc >> 4 & 15);
    uint32_t number = 0;
    if (!rtcp) {
        other = other && n == RTP_HEADER + SPEECH && rtpmsg_u32(p, RTP_HEADER) == MAGIC &&
                is_other(e, rtpmsg_u32(p, RTP_HEADER + 4), rtpmsg_u32(p, RTP_HEADER + 8));
        number = other ? rtpmsg_u32(p, RTP_HEADER + 12) : 0;
    }
    if (!other) {
        media_fail(w, "a phone hears somebody else", "phone %u in call %u: ssrc %08x, %zu octets",
                   e->phone->index, e->call->number, ssrc, n);
        return;
    }
    struct media_end *speaker = media_end_of(&w->phone[ssrc >> 4 & 15], e->call);
    if (speaker && speaker->life == (ssrc & 15) && number > speaker->number)
        media_fail(w, "a phone hears what was never said", "phone %u in call %u", e->phone->index,
                   e->call->number);
    w->heard++;
    w->early += !way || !way->claimed;
    if (!way)
        return;
    way->heard += !rtcp;
    way->heard_rtcp += rtcp;
}

static void on_media(struct media_end *e, sv octets, const struct addr *from, bool rtcp)
{
    struct media_way *way = media_way(e, from, false);
    uint8_t p[2048];
    size_t n = octets.n;
    enum media_kind kind = e->phone->kind;
    bool secure = way && way->claimed
                      ? way->keying != OFFER_PLAIN
                      : kind != MEDIA_PLAIN && kind != MEDIA_NAT && kind != MEDIA_ICE;
    if (n > sizeof(p))
        return;
    memcpy(p, octets.p, n);
    if (secure &&
        (!way || !way->in ||
         (rtcp ? srtp_rtcp_unprotect(way->in, p, &n) : srtp_rtp_unprotect(way->in, p, &n))))
        return;
    if (way && way->dtls)
        dtls_settle(way->dtls);
    hear(e, way, p, n, rtcp);
}

static void on_dtls(struct media_end *e, sv octets, const struct addr *from)
{
    struct media_way *way = media_way(e, from, e->offering);
    if (!way || (way->claimed && !way->dtls))
        return;
    if (!way->dtls) { /* before its answer: its certificate waits for that */
        e->phone->world->hellos++;
        make_dtls(way, false);
    }
    dtls_receive(way->dtls, octets, loop_now(e->phone->loop));
}

static void on_datagram(struct media_end *e, unsigned c, sv octets, const struct addr *from)
{
    enum rtpmsg_kind kind = rtpmsg_kind(octets);
    switch (kind) {
    case RTPMSG_STUN:
        if (e->ice)
            ice_agent_on_datagram(e->ice, 0, 1, 0, from, octets, loop_now(e->phone->loop));
        after_checks(e);
        break;
    case RTPMSG_DTLS:
        if (c == 0) /* without rtcp-mux they have no keys for RTCP, and send none */
            on_dtls(e, octets, from);
        break;
    case RTPMSG_RTP:
    case RTPMSG_RTCP:
        on_media(e, octets, from, kind == RTPMSG_RTCP);
        break;
    default:
        media_fail(e->phone->world, "a datagram of no kind", "%zu octets", octets.n);
    }
    set_tick(e);
}

static void on_rtp(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    (void)to;
    on_datagram(arg, 0, block_sv(b), from);
}

static void on_rtcp(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    (void)to;
    on_datagram(arg, 1, block_sv(b), from);
}
static const struct udp_handler handler[2] = {{.on_datagram = on_rtp}, {.on_datagram = on_rtcp}};

static void on_tick(struct timer *t, void *arg)
{
    struct media_end *e = arg;
    usec now = loop_now(e->phone->loop);
    (void)t;
    if (e->ice && ice_agent_next(e->ice) <= now)
        ice_agent_timer(e->ice, now);
    after_checks(e);
    for (unsigned i = 0; i < e->ways; i++) {
        struct media_way *way = &e->way[i];
        if (way->dtls && dtls_deadline(way->dtls) <= now)
            dtls_timer(way->dtls, now);
    }
    set_tick(e);
}

/* ---- life ---- */

struct media_end *media_end_of(const struct media_phone *p, const struct media_call *c)
{
    LIST_EACH (e, &p->ends, struct media_end, by_phone) {
        if (e->call == c)
            return e;
    }
    return NULL;
}

void media_end_ports(struct media_end *e, struct udp *ret_port[2])
{
    struct media_phone *p = e->phone;
    struct addr a = p->ip;
    for (unsigned c = 0; c < 2; c++) {
        a.port = (uint16_t)(p->next_port + c);
        media_need(udp_open(p->loop, &a, &handler[c], e, &ret_port[c]));
    }
    p->next_port += 2;
}

static void on_linger(struct timer *t, void *arg)
{
    (void)t;
    media_end_free(arg);
}

struct media_end *media_end_new(struct media_phone *p, struct media_call *c)
{
    struct media_world *w = p->world;
    struct media_end *e = media_take(w, sizeof(*e));
    *e = (struct media_end){.phone = p,
                            .call = c,
                            .suite = media_chance(w, 50) ? SUITE_AES_CM_128_HMAC_SHA1_80
                                                         : SUITE_AEAD_AES_128_GCM,
                            .passive = media_chance(w, 40),
                            .picky = media_chance(w, 30),
                            .mux = p->kind >= MEDIA_DTLS || media_chance(w, 50),
                            .seq = (uint16_t)(sim_random(w->sim) % 30000),
                            .life = ++p->serial % 16};
    loop_random_bytes(p->loop, e->next_key, sizeof(e->next_key));
    memcpy(e->key, e->next_key, sizeof(e->key));
    timer_init(&e->talk, on_talk, e);
    timer_init(&e->tick, on_tick, e);
    timer_init(&e->linger, on_linger, e);
    media_end_ports(e, e->port);
    list_push(&p->ends, &e->by_phone);
    return e;
}

void media_end_close(struct media_end *e, usec in)
{
    if (e->closing)
        return;
    e->closing = true;
    for (unsigned i = 0; i < e->ways; i++)
        e->way[i].live = in > 0; /* some talk on after BYE */
    loop_timer(e->phone->loop, &e->linger, in + 2 * USEC_S);
}

void media_end_free(struct media_end *e)
{
    struct loop *l = e->phone->loop;
    loop_timer_cancel(l, &e->talk);
    loop_timer_cancel(l, &e->tick);
    loop_timer_cancel(l, &e->linger);
    for (unsigned i = 0; i < e->ways; i++) {
        drop_dtls(&e->way[i]);
        drop_contexts(&e->way[i]);
    }
    ice_agent_free(e->ice);
    for (unsigned c = 0; c < 2; c++) {
        udp_close(e->port[c]);
        udp_close(e->next_port[c]);
    }
    list_unlink(&e->by_phone);
}
