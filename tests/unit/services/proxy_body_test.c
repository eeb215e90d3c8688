/* SPDX-License-Identifier: MIT */
/* Session descriptions that a watcher exchanges on their way: each branch gets its own, what is sent again
 * is the same, and each leg is told gone once. */
#include "proxy_body_rig.h"

/* Both ways, with all repetitions; a message without a body gets none. */
static void test_offer_and_answer(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct exchanger *x = x_of(b);
    ask(b, "INVITE", "one", CONTACT);
    const char *in = find_raw(r, BOB, "INVITE");
    has_body(in, TO_0);
    assert_string_equal(value(in, "Content-Type"), "application/sdp");
    rig_run(r, 600 * USEC_MS);
    assert_int_equal(heard(r, BOB, "INVITE"), 2); /* T1 */
    assert_string_equal(r->peer[BOB].raw[1], in);
    assert_int_equal(x->leg[0].asked, 1);
    say(r, BOB, reply(in, 180, "b1", ""));
    assert_non_null(strstr(find_raw(r, ALICE, "SIP/2.0 180"), "Content-Length: 0\r\n\r\n"));
    say(r, BOB, with_sdp(reply(in, 183, "b1", "")));
    has_body(find_raw(r, ALICE, "SIP/2.0 183"), FROM_0);
    /* The caller asks again: what was said last. */
    rig_clear(r);
    say(r, ALICE, with_sdp(request(r, ALICE, "INVITE", THERE, TO_BOB, "one", CONTACT)));
    has_body(find_raw(r, ALICE, "SIP/2.0 183"), FROM_0);
    const char *ok = with_sdp(reply(in, 200, "b1", "Contact: <sip:bob@192.0.2.12:5060>\r\n"));
    say(r, BOB, ok);
    has_body(find_raw(r, ALICE, "SIP/2.0 200"), FROM_0);
    assert_int_equal(b->gone, 1); /* the watch ends; who exchanges bodies is still needed */
    rig_run(r, 20 * USEC_S);
    rig_clear(r);
    say(r, BOB, ok);
    has_body(find_raw(r, ALICE, "SIP/2.0 200"), FROM_0);
    assert_int_equal(x->leg[0].gone, 0);
    bench_quiet(b);
    assert_int_equal(x->leg[0].gone, 1);
    assert_int_equal(x->over, 1);
    assert_int_equal(x->legs, 1);
}

/* The answer is in the ACK, which has no state. */
static void test_ack(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    char route[256], answer[MESSAGE];
    say(r, ALICE, request(r, ALICE, "INVITE", THERE, TO_BOB, "late", CONTACT));
    rig_run(r, 120 * USEC_MS);
    const char *in = find_raw(r, BOB, "INVITE");
    /* an offer of its own could be put in */
    has_body(in, TO_0);
    assert_string_equal(value(in, "Content-Type"), "application/sdp");
    say(r, BOB, with_sdp(reply(in, 200, "b1", "Contact: <sip:bob@192.0.2.12:5060>\r\n")));
    const char *ok = find_raw(r, ALICE, "SIP/2.0 200");
    has_body(ok, FROM_0);
    snprintf(route, sizeof(route), "%s", value(ok, "Record-Route"));
    char *text = scratch();
    snprintf(
        text, MESSAGE,
        "ACK sip:bob@192.0.2.12:5060 SIP/2.0\r\nVia: SIP/2.0/UDP "
        "192.0.2.11:5060;branch=z9hG4bKack\r\nRoute: %s\r\nFrom: "
        "<sip:alice@example.com>;tag=a1\r\nTo: <sip:bob@example.com>;tag=b1\r\nCall-ID: late\r\n"
        "CSeq: 1 ACK\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        route);
    snprintf(answer, sizeof(answer), "%s", with_sdp(text));
    b->ack = SV("v=0\r\ns=ack\r\n");
    say(r, ALICE, answer);
    has_body(find_raw(r, BOB, "ACK"), "v=0\r\ns=ack\r\n");
    b->ack = SV_NONE;
    rig_clear(r);
    say(r, ALICE, answer);
    has_body(find_raw(r, BOB, "ACK"), SDP);
    bench_quiet(b);
}

/* Each branch has its own; a loser's leg goes at once when it ends, and its late 2xx is exchanged too. */
static void test_forks(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct exchanger *x = x_of(b);
    b->next.n = 3;
    b->target[1].uri = SV("sip:desk@there.example.net");
    b->target[2].uri = SV("sip:far@there.example.net");
    ask(b, "INVITE", "fork", CONTACT);
    const char *bob = find_raw(r, BOB, "INVITE"), *desk = find_raw(r, DESK, "INVITE");
    has_body(bob, TO_0);
    has_body(desk, TO_1);
    has_body(find_raw(r, STRANGER, "INVITE"), "v=0\r\ns=to 2\r\na=0\r\n");
    say(r, STRANGER, reply(find_raw(r, STRANGER, "INVITE"), 486, "s1", ""));
    assert_int_equal(x->leg[2].gone, 1);
    say(r, DESK, with_sdp(reply(desk, 183, "d1", "")));
    has_body(find_raw(r, ALICE, "SIP/2.0 183"), FROM_1);
    say(r, BOB, with_sdp(reply(bob, 200, "b1", "Contact: <sip:bob@192.0.2.12:5060>\r\n")));
    has_body(find_raw(r, ALICE, "SIP/2.0 200"), FROM_0);
    assert_int_equal(heard(r, DESK, "CANCEL"), 1);
    assert_null(strstr(find_raw(r, DESK, "CANCEL"), "v=0"));
    rig_clear(r);
    say(r, DESK, with_sdp(reply(desk, 200, "d1", "Contact: <sip:desk@192.0.2.13:5060>\r\n")));
    has_body(find_raw(r, ALICE, "SIP/2.0 200"), FROM_1);
    assert_int_equal(x->leg[0].gone + x->leg[1].gone, 0);
    bench_quiet(b);
    assert_int_equal(x->leg[0].gone + x->leg[1].gone, 2);
    assert_int_equal(x->legs, 3);
    assert_int_equal(x->over, 1);
}

/* It failed and the others go on: its leg is gone before its answer is chosen. */
static void test_best(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct exchanger *x = x_of(b);
    b->next.n = 2;
    b->target[1].uri = SV("sip:desk@there.example.net");
    ask(b, "INVITE", "best", CONTACT);
    say(r, BOB, with_sdp(reply(find_raw(r, BOB, "INVITE"), 415, "b1", "")));
    assert_int_equal(x->leg[0].gone, 1);
    say(r, DESK, reply(find_raw(r, DESK, "INVITE"), 500, "d1", ""));
    assert_true(x->no_leg);
    has_body(find_raw(r, ALICE, "SIP/2.0 415"), SDP);
    ack(b, "best", find_got(r, ALICE, "SIP/2.0 415"));
    bench_quiet(b);
    assert_int_equal(x->leg[0].gone + x->leg[1].gone, 2);
}

/* The next server is asked about anew, with the same leg; a repetition over UDP of what TCP could not
 * bring is not. */
static void test_servers(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct exchanger *x = x_of(b);
    zone(b, "there.example.net NAPTR 600 10 10 \"s\" \"SIP+D2U\" \"\" _sip._udp.there.example.net\n"
            "_sip._udp.there.example.net SRV 600 1 0 5060 one.example.net\n"
            "_sip._udp.there.example.net SRV 600 2 0 5060 two.example.net\n"
            "one.example.net A 600 192.0.2.12\n"
            "two.example.net A 600 192.0.2.13\n");
    b->target[0] = (struct proxy_target){.uri = SV(THERE)};
    ask(b, "INVITE", "next", CONTACT);
    assert_true(addr_equal(&x->last, &r->peer[BOB].addr));
    say(r, BOB, reply(find_raw(r, BOB, "INVITE"), 503, "b1", ""));
    has_body(find_raw(r, DESK, "INVITE"), TO_0);
    assert_int_equal(x->leg[0].asked, 2);
    assert_int_equal(x->legs, 1);
    assert_true(addr_equal(&x->last, &r->peer[DESK].addr));
    say(r, DESK,
        with_sdp(reply(find_raw(r, DESK, "INVITE"), 200, "d1", "Contact: <" THERE ">\r\n")));
    has_body(find_raw(r, ALICE, "SIP/2.0 200"), FROM_0);
    assert_int_equal(x->told, 0); /* the call was not refused */
    bench_quiet(b);
    assert_int_equal(x->leg[0].gone, 1);
}

/* §18.1.1 looks at what leaves: a body that grows makes a request too long for UDP. TCP is refused, so it
 * goes over UDP, with the same body. */
static void test_grows(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct exchanger *x = x_of(b);
    x->extra = 7500;
    ask(b, "INVITE", "long", CONTACT);
    rig_run(r, 3 * USEC_S);
    const char *in = find_raw(r, BOB, "INVITE");
    assert_non_null(strstr(in, "s=to 0\r\na=000"));
    assert_non_null(strstr(in, "Via: SIP/2.0/UDP 192.0.2.1"));
    assert_int_equal(failovers(b), 0);
    assert_int_equal(x->leg[0].asked, 1);
    x->back = 7900;
    say(r, BOB, with_sdp(reply(in, 183, "b1", "")));
    assert_string_equal(value(find_raw(r, ALICE, "SIP/2.0 183"), "Content-Length"), "7919");
    say(r, BOB, reply(in, 486, "b1", ""));
    ack(b, "long", find_got(r, ALICE, "SIP/2.0 486"));
    /* DESK takes TCP */
    x->extra = 2000;
    b->target[0] = b->target[1];
    rig_clear(r);
    ask(b, "INVITE", "tcp", CONTACT);
    assert_non_null(strstr(r->stream_got, "Via: SIP/2.0/TCP"));
    assert_non_null(strstr(r->stream_got, "s=to 1\r\na=000"));
    assert_int_equal(heard(r, DESK, ""), 0);
    /* and without the watcher it would not have */
    b->next.bodies = NULL;
    rig_clear(r);
    ask(b, "INVITE", "short", CONTACT);
    has_body(find_raw(r, DESK, "INVITE"), SDP);
    bench_quiet(b);
}

/* No request leaves; the branch ends with that status. */
static void test_refused(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct exchanger *x = x_of(b);
    x->offers = PROXY_BODY_REFUSE;
    x->refusal = (struct proxy_body_new){.status = 488,
                                         .reason = SV("No Codec in Common"),
                                         .warning = 304,
                                         .warning_text = SV("they say \"opus\",\r\nwe PCMU")};
    ask(b, "INVITE", "no", CONTACT);
    assert_int_equal(heard(r, BOB, ""), 0);
    const char *no = find_raw(r, ALICE, "SIP/2.0 488 No Codec in Common\r\n");
    assert_string_equal(value(no, "Warning"),
                        "304 192.0.2.1:5060 \"they say \\\"opus\\\",  we PCMU\"");
    ack(b, "no", no);
    assert_int_equal(b->responses, 1);
    assert_int_equal(x->leg[0].gone, 1);
    assert_int_equal(x->over, 1);
    assert_int_equal(b->unreachable, 0);
    assert_int_equal(x->told, 1);
    assert_int_equal(x->was.status, 488);
    assert_int_equal(x->was.warning, 304);
    /* 503 is said as it is: it is this server that has no room; no other server is tried for it */
    x->refusal = (struct proxy_body_new){.status = 503};
    x->over = 0;
    ask(b, "INVITE", "full", CONTACT);
    no = find_raw(r, ALICE, "SIP/2.0 503 ");
    assert_string_equal(value(no, "Retry-After"), "5");
    ack(b, "full", no);
    /* one that makes no sense */
    x->refusal = (struct proxy_body_new){.status = 200};
    x->over = 0;
    ask(b, "UPDATE", "odd", CONTACT);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 500 "), 1);
    assert_int_equal(heard(r, BOB, ""), 0);
    bench_quiet(b);
    assert_int_equal(x->leg[0].gone + x->leg[1].gone + x->leg[2].gone, 3);
}

static enum proxy_body refuse_desk(void *arg, void **leg, const struct proxy_passing *m,
                                   struct proxy_body_new *ret)
{
    struct exchanger *x = arg;
    x->offers = addr_equal(&m->dest->addr, &x->b->rig.peer[DESK].addr) ? PROXY_BODY_REFUSE
                                                                       : PROXY_BODY_REPLACE;
    return on_request(arg, leg, m, ret);
}

/* Two phones are asked, and the desk's cannot be. */
static struct exchanger *without_desk(struct bench *b, struct proxy_body_new refusal)
{
    static const struct proxy_bodies some = {.on_told = on_told,
                                             .on_request = refuse_desk,
                                             .on_response = on_response,
                                             .on_leg_gone = on_leg_gone,
                                             .on_gone = on_gone};
    struct exchanger *x = x_of(b);
    b->next.bodies = &some;
    b->next.n = 2;
    b->target[1].uri = SV("sip:desk@there.example.net");
    x->refusal = refusal;
    return x;
}

/* One branch cannot, the other rings. */
static void test_one_is_refused(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct exchanger *x = without_desk(b, (struct proxy_body_new){.status = 488});
    ask(b, "INVITE", "some", CONTACT);
    assert_int_equal(heard(r, DESK, ""), 0);
    assert_int_equal(heard(r, BOB, "CANCEL"), 0);
    assert_int_equal(x->leg[1].gone, 1);
    say(r, BOB, with_sdp(reply(find_raw(r, BOB, "INVITE"), 200, "b1", "Contact: <" THERE ">\r\n")));
    has_body(find_raw(r, ALICE, "SIP/2.0 200"), FROM_0);
    bench_quiet(b);
    assert_int_equal(x->leg[0].gone, 1);
}

/* What one phone says goes before what we could not do for another: its own answer, and that the caller gave up. */
static void test_refused_beside_others(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct exchanger *x = without_desk(
        b, (struct proxy_body_new){.status = 403, .warning = 399, .warning_text = SV("full")});
    ask(b, "INVITE", "gaveup", CONTACT);
    say(r, BOB, reply(find_raw(r, BOB, "INVITE"), 180, "b1", ""));
    say(r, ALICE, request(r, ALICE, "CANCEL", THERE, TO_BOB, "gaveup", ""));
    say(r, BOB, reply(find_raw(r, BOB, "INVITE"), 487, "b1", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 487 "), 1);
    ack(b, "gaveup", find_raw(r, ALICE, "SIP/2.0 487 "));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 403 "), 0);
    rig_clear(r);
    x->legs = x->over = 0;
    memset(x->leg, 0, sizeof(x->leg));
    ask(b, "INVITE", "out", CONTACT);
    say(r, BOB, reply(find_raw(r, BOB, "INVITE"), 500, "b1", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 500 "), 1);
    ack(b, "out", find_raw(r, ALICE, "SIP/2.0 500 "));
    assert_int_equal(x->told, 0);
    /* neither of them can be put through */
    rig_clear(r);
    b->target[0] = b->target[1];
    b->target[1].uri = SV("sip:table@there.example.net");
    x->legs = x->over = 0;
    memset(x->leg, 0, sizeof(x->leg));
    ask(b, "INVITE", "both", CONTACT);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 403 "), 1);
    ack(b, "both", find_raw(r, ALICE, "SIP/2.0 403 "));
    assert_int_equal(x->told, 1);
    bench_quiet(b);
}

/* No phone is asked for what cannot pass, whoever it is; nor one that sleeps woken. */
static void test_refused_before_all(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct exchanger *x = x_of(b);
    b->next.n = 2;
    b->target[1].uri = SV("sip:desk@there.example.net");
    b->target[1].held = true; /* on_held is not there to be asked */
    x->begins = PROXY_BODY_REFUSE;
    x->refusal = (struct proxy_body_new){.status = 403, .warning = 399, .warning_text = SV("full")};
    ask(b, "INVITE", "full", CONTACT);
    const char *no = find_raw(r, ALICE, "SIP/2.0 403 ");
    assert_string_equal(value(no, "Warning"), "399 192.0.2.1:5060 \"full\"");
    assert_int_equal(heard(r, BOB, "") + heard(r, DESK, ""), 0);
    assert_int_equal(x->told, 1);
    assert_int_equal(x->legs, 0);
    assert_int_equal(x->over, 1);
    assert_int_equal(b->responses, 1);
    ack(b, "full", no);
    /* where the route says what is answered when all have failed, that is */
    x->over = 0;
    rig_clear(r);
    b->next.otherwise = 486;
    b->next.otherwise_reason = SV("Later");
    ask(b, "INVITE", "later", CONTACT);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 486 "), 1);
    ack(b, "later", find_raw(r, ALICE, "SIP/2.0 486 Later\r\n"));
    assert_int_equal(x->told, 2);
    bench_quiet(b);
}

/* Of a response that is refused only the description stays behind. */
static void test_answer_refused(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct exchanger *x = x_of(b);
    x->answers[1] = PROXY_BODY_REFUSE;
    x->answers[2] = PROXY_BODY_PASS;
    ask(b, "INVITE", "half", CONTACT);
    const char *in = find_raw(r, BOB, "INVITE");
    say(r, BOB, with_sdp(reply(in, 183, "b1", "")));
    const char *ringing = find_raw(r, ALICE, "SIP/2.0 183");
    has_body(ringing, "");
    assert_null(strstr(ringing, "Content-Type"));
    say(r, BOB, with_sdp(reply(in, 200, "b1", "Contact: <" THERE ">\r\n")));
    has_body(find_raw(r, ALICE, "SIP/2.0 200"), SDP);
    rig_clear(r);
    x->answers[2] = PROXY_BODY_REFUSE; /* too late to refuse the call: one went up */
    say(r, BOB, with_sdp(reply(in, 200, "b1", "Contact: <" THERE ">\r\n")));
    has_body(find_raw(r, ALICE, "SIP/2.0 200"), "");
    assert_int_equal(heard(r, BOB, "BYE"), 0);
    rig_clear(r);
    /* one that cannot be told from the rest takes the rest with it */
    say(r, BOB,
        with(reply(in, 200, "b1", "Contact: <" THERE ">\r\n"),
             "Content-Type: application/sdp\r\nContent-Encoding: gzip\r\n", "zip"));
    has_body(find_raw(r, ALICE, "SIP/2.0 200"), "");
    assert_string_equal(x->why, "Body Is Encoded");
    bench_quiet(b);
}

/* A server that refuses is asked again, by another request: the number of its CSeq says so, and nobody upstream sees
 * it. */
static void test_again(void **state)
{
    static const struct proxy_bodies insists = {.on_request = on_request,
                                                .on_response = on_response,
                                                .on_refused = on_refused,
                                                .on_leg_gone = on_leg_gone,
                                                .on_gone = on_gone};
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct exchanger *x = x_of(b);
    char first[MESSAGE], second[MESSAGE];
    b->next.bodies = &insists;
    x->again = 1;
    ask(b, "INVITE", "again", CONTACT);
    snprintf(first, sizeof(first), "%s", find_raw(r, BOB, "INVITE"));
    say(r, BOB, reply(first, 180, "b1", ""));
    rig_clear(r);
    say(r, BOB, reply(first, 488, "b1", ""));
    assert_string_equal(value(find_raw(r, BOB, "ACK"), "CSeq"), "1 ACK");
    snprintf(second, sizeof(second), "%s", find_raw(r, BOB, "INVITE"));
    assert_string_equal(value(second, "CSeq"), "2 INVITE");
    assert_string_not_equal(value(second, "Via"), value(first, "Via"));
    has_body(second, "v=0\r\ns=to 0\r\na=00\r\n");
    assert_int_equal(heard(r, ALICE, ""), 0);
    assert_int_equal(x->leg[0].gone, 0);
    say(r, BOB, with_sdp(reply(second, 183, "b2", "")));
    assert_string_equal(value(find_raw(r, ALICE, "SIP/2.0 183"), "CSeq"), "1 INVITE");
    has_body(find_raw(r, ALICE, "SIP/2.0 183"), FROM_0);
    say(r, BOB, with_sdp(reply(second, 200, "b2", "Contact: <" THERE ">\r\n")));
    assert_string_equal(value(find_raw(r, ALICE, "SIP/2.0 200"), "CSeq"), "1 INVITE");
    bench_quiet(b);
    assert_int_equal(x->leg[0].gone, 1);
    assert_int_equal(x->leg[0].asked, 2);
    /* its CANCEL has the number of what it cancels */
    x->raise = 0;
    x->again = 1;
    rig_clear(r);
    ask(b, "INVITE", "cancel", CONTACT);
    snprintf(first, sizeof(first), "%s", find_raw(r, BOB, "INVITE"));
    rig_clear(r);
    say(r, BOB, reply(first, 488, "b1", ""));
    snprintf(second, sizeof(second), "%s", find_raw(r, BOB, "INVITE"));
    assert_string_equal(value(second, "CSeq"), "2 INVITE");
    say(r, BOB, reply(second, 180, "b2", ""));
    say(r, ALICE, request(r, ALICE, "CANCEL", THERE, TO_BOB, "cancel", ""));
    assert_string_equal(value(find_raw(r, BOB, "CANCEL"), "CSeq"), "2 CANCEL");
    say(r, BOB, reply(second, 487, "b2", ""));
    assert_string_equal(value(find_raw(r, ALICE, "SIP/2.0 487"), "CSeq"), "1 INVITE");
    ack(b, "cancel", find_got(r, ALICE, "SIP/2.0 487"));
    bench_quiet(b);
}

/* So often and no more; the last refusal goes up. Who has given up meanwhile is not rung again. */
static void test_again_and_again(void **state)
{
    static const struct proxy_bodies insists = {.on_request = on_request,
                                                .on_refused = on_refused,
                                                .on_leg_gone = on_leg_gone,
                                                .on_gone = on_gone};
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct exchanger *x = x_of(b);
    b->next.bodies = &insists;
    x->again = 100;
    ask(b, "INVITE", "often", CONTACT);
    for (unsigned i = 0; i <= PROXY_AGAIN_MAX; i++) {
        char in[MESSAGE], cseq[32];
        snprintf(in, sizeof(in), "%s", find_raw(r, BOB, "INVITE"));
        snprintf(cseq, sizeof(cseq), "%u INVITE", i + 1);
        assert_string_equal(value(in, "CSeq"), cseq);
        rig_clear(r);
        say(r, BOB, reply(in, 488, "b1", ""));
    }
    assert_int_equal(heard(r, BOB, "INVITE"), 0);
    assert_int_equal(x->refused, PROXY_AGAIN_MAX);
    assert_string_equal(value(find_raw(r, ALICE, "SIP/2.0 488"), "CSeq"), "1 INVITE");
    ack(b, "often", find_got(r, ALICE, "SIP/2.0 488"));
    x->refused = 0;
    rig_clear(r);
    ask(b, "INVITE", "late", CONTACT);
    char in[MESSAGE];
    snprintf(in, sizeof(in), "%s", find_raw(r, BOB, "INVITE"));
    say(r, BOB, reply(in, 180, "b1", ""));
    say(r, ALICE, request(r, ALICE, "CANCEL", THERE, TO_BOB, "late", ""));
    rig_clear(r);
    say(r, BOB, reply(in, 488, "b1", ""));
    assert_int_equal(heard(r, BOB, "INVITE"), 0);
    assert_int_equal(x->refused, 0);
    bench_quiet(b);
}

/* A server that says nothing to what was sent again gives way to the next one, though it spoke before. */
static void test_again_and_silent(void **state)
{
    static const struct proxy_bodies insists = {.on_request = on_request,
                                                .on_refused = on_refused,
                                                .on_leg_gone = on_leg_gone,
                                                .on_gone = on_gone};
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct exchanger *x = x_of(b);
    zone(b, "there.example.net NAPTR 600 10 10 \"s\" \"SIP+D2U\" \"\" _sip._udp.there.example.net\n"
            "_sip._udp.there.example.net SRV 600 1 0 5060 one.example.net\n"
            "_sip._udp.there.example.net SRV 600 2 0 5060 two.example.net\n"
            "one.example.net A 600 192.0.2.12\n"
            "two.example.net A 600 192.0.2.13\n");
    b->target[0] = (struct proxy_target){.uri = SV(THERE)};
    b->next.bodies = &insists;
    x->again = 1;
    ask(b, "INVITE", "mute", CONTACT);
    char in[MESSAGE];
    snprintf(in, sizeof(in), "%s", find_raw(r, BOB, "INVITE"));
    say(r, BOB, reply(in, 180, "b1", ""));
    say(r, BOB, reply(in, 488, "b1", ""));
    rig_run(r, 4100 * USEC_MS); /* 8*T1 */
    assert_string_equal(value(find_raw(r, DESK, "INVITE"), "CSeq"), "2 INVITE");
    say(r, DESK, reply(find_raw(r, DESK, "INVITE"), 486, "d1", ""));
    assert_string_equal(value(find_raw(r, ALICE, "SIP/2.0 486"), "CSeq"), "1 INVITE");
    ack(b, "mute", find_got(r, ALICE, "SIP/2.0 486"));
    bench_quiet(b);
}

/* What follows in the dialog is raised too: the number of PRACK's RAck is an INVITE's. */
static void test_raised(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct exchanger *x = x_of(b);
    x->raise = 2;
    say(r, ALICE, request(r, ALICE, "PRACK", THERE, TO_BOB, "rack", "RAck: 776656  1 INVITE\r\n"));
    rig_run(r, 120 * USEC_MS);
    const char *in = find_raw(r, BOB, "PRACK");
    assert_string_equal(value(in, "CSeq"), "3 PRACK");
    assert_string_equal(value(in, "RAck"), "776656 3 INVITE");
    say(r, BOB, reply(in, 200, "b1", ""));
    assert_string_equal(value(find_raw(r, ALICE, "SIP/2.0 200"), "CSeq"), "1 PRACK");
    bench_quiet(b);
}

/* Only the description's part of a body is exchanged; what is no description is left alone. */
static void test_parts(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct exchanger *x = x_of(b);
    const char *plain = request(r, ALICE, "INVITE", THERE, TO_BOB, "parts", CONTACT);
    say(r, ALICE,
        with(plain, "c: multipart/mixed;boundary=b\r\n",
             "--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\nContent-Type: application/sdp\r\n"
             "\r\n" SDP "\r\n--b--\r\n"));
    const char *in = find_raw(r, BOB, "INVITE");
    has_body(in, "--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\nContent-Type: "
                 "application/sdp\r\n\r\n" TO_0 "\r\n--b--\r\n");
    say(r, BOB, with(reply(in, 183, "b1", ""), "Content-Type: text/plain\r\n", "ringing"));
    has_body(find_raw(r, ALICE, "SIP/2.0 183"), "ringing");
    assert_null(x->why);
    say(r, BOB, reply(in, 486, "b1", ""));
    ack(b, "parts", find_got(r, ALICE, "SIP/2.0 486"));
    rig_clear(r);
    say(r, ALICE,
        with(request(r, ALICE, "MESSAGE", THERE, TO_BOB, "text", ""),
             "Content-Type: text/plain\r\n", "hi"));
    has_body(find_raw(r, BOB, "MESSAGE"), "hi");
    /* without Content-Length, compact */
    rig_clear(r);
    const char *info = request(r, ALICE, "UPDATE", THERE, TO_BOB, "short", "");
    char *bare = scratch();
    snprintf(bare, MESSAGE, "%.*sc: application/sdp\r\n\r\n" SDP,
             (int)(strstr(info, "Content-Length") - info), info);
    say(r, ALICE, bare);
    has_body(find_raw(r, BOB, "UPDATE"), "v=0\r\ns=to 2\r\na=0\r\n");
    bench_quiet(b);
}

/* A request in a dialog, its response, and what is too large. */
static void test_in_dialog(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct exchanger *x = x_of(b);
    b->next.in_dialog = true;
    ask(b, "UPDATE", "dialog", CONTACT);
    const char *in = find_raw(r, BOB, "UPDATE");
    has_body(in, TO_0);
    say(r, BOB, with_sdp(reply(in, 200, NULL, CONTACT)));
    has_body(find_raw(r, ALICE, "SIP/2.0 200"), FROM_0);
    assert_int_equal(x->leg[0].gone, 1);
    assert_int_equal(x->over, 1);
    bench_quiet(b);
}

/* No callbacks: as if nobody watched. */
static void test_nobody_says_anything(void **state)
{
    static const struct proxy_bodies nothing = {.on_request = NULL};
    struct bench *b = *state;
    struct rig *r = &b->rig;
    b->next.bodies = &nothing;
    ask(b, "INVITE", "nothing", CONTACT);
    const char *in = find_raw(r, BOB, "INVITE");
    has_body(in, SDP);
    say(r, BOB, with_sdp(reply(in, 200, "b1", "Contact: <" THERE ">\r\n")));
    has_body(find_raw(r, ALICE, "SIP/2.0 200"), SDP);
    bench_quiet(b);
}

static enum proxy_body enormous(void *arg, void **leg, const struct proxy_passing *m,
                                struct proxy_body_new *ret)
{
    static char mem[PROXY_DESCRIPTION_MAX + 1];
    (void)arg;
    (void)leg;
    (void)m;
    memset(mem, 'x', sizeof(mem));
    ret->description = (sv){mem, sizeof(mem)};
    return PROXY_BODY_REPLACE;
}

static void test_too_large(void **state)
{
    static const struct proxy_bodies large = {.on_request = enormous};
    struct bench *b = *state;
    struct rig *r = &b->rig;
    b->next.bodies = &large;
    ask(b, "INVITE", "large", CONTACT);
    assert_int_equal(heard(r, BOB, ""), 0);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 513 "), 1);
    ack(b, "large", find_got(r, ALICE, "SIP/2.0 513"));
    bench_quiet(b);
}

/* Said, and received while memory is short. */
static void say_short(struct rig *r, int from, const char *text, unsigned n)
{
    struct addr to = address(SERVER_IP, 5060);
    sv piece = sv_of(text);
    assert_int_equal(udp_send(r->peer[from].udp, NULL, &to, &piece, 1), ERR_OK);
    mem_fail_after(n);
    rig_run(r, 120 * USEC_MS);
    mem_fail_after(0);
}

/* Whatever cannot be allocated: what leaves was exchanged, and each leg is told gone. */
static void test_no_memory(void **state)
{
    unsigned through = 0, stopped = 0;
    for (unsigned n = 1; n < 40; n++) {
        teardown(state);
        setup(state);
        struct bench *b = *state;
        struct rig *r = &b->rig;
        struct exchanger *x = x_of(b);
        b->next.n = 2;
        b->target[1].uri = SV("sip:desk@there.example.net");
        say_short(r, ALICE, with_sdp(request(r, ALICE, "INVITE", THERE, TO_BOB, "short", CONTACT)),
                  n);
        const char *in = find_raw(r, BOB, "INVITE");
        if (in[0]) {
            has_body(in, TO_0);
            say_short(r, BOB, with_sdp(reply(in, 183, "b1", "")), n);
            if (find_raw(r, ALICE, "SIP/2.0 183")[0])
                has_body(find_raw(r, ALICE, "SIP/2.0 183"), FROM_0);
            const char *ok = with_sdp(reply(in, 200, "b1", "Contact: <" THERE ">\r\n"));
            say_short(r, BOB, ok, n);
            rig_clear(r);
            say(r, BOB, ok);
            has_body(find_raw(r, ALICE, "SIP/2.0 200"), FROM_0);
            through++;
        } else {
            stopped++;
        }
        rig_run(r, 5 * USEC_MIN);
        assert_int_equal(proxy_contexts(b->proxy), 0);
        for (unsigned i = 0; i < x->legs; i++)
            assert_int_equal(x->leg[i].gone, 1);
        assert_true(x->over <= 1 && (x->over || !x->legs));
    }
    assert_true(through > 0 && stopped > 0);
}

/* The server ends while a call rings. */
static void test_ends(void **state)
{
    struct bench *b = *state;
    struct exchanger *x = x_of(b);
    ask(b, "INVITE", "ends", CONTACT);
    proxy_free(b->proxy);
    assert_int_equal(x->leg[0].gone, 1);
    assert_int_equal(x->over, 1);
    assert_int_equal(proxy_new(b->rig.sip, &b->proxy), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_offer_and_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ack, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_best, setup, teardown),
        cmocka_unit_test_setup_teardown(test_servers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_grows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_beside_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_before_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answer_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_again_and_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_again_and_silent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_raised, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_dialog, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_says_anything, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_large, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
