/* SPDX-License-Identifier: MIT */
/* session_test.c: two sides, what was agreed on, and packets between them. */
#include "../net/net_run.h"
#include <string.h>
#include "crypto/crypto.h"
#include "rtpmsg/rtpmsg.h"
#include "session/session.h"
#include "srtp/srtp.h"

static struct ports *ports;
static struct session_shared *shared;
static struct sessions *sessions;
static struct srtp_engine *engine;
static struct udp *phone[SESSION_SIDES], *stranger;
static struct session_id id;
static struct offer_ours *ours[SESSION_SIDES];
static struct offer_plan *plan;

/* What a phone got. */
static struct {
    unsigned n;
    uint8_t last[2048];
    size_t last_n;
} got[SESSION_SIDES];
static unsigned strangers, wanted;

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
    if (wanted > 0 && --wanted == 0)
        net_stop();
}
static const struct udp_handler handler = {.on_datagram = on_datagram};

static struct timer quiet;
static void on_quiet(struct timer *t, void *arg)
{
    (void)t, (void)arg;
    net_stop();
}

static enum session_event told;
static unsigned tellings;
static void on_event(void *arg, struct session_id of, enum session_event e, unsigned side, sv why)
{
    (void)arg, (void)of, (void)side, (void)why;
    told = e;
    tellings++;
    net_stop();
}
static const struct session_handler events = {.on_event = on_event};

static const struct session_config config = {.relay = {.latch = 5 * USEC_S}, .silence = 0};

static struct offer_ip ip_of(const struct addr *a)
{
    struct offer_ip ip = {.n = 4, .port = a->port};
    memcpy(ip.ip, a->ip, 4);
    return ip;
}

static struct addr addr_of(const struct offer_ip *ip)
{
    return addr_from_ip(ip->ip, ip->n, ip->port);
}

/* A session of one audio line between two phones on the loopback; nothing is agreed on yet. */
static void begin(const struct session_config *c)
{
    struct addr lo = net_addr("127.0.0.1:0");
    struct session_party party[SESSION_SIDES] = {{.local = lo, .source = lo},
                                                 {.local = lo, .source = lo}};
    net_setup(1);
    memset(got, 0, sizeof(got));
    strangers = tellings = wanted = 0;
    timer_init(&quiet, on_quiet, NULL);
    assert_int_equal(ports_new(28000, 28999, &ports), ERR_OK);
    assert_int_equal(session_shared_new(ports, &shared), ERR_OK);
    assert_int_equal(srtp_engine_new(&engine), ERR_OK);
    assert_int_equal(sessions_new(at, shared, c, &sessions), ERR_OK);
    assert_int_equal(session_new(sessions, party, 1, &events, NULL, &id), ERR_OK);
    plan = mem_calloc(1, sizeof(*plan));
    for (unsigned i = 0; i < SESSION_SIDES; i++) {
        ours[i] = mem_calloc(1, sizeof(*ours[i]));
        assert_int_equal(session_ours(sessions, id, i, SESSION_NEXT, ours[i]), ERR_OK);
        assert_int_equal(udp_open(at, &lo, &handler, (void *)(uintptr_t)i, &phone[i]), ERR_OK);
        struct offer_leg *l = &plan->streams[0].leg[i];
        l->rtp = l->rtcp = ip_of(&phone[i]->local);
        l->send = l->receive = true;
        l->event_pt = l->cn_pt = OFFER_NO_PT;
        plan->streams[0].map[i][0] = (struct offer_map){.from = 0, .to = 0};
        plan->streams[0].map_n[i] = 1;
    }
    assert_int_equal(udp_open(at, &lo, &handler, (void *)(uintptr_t)9, &stranger), ERR_OK);
    plan->n = 1;
}

static void end(void)
{
    session_end(sessions, id);
    assert_int_equal(sessions_live(sessions), 0);
    assert_int_equal(session_apply(sessions, id, 0, plan), ERR_NOTFOUND);
    for (unsigned i = 0; i < SESSION_SIDES; i++) {
        udp_close(phone[i]);
        mem_free(ours[i]);
    }
    udp_close(stranger);
    mem_free(plan);
    sessions_free(sessions);
    session_shared_free(shared);
    assert_int_equal(ports_taken(ports), 0);
    ports_free(ports);
    srtp_engine_free(engine);
    net_end();
}

static void send_octets(struct udp *from, unsigned side, const void *p, size_t n)
{
    struct addr to = addr_of(&ours[side]->media[0].rtp);
    sv piece = {p, n};
    assert_int_equal(udp_send(from, NULL, &to, &piece, 1), ERR_OK);
}

static size_t make_rtp(uint8_t *p, uint8_t pt, uint16_t seq, uint32_t ssrc)
{
    rtpmsg_put_header(p, false, pt, seq, 160u * seq, ssrc);
    memset(p + RTP_HEADER, seq & 0xff, 160);
    return RTP_HEADER + 160;
}

static void send_rtp(struct udp *from, unsigned side, uint8_t pt, uint16_t seq)
{
    uint8_t p[300];
    send_octets(from, side, p, make_rtp(p, pt, seq, 0x1111));
}

/* Until the phones have got so many together; 0: for a while. */
static void run_for(unsigned n)
{
    wanted = n;
    loop_timer(at, &quiet, 200 * USEC_MS);
    net_run();
    loop_timer_cancel(at, &quiet);
}

/* ---- plain ---- */

static void a_packet_crosses_with_its_own_payload_type(void **state)
{
    (void)state;
    begin(&config);
    plan->streams[0].map[0][0] = (struct offer_map){.from = 96, .to = 111};
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
    send_rtp(phone[0], 0, 96, 1);
    send_rtp(phone[0], 0, 97, 2); /* nobody agreed on this one */
    send_rtp(phone[1], 1, 0, 3);
    run_for(0);
    assert_int_equal(got[1].n, 1);
    assert_int_equal(rtpmsg_pt(got[1].last), 111);
    assert_int_equal(rtpmsg_seq(got[1].last), 1);
    assert_int_equal(got[1].last_n, RTP_HEADER + 160);
    assert_int_equal(got[0].n, 1);
    assert_int_equal(rtpmsg_seq(got[0].last), 3);
    struct session_figures f;
    assert_int_equal(session_figures(sessions, id, 0, 0, &f), ERR_OK);
    assert_int_equal(f.packets, 2);
    assert_int_equal(f.sent, 1);
    assert_int_equal(session_figures(sessions, id, 1, 0, &f), ERR_NOTFOUND);
    end();
}

static void nothing_passes_before_an_answer(void **state)
{
    (void)state;
    begin(&config);
    for (uint16_t i = 0; i < 10; i++) {
        send_rtp(phone[0], 0, 0, i);
        send_rtp(stranger, 0, 0, i);
        send_rtp(stranger, 1, 0, i);
    }
    run_for(0);
    assert_int_equal(got[0].n + got[1].n + strangers, 0);
    end();
}

static void a_sprayer_gets_nothing_and_brings_nothing(void **state)
{
    (void)state;
    begin(&config);
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
    for (uint16_t i = 0; i < 20; i++) { /* before the phones speak, from a host that they share */
        send_rtp(stranger, 0, 0, i);
        send_rtp(stranger, 1, 0, i);
    }
    send_rtp(phone[0], 0, 0, 100);
    send_rtp(phone[1], 1, 0, 100);
    for (uint16_t i = 0; i < 20; i++) {
        send_rtp(stranger, 0, 0, (uint16_t)(101 + i));
        send_rtp(stranger, 1, 0, (uint16_t)(101 + i));
    }
    run_for(0);
    assert_int_equal(strangers, 0);
    assert_int_equal(got[0].n, 1);
    assert_int_equal(got[1].n, 1);
    assert_int_equal(stat_get(&at->stats, STAT_MEDIA_FOREIGN), 80);
    end();
}

static void who_is_on_hold_is_sent_nothing(void **state)
{
    (void)state;
    begin(&config);
    plan->streams[0].leg[1].send = false;    /* the second phone wants nothing */
    plan->streams[0].leg[0].receive = false; /* and nobody listens to the first */
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
    send_rtp(phone[0], 0, 0, 1);
    send_rtp(phone[1], 1, 0, 2);
    run_for(0);
    assert_int_equal(got[1].n, 0);
    assert_int_equal(got[0].n, 1);
    end();
}

static void the_other_side_may_offer_anew(void **state)
{
    (void)state;
    begin(&config);
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
    struct offer_leg first = plan->streams[0].leg[0];
    plan->streams[0].leg[0] = plan->streams[0].leg[1];
    plan->streams[0].leg[1] = first;
    plan->streams[0].map[0][0] = (struct offer_map){.from = 8, .to = 9};
    assert_int_equal(session_apply(sessions, id, SESSION_ANSWERER, plan), ERR_OK);
    send_rtp(phone[1], 1, 8, 1);
    run_for(1);
    assert_int_equal(rtpmsg_pt(got[0].last), 9);
    end();
}

static void rtcp_finds_its_port(void **state)
{
    static const uint8_t report[] = {0x80, 201, 0, 1, 0, 0, 0x11, 0x11};
    (void)state;
    begin(&config);
    plan->streams[0].leg[0].mux = true;
    plan->streams[0].leg[1].rtcp.port++; /* nobody is there */
    plan->streams[0].leg[1].rtcp = ip_of(&stranger->local);
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
    send_octets(phone[0], 0, report, sizeof(report));
    run_for(0);
    assert_int_equal(strangers, 1); /* it stands in for the second phone's port for RTCP */
    assert_int_equal(got[1].n, 0);
    end();
}

/* ---- with keys ---- */

static void context(struct srtp_context *c, enum srtp_role role, const struct offer_key *k)
{
    sv key = {(const char *)k->key, k->key_n}, salt = {(const char *)k->key + k->key_n, k->salt_n};
    assert_int_equal(srtp_context_init(c, engine, role, SRTP_AES_CM_128_HMAC_SHA1_80, key, salt),
                     ERR_OK);
}

static void encrypted_on_one_side_plain_on_the_other(void **state)
{
    struct srtp_context out, in;
    struct offer_key theirs = {.suite = SUITE_AES_CM_128_HMAC_SHA1_80, .key_n = 16, .salt_n = 14};
    uint8_t p[400], plain[400];
    size_t n;
    (void)state;
    begin(&config);
    memset(theirs.key, 7, 30);
    plan->streams[0].leg[1].keying = OFFER_SDES;
    plan->streams[0].leg[1].theirs = theirs;
    plan->streams[0].leg[1].ours = ours[1]->media[0].keys[SUITE_AES_CM_128_HMAC_SHA1_80];
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
    context(&out, SRTP_SENDER, &theirs);
    context(&in, SRTP_RECEIVER, &plan->streams[0].leg[1].ours);

    n = make_rtp(p, 0, 5, 0x2222);
    memcpy(plain, p, n);
    assert_int_equal(srtp_rtp_protect(&out, p, &n, sizeof(p)), ERR_OK);
    send_octets(phone[1], 1, p, n);
    send_octets(phone[1], 1, p, n);          /* again: replayed */
    send_octets(phone[1], 1, plain, n - 10); /* in the clear */
    p[20] ^= 1;
    send_octets(phone[1], 1, p, n);
    send_rtp(phone[0], 0, 0, 9);
    run_for(0);
    assert_int_equal(got[0].n, 1);
    assert_memory_equal(got[0].last, plain, RTP_HEADER + 160);
    assert_int_equal(got[1].n, 1);
    n = got[1].last_n;
    assert_int_equal(n, RTP_HEADER + 160 + 10);
    assert_int_equal(srtp_rtp_unprotect(&in, got[1].last, &n), ERR_OK);
    assert_int_equal(rtpmsg_seq(got[1].last), 9);
    struct session_figures f;
    assert_int_equal(session_figures(sessions, id, 0, 1, &f), ERR_OK);
    assert_int_equal(f.refused, 3);
    /* a description again has the keys that are in use; one after others were used has new ones */
    const struct offer_key *key = &ours[1]->media[0].keys[SUITE_AES_CM_128_HMAC_SHA1_80];
    uint8_t was[16];
    memcpy(was, key->key, 16);
    assert_int_equal(session_ours(sessions, id, 1, SESSION_NEXT, ours[1]), ERR_OK);
    assert_memory_equal(was, key->key, 16);
    plan->streams[0].leg[1].keying = OFFER_PLAIN;
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
    assert_int_equal(session_ours(sessions, id, 1, SESSION_NEXT, ours[1]), ERR_OK);
    assert_memory_not_equal(was, key->key, 16);
    srtp_context_done(&out);
    srtp_context_done(&in);
    end();
}

static void keys_of_sides_lines_and_sessions_differ(void **state)
{
    (void)state;
    begin(&config);
    assert_int_equal(session_lines(sessions, id, 2), ERR_OK);
    assert_int_equal(session_ours(sessions, id, 0, SESSION_NEXT, ours[0]), ERR_OK);
    assert_int_equal(session_ours(sessions, id, 1, SESSION_NEXT, ours[1]), ERR_OK);
    const struct offer_key *k[] = {&ours[0]->media[0].keys[0], &ours[0]->media[0].keys[1],
                                   &ours[0]->media[1].keys[0], &ours[1]->media[0].keys[0],
                                   &ours[1]->media[1].keys[0]};
    for (size_t i = 0; i < sizeof(k) / sizeof(k[0]); i++) {
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(k[i]->key, k[j]->key, 16);
    }
    assert_int_equal(ours[0]->version, 2);
    assert_int_equal(session_lines(sessions, id, OFFER_MEDIA_MAX + 1), ERR_TOOBIG);
    end();
}

/* ---- bundled ---- */

static void bundled_lines_are_told_apart(void **state)
{
    (void)state;
    begin(&config);
    assert_int_equal(session_lines(sessions, id, 2), ERR_OK);
    plan->streams[1] = plan->streams[0];
    plan->streams[1].kind = OFFER_VIDEO;
    plan->streams[1].map[0][0] = (struct offer_map){.from = 100, .to = 120};
    plan->streams[1].map[1][0] = (struct offer_map){.from = 120, .to = 100};
    plan->streams[1].leg[0].bundled = true; /* the first phone has one port for both */
    plan->streams[1].leg[1].rtp = plan->streams[1].leg[1].rtcp = ip_of(&stranger->local);
    plan->n = 2;
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
    send_rtp(phone[0], 0, 0, 1);
    uint8_t p[300];
    send_octets(phone[0], 0, p, make_rtp(p, 100, 2, 0x3333));
    run_for(0);
    assert_int_equal(got[1].n, 1);
    assert_int_equal(strangers, 1); /* the second phone's port for video */
    end();
}

/* ---- quality ---- */

static void what_is_lost_on_the_way_is_counted_and_judged(void **state)
{
    struct session_figures f;
    (void)state;
    begin(&config);
    for (unsigned i = 0; i < SESSION_SIDES; i++) {
        struct offer_map *map = &plan->streams[0].map[i][0];
        map->in = map->out =
            (struct offer_codec){.id = CODEC_PCMU, .clock_hz = 8000, .channels = 1};
    }
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
    for (uint16_t seq = 1; seq <= 40; seq++) {
        if (seq % 10) /* a tenth is lost */
            send_rtp(phone[0], 0, 0, seq);
    }
    send_rtp(phone[0], 0, 0, 41);
    send_rtp(phone[1], 1, 0, 1);
    send_rtp(phone[1], 1, 0, 2);
    run_for(0);
    assert_int_equal(session_figures(sessions, id, 0, 0, &f), ERR_OK);
    assert_in_range(f.span.lost, 3, 4); /* the last packets may still come */
    assert_true(f.span.mos > 1 && f.span.mos < 4.2);
    assert_int_equal(session_figures(sessions, id, 0, 1, &f), ERR_OK);
    assert_int_equal(f.span.lost, 0);
    assert_true(f.span.mos > 4.2);
    uint64_t judged = at->stats.mos_count;
    session_end(sessions, id);
    assert_int_equal(at->stats.mos_count, judged + 2);
    assert_int_equal(stat_get(&at->stats, STAT_MEDIA_LOST), 4);
    end();
}

/* The figures after packets of these payload types. */
static struct session_figures figures_after(const uint8_t *pt, unsigned n)
{
    static const struct offer_codec
        opus = {.id = CODEC_OPUS, .clock_hz = 48000, .channels = 2, .name = {"opus", 4}},
        law = {.id = CODEC_PCMU, .clock_hz = 8000, .channels = 1, .name = {"PCMU", 4}},
        key = {.id = CODEC_EVENT, .clock_hz = 48000, .name = {"telephone-event", 15}};
    struct session_figures f;
    begin(&config);
    for (unsigned i = 0; i < SESSION_SIDES; i++) {
        struct offer_map *map = plan->streams[0].map[i];
        map[0] = (struct offer_map){.from = 111, .to = 96, .in = opus, .out = opus};
        map[1] = (struct offer_map){.from = 0, .to = 0, .in = law, .out = law};
        map[2] = (struct offer_map){.from = 101, .to = 101, .in = key, .out = key};
        plan->streams[0].map_n[i] = 3;
    }
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
    for (unsigned i = 0; i < n; i++)
        send_rtp(phone[0], 0, pt[i], (uint16_t)(i + 1));
    run_for(0);
    assert_int_equal(session_figures(sessions, id, 0, 0, &f), ERR_OK);
    assert_int_equal(f.here.expected, n > 1 ? n - 1 : 0); /* believed from its second packet on */
    end();
    return f;
}

/* A side may use any codec that was agreed on, and each has a clock of its own (RFC 7160 §4). */
static void the_codec_that_comes_is_the_one_that_is_judged(void **state)
{
    static const uint8_t law_key[] = {0, 0, 0, 101}, law_opus[] = {0, 0, 111};
    (void)state;
    struct session_figures f = figures_after(NULL, 0);
    assert_string_equal(f.codec, "opus/48000/2");
    f = figures_after(law_key, sizeof(law_key)); /* a key is no codec */
    assert_string_equal(f.codec, "PCMU/8000");
    assert_string_equal(f.left_as, "PCMU/8000");
    f = figures_after(law_opus, sizeof(law_opus));
    assert_string_equal(f.codec, "opus/48000/2");
}

/* ---- silence, limits ---- */

static void silence_is_told(void **state)
{
    struct session_config soon = config;
    (void)state;
    soon.silence = 50 * USEC_MS;
    begin(&soon);
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
    loop_timer(at, &quiet, 2 * USEC_S);
    net_run();
    loop_timer_cancel(at, &quiet);
    assert_int_equal(tellings, 1);
    assert_int_equal(told, SESSION_SILENT);
    end();
}

static void what_does_not_fit_changes_nothing(void **state)
{
    struct session_config few = config;
    struct session_id another;
    struct addr lo = net_addr("127.0.0.1:0");
    struct session_party party[SESSION_SIDES] = {{.local = lo}, {.local = lo}};
    (void)state;
    few.most = 1;
    begin(&few);
    assert_int_equal(session_new(sessions, party, 1, &events, NULL, &another), ERR_BUSY);
    few.most = 0;
    sessions_configure(sessions, &few);
    assert_int_equal(ports_range(ports, 28000, 28003), ERR_OK);
    assert_int_equal(session_new(sessions, party, 2, &events, NULL, &another), ERR_BUSY);
    assert_int_equal(sessions_live(sessions), 1);
    assert_int_equal(ports_range(ports, 28000, 28999), ERR_OK);
    assert_int_equal(session_new(sessions, party, OFFER_MEDIA_MAX, &events, NULL, &another),
                     ERR_OK);
    session_end(sessions, another);
    session_end(sessions, another); /* gone already */
    end();
}

/* Of all workers together, and of a session what it said last. */
static void what_is_reserved_is_given_back(void **state)
{
    struct session_config c = config;
    struct session_id another;
    struct sessions *second;
    struct addr lo = net_addr("127.0.0.1:0");
    struct session_party party[SESSION_SIDES] = {{.local = lo}, {.local = lo}};
    int64_t before;
    (void)state;
    c.bandwidth = 1000;
    begin(&c);
    before = stat_get(&at->stats, STAT_MEDIA_RESERVED);
    assert_int_equal(sessions_new(at, shared, &c, &second), ERR_OK);
    assert_int_equal(session_new(second, party, 0, &events, NULL, &another), ERR_OK);
    assert_int_equal(session_reserve(sessions, id, 600), ERR_OK);
    assert_int_equal(session_reserve(second, another, 401), ERR_BUSY);
    assert_int_equal(session_reserve(second, another, 400), ERR_OK);
    assert_int_equal(session_reserve(second, another, UINT64_MAX), ERR_BUSY);
    assert_int_equal(session_reserve(sessions, id, 601), ERR_BUSY); /* and keeps what it had */
    assert_int_equal(stat_get(&at->stats, STAT_MEDIA_RESERVED) - before, 1000);
    assert_int_equal(session_reserve(sessions, id, 100), ERR_OK);
    assert_int_equal(session_reserve(second, another, 900), ERR_OK);
    c.bandwidth = 500;
    sessions_configure(second, &c);
    assert_int_equal(session_reserve(second, another, 901), ERR_BUSY);
    assert_int_equal(session_reserve(second, another, 800), ERR_OK); /* less is always given */
    session_end(second, another);
    assert_int_equal(session_reserve(second, another, 1), ERR_NOTFOUND);
    assert_int_equal(session_reserve(sessions, id, 1000), ERR_OK);
    assert_int_equal(at->stats.refusals[STAT_LIMIT_MEDIA_BANDWIDTH], 4);
    sessions_free(second);
    session_end(sessions, id);
    assert_int_equal(stat_get(&at->stats, STAT_MEDIA_RESERVED) - before, 0);
    end();
}

/* One more session of this payer, beside another of its call. */
static struct session_id paid(struct sessions *m, uint32_t payer, struct session_id with)
{
    struct addr lo = net_addr("127.0.0.1:0");
    struct session_party party[SESSION_SIDES] = {{.local = lo}, {.local = lo}};
    struct session_id made;
    assert_int_equal(session_new(m, party, 0, &events, NULL, &made), ERR_OK);
    assert_int_equal(session_pay(m, made, payer, with), ERR_OK);
    return made;
}

static const struct session_id none = {0, 0};

/* A plan of so many lines, those behind the first refused or as the first. */
static void apply_lines(unsigned lines, bool refused)
{
    for (unsigned i = 1; i < lines; i++) {
        plan->streams[i] = plan->streams[0];
        plan->streams[i].refused = refused;
    }
    plan->n = lines;
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
}

static uint16_t told_at(unsigned side, unsigned line)
{
    assert_int_equal(session_ours(sessions, id, side, 0, ours[side]), ERR_OK);
    return ours[side]->media[line].rtp.port;
}

/* What was taken for an offer is kept as far as its answer says, and by what holds. */
static void what_no_plan_uses_is_given_back(void **state)
{
    struct session_id other;
    struct session_config c = config;
    (void)state;
    c.quota = 8;
    begin(&c);
    struct offer_session *offer = mem_calloc(1, sizeof(*offer));
    uint32_t alice = session_payer(sessions, SV("alice@example.test"));
    apply_lines(1, false);
    uint16_t at_first = told_at(0, 0);
    assert_int_equal(session_lines(sessions, id, 4), ERR_OK); /* refused */
    assert_int_equal(ports_taken(ports), 16);
    session_settle(sessions, id);
    assert_int_equal(ports_taken(ports), 4);
    assert_int_equal(session_streams(sessions, id), 1);
    assert_int_equal(session_lines(sessions, id, 3), ERR_OK); /* its answer refuses two */
    apply_lines(3, true);
    session_settle(sessions, id);
    assert_int_equal(ports_taken(ports), 4);
    assert_int_equal(session_streams(sessions, id), 3);
    assert_int_equal(told_at(0, 1), 0);
    assert_int_equal(told_at(0, 0), at_first);
    /* a line that the offer refuses needs none; one that was refused may come again */
    offer->n = 3;
    offer->media[1].refused = true;
    assert_int_equal(session_offered(sessions, id, offer), ERR_OK);
    assert_int_equal(ports_taken(ports), 8);
    assert_int_equal(told_at(1, 1), 0);
    assert_int_not_equal(told_at(1, 2), 0);
    plan->streams[2].refused = false;
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
    session_settle(sessions, id);
    assert_int_equal(ports_taken(ports), 8);
    /* all or none, also of what counts for him who pays */
    other = paid(sessions, alice, none);
    assert_int_equal(session_lines(sessions, other, 3), ERR_DENIED);
    assert_int_equal(session_room(sessions, alice, 2), ERR_OK);
    assert_int_equal(session_streams(sessions, other), 0);
    assert_int_equal(session_lines(sessions, other, 2), ERR_OK);
    assert_int_equal(session_room(sessions, alice, 1), ERR_DENIED);
    session_settle(sessions, other); /* nothing was agreed on at all */
    assert_int_equal(ports_taken(ports), 8);
    assert_int_equal(session_room(sessions, alice, 2), ERR_OK);
    session_end(sessions, other);
    mem_free(offer);
    told_at(0, 0);
    told_at(1, 0);
    send_rtp(phone[0], 0, 0, 1);
    send_rtp(phone[1], 1, 0, 2);
    run_for(0);
    assert_int_equal(got[0].n, 1);
    assert_int_equal(got[1].n, 1);
    end();
}

/* Ports of one payer, in sessions of all workers. */
static void nobody_has_all_the_ports(void **state)
{
    struct session_config c = config;
    struct session_id first, other, third;
    struct sessions *second;
    (void)state;
    c.quota = 8;
    begin(&c); /* one line: 4 ports, which are nobody's */
    uint32_t alice = session_payer(sessions, SV("alice@example.test"));
    uint32_t bob = session_payer(sessions, SV("bob@example.test"));
    assert_int_not_equal(alice, 0);
    assert_int_equal(session_payer(sessions, SV_NONE), 0);
    bob = bob == alice ? bob % SESSION_PAYERS + 1 : bob;
    assert_int_equal(session_pay(sessions, id, alice, none), ERR_STATE); /* it has them already */
    assert_int_equal(session_lines(sessions, id, 4), ERR_OK);
    assert_int_equal(sessions_new(at, shared, &c, &second), ERR_OK);
    first = paid(sessions, alice, none);
    other = paid(second, alice, none);
    assert_int_equal(session_lines(sessions, first, 1), ERR_OK);
    assert_int_equal(session_room(second, alice, 2), ERR_DENIED);
    assert_int_equal(session_room(second, alice, 1), ERR_OK);
    assert_int_equal(session_room(second, bob, 2), ERR_OK);
    assert_int_equal(session_room(second, 0, 249 - 4), ERR_OK); /* of 250, where id has 4 */
    assert_int_equal(session_room(second, 0, 250 - 4), ERR_BUSY);
    assert_int_equal(session_lines(second, other, 2), ERR_DENIED);
    assert_int_equal(session_lines(second, other, 1), ERR_OK); /* what fits it has */
    assert_int_equal(session_lines(sessions, first, 2), ERR_DENIED);
    assert_int_equal(at->stats.refusals[STAT_LIMIT_MEDIA_QUOTA], 2);
    /* another one's */
    third = paid(second, bob, none);
    assert_int_equal(session_lines(second, third, 2), ERR_OK);
    assert_int_equal(session_lines(second, third, 3), ERR_DENIED);
    /* what has ended is given back */
    session_end(second, other);
    assert_int_equal(session_lines(sessions, first, 2), ERR_OK);
    session_end(second, third);
    session_end(sessions, first);
    third = paid(second, alice, none);
    assert_int_equal(session_lines(second, third, 2), ERR_OK);
    /* no word of it: half of them, but SESSION_QUOTA_LEAST */
    c.quota = 0;
    sessions_configure(second, &c);
    unsigned most =
        ports_count(ports) / 2 > SESSION_QUOTA_LEAST ? ports_count(ports) / 2 : SESSION_QUOTA_LEAST;
    unsigned had = 8;
    for (; had < 2 * most; had += 4) {
        if (session_lines(second, paid(second, alice, none), 1))
            break;
    }
    assert_int_equal(had, most / 4 * 4);
    sessions_free(second);
    end();
}

/* As its largest session while phones ring, and as all that were answered. */
static void a_call_counts_once(void **state)
{
    struct session_config c = config;
    struct session_id ring[40], else_;
    (void)state;
    c.quota = 8;
    begin(&c);
    uint32_t alice = session_payer(sessions, SV("alice@example.test"));
    for (unsigned i = 0; i < 3; i++)
        ring[i] = paid(sessions, alice, i ? ring[0] : none);
    assert_int_equal(session_lines(sessions, ring[0], 1), ERR_OK);
    assert_int_equal(session_lines(sessions, ring[1], 1), ERR_OK);
    else_ = paid(sessions, alice, none);
    assert_int_equal(session_lines(sessions, else_, 1), ERR_OK);
    /* one of them wants more: so does the call */
    assert_int_equal(session_lines(sessions, ring[2], 2), ERR_DENIED);
    session_end(sessions, else_);
    assert_int_equal(session_lines(sessions, ring[2], 2), ERR_OK);
    else_ = paid(sessions, alice, none);
    assert_int_equal(session_lines(sessions, else_, 1), ERR_DENIED);
    /* it is gone, and the others count as they did, whichever of them is left */
    session_end(sessions, ring[2]);
    session_end(sessions, ring[0]);
    assert_int_equal(session_lines(sessions, else_, 2), ERR_DENIED);
    assert_int_equal(session_lines(sessions, else_, 1), ERR_OK);
    session_end(sessions, else_);
    /* two of a fork are answered: that is two, and cannot be refused */
    ring[0] = paid(sessions, alice, ring[1]);
    ring[2] = paid(sessions, alice, ring[1]);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(session_lines(sessions, ring[i], 1), ERR_OK);
    session_answered(sessions, ring[1]);
    else_ = paid(sessions, alice, none);
    assert_int_equal(session_lines(sessions, else_, 1), ERR_OK);
    session_answered(sessions, ring[0]);
    session_answered(sessions, ring[0]);
    session_end(sessions, ring[2]);
    session_end(sessions, else_);
    else_ = paid(sessions, alice, none);
    assert_int_equal(session_lines(sessions, else_, 1), ERR_DENIED);
    session_end(sessions, ring[1]);
    assert_int_equal(session_lines(sessions, else_, 1), ERR_OK);
    session_end(sessions, ring[0]);
    session_end(sessions, else_);
    /* however many ring, some ports are left to the others */
    unsigned n = 0;
    assert_int_equal(ports_range(ports, 28000, 28199), ERR_OK);
    for (; n < 40; n++) {
        ring[n] = paid(sessions, alice, n ? ring[0] : none);
        if (session_lines(sessions, ring[n], 1))
            break;
    }
    assert_int_equal(n, 200 / 2 / 4);
    else_ = paid(sessions, 0, none);
    assert_int_equal(session_lines(sessions, else_, 1), ERR_OK);
    session_end(sessions, else_);
    for (unsigned i = 0; i <= n; i++)
        session_end(sessions, ring[i]);
    else_ = paid(sessions, alice, none); /* and all of it was given back */
    assert_int_equal(session_lines(sessions, else_, 2), ERR_OK);
    session_end(sessions, else_);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_packet_crosses_with_its_own_payload_type),
        cmocka_unit_test(nothing_passes_before_an_answer),
        cmocka_unit_test(a_sprayer_gets_nothing_and_brings_nothing),
        cmocka_unit_test(who_is_on_hold_is_sent_nothing),
        cmocka_unit_test(the_other_side_may_offer_anew),
        cmocka_unit_test(rtcp_finds_its_port),
        cmocka_unit_test(encrypted_on_one_side_plain_on_the_other),
        cmocka_unit_test(keys_of_sides_lines_and_sessions_differ),
        cmocka_unit_test(bundled_lines_are_told_apart),
        cmocka_unit_test(what_is_lost_on_the_way_is_counted_and_judged),
        cmocka_unit_test(the_codec_that_comes_is_the_one_that_is_judged),
        cmocka_unit_test(silence_is_told),
        cmocka_unit_test(what_does_not_fit_changes_nothing),
        cmocka_unit_test(what_is_reserved_is_given_back),
        cmocka_unit_test(what_no_plan_uses_is_given_back),
        cmocka_unit_test(nobody_has_all_the_ports),
        cmocka_unit_test(a_call_counts_once),
    };
    if (crypto_start())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
