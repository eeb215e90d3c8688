/* SPDX-License-Identifier: MIT */
/* The edge: who is let in, what is answered, where it goes; through a whole server. */
#include "rig.h"
#include "store/store_priv.h"

#define BOB_AT "sip:bob@192.0.2.12:5060"
#define FROM_A "From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:bob@example.com>\r\n"
#define FROM_X "From: <sip:x@else.where>;tag=x1\r\nTo: <sip:bob@example.com>\r\n"
#define SELF_A "From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:alice@example.com>\r\n"

static int setup(void **state)
{
    struct rig *r = rig_new(SETTINGS_AUTH_ALL);
    struct binding b = binding_of(r, BOB_AT, BOB);
    rig_bind(r, "bob@example.com", &b, 1);
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

/* Sends it and gives the status of the one answer; 0: none came, 1: it was forwarded to bob. */
static unsigned ask(struct rig *r, int who, const char *method, const char *uri,
                    const char *from_to, const char *more)
{
    char call[16];
    snprintf(call, sizeof(call), "q%u", ++serial);
    rig_clear(r);
    say(r, who, request(r, who, method, uri, from_to, call, more));
    rig_run(r, 50 * USEC_MS);
    if (heard(r, BOB, method)) {
        say(r, BOB, reply(find_raw(r, BOB, method), 200, "b", ""));
        return 1;
    }
    return r->peer[who].n ? status_of(r->peer[who].got[0]) : 0;
}

/* The same after its challenge, as this user. */
static unsigned ask_as(struct rig *r, const char *user, const char *password, const char *method,
                       const char *uri, const char *from_to, const char *more)
{
    unsigned status = ask(r, ALICE, method, uri, from_to, more);
    if (status != 401 && status != 407)
        return status;
    char *lines = scratch();
    snprintf(lines, MESSAGE, "%s%s",
             credentials(r->peer[ALICE].raw[0], method, uri, user, password, 1), more);
    return ask(r, ALICE, method, uri, from_to, lines);
}

/* Without credentials. */
static void test_without_login(void **state)
{
    struct rig *r = *state;
    static const struct {
        const char *method, *uri, *from_to;
        unsigned status;
    } table[] = {
        {"OPTIONS", "sip:example.com", FROM_X, 200},
        {"OPTIONS", "sip:EXAMPLE.COM.", FROM_X, 200},
        {"OPTIONS", "sip:alias.example.net:5060", FROM_X, 200},
        {"OPTIONS", "sip:192.0.2.1", FROM_X, 200},
        {"OPTIONS", "sip:192.0.2.1:5061", FROM_X, 403},
        {"OPTIONS", "sip:bob@example.com", FROM_X, 403},
        {"INVITE", "sip:bob@example.com", FROM_A, 407},
        {"INVITE", "sip:nobody@example.com", FROM_A, 407}, /* D1 */
        {"INVITE", "sip:bob@else.where", FROM_A, 407},
        {"INVITE", "tel:+15550102", FROM_A, 407},
        {"MESSAGE", "sip:bob@example.com", FROM_A, 407},
        {"SUBSCRIBE", "sip:bob@example.com", FROM_A, 407},
        {"NOTIFY", "sip:bob@example.com", FROM_A, 407},
        {"FROB", "sip:bob@example.com", FROM_A, 407},
        {"BYE", "sip:bob@example.com", FROM_A, 407},
        {"INVITE", "sip:bob@example.com", FROM_X, 403},
        {"INVITE", "sip:nobody@example.com", FROM_X, 403},
        {"INVITE", "sip:bob@else.where", FROM_X, 403},
        {"INVITE", "sip:example.com", FROM_X, 405},
        {"BYE", "sip:example.com", FROM_X, 405},
        {"FROB", "sip:example.com", FROM_X, 501},
        {"CANCEL", "sip:bob@example.com", FROM_X, 481},
        {"ACK", "sip:bob@example.com", FROM_A, 0},
        {"ACK", "sip:example.com", FROM_X, 0},
        {"REGISTER", "sip:example.com", SELF_A, 401},
        {"REGISTER", "sip:example.com",
         "From: <sip:n@example.com>;tag=1\r\nTo: <sip:nobody@example.com>\r\n", 401},
        {"REGISTER", "sip:example.com", "From: <sip:n@example.com>;tag=1\r\nTo: <sip:x@y.z>\r\n",
         404},
        {"REGISTER", "sip:example.com",
         "From: <sip:n@example.com>;tag=1\r\nTo: <sip:example.com>\r\n", 400},
        {"REGISTER", "sip:alice@example.com", SELF_A, 400},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        unsigned status = ask(r, STRANGER, table[i].method, table[i].uri, table[i].from_to, "");
        if (status != table[i].status || r->peer[STRANGER].n != (status ? 1 : 0))
            fail_msg("case %zu: %u, %u answers", i, status, r->peer[STRANGER].n);
        assert_int_equal(sip_transactions(r->sip), 0); /* nothing is kept of it */
    }
    /* A challenge gives away nothing of who exists: the same but for nonce and what was sent. */
    ask(r, ALICE, "INVITE", "sip:bob@example.com", FROM_A, "");
    size_t known = strlen(r->peer[ALICE].got[0]);
    ask(r, ALICE, "INVITE", "sip:bob@example.com",
        "From: <sip:nobdy@example.com>;tag=a1\r\nTo: <sip:bob@example.com>\r\n", "");
    assert_int_equal(strlen(r->peer[ALICE].got[0]), known);
}

static void test_with_login(void **state)
{
    struct rig *r = *state;
    static const struct {
        const char *user, *password, *uri, *from_to;
        unsigned status;
    } table[] = {
        {"alice", "secret", "sip:bob@example.com", FROM_A, 1},
        {"alice", "secret", "sip:b%6Fb@Example.COM", FROM_A, 1},
        {"alice", "secret", "sip:bob@alias.example.net", FROM_A, 1},
        {"alice", "secret", "sip:bob@192.0.2.1", FROM_A, 1},
        {"alice", "secret", "sip:102@example.com", FROM_A, 1},
        {"alice", "secret", "sip:+15550102@example.com;user=phone", FROM_A, 1},
        {"alice", "secret", "sip:+1-555-0102@example.com;user=phone", FROM_A, 1},
        {"alice", "secret", "sip:%2B1-555.(0102)@example.com;user=phone", FROM_A, 404},
        {"alice", "secret", "sip:102;phone-context=x@example.com;user=phone", FROM_A, 1},
        {"alice", "secret", "tel:+1-555-0102", FROM_A, 1},
        {"alice", "secret", "tel:102;phone-context=example.com", FROM_A, 1},
        {"alice", "secret", "tel:102;phone-context=else.where", FROM_A, 403},
        {"alice", "secret", "tel:+15550199", FROM_A, 404},
        {"alice", "secret", "sip:Bob@example.com", FROM_A, 404},
        {"alice", "secret", "sip:bob%00@example.com", FROM_A, 404},
        {"alice", "secret", "sip:%2562ob@example.com", FROM_A, 404},
        {"alice", "secret", "sip:nobody@example.com", FROM_A, 404},
        {"alice", "secret", "sip:alice@example.com", FROM_A, 480},
        {"alice", "secret", "sips:bob@example.com", FROM_A, 480}, /* D24 */
        {"alice", "secret", "sip:bob@else.where", FROM_A, 403},
        {"alice", "secret", "sip:bob@192.0.2.13", FROM_A, 403},
        {"alice", "Secret", "sip:bob@example.com", FROM_A, 407},
        {"bob", "secret", "sip:bob@example.com", FROM_A, 403}, /* D7: not his address */
        {"nobody", "secret", "sip:bob@example.com", FROM_A, 407},
        {"%61lice", "secret", "sip:bob@example.com", FROM_A, 407},
        {"", "secret", "sip:bob@example.com", FROM_A, 400},
        /* alice under her number, by an alias and by the address of the server */
        {"alice", "secret", "sip:bob@example.com",
         "From: <sip:101@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\n", 1},
        {"alice", "secret", "sip:bob@example.com",
         "From: <sip:%61lice@Alias.example.net>;tag=1\r\nTo: <sip:bob@example.com>\r\n", 1},
        {"alice", "secret", "sip:bob@example.com",
         "From: <sip:alice@192.0.2.1>;tag=1\r\nTo: <sip:bob@example.com>\r\n", 1},
        {"alice", "secret", "sip:bob@example.com",
         "From: <sip:102@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\n", 403},
        {"alice", "secret", "sip:bob@example.com",
         "From: <sip:alice%00@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\n", 403},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        unsigned status = ask_as(r, table[i].user, table[i].password, "MESSAGE", table[i].uri,
                                 table[i].from_to, "");
        if (status != table[i].status)
            fail_msg("case %zu (%s): %u", i, table[i].uri, status);
    }
    /* A route that somebody else made is nothing to be carried along. */
    assert_int_equal(ask_as(r, "alice", "secret", "MESSAGE", "sip:bob@example.com", FROM_A,
                            "Route: <sip:192.0.2.13;lr>\r\n"),
                     403);
    rig_quiet(r);
}

/* D5: an account registers itself and nobody else. */
static void test_register(void **state)
{
    struct rig *r = *state;
    const char *uri = "sip:example.com";
    assert_int_equal(ask_as(r, "alice", "secret", "REGISTER", uri, SELF_A,
                            "Contact: <sip:alice@192.0.2.11:5060>\r\n"),
                     200);
    assert_non_null(strstr(r->peer[ALICE].got[0], "\r\nContact: <sip:alice@192.0.2.11:5060>;expires"
                                                  "=3600\r\n"));
    assert_non_null(strstr(r->peer[ALICE].got[0], "\r\nDate: "));
    /* By her number: the same address of record. */
    assert_int_equal(ask_as(r, "alice", "secret", "REGISTER", uri,
                            "From: <sip:101@example.com>;tag=1\r\nTo: <sip:101@192.0.2.1>\r\n", ""),
                     200);
    assert_non_null(strstr(r->peer[ALICE].got[0], "<sip:alice@192.0.2.11:5060>"));
    assert_int_equal(ask_as(r, "alice", "secret", "REGISTER", uri, FROM_A, ""), 403);
    assert_int_equal(ask_as(r, "alice", "wrong", "REGISTER", uri, SELF_A, ""), 401);
    assert_int_equal(
        ask_as(r, "alice", "secret", "REGISTER", uri, SELF_A, "Contact: *\r\nExpires: 1\r\n"), 400);
    assert_int_equal(ask_as(r, "alice", "secret", "REGISTER", uri, SELF_A,
                            "Contact: <sip:alice@192.0.2.11>;expires=5\r\n"),
                     423);
    assert_non_null(strstr(r->peer[ALICE].got[0], "\r\nMin-Expires: 60\r\n"));
    static const char *const wrong[] = {
        "sip:x@192.0.2.1",         "sip:x@192.0.2.1:5060",
        "sip:x@127.0.0.1",         "sip:x@10.0.0.1",
        "sip:x@224.0.1.75",        "sip:x@0.0.0.0",
        "sip:x@h;maddr=127.0.0.1", "sip:x@192.0.2.11:5060;maddr=169.254.169.254"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char more[128];
        snprintf(more, sizeof(more), "Contact: <%s>\r\n", wrong[i]);
        unsigned status = ask_as(r, "alice", "secret", "REGISTER", uri, SELF_A, more);
        if (status != (strstr(wrong[i], "@h;") ? 200 : 403)) /* a name is reached by its flow */
            fail_msg("%s: %u", wrong[i], status);
    }
    /* Behind a NAT any address but ours will do: it is not used. */
    assert_int_equal(ask_as(r, "alice", "secret", "REGISTER", uri, SELF_A,
                            "X-Nat: 1\r\nContact: <sip:x@192.0.2.1>\r\n"),
                     403);
    assert_int_equal(ask_as(r, "alice", "secret", "REGISTER", uri, SELF_A,
                            "X-Nat: 1\r\nContact: <sip:x@10.9.9.9>\r\n"),
                     200);
    /* It can be taken back from where it could not be made. */
    assert_int_equal(
        ask_as(r, "alice", "secret", "REGISTER", uri, SELF_A, "Contact: <sip:x@10.9.9.9>\r\n"),
        403);
    assert_int_equal(ask_as(r, "alice", "secret", "REGISTER", uri, SELF_A,
                            "Contact: <sip:x@10.9.9.9>;expires=0\r\n"),
                     200);
    assert_null(strstr(r->peer[ALICE].got[0], "10.9.9.9"));
    assert_int_equal(
        ask_as(r, "alice", "secret", "REGISTER", uri, SELF_A, "Contact: *\r\nExpires: 0\r\n"), 200);
    assert_null(strstr(r->peer[ALICE].got[0], "Contact"));
    assert_int_equal(ask_as(r, "bob", "secret", "MESSAGE", "sip:alice@example.com",
                            "From: <sip:bob@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\n",
                            ""),
                     480);
    rig_quiet(r);
}

/* §8.2.2.2: one REGISTER by two ways is carried out once. The proxy has no such rule. */
static void test_merged(void **state)
{
    struct rig *r = *state;
    static char lines[MESSAGE];
    const char *uri = "sip:example.com";
    ask(r, ALICE, "REGISTER", uri, SELF_A, "");
    snprintf(lines, sizeof(lines), "%sRoute: <sip:example.com;lr>\r\n",
             credentials(r->peer[ALICE].raw[0], "REGISTER", uri, "alice", "secret", 1));
    rig_clear(r);
    say(r, ALICE, request(r, ALICE, "REGISTER", uri, SELF_A, "same", lines));
    say(r, ALICE, request(r, ALICE, "REGISTER", uri, SELF_A, "same", lines));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 482 "), 1);
    r->set->strangers = SETTINGS_STRANGERS_RING;
    for (int i = 0; i < 2; i++)
        say(r, STRANGER,
            request(r, STRANGER, "MESSAGE", i ? "sip:102@example.com" : "sip:bob@example.com",
                    FROM_X, "fork", "Route: <sip:example.com;lr>\r\n"));
    assert_int_equal(heard(r, BOB, "MESSAGE"), 2);
    rig_quiet(r);
}

/* A binding that was reached by a connection now gone is not sent to wherever its contact
 * points. */
static void test_dead_flow(void **state)
{
    struct rig *r = *state;
    struct binding b = binding_of(r, "sip:bob@10.0.0.1:5060", BOB);
    b.by_flow = true;
    b.transport = SIP_T_TCP;
    b.conn = 77;
    b.epoch = store_epoch(r->store) + 1; /* another process */
    rig_bind(r, "bob@example.com", &b, 1);
    assert_int_equal(ask_as(r, "alice", "secret", "MESSAGE", "sip:bob@example.com", FROM_A, ""),
                     480);
    b.uri = SV(BOB_AT);
    rig_bind(r, "bob@example.com", &b, 1);
    assert_int_equal(ask_as(r, "alice", "secret", "MESSAGE", "sip:bob@example.com", FROM_A, ""), 1);
    rig_quiet(r);
}

static void test_strangers(void **state)
{
    struct rig *r = *state;
    r->set->strangers = SETTINGS_STRANGERS_RING;
    assert_int_equal(ask(r, STRANGER, "INVITE", "sip:bob@example.com", FROM_X, ""), 1);
    assert_int_equal(ask(r, STRANGER, "MESSAGE", "sip:102@example.com", FROM_X, ""), 1);
    /* Nobody, and nobody there, are the same to him (D1); nothing leaves (D6). */
    assert_int_equal(ask(r, STRANGER, "MESSAGE", "sip:alice@example.com", FROM_X, ""), 480);
    assert_int_equal(ask(r, STRANGER, "MESSAGE", "sip:nobody@example.com", FROM_X, ""), 480);
    assert_int_equal(ask(r, STRANGER, "MESSAGE", "sip:bob@else.where", FROM_X, ""), 403);
    assert_int_equal(ask(r, STRANGER, "MESSAGE", "tel:+15550102", FROM_X, ""), 403);
    assert_int_equal(ask(r, STRANGER, "MESSAGE", "sip:bob@example.com", FROM_A, ""), 407);
    assert_int_equal(ask(r, STRANGER, "MESSAGE", "sip:bob@example.com", FROM_X,
                         "Route: <sip:203.0.113.9;lr>\r\n"),
                     403);
    rig_quiet(r);
}

/* What was asked of a store. */
static struct {
    const struct store_location_ops *real;
    unsigned asked;
} counted;

static void counted_bindings(struct store_location *loc, struct loop *l, struct store_bindings *b)
{
    counted.asked++;
    counted.real->bindings(loc, l, b);
}

/* Who is not bound costs a stranger's request the same, be it an account, its number, or nobody (D1). */
static void test_same_work(void **state)
{
    struct rig *r = *state;
    static const char *const uris[] = {"sip:nobody@example.com", "sip:alice@example.com",
                                       "sip:101@example.com"};
    static struct store_location_ops ops;
    counted.real = r->store->loc->ops;
    ops = *counted.real;
    ops.bindings = counted_bindings;
    r->store->loc->ops = &ops;
    r->set->strangers = SETTINGS_STRANGERS_RING;
    for (unsigned i = 0; i < 3; i++) {
        counted.asked = r->dir.asked = 0;
        assert_int_equal(ask(r, STRANGER, "MESSAGE", uris[i], FROM_X, ""), 480);
        assert_int_equal(counted.asked, 2);
        assert_int_equal(r->dir.asked, 2);
    }
    /* Nobody's name is no account's number: of one name it is the account. */
    r->dir.account[1].numbers[0] = SV("alice");
    assert_int_equal(ask(r, STRANGER, "MESSAGE", "sip:alice@example.com", FROM_X, ""), 480);
    r->store->loc->ops = counted.real;
    rig_quiet(r);
}

static void test_stale(void **state)
{
    struct rig *r = *state;
    const char *uri = "sip:bob@example.com";
    ask(r, ALICE, "MESSAGE", uri, FROM_A, "");
    assert_null(strstr(r->peer[ALICE].got[0], "stale"));
    static char challenge[MESSAGE], lines[MESSAGE];
    snprintf(challenge, sizeof(challenge), "%s", r->peer[ALICE].raw[0]);
    snprintf(lines, sizeof(lines), "%s",
             credentials(challenge, "MESSAGE", uri, "alice", "secret", 1));
    assert_int_equal(ask(r, ALICE, "MESSAGE", uri, FROM_A, lines), 1);
    /* A replay, also from elsewhere; a wrong password is not told that its nonce is stale. */
    assert_int_equal(ask(r, ALICE, "MESSAGE", uri, FROM_A, lines), 407);
    assert_non_null(strstr(r->peer[ALICE].got[0], "stale=true"));
    assert_int_equal(ask(r, STRANGER, "MESSAGE", uri, FROM_A, lines), 407);
    assert_non_null(strstr(r->peer[STRANGER].got[0], "stale=true"));
    snprintf(lines, sizeof(lines), "%s",
             credentials(challenge, "MESSAGE", uri, "alice", "wrong", 1));
    assert_int_equal(ask(r, ALICE, "MESSAGE", uri, FROM_A, lines), 407);
    assert_null(strstr(r->peer[ALICE].got[0], "stale"));
    snprintf(lines, sizeof(lines), "%s",
             credentials(challenge, "MESSAGE", uri, "alice", "secret", 2));
    assert_int_equal(ask(r, ALICE, "MESSAGE", uri, FROM_A, lines), 1);
    /* Only what is offered is taken (D3). */
    snprintf(lines, sizeof(lines), "%s",
             credentials(challenge, "MESSAGE", uri, "alice", "secret", 3));
    r->set->digest = (struct auth_policy){AUTH_MODE_LIST, {AUTH_SHA256}, 1};
    assert_int_equal(ask(r, ALICE, "MESSAGE", uri, FROM_A, lines), 407);
    assert_non_null(strstr(r->peer[ALICE].got[0], "algorithm=SHA-256"));
    assert_null(strstr(r->peer[ALICE].got[0], "algorithm=MD5"));
    assert_int_equal(ask_as(r, "alice", "secret", "MESSAGE", uri, FROM_A, ""), 1);
    /* Malformed. */
    assert_int_equal(
        ask(r, ALICE, "MESSAGE", uri, FROM_A,
            "Proxy-Authorization: Digest realm=\"example.com\", username=\"alice\", "
            "nonce=\"x\", uri=\"y\", response=\"z\", cnonce=\"c\", qop=auth, nc=1\r\n"),
        400);
    rig_quiet(r);
}

static void test_draining(void **state)
{
    struct rig *r = *state;
    routing_drain(r->routing);
    assert_int_equal(ask(r, ALICE, "INVITE", "sip:bob@example.com", FROM_A, ""), 503);
    assert_non_null(strstr(r->peer[ALICE].got[0], "Retry-After: "));
    assert_int_equal(ask(r, ALICE, "MESSAGE", "sip:bob@example.com", FROM_A, ""), 407);
    assert_int_equal(ask(r, ALICE, "REGISTER", "sip:example.com", SELF_A, ""), 401);
}

/* The directory takes its time, and the sender asks again meanwhile: one request all the same. */
static void test_repeated(void **state)
{
    struct rig *r = *state;
    const char *uri = "sip:bob@example.com";
    static char lines[MESSAGE];
    ask(r, ALICE, "MESSAGE", uri, FROM_A, "");
    snprintf(lines, sizeof(lines), "%s",
             credentials(r->peer[ALICE].raw[0], "MESSAGE", uri, "alice", "secret", 1));
    rig_clear(r);
    r->dir.hold = true;
    const char *text = request(r, ALICE, "MESSAGE", uri, FROM_A, "again", lines);
    say(r, ALICE, text);
    say(r, ALICE, text);
    say(r, ALICE, request(r, ALICE, "MESSAGE", uri, FROM_A, "another", lines));
    assert_int_equal(r->dir.held, 2);
    assert_int_equal(routing_contexts(r->routing), 2);
}

/* The caller gives up while his account is looked up; a call that was ringing when the server
 * ends. */
static void test_teardown(void **state)
{
    struct rig *r = *state;
    const char *uri = "sip:bob@example.com";
    ask(r, ALICE, "INVITE", uri, FROM_A, "");
    static char lines[MESSAGE];
    snprintf(lines, sizeof(lines), "%s",
             credentials(r->peer[ALICE].raw[0], "INVITE", uri, "alice", "secret", 1));
    rig_clear(r);
    /* No time passes between the two. */
    struct addr to = address(SERVER_IP, 5060);
    const char *texts[2] = {request(r, ALICE, "INVITE", uri, FROM_A, "gone", lines),
                            request(r, ALICE, "CANCEL", uri, FROM_A, "gone", "")};
    for (int i = 0; i < 2; i++) {
        sv piece = sv_of(texts[i]);
        assert_int_equal(udp_send(r->peer[ALICE].udp, NULL, &to, &piece, 1), ERR_OK);
    }
    rig_run(r, USEC_S);
    assert_true(heard(r, ALICE, "SIP/2.0 200 ") + heard(r, ALICE, "SIP/2.0 481 ") >= 1);
    rig_quiet(r);
    assert_int_equal(ask_as(r, "alice", "secret", "MESSAGE", uri, FROM_A, ""), 1);
    ask(r, ALICE, "INVITE", uri, FROM_A, "");
    snprintf(lines, sizeof(lines), "%s",
             credentials(r->peer[ALICE].raw[0], "INVITE", uri, "alice", "secret", 1));
    rig_clear(r);
    say(r, ALICE, request(r, ALICE, "INVITE", uri, FROM_A, "ringing", lines));
    assert_int_equal(heard(r, BOB, "INVITE"), 1);
    assert_int_equal(routing_contexts(r->routing), 1);
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_without_login), T(test_with_login), T(test_register),  T(test_dead_flow),
        T(test_merged),        T(test_strangers),  T(test_stale),     T(test_draining),
        T(test_teardown),      T(test_repeated),   T(test_same_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
