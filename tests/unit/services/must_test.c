/* SPDX-License-Identifier: MIT */
/* What RFC 3261 says that a server must do with things it has no other reason to look at: fields,
 * option tags and spellings that mean nothing to it. Through a whole server. */
#include "rig.h"

#define BOB_AT "sip:bob@192.0.2.12:5060"
#define SELF   "From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:alice@example.com>\r\n"

static struct settings_route routes[2];

static int setup(void **state)
{
    struct rig *r = rig_new(SETTINGS_AUTH_ALL);
    struct binding b = binding_of(r, BOB_AT, BOB);
    rig_bind(r, "bob@example.com", &b, 1);
    memset(routes, 0, sizeof(routes));
    r->set->routes = routes;
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    rig_free(*state);
    return 0;
}

/* alice asks, and answers the challenge; the final status. more: lines. */
static unsigned ask(struct rig *r, const char *method, const char *uri, const char *from_to,
                    const char *more)
{
    static unsigned serial;
    unsigned status = 0;
    for (unsigned round = 0; round < 2; round++) {
        char call[16], *lines = scratch();
        const char *challenge =
            find_raw(r, ALICE, strcmp(method, "REGISTER") ? "SIP/2.0 407" : "SIP/2.0 401");
        snprintf(lines, MESSAGE, "%s%s",
                 round ? credentials(challenge, method, uri, "alice", "secret", 1) : "", more);
        snprintf(call, sizeof(call), "m%u", ++serial);
        rig_clear(r);
        say(r, ALICE, request(r, ALICE, method, uri, from_to, call, lines));
        rig_run(r, 50 * USEC_MS);
        status = 0;
        for (unsigned i = 0; i < r->peer[ALICE].n && i < KEPT && status < 200; i++)
            sscanf(r->peer[ALICE].got[i], "SIP/2.0 %u ", &status);
        if (status != 401 && status != 407)
            break;
    }
    return status;
}

/* §8.2.2: what is not understood is ignored. §10.3: Record-Route too, and none comes back. */
static void a_register_may_carry_anything(void **state)
{
    struct rig *r = *state;
    assert_int_equal(ask(r, "REGISTER", "sip:example.com", SELF,
                         "Contact: <sip:alice@192.0.2.11:5060>\r\nFrobnicate: ;,=\"\r\n"
                         "Record-Route: <sip:192.0.2.13;lr>\r\nRoute-Record: x\r\n"),
                     200);
    const char *answer = find_got(r, ALICE, "SIP/2.0 200");
    assert_non_null(strstr(answer, "\r\nContact: <sip:alice@192.0.2.11:5060>"));
    assert_null(strstr(answer, "Record-Route"));
    rig_quiet(r);
}

/* §10.3 step 5: parameters are not part of an address of record, escapes are undone. */
static void an_address_of_record_has_one_form(void **state)
{
    struct rig *r = *state;
    static const char *const to[] = {"sip:alice@example.com", "sip:%61l%69ce@EXAMPLE.com;x=1",
                                     "sip:alice@example.com;user=phone", "sips:alice@example.com"};
    for (unsigned i = 0; i < sizeof(to) / sizeof(to[0]); i++) {
        char *lines = scratch(), contact[64];
        snprintf(lines, MESSAGE, "From: <sip:alice@example.com>;tag=a1\r\nTo: <%s>\r\n", to[i]);
        snprintf(contact, sizeof(contact), "Contact: <sip:%u@192.0.2.11>\r\n", i);
        if (ask(r, "REGISTER", "sip:example.com", lines, contact) != 200)
            fail_msg("%s is not alice", to[i]);
        assert_int_equal(store_aors(r->store), 2); /* hers and bob's */
    }
    for (unsigned i = 0; i < sizeof(to) / sizeof(to[0]); i++) {
        char contact[64];
        snprintf(contact, sizeof(contact), "\r\nContact: <sip:%u@192.0.2.11>", i);
        assert_non_null(strstr(find_got(r, ALICE, "SIP/2.0 200"), contact));
    }
    rig_quiet(r);
}

/* §8.2.2.3: neither CANCEL nor ACK is refused for its Require; §16.3 step 5 does not look at them. */
static void a_cancel_requires_nothing(void **state)
{
    struct rig *r = *state;
    say(r, ALICE,
        request(r, ALICE, "CANCEL", "sip:bob@example.com", TO_BOB, "c1",
                "Require: foo\r\nProxy-Require: bar\r\n"));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 481 "), 1);
    say(r, ALICE,
        request(r, ALICE, "ACK", "sip:bob@example.com", TO_BOB, "c2",
                "Require: foo\r\nProxy-Require: bar\r\n"));
    assert_int_equal(r->peer[ALICE].n, 1);
    rig_quiet(r);
}

/* §8.3: a redirection asks nothing of the request: not its method, not its Require. */
static void a_redirection_ignores_what_it_does_not_know(void **state)
{
    struct rig *r = *state;
    routes[0] = (struct settings_route){
        .action = ACTION_REDIRECT, .target = {{.kind = TARGET_LOCAL}}, .targets_n = 1};
    r->set->routes_n = 1;
    assert_int_equal(ask(r, "FROBNICATE", "sip:bob@example.com", TO_BOB,
                         "Require: foo, 100rel\r\nFrobnicate: x\r\n"),
                     302);
    assert_non_null(strstr(find_got(r, ALICE, "SIP/2.0 302"), "\r\nContact: <" BOB_AT ">"));
    rig_quiet(r);
}

/* §16.6 steps 2, 5: what a Contact has beyond a Request-URI is left out; the Path of its REGISTER stands
 * above all Routes, in its order, and its first hop gets the request. */
static void a_contact_is_reached_through_its_path(void **state)
{
    struct rig *r = *state;
    struct binding b =
        binding_of(r, "sip:bob@10.1.1.1;x=1;method=INVITE?Subject=no&Route=%3Csip:evil%3E", BOB);
    b.path = SV("<sip:192.0.2.13;lr;x=1>, <sip:p@192.0.2.14;lr>");
    rig_bind(r, "bob@example.com", &b, 1);
    assert_int_equal(ask(r, "MESSAGE", "sip:bob@example.com", TO_BOB, ""), 0);
    const char *got = find_raw(r, DESK, "MESSAGE sip:bob@10.1.1.1;x=1 SIP/2.0\r\n");
    assert_string_equal(value(got, "Route"), "<sip:192.0.2.13;lr;x=1>, <sip:p@192.0.2.14;lr>");
    assert_null(strstr(got, "Subject"));
    assert_null(strstr(got, "evil"));
    assert_int_equal(r->peer[BOB].n, 0);
    say(r, DESK, reply(got, 200, "b", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    rig_quiet(r);
}

/* §18.3: a response that ends before its Content-Length is dropped, whatever it answers. */
static void a_response_that_is_cut_short_is_dropped(void **state)
{
    struct rig *r = *state;
    assert_int_equal(ask(r, "MESSAGE", "sip:bob@example.com", TO_BOB, ""), 0);
    const char *whole = reply(find_raw(r, BOB, "MESSAGE"), 200, "b", "");
    char *cut = scratch();
    snprintf(cut, MESSAGE, "%s", whole);
    char *length = strstr(cut, "Content-Length: 0");
    assert_non_null(length);
    length[16] = '9';
    rig_clear(r);
    say(r, BOB, cut);
    assert_int_equal(heard(r, ALICE, "SIP/2.0"), 0);
    say(r, BOB, whole);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    rig_quiet(r);
}

/* §16.5: DEVIATES: maddr does not send a call for a user of ours elsewhere (D6, D15). */
static void a_user_of_ours_is_not_sent_to_a_maddr(void **state)
{
    struct rig *r = *state;
    assert_int_equal(
        ask(r, "MESSAGE", "sip:bob@example.com;maddr=203.0.113.9;transport=udp", TO_BOB, ""), 0);
    assert_int_equal(r->peer[STRANGER].n, 0);
    say(r, BOB, reply(find_raw(r, BOB, "MESSAGE " BOB_AT " "), 200, "b", ""));
    rig_quiet(r);
}

/* An account that a route names without a domain is of the first domain. */
static void an_account_of_a_route_needs_no_domain(void **state)
{
    struct rig *r = *state;
    routes[0] = (struct settings_route){
        .when = {.user = {SV("199")}, .user_n = 1},
        .action = ACTION_REDIRECT,
        .target = {{.kind = TARGET_ACCOUNT, .user = SV("102")}},
        .targets_n = 1,
    };
    r->set->routes_n = 1;
    assert_int_equal(ask(r, "INVITE", "sip:199@example.com", TO_BOB, ""), 302);
    assert_non_null(strstr(find_got(r, ALICE, "SIP/2.0 302"), "\r\nContact: <" BOB_AT ">"));
    rig_quiet(r);
}

/* §8.2.1: Allow lists what is served. §8.2.6.2: the tag of all responses to one request is one. */
static void a_method_that_is_not_served_is_told_which_are(void **state)
{
    struct rig *r = *state;
    for (unsigned i = 0; i < 2; i++)
        say(r, ALICE,
            request(r, ALICE, "PUBLISH", "sip:example.com", SELF, "p1", "Event: presence\r\n"));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 405 "), 2);
    assert_string_equal(value(r->peer[ALICE].raw[0], "Allow"), "REGISTER, OPTIONS");
    assert_non_null(strstr(value(r->peer[ALICE].raw[0], "To"), ";tag="));
    assert_string_equal(r->peer[ALICE].raw[0], r->peer[ALICE].raw[1]);
    rig_quiet(r);
}

/* RFC 3966: a number is one however it is written, and belongs to somebody's plan. */
static void a_number_has_one_form(void **state)
{
    struct rig *r = *state;
    static const struct {
        const char *uri;
        unsigned status; /* 0: bob gets it */
    } table[] = {
        {"tel:+1-555-0102", 0},
        {"tel:+1.555.01(02);x=1", 0},
        {"sip:+1-555-0102@example.com;user=phone", 0},
        {"tel:1-02;phone-context=example.com", 0},
        {"tel:102", 400}, /* a local number has a context */
        {"tel:102;phone-context=else.where", 403},
        {"tel:103;phone-context=example.com", 404},
    };
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        unsigned status = ask(r, "MESSAGE", table[i].uri, TO_BOB, "");
        const char *got = find_raw(r, BOB, "MESSAGE " BOB_AT);
        if (status != table[i].status || (*got != 0) == (status != 0))
            fail_msg("%s: %u", table[i].uri, status);
        if (*got)
            say(r, BOB, reply(got, 200, "b", ""));
    }
    rig_quiet(r);
}

/* §8.3: a redirection to the URI that was asked would only lead back. */
static void a_redirection_names_another(void **state)
{
    struct rig *r = *state;
    const char *to = "From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:here@example.com>\r\n";
    routes[0] = (struct settings_route){
        .action = ACTION_REDIRECT,
        .target = {{.kind = TARGET_SIP, .uri = SV("sip:here@example.com")},
                   {.kind = TARGET_SIP, .uri = SV("sip:there@example.net")}},
        .targets_n = 2,
    };
    r->set->routes_n = 1;
    assert_int_equal(ask(r, "MESSAGE", "sip:here@example.com", to, ""), 302);
    assert_null(strstr(find_got(r, ALICE, "SIP/2.0 302"), "Contact: <sip:here@"));
    assert_non_null(strstr(find_got(r, ALICE, "SIP/2.0 302"), "Contact: <sip:there@example.net>"));
    routes[0].targets_n = 1;
    assert_int_equal(ask(r, "MESSAGE", "sip:here@example.com", to, ""), 480);
    rig_quiet(r);
}

/* §16.6 step 8: the part of a branch that tells a loop does not hang on the method. */
static void the_method_is_no_part_of_the_loop_hash(void **state)
{
    struct rig *r = *state;
    static const char *const methods[] = {"MESSAGE", "INFO"};
    char hash[2][16] = {"", ""};
    r->set->authenticate = SETTINGS_AUTH_REGISTER; /* credentials differ, and are hashed */
    for (unsigned i = 0; i < 2; i++) {
        rig_clear(r);
        say(r, ALICE, request(r, ALICE, methods[i], "sip:bob@example.com", TO_BOB, "same", ""));
        rig_run(r, 50 * USEC_MS);
        const char *raw = find_raw(r, BOB, methods[i]);
        const char *branch = strstr(raw, ";branch=z9hG4bK");
        assert_non_null(branch);
        snprintf(hash[i], 12, "%s", branch + 15 + HOME_MARK_LEN);
        say(r, BOB, reply(raw, 200, "b", ""));
    }
    assert_string_equal(hash[0], hash[1]);
    rig_quiet(r);
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_register_may_carry_anything),
        T(an_address_of_record_has_one_form),
        T(a_cancel_requires_nothing),
        T(a_redirection_ignores_what_it_does_not_know),
        T(a_method_that_is_not_served_is_told_which_are),
        T(a_number_has_one_form),
        T(a_contact_is_reached_through_its_path),
        T(a_response_that_is_cut_short_is_dropped),
        T(a_user_of_ours_is_not_sent_to_a_maddr),
        T(an_account_of_a_route_needs_no_domain),
        T(a_redirection_names_another),
        T(the_method_is_no_part_of_the_loop_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
