/* SPDX-License-Identifier: MIT */
/* The client machines driven by a raw peer in virtual time; both sides under loss, over workers,
 * without memory. */
#include "txn_user.h"

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
    struct txn_key key = ctxn_key(s, branch, sip_method_of(sv_of(out_method)), sv_of(out_method));
    tell.rc = ctxn_new(s, &d, octets, &key, &client_handler, w, &tell.c);
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

/* Begun after one another, ended out of turn: the first and the second by Timer F, the third by Timer K. */
static void each_transaction_ends_at_its_own_time(void **state)
{
    (void)state;
    struct world *w = start_client("OPTIONS", SIP_T_UDP);
    for (int i = 0; i < 2; i++) {
        run(w, 5 * USEC_S);
        act(w, w->group->loop[0], begin_client);
    }
    run(w, 20 * USEC_MS);
    answer_udp(w, "OPTIONS", 200, "x");
    assert_int_equal(tell.responses, 1);
    run(w, 4900 * USEC_MS);
    assert_int_equal(live(w), 3);
    run(w, 200 * USEC_MS); /* at 15.2 s: T4 after the answer */
    assert_int_equal(live(w), 2);
    run(w, 16700 * USEC_MS);
    assert_int_equal(live(w), 2);
    run(w, 200 * USEC_MS); /* at 32.1 s */
    assert_int_equal(live(w), 1);
    assert_int_equal(tell.why, ERR_TIMEOUT);
    run(w, 4800 * USEC_MS);
    assert_int_equal(live(w), 1);
    run(w, 200 * USEC_MS); /* at 37.1 s */
    assert_int_equal(live(w), 0);
    assert_int_equal(tell.gone, 3);
    world_free(w);
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

static void give_up_now(struct world *w)
{
    (void)w;
    ctxn_give_up(tell.c);
    ctxn_give_up(tell.c);
    ctxn_cancel(tell.c, SV_NONE); /* it is */
}

/* RFC 3263 §4.3: another server was asked. This one is not asked again, but what it says is heard. */
static void an_invite_that_was_given_up_is_not_repeated(void **state)
{
    (void)state;
    struct world *w = start_client("INVITE", SIP_T_UDP);
    run(w, 100 * USEC_MS);
    act(w, loop0(w), give_up_now);
    run(w, 10 * USEC_S);
    assert_int_equal(w->datagrams, 1);
    answer_udp(w, "INVITE", 180, "x");
    assert_int_equal(heard(w, "CANCEL sip:"), 1);
    assert_int_equal(tell.status[0], 180);
    answer_udp(w, "CANCEL", 200, "x");
    answer_udp(w, "INVITE", 200, "x");
    assert_int_equal(tell.status[1], 200);
    run(w, 40 * USEC_S);
    assert_int_equal(tell.gone, 1);
    assert_int_equal(live(w), 0);
    world_free(w);
    /* Nothing more comes: Timer B all the same. */
    w = start_client("INVITE", SIP_T_UDP);
    act(w, loop0(w), give_up_now);
    run(w, 40 * USEC_S);
    assert_int_equal(w->datagrams, 1);
    assert_int_equal(tell.why, ERR_TIMEOUT);
    near(tell.gone_at - w->at[0], 32 * USEC_S);
    world_free(w);
}

static void a_request_that_was_given_up_is_not_repeated(void **state)
{
    (void)state;
    for (int provisional = 0; provisional < 2; provisional++) {
        struct world *w = start_client("OPTIONS", SIP_T_UDP);
        if (provisional)
            answer_udp(w, "OPTIONS", 100, "x");
        act(w, loop0(w), give_up_now);
        run(w, 10 * USEC_S);
        assert_int_equal(w->datagrams, 1);
        answer_udp(w, "OPTIONS", 200, "x");
        assert_int_equal(tell.status[provisional], 200);
        run(w, 10 * USEC_S);
        assert_int_equal(live(w), 0);
        world_free(w);
    }
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
    struct txn_key key = ctxn_key(w->sip[0], SV("z9hG4bKa"), SIP_OPTIONS, SV("OPTIONS"));
    assert_int_equal(ctxn_new(w->sip[0], &d, octets, &key, &client_handler, w, &c),
                     ERR_UNREACHABLE);
    key = ctxn_key(w->sip[0], SV("z9hG4bKa"), SIP_ACK, SV("ACK"));
    assert_int_equal(ctxn_new(w->sip[0], &u, octets, &key, &client_handler, w, &c), ERR_STATE);
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
        struct txn_key key = ctxn_key(s, branch, sip_method_of(sv_of(method)), sv_of(method));
        assert_int_equal(ctxn_new(s, &d, octets, &key, &pair_handler, w, &c), ERR_OK);
        block_unref(octets);
    }
}

/* The peer's process is a reflector: it sends every datagram back to the server, so that
 * requests come in as
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
        cmocka_unit_test(an_invite_is_repeated_until_timer_b),
        cmocka_unit_test(a_provisional_response_stops_the_repetition),
        cmocka_unit_test(each_transaction_ends_at_its_own_time),
        cmocka_unit_test(a_refusal_is_acked_each_time_and_told_once),
        cmocka_unit_test(each_2xx_is_told_and_none_acked),
        cmocka_unit_test(an_answer_must_fit_branch_method_and_sent_by),
        cmocka_unit_test(a_cancel_waits_for_a_provisional_response),
        cmocka_unit_test(a_cancel_is_repeated_and_the_invite_ends_without_an_answer),
        cmocka_unit_test(a_200_that_crosses_the_cancel_is_told),
        cmocka_unit_test(a_dropped_invite_is_cancelled),
        cmocka_unit_test(an_invite_that_was_given_up_is_not_repeated),
        cmocka_unit_test(a_request_that_was_given_up_is_not_repeated),
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
