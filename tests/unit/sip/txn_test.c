/* SPDX-License-Identifier: MIT */
/* The four machines: their tables walked whole; the two server machines driven by a raw peer in
 * virtual time. */
#include "txn_user.h"
#include "txn/txn_tables.h"

/* ---- tables ---- */

/* Every event that can happen in a state, by what the RFCs' figures draw and by what the network
 * may always bring. */
static const struct {
    enum txn_kind kind;
    enum txn_state state;
    uint32_t events;
} may_happen[] = {
#define E(ev)   (1u << TXN_##ev)
#define ANSWERS (E(RX_1XX) | E(RX_2XX) | E(RX_FAIL) | E(TX_ERROR))
#define ASKED   (E(RX_REQUEST) | E(RX_CANCEL) | E(TX_ERROR))
    {TXN_ICT, TXN_CALLING, ANSWERS | E(CANCEL) | E(GIVE_UP) | E(TIMER_A) | E(TIMER_B)},
    {TXN_ICT, TXN_PROCEEDING, ANSWERS | E(CANCEL) | E(GIVE_UP) | E(TIMER_X)},
    {TXN_ICT, TXN_ACCEPTED, ANSWERS | E(CANCEL) | E(GIVE_UP) | E(TIMER_M)},
    {TXN_ICT, TXN_COMPLETED, ANSWERS | E(CANCEL) | E(GIVE_UP) | E(TIMER_D)},
    {TXN_NICT, TXN_TRYING, ANSWERS | E(GIVE_UP) | E(TIMER_E) | E(TIMER_F)},
    {TXN_NICT, TXN_PROCEEDING, ANSWERS | E(GIVE_UP) | E(TIMER_E) | E(TIMER_F)},
    {TXN_NICT, TXN_COMPLETED, ANSWERS | E(GIVE_UP) | E(TIMER_K)},
    {TXN_IST, TXN_PROCEEDING,
     ASKED | E(RX_ACK) | E(TX_1XX) | E(TX_2XX) | E(TX_FAIL) | E(TIMER_100)},
    {TXN_IST, TXN_ACCEPTED, ASKED | E(RX_ACK) | E(TX_2XX) | E(TIMER_2XX) | E(TIMER_L)},
    {TXN_IST, TXN_COMPLETED, ASKED | E(RX_ACK) | E(TIMER_G) | E(TIMER_H)},
    {TXN_IST, TXN_CONFIRMED, ASKED | E(RX_ACK) | E(TIMER_I)},
    {TXN_NIST, TXN_TRYING, ASKED | E(TX_1XX) | E(TX_2XX) | E(TX_FAIL) | E(TIMER_100)},
    {TXN_NIST, TXN_PROCEEDING, ASKED | E(TX_1XX) | E(TX_2XX) | E(TX_FAIL)},
    {TXN_NIST, TXN_COMPLETED, ASKED | E(TIMER_J)},
};

static uint32_t events_of(enum txn_kind kind, unsigned state)
{
    for (size_t i = 0; i < sizeof may_happen / sizeof may_happen[0]; i++)
        if (may_happen[i].kind == kind && may_happen[i].state == state)
            return may_happen[i].events;
    return 0;
}

static void every_cell_is_as_drawn(void **state)
{
    (void)state;
    assert_true(TXN_EVENTS <= 32);
    for (unsigned k = 0; k < TXN_KINDS; k++) {
        for (unsigned st = 0; st < TXN_STATES; st++) {
            for (unsigned ev = 0; ev < TXN_EVENTS; ev++) {
                uint8_t s = (uint8_t)st;
                bool expected = events_of(k, st) >> ev & 1;
                uint32_t todo = txn_step(k, &s, ev);
                if ((todo == TXN_BROKEN) == expected)
                    fail_msg("%s, %s, %s", txn_kind_text(k), txn_state_text(st),
                             txn_event_text(ev));
                assert_int_equal(txn_allows(k, (uint8_t)st, ev), expected);
                if (todo == TXN_BROKEN)
                    assert_int_equal(s, st);
            }
        }
    }
}

static void cells_keep_the_drivers_rules(void **state)
{
    (void)state;
    const uint32_t leave = TXN_LEAVE | TXN_LEAVE_TIMEOUT | TXN_LEAVE_ERROR;
    for (unsigned k = 0; k < TXN_KINDS; k++) {
        for (unsigned st = 0; st < TXN_STATES; st++) {
            for (unsigned ev = 0; ev < TXN_EVENTS; ev++) {
                struct txn_cell c = txn_table[k][st][ev];
                if (c.next == TXN_UNSET)
                    continue;
                /* What the user does answers nothing from within. */
                if (ev == TXN_TX_1XX || ev == TXN_TX_2XX || ev == TXN_TX_FAIL || ev == TXN_CANCEL ||
                    ev == TXN_GIVE_UP) {
                    assert_int_equal(c.todo & (leave | TXN_TELL), 0);
                    assert_int_not_equal(c.next, TXN_GONE);
                }
                if (c.next == TXN_GONE) { /* no timer survives, and the user hears of it once */
                    assert_int_equal(c.todo & TXN_STOP, TXN_STOP);
                    assert_true(c.todo & leave);
                    assert_int_equal(c.todo & leave & ((c.todo & leave) - 1), 0);
                }
                if (c.todo & leave && (k == TXN_ICT || k == TXN_NICT))
                    assert_int_equal(c.next, TXN_GONE);
                /* A state whose deadline is another's was left with that stopped. */
                if (c.next != st && c.next != TXN_GONE && st != TXN_TRYING)
                    assert_true(c.todo & TXN_STOP_RETRY);
            }
        }
    }
}

static void reply_180(struct world *w)
{
    (void)w;
    assert_int_equal(reply(180), ERR_OK);
}
static void reply_200(struct world *w)
{
    (void)w;
    assert_int_equal(reply(200), ERR_OK);
}
/* An ACK or another request in the INVITE's dialog: To with our tag. */
static const char *with_tag(const char *method, const char *transport, const char *branch)
{
    static char text[1024];
    snprintf(text, sizeof text,
             "%s sip:bob@" SERVER_IP " SIP/2.0\r\nVia: SIP/2.0/%s " PEER_IP ":5070;branch=%s\r\n"
             "From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:bob@example.com>;tag=ours\r\n"
             "Call-ID: c1\r\nCSeq: 1 %s\r\nContent-Length: 0\r\n\r\n",
             method, transport, branch, method);
    return text;
}

/* ---- INVITE server ---- */

static void an_invite_is_answered_100_after_200_ms(void **state)
{
    (void)state;
    struct world *w = start();
    say_udp(w, request("INVITE", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 150 * USEC_MS);
    assert_int_equal(w->datagrams, 0);
    run(w, 100 * USEC_MS);
    assert_int_equal(heard(w, "SIP/2.0 100 Trying"), 1);
    assert_int_equal(heard(w, ";tag=ours"), 0);
    say_udp(w,
            request("INVITE", "UDP", "z9hG4bKa", "c1", "")); /* gets the last provisional again */
    run(w, 50 * USEC_MS);
    assert_int_equal(heard(w, "SIP/2.0 100 Trying"), 2);
    act(w, loop0(w), reply_180);
    say_udp(w, request("INVITE", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(heard(w, "SIP/2.0 180 Ringing"), 2);
    assert_int_equal(tell.requests, 1);
    assert_int_equal(stat_of(w, STAT_SIP_RETRANSMITS_RX), 2);
    assert_int_equal(live(w), 1);
    world_free(w);
    assert_int_equal(tell.gone, 1);
    assert_int_equal(tell.why, ERR_CANCELLED);
}

static void a_quick_answer_spares_the_100(void **state)
{
    (void)state;
    struct world *w = start();
    tell.answer = 180;
    say_udp(w, request("INVITE", "UDP", "z9hG4bKa", "c1", ""));
    run(w, USEC_S);
    assert_int_equal(w->datagrams, 1);
    assert_int_equal(heard(w, "SIP/2.0 180"), 1);
    world_free(w);
}

static void a_refusal_is_repeated_until_the_ack(void **state)
{
    (void)state;
    struct world *w = start();
    tell.answer = 486;
    say_udp(w, request("INVITE", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 4 * USEC_S); /* at 0, 0.5, 1.5, 3.5 s */
    assert_int_equal(heard(w, "SIP/2.0 486"), 4);
    near(w->at[1] - w->at[0], 500 * USEC_MS);
    near(w->at[2] - w->at[1], USEC_S);
    near(w->at[3] - w->at[2], 2 * USEC_S);
    assert_int_equal(reply(200), ERR_STATE);
    say_udp(w, request("ACK", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 50 * USEC_MS);
    say_udp(w, request("INVITE", "UDP", "z9hG4bKa", "c1", "")); /* Confirmed absorbs */
    say_udp(w, request("ACK", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 4 * USEC_S);
    assert_int_equal(w->datagrams, 4);
    assert_int_equal(tell.acks, 0);
    assert_int_equal(tell.gone, 0);
    run(w, 2 * USEC_S); /* Timer I */
    assert_int_equal(tell.gone, 1);
    assert_int_equal(tell.why, ERR_OK);
    assert_int_equal(live(w), 0);
    world_free(w);
}

static void without_an_ack_timer_h_gives_up(void **state)
{
    (void)state;
    struct world *w = start();
    tell.answer = 486;
    say_udp(w, request("INVITE", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 33 * USEC_S);
    /* 0, .5, 1.5, 3.5, 7.5, then every 4 s up to 31.5: T2 bounds the interval */
    assert_int_equal(w->datagrams, 11);
    near(w->at[10] - w->at[9], 4 * USEC_S);
    near(tell.gone_at - w->at[0], 32 * USEC_S);
    assert_int_equal(tell.why, ERR_TIMEOUT);
    assert_int_equal(live(w), 0);
    world_free(w);
}

static void a_2xx_is_not_repeated_by_the_machine_and_the_invite_is_absorbed(void **state)
{
    (void)state;
    struct world *w = start();
    tell.answer = 200;
    say_udp(w, request("INVITE", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 10 * USEC_S);
    assert_int_equal(w->datagrams, 1);
    say_udp(w, request("INVITE", "UDP", "z9hG4bKa", "c1", ""));
    say_udp(w, with_tag("ACK", "UDP", "z9hG4bKother")); /* its own transaction: to the user */
    run(w, USEC_S);
    assert_int_equal(w->datagrams, 1);
    assert_int_equal(tell.requests, 1);
    assert_int_equal(tell.acks, 1);
    say_udp(w, with_tag("ACK", "UDP", "z9hG4bKa")); /* "MUST be passed directly to the TU" */
    run(w, USEC_S);
    assert_int_equal(tell.acks, 2);
    act(w, loop0(w), reply_200); /* a 2xx from another fork */
    run(w, USEC_S);
    assert_int_equal(w->datagrams, 2);
    assert_int_equal(reply(486), ERR_STATE);
    assert_int_equal(tell.gone, 0);
    run(w, 20 * USEC_S); /* Timer L */
    near(tell.gone_at - w->at[0], 32 * USEC_S);
    assert_int_equal(tell.why, ERR_OK);
    world_free(w);
}

static void repeat_on(struct world *w)
{
    (void)w;
    stxn_repeat_2xx(tell.s, true);
}
static void repeat_off(struct world *w)
{
    (void)w;
    stxn_repeat_2xx(tell.s, false);
}

static void a_user_agent_repeats_its_2xx_until_the_ack(void **state)
{
    (void)state;
    struct world *w = start();
    for (int acked = 0; acked < 2; acked++) {
        memset(&tell, 0, sizeof tell);
        inbox_clear(w);
        say_udp(w, request("INVITE", "UDP", acked ? "z9hG4bKx" : "z9hG4bKy", "c1", ""));
        run(w, 50 * USEC_MS);
        act(w, loop0(w), repeat_on);
        act(w, loop0(w), reply_200);
        run(w, 4 * USEC_S);
        assert_int_equal(w->datagrams, 4);
        near(w->at[3] - w->at[2], 2 * USEC_S);
        if (acked)
            act(w, loop0(w), repeat_off);
        run(w, 30 * USEC_S);
        assert_int_equal(w->datagrams, acked ? 4 : 11);
        assert_int_equal(tell.gone, 1);
        assert_int_equal(tell.why, acked ? ERR_OK : ERR_TIMEOUT);
    }
    world_free(w);
}

static void over_a_stream_nothing_is_repeated(void **state)
{
    (void)state;
    struct world *w = start();
    tell.answer = 486;
    dial(w);
    say_tcp(w, sv_of(request("INVITE", "TCP", "z9hG4bKa", "c1", "")));
    run(w, 20 * USEC_S);
    assert_int_equal(heard(w, "SIP/2.0 486"), 1);
    say_tcp(w, sv_of(request("ACK", "TCP", "z9hG4bKa", "c1", "")));
    run(w, 50 * USEC_MS); /* Timer I is zero */
    assert_int_equal(tell.gone, 1);
    assert_int_equal(tell.why, ERR_OK);
    tell.answer = 200;
    say_tcp(w, sv_of(request("OPTIONS", "TCP", "z9hG4bKb", "c2", "")));
    run(w, 50 * USEC_MS); /* and so is Timer J */
    assert_int_equal(tell.gone, 2);
    assert_int_equal(live(w), 0);
    world_free(w);
}

static void a_dead_connection_is_told_and_the_invite_still_absorbed(void **state)
{
    (void)state;
    struct world *w = start();
    tell.answer = 180;
    dial(w);
    say_tcp(w, sv_of(request("INVITE", "TCP", "z9hG4bKa", "c1", "")));
    run(w, 50 * USEC_MS);
    stream_close(w->stream, false);
    w->stream = NULL;
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.gone, 1);
    assert_int_equal(tell.why, ERR_CLOSED);
    assert_int_equal(live(w), 1);
    dial(w);
    say_tcp(w, sv_of(request("INVITE", "TCP", "z9hG4bKa", "c1", "")));
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.requests, 1);
    run(w, 33 * USEC_S);
    assert_int_equal(tell.gone, 1);
    assert_int_equal(live(w), 0);
    world_free(w);
}

static void a_dropped_transaction_finishes_alone(void **state)
{
    (void)state;
    struct world *w = start();
    tell.answer = 486;
    tell.drop = true;
    say_udp(w, request("INVITE", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 4 * USEC_S);
    assert_int_equal(w->datagrams, 4);
    say_udp(w, request("ACK", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 6 * USEC_S);
    assert_int_equal(live(w), 0);
    tell.answer = 0;
    say_udp(w, request("INVITE", "UDP", "z9hG4bKb", "c1", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(live(w), 1);
    stxn_drop(tell.s); /* unanswered: at once, silently */
    assert_int_equal(live(w), 0);
    assert_int_equal(home_entries(sip_home(w->sip[0])), 0);
    run(w, USEC_S);
    assert_int_equal(w->datagrams, 4);
    assert_int_equal(tell.gone, 0);
    world_free(w);
}

/* ---- CANCEL at the server ---- */

static void a_cancel_is_answered_and_told(void **state)
{
    (void)state;
    struct world *w = start();
    tell.answer = 180;
    say_udp(w, request("INVITE", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 50 * USEC_MS);
    say_udp(w, request("CANCEL", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.cancels, 1);
    assert_int_equal(heard(w, "SIP/2.0 200 OK"), 1);
    assert_int_equal(heard(w, "SIP/2.0 487"), 1);
    assert_int_equal(heard(w, "To: <sip:bob@example.com>;tag=ours"), 3); /* §9.2: the same tag */
    say_udp(w, request("CANCEL", "UDP", "z9hG4bKa", "c1", "")); /* again: only its answer again */
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.cancels, 1);
    assert_int_equal(heard(w, "SIP/2.0 200 OK"), 2);
    say_udp(w, request("ACK", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 40 * USEC_S);
    assert_int_equal(live(w), 0);
    world_free(w);
}

static void a_cancel_after_the_final_response_changes_nothing(void **state)
{
    (void)state;
    struct world *w = start();
    tell.answer = 200;
    say_udp(w, request("INVITE", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 50 * USEC_MS);
    inbox_clear(w);
    say_udp(w, request("CANCEL", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.cancels, 0);
    assert_int_equal(heard(w, "SIP/2.0 200 OK"), 1);
    assert_int_equal(heard(w, "CSeq: 1 CANCEL"), 1);
    say_udp(w, request("CANCEL", "UDP", "z9hG4bKnobody", "c1", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(heard(w, "SIP/2.0 481"), 1);
    world_free(w);
}

static void the_user_may_drop_in_on_cancel(void **state)
{
    (void)state;
    struct world *w = start();
    tell.answer = 0;
    tell.drop = true;
    say_udp(w, request("INVITE", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 50 * USEC_MS);
    say_udp(w, request("CANCEL", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.cancels, 1);
    assert_int_equal(live(w), 1); /* the CANCEL's own */
    world_free(w);
}

/* ---- non-INVITE server ---- */

static void a_request_is_answered_once_and_again_on_demand(void **state)
{
    (void)state;
    struct world *w = start();
    tell.answer = 200;
    say_udp(w, request("OPTIONS", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 20 * USEC_S);
    say_udp(w, request("OPTIONS", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(w->datagrams, 2);
    assert_int_equal(tell.requests, 1);
    run(w, 13 * USEC_S);
    near(tell.gone_at - w->at[0], 32 * USEC_S); /* Timer J */
    say_udp(w, request("OPTIONS", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.requests, 2);
    world_free(w);
}

/* RFC 4320. */
static void what_may_not_be_said_to_other_requests_is_refused(void **state)
{
    (void)state;
    struct world *w = start();
    say_udp(w, request("OPTIONS", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(reply(180), ERR_STATE);
    assert_int_equal(reply(408), ERR_STATE);
    assert_int_equal(reply(100), ERR_STATE);
    run(w, 3 * USEC_S);
    assert_int_equal(w->datagrams, 0);
    run(w, USEC_S); /* at 3.5 s */
    assert_int_equal(heard(w, "SIP/2.0 100"), 1);
    act(w, loop0(w), reply_200);
    run(w, 50 * USEC_MS);
    assert_int_equal(heard(w, "SIP/2.0 200"), 1);
    assert_int_equal(reply(200), ERR_STATE);
    world_free(w);
}

static void low_timers(struct sip_config *c)
{
    c->t1 = 50 * USEC_MS;
    c->t2 = 400 * USEC_MS;
}

/* RFC 4320 §4.1: the client's Timer E counts, and he has not heard that ours are lower. */
static void lowered_timers_bring_no_100_early(void **state)
{
    (void)state;
    world_configure = low_timers;
    struct world *w = start();
    world_configure = NULL;
    say_udp(w, request("BYE", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 3400 * USEC_MS);
    assert_int_equal(reply(100), ERR_STATE);
    assert_int_equal(w->datagrams, 0);
    run(w, 200 * USEC_MS);
    assert_int_equal(heard(w, "SIP/2.0 100"), 1);
    world_free(w);
}

static void requests_of_rfc_2543_are_matched_without_a_branch(void **state)
{
    (void)state;
    struct world *w = start();
    tell.answer = 486;
    say_udp(w, request("INVITE", "UDP", "1", "c1", ""));
    say_udp(w, request("INVITE", "UDP", "1", "c1", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.requests, 1);
    say_udp(w, request("INVITE", "UDP", "1", "c2", "")); /* another Call-ID: another request */
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.requests, 2);
    say_udp(w, request("ACK", "UDP", "1", "c1", "")); /* To without our tag: no match */
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.acks, 1);
    say_udp(w, with_tag("ACK", "UDP", "1"));
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.acks, 1);
    say_udp(w, request("INVITE", "UDP", "z9hG4bK", "c3", "")); /* the bare cookie names nothing */
    say_udp(w, request("INVITE", "UDP", "z9hG4bK", "c4", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.requests, 4);
    world_free(w);
}

static void the_same_request_by_another_way_is_merged(void **state)
{
    (void)state;
    struct world *w = start();
    tell.answer = 180;
    say_udp(w, request("INVITE", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.merged, 0);
    say_udp(w, request("INVITE", "UDP", "z9hG4bKb", "c1", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.merged, 1);
    say_udp(w, with_tag("INVITE", "UDP", "z9hG4bKc")); /* in a dialog: no */
    say_udp(w, request("INVITE", "UDP", "z9hG4bKd", "c2", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.requests, 4);
    assert_int_equal(tell.merged, 1);
    world_free(w);
}

/* What the directory had no room for is found without its word. */
static void a_full_directory_hides_no_transaction(void **state)
{
    (void)state;
    struct world *w = start();
    struct home *h = sip_home(w->sip[0]);
    struct home_key key[20000];
    uint16_t slot;
    for (uint64_t i = 0; i < sizeof key / sizeof key[0]; i++) {
        key[i] = (struct home_key){.a = i * 0x9e3779b97f4a7c15u, .b = i};
        (void)home_claim(h, &key[i], 0, &slot);
    }
    tell.answer = 200;
    say_udp(w, request("OPTIONS", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(refused(w, STAT_LIMIT_DIRECTORY), 1);
    for (size_t i = 0; i < sizeof key / sizeof key[0]; i++)
        home_release(h, &key[i]);
    say_udp(w, request("OPTIONS", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.requests, 1);
    assert_int_equal(w->datagrams, 2);
    say_udp(w, request("OPTIONS", "UDP", "z9hG4bKb", "c1", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.merged, 1);
    run(w, 40 * USEC_S);
    assert_int_equal(live(w), 0);
    world_free(w);
}

/* RFC 3261 §8.1.1.7: a branch is unique. Of a client that has but one, each call is taken for what it is. */
static void a_branch_with_another_call_id_is_another_request(void **state)
{
    (void)state;
    struct world *w = start();
    tell.answer = 200;
    say_udp(w, request("OPTIONS", "UDP", "z9hG4bKa", "c1", ""));
    say_udp(w, request("OPTIONS", "UDP", "z9hG4bKa", "c2", ""));
    say_udp(w, request("OPTIONS", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.requests, 2);
    assert_int_equal(w->datagrams, 3);
    world_free(w);
}

static void transactions_are_capped(void **state)
{
    (void)state;
    struct world *w = start();
    char branch[32];
    for (int i = 0; i < 105; i++) {
        snprintf(branch, sizeof branch, "z9hG4bK%d", i);
        say_udp(w, request("INVITE", "UDP", branch, branch, ""));
    }
    run(w, 100 * USEC_MS);
    assert_int_equal(live(w), 100);
    assert_int_equal(tell.rc, ERR_NOMEM);
    assert_int_equal(refused(w, STAT_LIMIT_TRANSACTIONS), 5);
    assert_int_equal(home_entries(sip_home(w->sip[0])), 100);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell_is_as_drawn),
        cmocka_unit_test(cells_keep_the_drivers_rules),
        cmocka_unit_test(an_invite_is_answered_100_after_200_ms),
        cmocka_unit_test(a_quick_answer_spares_the_100),
        cmocka_unit_test(a_refusal_is_repeated_until_the_ack),
        cmocka_unit_test(without_an_ack_timer_h_gives_up),
        cmocka_unit_test(a_2xx_is_not_repeated_by_the_machine_and_the_invite_is_absorbed),
        cmocka_unit_test(a_user_agent_repeats_its_2xx_until_the_ack),
        cmocka_unit_test(over_a_stream_nothing_is_repeated),
        cmocka_unit_test(a_dead_connection_is_told_and_the_invite_still_absorbed),
        cmocka_unit_test(a_dropped_transaction_finishes_alone),
        cmocka_unit_test(a_cancel_is_answered_and_told),
        cmocka_unit_test(a_cancel_after_the_final_response_changes_nothing),
        cmocka_unit_test(the_user_may_drop_in_on_cancel),
        cmocka_unit_test(a_request_is_answered_once_and_again_on_demand),
        cmocka_unit_test(what_may_not_be_said_to_other_requests_is_refused),
        cmocka_unit_test(lowered_timers_bring_no_100_early),
        cmocka_unit_test(requests_of_rfc_2543_are_matched_without_a_branch),
        cmocka_unit_test(the_same_request_by_another_way_is_merged),
        cmocka_unit_test(a_full_directory_hides_no_transaction),
        cmocka_unit_test(a_branch_with_another_call_id_is_another_request),
        cmocka_unit_test(transactions_are_capped),
    };
    return crypto_start() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
