/* SPDX-License-Identifier: MIT */
/* anchor_quota_test.c: ports are so many: what a call takes of them, for whom it counts, and what it gives back. */
#include "anchor_rig.h"

/* As alice, who has proved it. */
static void invite_as_alice(struct media_rig *m, const char *call, const char *body)
{
    char lines[MESSAGE];
    invite(m, call, body);
    snprintf(lines, sizeof(lines), "%s" CONTACT,
             credentials(find_raw(m->r, ALICE, "SIP/2.0 407 "), "INVITE", "sip:bob@example.com",
                         "alice", "secret", 1));
    rig_clear(m->r);
    const char *rq = request(m->r, ALICE, "INVITE", "sip:bob@example.com", TO_BOB, call, lines);
    say(m->r, ALICE, body ? with(rq, body) : rq);
}

static void one_account_has_its_share_of_calls(void **state)
{
    struct media_rig *m = *state;
    struct stats *stats = &m->r->group->loop[0]->stats;
    char first[MESSAGE];
    m->r->set->authenticate = SETTINGS_AUTH_ALL;
    m->r->set->media.quota = 1;
    anchor_settings(m->anchor, m->r->set);
    invite_as_alice(m, "q1", sdp("192.0.2.11", "0", ""));
    snprintf(first, sizeof(first), "%s", answer(m, sdp("192.0.2.12", "0", "")));
    our_port(first);
    invite_as_alice(m, "q2", sdp("192.0.2.11", "0", ""));
    assert_int_equal(heard(m->r, BOB, "INVITE"), 0);
    const char *no = find_raw(m->r, ALICE, "SIP/2.0 403 ");
    assert_non_null(strstr(no, "\r\nWarning: 399 "));
    assert_non_null(strstr(no, "as many relayed calls as it may"));
    assert_int_equal(stats->refusals[STAT_LIMIT_MEDIA_QUOTA], 1);
    /* nor more lines within the one that it has, which goes on */
    char two[MESSAGE];
    snprintf(two, sizeof(two), "%sm=audio 4010 RTP/AVP 0\r\n", sdp("192.0.2.11", "0", ""));
    say(m->r, ALICE, with(inside(m, ALICE, "INVITE", BOB_AT, DIALOG, "q1", first, 3), two));
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 403 "), 2);
    assert_int_equal(stats->refusals[STAT_LIMIT_MEDIA_QUOTA], 2);
    rig_clear(m->r);
    hang_up(m, "q1", first);
    invite_as_alice(m, "q3", sdp("192.0.2.11", "0", ""));
    our_port(find_raw(m->r, BOB, "INVITE"));
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 486, "b", ""));
    rig_quiet(m->r);
    assert_int_equal(ports_taken(m->r->ports), 0);
}

/* Two phones ring, one answers: that is one call of hers, until it ends. */
static void a_call_counts_once_however_many_phones_ring(void **state)
{
    struct media_rig *m = *state;
    const _Atomic uint64_t *refused = &m->r->group->loop[0]->stats.refusals[STAT_LIMIT_MEDIA_QUOTA];
    struct binding b[2] = {binding_of(m->r, BOB_AT, BOB), binding_of(m->r, AWAY_AT, STRANGER)};
    char ok[MESSAGE], lost[MESSAGE];
    rig_bind(m->r, "bob@example.com", b, 2);
    m->r->set->authenticate = SETTINGS_AUTH_ALL;
    m->r->set->media.quota = 1;
    anchor_settings(m->anchor, m->r->set);
    invite_as_alice(m, "q4", sdp("192.0.2.11", "0", ""));
    our_port(find_raw(m->r, BOB, "INVITE"));
    our_port(find_raw(m->r, STRANGER, "INVITE"));
    assert_int_equal(*refused, 0);
    snprintf(lost, sizeof(lost), "%s", find_raw(m->r, STRANGER, "INVITE"));
    snprintf(ok, sizeof(ok), "%s", answer(m, sdp("192.0.2.12", "0", "")));
    our_port(ok);
    say(m->r, STRANGER, reply(lost, 487, "d", ""));
    assert_int_equal(sessions_live(anchor_sessions(m->anchor)), 1);
    invite_as_alice(m, "q5", sdp("192.0.2.11", "0", "")); /* it still is one */
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 403 "), 1);
    assert_int_equal(*refused, 1); /* before it forks */
    rig_clear(m->r);
    hang_up(m, "q4", ok);
    invite_as_alice(m, "q6", sdp("192.0.2.11", "0", ""));
    our_port(find_raw(m->r, BOB, "INVITE"));
    our_port(find_raw(m->r, STRANGER, "INVITE"));
    say(m->r, STRANGER, reply(find_raw(m->r, STRANGER, "INVITE"), 486, "d", ""));
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 486, "b", ""));
    rig_quiet(m->r);
    assert_int_equal(ports_taken(m->r->ports), 0);
}

/* Lines for sound, each at a port of its own but those that are refused. */
static const char *lines_of(const char *ip, unsigned n, unsigned refused)
{
    char *out = scratch();
    int at = snprintf(out, MESSAGE, "%s", sdp(ip, "0", ""));
    for (unsigned i = 1; i < n; i++)
        at += snprintf(out + at, MESSAGE - (size_t)at, "m=audio %u RTP/AVP 0\r\n",
                       i < n - refused ? 4000 + 2 * i : 0);
    return out;
}

/* Bob offers so many lines within the call; alice takes so many of them. 0: she answers 488, if she is asked. */
static void bob_offers(struct media_rig *m, const char *ok, unsigned cseq, unsigned lines,
                       unsigned taken)
{
    rig_clear(m->r);
    say(m->r, BOB,
        with(inside(m, BOB, "INVITE", ALICE_AT, REVERSED, "q9", ok, cseq),
             lines_of("192.0.2.12", lines, 0)));
    const char *rq = find_raw(m->r, ALICE, "INVITE");
    if (taken)
        say(m->r, ALICE,
            with(reply(rq, 200, NULL, CONTACT), lines_of("192.0.2.11", lines, lines - taken)));
    else if (rq[0])
        say(m->r, ALICE, reply(rq, 488, NULL, ""));
    say(m->r, BOB, inside(m, BOB, "ACK", ALICE_AT, REVERSED, "q9", ok, cseq));
}

/* Whoever adds lines to a call: those that come to nothing do not count for its caller, nor is anybody without their ports. */
static void lines_that_are_refused_are_given_back(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    m->r->set->authenticate = SETTINGS_AUTH_ALL;
    m->r->set->media.quota = 4;
    anchor_settings(m->anchor, m->r->set);
    invite_as_alice(m, "q9", sdp("192.0.2.11", "0", ""));
    snprintf(ok, sizeof(ok), "%s", answer(m, sdp("192.0.2.12", "0", "")));
    m->r->set->authenticate = SETTINGS_AUTH_REGISTER; /* who pays is known */
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "q9", ok, 1));
    bob_offers(m, ok, 2, 4, 0);
    assert_int_equal(ports_taken(m->r->ports), 4);
    bob_offers(m, ok, 3, 16, 0); /* over her quota: she is not asked */
    assert_int_equal(heard(m->r, BOB, "SIP/2.0 403 "), 1);
    assert_int_equal(ports_taken(m->r->ports), 4);
    bob_offers(m, ok, 4, 4, 1);
    assert_int_equal(ports_taken(m->r->ports), 4);
    bob_offers(m, ok, 5, 4, 2); /* the same again, and one is taken */
    assert_int_equal(ports_taken(m->r->ports), 8);
    /* an offer in a 200, whose ACK says nothing of it */
    rig_clear(m->r);
    say(m->r, ALICE, inside(m, ALICE, "INVITE", BOB_AT, DIALOG, "q9", ok, 3));
    answer(m, lines_of("192.0.2.12", 4, 0));
    assert_int_equal(ports_taken(m->r->ports), 16);
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "q9", ok, 3));
    assert_int_equal(ports_taken(m->r->ports), 8);
    say_rtp(m, ALICE, our_port(ok), 0, 1);
    assert_int_equal(m->port[BOB].n, 1);
    rig_clear(m->r);
    hang_up(m, "q9", ok);
}

#define DIALOG_AWAY "From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:bob@example.com>;tag=d\r\n"

/* Two phones answer the same INVITE, without a word of media; what each gets of it later is of a call of its own. */
static void media_that_comes_later_counts_for_each_dialog(void **state)
{
    struct media_rig *m = *state;
    struct binding b[2] = {binding_of(m->r, BOB_AT, BOB), binding_of(m->r, AWAY_AT, STRANGER)};
    char ok[MESSAGE], away[MESSAGE], rq[MESSAGE];
    rig_bind(m->r, "bob@example.com", b, 2);
    m->r->set->authenticate = SETTINGS_AUTH_ALL;
    m->r->set->media.quota = 1;
    anchor_settings(m->anchor, m->r->set);
    invite_as_alice(m, "q8", NULL);
    m->r->set->authenticate = SETTINGS_AUTH_REGISTER; /* who pays is known */
    snprintf(rq, sizeof(rq), "%s", find_raw(m->r, STRANGER, "INVITE"));
    snprintf(ok, sizeof(ok), "%s", answer(m, NULL));
    rig_clear(m->r);
    say(m->r, STRANGER, reply(rq, 200, "d", "Contact: <" AWAY_AT ">\r\n"));
    snprintf(away, sizeof(away), "%s", find_raw(m->r, ALICE, "SIP/2.0 200 "));
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "q8", ok, 1));
    say(m->r, ALICE, inside(m, ALICE, "ACK", AWAY_AT, DIALOG_AWAY, "q8", away, 1));
    rig_clear(m->r);
    say(m->r, ALICE,
        with(inside(m, ALICE, "INVITE", BOB_AT, DIALOG, "q8", ok, 2), sdp("192.0.2.11", "0", "")));
    our_port(find_raw(m->r, BOB, "INVITE"));
    say(m->r, ALICE,
        with(inside(m, ALICE, "INVITE", AWAY_AT, DIALOG_AWAY, "q8", away, 2),
             sdp("192.0.2.11", "0", "")));
    assert_int_equal(heard(m->r, STRANGER, "INVITE"), 0);
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 403 "), 1);
    our_port(answer(m, sdp("192.0.2.12", "0", "")));
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "q8", ok, 2));
    assert_int_equal(ports_taken(m->r->ports), 4);
    say(m->r, ALICE, inside(m, ALICE, "BYE", AWAY_AT, DIALOG_AWAY, "q8", away, 9));
    say(m->r, STRANGER, reply(find_raw(m->r, STRANGER, "BYE"), 200, NULL, ""));
    rig_clear(m->r);
    hang_up(m, "q8", ok);
}

/* One phone needs us and cannot be asked, the other does not and rings: what it says is what she hears. */
static void who_needs_no_media_of_ours_rings_all_the_same(void **state)
{
    struct media_rig *m = *state;
    const _Atomic uint64_t *refusals = m->r->group->loop[0]->stats.refusals;
    struct binding b[2] = {binding_of(m->r, BOB_AT, BOB),
                           binding_of(m->r, "sip:bob@198.51.100.77:5060", STRANGER)};
    char first[MESSAGE];
    m->r->set->authenticate = SETTINGS_AUTH_ALL;
    m->r->set->media.quota = 1;
    anchor_settings(m->anchor, m->r->set);
    invite_as_alice(m, "q7", sdp("192.0.2.11", "0", ""));
    snprintf(first, sizeof(first), "%s", answer(m, sdp("192.0.2.12", "0", "")));
    b[1].by_flow = true;
    rig_bind(m->r, "bob@example.com", b, 2);
    m->r->set->media.mode = MEDIA_AUTO;
    invite_as_alice(m, "q8", sdp("192.0.2.11", "0", ""));
    assert_int_equal(heard(m->r, STRANGER, "INVITE"), 0);
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 486, "b", ""));
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 486 "), 1);
    /* she gives up */
    invite_as_alice(m, "q9", sdp("192.0.2.11", "0", ""));
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 180, "b", ""));
    say(m->r, ALICE, request(m->r, ALICE, "CANCEL", "sip:bob@example.com", TO_BOB, "q9", ""));
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 487, "b", ""));
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 487 "), 1);
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 403 "), 0);
    assert_int_equal(refusals[STAT_LIMIT_MEDIA_QUOTA], 2);
    /* behind a NAT she needs us, whoever it is */
    invite_as_alice(m, "q10", sdp("10.9.9.9", "0", ""));
    assert_int_equal(heard(m->r, BOB, "INVITE"), 0);
    assert_non_null(
        strstr(find_raw(m->r, ALICE, "SIP/2.0 403 "), "as many relayed calls as it may"));
    assert_int_equal(refusals[STAT_LIMIT_MEDIA_QUOTA], 3);
    rig_clear(m->r);
    hang_up(m, "q7", first);
}

/* Behind one NAT with her, one who says her name takes nothing of what is hers: neither from another port, nor
 * beside her connection. */
static void who_shares_her_address_does_not_spend_what_is_hers(void **state)
{
    struct media_rig *m = *state;
    struct binding hers[2] = {binding_of(m->r, ALICE_AT, ALICE),
                              binding_of(m->r, "sip:alice@192.0.2.11:5062", ALICE)};
    hers[0].remote.port++;
    hers[1].transport = SIP_T_TCP;
    hers[1].conn = 77;
    m->r->set->media.quota = 1;
    anchor_settings(m->anchor, m->r->set);
    for (unsigned i = 0; i < 2; i++) {
        char call[8];
        rig_bind(m->r, "alice@example.com", &hers[i], 1);
        for (unsigned k = 0; k < 2; k++) {
            snprintf(call, sizeof(call), "s%u%u", i, k);
            invite(m, call, sdp("192.0.2.11", "0", ""));
            our_port(find_raw(m->r, BOB, "INVITE"));
        }
    }
    assert_int_equal(m->r->group->loop[0]->stats.refusals[STAT_LIMIT_MEDIA_QUOTA], 0);
}

/* Where nobody need prove who he is, an account is who calls in its name by the flow that it has registered by. */
static void who_is_known_by_his_phone_pays(void **state)
{
    struct media_rig *m = *state;
    struct binding hers = binding_of(m->r, ALICE_AT, ALICE);
    char first[MESSAGE];
    rig_bind(m->r, "alice@example.com", &hers, 1);
    m->r->set->media.quota = 1;
    anchor_settings(m->anchor, m->r->set);
    invite(m, "k1", sdp("192.0.2.11", "0", ""));
    snprintf(first, sizeof(first), "%s", answer(m, sdp("192.0.2.12", "0", "")));
    invite(m, "k2", sdp("192.0.2.11", "0", ""));
    assert_non_null(
        strstr(find_raw(m->r, ALICE, "SIP/2.0 403 "), "as many relayed calls as it may"));
    /* another phone that says her name, and another name: nobody pays, and hers is as it was */
    rig_clear(m->r);
    say(m->r, STRANGER,
        with(request(m->r, STRANGER, "INVITE", "sip:bob@example.com", TO_BOB, "k3", CONTACT),
             sdp("192.0.2.11", "0", "")));
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 486, "b", ""));
    assert_int_equal(heard(m->r, STRANGER, "SIP/2.0 486 "), 1);
    rig_clear(m->r);
    say(m->r, ALICE,
        with(request(m->r, ALICE, "INVITE", "sip:bob@example.com",
                     "From: <sip:eve@example.com>;tag=a1\r\nTo: <sip:bob@example.com>\r\n", "k4",
                     CONTACT),
             sdp("192.0.2.11", "0", "")));
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 486, "b", ""));
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 486 "), 1);
    rig_clear(m->r);
    hang_up(m, "k1", first);
    /* given up before it goes anywhere */
    rig_clear(m->r);
    invite(m, "k5", sdp("192.0.2.11", "0", ""));
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 180, "b", ""));
    say(m->r, ALICE, request(m->r, ALICE, "CANCEL", "sip:bob@example.com", TO_BOB, "k5", ""));
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 487, "b", ""));
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 487 "), 1);
    rig_quiet(m->r);
    assert_int_equal(ports_taken(m->r->ports), 0);
}

static void without_ports_nobody_is_asked(void **state)
{
    struct media_rig *m = *state;
    const _Atomic uint64_t *refusals = m->r->group->loop[0]->stats.refusals;
    struct binding b[2] = {binding_of(m->r, BOB_AT, BOB), binding_of(m->r, AWAY_AT, STRANGER)};
    char first[MESSAGE];
    assert_int_equal(ports_range(m->r->ports, 20000, 20003), ERR_OK);
    invite(m, "p1", sdp("192.0.2.11", "0", ""));
    snprintf(first, sizeof(first), "%s", answer(m, sdp("192.0.2.12", "0", "")));
    rig_bind(m->r, "bob@example.com", b, 2);
    invite(m, "p2", sdp("192.0.2.11", "0", ""));
    assert_int_equal(heard(m->r, BOB, "INVITE") + heard(m->r, STRANGER, "INVITE"), 0);
    assert_non_null(strstr(find_raw(m->r, ALICE, "SIP/2.0 503 "), "no media ports"));
    assert_int_equal(refusals[STAT_LIMIT_MEDIA_PORTS], 1);
    rig_clear(m->r);
    hang_up(m, "p1", first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_account_has_its_share_of_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(a_call_counts_once_however_many_phones_ring, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(lines_that_are_refused_are_given_back, setup, teardown),
        cmocka_unit_test_setup_teardown(media_that_comes_later_counts_for_each_dialog, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_needs_no_media_of_ours_rings_all_the_same, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_shares_her_address_does_not_spend_what_is_hers, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_is_known_by_his_phone_pays, setup, teardown),
        cmocka_unit_test_setup_teardown(without_ports_nobody_is_asked, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
