/* SPDX-License-Identifier: MIT */
/* A 2xx whose description cannot be exchanged: who said it is told, the caller hears of others. */
#include "proxy_body_rig.h"
#include "within/within.h"

#define BOB_IS "Contact: <sip:bob@192.0.2.12:5060>\r\n"
/* A 2xx that is refused: who said it hears ACK and BYE, the others ring on, and nothing of it goes up. */
static void test_unfit(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct exchanger *x = x_of(b);
    char in[MESSAGE], desk[MESSAGE], routed[MESSAGE];
    b->next.n = 2;
    b->target[1].uri = SV("sip:desk@there.example.net");
    x->answers[2] = PROXY_BODY_REFUSE;
    x->refusal = (struct proxy_body_new){
        .status = 488, .warning = 305, .warning_text = SV("no \"codec\""), .raise = 6};
    ask(b, "INVITE", "unfit", CONTACT);
    snprintf(in, sizeof(in), "%s", find_raw(r, BOB, "INVITE"));
    snprintf(desk, sizeof(desk), "%s", find_raw(r, DESK, "INVITE"));
    /* a proxy in front of bob is in his dialog */
    char *at = strstr(in, "Record-Route: ");
    snprintf(routed, sizeof(routed), "%.*sRecord-Route: <sip:edge@192.0.2.12;lr>\r\n%s",
             (int)(at - in), in, at);
    rig_clear(r);
    const char *ok = with_sdp(reply(routed, 200, "b1", BOB_IS));
    char again[MESSAGE];
    snprintf(again, sizeof(again), "%s", ok);
    say(r, BOB, ok);
    const char *told = find_raw(r, BOB, "ACK sip:bob@192.0.2.12:5060 SIP/2.0\r\n");
    assert_string_equal(value(told, "CSeq"), "1 ACK");
    assert_string_equal(value(told, "Route"), "<sip:edge@192.0.2.12;lr>");
    assert_string_equal(value(told, "From"), value(routed, "From"));
    assert_non_null(strstr(value(told, "To"), ";tag=b1"));
    const char *bye = find_raw(r, BOB, "BYE sip:bob@192.0.2.12:5060 SIP/2.0\r\n");
    assert_string_equal(value(bye, "CSeq"), "8 BYE");
    assert_string_equal(value(bye, "Route"), "<sip:edge@192.0.2.12;lr>");
    assert_string_equal(value(bye, "Reason"), "SIP;cause=488;text=\"Not Acceptable Here\"");
    say(r, BOB, reply(bye, 200, NULL, ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 2") + heard(r, ALICE, "SIP/2.0 4"), 0);
    assert_int_equal(heard(r, DESK, "CANCEL"), 0); /* it rings on */
    assert_int_equal(x->leg[0].gone, 1);
    /* again: acknowledged, no more; of another phone behind the same server: all of it */
    rig_clear(r);
    say(r, BOB, again);
    assert_int_equal(heard(r, BOB, "ACK"), 1);
    assert_int_equal(heard(r, BOB, "BYE"), 0);
    say(r, BOB, with_sdp(reply(routed, 200, "b2", BOB_IS)));
    assert_int_equal(heard(r, BOB, "ACK"), 2);
    assert_non_null(strstr(value(find_raw(r, BOB, "BYE"), "To"), ";tag=b2"));
    say(r, BOB, reply(find_raw(r, BOB, "BYE"), 200, NULL, ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 2") + heard(r, ALICE, "SIP/2.0 4"), 0);
    /* it is a response of its branch like others (§16.7 step 6) */
    say(r, DESK, reply(desk, 486, "d1", ""));
    const char *no = find_raw(r, ALICE, "SIP/2.0 488 ");
    assert_non_null(strstr(value(no, "Warning"), "305 " SERVER_IP));
    assert_non_null(strstr(value(no, "Warning"), " \"no \\\"codec\\\"\""));
    ack(b, "unfit", no);
    rig_clear(r);
    say(r, BOB, again); /* the context is gone */
    assert_int_equal(heard(r, BOB, "ACK"), 1);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 2") + heard(r, ALICE, "SIP/2.0 4"), 0);
    bench_quiet(b);
    assert_int_equal(x->over, 1);
}

/* Whoever its Contacts name: who answers so hears of it, and nobody else. */
static void test_unfit_names_others(void **state)
{
    static const char *const others[] = {
        "Contact: <sip:x@192.0.2.13:5060>\r\n", "Contact: <sip:x@203.0.113.9:5060>\r\n",
        "Contact: <sip:x@192.0.2.13:5060;transport=tcp>\r\n",
        "Record-Route: <sip:192.0.2.13;lr>\r\nContact: <sip:x@192.0.2.13:5060>\r\n"};
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct exchanger *x = x_of(b);
    char in[MESSAGE], tag[8];
    x->answers[2] = PROXY_BODY_REFUSE;
    x->refusal = (struct proxy_body_new){.status = 488};
    ask(b, "INVITE", "others", CONTACT);
    snprintf(in, sizeof(in), "%s", find_raw(r, BOB, "INVITE"));
    rig_clear(r);
    for (unsigned i = 0; i < 10; i++) {
        snprintf(tag, sizeof(tag), "b%u", i);
        say(r, BOB, with_sdp(reply(in, 200, tag, others[i % 4])));
    }
    say(r, BOB, with_sdp(reply(in, 200, "b0", others[1])));
    assert_int_equal(heard(r, BOB, "ACK"), 11);
    assert_int_equal(heard(r, BOB, "BYE sip:x@"), 8);
    assert_int_equal(heard(r, DESK, ""), 0);
    assert_int_equal(heard(r, STRANGER, ""), 0);
    assert_int_equal(r->stream_n, 0);
    ack(b, "others", find_raw(r, ALICE, "SIP/2.0 488 "));
    bench_quiet(b);
    assert_int_equal(heard(r, DESK, ""), 0);
    assert_int_equal(heard(r, STRANGER, ""), 0);
}

/* Who answers what fits has the call, whoever was refused before. */
static void test_unfit_then_fit(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct exchanger *x = x_of(b);
    char in[MESSAGE], desk[MESSAGE];
    b->next.n = 2;
    b->target[1].uri = SV("sip:desk@there.example.net");
    x->answers[2] = PROXY_BODY_REFUSE;
    x->refusal = (struct proxy_body_new){.status = 488, .description = SV("v=0\r\ns=no\r\n")};
    ask(b, "INVITE", "fit", CONTACT);
    snprintf(in, sizeof(in), "%s", find_raw(r, BOB, "INVITE"));
    snprintf(desk, sizeof(desk), "%s", find_raw(r, DESK, "INVITE"));
    say(r, BOB, with_sdp(reply(in, 200, "b1", BOB_IS)));
    has_body(find_raw(r, BOB, "ACK"), "v=0\r\ns=no\r\n");
    say(r, BOB, reply(find_raw(r, BOB, "BYE"), 200, NULL, ""));
    x->answers[2] = PROXY_BODY_REPLACE;
    say(r, DESK, with_sdp(reply(desk, 200, "d1", "Contact: <sip:desk@192.0.2.13:5060>\r\n")));
    has_body(find_raw(r, ALICE, "SIP/2.0 200"), FROM_1);
    assert_int_equal(heard(r, DESK, "BYE"), 0);
    assert_int_equal(heard(r, DESK, "ACK"), 0);
    bench_quiet(b);
    assert_int_equal(x->over, 1);
}

/* A tag that nobody here could remember: who answers with it is told as one whose answer is no use, whoever looks at bodies;
 * what it says before does not go up. */
static void test_tag_too_long(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    char tag[WITHIN_ID_MAX + 2] = {0}, in[MESSAGE], id[8];
    for (unsigned i = 0; i < 4; i++) {
        bool bodies = i < 2, fits = i % 2;
        if (!bodies)
            b->next.bodies = NULL;
        memset(tag, 't', sizeof(tag) - 1);
        tag[WITHIN_ID_MAX + !fits] = 0;
        snprintf(id, sizeof(id), "tag%u", i);
        rig_clear(r);
        ask(b, "INVITE", id, CONTACT);
        snprintf(in, sizeof(in), "%s", find_raw(r, BOB, "INVITE"));
        say(r, BOB, reply(in, 180, tag, BOB_IS));
        assert_int_equal(heard(r, ALICE, "SIP/2.0 180"), fits);
        say(r, BOB, with_sdp(reply(in, 200, tag, BOB_IS)));
        assert_int_equal(heard(r, ALICE, "SIP/2.0 200"), fits);
        assert_int_equal(heard(r, BOB, "ACK"), !fits);
        assert_int_equal(heard(r, BOB, "BYE"), !fits);
        assert_int_equal(heard(r, ALICE, "SIP/2.0 502"), !fits);
        if (fits)
            continue;
        say(r, BOB, reply(find_raw(r, BOB, "BYE"), 200, NULL, ""));
        ack(b, id, find_raw(r, ALICE, "SIP/2.0 502"));
    }
    bench_quiet(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unfit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unfit_names_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unfit_then_fit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tag_too_long, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
