/* SPDX-License-Identifier: MIT */
/* announce_test.c: calls that end here with sound, through a whole server. */
#include "rig.h"
#include "rtpmsg/rtpmsg.h"

#define CONTACT "Contact: <sip:alice@192.0.2.11:5060>\r\n"
#define TO_ECHO "From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:*43@example.com>\r\n"

static struct udp *port;
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

static int setup(void **state)
{
    struct rig *r = rig_new_with(SETTINGS_AUTH_REGISTER, true);
    struct addr a = r->peer[ALICE].addr;
    a.port = 4000;
    packets = 0;
    r->set->codes.echo = SV("*43");
    assert_int_equal(udp_open(r->peer_group->loop[0], &a, &media_handler, NULL, &port), ERR_OK);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    udp_close(port);
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

static void hang_up(struct rig *r, const char *id)
{
    char ok[MESSAGE], tags[256], *lines = scratch();
    snprintf(ok, sizeof(ok), "%s", find_raw(r, ALICE, "SIP/2.0 200 "));
    snprintf(tags, sizeof(tags), "From: <sip:alice@example.com>;tag=a1\r\nTo: %s\r\n",
             value(ok, "To"));
    const char *contact = value(ok, "Contact");
    char uri[256];
    assert_int_equal(sscanf(contact, "<%255[^>]>", uri), 1);
    snprintf(lines, MESSAGE, "%s", CONTACT);
    say(r, ALICE, request(r, ALICE, "ACK", uri, tags, id, lines));
    char *bye = scratch();
    snprintf(bye, MESSAGE, "%s", request(r, ALICE, "BYE", uri, tags, id, lines));
    strstr(bye, "CSeq: 1 ")[6] = '2';
    memcpy(strstr(bye, "branch=z9hG4bK") + 14, "BYE", 3);
    rig_clear(r);
    say(r, ALICE, bye);
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
    assert_int_equal(r->group->loop[0]->stats.refusals[STAT_LIMIT_MEDIA_QUOTA], 1);
    rig_quiet(r);
    assert_int_equal(ports_taken(r->ports), 0);
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
        cmocka_unit_test_setup_teardown(an_echo_takes_its_part, setup, teardown),
        cmocka_unit_test_setup_teardown(an_echo_counts_for_its_account, setup, teardown),
        cmocka_unit_test_setup_teardown(an_echo_too_many_is_refused_like_a_call, setup, teardown),
        cmocka_unit_test_setup_teardown(an_echo_counts_for_who_is_known_by_his_phone, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
