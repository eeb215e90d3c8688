/* SPDX-License-Identifier: MIT */
/* anchor_test.c: calls whose media passes through the server: who is told what, and what crosses. In a whole
 * server, with phones that have ports for media. */
#include "anchor_rig.h"

/* ---- calls ---- */

static void each_side_is_told_of_us_and_sound_crosses(void **state)
{
    struct media_rig *m = *state;
    invite(m, "c1", sdp("192.0.2.11", "0 8", "a=ptime:20\r\n"));
    uint16_t at_bob = our_port(find_raw(m->r, BOB, "INVITE"));
    /* early: the same description comes with 183 and with 200 */
    const char *body = sdp("192.0.2.12", "8", "");
    say(m->r, BOB, with(reply(find_raw(m->r, BOB, "INVITE"), 183, "b", ""), body));
    char early[MESSAGE];
    snprintf(early, sizeof(early), "%s", body_of(find_raw(m->r, ALICE, "SIP/2.0 183 ")));
    uint16_t at_alice = our_port(find_raw(m->r, ALICE, "SIP/2.0 183 "));
    say_rtp(m, BOB, at_bob, 8, 1);
    assert_int_equal(m->port[ALICE].n, 1);
    const char *ok = answer(m, body);
    assert_string_equal(body_of(ok), early);
    say_rtp(m, ALICE, at_alice, 8, 1);
    say_rtp(m, STRANGER, at_alice, 8, 2);
    say_rtp(m, STRANGER, at_bob, 8, 2);
    assert_int_equal(m->port[BOB].n, 1);
    assert_int_equal(rtpmsg_pt(m->port[BOB].last), 8);
    assert_int_equal(m->port[STRANGER].n, 0);
    struct session_id id;
    sv why;
    assert_true(anchor_find(m->anchor, SV("c1"), SV("a1"), SV("b"), &id, &why));
    assert_true(sv_starts(why, SV("relayed: ")));
    assert_true(sv_chr(why, '\n') < why.n);
    assert_false(anchor_find(m->anchor, SV("c1"), SV("a1"), SV("x"), &id, &why));
    char kept[MESSAGE];
    snprintf(kept, sizeof(kept), "%s", ok);
    hang_up(m, "c1", kept);
    unsigned before = m->port[BOB].n;
    say_rtp(m, ALICE, at_alice, 8, 3);
    assert_int_equal(m->port[BOB].n, before);
}

static void without_an_offer_the_callee_makes_it(void **state)
{
    struct media_rig *m = *state;
    invite(m, "c2", NULL);
    char ok[MESSAGE];
    snprintf(ok, sizeof(ok), "%s", answer(m, sdp("192.0.2.12", "0", "")));
    uint16_t at_alice = our_port(ok);
    rig_clear(m->r);
    say(m->r, ALICE,
        with(inside(m, ALICE, "ACK", BOB_AT, DIALOG, "c2", ok, 1), sdp("192.0.2.11", "0", "")));
    uint16_t at_bob = our_port(find_raw(m->r, BOB, "ACK"));
    say_rtp(m, ALICE, at_alice, 0, 1);
    say_rtp(m, BOB, at_bob, 0, 1);
    assert_int_equal(m->port[BOB].n, 1);
    assert_int_equal(m->port[ALICE].n, 1);
    hang_up(m, "c2", ok);
}

static void either_side_may_offer_again(void **state)
{
    struct media_rig *m = *state;
    invite(m, "c3", sdp("192.0.2.11", "0", ""));
    uint16_t at_bob = our_port(find_raw(m->r, BOB, "INVITE"));
    char ok[MESSAGE];
    snprintf(ok, sizeof(ok), "%s", answer(m, sdp("192.0.2.12", "0", "")));
    uint16_t at_alice = our_port(ok);
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "c3", ok, 1));
    /* bob holds */
    rig_clear(m->r);
    say(m->r, BOB,
        with(inside(m, BOB, "INVITE", ALICE_AT, REVERSED, "c3", ok, 2),
             sdp("192.0.2.12", "0", "a=sendonly\r\n")));
    const char *again = find_raw(m->r, ALICE, "INVITE");
    assert_int_equal(our_port(again), at_alice); /* the same port as before */
    assert_non_null(strstr(body_of(again), "a=sendonly\r\n"));
    say(m->r, ALICE,
        with(reply(again, 200, NULL, CONTACT), sdp("192.0.2.11", "0", "a=recvonly\r\n")));
    const char *agreed = find_raw(m->r, BOB, "SIP/2.0 200 ");
    assert_int_equal(our_port(agreed), at_bob);
    assert_non_null(strstr(body_of(agreed), "a=recvonly\r\n"));
    unsigned alice = m->port[ALICE].n, bob = m->port[BOB].n;
    say_rtp(m, ALICE, at_alice, 0, 1); /* nobody is to hear it */
    say_rtp(m, BOB, at_bob, 0, 1);
    assert_int_equal(m->port[BOB].n, bob);
    assert_int_equal(m->port[ALICE].n, alice + 1);
    say(m->r, BOB, inside(m, BOB, "ACK", ALICE_AT, REVERSED, "c3", ok, 2));
    hang_up(m, "c3", ok);
}

/* Its ACK was lost, and the caller has offered anew since: the answer to that is another one. */
static void a_2xx_that_comes_again_says_the_same(void **state)
{
    struct media_rig *m = *state;
    char invited[MESSAGE], ok[MESSAGE], again[MESSAGE];
    const char *body = sdp("192.0.2.12", "0", "");
    invite(m, "c14", sdp("192.0.2.11", "0", ""));
    snprintf(invited, sizeof(invited), "%s", find_raw(m->r, BOB, "INVITE"));
    snprintf(ok, sizeof(ok), "%s", answer(m, body));
    rig_clear(m->r);
    say(m->r, ALICE,
        with(inside(m, ALICE, "INVITE", BOB_AT, DIALOG, "c14", ok, 2),
             sdp("192.0.2.11", "0", "a=sendonly\r\n")));
    snprintf(again, sizeof(again), "%s", find_raw(m->r, BOB, "INVITE"));
    say(m->r, BOB, with(reply(invited, 200, "b", "Contact: <" BOB_AT ">\r\n"), body));
    assert_string_equal(body_of(find_raw(m->r, ALICE, "SIP/2.0 200 ")), body_of(ok));
    rig_clear(m->r);
    say(m->r, BOB,
        with(reply(again, 200, "b", "Contact: <" BOB_AT ">\r\n"),
             sdp("192.0.2.12", "0", "a=recvonly\r\n")));
    assert_non_null(strstr(body_of(find_raw(m->r, ALICE, "SIP/2.0 200 ")), "a=recvonly"));
    /* and so does the second one when it comes again */
    char second[MESSAGE];
    snprintf(second, sizeof(second), "%s", body_of(find_raw(m->r, ALICE, "SIP/2.0 200 ")));
    rig_clear(m->r);
    say(m->r, BOB,
        with(reply(again, 200, "b", "Contact: <" BOB_AT ">\r\n"),
             sdp("192.0.2.12", "0", "a=recvonly\r\n")));
    assert_string_equal(body_of(find_raw(m->r, ALICE, "SIP/2.0 200 ")), second);
    say(m->r, ALICE, inside(m, ALICE, "BYE", BOB_AT, DIALOG, "c14", ok, 9));
    say(m->r, BOB, reply(find_raw(m->r, BOB, "BYE"), 200, NULL, ""));
    assert_int_equal(sessions_live(anchor_sessions(m->anchor)), 0);
    rig_clear(m->r); /* behind its end, too */
    say(m->r, BOB, with(reply(invited, 200, "b", "Contact: <" BOB_AT ">\r\n"), body));
    assert_string_equal(body_of(find_raw(m->r, ALICE, "SIP/2.0 200 ")), body_of(ok));
    rig_quiet(m->r);
    assert_int_equal(anchor_count(m->anchor), 0);
}

static void each_branch_has_its_own_and_losers_give_it_back(void **state)
{
    struct media_rig *m = *state;
    struct binding b[2] = {binding_of(m->r, BOB_AT, BOB), binding_of(m->r, AWAY_AT, STRANGER)};
    rig_bind(m->r, "bob@example.com", b, 2);
    invite(m, "c4", sdp("192.0.2.11", "0", ""));
    uint16_t at_bob = our_port(find_raw(m->r, BOB, "INVITE"));
    uint16_t at_away = our_port(find_raw(m->r, STRANGER, "INVITE"));
    assert_int_not_equal(at_bob, at_away);
    assert_int_equal(sessions_live(anchor_sessions(m->anchor)), 2);
    say(m->r, STRANGER, reply(find_raw(m->r, STRANGER, "INVITE"), 486, "d", ""));
    assert_int_equal(sessions_live(anchor_sessions(m->anchor)), 1);
    char ok[MESSAGE];
    snprintf(ok, sizeof(ok), "%s", answer(m, sdp("192.0.2.12", "0", "")));
    our_port(ok);
    hang_up(m, "c4", ok);
}

static void a_call_that_fails_leaves_nothing(void **state)
{
    struct media_rig *m = *state;
    invite(m, "c5", sdp("192.0.2.11", "0", ""));
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 486, "b", ""));
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 486 "), 1);
    assert_int_equal(sessions_live(anchor_sessions(m->anchor)), 0);
    rig_quiet(m->r);
    assert_int_equal(anchor_count(m->anchor), 0);
    /* one that nobody can be put through with */
    m->r->set->media.transcode = false;
    m->r->set->media.srtp = MEDIA_SRTP_REQUIRE;
    invite(m, "c6", sdp("192.0.2.11", "0", ""));
    assert_int_equal(heard(m->r, BOB, "INVITE"), 0);
    const char *no = find_raw(m->r, ALICE, "SIP/2.0 488 ");
    assert_non_null(strstr(no, "\r\nWarning: 399 "));
    rig_quiet(m->r);
    assert_int_equal(anchor_count(m->anchor), 0);
}

static void who_can_hear_each_other_is_left_alone(void **state)
{
    struct media_rig *m = *state;
    m->r->set->media.mode = MEDIA_AUTO;
    const char *body = sdp("192.0.2.11", "0", "");
    invite(m, "c7", body);
    assert_string_equal(body_of(find_raw(m->r, BOB, "INVITE")), body);
    assert_int_equal(sessions_live(anchor_sessions(m->anchor)), 0);
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 486, "b", ""));
    /* her description names an address that her signalling does not come from */
    invite(m, "c8", sdp("10.9.9.9", "0", ""));
    const char *rq = find_raw(m->r, BOB, "INVITE");
    uint16_t at_bob = our_port(rq);
    assert_null(strstr(rq, "10.9.9.9"));
    char ok[MESSAGE];
    snprintf(ok, sizeof(ok), "%s", answer(m, sdp("192.0.2.12", "0", "")));
    uint16_t at_alice = our_port(ok);
    say_rtp(m, BOB, at_bob, 0, 1);
    assert_int_equal(m->port[ALICE].n, 0); /* where she is, is not known yet */
    for (uint16_t i = 1; i <= 3; i++)
        say_rtp(m, ALICE, at_alice, 0, i);
    assert_int_equal(m->port[BOB].n, 1);
    say_rtp(m, BOB, at_bob, 0, 2);
    assert_int_equal(m->port[ALICE].n, 1);
    hang_up(m, "c8", ok);
    /* never */
    m->r->set->media.mode = MEDIA_NEVER;
    body = sdp("10.9.9.9", "0", "");
    invite(m, "c9", body);
    assert_string_equal(body_of(find_raw(m->r, BOB, "INVITE")), body);
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 486, "b", ""));
    rig_quiet(m->r);
}

/* What a callee refuses is put to him in another way; to each side the numbers of the dialog are its own. */
/* He has registered with an address that he does not signal from: his answer would name no other. */
static void who_calls_into_a_nat_is_relayed(void **state)
{
    struct media_rig *m = *state;
    struct binding away = binding_of(m->r, "sip:bob@198.51.100.77:5060", BOB);
    away.by_flow = true;
    rig_bind(m->r, "bob@example.com", &away, 1);
    m->r->set->media.mode = MEDIA_AUTO;
    invite(m, "c15", sdp("192.0.2.11", "0", ""));
    our_port(find_raw(m->r, BOB, "INVITE sip:bob@198.51.100.77"));
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 486, "b", ""));
    rig_quiet(m->r);
}

static void who_refuses_a_description_is_asked_again(void **state)
{
    struct media_rig *m = *state;
    m->r->set->media.mode = MEDIA_AUTO;
    invite(m, "c11", sdp("192.0.2.11", "0", ""));
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 488, "b", ""));
    rig_clear(m->r);
    rig_run(m->r, 600 * USEC_MS); /* repeated: the second one passes through us */
    const char *second = find_raw(m->r, BOB, "INVITE");
    assert_non_null(strstr(second, "\r\nCSeq: 2 INVITE\r\n"));
    our_port(second);
    assert_non_null(strstr(body_of(second), " RTP/AVP "));
    char copy[MESSAGE];
    snprintf(copy, sizeof(copy), "%s", second);
    rig_clear(m->r);
    say(m->r, BOB, reply(copy, 488, "b", ""));
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 4"), 0);
    snprintf(copy, sizeof(copy), "%s", find_raw(m->r, BOB, "INVITE"));
    assert_non_null(strstr(copy, "\r\nCSeq: 3 INVITE\r\n"));
    assert_non_null(strstr(body_of(copy), " RTP/SAVP "));
    char key[] = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 "
                 "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
    char body[MESSAGE];
    snprintf(body, sizeof(body), "%s", sdp("192.0.2.12", "0", key));
    char *savp = strstr(body, "RTP/AVP 0\r\n");
    memmove(savp + 10, savp + 9, strlen(savp + 9) + 1);
    memcpy(savp, "RTP/SAVP 0", 10);
    const char *ok = reply(copy, 200, "b", "Contact: <" BOB_AT ">\r\n");
    say(m->r, BOB, with(ok, body));
    char heard_ok[MESSAGE];
    snprintf(heard_ok, sizeof(heard_ok), "%s", find_raw(m->r, ALICE, "SIP/2.0 200 "));
    assert_non_null(strstr(heard_ok, "\r\nCSeq: 1 INVITE\r\n"));
    assert_non_null(strstr(body_of(heard_ok), " RTP/AVP "));
    rig_clear(m->r);
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "c11", heard_ok, 1));
    assert_non_null(strstr(find_raw(m->r, BOB, "ACK"), "\r\nCSeq: 3 ACK\r\n"));
    rig_clear(m->r);
    say(m->r, ALICE, inside(m, ALICE, "BYE", BOB_AT, DIALOG, "c11", heard_ok, 2));
    const char *bye = find_raw(m->r, BOB, "BYE");
    assert_non_null(strstr(bye, "\r\nCSeq: 4 BYE\r\n"));
    say(m->r, BOB, reply(bye, 200, NULL, ""));
    assert_non_null(strstr(find_raw(m->r, ALICE, "SIP/2.0 200 "), "\r\nCSeq: 2 BYE\r\n"));
    rig_quiet(m->r);
    assert_int_equal(anchor_count(m->anchor), 0);
}

/* In the end what he says is what the caller hears. */
static void who_refuses_everything_is_left_alone(void **state)
{
    struct media_rig *m = *state;
    char last[MESSAGE] = "";
    unsigned asked = 0;
    m->r->set->media.mode = MEDIA_AUTO;
    m->r->set->media.transcode = false;
    invite(m, "c12", sdp("192.0.2.11", "0", ""));
    for (; asked < 10 && heard(m->r, BOB, "INVITE"); asked++) {
        snprintf(last, sizeof(last), "%s", find_raw(m->r, BOB, "INVITE"));
        m->r->peer[BOB].n = 0;
        say(m->r, BOB, reply(last, 488, "b", ""));
        rig_run(m->r, 600 * USEC_MS);
    }
    assert_int_equal(asked, 4);                                /* as it is, then in three ways */
    assert_in_range(heard(m->r, ALICE, "SIP/2.0 488 "), 1, 3); /* nobody acknowledges it */
    const char *no = find_raw(m->r, ALICE, "SIP/2.0 488 ");
    assert_non_null(strstr(no, "\r\nCSeq: 1 INVITE\r\n"));
    assert_non_null(strstr(no, "\r\nWarning: 399 "));
    assert_non_null(strstr(no, " \"callee refuses audio by UDP/TLS/RTP/SAVP with PCMU"
                               ", before that audio by RTP/SAVP with PCMU"
                               ", before that audio by RTP/AVP with PCMU"
                               "; transcoding is off\"\r\n"));
    rig_quiet(m->r);
    assert_int_equal(anchor_count(m->anchor), 0);
}

/* However much was offered: the last is told, and of those before what fits. */
static void what_is_refused_is_told_within_bounds(void **state)
{
    struct media_rig *m = *state;
    char formats[MESSAGE] = "0", maps[MESSAGE] = "", last[MESSAGE];
    m->r->set->media.mode = MEDIA_AUTO;
    m->r->set->media.transcode = false;
    for (unsigned i = 96; i < 103; i++) {
        snprintf(formats + strlen(formats), 8, " %u", i);
        snprintf(maps + strlen(maps), 64,
                 "a=rtpmap:%u a-codec-whose-name-is-rather-long-%u/8000\r\n", i, i);
    }
    invite(m, "c16", sdp("192.0.2.11", formats, maps));
    while (heard(m->r, BOB, "INVITE")) {
        snprintf(last, sizeof(last), "%s", find_raw(m->r, BOB, "INVITE"));
        m->r->peer[BOB].n = 0;
        say(m->r, BOB, reply(last, 488, "b", ""));
        rig_run(m->r, 600 * USEC_MS);
    }
    const char *no = find_raw(m->r, ALICE, "SIP/2.0 488 ");
    const char *warning = strstr(no, "\r\nWarning: 399 ");
    assert_non_null(warning);
    assert_in_range(strcspn(warning + 2, "\r"), 620, 800);
    assert_non_null(
        strstr(warning, " \"callee refuses audio by UDP/TLS/RTP/SAVP with PCMU, a-codec"));
    assert_non_null(strstr(warning, "-102, before that audio by RTP/SAVP with PCMU, a-codec"));
    assert_null(strstr(warning, ", before that audio by RTP/AVP"));
    assert_non_null(strstr(warning, "-102; transcoding is off\"\r\n"));
    rig_quiet(m->r);
    assert_int_equal(anchor_count(m->anchor), 0);
}

/* A body of two descriptions: none can be told to be the one. */
static const char *twofold(const char *message, const char *body)
{
    char *out = scratch(), parts[MESSAGE / 2];
    const char *end = strstr(message, "Content-Length: 0\r\n\r\n");
    assert_non_null(end);
    int n = snprintf(parts, sizeof(parts),
                     "--b\r\nContent-Type: application/sdp\r\n\r\n%.2000s\r\n"
                     "--b\r\nContent-Type: application/sdp\r\n\r\n%.2000s\r\n--b--\r\n",
                     body, body);
    snprintf(out, MESSAGE,
             "%.*sContent-Type: multipart/mixed;boundary=b\r\nContent-Length: %d\r\n\r\n%s",
             (int)(end - message), message, n, parts);
    return out;
}

#define KEYS                              \
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 " \
    "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n"
/* As sdp(), encrypted. */
static const char *savp(const char *ip)
{
    char *out = scratch();
    snprintf(out, MESSAGE,
             "v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\n"
             "m=audio 4000 RTP/SAVP 0\r\n" KEYS,
             ip, ip);
    return out;
}

static void refused_unread(const char *message)
{
    assert_non_null(strstr(message, "\r\nWarning: 399 "));
    assert_non_null(strstr(message, "More Than One Session Description; SRTP is required"));
}

/* What nobody can look at is not encrypted, for all that is known. */
static void where_srtp_is_required_every_description_is_read(void **state)
{
    struct media_rig *m = *state;
    const char *rq = request(m->r, ALICE, "INVITE", "sip:bob@example.com", TO_BOB, "s0", CONTACT);
    char ok[MESSAGE], in[MESSAGE];
    m->r->set->media.mode = MEDIA_AUTO;
    say(m->r, ALICE, twofold(rq, sdp("192.0.2.11", "0", "")));
    assert_int_equal(heard(m->r, BOB, "INVITE"), 1); /* it is not required */
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 486, "b", ""));
    m->r->set->media.srtp = MEDIA_SRTP_REQUIRE;
    for (int relayed = 0; relayed < 2; relayed++) {
        m->r->set->media.mode = relayed ? MEDIA_ALWAYS : MEDIA_AUTO;
        /* an offer */
        rig_clear(m->r);
        rq = request(m->r, ALICE, "INVITE", "sip:bob@example.com", TO_BOB, relayed ? "s1r" : "s1",
                     CONTACT);
        say(m->r, ALICE, twofold(rq, savp("192.0.2.11")));
        assert_int_equal(heard(m->r, BOB, ""), 0);
        refused_unread(find_raw(m->r, ALICE, "SIP/2.0 488 "));
        /* an answer, early and final */
        invite(m, relayed ? "s2r" : "s2", savp("192.0.2.11"));
        snprintf(in, sizeof(in), "%s", find_raw(m->r, BOB, "INVITE"));
        say(m->r, BOB, twofold(reply(in, 183, "b", ""), savp("192.0.2.12")));
        assert_string_equal(body_of(find_raw(m->r, ALICE, "SIP/2.0 183 ")), "");
        say(m->r, BOB,
            twofold(reply(in, 200, "b", "Contact: <" BOB_AT ">\r\n"), savp("192.0.2.12")));
        assert_int_equal(heard(m->r, BOB, "BYE"), 1);
        assert_int_equal(heard(m->r, ALICE, "SIP/2.0 200 "), 0);
        refused_unread(find_raw(m->r, ALICE, "SIP/2.0 488 "));
        say(m->r, BOB, reply(find_raw(m->r, BOB, "BYE"), 200, NULL, ""));
        /* an offer in the answer */
        invite(m, relayed ? "s3r" : "s3", NULL);
        snprintf(in, sizeof(in), "%s", find_raw(m->r, BOB, "INVITE"));
        say(m->r, BOB,
            twofold(reply(in, 200, "b", "Contact: <" BOB_AT ">\r\n"), savp("192.0.2.12")));
        assert_int_equal(heard(m->r, BOB, "BYE"), 1);
        refused_unread(find_raw(m->r, ALICE, "SIP/2.0 488 "));
        say(m->r, BOB, reply(find_raw(m->r, BOB, "BYE"), 200, NULL, ""));
        rig_quiet(m->r);
    }
    /* an answer that was given before stands */
    invite(m, "s5", savp("192.0.2.11"));
    snprintf(in, sizeof(in), "%s", find_raw(m->r, BOB, "INVITE"));
    say(m->r, BOB, with(reply(in, 183, "b", "Contact: <" BOB_AT ">\r\n"), savp("192.0.2.12")));
    our_port(find_raw(m->r, ALICE, "SIP/2.0 183 "));
    say(m->r, BOB, twofold(reply(in, 200, "b", "Contact: <" BOB_AT ">\r\n"), savp("192.0.2.12")));
    snprintf(ok, sizeof(ok), "%s", find_raw(m->r, ALICE, "SIP/2.0 200 "));
    assert_string_equal(body_of(ok), "");
    rig_clear(m->r);
    hang_up(m, "s5", ok);
    /* later, and in the ACK */
    invite(m, "s4", savp("192.0.2.11"));
    snprintf(ok, sizeof(ok), "%s", answer(m, savp("192.0.2.12")));
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "s4", ok, 1));
    rig_clear(m->r);
    say(m->r, ALICE,
        twofold(inside(m, ALICE, "UPDATE", BOB_AT, DIALOG, "s4", ok, 2), savp("192.0.2.11")));
    assert_int_equal(heard(m->r, BOB, ""), 0);
    refused_unread(find_raw(m->r, ALICE, "SIP/2.0 488 "));
    say(m->r, ALICE, inside(m, ALICE, "INVITE", BOB_AT, DIALOG, "s4", ok, 3));
    say(m->r, BOB,
        with(reply(find_raw(m->r, BOB, "INVITE"), 200, NULL, "Contact: <" BOB_AT ">\r\n"),
             savp("192.0.2.12")));
    say(m->r, ALICE,
        twofold(inside(m, ALICE, "ACK", BOB_AT, DIALOG, "s4", ok, 3), savp("192.0.2.11")));
    const char *ack = find_raw(m->r, BOB, "ACK");
    assert_string_equal(body_of(ack), "");
    assert_null(strstr(ack, "Content-Type"));
    rig_clear(m->r);
    hang_up(m, "s4", ok);
}

static const char fax[] = "v=0\r\no=- 1 1 IN IP4 192.0.2.11\r\ns=-\r\nc=IN IP4 192.0.2.11\r\n"
                          "t=0 0\r\nm=image 4000 udptl t38\r\n";

/* A call that does without us, as a fax may, is known for that. */
static void where_srtp_is_required_a_direct_call_keeps_it(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    m->r->set->media.srtp = MEDIA_SRTP_REQUIRE;
    m->r->set->media.mode = MEDIA_AUTO;
    invite(m, "d1", fax);
    assert_string_equal(body_of(find_raw(m->r, BOB, "INVITE")), fax);
    snprintf(ok, sizeof(ok), "%s", answer(m, fax));
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "d1", ok, 1));
    const char *const methods[] = {"INVITE", "UPDATE"};
    for (unsigned i = 0; i < 2; i++) {
        rig_clear(m->r);
        say(m->r, ALICE,
            with(inside(m, ALICE, methods[i], BOB_AT, DIALOG, "d1", ok, 2 + i),
                 sdp("192.0.2.11", "0", "")));
        assert_int_equal(heard(m->r, BOB, ""), 0);
        const char *no = find_raw(m->r, ALICE, "SIP/2.0 488 ");
        assert_non_null(strstr(value(no, "Warning"), "SRTP is required"));
    }
    rig_clear(m->r);
    say(m->r, ALICE, with(inside(m, ALICE, "UPDATE", BOB_AT, DIALOG, "d1", ok, 4), fax));
    assert_string_equal(body_of(find_raw(m->r, BOB, "UPDATE")), fax);
    say(m->r, BOB, with(reply(find_raw(m->r, BOB, "UPDATE"), 200, NULL, ""), fax));
    /* an offer of the other side, in its answer */
    rig_clear(m->r);
    say(m->r, ALICE, inside(m, ALICE, "INVITE", BOB_AT, DIALOG, "d1", ok, 5));
    say(m->r, BOB,
        with(reply(find_raw(m->r, BOB, "INVITE"), 200, NULL, "Contact: <" BOB_AT ">\r\n"),
             sdp("192.0.2.12", "0", "")));
    assert_non_null(strstr(find_raw(m->r, ALICE, "SIP/2.0 488 "), "SRTP is required"));
    assert_int_equal(heard(m->r, BOB, "BYE"), 1);
    say(m->r, BOB, reply(find_raw(m->r, BOB, "BYE"), 200, NULL, ""));
    rig_quiet(m->r);
}

/* A call whose media is not ours; its 200, as alice has it. */
static void apart_up(struct media_rig *m, const char *call, const char *body,
                     char ret_ok[static MESSAGE])
{
    invite(m, call, body);
    snprintf(ret_ok, MESSAGE, "%s", answer(m, body));
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, call, ret_ok, 1));
    rig_clear(m->r);
}

/* An offer that is not encrypted, within this call: whether it is refused. */
static bool is_watched(struct media_rig *m, const char *call, const char *ok, unsigned cseq)
{
    rig_clear(m->r);
    say(m->r, ALICE,
        with(inside(m, ALICE, "UPDATE", BOB_AT, DIALOG, call, ok, cseq),
             sdp("192.0.2.11", "0", "")));
    if (heard(m->r, ALICE, "SIP/2.0 488 "))
        return true;
    say(m->r, BOB, reply(find_raw(m->r, BOB, "UPDATE"), 488, NULL, ""));
    return false;
}

/* Nobody has to end a call by BYE: what is known of those without media of ours is bounded. */
static void calls_without_media_of_ours_are_so_many(void **state)
{
    struct media_rig *m = *state;
    enum { CAP = 4, CALLS = 6 };
    static char ok[CALLS][MESSAGE];
    static const char *const call[CALLS] = {"k0", "k1", "k2", "k3", "k4", "k5"};
    const _Atomic uint64_t *refused = &m->r->group->loop[0]->stats.refusals[STAT_LIMIT_CALLS];
    m->r->set->media.srtp = MEDIA_SRTP_REQUIRE;
    m->r->set->media.mode = MEDIA_AUTO;
    m->r->set->calls_max = CAP;
    for (unsigned i = 0; i < CAP; i++)
        apart_up(m, call[i], i == 3 ? NULL : fax, ok[i]);
    assert_int_equal(anchor_count(m->anchor), CAP);
    assert_true(is_watched(m, call[0], ok[0], 2));
    assert_int_equal(*refused, 0);
    apart_up(m, call[4], fax, ok[4]); /* 1 was silent longest */
    apart_up(m, call[5], fax, ok[5]); /* then 2 */
    assert_int_equal(*refused, 2);
    rig_run(m->r, 40 * USEC_S); /* their INVITEs are over */
    assert_int_equal(anchor_count(m->anchor), CAP);
    assert_false(is_watched(m, call[1], ok[1], 2));
    assert_false(is_watched(m, call[2], ok[2], 2));
    for (unsigned i = 0; i < CALLS; i++) {
        if (i != 3) /* it would have a session */
            assert_int_equal(i == 1 || i == 2, !is_watched(m, call[i], ok[i], 3));
    }
    rig_run(m->r, USEC_DAY - USEC_MIN);
    assert_int_equal(anchor_count(m->anchor), CAP);
    assert_true(is_watched(m, call[5], ok[5], 4));
    rig_run(m->r, 2 * USEC_MIN);
    assert_int_equal(anchor_count(m->anchor), 1);
    rig_run(m->r, USEC_DAY);
    assert_int_equal(anchor_count(m->anchor), 0);
}

/* What it may lead to later is as of any call. */
static void a_call_without_descriptions_may_have_media_of_ours_later(void **state)
{
    struct media_rig *m = *state;
    static char ok[2][MESSAGE];
    m->r->set->media.silence = 0;
    anchor_settings(m->anchor, m->r->set);
    apart_up(m, "l0", NULL, ok[0]);
    say(m->r, ALICE,
        with(inside(m, ALICE, "INVITE", BOB_AT, DIALOG, "l0", ok[0], 2),
             sdp("192.0.2.11", "0", "")));
    our_port(find_raw(m->r, BOB, "INVITE"));
    our_port(answer(m, sdp("192.0.2.12", "0", "")));
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "l0", ok[0], 2));
    m->r->set->calls_max = 1;
    apart_up(m, "l1", NULL, ok[1]);
    assert_int_equal(m->r->group->loop[0]->stats.refusals[STAT_LIMIT_CALLS], 0);
    rig_run(m->r, 2 * USEC_DAY);
    assert_int_equal(anchor_count(m->anchor), 1);
    assert_int_equal(sessions_live(anchor_sessions(m->anchor)), 1);
    rig_clear(m->r);
    hang_up(m, "l0", ok[0]);
}

/* A BYE of the early dialog was taken; the 200 that comes all the same stands for nothing. */
static void what_ended_before_its_answer_leaves_nothing(void **state)
{
    struct media_rig *m = *state;
    char in[MESSAGE], rings[MESSAGE];
    for (unsigned i = 0; i < 2; i++) {
        const char *call = i ? "v1" : "v0";
        invite(m, call, i ? sdp("192.0.2.11", "0", "") : NULL);
        snprintf(in, sizeof(in), "%s", find_raw(m->r, BOB, "INVITE"));
        say(m->r, BOB, reply(in, 180, "b", "Contact: <" BOB_AT ">\r\n"));
        snprintf(rings, sizeof(rings), "%s", find_raw(m->r, ALICE, "SIP/2.0 180 "));
        say(m->r, ALICE, inside(m, ALICE, "BYE", BOB_AT, DIALOG, call, rings, 2));
        say(m->r, BOB, reply(find_raw(m->r, BOB, "BYE"), 200, NULL, ""));
        const char *ok = reply(in, 200, "b", "Contact: <" BOB_AT ">\r\n");
        say(m->r, BOB, i ? with(ok, sdp("192.0.2.12", "0", "")) : ok);
        rig_quiet(m->r);
        assert_int_equal(anchor_count(m->anchor), 0);
    }
}

/* A dialog has nothing of ours that had nothing before. */
static void a_call_whose_first_offer_is_refused_has_nothing(void **state)
{
    struct media_rig *m = *state;
    static char ok[MESSAGE];
    apart_up(m, "l2", NULL, ok);
    for (unsigned cseq = 2; cseq <= 3; cseq++) {
        rig_clear(m->r);
        say(m->r, ALICE,
            with(inside(m, ALICE, "INVITE", BOB_AT, DIALOG, "l2", ok, cseq),
                 sdp("192.0.2.11", "0", "")));
        our_port(find_raw(m->r, BOB, "INVITE"));
        assert_int_equal(ports_taken(m->r->ports), 4);
        if (cseq == 2) {
            say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 488, NULL, ""));
            assert_int_equal(ports_taken(m->r->ports), 0);
            assert_int_equal(sessions_live(anchor_sessions(m->anchor)), 0);
            assert_int_equal(anchor_count(m->anchor), 1);
        }
    }
    our_port(answer(m, sdp("192.0.2.12", "0", "")));
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "l2", ok, 3));
    rig_clear(m->r);
    hang_up(m, "l2", ok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_side_is_told_of_us_and_sound_crosses, setup, teardown),
        cmocka_unit_test_setup_teardown(without_an_offer_the_callee_makes_it, setup, teardown),
        cmocka_unit_test_setup_teardown(either_side_may_offer_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_2xx_that_comes_again_says_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(each_branch_has_its_own_and_losers_give_it_back, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_call_that_fails_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(who_can_hear_each_other_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(who_calls_into_a_nat_is_relayed, setup, teardown),
        cmocka_unit_test_setup_teardown(who_refuses_a_description_is_asked_again, setup, teardown),
        cmocka_unit_test_setup_teardown(who_refuses_everything_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_refused_is_told_within_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(a_call_whose_first_offer_is_refused_has_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(where_srtp_is_required_every_description_is_read, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(where_srtp_is_required_a_direct_call_keeps_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(calls_without_media_of_ours_are_so_many, setup, teardown),
        cmocka_unit_test_setup_teardown(a_call_without_descriptions_may_have_media_of_ours_later,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(what_ended_before_its_answer_leaves_nothing, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
