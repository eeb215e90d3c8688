/* SPDX-License-Identifier: MIT */
/* session_world.h: a server whose process may die and be followed by another, two phones and a stranger, each a host of
 * a simulated network. The first phone speaks in clear, the second with keys of SDES and libsrtp2, which says
 * of each packet whether it takes it. */
#ifndef SESSION_WORLD_H
#define SESSION_WORLD_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "crypto/crypto.h"
#include "rtcpmsg/rtcpmsg.h"
#include "rtpmsg/rtpmsg.h"
#include "session/session.h"
#include "sim/sim.h"
#include "srtp/srtp.h"
#undef SRTP_SRTP_H /* theirs has this guard too */
#include <srtp2/srtp.h>

static struct sim *sim;
static struct sim_host *server, *host[3];
static struct loop *at; /* the server's */
static struct ports *ports;
static struct session_shared *shared;
static struct sessions *sessions;
static struct udp *phone[SESSION_SIDES], *stranger;
static struct session_id id;
static struct offer_ours *ours[SESSION_SIDES];
static struct offer_plan *plan;
static size_t live_before;
static const struct session_config config = {.relay = {.latch = 5 * USEC_S}, .silence = 0};

/* What a phone got, as it came. */
static struct {
    unsigned n;
    uint8_t last[2048];
    size_t last_n;
} got[SESSION_SIDES];
static unsigned strangers;
static void (*on_got)(unsigned side, uint8_t *p, size_t n); /* sees each as well; NULL: nobody */

static void on_datagram(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    unsigned side = (unsigned)(uintptr_t)arg;
    (void)from, (void)to;
    if (side >= SESSION_SIDES) {
        strangers++;
        return;
    }
    got[side].n++;
    memcpy(got[side].last, b->p, b->n);
    got[side].last_n = b->n;
    if (on_got)
        on_got(side, got[side].last, b->n);
}
static const struct udp_handler handler = {.on_datagram = on_datagram};

static enum session_event told;
static unsigned tellings;
static void on_event(void *arg, struct session_id of, enum session_event e, unsigned side, sv why)
{
    (void)arg, (void)of, (void)side, (void)why;
    told = e;
    tellings++;
}
static const struct session_handler events = {.on_event = on_event};

static struct addr address(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(sv_of(text), &a), ERR_OK);
    return a;
}

static struct offer_ip ip_of(const struct addr *a)
{
    struct offer_ip ip = {.n = 4, .port = a->port};
    memcpy(ip.ip, a->ip, 4);
    return ip;
}

static void run_ms(unsigned ms)
{
    sim_run_until(sim, sim_now(sim) + ms * USEC_MS);
}

/* The server's process, and what it has in common for its sessions. */
static void world_process(const struct session_config *c)
{
    struct loop_group *g;
    assert_int_equal(sim_process(server, 1, &g), ERR_OK);
    at = g->loop[0];
    assert_int_equal(ports_new(28000, 28999, &ports), ERR_OK);
    assert_int_equal(session_shared_new(ports, &shared), ERR_OK);
    assert_int_equal(sessions_new(at, shared, c, &sessions), ERR_OK);
}

static void world_gone(void)
{
    sessions_free(sessions);
    session_shared_free(shared);
    assert_int_equal(ports_taken(ports), 0);
    ports_free(ports);
}

/* kill -9. */
static inline void world_dies(void)
{
    sim_process_kill(server, false);
    world_gone();
    sim_process_free(server);
}

static struct udp *open_phone(unsigned i, const char *ip)
{
    struct addr a = address(ip);
    struct loop_group *g;
    struct udp *u;
    assert_int_equal(sim_host_new(sim, ip, &a, 1, &host[i]), ERR_OK);
    assert_int_equal(sim_process(host[i], 1, &g), ERR_OK);
    a.port = 4000;
    assert_int_equal(udp_open(g->loop[0], &a, &handler, (void *)(uintptr_t)i, &u), ERR_OK);
    return u;
}

/* A session of one audio line between the two; nothing is agreed on yet. */
static void world_begin(const struct session_config *c)
{
    static const struct sim_wire wire = {.delay_min = USEC_MS, .delay_max = USEC_MS};
    struct addr local = address("192.0.2.1:0");
    struct session_party party[SESSION_SIDES] = {{.local = local}, {.local = local}};
    live_before = mem_live();
    on_got = NULL;
    memset(got, 0, sizeof(got));
    strangers = tellings = 0;
    assert_int_equal(sim_new(1, &sim), ERR_OK);
    sim_set_wire(sim, &wire);
    assert_int_equal(sim_host_new(sim, "server", &local, 1, &server), ERR_OK);
    world_process(c);
    phone[0] = open_phone(0, "198.51.100.1:0");
    phone[1] = open_phone(1, "198.51.100.2:0");
    stranger = open_phone(2, "198.51.100.3:0");
    for (unsigned i = 0; i < SESSION_SIDES; i++)
        party[i].source = phone[i]->local;
    assert_int_equal(session_new(sessions, party, 1, &events, NULL, &id), ERR_OK);
    plan = mem_calloc(1, sizeof(*plan));
    for (unsigned i = 0; i < SESSION_SIDES; i++) {
        ours[i] = mem_calloc(1, sizeof(*ours[i]));
        assert_int_equal(session_ours(sessions, id, i, SESSION_NEXT, ours[i]), ERR_OK);
        struct offer_leg *l = &plan->streams[0].leg[i];
        l->rtp = l->rtcp = ip_of(&phone[i]->local);
        l->mux = l->send = l->receive = true;
        l->event_pt = l->cn_pt = OFFER_NO_PT;
        plan->streams[0].map[i][0] = (struct offer_map){
            .in = {.id = CODEC_PCMU, .clock_hz = 8000, .channels = 1, .name = SV("PCMU")},
            .out = {.id = CODEC_PCMU, .clock_hz = 8000, .channels = 1, .name = SV("PCMU")}};
        plan->streams[0].map_n[i] = 1;
    }
    plan->n = 1;
}

static void world_end(void)
{
    session_end(sessions, id);
    assert_int_equal(sessions_live(sessions), 0);
    sim_process_stop(server);
    world_gone();
    sim_process_free(server);
    for (unsigned i = 0; i < SESSION_SIDES; i++) {
        udp_close(phone[i]);
        mem_free(ours[i]);
    }
    udp_close(stranger);
    mem_free(plan);
    sim_free(sim);
    assert_int_equal(mem_live(), live_before);
}

/* To the server's port toward a side. */
static void send_octets(struct udp *from, unsigned side, const void *p, size_t n)
{
    const struct offer_ip *ip = &ours[side]->media[0].rtp;
    struct addr to = addr_from_ip(ip->ip, ip->n, ip->port);
    sv piece = {p, n};
    assert_int_equal(udp_send(from, NULL, &to, &piece, 1), ERR_OK);
}

static size_t make_rtp(uint8_t *p, uint8_t pt, uint16_t seq, uint32_t ssrc)
{
    rtpmsg_put_header(p, false, pt, seq, 160u * seq, ssrc);
    memset(p + RTP_HEADER, seq & 0xff, 160);
    return RTP_HEADER + 160;
}

/* ---- the second phone ---- */

static srtp_t peer_in, peer_out;
static struct {
    unsigned rtp, rtcp, refused;
    uint32_t ssrc; /* of the last RTP */
    uint16_t seq;
    uint32_t ts;
    unsigned ssrcs; /* that differed from the one before */
    uint8_t report[600];
    size_t report_n;
} heard;

static void peer_policy(srtp_policy_t *p, const struct offer_key *k, srtp_ssrc_type_t type)
{
    *p = (srtp_policy_t){.window_size = SRTP_WINDOW, .key = (unsigned char *)k->key};
    p->ssrc.type = type;
    if (k->suite == SUITE_AEAD_AES_256_GCM) {
        srtp_crypto_policy_set_aes_gcm_256_16_auth(&p->rtp);
        srtp_crypto_policy_set_aes_gcm_256_16_auth(&p->rtcp);
    } else {
        srtp_crypto_policy_set_rtp_default(&p->rtp);
        srtp_crypto_policy_set_rtcp_default(&p->rtcp);
    }
}

/* libsrtp2 takes no index twice of what lies within its window. */
static void peer_got(unsigned side, uint8_t *p, size_t n)
{
    int len = (int)n;
    if (side != SESSION_ANSWERER)
        return;
    if (rtpmsg_kind((sv){(char *)p, n}) == RTPMSG_RTCP) {
        if (srtp_unprotect_rtcp(peer_in, p, &len) == srtp_err_status_ok) {
            heard.rtcp++;
            memcpy(heard.report, p, (size_t)len);
            heard.report_n = (size_t)len;
        } else {
            heard.refused++;
        }
    } else if (srtp_unprotect(peer_in, p, &len) == srtp_err_status_ok) {
        heard.rtp++;
        heard.ssrcs += heard.ssrc != rtpmsg_ssrc(p);
        heard.ssrc = rtpmsg_ssrc(p);
        heard.seq = rtpmsg_seq(p);
        heard.ts = rtpmsg_ts(p);
    } else {
        heard.refused++;
    }
}

/* Who says in the last report that it leaves; 0: nobody. */
static inline uint32_t heard_bye(void)
{
    struct rtcp_walk w = {0};
    struct rtcp_bye bye;
    for (struct rtcpmsg m; rtcpmsg_next((sv){(char *)heard.report, heard.report_n}, &w, &m);) {
        if (rtcpmsg_bye(&m, &bye) == ERR_OK && bye.n == 1)
            return rtcpmsg_bye_ssrc(&bye, 0);
    }
    return 0;
}

static struct offer_key peer_key(enum offer_suite suite)
{
    struct offer_key k = {.suite = suite};
    offer_key_lengths(suite, &k.key_n, &k.salt_n);
    memset(k.key, 7, sizeof(k.key));
    return k;
}

/* The second side has keys from here on. */
static void peer_begin(const struct session_config *c, enum offer_suite suite)
{
    srtp_policy_t in, out;
    world_begin(c);
    memset(&heard, 0, sizeof(heard));
    struct offer_leg *l = &plan->streams[0].leg[SESSION_ANSWERER];
    l->keying = OFFER_SDES;
    l->theirs = peer_key(suite);
    l->ours = ours[SESSION_ANSWERER]->media[0].keys[suite];
    peer_policy(&in, &l->ours, ssrc_any_inbound);
    peer_policy(&out, &l->theirs, ssrc_any_outbound);
    assert_int_equal(srtp_create(&peer_in, &in), srtp_err_status_ok);
    assert_int_equal(srtp_create(&peer_out, &out), srtp_err_status_ok);
    on_got = peer_got;
}

static void peer_end(void)
{
    srtp_dealloc(peer_in);
    srtp_dealloc(peer_out);
    world_end();
}

static inline size_t peer_protect(uint8_t *p, size_t n, bool rtcp)
{
    int len = (int)n;
    assert_int_equal((rtcp ? srtp_protect_rtcp : srtp_protect)(peer_out, p, &len),
                     srtp_err_status_ok);
    return (size_t)len;
}

static inline void peer_send_rtp(uint16_t seq, uint32_t ssrc)
{
    uint8_t p[400];
    size_t n = make_rtp(p, 0, seq, ssrc);
    send_octets(phone[SESSION_ANSWERER], SESSION_ANSWERER, p, peer_protect(p, n, false));
    run_ms(20);
}

/* The first phone sends so many, one number after the other. */
static inline void phone_sends(uint16_t seq, unsigned n, uint32_t ssrc)
{
    uint8_t p[400];
    for (unsigned i = 0; i < n; i++) {
        send_octets(phone[SESSION_OFFERER], SESSION_OFFERER, p,
                    make_rtp(p, 0, (uint16_t)(seq + i), ssrc));
        run_ms(20);
    }
}

#endif
