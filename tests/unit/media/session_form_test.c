/* SPDX-License-Identifier: MIT */
/* session_form_test.c: a process dies in the middle of a call, and another picks it up; libsrtp2 listens. */
#include "session_world.h"
#include "ice_peer.h"
#include "session/session_priv.h"

enum { SOURCE = 0x1111, PEER = 0x2222, REPORT = 28, SENT_MAX = 4096, HEAD = 14 };

static char memory[64 * 1024];
static struct buf form;

/* What left toward the second phone: no number of an SSRC may be there twice under the same keys. */
static struct {
    uint32_t ssrc;
    uint16_t seq;
} sent[SENT_MAX];
static unsigned sent_n;

static void watch(unsigned side, uint8_t *p, size_t n)
{
    if (side == SESSION_ANSWERER && rtpmsg_kind((sv){(char *)p, n}) == RTPMSG_RTP) {
        for (unsigned i = 0; i < sent_n; i++)
            assert_false(sent[i].ssrc == rtpmsg_ssrc(p) && sent[i].seq == rtpmsg_seq(p));
        assert_true(sent_n < SENT_MAX);
        sent[sent_n].ssrc = rtpmsg_ssrc(p);
        sent[sent_n++].seq = rtpmsg_seq(p);
    }
    peer_got(side, p, n);
}

static void start(enum offer_suite suite)
{
    peer_begin(&config, suite);
    on_got = watch;
    sent_n = 0;
    buf_init(&form, memory, sizeof(memory));
    run_ms(1000);
}

static void apply(void)
{
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
}

static void write_form(enum session_form how)
{
    buf_reset(&form);
    assert_int_equal(session_save(sessions, id, how, &form), ERR_OK);
}

static enum err restore(void)
{
    return session_restore(sessions, buf_sv(&form), &events, NULL, &id);
}

/* The process ends without a word, and some time later another one is there. */
static void dies(unsigned down_ms)
{
    world_dies();
    run_ms(down_ms);
    world_process(&config);
}

static void dies_and_is_back(unsigned down_ms)
{
    dies(down_ms);
    assert_int_equal(restore(), ERR_OK);
    assert_int_equal(sessions_live(sessions), 1);
}

/* Both speak, and hear one another; each packet. */
static void both_speak(uint16_t seq, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned rtp = heard.rtp, n0 = got[0].n;
        phone_sends((uint16_t)(seq + i), 1, SOURCE);
        peer_send_rtp((uint16_t)(seq + i), PEER);
        assert_int_equal(heard.rtp, rtp + 1);
        assert_int_equal(got[0].n, n0 + 1);
        assert_int_equal(rtpmsg_seq(got[0].last), (uint16_t)(seq + i));
    }
}

static void strangers_are_not_heard(void)
{
    uint8_t p[400];
    unsigned n0 = got[0].n, n1 = got[1].n;
    for (unsigned side = 0; side < SESSION_SIDES; side++)
        send_octets(stranger, side, p, make_rtp(p, 0, 9, 0x3333));
    run_ms(20);
    assert_int_equal(got[0].n, n0);
    assert_int_equal(got[1].n, n1);
    assert_int_equal(strangers, 0);
}

static void report_of(uint32_t ssrc)
{
    uint8_t p[REPORT] = {0x80, 200, 0, 6};
    unsigned rtcp = heard.rtcp;
    rtpmsg_set_u32(p, 4, ssrc);
    send_octets(phone[0], 0, p, sizeof(p));
    run_ms(20);
    assert_int_equal(heard.rtcp, rtcp + 1);
    assert_int_equal(rtpmsg_u32(heard.report, 4), heard.ssrc);
}

/* ---- the last ---- */

static void after_a_clean_end_the_call_goes_on_as_if_nothing_had_been(void **state)
{
    (void)state;
    static const enum offer_suite suites[] = {SUITE_AES_CM_128_HMAC_SHA1_80,
                                              SUITE_AEAD_AES_256_GCM};
    for (unsigned k = 0; k < 2; k++) {
        struct session_figures before, after;
        uint8_t replay[400];
        start(suites[k]);
        apply();
        assert_int_equal(session_reserve(sessions, id, 80000), ERR_OK);
        size_t n = make_rtp(replay, 0, 65500, PEER);
        n = peer_protect(replay, n, false);
        send_octets(phone[1], 1, replay, n);
        run_ms(20);
        both_speak(65501, 60); /* across a wrap */
        report_of(SOURCE);
        assert_int_equal(session_figures(sessions, id, 0, 0, &before), ERR_OK);
        write_form(SESSION_LAST);
        dies_and_is_back(700);
        assert_int_equal(session_figures(sessions, id, 0, 0, &after), ERR_OK);
        assert_int_equal(stat_get(&at->stats, STAT_MEDIA_RESERVED), 80000);
        assert_int_equal(after.packets, before.packets);
        assert_int_equal(after.span.expected, before.span.expected);
        assert_true(addr_equal(&after.remote, &before.remote));
        unsigned n0 = got[0].n;
        send_octets(phone[1], 1, replay, n);
        run_ms(20);
        assert_int_equal(got[0].n, n0);
        strangers_are_not_heard();
        both_speak(30, 20);
        report_of(SOURCE);
        assert_int_equal(heard.ssrcs, 1);
        assert_int_equal(heard.seq, 49);
        assert_int_equal(heard.refused, 0);
        /* a description again: the same keys, the same ports */
        struct offer_ours again;
        assert_int_equal(session_ours(sessions, id, 1, 0, &again), ERR_OK);
        assert_memory_equal(&again.media[0].rtp, &ours[1]->media[0].rtp,
                            sizeof(again.media[0].rtp));
        assert_memory_equal(again.media[0].keys[suites[k]].key,
                            ours[1]->media[0].keys[suites[k]].key, 16);
        assert_int_equal(again.session_id, ours[1]->session_id);
        peer_end();
    }
}

/* ---- ahead ---- */

static void after_a_crash_no_key_stream_is_used_again_and_all_are_heard(void **state)
{
    (void)state;
    start(SUITE_AES_CM_128_HMAC_SHA1_80);
    apply();
    both_speak(65000, 50);
    write_form(SESSION_AHEAD);
    both_speak(65050, 600); /* what the form does not know */
    phone_sends(500, 5, 0x7777);
    report_of(0x7777);
    assert_int_equal(heard.ssrcs, 2);
    unsigned rtp = heard.rtp;
    uint16_t seq = (uint16_t)(65650 + 40);
    dies_and_is_back(800);
    /* at once, each packet, under the name that it had */
    both_speak(seq, 30);
    assert_int_equal(heard.rtp, rtp + 30);
    assert_int_equal(heard.ssrc, SOURCE);
    assert_int_equal(heard.seq, (uint16_t)(65049 + SRTP_AHEAD + 30));
    report_of(SOURCE);
    strangers_are_not_heard();
    /* a report on it speaks of the number that the source knows */
    uint8_t p[64] = {0x81, 201, 0, 7};
    rtpmsg_set_u32(p, 4, PEER);
    rtpmsg_set_u32(p, 8, SOURCE);
    rtpmsg_set_u32(p, 16, heard.seq);
    send_octets(phone[1], 1, p, peer_protect(p, 32, true));
    run_ms(20);
    assert_int_equal(rtpmsg_u16(got[0].last, 18), (uint16_t)(seq + 29));
    /* the SSRC that the form does not know has another name, which only this process uses */
    phone_sends(505, 10, 0x7777);
    assert_int_equal(heard.rtp, rtp + 40);
    assert_int_not_equal(heard.ssrc, 0x7777);
    report_of(0x7777);
    assert_int_equal(heard.refused, 0);
    peer_end();
}

/* Who writes too seldom goes on under other names. */
static void a_writer_that_lags_is_heard_on(void **state)
{
    (void)state;
    start(SUITE_AES_CM_128_HMAC_SHA1_80);
    apply();
    phone_sends(1000, 10, SOURCE);
    write_form(SESSION_AHEAD);
    phone_sends(1009 + SRTP_AHEAD - 5, 5, SOURCE);
    assert_int_equal(heard.ssrcs, 1);
    phone_sends(1009 + SRTP_AHEAD, 30, SOURCE);
    assert_int_equal(heard.rtp, 10 + 5 + 30);
    assert_int_equal(heard.ssrcs, 2);
    dies_and_is_back(100);
    phone_sends(1040 + SRTP_AHEAD, 30, SOURCE);
    assert_int_equal(heard.rtp, 10 + 5 + 30 + 30);
    assert_int_equal(heard.ssrc, SOURCE);
    assert_int_equal(heard.refused, 0);
    peer_end();
}

/* Again and again, each time from the form that the one before wrote. */
static void many_crashes_one_after_the_other(void **state)
{
    (void)state;
    start(SUITE_AEAD_AES_256_GCM);
    apply();
    uint16_t seq = 100;
    both_speak(seq, 20);
    for (unsigned i = 0; i < 12; i++) {
        write_form(SESSION_AHEAD);
        both_speak(seq = (uint16_t)(seq + 20), 20);
        dies_and_is_back(300);
        if (i % 3 == 2) { /* dies again before anything has come */
            write_form(SESSION_AHEAD);
            dies_and_is_back(300);
        }
        both_speak(seq = (uint16_t)(seq + 20), 20);
    }
    assert_int_equal(heard.refused, 0);
    assert_in_range(heard.ssrcs, 4, 5); /* only where nothing had come in between */
    peer_end();
}

/* ---- what else there is in a session ---- */

static void write_twice(void)
{
    static char other[sizeof(memory)];
    struct buf again;
    buf_init(&again, other, sizeof(other));
    assert_int_equal(session_save(sessions, id, SESSION_LAST, &again), ERR_OK);
    assert_int_equal(again.n, form.n);
    size_t first = form.n, last = 0;
    for (size_t i = HEAD; i < form.n; i++) {
        if (again.p[i] == form.p[i])
            continue;
        first = i < first ? i : first;
        last = i;
    }
    assert_in_range(last - first, 16,
                    SHA256_LEN - 1); /* that of our certificate, which is another */
}

static void checked(const struct offer_ours *o, struct udp *from)
{
    char mem[512];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    struct peer_check c = {
        .ufrag = o->ufrag, .pwd = o->pwd, .from = "abcd", .priority = 1000, .use = true};
    sv octets = peer_check(&c, &b);
    send_octets(from, 0, octets.p, octets.n);
    run_ms(20);
}

/* Two lines, one of them bundled on the first side, whose ICE has shown another address; sound that is transcoded. */
static void lines_pairs_and_codecs_are_there_again(void **state)
{
    (void)state;
    start(SUITE_AES_CM_128_HMAC_SHA1_80);
    assert_int_equal(session_lines(sessions, id, 2), ERR_OK);
    struct offer_map *map = &plan->streams[0].map[0][0];
    map->transcode = true;
    map->to = 8;
    map->out = (struct offer_codec){
        .id = CODEC_PCMA, .pt = 8, .clock_hz = 8000, .channels = 1, .name = SV("PCMA")};
    plan->streams[0].transcodes = true;
    plan->streams[1] = plan->streams[0];
    plan->streams[1].kind = OFFER_VIDEO;
    plan->streams[1].transcodes = false;
    plan->streams[1].map[0][0] = (struct offer_map){.from = 100, .to = 120};
    plan->streams[1].leg[0].bundled = true;
    plan->streams[1].leg[1].keying = OFFER_PLAIN;
    plan->streams[1].leg[1].rtp = plan->streams[1].leg[1].rtcp = ip_of(&stranger->local);
    plan->streams[0].leg[0].ice = true;
    plan->n = 2;
    apply();
    checked(ours[0], phone[0]);
    assert_int_equal(got[0].n, 1); /* the answer */
    phone_sends(100, 10, SOURCE);
    uint8_t p[400];
    send_octets(phone[0], 0, p, make_rtp(p, 100, 2, 0x3333));
    run_ms(20);
    assert_int_equal(strangers, 1);
    assert_int_equal(heard.rtp, 10);
    uint32_t ssrc = heard.ssrc;
    uint16_t seq = heard.seq;
    assert_int_not_equal(ssrc, SOURCE); /* the coder's */
    write_form(SESSION_LAST);
    dies_and_is_back(500);
    write_form(SESSION_LAST);
    world_dies();
    world_process(&config);
    assert_int_equal(restore(), ERR_OK);
    write_twice();
    phone_sends(110, 10, SOURCE);
    assert_int_equal(heard.rtp, 20);
    assert_int_equal(heard.ssrc, ssrc);
    assert_int_equal(heard.seq, (uint16_t)(seq + 10));
    assert_int_equal(heard.refused, 0);
    send_octets(phone[0], 0, p, make_rtp(p, 100, 3, 0x3333));
    run_ms(20);
    assert_int_equal(strangers, 2);
    unsigned n0 = got[0].n;
    peer_send_rtp(7, PEER);
    assert_int_equal(got[0].n, n0 + 1);
    /* the pair is still one: the same check selects nothing anew, and its silence is still told */
    assert_int_equal(tellings, 0);
    run_ms(ICE_LITE_SILENCE_S * 1000 + 1000);
    assert_int_equal(told, SESSION_LOST);
    n0 = got[0].n;
    peer_send_rtp(8, PEER);
    assert_int_equal(got[0].n, n0);
    peer_end();
}

/* A line that was refused has no ports, there as here. */
static void a_line_without_ports_stays_so(void **state)
{
    (void)state;
    start(SUITE_AES_CM_128_HMAC_SHA1_80);
    plan->streams[1].refused = true;
    plan->n = 2;
    apply();
    session_settle(sessions, id);
    assert_int_equal(ports_taken(ports), 4);
    write_form(SESSION_LAST);
    dies_and_is_back(100);
    assert_int_equal(ports_taken(ports), 4);
    assert_int_equal(session_streams(sessions, id), 2);
    write_form(SESSION_LAST);
    world_dies();
    world_process(&config);
    assert_int_equal(restore(), ERR_OK);
    write_twice();
    both_speak(1, 10);
    assert_int_equal(session_lines(sessions, id, 2), ERR_OK);
    assert_int_equal(ports_taken(ports), 8);
    session_settle(sessions, id);
    assert_int_equal(ports_taken(ports), 4);
    peer_end();
}

/* Nothing is agreed on yet: the offer has left. */
static void what_is_still_to_be_answered_is_kept(void **state)
{
    (void)state;
    start(SUITE_AES_CM_128_HMAC_SHA1_80);
    write_form(SESSION_AHEAD);
    dies_and_is_back(100);
    apply();
    both_speak(1, 10);
    assert_int_equal(heard.refused, 0);
    peer_end();
}

/* Who was believed stays so, and time to learn somebody else does not begin anew. */
static void the_time_to_learn_is_what_it_was(void **state)
{
    (void)state;
    start(SUITE_AES_CM_128_HMAC_SHA1_80);
    plan->streams[0].leg[0].rtp = plan->streams[0].leg[0].rtcp = (struct offer_ip){
        .n = 4, .ip = {198, 51, 100, 77}, .port = 9}; /* behind a NAT: learned from what it sends */
    apply();
    run_ms(4000);
    write_form(SESSION_AHEAD);
    dies_and_is_back(500);
    unsigned n1 = heard.rtp;
    run_ms(2000); /* of its five seconds none is left */
    phone_sends(1, 10, SOURCE);
    assert_int_equal(heard.rtp, n1);
    peer_end();
}

/* ---- DTLS ---- */

static struct dtls_shared *phones;
static struct dtls *machine;
static struct dtls_keys phone_keys;
static unsigned keyed, flights;

static void machine_sends(void *arg, sv octets)
{
    (void)arg;
    send_octets(phone[1], 1, octets.p, octets.n);
}
static void machine_keyed(void *arg, const struct dtls_keys *k)
{
    (void)arg;
    phone_keys = *k;
    keyed++;
}
static void machine_failed(void *arg, enum dtls_why why, sv text)
{
    (void)arg, (void)why, (void)text;
    fail();
}
static void machine_closed(void *arg)
{
    (void)arg;
}
static const struct dtls_user user = {machine_sends, machine_keyed, machine_failed, machine_closed};

static void dtls_got(unsigned side, uint8_t *p, size_t n)
{
    if (side == SESSION_ANSWERER && dtls_is((sv){(char *)p, n})) {
        flights++;
        dtls_receive(machine, (sv){(char *)p, n}, sim_now(sim));
    }
}

/* "sha-256 AB:…" */
static struct sdp_fingerprint print_of(sv text)
{
    struct sdp_fingerprint f = {.hash = SV("sha-256"), .n = 32};
    for (unsigned i = 0; i < 32; i++) {
        size_t n;
        assert_int_equal(crypto_unhex(sv_sub(text, 8 + 3 * i, 10 + 3 * i), &f.digest[i], 1, &n),
                         ERR_OK);
    }
    return f;
}

static sv octets_of(const uint8_t *p, size_t n)
{
    return (sv){(const char *)p, n};
}

static void keys_of_dtls_are_enough(void **state)
{
    struct dtls_shared_config sc = {.wall = 1700000000 * USEC_S};
    struct srtp_engine *engine;
    struct srtp_context out = {0}, in = {0};
    uint8_t p[400];
    (void)state;
    assert_int_equal(dtls_shared_new(&sc, &phones), ERR_OK);
    assert_int_equal(srtp_engine_new(&engine), ERR_OK);
    start(SUITE_AES_CM_128_HMAC_SHA1_80);
    for (unsigned server_role = 0; server_role < 2; server_role++) {
        struct dtls_config dc = {.client = !server_role};
        struct sdp_fingerprint theirs = print_of(dtls_shared_fingerprint(phones)),
                               ours_is = print_of(ours[1]->fingerprint);
        struct dtls_fingerprint f = {ours_is.hash, ours_is.digest, ours_is.n};
        struct offer_leg *l = &plan->streams[0].leg[1];
        char print[128]; /* the process that has it dies */
        sv print_before = {print, ours[1]->fingerprint.n};
        assert_in_range(print_before.n, 32, sizeof(print));
        memcpy(print, ours[1]->fingerprint.p, print_before.n);
        on_got = dtls_got;
        l->keying = OFFER_PLAIN; /* the keys before are dropped */
        apply();
        l->keying = OFFER_DTLS;
        l->fingerprints = &theirs;
        l->fingerprints_n = 1;
        l->dtls_client = server_role;
        keyed = 0;
        assert_int_equal(dtls_new(phones, &dc, &user, NULL, &machine), ERR_OK);
        assert_int_equal(dtls_trust(machine, &f, 1, sim_now(sim)), ERR_OK);
        dtls_start(machine, sim_now(sim));
        apply();
        run_ms(2000);
        assert_int_equal(keyed, 1);
        const struct dtls_suite_info *info = &dtls_suites[phone_keys.suite];
        enum srtp_suite suite;
        assert_int_equal(srtp_suite_of_profile(info->wire, &suite), ERR_OK);
        assert_int_equal(srtp_context_init(&out, engine, SRTP_SENDER, suite,
                                           octets_of(phone_keys.ours.key, info->key_n),
                                           octets_of(phone_keys.ours.salt, info->salt_n)),
                         ERR_OK);
        assert_int_equal(srtp_context_init(&in, engine, SRTP_RECEIVER, suite,
                                           octets_of(phone_keys.theirs.key, info->key_n),
                                           octets_of(phone_keys.theirs.salt, info->salt_n)),
                         ERR_OK);
        for (unsigned i = 0; i < 6; i++) {
            unsigned n0 = got[0].n, n1 = got[1].n;
            size_t n = make_rtp(p, 0, (uint16_t)(10 + i), PEER);
            assert_int_equal(srtp_rtp_protect(&out, p, &n, sizeof(p)), ERR_OK);
            send_octets(phone[1], 1, p, n);
            phone_sends((uint16_t)(10 + i), 1, SOURCE);
            assert_int_equal(got[0].n, n0 + 1);
            assert_int_equal(got[1].n, n1 + 1);
            n = got[1].last_n;
            assert_int_equal(srtp_rtp_unprotect(&in, got[1].last, &n), ERR_OK);
            if (i == 2) {
                write_form(SESSION_AHEAD);
                phone_sends(13, 20, SOURCE);
                dies_and_is_back(300);
                flights = 0;
                send_octets(phone[1], 1, "\x16\xfe\xfd nonsense", 12); /* nobody is there for it */
                run_ms(2000);
                assert_int_equal(flights, 0);
            }
        }
        /* the same fingerprints would do, but ours is another now: a new association (RFC 8842 §4) */
        struct offer_ours now_ours;
        assert_int_equal(session_ours(sessions, id, 1, SESSION_NEXT, &now_ours), ERR_OK);
        assert_false(sv_eq(now_ours.fingerprint, print_before));
        assert_int_equal(now_ours.setup, SDP_ACTPASS);
        flights = 0;
        apply();
        run_ms(100);
        assert_int_equal(flights > 0, server_role);
        srtp_context_done(&out);
        srtp_context_done(&in);
        dtls_close(machine);
        dtls_free(machine);
        assert_int_equal(session_ours(sessions, id, 1, SESSION_NEXT, ours[1]), ERR_OK);
    }
    plan->streams[0].leg[1].keying = OFFER_PLAIN;
    apply();
    peer_end();
    srtp_engine_free(engine);
    dtls_shared_free(phones);
}

/* RFC 8842 §5.3, §5.5: roles stand before the ClientHello comes, and another description leaves the handshake alone. */
static void roles_stand_while_the_handshake_runs(void **state)
{
    struct dtls_shared_config sc = {.wall = 1700000000 * USEC_S};
    struct dtls_config dc = {.client = true};
    struct offer_ours o;
    (void)state;
    assert_int_equal(dtls_shared_new(&sc, &phones), ERR_OK);
    start(SUITE_AES_CM_128_HMAC_SHA1_80);
    struct sdp_fingerprint theirs = print_of(dtls_shared_fingerprint(phones)),
                           ours_is = print_of(ours[1]->fingerprint);
    struct dtls_fingerprint f = {ours_is.hash, ours_is.digest, ours_is.n};
    struct offer_leg *l = &plan->streams[0].leg[1];
    on_got = dtls_got;
    l->keying = OFFER_DTLS;
    l->fingerprints = &theirs;
    l->fingerprints_n = 1;
    keyed = 0;
    assert_int_equal(session_ours(sessions, id, 1, 0, &o), ERR_OK);
    assert_int_equal(o.setup, SDP_ACTPASS);
    apply();
    assert_int_equal(session_ours(sessions, id, 1, 0, &o), ERR_OK);
    assert_int_equal(o.setup, SDP_PASSIVE);
    assert_int_equal(dtls_new(phones, &dc, &user, NULL, &machine), ERR_OK);
    assert_int_equal(dtls_trust(machine, &f, 1, sim_now(sim)), ERR_OK);
    dtls_start(machine, sim_now(sim));
    for (unsigned ms = 0; ms < 20 && keyed == 0; ms++) {
        run_ms(1);
        assert_int_equal(session_ours(sessions, id, 1, 0, &o), ERR_OK);
        assert_int_equal(o.setup, SDP_PASSIVE);
        apply();
    }
    assert_int_equal(keyed, 1);
    dtls_close(machine);
    dtls_free(machine);
    l->keying = OFFER_PLAIN;
    apply();
    peer_end();
    dtls_shared_free(phones);
}

/* With an OpenSSL that media/dtls refuses: the rest goes on. */
static void without_dtls_none_is_offered(void **state)
{
    static struct offer_ours o;
    (void)state;
    start(SUITE_AES_CM_128_HMAC_SHA1_80);
    assert_true(session_shared_dtls(shared));
    dtls_shared_free(shared->dtls);
    shared->dtls = NULL;
    assert_false(session_shared_dtls(shared));
    assert_int_equal(session_ours(sessions, id, 1, 0, &o), ERR_OK);
    assert_int_equal(o.fingerprint.n, 0);
    apply();
    checked(ours[0], phone[0]);
    send_octets(phone[0], 0, "\x16\xfe\xfd nonsense", 12);
    both_speak(1, 5);
    write_form(SESSION_LAST);
    plan->streams[0].leg[1].keying = OFFER_DTLS;
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_UNSUPPORTED);
    peer_end();
}

/* ---- what is no form ---- */

static void what_is_not_a_form_changes_nothing(void **state)
{
    (void)state;
    start(SUITE_AES_CM_128_HMAC_SHA1_80);
    apply();
    both_speak(1, 3);
    write_form(SESSION_LAST);
    struct session_id had = id;
    assert_int_equal(restore(), ERR_BUSY); /* its ports are in use: it is still here */
    id = had;
    assert_int_equal(sessions_live(sessions), 1);
    dies(10);
    sv all = buf_sv(&form);
    for (size_t n = 0; n < all.n; n++)
        assert_int_equal(session_restore(sessions, (sv){all.p, n}, &events, NULL, &id),
                         ERR_CORRUPT);
    for (size_t bit = 0; bit < 8 * all.n; bit++) {
        memory[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_equal(restore(), ERR_CORRUPT);
        memory[bit / 8] ^= (char)(1 << bit % 8);
    }
    buf_char(&form, 0);
    assert_int_equal(restore(), ERR_CORRUPT);
    form.n--;
    assert_int_equal(ports_taken(ports), 0);
    assert_int_equal(sessions_live(sessions), 0);
    for (unsigned i = 1; i < 60; i++) { /* memory ends somewhere */
        mem_fail_after(i);
        enum err rc = restore();
        mem_fail_after(0);
        if (!rc)
            session_end(sessions, id);
        else
            assert_true(rc == ERR_NOMEM || rc == ERR_BUSY);
        assert_int_equal(sessions_live(sessions), 0);
        assert_int_equal(ports_taken(ports), 0);
    }
    assert_int_equal(restore(), ERR_OK);
    /* no room for it */
    char small[100];
    struct buf b;
    buf_init(&b, small, sizeof(small));
    assert_int_equal(session_save(sessions, id, SESSION_LAST, &b), ERR_TOOBIG);
    peer_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_clean_end_the_call_goes_on_as_if_nothing_had_been),
        cmocka_unit_test(after_a_crash_no_key_stream_is_used_again_and_all_are_heard),
        cmocka_unit_test(a_writer_that_lags_is_heard_on),
        cmocka_unit_test(many_crashes_one_after_the_other),
        cmocka_unit_test(lines_pairs_and_codecs_are_there_again),
        cmocka_unit_test(a_line_without_ports_stays_so),
        cmocka_unit_test(what_is_still_to_be_answered_is_kept),
        cmocka_unit_test(the_time_to_learn_is_what_it_was),
        cmocka_unit_test(keys_of_dtls_are_enough),
        cmocka_unit_test(roles_stand_while_the_handshake_runs),
        cmocka_unit_test(without_dtls_none_is_offered),
        cmocka_unit_test(what_is_not_a_form_changes_nothing),
    };
    if (crypto_start() || srtp_init())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
