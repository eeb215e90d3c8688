/* SPDX-License-Identifier: MIT */
/* The four machines: their tables walked whole, then driven by a raw peer in virtual time. */
#include "world.h"
#include "txn/txn.h"
#include "txn/txn_tables.h"

/* ---- tables ---- */

/* Every event that can happen in a state, by what the RFCs' figures draw and by what the network may always bring. */
static const struct {
    enum txn_kind kind;
    enum txn_state state;
    uint32_t events;
} may_happen[] = {
#define E(ev)   (1u << TXN_##ev)
#define ANSWERS (E(RX_1XX) | E(RX_2XX) | E(RX_FAIL) | E(TX_ERROR))
#define ASKED   (E(RX_REQUEST) | E(RX_CANCEL) | E(TX_ERROR))
    {TXN_ICT, TXN_CALLING, ANSWERS | E(CANCEL) | E(TIMER_A) | E(TIMER_B)},
    {TXN_ICT, TXN_PROCEEDING, ANSWERS | E(CANCEL) | E(TIMER_X)},
    {TXN_ICT, TXN_ACCEPTED, ANSWERS | E(CANCEL) | E(TIMER_M)},
    {TXN_ICT, TXN_COMPLETED, ANSWERS | E(CANCEL) | E(TIMER_D)},
    {TXN_NICT, TXN_TRYING, ANSWERS | E(TIMER_E) | E(TIMER_F)},
    {TXN_NICT, TXN_PROCEEDING, ANSWERS | E(TIMER_E) | E(TIMER_F)},
    {TXN_NICT, TXN_COMPLETED, ANSWERS | E(TIMER_K)},
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
                if (ev == TXN_TX_1XX || ev == TXN_TX_2XX || ev == TXN_TX_FAIL || ev == TXN_CANCEL) {
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

/* ---- a user of transactions on the server ---- */

struct tell {
    unsigned requests, cancels, gone, responses, acks, merged;
    enum err why;
    uint16_t status[64];
    struct stxn *s;
    struct ctxn *c;
    uint16_t answer; /* at once; 0: later */
    bool drop, refuse;
    usec gone_at;
    enum err rc;
};
static struct tell tell;

static void on_gone_server(void *arg, enum err why)
{
    struct world *w = arg;
    tell.gone++;
    tell.why = why;
    tell.gone_at = sim_now(w->sim);
    tell.s = NULL;
}

static void on_cancel(void *arg, struct rx *cancel)
{
    (void)arg;
    assert_int_equal(cancel->msg.method, SIP_CANCEL);
    tell.cancels++;
    struct sip_reply r = {.status = 487, .to_tag = SV("ours")};
    if (tell.drop) {
        stxn_drop(tell.s);
        tell.s = NULL;
    } else if (stxn_reply(tell.s, &r)) {
        assert_true(tell.refuse); /* no memory, as the test wants it */
    }
}

static const struct stxn_handler server_handler = {.on_cancel = on_cancel,
                                                   .on_gone = on_gone_server};

static enum err reply(uint16_t status)
{
    struct sip_reply r = {.status = status, .to_tag = status > 100 ? SV("ours") : SV_NONE};
    return stxn_reply(tell.s, &r);
}

static void take(struct world *w, struct rx *rx)
{
    if (rx->msg.method == SIP_ACK) {
        tell.acks++;
        return;
    }
    if (rx->msg.method == SIP_CANCEL) {
        struct sip_reply r = {.status = 481};
        assert_int_equal(sip_reply(w->sip[0], rx, &r), ERR_OK);
        return;
    }
    tell.requests++;
    tell.merged += stxn_merged(w->sip[0], rx);
    tell.rc = stxn_new(w->sip[0], rx, &server_handler, w, &tell.s);
    if (tell.rc) {
        tell.s = NULL;
        return;
    }
    if (tell.answer)
        assert_int_equal(reply(tell.answer), ERR_OK);
    if (tell.drop && tell.answer) {
        stxn_drop(tell.s);
        tell.s = NULL;
    }
}

static void start_txns(struct sip *s)
{
    assert_int_equal(txn_start(s), ERR_OK);
}

static struct world *start(void)
{
    struct world *w = world_new(1, start_txns);
    memset(&tell, 0, sizeof tell);
    w->on_request = take;
    return w;
}

static size_t live(struct world *w)
{
    return sip_transactions(w->sip[0]);
}

static void near(usec at, usec want)
{
    if (at < want - 5 * USEC_MS || at > want + 20 * USEC_MS)
        fail_msg("%lld us, not %lld us", (long long)at, (long long)want);
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
static struct loop *loop0(struct world *w)
{
    return w->group->loop[0];
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

/* ---- clients ---- */

static void on_response(void *arg, struct rx *rx)
{
    (void)arg;
    if (tell.responses < 64)
        tell.status[tell.responses] = rx->msg.status;
    tell.responses++;
    if (tell.drop) {
        ctxn_drop(tell.c);
        tell.c = NULL;
    }
}

static void on_gone_client(void *arg, enum err why)
{
    on_gone_server(arg, why);
    ctxn_drop(tell.c); /* allowed, and nothing */
    tell.c = NULL;
}

static const struct ctxn_handler client_handler = {.on_response = on_response,
                                                   .on_gone = on_gone_client};

static enum sip_transport out_transport = SIP_T_UDP;
static const char *out_method;

static void begin_client(struct world *w)
{
    struct sip *s = w->sip[0];
    struct dest d = {.transport = out_transport, .addr = address(PEER_IP, PEER_PORT)};
    struct flow f;
    struct buf b;
    sv branch;
    struct block *octets = sip_block(s, 1500);
    if (!octets) {
        tell.rc = ERR_NOMEM;
        return;
    }
    assert_int_equal(sip_flow_for(s, &d, &f), ERR_OK);
    buf_init(&b, octets->p, octets->cap);
    buf_printf(&b, "%s sip:carol@%s:5070 SIP/2.0\r\nVia: ", out_method, PEER_IP);
    sip_put_via(s, &b, &f, 0, SV(".1"), &branch);
    buf_printf(&b,
               "\r\nRoute: <sip:one@example.com;lr>\r\nRoute: <sip:two@example.com;lr>\r\n"
               "Max-Forwards: 69\r\nFrom: <sip:alice@example.com>;tag=a1\r\n"
               "To: <sip:carol@example.com>\r\nCall-ID: out1\r\nCSeq: 7 %s\r\n"
               "Content-Length: 0\r\n\r\n",
               out_method);
    octets->n = (uint32_t)b.n;
    tell.rc = ctxn_new(s, &d, octets, 0, &client_handler, w, &tell.c);
    block_unref(octets);
    assert_int_equal(tell.responses + tell.gone, 0);
}

static struct world *start_client(const char *method, enum sip_transport t)
{
    struct world *w = start();
    out_method = method;
    out_transport = t;
    act(w, w->group->loop[0], begin_client);
    assert_int_equal(tell.rc, ERR_OK);
    run(w, 20 * USEC_MS);
    assert_non_null(strstr(w->inbox, method));
    return w;
}

/* The peer answers the last request it heard of method. */
static const char *answer_text(struct world *w, const char *method, int status, const char *tag)
{
    static char text[2048];
    const char *at = NULL, *next = w->inbox;
    size_t n = strlen(method);
    for (const char *p = w->inbox; (p = strstr(p, method)) != NULL; p++)
        if (p[n] == ' ' && (p == w->inbox || p[-1] == '\n'))
            at = p;
    assert_non_null(at);
    next = strstr(at, "Via: ");
    assert_non_null(next);
    snprintf(text, sizeof text,
             "SIP/2.0 %d Whatever\r\n%.*s\r\nFrom: <sip:alice@example.com>;tag=a1\r\n"
             "To: <sip:carol@example.com>;tag=%s\r\nCall-ID: out1\r\nCSeq: 7 %s\r\n"
             "Content-Length: 0\r\n\r\n",
             status, (int)strcspn(next, "\r"), next, tag, method);
    return text;
}

static void answer_udp(struct world *w, const char *method, int status, const char *tag)
{
    say_udp(w, answer_text(w, method, status, tag));
    run(w, 20 * USEC_MS);
}

static void an_invite_is_repeated_until_timer_b(void **state)
{
    (void)state;
    struct world *w = start_client("INVITE", SIP_T_UDP);
    run(w, 40 * USEC_S);
    /* 0, .5, 1.5, 3.5, 7.5, 15.5, 31.5 */
    assert_int_equal(w->datagrams, 7);
    near(w->at[6] - w->at[5], 16 * USEC_S);
    near(tell.gone_at - w->at[0], 32 * USEC_S);
    assert_int_equal(tell.why, ERR_TIMEOUT);
    assert_int_equal(tell.gone, 1);
    assert_int_equal(stat_of(w, STAT_SIP_RETRANSMITS_TX), 6);
    assert_int_equal(live(w), 0);
    world_free(w);
}

static void a_provisional_response_stops_the_repetition(void **state)
{
    (void)state;
    struct world *w = start_client("INVITE", SIP_T_UDP);
    answer_udp(w, "INVITE", 100, "x");
    answer_udp(w, "INVITE", 180, "x");
    run(w, 100 * USEC_S);
    assert_int_equal(w->datagrams, 1);
    assert_int_equal(tell.responses, 2);
    assert_int_equal(tell.gone, 0);
    assert_int_equal(live(w), 1);
    world_free(w);
    assert_int_equal(tell.why, ERR_CANCELLED);
}

static void a_refusal_is_acked_each_time_and_told_once(void **state)
{
    (void)state;
    struct world *w = start_client("INVITE", SIP_T_UDP);
    answer_udp(w, "INVITE", 486, "busy");
    assert_int_equal(heard(w, "ACK sip:carol@192.0.2.99:5070 SIP/2.0\r\n"), 1);
    assert_int_equal(heard(w, "CSeq: 7 ACK\r\n"), 1);
    assert_int_equal(heard(w, "To: <sip:carol@example.com>;tag=busy\r\n"), 1);
    assert_int_equal(heard(w, "Route: <sip:one@example.com;lr>\r\nRoute: <sip:two@"), 2);
    const char *invite = strstr(w->inbox, "branch="),
               *ack = strstr(strstr(w->inbox, "ACK "), "branch=");
    assert_int_equal(strncmp(invite, ack, strcspn(invite, "\r")), 0); /* §17.1.1.3: the same Via */
    answer_udp(w, "INVITE", 486, "busy");
    answer_udp(w, "INVITE", 486, "busy");
    assert_int_equal(heard(w, "ACK sip:carol"), 3);
    answer_udp(w, "INVITE", 200, "busy"); /* nonsense now */
    assert_int_equal(tell.responses, 1);
    assert_int_equal(tell.status[0], 486);
    usec final = sim_now(w->sim);
    run(w, 33 * USEC_S);
    assert_int_equal(tell.gone, 1);
    assert_int_equal(tell.why, ERR_OK);
    near(tell.gone_at - final, 32 * USEC_S - 80 * USEC_MS); /* Timer D */
    answer_udp(w, "INVITE", 486, "busy");
    assert_int_equal(stat_of(w, STAT_SIP_STRAY), 1);
    assert_int_equal(w->strays, 1);
    world_free(w);
}

static void each_2xx_is_told_and_none_acked(void **state)
{
    (void)state;
    struct world *w = start_client("INVITE", SIP_T_UDP);
    answer_udp(w, "INVITE", 180, "f1");
    answer_udp(w, "INVITE", 200, "f1");
    answer_udp(w, "INVITE", 200, "f2");
    answer_udp(w, "INVITE", 200, "f1");
    answer_udp(w, "INVITE", 180, "f3");
    answer_udp(w, "INVITE", 486, "f3");
    assert_int_equal(tell.responses, 4);
    assert_int_equal(heard(w, "ACK sip:carol"), 0);
    run(w, 33 * USEC_S); /* Timer M */
    assert_int_equal(tell.gone, 1);
    assert_int_equal(tell.why, ERR_OK);
    assert_int_equal(live(w), 0);
    world_free(w);
}

static void an_answer_must_fit_branch_method_and_sent_by(void **state)
{
    (void)state;
    struct world *w = start_client("INVITE", SIP_T_UDP);
    char text[2048];
    snprintf(text, sizeof text, "%s", answer_text(w, "INVITE", 200, "x"));
    *strstr(text, ".1;rport") = '_'; /* another suffix: the mark is ours, the branch is nobody's */
    say_udp(w, text);
    snprintf(text, sizeof text, "%s", answer_text(w, "INVITE", 200, "x"));
    memcpy(strstr(text, "192.0.2.1"), "192.0.2.8", 9);
    say_udp(w, text);
    snprintf(text, sizeof text, "%s", answer_text(w, "INVITE", 200, "x"));
    memcpy(strstr(text, "7 INVITE"), "7 UPDATE", 8);
    say_udp(w, text);
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.responses, 0);
    assert_int_equal(stat_of(w, STAT_SIP_STRAY), 3);
    answer_udp(w, "INVITE", 200, "x");
    assert_int_equal(tell.responses, 1);
    world_free(w);
}

static void cancel_now(struct world *w)
{
    (void)w;
    ctxn_cancel(tell.c, SV("SIP;cause=200"));
    ctxn_cancel(tell.c, SV_NONE); /* once is enough */
}

static void a_cancel_waits_for_a_provisional_response(void **state)
{
    (void)state;
    struct world *w = start_client("INVITE", SIP_T_UDP);
    act(w, loop0(w), cancel_now);
    run(w, 300 * USEC_MS);
    assert_int_equal(heard(w, "CANCEL sip:"), 0);
    answer_udp(w, "INVITE", 180, "x");
    assert_int_equal(heard(w, "CANCEL sip:carol@192.0.2.99:5070 SIP/2.0\r\n"), 1);
    assert_int_equal(heard(w, "Reason: SIP;cause=200\r\n"), 1);
    assert_int_equal(heard(w, "CSeq: 7 CANCEL\r\n"), 1);
    assert_int_equal(heard(w, "Route: <sip:one@"), 2);
    const char *invite = strstr(w->inbox, "branch="),
               *cancel = strstr(strstr(w->inbox, "CANCEL "), "branch=");
    assert_int_equal(strncmp(invite, cancel, strcspn(invite, "\r")), 0);
    answer_udp(w, "CANCEL", 200, "x");
    answer_udp(w, "INVITE", 487, "x");
    assert_int_equal(heard(w, "ACK sip:"), 1);
    assert_int_equal(tell.responses, 2);
    assert_int_equal(tell.status[1], 487);
    run(w, 40 * USEC_S);
    assert_int_equal(tell.why, ERR_OK);
    assert_int_equal(live(w), 0);
    assert_int_equal(heard(w, "CANCEL sip:"), 1);
    world_free(w);
}

static void a_cancel_is_repeated_and_the_invite_ends_without_an_answer(void **state)
{
    (void)state;
    struct world *w = start_client("INVITE", SIP_T_UDP);
    answer_udp(w, "INVITE", 180, "x");
    usec from = sim_now(w->sim);
    act(w, loop0(w), cancel_now);
    run(w, 40 * USEC_S);
    assert_int_equal(heard(w, "CANCEL sip:"), 11); /* Timer E: .5 1 2 4 4 ... */
    assert_int_equal(tell.gone, 1);
    assert_int_equal(tell.why, ERR_TIMEOUT);
    near(tell.gone_at - from, 32 * USEC_S);
    assert_int_equal(live(w), 0);
    world_free(w);
}

static void a_200_that_crosses_the_cancel_is_told(void **state)
{
    (void)state;
    struct world *w = start_client("INVITE", SIP_T_UDP);
    answer_udp(w, "INVITE", 180, "x");
    act(w, loop0(w), cancel_now);
    answer_udp(w, "INVITE", 200, "x");
    answer_udp(w, "CANCEL", 481, "x");
    assert_int_equal(tell.responses, 2);
    assert_int_equal(tell.status[1], 200);
    act(w, loop0(w), cancel_now); /* nothing after a final response */
    run(w, 33 * USEC_S);
    assert_int_equal(heard(w, "CANCEL sip:"), 1);
    assert_int_equal(tell.why, ERR_OK);
    world_free(w);
}

static void a_dropped_invite_is_cancelled(void **state)
{
    (void)state;
    struct world *w = start_client("INVITE", SIP_T_UDP);
    tell.drop = true; /* in on_response */
    answer_udp(w, "INVITE", 180, "x");
    run(w, 50 * USEC_MS);
    assert_int_equal(heard(w, "CANCEL sip:"), 1);
    answer_udp(w, "INVITE", 487, "x");
    run(w, 40 * USEC_S);
    assert_int_equal(tell.responses, 1);
    assert_int_equal(tell.gone, 0);
    assert_int_equal(live(w), 0);
    world_free(w);
}

static void a_request_is_repeated_up_to_t2(void **state)
{
    (void)state;
    struct world *w = start_client("OPTIONS", SIP_T_UDP);
    run(w, 40 * USEC_S);
    assert_int_equal(w->datagrams, 11);
    near(w->at[1] - w->at[0], 500 * USEC_MS);
    near(w->at[4] - w->at[3], 4 * USEC_S);
    near(w->at[10] - w->at[9], 4 * USEC_S);
    assert_int_equal(tell.why, ERR_TIMEOUT);
    near(tell.gone_at - w->at[0], 32 * USEC_S);
    world_free(w);
}

static void after_a_100_a_request_is_repeated_every_t2(void **state)
{
    (void)state;
    struct world *w = start_client("OPTIONS", SIP_T_UDP);
    answer_udp(w, "OPTIONS", 100, "x");
    run(w, 9 * USEC_S);
    assert_int_equal(w->datagrams, 4); /* 0, .5, 4.5, 8.5 */
    near(w->at[2] - w->at[1], 4 * USEC_S);
    answer_udp(w, "OPTIONS", 200, "x");
    answer_udp(w, "OPTIONS", 200, "x");
    answer_udp(w, "OPTIONS", 500, "x");
    assert_int_equal(tell.responses, 2);
    assert_int_equal(tell.gone, 0);
    run(w, 6 * USEC_S); /* Timer K */
    assert_int_equal(tell.gone, 1);
    assert_int_equal(tell.why, ERR_OK);
    world_free(w);
}

static void streams_repeat_nothing_and_end_at_once(void **state)
{
    (void)state;
    struct world *w = start_client("INVITE", SIP_T_TCP);
    run(w, 20 * USEC_S);
    assert_int_equal(heard(w, "INVITE sip:"), 1);
    say_tcp(w, sv_of(answer_text(w, "INVITE", 486, "x")));
    run(w, 50 * USEC_MS); /* Timer D is zero */
    assert_int_equal(heard(w, "ACK sip:"), 1);
    assert_int_equal(tell.responses, 1);
    assert_int_equal(tell.gone, 1);
    assert_int_equal(live(w), 0);
    world_free(w);
    w = start_client("OPTIONS", SIP_T_TCP);
    say_tcp(w, sv_of(answer_text(w, "OPTIONS", 200, "x")));
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.gone, 1);
    world_free(w);
    w = start_client("OPTIONS", SIP_T_TCP);
    run(w, 33 * USEC_S);
    assert_int_equal(heard(w, "OPTIONS sip:"), 1);
    assert_int_equal(tell.why, ERR_TIMEOUT);
    world_free(w);
}

static void a_dead_connection_ends_the_client(void **state)
{
    (void)state;
    struct world *w = start_client("OPTIONS", SIP_T_TCP);
    stream_close(w->stream, false);
    w->stream = NULL;
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.gone, 1);
    assert_int_equal(tell.why, ERR_CLOSED);
    assert_int_equal(live(w), 0);
    world_free(w);
    w = start();
    listener_close(w->listener);
    w->listener = NULL;
    out_method = "INVITE";
    act(w, loop0(w), begin_client);
    assert_int_equal(tell.rc, ERR_OK);
    run(w, 50 * USEC_MS);
    assert_int_equal(tell.gone, 1);
    assert_int_equal(tell.why, ERR_REFUSED);
    world_free(w);
}

static void nowhere_to_send_is_said_at_once(void **state)
{
    (void)state;
    struct world *w = start();
    out_method = "OPTIONS";
    out_transport = SIP_T_TCP;
    struct dest d = {.transport = SIP_T_TLS, .addr = address(PEER_IP, 5061)};
    struct dest u = {.transport = SIP_T_UDP, .addr = address(PEER_IP, 5061)};
    struct block *octets = sip_block(w->sip[0], 1000);
    struct ctxn *c;
    octets->n = (uint32_t)snprintf(octets->p, octets->cap, "%s",
                                   request("OPTIONS", "TLS", "z9hG4bKa", "c", ""));
    assert_int_equal(ctxn_new(w->sip[0], &d, octets, 0, &client_handler, w, &c), ERR_UNREACHABLE);
    octets->n = (uint32_t)snprintf(octets->p, octets->cap, "%s",
                                   request("ACK", "UDP", "z9hG4bKa", "c", ""));
    assert_int_equal(ctxn_new(w->sip[0], &u, octets, 0, &client_handler, w, &c), ERR_STATE);
    octets->n = 10;
    assert_int_equal(ctxn_new(w->sip[0], &u, octets, 0, &client_handler, w, &c), ERR_SYNTAX);
    block_unref(octets);
    assert_int_equal(live(w), 0);
    world_free(w);
}

/* ---- loss, workers, memory ---- */

struct pair {
    unsigned finals, told, gone, bad;
};
static struct pair pair;

static void pair_response(void *arg, struct rx *rx)
{
    (void)arg;
    pair.finals += rx->msg.status >= 200;
}
static void pair_gone(void *arg, enum err why)
{
    (void)arg;
    pair.gone++;
    pair.bad += why != ERR_OK;
}
static const struct ctxn_handler pair_handler = {.on_response = pair_response,
                                                 .on_gone = pair_gone};

static void pair_take(struct world *w, struct rx *rx)
{
    struct sip_reply r = {.status = rx->msg.method == SIP_INVITE ? 486 : 200, .to_tag = SV("t")};
    struct stxn *t;
    unsigned worker = home_worker(sip_home(w->sip[0]), rx->slot);
    if (rx->msg.method == SIP_ACK)
        return;
    pair.told++;
    assert_int_equal(stxn_new(w->sip[worker], rx, &server_handler, w, &t), ERR_OK);
    assert_int_equal(stxn_reply(t, &r), ERR_OK);
    stxn_drop(t);
}

/* From one worker to the peer, who reflects: so the server calls itself through a bad wire. */
static unsigned sender;
static void send_some(struct world *w)
{
    static unsigned serial;
    struct sip *s = w->sip[sender];
    struct dest d = {.transport = SIP_T_UDP, .addr = address(PEER_IP, PEER_PORT)};
    for (unsigned i = 0; i < 12 / w->workers; i++, serial++) {
        struct flow f;
        struct buf b;
        sv branch;
        struct ctxn *c;
        const char *method = i % 2 ? "INVITE" : "MESSAGE";
        uint16_t slot = home_slot(sip_home(s), sender, serial);
        struct block *octets = sip_block(s, 1500);
        assert_int_equal(sip_flow_for(s, &d, &f), ERR_OK);
        buf_init(&b, octets->p, octets->cap);
        buf_printf(&b, "%s sip:carol@" PEER_IP " SIP/2.0\r\nVia: ", method);
        sip_put_via(s, &b, &f, slot, SV(".1"), &branch);
        buf_printf(&b,
                   "\r\nMax-Forwards: 69\r\nFrom: <sip:a@b>;tag=%u\r\nTo: <sip:c@d>\r\n"
                   "Call-ID: loss%u\r\nCSeq: 7 %s\r\nContent-Length: 0\r\n\r\n",
                   serial, serial, method);
        octets->n = (uint32_t)b.n;
        assert_int_equal(ctxn_new(s, &d, octets, slot, &pair_handler, w, &c), ERR_OK);
        block_unref(octets);
    }
}

/* The peer's process is a reflector: it sends every datagram back to the server, so that requests come in as
 * new ones and responses as answers. */
static void reflect(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    struct world *w = arg;
    struct addr server = address(SERVER_IP, 5060);
    sv piece = block_sv(b);
    (void)from;
    (void)to;
    assert_int_equal(udp_send(w->udp, NULL, &server, &piece, 1), ERR_OK);
}
static const struct udp_handler reflector = {.on_datagram = reflect};

static void under_loss_every_request_gets_one_final_response(void **state)
{
    (void)state;
    world_transactions = 1000;
    for (unsigned workers = 1; workers <= 4; workers++) {
        struct world *w = world_new(workers, start_txns);
        struct addr peer = address(PEER_IP, PEER_PORT);
        memset(&pair, 0, sizeof pair);
        w->on_request = pair_take;
        udp_close(w->udp);
        assert_int_equal(udp_open(w->peer, &peer, &reflector, w, &w->udp), ERR_OK);
        sim_random_steering(w->sim, true);
        sim_set_wire(w->sim, &(struct sim_wire){.loss_permille = 150,
                                                .dup_permille = 80,
                                                .delay_min = USEC_MS,
                                                .delay_max = 60 * USEC_MS,
                                                .reorder_permille = 100,
                                                .reorder_by = 300 * USEC_MS});
        for (int i = 0; i < 10; i++) {
            for (sender = 0; sender < workers; sender++)
                act(w, w->group->loop[sender], send_some);
            run(w, 500 * USEC_MS);
        }
        run(w, 120 * USEC_S);
        assert_int_equal(pair.told, 120);
        assert_int_equal(pair.finals, 120);
        assert_int_equal(pair.gone, 120);
        assert_int_equal(pair.bad, 0);
        for (unsigned k = 0; k < workers; k++)
            assert_int_equal(sip_transactions(w->sip[k]), 0);
        assert_int_equal(home_entries(sip_home(w->sip[0])), 0);
        assert_int_equal(stat_of(w, STAT_SIP_TXN_BROKEN), 0);
        if (workers > 1)
            assert_true(stat_of(w, STAT_HANDOVERS) > 50);
        world_free(w);
    }
    world_transactions = 100;
}

static void a_world_leaves_nothing_behind(void **state)
{
    (void)state;
    size_t before = mem_live();
    for (int k = 0; k < 8; k++) { /* stopped, killed; at different moments */
        struct world *w = start_client(k & 2 ? "OPTIONS" : "INVITE", k & 4 ? SIP_T_TCP : SIP_T_UDP);
        tell.answer = 180;
        say_udp(w, request("INVITE", "UDP", "z9hG4bKa", "c1", ""));
        say_udp(w, request("CANCEL", "UDP", "z9hG4bKa", "c1", ""));
        run(w, k / 2 * 20 * USEC_MS);
        world_end(w, k % 2);
    }
    assert_int_equal(mem_live(), before);
}

/* Each allocation in turn is refused: nothing breaks, nothing leaks, and the machines still end. */
static void no_memory_is_survived(void **state)
{
    (void)state;
    for (size_t n = 1; n < 40; n++) {
        struct world *w = start();
        tell.refuse = true;
        say_udp(w, request("INVITE", "UDP", "z9hG4bKa", "c1", ""));
        mem_fail_after(n);
        run(w, 300 * USEC_MS);
        say_udp(w, request("CANCEL", "UDP", "z9hG4bKa", "c1", ""));
        run(w, 100 * USEC_MS);
        mem_fail_after(0);
        say_udp(w, request("ACK", "UDP", "z9hG4bKa", "c1", ""));
        run(w, 100 * USEC_S);
        if (tell.s)
            stxn_drop(tell.s);
        assert_int_equal(live(w), 0);
        world_free(w);
    }
}

static void begin_client_without_memory(struct world *w)
{
    mem_fail_after((size_t)(uintptr_t)tell.c);
    tell.c = NULL;
    begin_client(w);
}

static void no_memory_at_the_client_is_survived(void **state)
{
    (void)state;
    for (size_t n = 1; n < 30; n++) {
        struct world *w = start();
        out_method = "INVITE";
        out_transport = n % 2 ? SIP_T_UDP : SIP_T_TCP;
        tell.c = (struct ctxn *)(uintptr_t)n; /* when the first allocation fails */
        act(w, loop0(w), begin_client_without_memory);
        run(w, 50 * USEC_MS);
        if (tell.c)
            act(w, loop0(w), cancel_now);
        mem_fail_after(0);
        if (w->inbox_n && out_transport == SIP_T_UDP) {
            answer_udp(w, "INVITE", 180, "x");
            mem_fail_after(n);
            answer_udp(w, "INVITE", 486, "x");
            mem_fail_after(0);
            answer_udp(w, "INVITE", 486, "x");
        }
        run(w, 100 * USEC_S);
        assert_int_equal(live(w), 0);
        assert_int_equal(tell.gone, tell.rc ? 0 : 1);
        world_free(w);
    }
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
        cmocka_unit_test(requests_of_rfc_2543_are_matched_without_a_branch),
        cmocka_unit_test(the_same_request_by_another_way_is_merged),
        cmocka_unit_test(transactions_are_capped),
        cmocka_unit_test(an_invite_is_repeated_until_timer_b),
        cmocka_unit_test(a_provisional_response_stops_the_repetition),
        cmocka_unit_test(a_refusal_is_acked_each_time_and_told_once),
        cmocka_unit_test(each_2xx_is_told_and_none_acked),
        cmocka_unit_test(an_answer_must_fit_branch_method_and_sent_by),
        cmocka_unit_test(a_cancel_waits_for_a_provisional_response),
        cmocka_unit_test(a_cancel_is_repeated_and_the_invite_ends_without_an_answer),
        cmocka_unit_test(a_200_that_crosses_the_cancel_is_told),
        cmocka_unit_test(a_dropped_invite_is_cancelled),
        cmocka_unit_test(a_request_is_repeated_up_to_t2),
        cmocka_unit_test(after_a_100_a_request_is_repeated_every_t2),
        cmocka_unit_test(streams_repeat_nothing_and_end_at_once),
        cmocka_unit_test(a_dead_connection_ends_the_client),
        cmocka_unit_test(nowhere_to_send_is_said_at_once),
        cmocka_unit_test(under_loss_every_request_gets_one_final_response),
        cmocka_unit_test(a_world_leaves_nothing_behind),
        cmocka_unit_test(no_memory_is_survived),
        cmocka_unit_test(no_memory_at_the_client_is_survived),
    };
    return crypto_start() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
