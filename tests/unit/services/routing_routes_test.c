/* SPDX-License-Identifier: MIT */
/* Routes of the configuration, redirections and identity, through a whole server. */
#include "rig.h"

#define BOB_AT   "sip:bob@192.0.2.12:5060"
#define DESK_AT  "sip:bob@192.0.2.13:5060"
#define OUTSIDE  "sip:carol@203.0.113.9:5060"
#define FROM_A   "From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:bob@example.com>\r\n"
#define FROM_X   "From: <sip:x@else.where>;tag=x1\r\nTo: <sip:bob@example.com>\r\n"
#define FROM_ANY "From: <sip:anonymous@anonymous.invalid>;tag=n1\r\nTo: <sip:bob@example.com>\r\n"

static struct settings_route routes[8];

static int setup(void **state)
{
    struct rig *r = rig_new(SETTINGS_AUTH_ALL);
    struct binding b[2] = {binding_of(r, BOB_AT, BOB), binding_of(r, DESK_AT, DESK)};
    b[1].q = 500;
    rig_bind(r, "bob@example.com", b, 2);
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

static unsigned serial;

static unsigned status_of(const char *response)
{
    unsigned status = 0;
    sscanf(response, "SIP/2.0 %u ", &status);
    return status;
}

/* The final status that who gets at once; 0: none yet. */
static unsigned ask(struct rig *r, int who, const char *method, const char *uri,
                    const char *from_to, const char *more)
{
    char call[16];
    snprintf(call, sizeof(call), "r%u", ++serial);
    rig_clear(r);
    say(r, who, request(r, who, method, uri, from_to, call, more));
    rig_run(r, 50 * USEC_MS);
    for (unsigned i = 0; i < r->peer[who].n && i < KEPT; i++) {
        if (status_of(r->peer[who].got[i]) >= 200)
            return status_of(r->peer[who].got[i]);
    }
    return 0;
}

/* The same as alice. */
static unsigned ask_as_alice(struct rig *r, const char *method, const char *uri,
                             const char *from_to, const char *more)
{
    unsigned status = ask(r, ALICE, method, uri, from_to, more);
    if (status != 407)
        return status;
    char *lines = scratch();
    snprintf(lines, MESSAGE, "%s%s",
             credentials(find_raw(r, ALICE, "SIP/2.0 407"), method, uri, "alice", "secret", 1),
             more);
    return ask(r, ALICE, method, uri, from_to, lines);
}

static void test_reject_and_not(void **state)
{
    struct rig *r = *state;
    routes[0] = (struct settings_route){
        .name = SV("no messages but to bob"),
        .when = {.method = {SV("MESSAGE")}, .method_n = 1},
        .unless = {.user = {SV("bob")}, .user_n = 1},
        .has_unless = true,
        .action = ACTION_REJECT,
        .status = 405,
        .reason = SV("Not Here"),
    };
    r->set->routes_n = 1;
    assert_int_equal(ask_as_alice(r, "MESSAGE", "sip:102@example.com", FROM_A, ""), 405);
    assert_true(heard(r, ALICE, "SIP/2.0 405 Not Here\r\n"));
    assert_int_equal(ask_as_alice(r, "MESSAGE", "sip:bob@example.com", FROM_A, ""), 0);
    assert_int_equal(heard(r, BOB, "MESSAGE " BOB_AT), 1);
    say(r, BOB, reply(find_raw(r, BOB, "MESSAGE"), 200, "b", ""));
    rig_quiet(r);
}

static void test_redirect(void **state)
{
    struct rig *r = *state;
    routes[0] = (struct settings_route){
        .action = ACTION_REDIRECT,
        .target = {{.kind = TARGET_LOCAL}, {.kind = TARGET_SIP, .uri = SV(OUTSIDE), .step = 1}},
        .targets_n = 2,
    };
    r->set->routes_n = 1;
    assert_int_equal(ask_as_alice(r, "INVITE", "sip:bob@example.com", FROM_A, ""), 302);
    const char *answer = find_got(r, ALICE, "SIP/2.0 302");
    const char *one = strstr(answer, "Contact: <" BOB_AT ">;q=1.000\r\n");
    const char *two = strstr(answer, "Contact: <" DESK_AT ">;q=0.");
    const char *three = strstr(answer, "Contact: <" OUTSIDE ">;q=0.");
    assert_non_null(one);
    assert_true(one < two && two < three);
    /* Nothing is known of nobody, but the route names somebody else besides. */
    assert_int_equal(ask_as_alice(r, "INVITE", "sip:nobody@example.com", FROM_A, ""), 302);
    assert_null(strstr(find_got(r, ALICE, "SIP/2.0 302"), BOB_AT));
    /* Strangers get no contacts. */
    r->set->routes_n = 0;
    assert_int_equal(ask(r, STRANGER, "INVITE", "sip:bob@example.com", FROM_X, ""), 403);
    rig_quiet(r);
}

/* Who proves nothing is answered without state (§8.2.7): again, and alike. What is proved is proved once. */
static void test_redirect_without_state(void **state)
{
    struct rig *r = *state;
    r->set->authenticate = SETTINGS_AUTH_REGISTER;
    routes[0] = (struct settings_route){
        .action = ACTION_REDIRECT, .target = {{.kind = TARGET_LOCAL}}, .targets_n = 1};
    r->set->routes_n = 1;
    char *invite = scratch();
    snprintf(invite, MESSAGE, "%s",
             request(r, ALICE, "INVITE", "sip:bob@example.com", FROM_A, "same", ""));
    for (unsigned i = 0; i < 2; i++) {
        say(r, ALICE, invite);
        rig_run(r, 50 * USEC_MS);
        assert_int_equal(sip_transactions(r->sip), 0);
    }
    assert_int_equal(heard(r, ALICE, "SIP/2.0 302"), 2);
    assert_string_equal(r->peer[ALICE].raw[0], r->peer[ALICE].raw[1]);
    r->set->authenticate = SETTINGS_AUTH_ALL;
    assert_int_equal(ask_as_alice(r, "INVITE", "sip:bob@example.com", FROM_A, ""), 302);
    assert_int_equal(sip_transactions(r->sip), 1);
    rig_quiet(r);
}

static void test_to_account_then_reject(void **state)
{
    struct rig *r = *state;
    routes[0] = (struct settings_route){
        .when = {.user = {SV("sales*")}, .user_n = 1},
        .action = ACTION_TO,
        .target = {{.kind = TARGET_ACCOUNT, .user = SV("alice"), .domain = SV("example.com")},
                   {.kind = TARGET_REJECT, .status = 486, .reason = SV("All Busy"), .step = 1}},
        .targets_n = 2,
    };
    r->set->routes_n = 1;
    /* alice has no phone: the list goes on to its end */
    assert_int_equal(ask_as_alice(r, "MESSAGE", "sip:sales@example.com", FROM_A, ""), 486);
    assert_true(heard(r, ALICE, "SIP/2.0 486 All Busy\r\n"));
    routes[0].target[0].user = SV("bob");
    assert_int_equal(ask_as_alice(r, "MESSAGE", "sip:sales-1@example.com", FROM_A, ""), 0);
    assert_int_equal(heard(r, BOB, "MESSAGE " BOB_AT), 1);
    say(r, BOB, reply(find_raw(r, BOB, "MESSAGE"), 200, "b", ""));
    rig_quiet(r);
}

static void test_outbound_proxy(void **state)
{
    struct rig *r = *state;
    assert_int_equal(ask_as_alice(r, "MESSAGE", OUTSIDE, FROM_A, ""), 403);
    routes[0] = (struct settings_route){
        .when = {.from = {{.kind = FROM_ACCOUNTS}}, .from_n = 1},
        .action = ACTION_TO,
        .target = {{.kind = TARGET_URI}},
        .targets_n = 1,
    };
    r->set->routes_n = 1;
    assert_int_equal(ask_as_alice(r, "MESSAGE", OUTSIDE, FROM_A, ""), 0);
    assert_int_equal(heard(r, STRANGER, "MESSAGE " OUTSIDE), 1);
    say(r, STRANGER, reply(find_raw(r, STRANGER, "MESSAGE"), 200, "b", ""));
    /* The route is for accounts: who is none is refused without state, as before. */
    assert_int_equal(ask(r, STRANGER, "MESSAGE", OUTSIDE, FROM_X, ""), 403);
    assert_int_equal(ask(r, BOB, "MESSAGE", OUTSIDE, FROM_X, ""), 403);
    rig_quiet(r);
}

static void test_a_network_without_login(void **state)
{
    struct rig *r = *state;
    struct addr_net net;
    assert_int_equal(addr_net_parse(SV("203.0.113.8/29"), &net), ERR_OK);
    routes[0] = (struct settings_route){
        .when = {.from = {{.kind = FROM_NETWORK, .network = net}}, .from_n = 1},
        .action = ACTION_TO,
        .target = {{.kind = TARGET_LOCAL}},
        .targets_n = 1,
    };
    r->set->routes_n = 1;
    assert_int_equal(ask(r, STRANGER, "MESSAGE", "sip:bob@example.com", FROM_X, ""), 0);
    assert_int_equal(heard(r, BOB, "MESSAGE " BOB_AT), 1);
    say(r, BOB, reply(find_raw(r, BOB, "MESSAGE"), 200, "b", ""));
    assert_int_equal(ask(r, DESK, "MESSAGE", "sip:bob@example.com", FROM_X, ""), 403);
    /* A name of ours has still to be proved. */
    assert_int_equal(ask(r, STRANGER, "MESSAGE", "sip:bob@example.com", FROM_A, ""), 407);
    rig_quiet(r);
}

static void expect_identity(struct rig *r, const char *from_to, const char *more, const char *want)
{
    char line[256];
    assert_int_equal(ask_as_alice(r, "MESSAGE", "sip:bob@example.com", from_to, more), 0);
    const char *raw = find_raw(r, BOB, "MESSAGE");
    assert_int_equal(heard(r, BOB, "MESSAGE"), 1);
    assert_null(strstr(raw, "P-Preferred-Identity"));
    assert_null(strstr(raw, "evil"));
    snprintf(line, sizeof(line), "\r\nP-Asserted-Identity: %s\r\n", want);
    if (*want)
        assert_non_null(strstr(raw, line));
    else
        assert_null(strstr(raw, "P-Asserted-Identity"));
    say(r, BOB, reply(raw, 200, "b", ""));
}

static void test_identity(void **state)
{
    struct rig *r = *state;
    r->dir.account[0].name = SV("Alice \"A\" Meier");
#define ALICE_NAME "\"Alice \\\"A\\\" Meier\" "
    expect_identity(r, FROM_A, "", ALICE_NAME "<sip:alice@example.com>");
    expect_identity(r, FROM_A, "P-Asserted-Identity: <sip:evil@example.com>\r\n",
                    ALICE_NAME "<sip:alice@example.com>");
    expect_identity(r, FROM_A, "P-Preferred-Identity: <sip:101@example.com>\r\n",
                    ALICE_NAME "<sip:101@example.com>");
    expect_identity(r, FROM_A, "P-Preferred-Identity: <tel:+1-555-0101>\r\n",
                    ALICE_NAME "<tel:+15550101>");
    expect_identity(r, FROM_A, "P-Preferred-Identity: <sip:bob@example.com>\r\n",
                    ALICE_NAME "<sip:alice@example.com>");
    expect_identity(r, FROM_A, "Privacy: id\r\n", "");
    /* Nameless to the callee, not to us. */
    expect_identity(r, FROM_ANY, "Privacy: id\r\n", "");
    expect_identity(r, FROM_ANY, "P-Preferred-Identity: <sip:101@example.com>\r\n",
                    ALICE_NAME "<sip:101@example.com>");
    assert_int_equal(ask_as_alice(r, "MESSAGE", "sip:bob@example.com", FROM_ANY,
                                  "P-Preferred-Identity: <sip:bob@example.com>\r\n"),
                     403);
    assert_int_equal(ask(r, ALICE, "MESSAGE", "sip:bob@example.com", FROM_ANY, ""), 403);
    assert_int_equal(
        ask(r, ALICE, "MESSAGE", "sip:bob@example.com", FROM_A, "Privacy: header;critical\r\n"),
        500);
    rig_quiet(r);
}

static void test_a_phone_redirects(void **state)
{
    struct rig *r = *state;
    struct binding at = binding_of(r, "sip:alice@192.0.2.13:5060", DESK);
    rig_bind(r, "alice@example.com", &at, 1);
    /* To another account: followed, as bob might call it. */
    assert_int_equal(ask_as_alice(r, "MESSAGE", "sip:bob@example.com", FROM_A, ""), 0);
    say(r, BOB, reply(find_raw(r, BOB, "MESSAGE"), 302, "b", "Contact: <sip:101@example.com>\r\n"));
    assert_int_equal(heard(r, DESK, "MESSAGE sip:alice@192.0.2.13:5060"), 1);
    say(r, DESK, reply(find_raw(r, DESK, "MESSAGE sip:alice"), 200, "d", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200"), 1);
    rig_quiet(r);
}

static void test_a_phone_redirects_to_the_outside(void **state)
{
    struct rig *r = *state;
    struct binding b = binding_of(r, BOB_AT, BOB);
    rig_bind(r, "bob@example.com", &b, 1);
    /* Nothing leaves without a route: the caller is told (D6). */
    assert_int_equal(ask_as_alice(r, "MESSAGE", "sip:bob@example.com", FROM_A, ""), 0);
    say(r, BOB, reply(find_raw(r, BOB, "MESSAGE"), 302, "b", "Contact: <" OUTSIDE ">\r\n"));
    assert_int_equal(heard(r, STRANGER, "MESSAGE"), 0);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 302"), 1);
    /* With one for bob it is followed; one for alice would not do. */
    routes[0] = (struct settings_route){
        .when = {.from = {{.kind = FROM_ACCOUNT, .user = SV("bob")}}, .from_n = 1},
        .action = ACTION_TO,
        .target = {{.kind = TARGET_URI}},
        .targets_n = 1,
    };
    r->set->routes_n = 1;
    assert_int_equal(ask_as_alice(r, "MESSAGE", "sip:bob@example.com", FROM_A, ""), 0);
    say(r, BOB, reply(find_raw(r, BOB, "MESSAGE"), 302, "b", "Contact: <" OUTSIDE ">\r\n"));
    assert_int_equal(heard(r, STRANGER, "MESSAGE " OUTSIDE), 1);
    say(r, STRANGER, reply(find_raw(r, STRANGER, "MESSAGE"), 200, "s", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200"), 1);
    routes[0].when.from[0].user = SV("alice");
    assert_int_equal(ask_as_alice(r, "MESSAGE", "sip:bob@example.com", FROM_A, ""), 0);
    say(r, BOB, reply(find_raw(r, BOB, "MESSAGE"), 302, "b", "Contact: <" OUTSIDE ">\r\n"));
    assert_int_equal(heard(r, STRANGER, "MESSAGE"), 0);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 302"), 1);
    rig_quiet(r);
}

/* A dialog that nobody follows, between phones behind NATs: its requests go by the flows of the route
 * set, and who comes by his own is not asked who he is (RFC 5626 §5.3). */
static void test_an_unfollowed_dialog(void **state)
{
    struct rig *r = *state;
    struct binding at = binding_of(r, "sip:bob@10.0.0.7:5060", BOB);
    char more[1024];
    at.by_flow = true;
    rig_bind(r, "bob@example.com", &at, 1);
    assert_int_equal(ask_as_alice(r, "SUBSCRIBE", "sip:bob@example.com", FROM_A,
                                  "X-Nat: 1\r\nEvent: dialog\r\nContact: <sip:alice@10.9.9.9>\r\n"),
                     0);
    const char *raw = find_raw(r, BOB, "SUBSCRIBE sip:bob@10.0.0.7");
    const char *inner = value(raw, "Record-Route");
    const char *outer = value(strstr(raw, "\r\nRecord-Route") + 2, "Record-Route");
    assert_true(*inner && *outer && strcmp(inner, outer) != 0);
    snprintf(more, sizeof(more),
             "Route: %s\r\nRoute: %s\r\nEvent: dialog\r\nSubscription-State: active\r\n", inner,
             outer);
    say(r, BOB, reply(raw, 200, "b1", "Contact: <sip:bob@10.0.0.7:5060>\r\n"));
    const char *back =
        "From: <sip:bob@example.com>;tag=b1\r\nTo: <sip:alice@example.com>;tag=a1\r\n";
    char call[16];
    snprintf(call, sizeof(call), "r%u", serial);
    rig_clear(r);
    say(r, BOB, request(r, BOB, "NOTIFY", "sip:alice@10.9.9.9", back, call, more));
    assert_int_equal(heard(r, ALICE, "NOTIFY sip:alice@10.9.9.9"), 1);
    say(r, ALICE, reply(find_raw(r, ALICE, "NOTIFY"), 200, NULL, ""));
    assert_int_equal(heard(r, BOB, "SIP/2.0 200"), 1);
    /* The same from elsewhere has to be proved; of another call the tokens are worth nothing. */
    rig_clear(r);
    say(r, DESK, request(r, DESK, "NOTIFY", "sip:alice@10.9.9.9", back, call, more));
    assert_int_equal(heard(r, DESK, "SIP/2.0 407"), 1);
    assert_int_equal(heard(r, ALICE, ""), 0);
    say(r, BOB, request(r, BOB, "NOTIFY", "sip:alice@10.9.9.9", back, "other", more));
    assert_int_equal(heard(r, ALICE, ""), 0);
    rig_quiet(r);
}

/* What a caller writes does not lead around what the administrator wrote (D6, D42). */
static void test_no_way_around(void **state)
{
    struct rig *r = *state;
    static const char *const aside = "Route: <sip:192.0.2.13:5060;lr>\r\n";
    routes[0] = (struct settings_route){
        .when = {.user = {SV("+4990*"), SV("0900*")}, .user_n = 2},
        .action = ACTION_REJECT,
        .status = 403,
        .reason = SV("Premium"),
    };
    routes[1] = (struct settings_route){
        .when = {.domain = {SV("bad.test"), SV("203.0.113.7")}, .domain_n = 2},
        .action = ACTION_REJECT,
        .status = 403,
        .reason = SV("Bad"),
    };
    routes[2] = (struct settings_route){
        .when = {.user = {SV("gate")}, .user_n = 1},
        .action = ACTION_TO,
        .target = {{.kind = TARGET_SIP, .uri = SV(OUTSIDE)}},
        .targets_n = 1,
    };
    routes[3] = (struct settings_route){
        .when = {.domain = {SV("203.0.113.9")}, .domain_n = 1},
        .action = ACTION_TO,
        .target = {{.kind = TARGET_URI}},
        .targets_n = 1,
    };
    r->set->routes_n = 4;
    static const char *const premium[] = {"sip:0900123@example.com", "sip:0-900-123@example.com",
                                          "sip:%2b4990123@example.com",
                                          "sip:+49.90.123;x=y@example.com", "tel:+49(90)123"};
    for (size_t i = 0; i < sizeof(premium) / sizeof(premium[0]); i++) {
        assert_int_equal(ask_as_alice(r, "MESSAGE", premium[i], FROM_A, ""), 403);
        assert_true(heard(r, ALICE, "SIP/2.0 403 Premium"));
    }
    static const char *const bad[] = {"sip:x@bad.test", "sip:x@BAD.test.", "sip:x@203.0.113.7",
                                      "sip:x@[::ffff:203.0.113.7]",
                                      "sip:x@203.0.113.9;maddr=203.0.113.7"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(ask_as_alice(r, "MESSAGE", bad[i], FROM_A, ""), 403);
        assert_true(heard(r, ALICE, "SIP/2.0 403 Bad"));
    }
    /* A Route of the caller's own. */
    assert_int_equal(ask_as_alice(r, "MESSAGE", "sip:gate@example.com", FROM_A, aside), 403);
    assert_int_equal(ask_as_alice(r, "MESSAGE", OUTSIDE, FROM_A, aside), 403);
    assert_int_equal(heard(r, DESK, ""), 0);
    assert_int_equal(ask_as_alice(r, "MESSAGE", OUTSIDE, FROM_A, ""), 0);
    say(r, STRANGER, reply(find_raw(r, STRANGER, "MESSAGE"), 200, "b", ""));
    rig_quiet(r);
}

/* A party of a call cannot make us send elsewhere by its route set (D6, D31). */
static void test_a_call_is_no_relay(void **state)
{
    struct rig *r = *state;
    char route[256], more[512], call[16];
    struct binding b = binding_of(r, BOB_AT, BOB);
    rig_bind(r, "bob@example.com", &b, 1);
    r->set->strangers = SETTINGS_STRANGERS_RING;
    assert_int_equal(ask(r, STRANGER, "INVITE", "sip:bob@example.com", FROM_X,
                         "Contact: <sip:x@203.0.113.9:5060>\r\n"),
                     0);
    snprintf(call, sizeof(call), "r%u", serial);
    say(r, BOB, reply(find_raw(r, BOB, "INVITE"), 200, "b1", "Contact: <" BOB_AT ">\r\n"));
    snprintf(route, sizeof(route), "%s",
             value(find_raw(r, STRANGER, "SIP/2.0 200"), "Record-Route"));
    const char *in_dialog =
        "From: <sip:x@else.where>;tag=x1\r\nTo: <sip:bob@example.com>;tag=b1\r\n";
    static const char *const methods[] = {"INFO", "MESSAGE", "REFER", "REGISTER", "INVITE"};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        rig_clear(r);
        snprintf(more, sizeof(more),
                 "CSeq-X: 1\r\nRoute: %s\r\nRoute: <sip:192.0.2.13:5060;lr>\r\n", route);
        say(r, STRANGER,
            request(r, STRANGER, methods[i], "sip:y@192.0.2.13", in_dialog, call, more));
        rig_run(r, 50 * USEC_MS);
        assert_int_equal(heard(r, DESK, ""), 0);
    }
    rig_clear(r);
    snprintf(more, sizeof(more), "Route: %s\r\n", route);
    say(r, STRANGER, request(r, STRANGER, "BYE", BOB_AT, in_dialog, call, more));
    assert_int_equal(heard(r, BOB, "BYE"), 1);
    say(r, BOB, reply(find_raw(r, BOB, "BYE"), 200, NULL, ""));
    rig_quiet(r);
}

static void test_tls_only(void **state)
{
    struct rig *r = *state;
    r->set->require_tls = true;
    assert_int_equal(ask(r, ALICE, "MESSAGE", "sip:bob@example.com", FROM_A, ""), 403);
    r->set->authenticate = SETTINGS_AUTH_REGISTER;
    assert_int_equal(ask(r, ALICE, "MESSAGE", "sip:bob@example.com", FROM_A, ""), 403);
    assert_true(heard(r, ALICE, "SIP/2.0 403 TLS Required"));
    rig_quiet(r);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
/* Somebody is there, but no phone: of whom we know, or a route names, the call has a record. A stranger's has none, so that he fills
 * no books, nor has one to nobody, nor what is no call. */
static void test_nobody_at_home(void **state)
{
    struct rig *r = *state;
    struct addr_net net;
    unsigned records = 0;
    assert_int_equal(addr_net_parse(SV("203.0.113.8/29"), &net), ERR_OK);
    rig_bind(r, "bob@example.com", NULL, 0);
    const struct settings_target bob = {.kind = TARGET_ACCOUNT, .user = SV("bob")};
    const struct {
        const char *method, *uri, *from_to;
        enum settings_authenticate authenticate;
        enum settings_strangers strangers;
        struct settings_route route; /* targets_n 0: none */
        unsigned status, recorded;
    } table[] = {
        {"INVITE", "sip:bob@example.com", FROM_A, .status = 480, .recorded = 480},
        {"INVITE", "sip:102@example.com", FROM_A, .status = 480, .recorded = 480},
        {"INVITE", "sip:nobody@example.com", FROM_A, .status = 404},
        {"INVITE", "sip:bob@else.where", FROM_A, .status = 403},
        {"MESSAGE", "sip:bob@example.com", FROM_A, .status = 480},
        {"INVITE", "sip:bob@example.com", FROM_A, SETTINGS_AUTH_REGISTER, .status = 480,
         .recorded = 480},
        {"INVITE", "sip:nobody@example.com", FROM_A, SETTINGS_AUTH_REGISTER, .status = 480},
        {"INVITE", "sip:bob@example.com", FROM_X, .status = 403},
        {"INVITE", "sip:bob@example.com", FROM_X, .strangers = SETTINGS_STRANGERS_RING,
         .status = 480},
        {"INVITE", "sip:sales@example.com", FROM_X, .status = 480,
         .route = {.target = {bob}, .targets_n = 1}},
        {"INVITE", "sip:sales@example.com", FROM_X, .status = 480,
         .route = {.when = {.from = {{.kind = FROM_NETWORK, .network = net},
                                     {.kind = FROM_STRANGERS}},
                            .from_n = 2},
                   .target = {bob},
                   .targets_n = 1}},
        {"INVITE", "sip:sales@example.com", FROM_X, .status = 480, .recorded = 480,
         .route = {.when = {.from = {{.kind = FROM_NETWORK, .network = net}}, .from_n = 1},
                   .target = {bob},
                   .targets_n = 1}},
        {"INVITE", "sip:sales@example.com", FROM_A, .status = 603, .recorded = 603,
         .route = {.target = {bob, {.kind = TARGET_REJECT, .status = 603}}, .targets_n = 2}},
        {"INVITE", "sip:sales@example.com", FROM_A, .status = 603,
         .route = {.target = {{.kind = TARGET_REJECT, .status = 603}}, .targets_n = 1}},
        /* without state: each repetition would have one */
        {"INVITE", "sip:sales@example.com", FROM_X, .status = 480,
         .route = {.when = {.from = {{.kind = FROM_NETWORK, .network = net}}, .from_n = 1},
                   .action = ACTION_REDIRECT,
                   .target = {bob},
                   .targets_n = 1}},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const char *uri = table[i].uri, *from_to = table[i].from_to;
        bool alice = strcmp(from_to, FROM_A) == 0;
        r->set->authenticate = table[i].authenticate;
        r->set->strangers = table[i].strangers;
        routes[0] = table[i].route;
        r->set->routes_n = table[i].route.targets_n ? 1 : 0;
        unsigned status = alice ? ask_as_alice(r, table[i].method, uri, from_to, "")
                                : ask(r, STRANGER, table[i].method, uri, from_to, "");
        bool booked = r->dir.records == records + 1;
        if (status != table[i].status || booked != (table[i].recorded > 0) ||
            r->dir.records > records + 1)
            fail_msg("case %zu: %u, %u records", i, status, r->dir.records - records);
        records = r->dir.records;
        if (!booked)
            continue;
        assert_int_equal(r->dir.last.status, table[i].recorded);
        assert_int_equal(r->dir.last.answer, 0);
        assert_string_equal(r->dir.ended_by, "");
        assert_string_equal(r->dir.reason, status == 480 ? "Temporarily Unavailable" : "Decline");
        assert_string_equal(r->dir.caller, alice && table[i].authenticate == SETTINGS_AUTH_ALL
                                               ? "alice@example.com"
                                               : "");
    }
    rig_quiet(r);
    assert_int_equal(accounting_count(routing_accounting(r->routing)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_reject_and_not),
        T(test_redirect),
        T(test_redirect_without_state),
        T(test_to_account_then_reject),
        T(test_outbound_proxy),
        T(test_a_network_without_login),
        T(test_identity),
        T(test_a_phone_redirects),
        T(test_a_phone_redirects_to_the_outside),
        T(test_an_unfollowed_dialog),
        T(test_no_way_around),
        T(test_a_call_is_no_relay),
        T(test_tls_only),
        T(test_nobody_at_home),
    };
    return cmocka_run_group_tests_name("routing_routes", tests, NULL, NULL);
}
