/* SPDX-License-Identifier: MIT */
/* anchor_end_test.c: relayed calls that we end: which, when, and what each side is told. */
#include "anchor_rig.h"

#define FINGERPRINT                                                                               \
    "a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:" \
    "77:88:99:AA:BB:CC:DD:EE:FF\r\na=setup:passive\r\n"

static bool lives(const struct media_rig *m)
{
    return sessions_live(anchor_sessions(m->anchor)) > 0;
}

/* A call that stands; ret_ok: its 200, as alice has it. */
static void call_up(struct media_rig *m, const char *call, const char *offer, const char *told,
                    char ret_ok[static MESSAGE])
{
    invite(m, call, offer);
    snprintf(ret_ok, MESSAGE, "%s", answer(m, told));
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, call, ret_ok, 1));
    rig_clear(m->r);
}

static void has(const char *message, const char *line)
{
    if (!strstr(message, line))
        print_error("no '%s' in\n%s\n", line, message);
    assert_non_null(strstr(message, line));
}

/* Both were told, by a request of the dialog that each of them knows; nothing is left. */
static void ended(struct media_rig *m, const char *reason, const char *cseq_alice,
                  const char *cseq_bob)
{
    const char *alice = find_raw(m->r, ALICE, "BYE " ALICE_AT " SIP/2.0\r\n");
    has(alice, "\r\nFrom: <sip:bob@example.com>;tag=b\r\n");
    has(alice, "\r\nTo: <sip:alice@example.com>;tag=a1\r\n");
    has(alice, reason);
    has(alice, cseq_alice);
    const char *bob = find_raw(m->r, BOB, "BYE " BOB_AT " SIP/2.0\r\n");
    has(bob, "\r\nFrom: <sip:alice@example.com>;tag=a1\r\n");
    has(bob, "\r\nTo: <sip:bob@example.com>;tag=b\r\n");
    has(bob, reason);
    has(bob, cseq_bob);
    say(m->r, ALICE, reply(alice, 200, NULL, ""));
    say(m->r, BOB, reply(bob, 481, NULL, ""));
    assert_false(lives(m));
    assert_int_equal(ports_taken(m->r->ports), 0);
    assert_int_equal(m->r->dir.records, 1);
    assert_string_equal(m->r->dir.ended_by, "media");
    has(reason, m->r->dir.reason);
    assert_true(m->r->dir.reason[0]);
    rig_quiet(m->r);
    assert_int_equal(anchor_count(m->anchor), 0);
    assert_int_equal(accounting_count(routing_accounting(m->r->routing)), 0);
}

static void silence_ends_it(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    call_up(m, "e1", sdp("192.0.2.11", "0", ""), sdp("192.0.2.12", "0", ""), ok);
    rig_run(m->r, 50 * USEC_S);
    say_rtp(m, ALICE, our_port(ok), 0, 1);
    rig_run(m->r, 50 * USEC_S); /* one side is enough: the other may have nothing to say */
    assert_true(lives(m));
    rig_run(m->r, 11 * USEC_S);
    ended(m, "\r\nReason: SIP;cause=408;text=\"no media from either side\"\r\n",
          "\r\nCSeq: 1 BYE\r\n", "\r\nCSeq: 2 BYE\r\n");
}

/* As many Record-Routes as a message may have, all of them above us: none leads to the callee, who leaves one out. */
static void a_long_route_set_is_counted(void **state)
{
    struct media_rig *m = *state;
    static const char above[] = ", <sip:a;lr>";
    char *lines = scratch(), *in = scratch();
    size_t n = (size_t)snprintf(lines, MESSAGE, CONTACT "Record-Route: <sip:a;lr>");
    for (unsigned i = 1; i < SIPMSG_LIST_MAX; i++)
        n += (size_t)snprintf(lines + n, MESSAGE - n, "%s", above);
    snprintf(lines + n, MESSAGE - n, "\r\n");
    say(m->r, ALICE,
        with(request(m->r, ALICE, "INVITE", "sip:bob@example.com", TO_BOB, "r1", lines),
             sdp("192.0.2.11", "0", "")));
    const char *rq = find_raw(m->r, BOB, "INVITE"), *at = strstr(rq, above);
    snprintf(in, MESSAGE, "%.*s%s", (int)(at - rq), rq, at + strlen(above));
    say(m->r, BOB,
        with(reply(in, 200, "b", "Contact: <" BOB_AT ">\r\n"), sdp("192.0.2.12", "0", "")));
    has(find_raw(m->r, ALICE, "SIP/2.0 200 "), "\r\nCSeq: 1 INVITE\r\n");
    rig_clear(m->r);
    rig_run(m->r, 61 * USEC_S);
    const char *bye = find_raw(m->r, BOB, "BYE " BOB_AT " SIP/2.0\r\n");
    has(bye, "\r\nCSeq: 2 BYE\r\n");
    assert_null(strstr(bye, "\r\nRoute: "));
}

/* Numbers go on behind what passed, in each direction, and behind what the callee was asked again with. */
static void our_number_is_the_next(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    call_up(m, "e2", sdp("192.0.2.11", "0", ""), sdp("192.0.2.12", "0", ""), ok);
    say(m->r, ALICE, inside(m, ALICE, "OPTIONS", BOB_AT, DIALOG, "e2", ok, 7));
    say(m->r, BOB, reply(find_raw(m->r, BOB, "OPTIONS"), 200, NULL, ""));
    say(m->r, BOB, inside(m, BOB, "OPTIONS", ALICE_AT, REVERSED, "e2", ok, 5));
    say(m->r, ALICE, reply(find_raw(m->r, ALICE, "OPTIONS"), 200, NULL, ""));
    rig_clear(m->r);
    rig_run(m->r, 61 * USEC_S);
    ended(m, "text=\"no media from either side\"", "\r\nCSeq: 6 BYE\r\n", "\r\nCSeq: 8 BYE\r\n");
}

#define LAST "2147483647"
/* With another number. */
static const char *numbered(const char *message, const char *number)
{
    char *out = scratch();
    const char *at = strstr(message, "\r\nCSeq: ") + 8;
    snprintf(out, MESSAGE, "%.*s%s%s", (int)(at - message), message, number, at + strcspn(at, " "));
    return out;
}

/* Who begins with the last number there is has it for himself; the others have room behind it. */
static void the_last_number_leaves_one_for_us(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    const char *rq = request(m->r, ALICE, "INVITE", "sip:bob@example.com", TO_BOB, "n1", CONTACT);
    rig_clear(m->r);
    say(m->r, ALICE, with(numbered(rq, LAST), sdp("192.0.2.11", "0", "")));
    has(find_raw(m->r, BOB, "INVITE"), "\r\nCSeq: 1 INVITE\r\n");
    snprintf(ok, sizeof(ok), "%s", answer(m, sdp("192.0.2.12", "0", "")));
    has(ok, "\r\nCSeq: " LAST " INVITE\r\n");
    rig_clear(m->r);
    say(m->r, ALICE, numbered(inside(m, ALICE, "ACK", BOB_AT, DIALOG, "n1", ok, 1), LAST));
    has(find_raw(m->r, BOB, "ACK"), "\r\nCSeq: 1 ACK\r\n");
    say(m->r, BOB, numbered(inside(m, BOB, "OPTIONS", ALICE_AT, REVERSED, "n1", ok, 1), LAST));
    has(find_raw(m->r, ALICE, "OPTIONS"), "\r\nCSeq: 1 OPTIONS\r\n");
    say(m->r, ALICE, reply(find_raw(m->r, ALICE, "OPTIONS"), 200, NULL, ""));
    has(find_raw(m->r, BOB, "SIP/2.0 200 "), "\r\nCSeq: " LAST " OPTIONS\r\n");
    rig_clear(m->r);
    rig_run(m->r, 61 * USEC_S);
    ended(m, "text=\"no media from either side\"", "\r\nCSeq: 2 BYE\r\n", "\r\nCSeq: 2 BYE\r\n");
}

/* Nor does a leap within the call; what is said behind it is out of order, as it would be for the other side. */
static void a_leap_leaves_room_for_us(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    call_up(m, "n2", sdp("192.0.2.11", "0", ""), sdp("192.0.2.12", "0", ""), ok);
    say(m->r, ALICE, inside(m, ALICE, "OPTIONS", BOB_AT, DIALOG, "n2", ok, 7));
    has(find_raw(m->r, BOB, "OPTIONS"), "\r\nCSeq: 7 OPTIONS\r\n");
    say(m->r, BOB, reply(find_raw(m->r, BOB, "OPTIONS"), 200, NULL, ""));
    rig_clear(m->r);
    say(m->r, ALICE, numbered(inside(m, ALICE, "OPTIONS", BOB_AT, DIALOG, "n2", ok, 1), LAST));
    has(find_raw(m->r, BOB, "OPTIONS"), "\r\nCSeq: 8 OPTIONS\r\n");
    say(m->r, BOB, reply(find_raw(m->r, BOB, "OPTIONS"), 200, NULL, ""));
    has(find_raw(m->r, ALICE, "SIP/2.0 200 "), "\r\nCSeq: " LAST " OPTIONS\r\n");
    rig_clear(m->r);
    say(m->r, ALICE, inside(m, ALICE, "OPTIONS", BOB_AT, DIALOG, "n2", ok, 9));
    assert_int_equal(heard(m->r, BOB, "OPTIONS"), 0);
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 500 "), 1);
    rig_clear(m->r);
    rig_run(m->r, 61 * USEC_S);
    ended(m, "text=\"no media from either side\"", "\r\nCSeq: 1 BYE\r\n", "\r\nCSeq: 9 BYE\r\n");
}

/* Neither is to send on hold; who is, is named when he does not. */
static void hold_is_no_silence(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    call_up(m, "e3", sdp("192.0.2.11", "0", "a=inactive\r\n"),
            sdp("192.0.2.12", "0", "a=inactive\r\n"), ok);
    rig_run(m->r, 5 * USEC_MIN);
    assert_true(lives(m));
    say(m->r, ALICE,
        with(inside(m, ALICE, "INVITE", BOB_AT, DIALOG, "e3", ok, 2),
             sdp("192.0.2.11", "0", "a=recvonly\r\n")));
    say(m->r, BOB,
        with(reply(find_raw(m->r, BOB, "INVITE"), 200, NULL, "Contact: <" BOB_AT ">\r\n"),
             sdp("192.0.2.12", "0", "a=sendonly\r\n")));
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "e3", ok, 2));
    rig_clear(m->r);
    rig_run(m->r, 55 * USEC_S); /* his minute begins now */
    assert_true(lives(m));
    rig_run(m->r, 66 * USEC_S);
    ended(m, "text=\"no media from the callee\"", "\r\nCSeq: 1 BYE\r\n", "\r\nCSeq: 3 BYE\r\n");
}

static void a_call_that_rings_need_not_be_heard(void **state)
{
    struct media_rig *m = *state;
    m->r->set->ringing = 10 * USEC_MIN;
    invite(m, "e4", sdp("192.0.2.11", "0", ""));
    const char *body = sdp("192.0.2.12", "0", "");
    char rq[MESSAGE];
    snprintf(rq, sizeof(rq), "%s", find_raw(m->r, BOB, "INVITE"));
    say(m->r, BOB, with(reply(rq, 183, "b", ""), body));
    rig_run(m->r, 3 * USEC_MIN);
    assert_true(lives(m));
    say(m->r, BOB, with(reply(rq, 200, "b", "Contact: <" BOB_AT ">\r\n"), body));
    char ok[MESSAGE];
    snprintf(ok, sizeof(ok), "%s", find_raw(m->r, ALICE, "SIP/2.0 200 "));
    say_rtp(m, ALICE, our_port(ok), 0, 1);
    assert_int_equal(m->port[BOB].n, 1);
    hang_up(m, "e4", ok);
}

static void never_is_never(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    m->r->set->media.silence = 0;
    anchor_settings(m->anchor, m->r->set);
    call_up(m, "e5", sdp("192.0.2.11", "0", ""), sdp("192.0.2.12", "0", ""), ok);
    rig_run(m->r, 60 * USEC_MIN);
    assert_true(lives(m));
    hang_up(m, "e5", ok);
}

/* Proxies on both sides, of which one is a strict router (RFC 3261 §12.2.1.1): each BYE takes their way. */
static void route_sets_are_followed(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE], lines[MESSAGE];
    const char *rq = request(m->r, ALICE, "INVITE", "sip:bob@example.com", TO_BOB, "e6",
                             "Record-Route: <sip:near@192.0.2.11;lr>\r\n"
                             "Record-Route: <sip:far@192.0.2.11;lr>\r\n" CONTACT);
    rig_clear(m->r);
    say(m->r, ALICE, with(rq, sdp("192.0.2.11", "0", "")));
    char in[MESSAGE];
    snprintf(in, sizeof(in), "%s", find_raw(m->r, BOB, "INVITE"));
    /* what the callee's proxies put above ours; they stand in the 200 as in his request */
    char *at = strstr(in, "Record-Route: ");
    snprintf(lines, sizeof(lines),
             "%.*sRecord-Route: <sip:phone@192.0.2.12;lr>, <sip:strict@192.0.2.12>\r\n%s",
             (int)(at - in), in, at);
    say(m->r, BOB,
        with(reply(lines, 200, "b", "Contact: <" BOB_AT ">\r\n"), sdp("192.0.2.12", "0", "")));
    snprintf(ok, sizeof(ok), "%s", find_raw(m->r, ALICE, "SIP/2.0 200 "));
    rig_clear(m->r);
    rig_run(m->r, 61 * USEC_S);
    const char *alice = find_raw(m->r, ALICE, "BYE " ALICE_AT " SIP/2.0\r\n");
    has(alice, "\r\nRoute: <sip:near@192.0.2.11;lr>\r\nRoute: <sip:far@192.0.2.11;lr>\r\nFrom: ");
    const char *bob = find_raw(m->r, BOB, "BYE sip:strict@192.0.2.12 SIP/2.0\r\n");
    has(bob, "\r\nRoute: <sip:phone@192.0.2.12;lr>\r\nRoute: <" BOB_AT ">\r\nFrom: ");
    say(m->r, ALICE, reply(alice, 200, NULL, ""));
    say(m->r, BOB, reply(bob, 200, NULL, ""));
    rig_quiet(m->r);
    assert_int_equal(anchor_count(m->anchor), 0);
}

/* The target is the last one that was told (§12.2). */
static void targets_may_change(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    call_up(m, "e7", sdp("192.0.2.11", "0", ""), sdp("192.0.2.12", "0", ""), ok);
    say(m->r, ALICE,
        with(inside(m, ALICE, "INVITE", BOB_AT, DIALOG, "e7", ok, 2), sdp("192.0.2.11", "0", "")));
    say(m->r, BOB,
        with(reply(find_raw(m->r, BOB, "INVITE"), 200, NULL,
                   "Contact: <sip:moved@192.0.2.12:5060>\r\n"),
             sdp("192.0.2.12", "0", "")));
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "e7", ok, 2));
    rig_clear(m->r);
    rig_run(m->r, 61 * USEC_S);
    const char *bob = find_raw(m->r, BOB, "BYE sip:moved@192.0.2.12:5060 SIP/2.0\r\n");
    has(bob, "\r\nCSeq: 3 BYE\r\n");
    say(m->r, BOB, reply(bob, 200, NULL, ""));
    say(m->r, ALICE, reply(find_raw(m->r, ALICE, "BYE"), 200, NULL, ""));
    rig_quiet(m->r);
    assert_int_equal(anchor_count(m->anchor), 0);
}

/* She offers DTLS alone, and never shakes hands. */
static void without_keys_it_ends(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE], offer[MESSAGE];
    snprintf(offer, sizeof(offer),
             "v=0\r\no=- 1 1 IN IP4 192.0.2.11\r\ns=-\r\nc=IN IP4 192.0.2.11\r\nt=0 0\r\n"
             "m=audio 4000 UDP/TLS/RTP/SAVP 0\r\n" FINGERPRINT);
    m->r->set->media.silence = 10 * USEC_MIN;
    anchor_settings(m->anchor, m->r->set);
    call_up(m, "e8", offer, sdp("192.0.2.12", "0", ""), ok);
    rig_run(m->r, 5 * USEC_MIN);
    ended(m, "\r\nReason: SIP;cause=488;text=\"no keys with the caller: DTLS failed\"\r\n",
          "\r\nCSeq: 1 BYE\r\n", "\r\nCSeq: 2 BYE\r\n");
}

/* ---- what cannot be answered ---- */

#define BOB_IS "Contact: <" BOB_AT ">\r\n"

/* What the callee hears of a 2xx of his that nobody could be given. */
static void bob_is_told(struct media_rig *m, const char *ack_cseq, const char *bye_cseq,
                        const char *reason)
{
    const char *ack = find_raw(m->r, BOB, "ACK " BOB_AT " SIP/2.0\r\n");
    has(ack, ack_cseq);
    has(ack, "\r\nTo: <sip:bob@example.com>;tag=b\r\n");
    const char *bye = find_raw(m->r, BOB, "BYE " BOB_AT " SIP/2.0\r\n");
    has(bye, bye_cseq);
    has(bye, reason);
    has(bye, "\r\nFrom: <sip:alice@example.com>;tag=a1\r\n");
    say(m->r, BOB, reply(bye, 200, NULL, ""));
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 200 "), 0);
}

static void gone(struct media_rig *m)
{
    assert_false(lives(m));
    assert_int_equal(ports_taken(m->r->ports), 0);
    rig_quiet(m->r);
    assert_int_equal(anchor_count(m->anchor), 0);
    assert_int_equal(accounting_count(routing_accounting(m->r->routing)), 0);
}

static void without_a_common_codec_there_is_no_call(void **state)
{
    struct media_rig *m = *state;
    m->r->set->media.transcode = false;
    invite(m, "f1", sdp("192.0.2.11", "0 3", ""));
    char ok[MESSAGE];
    snprintf(
        ok, sizeof(ok), "%s",
        with(reply(find_raw(m->r, BOB, "INVITE"), 200, "b", BOB_IS), sdp("192.0.2.12", "8", "")));
    say(m->r, BOB, ok);
    bob_is_told(m, "\r\nCSeq: 1 ACK\r\n", "\r\nCSeq: 2 BYE\r\n",
                "\r\nReason: SIP;cause=488;text=\"Not Acceptable Here\"\r\n");
    const char *no = find_raw(m->r, ALICE, "SIP/2.0 488 ");
    has(no, "\r\nWarning: 305 " SERVER_IP);
    has(no, "PCMU");
    has(no, "GSM");
    has(no, "PCMA");
    unsigned acks = heard(m->r, BOB, "ACK");
    say(m->r, BOB, ok);
    assert_int_equal(heard(m->r, BOB, "ACK"), acks + 1);
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 200 "), 0);
    assert_int_equal(m->r->dir.records, 1);
    assert_int_equal(m->r->dir.last.status, 488);
    has(m->r->dir.reason, "Not Acceptable Here: ");
    has(m->r->dir.reason, "PCMA");
    assert_null(strchr(m->r->dir.reason, '"'));
    gone(m);
}

static void without_an_answer_there_is_no_call(void **state)
{
    struct media_rig *m = *state;
    invite(m, "f2", sdp("192.0.2.11", "0", ""));
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 200, "b", BOB_IS));
    bob_is_told(m, "\r\nCSeq: 1 ACK\r\n", "\r\nCSeq: 2 BYE\r\n", "SIP;cause=502;");
    has(find_raw(m->r, ALICE, "SIP/2.0 502 "), "\r\nWarning: 399 ");
    gone(m);
    invite(m, "f3", sdp("192.0.2.11", "0", ""));
    say(m->r, BOB,
        with(reply(find_raw(m->r, BOB, "INVITE"), 200, "b", BOB_IS), "v=0\r\nthis is none\r\n"));
    bob_is_told(m, "\r\nCSeq: 1 ACK\r\n", "\r\nCSeq: 2 BYE\r\n", "SIP;cause=502;");
    has(find_raw(m->r, ALICE, "SIP/2.0 502 "), "session description, line 2");
    gone(m);
}

/* The 183 had it already, and the 200 need not say it again. */
static void an_early_answer_will_do(void **state)
{
    struct media_rig *m = *state;
    invite(m, "f4", sdp("192.0.2.11", "0", ""));
    char rq[MESSAGE], ok[MESSAGE];
    snprintf(rq, sizeof(rq), "%s", find_raw(m->r, BOB, "INVITE"));
    say(m->r, BOB, with(reply(rq, 183, "b", BOB_IS), sdp("192.0.2.12", "0", "")));
    say(m->r, BOB, reply(rq, 200, "b", BOB_IS));
    snprintf(ok, sizeof(ok), "%s", find_raw(m->r, ALICE, "SIP/2.0 200 "));
    hang_up(m, "f4", ok);
}

/* Whose words they are that the caller hears: the phone's, or ours. */
static void a_record_says_why_a_call_was_refused(void **state)
{
    struct media_rig *m = *state;
    invite(m, "y1", sdp("192.0.2.11", "0", ""));
    say(m->r, BOB,
        reply(find_raw(m->r, BOB, "INVITE"), 486, "b",
              "Warning: 399 b.example.net \"at the \\\"lake\\\"\", 399 x \"more\"\r\n"));
    assert_int_equal(m->r->dir.last.status, 486);
    assert_string_equal(m->r->dir.reason, "Busy Here: at the \"lake\"");
    m->r->set->media.srtp = MEDIA_SRTP_REQUIRE;
    invite(m, "y2", sdp("192.0.2.11", "0", ""));
    char told[MESSAGE];
    snprintf(told, sizeof(told), "%s", find_raw(m->r, ALICE, "SIP/2.0 488 "));
    assert_int_equal(m->r->dir.last.status, 488);
    has(m->r->dir.reason, "Not Acceptable Here: ");
    has(value(told, "Warning"), m->r->dir.reason + strlen("Not Acceptable Here: "));
    m->r->set->media.srtp = MEDIA_SRTP_PREFER;
    invite(m, "y3", sdp("192.0.2.11", "0", ""));
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 404, "b", ""));
    assert_string_equal(m->r->dir.reason, "Not Found");
    gone(m);
}

/* An offer in a 200 that cannot be passed on is declined in the ACK (RFC 3261 §13.2.2.4). */
static void an_offer_in_a_200_is_declined(void **state)
{
    struct media_rig *m = *state;
    invite(m, "f5", NULL);
    m->r->set->media.srtp = MEDIA_SRTP_REQUIRE;
    say(m->r, BOB,
        with(reply(find_raw(m->r, BOB, "INVITE"), 200, "b", BOB_IS), sdp("192.0.2.12", "0 8", "")));
    const char *body = body_of(find_raw(m->r, BOB, "ACK"));
    has(body, "\r\nm=audio 0 RTP/AVP 0\r\n");
    assert_null(strstr(body, "192.0.2."));
    bob_is_told(m, "\r\nCSeq: 1 ACK\r\n", "\r\nCSeq: 2 BYE\r\n", "SIP;cause=488;");
    has(find_raw(m->r, ALICE, "SIP/2.0 488 "), "\r\nWarning: 399 ");
    gone(m);
}

/* Within a dialog it is the end of it: who answered has changed his session already. */
static void a_reinvite_without_a_common_codec_ends_the_call(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    m->r->set->media.transcode = false;
    call_up(m, "f6", sdp("192.0.2.11", "0", ""), sdp("192.0.2.12", "0", ""), ok);
    say(m->r, ALICE,
        with(inside(m, ALICE, "INVITE", BOB_AT, DIALOG, "f6", ok, 4), sdp("192.0.2.11", "0", "")));
    say(m->r, BOB,
        with(reply(find_raw(m->r, BOB, "INVITE"), 200, NULL, BOB_IS), sdp("192.0.2.12", "8", "")));
    bob_is_told(m, "\r\nCSeq: 4 ACK\r\n", "\r\nCSeq: 5 BYE\r\n", "SIP;cause=488;");
    has(find_raw(m->r, ALICE, "SIP/2.0 488 "), "\r\nCSeq: 4 INVITE\r\n");
    rig_run(m->r, USEC_S);
    const char *bye = find_raw(m->r, ALICE, "BYE " ALICE_AT " SIP/2.0\r\n");
    has(bye, "\r\nCSeq: 1 BYE\r\n");
    has(bye, "cause=488;text=\"the callee's answer to the offer cannot be used\"");
    say(m->r, ALICE, reply(bye, 200, NULL, ""));
    assert_int_equal(heard(m->r, BOB, "BYE"), 1);
    assert_string_equal(m->r->dir.ended_by, "media");
    gone(m);
}

/* ---- media.bandwidth ---- */

static int64_t reserved(const struct media_rig *m)
{
    return stat_get(&m->r->group->loop[0]->stats, STAT_MEDIA_RESERVED);
}

static void cap(struct media_rig *m, uint64_t bits)
{
    m->r->set->media.bandwidth = bits;
    m->r->set->media.silence = 0;
    anchor_settings(m->anchor, m->r->set);
}

static void for_one_call_there_is_one(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    cap(m, 159999);
    call_up(m, "w1", sdp("192.0.2.11", "0", ""), sdp("192.0.2.12", "0", ""), ok);
    assert_int_equal(reserved(m), 80000);
    invite(m, "w2", sdp("192.0.2.11", "0", ""));
    const char *refused = find_raw(m->r, ALICE, "SIP/2.0 488 ");
    has(refused, "\r\nWarning: 370 ");
    has(refused, "\"Insufficient bandwidth\"\r\n");
    assert_int_equal(heard(m->r, BOB, "INVITE"), 0);
    assert_int_equal(reserved(m), 80000);
    assert_int_equal(m->r->group->loop[0]->stats.refusals[STAT_LIMIT_MEDIA_BANDWIDTH], 1);
    rig_quiet(m->r);
    rig_clear(m->r);
    cap(m, 160000); /* as a reload does */
    invite(m, "w3", sdp("192.0.2.11", "0", ""));
    assert_int_equal(heard(m->r, BOB, "INVITE"), 1);
    assert_int_equal(reserved(m), 160000);
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 486, "b", ""));
    rig_quiet(m->r);
    assert_int_equal(reserved(m), 80000);
    rig_clear(m->r);
    hang_up(m, "w1", ok);
    assert_int_equal(reserved(m), 0);
}

#define PICTURE_LINE(port, b) "m=video " port " RTP/AVP 96\r\n" b "a=rtpmap:96 H264/90000\r\n"

static void again(struct media_rig *m, const char *call, const char *ok, unsigned cseq,
                  const char *offer)
{
    rig_clear(m->r);
    say(m->r, ALICE, with(inside(m, ALICE, "INVITE", BOB_AT, DIALOG, call, ok, cseq), offer));
}

/* What is offered is reserved until it is answered; what was refused, by us or the other side, leaves what was. */
static void a_later_offer_may_not_fit(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE], more[MESSAGE];
    snprintf(more, sizeof(more), "%s",
             sdp("192.0.2.11", "0", PICTURE_LINE("4002", "b=AS:500\r\n")));
    cap(m, 579999);
    call_up(m, "w4", sdp("192.0.2.11", "0", ""), sdp("192.0.2.12", "0", ""), ok);
    again(m, "w4", ok, 2, more);
    has(find_raw(m->r, ALICE, "SIP/2.0 488 "), "\r\nWarning: 370 ");
    assert_int_equal(heard(m->r, BOB, "INVITE"), 0);
    assert_true(lives(m));
    assert_int_equal(reserved(m), 80000);
    cap(m, 580000);
    again(m, "w4", ok, 3, more);
    assert_int_equal(reserved(m), 580000);
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 500, NULL, ""));
    assert_int_equal(reserved(m), 80000);
    again(m, "w4", ok, 4, more);
    assert_int_equal(reserved(m), 580000);
    say(m->r, BOB,
        with(reply(find_raw(m->r, BOB, "INVITE"), 200, NULL, "Contact: <" BOB_AT ">\r\n"),
             sdp("192.0.2.12", "0", PICTURE_LINE("0", ""))));
    assert_int_equal(reserved(m), 80000);
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "w4", ok, 4));
    again(m, "w4", ok, 5, more);
    say(m->r, BOB,
        with(reply(find_raw(m->r, BOB, "INVITE"), 200, NULL, "Contact: <" BOB_AT ">\r\n"),
             sdp("192.0.2.12", "0", PICTURE_LINE("4002", ""))));
    assert_int_equal(reserved(m), 580000);
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "w4", ok, 5));
    rig_clear(m->r);
    hang_up(m, "w4", ok);
    assert_int_equal(reserved(m), 0);
}

/* ---- the server ends ---- */

static void count_left(void *arg)
{
    (*(unsigned *)arg)++;
}

#define STOP_REASON "\r\nReason: SIP;cause=503;text=\"the server ends\"\r\n"

/* The one that rings is cancelled, but when it is answered in this moment. */
static void when_the_server_ends_both_hear_bye(void **state)
{
    struct media_rig *m = *state;
    struct rig *r = m->r;
    char ok[MESSAGE], rings[MESSAGE];
    unsigned left = 0;
    invite(m, "l1", sdp("192.0.2.11", "0", ""));
    snprintf(rings, sizeof(rings), "%s", find_raw(r, BOB, "INVITE"));
    say(r, BOB, reply(rings, 180, "b", ""));
    call_up(m, "l2", sdp("192.0.2.11", "0", ""), sdp("192.0.2.12", "0", ""), ok);
    say_rtp(m, ALICE, our_port(ok), 0, 1);
    routing_leave(r->routing, count_left, &left);
    rig_run(r, 20 * USEC_MS);
    const char *alice = find_raw(r, ALICE, "BYE " ALICE_AT " SIP/2.0\r\n");
    has(alice, STOP_REASON);
    has(alice, "\r\nCall-ID: l2\r\n");
    const char *bob = find_raw(r, BOB, "BYE " BOB_AT " SIP/2.0\r\n");
    has(bob, STOP_REASON);
    has(bob, "\r\nCSeq: 2 BYE\r\n");
    assert_int_equal(r->dir.records, 1);
    assert_string_equal(r->dir.ended_by, "stop");
    assert_string_equal(r->dir.reason, "the server ends");
    assert_int_equal(r->dir.last.status, 200);
    has(r->dir.media, "\"media\": \"relay\"");
    has(r->dir.media, "\"packets\": 1");
    /* until both have answered */
    rig_run(r, 600 * USEC_MS);
    assert_int_equal(heard(r, ALICE, "BYE "), 2);
    assert_int_equal(heard(r, BOB, "BYE "), 2);
    say(r, ALICE, reply(alice, 200, NULL, ""));
    assert_int_equal(left, 0);
    say(r, BOB, reply(bob, 481, NULL, ""));
    rig_run(r, 100 * USEC_MS);
    assert_int_equal(left, 0);
    /* the other one */
    has(find_raw(r, BOB, "CANCEL "), STOP_REASON);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 5"), 0);
    rig_clear(r);
    say(r, BOB,
        with(reply(rings, 200, "b", "Contact: <" BOB_AT ">\r\n"), sdp("192.0.2.12", "0", "")));
    snprintf(ok, sizeof(ok), "%s", find_raw(r, ALICE, "SIP/2.0 200 "));
    has(ok, "\r\nCall-ID: l1\r\n");
    assert_int_equal(heard(r, ALICE, "BYE "), 0); /* not before her ACK */
    say(r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "l1", ok, 1));
    has(find_raw(r, ALICE, "BYE "), STOP_REASON);
    has(find_raw(r, BOB, "BYE "), STOP_REASON);
    assert_int_equal(r->dir.records, 2);
    assert_int_equal(left, 0);
    say(r, ALICE, reply(find_raw(r, ALICE, "BYE "), 200, NULL, ""));
    say(r, BOB, reply(find_raw(r, BOB, "BYE "), 200, NULL, ""));
    rig_run(r, 100 * USEC_MS);
    assert_int_equal(left, 1);
    /* and no more */
    rig_clear(r);
    invite(m, "l3", sdp("192.0.2.11", "0", ""));
    has(find_raw(r, ALICE, "SIP/2.0 503 "), "\r\nRetry-After: 10\r\n");
    assert_int_equal(sessions_live(anchor_sessions(m->anchor)), 0);
    rig_quiet(r);
}

/* Who rings is given up in both directions, whatever its media would have been; the record says so. */
static void when_the_server_ends_nobody_rings_on(void **state)
{
    struct media_rig *m = *state;
    struct rig *r = m->r;
    char rings[MESSAGE];
    unsigned left = 0;
    invite(m, "r1", sdp("192.0.2.11", "0", ""));
    snprintf(rings, sizeof(rings), "%s", find_raw(r, BOB, "INVITE"));
    say(r, BOB, reply(rings, 180, "b", ""));
    routing_leave(r->routing, count_left, &left);
    rig_run(r, 20 * USEC_MS);
    say(r, BOB, reply(find_raw(r, BOB, "CANCEL "), 200, "b", ""));
    say(r, BOB, reply(rings, 487, "b", ""));
    assert_int_equal(heard(r, BOB, "ACK "), 1);
    const char *no = find_raw(r, ALICE, "SIP/2.0 503 Shutting Down\r\n");
    has(no, "\r\nRetry-After: 10\r\n");
    assert_int_equal(r->dir.records, 1);
    assert_int_equal(r->dir.last.status, 503);
    assert_string_equal(r->dir.ended_by, "stop");
    assert_string_equal(r->dir.reason, "Shutting Down");
    assert_int_equal(sessions_live(anchor_sessions(m->anchor)), 0);
    /* until she has acknowledged it */
    rig_run(r, 600 * USEC_MS);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 503 "), 2);
    assert_int_equal(left, 0);
    ack_refusal(r, "sip:bob@example.com", "r1", no);
    rig_run(r, 100 * USEC_MS);
    assert_int_equal(left, 1);
    rig_quiet(r);
}

/* A second signal: nobody is waited for. */
static void when_the_server_ends_at_once_both_hear_one_bye(void **state)
{
    struct media_rig *m = *state;
    struct rig *r = m->r;
    char ok[MESSAGE];
    unsigned left = 0;
    struct routing_rest rest;
    call_up(m, "o1", sdp("192.0.2.11", "0", ""), sdp("192.0.2.12", "0", ""), ok);
    invite(m, "o2", sdp("192.0.2.11", "0", ""));
    say(r, ALICE, request(r, ALICE, "INVITE", "sip:bob@example.com", TO_BOB, "o3", CONTACT));
    say(r, BOB, reply(find_raw(r, BOB, "INVITE"), 180, "b", ""));
    routing_leave(r->routing, count_left, &left);
    routing_cut(r->routing, &rest);
    rig_run(r, 20 * USEC_MS);
    assert_int_equal(rest.calls, 3);
    assert_int_equal(rest.ringing, 2);
    assert_int_equal(rest.unanswered, 2);
    has(find_raw(r, ALICE, "BYE "), STOP_REASON);
    has(find_raw(r, BOB, "BYE "), STOP_REASON);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 503 "), 2);
    assert_int_equal(heard(r, BOB, "CANCEL "), 1); /* the other one has not said a word */
    assert_int_equal(r->dir.records, 3);
    assert_int_equal(r->dir.last.status, 200);
    routing_rest(r->routing, &rest);
    assert_int_equal(rest.calls + rest.ringing + rest.relayed, 0);
    rig_quiet(r);
    assert_int_equal(left, 0);
}

/* Answered, and its ACK is under way: BYE all the same, if nothing can be said later. */
static void at_once_does_not_wait_for_an_ack(void **state)
{
    struct media_rig *m = *state;
    struct rig *r = m->r;
    struct routing_rest rest;
    invite(m, "a1", sdp("192.0.2.11", "0", ""));
    answer(m, sdp("192.0.2.12", "0", ""));
    routing_cut(r->routing, &rest);
    rig_run(r, 20 * USEC_MS);
    assert_int_equal(rest.unanswered, 1);
    has(find_raw(r, ALICE, "BYE "), STOP_REASON);
    has(find_raw(r, BOB, "BYE "), STOP_REASON);
    assert_string_equal(r->dir.ended_by, "stop");
    rig_quiet(r);
}

/* Its ACK goes through us: without it the callee would give up, and the caller would hear nothing of it. */
static void a_direct_call_keeps_the_server_until_its_ack(void **state)
{
    struct media_rig *m = *state;
    struct rig *r = m->r;
    char ok[MESSAGE];
    unsigned left = 0;
    r->set->media.mode = MEDIA_AUTO;
    invite(m, "k1", sdp("192.0.2.11", "0", ""));
    routing_leave(r->routing, count_left, &left);
    rig_run(r, 20 * USEC_MS);
    snprintf(ok, sizeof(ok), "%s", answer(m, sdp("192.0.2.12", "0", "")));
    rig_run(r, 600 * USEC_MS);
    assert_int_equal(left, 0);
    say(r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "k1", ok, 1));
    assert_int_equal(heard(r, BOB, "ACK "), 1);
    rig_run(r, 100 * USEC_MS);
    assert_int_equal(left, 1);
    assert_int_equal(heard(r, ALICE, "BYE ") + heard(r, BOB, "BYE "), 0);
    rig_quiet(r);
}

/* Neither needs us. */
static void a_direct_call_goes_on_without_the_server(void **state)
{
    struct media_rig *m = *state;
    struct rig *r = m->r;
    unsigned left = 0;
    r->set->media.mode = MEDIA_AUTO;
    invite(m, "l4", sdp("192.0.2.11", "0", ""));
    say(r, BOB,
        with(reply(find_raw(r, BOB, "INVITE"), 200, "b", "Contact: <" BOB_AT ">\r\n"),
             sdp("192.0.2.12", "0", "")));
    say(r, ALICE,
        inside(m, ALICE, "ACK", BOB_AT, DIALOG, "l4", find_raw(r, ALICE, "SIP/2.0 200 "), 1));
    assert_int_equal(accounting_count(routing_accounting(r->routing)), 1);
    routing_leave(r->routing, count_left, &left);
    rig_run(r, 20 * USEC_MS);
    assert_int_equal(left, 1);
    rig_run(r, USEC_S);
    assert_int_equal(heard(r, ALICE, "BYE "), 0);
    assert_int_equal(heard(r, BOB, "BYE "), 0);
    assert_int_equal(accounting_count(routing_accounting(r->routing)), 1);
}

static void many_calls_are_no_flood(void **state)
{
    enum { CALLS = 20 };
    struct media_rig *m = *state;
    struct rig *r = m->r;
    char ok[MESSAGE], id[16];
    unsigned left = 0, most = 0, n = 0;
    for (unsigned i = 0; i < CALLS; i++) {
        snprintf(id, sizeof(id), "m%u", i);
        call_up(m, id, sdp("192.0.2.11", "0", ""), sdp("192.0.2.12", "0", ""), ok);
    }
    routing_leave(r->routing, count_left, &left);
    for (unsigned i = 0; i < 100; i++) {
        rig_run(r, USEC_MS);
        unsigned now = heard(r, BOB, "BYE ");
        most = now - n > most ? now - n : most;
        n = now;
    }
    assert_int_equal(n, CALLS);
    assert_int_equal(heard(r, ALICE, "BYE "), CALLS);
    assert_in_range(most, 1, CALLS / 2);
    assert_int_equal(r->dir.records, CALLS);
    rig_quiet(r); /* nobody answers */
    assert_int_equal(left, 1);
}

/* ---- what nobody acknowledges ---- */

static void media_silence_is_never(struct media_rig *m)
{
    m->r->set->media.silence = 0;
    anchor_settings(m->anchor, m->r->set);
}

/* RFC 3261 §13.3.1.4: whatever media.silence says. An ACK that comes late is one. */
static void without_an_ack_it_ends(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    media_silence_is_never(m);
    invite(m, "a1", sdp("192.0.2.11", "0", ""));
    snprintf(ok, sizeof(ok), "%s", answer(m, sdp("192.0.2.12", "0", "")));
    rig_run(m->r, 30 * USEC_S);
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "a1", ok, 1));
    rig_run(m->r, 10 * USEC_MIN);
    assert_true(lives(m));
    rig_clear(m->r);
    hang_up(m, "a1", ok);
    m->r->dir.records = 0;
    invite(m, "a2", sdp("192.0.2.11", "0", ""));
    answer(m, sdp("192.0.2.12", "0", ""));
    rig_clear(m->r);
    rig_run(m->r, 31 * USEC_S);
    assert_true(lives(m));
    rig_run(m->r, 2 * USEC_S);
    ended(m, "\r\nReason: SIP;cause=408;text=\"no ACK\"\r\n", "\r\nCSeq: 1 BYE\r\n",
          "\r\nCSeq: 2 BYE\r\n");
}

/* The offer is in the 2xx; the ACK has no answer, or there is none. */
static void without_an_answer_in_the_ack_it_ends(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    media_silence_is_never(m);
    for (unsigned acked = 0; acked <= 1; acked++) {
        const char *call = acked ? "a4" : "a3";
        m->r->dir.records = 0;
        invite(m, call, NULL);
        snprintf(ok, sizeof(ok), "%s", answer(m, sdp("192.0.2.12", "0", "")));
        if (acked)
            say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, call, ok, 1));
        rig_clear(m->r);
        rig_run(m->r, 31 * USEC_S);
        assert_true(lives(m));
        rig_run(m->r, 2 * USEC_S);
        ended(m, acked ? "text=\"no answer to the offer\"" : "text=\"no ACK\"",
              "\r\nCSeq: 1 BYE\r\n", "\r\nCSeq: 2 BYE\r\n");
    }
}

/* Who offers again and again without it gains no time; a 2xx that comes again behind its ACK is no new one. */
static void each_2xx_to_an_invite_has_its_ack(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE], rq[MESSAGE], body[MESSAGE];
    snprintf(body, sizeof(body), "%s", sdp("192.0.2.12", "0", ""));
    media_silence_is_never(m);
    call_up(m, "a5", sdp("192.0.2.11", "0", ""), body, ok);
    for (unsigned cseq = 2; cseq <= 4; cseq++) {
        rig_clear(m->r);
        say(m->r, ALICE,
            with(inside(m, ALICE, "INVITE", BOB_AT, DIALOG, "a5", ok, cseq),
                 sdp("192.0.2.11", "0", "")));
        snprintf(rq, sizeof(rq), "%s", find_raw(m->r, BOB, "INVITE"));
        say(m->r, BOB, with(reply(rq, 200, NULL, "Contact: <" BOB_AT ">\r\n"), body));
        if (cseq == 2) {
            say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "a5", ok, cseq));
            say(m->r, BOB, with(reply(rq, 200, NULL, "Contact: <" BOB_AT ">\r\n"), body));
            rig_run(m->r, USEC_MIN);
        }
        assert_true(lives(m));
        rig_clear(m->r);
        rig_run(m->r, 20 * USEC_S);
    }
    ended(m, "text=\"no ACK\"", "\r\nCSeq: 1 BYE\r\n", "\r\nCSeq: 5 BYE\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(silence_ends_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_route_set_is_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(our_number_is_the_next, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_number_leaves_one_for_us, setup, teardown),
        cmocka_unit_test_setup_teardown(a_leap_leaves_room_for_us, setup, teardown),
        cmocka_unit_test_setup_teardown(hold_is_no_silence, setup, teardown),
        cmocka_unit_test_setup_teardown(a_call_that_rings_need_not_be_heard, setup, teardown),
        cmocka_unit_test_setup_teardown(never_is_never, setup, teardown),
        cmocka_unit_test_setup_teardown(without_an_ack_it_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(without_an_answer_in_the_ack_it_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(each_2xx_to_an_invite_has_its_ack, setup, teardown),
        cmocka_unit_test_setup_teardown(route_sets_are_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(targets_may_change, setup, teardown),
        cmocka_unit_test_setup_teardown(without_keys_it_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_common_codec_there_is_no_call, setup, teardown),
        cmocka_unit_test_setup_teardown(without_an_answer_there_is_no_call, setup, teardown),
        cmocka_unit_test_setup_teardown(an_early_answer_will_do, setup, teardown),
        cmocka_unit_test_setup_teardown(an_offer_in_a_200_is_declined, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reinvite_without_a_common_codec_ends_the_call, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_record_says_why_a_call_was_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(for_one_call_there_is_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_later_offer_may_not_fit, setup, teardown),
        cmocka_unit_test_setup_teardown(when_the_server_ends_both_hear_bye, setup, teardown),
        cmocka_unit_test_setup_teardown(when_the_server_ends_nobody_rings_on, setup, teardown),
        cmocka_unit_test_setup_teardown(when_the_server_ends_at_once_both_hear_one_bye, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(at_once_does_not_wait_for_an_ack, setup, teardown),
        cmocka_unit_test_setup_teardown(a_direct_call_keeps_the_server_until_its_ack, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_direct_call_goes_on_without_the_server, setup, teardown),
        cmocka_unit_test_setup_teardown(many_calls_are_no_flood, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
