/* SPDX-License-Identifier: MIT */
/* announce_test.c: calls that end here with sound, through a whole server. */
#include "rig.h"
#include <math.h>
#include "log/log.h"
#include "rtcpmsg/rtcpmsg.h"
#include "rtpmsg/rtpmsg.h"

#define CONTACT "Contact: <sip:alice@192.0.2.11:5060>\r\n"
#define TO_ECHO "From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:*43@example.com>\r\n"

static struct udp *port, *control;
static char logged[16384];
static unsigned packets;
static uint8_t last[400];

static void on_media(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    (void)arg, (void)from, (void)to;
    packets++;
    if (b->n <= sizeof(last))
        memcpy(last, b->p, b->n);
}
static const struct udp_handler media_handler = {.on_datagram = on_media};

static void keep_log(sv line, void *arg)
{
    size_t n = strlen(logged);
    (void)arg;
    snprintf(logged + n, sizeof(logged) - n, SV_FMT "\n", SV_ARG(line));
}

/* Nothing that comes to it matters. */
static void on_nothing(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    (void)arg, (void)b, (void)from, (void)to;
}
static const struct udp_handler control_handler = {.on_datagram = on_nothing};

static int setup(void **state)
{
    struct rig *r = rig_new_with(SETTINGS_AUTH_REGISTER, true);
    struct addr a = r->peer[ALICE].addr;
    a.port = 4000;
    packets = 0;
    r->set->codes.echo = SV("*43");
    assert_int_equal(udp_open(r->peer_group->loop[0], &a, &media_handler, NULL, &port), ERR_OK);
    a.port++;
    assert_int_equal(udp_open(r->peer_group->loop[0], &a, &control_handler, NULL, &control),
                     ERR_OK);
    logged[0] = 0;
    log_sink(keep_log, NULL);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    log_sink(NULL, NULL);
    udp_close(port);
    udp_close(control);
    rig_free(*state);
    return 0;
}

static const char *with(const char *message, const char *body)
{
    char *out = scratch();
    const char *end = strstr(message, "Content-Length: 0\r\n\r\n");
    assert_non_null(end);
    snprintf(out, MESSAGE, "%.*sContent-Type: application/sdp\r\nContent-Length: %zu\r\n\r\n%s",
             (int)(end - message), message, strlen(body), body);
    return out;
}

static const char *sdp(const char *formats)
{
    char *out = scratch();
    snprintf(out, MESSAGE,
             "v=0\r\no=- 1 1 IN IP4 192.0.2.11\r\ns=-\r\nc=IN IP4 192.0.2.11\r\nt=0 0\r\n"
             "m=audio 4000 RTP/AVP %s\r\n",
             formats);
    return out;
}

static uint16_t call(struct rig *r, const char *uri, const char *id, const char *body)
{
    unsigned at = 0;
    rig_clear(r);
    const char *rq = request(r, ALICE, "INVITE", uri, TO_ECHO, id, CONTACT);
    say(r, ALICE, body ? with(rq, body) : rq);
    rig_run(r, 300 * USEC_MS);
    const char *line = strstr(find_raw(r, ALICE, "SIP/2.0 200 "), "m=audio ");
    if (line)
        sscanf(line, "m=audio %u ", &at);
    return (uint16_t)at;
}

/* The dialog of the 200 that is here. */
static char uri[256], tags[256];

static void learn_dialog(struct rig *r)
{
    char ok[MESSAGE];
    snprintf(ok, sizeof(ok), "%s", find_raw(r, ALICE, "SIP/2.0 200 "));
    snprintf(tags, sizeof(tags), "From: <sip:alice@example.com>;tag=a1\r\nTo: %s\r\n",
             value(ok, "To"));
    assert_int_equal(sscanf(value(ok, "Contact"), "<%255[^>]>", uri), 1);
}

static void acknowledge(struct rig *r, const char *id)
{
    learn_dialog(r);
    say(r, ALICE, request(r, ALICE, "ACK", uri, tags, id, CONTACT));
}

/* The second request in the dialog. */
static const char *later(struct rig *r, const char *method, const char *id)
{
    char *text = scratch();
    snprintf(text, MESSAGE, "%s", request(r, ALICE, method, uri, tags, id, CONTACT));
    strstr(text, "CSeq: 1 ")[6] = '2';
    memcpy(strstr(text, "branch=z9hG4bK") + 14, "two", 3);
    return text;
}

static void hang_up(struct rig *r, const char *id)
{
    acknowledge(r, id);
    rig_clear(r);
    say(r, ALICE, later(r, "BYE", id));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    assert_int_equal(sessions_live(anchor_sessions(routing_anchor(r->routing))), 0);
    assert_int_equal(ports_taken(r->ports), 0);
    rig_quiet(r);
}

static void send_rtp(struct rig *r, uint16_t to_port, uint8_t pt, uint16_t seq)
{
    uint8_t p[172] = {0};
    struct addr to = address(SERVER_IP, to_port);
    sv piece = {(const char *)p, sizeof(p)};
    rtpmsg_put_header(p, false, pt, seq, 160u * seq, 77);
    p[100] = (uint8_t)seq;
    assert_int_equal(udp_send(port, NULL, &to, &piece, 1), ERR_OK);
    rig_run(r, 20 * USEC_MS);
}

static void an_echo_gives_back_what_it_hears(void **state)
{
    struct rig *r = *state;
    uint16_t at = call(r, "sip:*43@example.com", "e1", sdp("8 0"));
    assert_in_range(at, 20000, 20099);
    for (uint16_t i = 1; i <= 5; i++) {
        send_rtp(r, at, 8, i);
        assert_int_equal(packets, i);
        assert_int_equal(rtpmsg_seq(last), i);
        assert_int_equal(rtpmsg_pt(last), 8);
        assert_int_equal(last[100], i);
        assert_int_not_equal(rtpmsg_ssrc(last), 77); /* that would be a collision */
    }
    hang_up(r, "e1");
    send_rtp(r, at, 8, 6);
    assert_int_equal(packets, 5);
}

static void what_cannot_be_answered_is_refused(void **state)
{
    struct rig *r = *state;
    assert_int_equal(call(r, "sip:*43@example.com", "e2", NULL), 0);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 488 "), 1);
    rig_quiet(r);
    assert_int_equal(call(r, "sip:*43@example.com", "e3", sdp("18")), 0); /* G.729 */
    assert_int_equal(heard(r, ALICE, "SIP/2.0 488 "), 1);
    const char *no = find_raw(r, ALICE, "SIP/2.0 488 ");
    assert_non_null(
        strstr(no, "\r\nWarning: 305 192.0.2.1:5060 \"no codec for both: caller offers "));
    rig_quiet(r);
    assert_int_equal(call(r, "sip:*43@example.com", "e4", "v=0\r\nwhat?\r\n"), 0);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 488 "), 1);
    rig_quiet(r);
    assert_int_equal(sessions_live(anchor_sessions(routing_anchor(r->routing))), 0);
}

static void silence_ends_the_call(void **state)
{
    struct rig *r = *state;
    assert_in_range(call(r, "sip:*43@example.com", "e5", sdp("0")), 20000, 20099);
    rig_clear(r);
    rig_run(r, 130 * USEC_S); /* media.silence, and the INVITE's own end without an ACK */
    assert_int_equal(sessions_live(anchor_sessions(routing_anchor(r->routing))), 0);
    assert_in_range(heard(r, ALICE, "BYE"), 1, 30);
    rig_quiet(r);
}

static void silent_for(struct rig *r, usec silence)
{
    r->set->media.silence = silence;
    anchor_settings(routing_anchor(r->routing), r->set);
}

/* As of a relayed call: the BYE, the record and the log say who fell silent. */
static void silence_is_told_as_of_a_relayed_call(void **state)
{
    struct rig *r = *state;
    silent_for(r, 5 * USEC_S);
    assert_int_not_equal(call(r, "sip:*43@example.com", "s1", sdp("0")), 0);
    acknowledge(r, "s1");
    rig_run(r, 7 * USEC_S);
    assert_string_equal(value(find_raw(r, ALICE, "BYE "), "Reason"),
                        "SIP;cause=408;text=\"no media from the caller\"");
    assert_string_equal(r->dir.ended_by, "media");
    assert_string_equal(r->dir.reason, "no media from the caller");
    assert_non_null(strstr(logged, " media.silent call=s1 side=caller "));
    rig_quiet(r);
}

/* RFC 3261 §15: not before the ACK, and it is said then. */
static void silence_before_the_ack_is_told_behind_it(void **state)
{
    struct rig *r = *state;
    silent_for(r, 5 * USEC_S);
    assert_int_not_equal(call(r, "sip:*43@example.com", "s2", sdp("0")), 0);
    rig_run(r, 7 * USEC_S);
    assert_int_equal(heard(r, ALICE, "BYE"), 0);
    acknowledge(r, "s2");
    assert_string_equal(value(find_raw(r, ALICE, "BYE "), "Reason"),
                        "SIP;cause=408;text=\"no media from the caller\"");
    assert_string_equal(r->dir.ended_by, "media");
    /* who hangs up meanwhile has ended it himself */
    assert_int_not_equal(call(r, "sip:*43@example.com", "s3", sdp("0")), 0);
    rig_run(r, 7 * USEC_S);
    learn_dialog(r);
    say(r, ALICE, later(r, "BYE", "s3"));
    assert_int_equal(r->dir.records, 2);
    assert_string_equal(r->dir.ended_by, "caller");
    assert_string_equal(r->dir.reason, "");
    rig_quiet(r);
}

static void on_left(void *arg)
{
    *(bool *)arg = true;
}

static void the_end_of_the_server_is_told_as_to_a_relayed_call(void **state)
{
    struct rig *r = *state;
    bool left = false;
    assert_int_not_equal(call(r, "sip:*43@example.com", "l1", sdp("0")), 0);
    acknowledge(r, "l1");
    routing_leave(r->routing, on_left, &left);
    rig_run(r, 100 * USEC_MS);
    const char *bye = find_raw(r, ALICE, "BYE ");
    assert_string_equal(value(bye, "Reason"), "SIP;cause=503;text=\"the server ends\"");
    assert_string_equal(r->dir.ended_by, "stop");
    assert_string_equal(r->dir.reason, "the server ends");
    say(r, ALICE, reply(bye, 200, NULL, ""));
    rig_run(r, USEC_S);
    assert_true(left);
}

/* What it hears, as its RTCP says: all of what was sent to it. */
static void report(struct rig *r, uint16_t to_port)
{
    uint8_t octets[64];
    struct buf b;
    struct rtcp_block block = {.ssrc = rtpmsg_ssrc(last), .highest = rtpmsg_seq(last)};
    struct addr to = address(SERVER_IP, to_port);
    buf_init(&b, (char *)octets, sizeof(octets));
    rtcpmsg_put_rr(&b, 77, &block, 1);
    rtcpmsg_put_cname(&b, 77, SV("a"));
    assert_int_equal(b.rc, ERR_OK);
    sv piece = buf_sv(&b);
    assert_int_equal(udp_send(control, NULL, &to, &piece, 1), ERR_OK);
    rig_run(r, 20 * USEC_MS);
}

/* By the record of a whole echo. */
static double mos_of_echo(struct rig *r, const char *id, bool reported)
{
    double mos = 0;
    uint16_t at = call(r, "sip:*43@example.com", id, sdp("0"));
    for (uint16_t i = 1; i <= 50; i++)
        send_rtp(r, at, 0, i);
    if (reported)
        report(r, (uint16_t)(at + 1));
    hang_up(r, id);
    assert_true(!strstr(r->dir.media, "\"reported\": true") == !reported);
    const char *heard_by = strstr(r->dir.media, "\"caller\": {\"mos\": ");
    assert_non_null(heard_by);
    assert_int_equal(sscanf(heard_by, "\"caller\": {\"mos\": %lf", &mos), 1);
    return mos;
}

/* Nothing was lost, so that the phone's own report says no more than what we count. */
static void a_report_makes_an_echo_no_worse(void **state)
{
    struct rig *r = *state;
    double counted = mos_of_echo(r, "m1", false);
    assert_true(counted > 4.3);
    assert_true(fabs(mos_of_echo(r, "m2", true) - counted) < 0.02);
}

static void an_echo_takes_its_part(void **state)
{
    struct rig *r = *state;
    struct stats *stats = &r->group->loop[0]->stats;
    r->set->media.bandwidth = 79999;
    anchor_settings(routing_anchor(r->routing), r->set);
    assert_int_equal(call(r, "sip:*43@example.com", "n1", sdp("0")), 0);
    const char *refused = find_raw(r, ALICE, "SIP/2.0 488 ");
    assert_non_null(strstr(refused, "\r\nWarning: 370 "));
    assert_non_null(strstr(refused, "\"Insufficient bandwidth\"\r\n"));
    assert_string_equal(r->dir.reason, "Not Acceptable Here: Insufficient bandwidth");
    assert_non_null(strstr(logged, " call.refused call=n1 "));
    assert_non_null(strstr(logged, " why=\"Insufficient bandwidth\""));
    assert_int_equal(stat_get(stats, STAT_MEDIA_RESERVED), 0);
    assert_int_equal(stats->refusals[STAT_LIMIT_MEDIA_BANDWIDTH], 1);
    rig_quiet(r);
    r->set->media.bandwidth = 80000;
    anchor_settings(routing_anchor(r->routing), r->set);
    assert_int_not_equal(call(r, "sip:*43@example.com", "n2", sdp("0")), 0);
    assert_int_equal(stat_get(stats, STAT_MEDIA_RESERVED), 80000);
    hang_up(r, "n2");
    assert_int_equal(stat_get(stats, STAT_MEDIA_RESERVED), 0);
}

/* As alice, who has proved it. */
static void echo_as_alice(struct rig *r, const char *id, const char *offer)
{
    char lines[MESSAGE];
    rig_clear(r);
    say(r, ALICE,
        with(request(r, ALICE, "INVITE", "sip:*43@example.com", TO_ECHO, id, CONTACT), offer));
    snprintf(lines, sizeof(lines), "%s" CONTACT,
             credentials(find_raw(r, ALICE, "SIP/2.0 407 "), "INVITE", "sip:*43@example.com",
                         "alice", "secret", 1));
    rig_clear(r);
    say(r, ALICE,
        with(request(r, ALICE, "INVITE", "sip:*43@example.com", TO_ECHO, id, lines), offer));
}

/* An echo takes two ports for each line. */
static void an_echo_counts_for_its_account(void **state)
{
    struct rig *r = *state;
    char offer[MESSAGE];
    r->set->authenticate = SETTINGS_AUTH_ALL;
    r->set->media.quota = 1;
    anchor_settings(routing_anchor(r->routing), r->set);
    snprintf(offer, sizeof(offer), "%sm=audio 4010 RTP/AVP 0\r\nm=audio 4020 RTP/AVP 0\r\n",
             sdp("0"));
    echo_as_alice(r, "q1", offer);
    assert_non_null(strstr(find_raw(r, ALICE, "SIP/2.0 403 "), "as many relayed calls as it may"));
    assert_int_equal(r->dir.records, 1);
    assert_int_equal(r->dir.last.status, 403);
    assert_int_equal(r->group->loop[0]->stats.refusals[STAT_LIMIT_MEDIA_QUOTA], 1);
    assert_non_null(strstr(logged, " call.refused call=q1 "));
    assert_non_null(strstr(logged, " why=\"this account has as many relayed calls as it may\""));
    rig_quiet(r);
    assert_int_equal(ports_taken(r->ports), 0);
}

/* A later offer of an echo of alice's: what it is answered. */
static const char *offers_later(struct rig *r, const char *id, const char *offer,
                                const char *answer)
{
    acknowledge(r, id);
    const char *again = with(later(r, "INVITE", id), offer);
    rig_clear(r);
    logged[0] = 0;
    say(r, ALICE, again);
    return find_raw(r, ALICE, answer);
}

static void a_later_offer_over_the_quota_is_refused_like_a_call(void **state)
{
    struct rig *r = *state;
    char offer[MESSAGE];
    r->set->authenticate = SETTINGS_AUTH_ALL;
    r->set->media.quota = 1;
    anchor_settings(routing_anchor(r->routing), r->set);
    snprintf(offer, sizeof(offer), "%sm=audio 4010 RTP/AVP 0\r\nm=audio 4020 RTP/AVP 0\r\n",
             sdp("0"));
    echo_as_alice(r, "q5", sdp("0"));
    assert_non_null(strstr(value(offers_later(r, "q5", offer, "SIP/2.0 403 "), "Warning"),
                           "\"this account has as many relayed calls as it may\""));
    assert_non_null(strstr(logged, " media.refused call=q5 "));
    assert_non_null(strstr(logged, " why=\"this account has as many relayed calls as it may\""));
}

static void a_later_offer_over_the_bandwidth_is_refused_like_a_call(void **state)
{
    struct rig *r = *state;
    r->set->media.bandwidth = 80000;
    anchor_settings(routing_anchor(r->routing), r->set);
    char more[MESSAGE];
    snprintf(more, sizeof(more), "%sb=AS:200\r\n", sdp("0"));
    assert_int_not_equal(call(r, "sip:*43@example.com", "n3", sdp("0")), 0);
    assert_non_null(strstr(offers_later(r, "n3", more, "SIP/2.0 488 "), "\r\nWarning: 370 "));
}

static void a_later_offer_without_a_codec_is_told_so(void **state)
{
    struct rig *r = *state;
    assert_int_not_equal(call(r, "sip:*43@example.com", "n4", sdp("0")), 0);
    assert_non_null(strstr(offers_later(r, "n4", sdp("18"), "SIP/2.0 488 "),
                           "\r\nWarning: 305 192.0.2.1:5060 \"no codec for both: caller offers "));
}

/* What is wrong with a file is said in words of files. */
static void what_cannot_be_played_is_told(void **state)
{
    struct rig *r = *state;
    static const char *const file[] = {"/nowhere/closed.wav", "/proc/self"};
    static const char *const fault[] = {"no such file", "no file of sound, or of an unknown kind"};
    for (unsigned i = 0; i < 2; i++) {
        char want[128], id[] = {'p', (char)('1' + i), 0};
        struct settings_route route = {.when = {.user = {{"closed", 6}}, .user_n = 1},
                                       .action = ACTION_TO,
                                       .target = {{.kind = TARGET_PLAY, .file = sv_of(file[i])}},
                                       .targets_n = 1};
        r->set->routes = &route;
        r->set->routes_n = 1;
        logged[0] = 0;
        assert_int_equal(call(r, "sip:closed@example.com", id, sdp("0")), 0);
        assert_int_equal(heard(r, ALICE, "SIP/2.0 480 Announcement Not Available"), 1);
        snprintf(want, sizeof(want), " play.failed call=%s file=%s error=\"%s\"", id, file[i],
                 fault[i]);
        assert_non_null(strstr(logged, want));
        rig_quiet(r);
        r->set->routes_n = 0;
    }
}

/* Nothing of it is left at all. */
static void an_echo_too_many_is_refused_like_a_call(void **state)
{
    struct rig *r = *state;
    r->set->authenticate = SETTINGS_AUTH_ALL;
    r->set->media.quota = 1;
    anchor_settings(routing_anchor(r->routing), r->set);
    echo_as_alice(r, "q2", sdp("0"));
    echo_as_alice(r, "q3", sdp("0"));
    assert_int_equal(ports_taken(r->ports), 4);
    echo_as_alice(r, "q4", sdp("0"));
    assert_non_null(strstr(find_raw(r, ALICE, "SIP/2.0 403 "), "as many relayed calls as it may"));
    assert_int_equal(r->group->loop[0]->stats.refusals[STAT_LIMIT_MEDIA_QUOTA], 1);
    assert_int_equal(ports_taken(r->ports), 4);
}

/* Nobody proves anything here: hers is what comes from where she has registered. */
static void an_echo_counts_for_who_is_known_by_his_phone(void **state)
{
    struct rig *r = *state;
    struct binding hers = binding_of(r, "sip:alice@192.0.2.11:5060", ALICE);
    rig_bind(r, "alice@example.com", &hers, 1);
    r->set->media.quota = 1;
    anchor_settings(routing_anchor(r->routing), r->set);
    static const char *const id[] = {"k1", "k2", "k3"};
    for (unsigned i = 0; i < 3; i++) {
        rig_clear(r);
        say(r, ALICE,
            with(request(r, ALICE, "INVITE", "sip:*43@example.com", TO_ECHO, id[i], CONTACT),
                 sdp("0")));
    }
    assert_non_null(strstr(find_raw(r, ALICE, "SIP/2.0 403 "), "as many relayed calls as it may"));
    assert_int_equal(ports_taken(r->ports), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_echo_gives_back_what_it_hears, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_answered_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(silence_ends_the_call, setup, teardown),
        cmocka_unit_test_setup_teardown(silence_is_told_as_of_a_relayed_call, setup, teardown),
        cmocka_unit_test_setup_teardown(silence_before_the_ack_is_told_behind_it, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end_of_the_server_is_told_as_to_a_relayed_call, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_report_makes_an_echo_no_worse, setup, teardown),
        cmocka_unit_test_setup_teardown(an_echo_takes_its_part, setup, teardown),
        cmocka_unit_test_setup_teardown(an_echo_counts_for_its_account, setup, teardown),
        cmocka_unit_test_setup_teardown(an_echo_too_many_is_refused_like_a_call, setup, teardown),
        cmocka_unit_test_setup_teardown(a_later_offer_over_the_quota_is_refused_like_a_call, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_later_offer_over_the_bandwidth_is_refused_like_a_call,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_later_offer_without_a_codec_is_told_so, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_played_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(an_echo_counts_for_who_is_known_by_his_phone, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
