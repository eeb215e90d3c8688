/* SPDX-License-Identifier: MIT */
/* The proxy between raw peers: whole messages, forks, best responses, routes, validation. */
#include "rig.h"

#define BOB_URI "sip:bob@example.com"
#define BOB_AT  "sip:bob@192.0.2.12:5060"
#define DESK_AT "sip:desk@192.0.2.13:5060"
#define CONTACT "Contact: <sip:alice@192.0.2.11:5060>\r\n"

static int setup(void **state)
{
    struct rig *r = rig_new(SETTINGS_AUTH_REGISTER);
    r->set->strangers = SETTINGS_STRANGERS_RING;
    *state = r;
    return 0;
}
static int teardown(void **state)
{
    rig_free(*state);
    return 0;
}

static void ring_one(struct rig *r)
{
    struct binding b = binding_of(r, BOB_AT, BOB);
    rig_bind(r, "bob@example.com", &b, 1);
}
static void ring_two(struct rig *r)
{
    struct binding b[2] = {binding_of(r, BOB_AT, BOB), binding_of(r, DESK_AT, DESK)};
    rig_bind(r, "bob@example.com", b, 2);
}

static void invite(struct rig *r, const char *call_id, const char *more)
{
    say(r, ALICE, request(r, ALICE, "INVITE", BOB_URI, TO_BOB, call_id, more));
}

/* Caller's ACK of an answer other than 2xx. */
static void ack(struct rig *r, const char *call_id, const char *response)
{
    ack_refusal(r, BOB_URI, call_id, response);
}

/* §16.6, §16.7: octet for octet but for marks. */
static void test_whole(void **state)
{
    struct rig *r = *state;
    ring_one(r);
    invite(r, "one",
           CONTACT "Proxy-Authorization: Digest realm=\"example.com\", username=\"alice\"\r\n"
                   "Proxy-Authorization: Digest realm=\"else.where\", username=\"alice\"\r\n"
                   "Authorization: Digest realm=\"example.com\", username=\"alice\"\r\n"
                   "P-Asserted-Identity: <sip:president@example.com>\r\n"
                   "X-Odd:   kept  \r\nRequire: whatever\r\n");
    assert_int_equal(heard(r, BOB, ""), 1);
    assert_string_equal(
        r->peer[BOB].got[0],
        "INVITE " BOB_AT " SIP/2.0\r\n"
        "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK*;rport\r\n"
        "Record-Route: <sip:*@192.0.2.1:5060;lr>\r\n"
        "Via: SIP/2.0/UDP "
        "192.0.2.11:5060;branch=z9hG4bKINVITEone;rport=5060;received=192.0.2.11\r\n" TO_BOB
        "Call-ID: one\r\nCSeq: 1 INVITE\r\nMax-Forwards: 69\r\n" CONTACT
        "Proxy-Authorization: Digest realm=\"else.where\", username=\"alice\"\r\n"
        "X-Odd:   kept  \r\nRequire: whatever\r\nContent-Length: 0\r\nMax-Breadth: 60\r\n\r\n");
    rig_run(r, 300 * USEC_MS);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 100 "), 1);
    const char *in = r->peer[BOB].raw[0];
    say(r, BOB, reply(in, 100, NULL, ""));
    assert_int_equal(heard(r, ALICE, ""), 1);
    say(r, BOB, reply(in, 180, "b1", "P-Asserted-Identity: <sip:x@y>\r\nX-A: 1\r\n"));
    assert_string_equal(
        r->peer[ALICE].got[1],
        "SIP/2.0 180 Ringing\r\n"
        "Via: SIP/2.0/UDP "
        "192.0.2.11:5060;branch=z9hG4bKINVITEone;rport=5060;received=192.0.2.11\r\n"
        "Record-Route: <sip:*@192.0.2.1:5060;lr>\r\n"
        "From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:bob@example.com>;tag=b1\r\n"
        "Call-ID: one\r\nCSeq: 1 INVITE\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n");
    const char *ok = reply(in, 200, "b1", "Contact: <" BOB_AT ">\r\n");
    say(r, BOB, ok);
    say(r, BOB, ok); /* again: as often upstream */
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 2);

    /* The dialog: ACK without our credentials, BYE from the callee by the caller's flow. */
    char *text = scratch();
    char route[256];
    snprintf(route, sizeof(route), "%s", value(find_raw(r, ALICE, "SIP/2.0 200"), "Record-Route"));
    snprintf(text, MESSAGE,
             "ACK " BOB_AT " SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.11:5060;branch=z9hG4bKack\r\n"
             "Route: %s\r\nFrom: <sip:alice@example.com>;tag=a1\r\nTo: <" BOB_URI ">;tag=b1\r\n"
             "Call-ID: one\r\nCSeq: 1 ACK\r\nMax-Forwards: 70\r\n"
             "Proxy-Authorization: Digest realm=\"example.com\", username=\"alice\"\r\n"
             "Content-Length: 0\r\n\r\n",
             route);
    rig_clear(r);
    say(r, ALICE, text);
    say(r, ALICE, text);
    assert_int_equal(heard(r, BOB, "ACK"), 2);
    assert_string_equal(r->peer[BOB].raw[0], r->peer[BOB].raw[1]); /* §16.11: the same branch */
    assert_string_equal(
        r->peer[BOB].got[0],
        "ACK " BOB_AT " SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK*\r\n"
        "Via: SIP/2.0/UDP 192.0.2.11:5060;branch=z9hG4bKack\r\n"
        "From: <sip:alice@example.com>;tag=a1\r\nTo: <" BOB_URI ">;tag=b1\r\n"
        "Call-ID: one\r\nCSeq: 1 ACK\r\nMax-Forwards: 69\r\nContent-Length: 0\r\n\r\n");
    text = scratch();
    snprintf(text, MESSAGE,
             "BYE sip:alice@192.0.2.11:5060 SIP/2.0\r\n"
             "Via: SIP/2.0/UDP 192.0.2.12:5060;branch=z9hG4bKbye\r\n"
             "Route: %s\r\nFrom: <" BOB_URI ">;tag=b1\r\nTo: <sip:alice@example.com>;tag=a1\r\n"
             "Call-ID: one\r\nCSeq: 1 BYE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
             route);
    rig_clear(r);
    say(r, BOB, text);
    assert_int_equal(heard(r, ALICE,
                           "BYE sip:alice@192.0.2.11:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192"
                           ".0.2.1:5060;branch=z9hG4bK*;rport\r\nVia: "),
                     1);
    assert_null(strstr(r->peer[ALICE].got[0], "Route"));
    say(r, ALICE, reply(r->peer[ALICE].raw[0], 200, NULL, ""));
    assert_int_equal(heard(r, BOB,
                           "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.12:5060;branch="
                           "z9hG4bKbye"),
                     1);
    assert_int_equal(r->dir.records, 1);
    assert_string_equal(r->dir.ended_by, "callee");
    rig_quiet(r);
}

/* RFC 5658: the callee's side is TCP, so each side gets its own Record-Route. */
static void test_double_record_route(void **state)
{
    struct rig *r = *state;
    struct binding b = binding_of(r, DESK_AT ";transport=tcp", DESK);
    rig_bind(r, "bob@example.com", &b, 1);
    invite(r, "two", CONTACT);
    rig_run(r, 100 * USEC_MS);
    assert_non_null(strstr(r->stream_got,
                           "INVITE " DESK_AT ";transport=tcp SIP/2.0\r\n"
                           "Via: SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK*\r\n"
                           "Record-Route: <sip:*@192.0.2.1:5060;transport=tcp;lr>\r\n"
                           "Record-Route: <sip:*@192.0.2.1:5060;lr>\r\n"));
    rig_quiet(r);
}

/* One answers: the other is cancelled, with the reason why; a 2xx that was on its way still goes
 * up. */
static void test_fork(void **state)
{
    struct rig *r = *state;
    ring_two(r);
    invite(r, "f", CONTACT);
    const char *bob = find_raw(r, BOB, "INVITE"), *desk = find_raw(r, DESK, "INVITE");
    say(r, BOB, reply(bob, 180, "b1", ""));
    say(r, DESK, reply(desk, 180, "d1", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 180 "), 2);
    say(r, BOB, reply(bob, 200, "b1", "Contact: <" BOB_AT ">\r\n"));
    assert_int_equal(heard(r, BOB, "CANCEL"), 0);
    assert_int_equal(heard(r, DESK, "CANCEL " DESK_AT), 1);
    assert_non_null(strstr(find_got(r, DESK, "CANCEL"),
                           "Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n"));
    say(r, DESK, reply(desk, 180, "d1", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 180 "), 2); /* nobody wants to know now */
    say(r, DESK, reply(desk, 200, "d1", "Contact: <" DESK_AT ">\r\n"));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 2);
    rig_quiet(r);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 4"), 0);
}

/* A 6xx stops the ringing but waits for the others. */
static void test_decline(void **state)
{
    struct rig *r = *state;
    ring_two(r);
    invite(r, "d", CONTACT);
    const char *bob = find_raw(r, BOB, "INVITE"), *desk = find_raw(r, DESK, "INVITE");
    say(r, DESK, reply(desk, 180, "d1", ""));
    say(r, BOB, reply(bob, 603, "b1", ""));
    assert_int_equal(heard(r, BOB, "ACK"), 1);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 603 "), 0);
    assert_int_equal(heard(r, DESK, "CANCEL"), 1);
    assert_null(strstr(find_got(r, DESK, "CANCEL"), "Reason"));
    say(r, DESK, reply(desk, 487, "d1", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 603 "), 1);
    ack(r, "d", find_got(r, ALICE, "SIP/2.0 603"));
    assert_int_equal(routing_contexts(r->routing), 0); /* at once */
    rig_quiet(r);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 603 "), 1);
    assert_int_equal(r->dir.records, 1);
    assert_int_equal(r->dir.last.status, 603);
}

static void test_cancel(void **state)
{
    struct rig *r = *state;
    ring_two(r);
    invite(r, "c", CONTACT);
    const char *bob = find_raw(r, BOB, "INVITE"), *desk = find_raw(r, DESK, "INVITE");
    say(r, BOB, reply(bob, 180, "b1", ""));
    say(r, ALICE, request(r, ALICE, "CANCEL", BOB_URI, TO_BOB, "c", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    assert_int_equal(heard(r, BOB, "CANCEL"), 1);
    assert_int_equal(heard(r, DESK, "CANCEL"), 0); /* not before it has said something (§9.1) */
    say(r, DESK, reply(desk, 183, "d1", ""));
    assert_int_equal(heard(r, DESK, "CANCEL"), 1);
    say(r, BOB, reply(bob, 487, "b1", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 487 "), 0);
    say(r, DESK, reply(desk, 487, "d1", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 487 "), 1);
    ack(r, "c", find_got(r, ALICE, "SIP/2.0 487"));
    assert_string_equal(r->dir.ended_by, "caller");
    /* What matches nothing is told so, marks or no. */
    say(r, ALICE, request(r, ALICE, "CANCEL", BOB_URI, TO_BOB, "nothing", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 481 "), 1);
    rig_quiet(r);
}

/* §16.7 step 7: the challenges of both; however long they are, there is an answer. */
static void test_challenges(void **state)
{
    struct rig *r = *state;
    static char large[8000];
    ring_two(r);
    for (int round = 0; round < 2; round++) {
        const char *call = round ? "x2" : "x1", *lines = "WWW-Authenticate: Digest realm=\"p\"\r\n";
        if (round) {
            memset(large, 'x', sizeof(large) - 1);
            memcpy(large, "WWW-Authenticate: Digest realm=\"", 32);
            memcpy(large + sizeof(large) - 4, "\"\r\n", 4);
            lines = large;
        }
        rig_clear(r);
        invite(r, call, CONTACT);
        say(r, DESK, reply(find_raw(r, DESK, "INVITE"), 401, "d1", lines));
        say(r, BOB,
            reply(find_raw(r, BOB, "INVITE"), 407, "b1",
                  "Proxy-Authenticate: Digest realm=\"q\"\r\n"));
        const char *got = find_got(r, ALICE, "SIP/2.0 40");
        assert_true(got[0]);
        assert_non_null(strstr(got, "Proxy-Authenticate: Digest realm=\"q\"\r\n"));
        if (!round)
            assert_non_null(strstr(got, "WWW-Authenticate: Digest realm=\"p\"\r\n"));
        ack(r, call, got);
    }
    rig_quiet(r);
}

/* A response that cannot be passed on is an answer of ours, not silence for ever. */
static void test_unwritable(void **state)
{
    struct rig *r = *state;
    char *lines = scratch();
    size_t n = 0;
    ring_one(r);
    for (int i = 0; i < 120; i++) /* more edits than an edit list holds */
        n += (size_t)snprintf(lines + n, MESSAGE - n, "P-Asserted-Identity: <sip:x@y>\r\n");
    invite(r, "u", CONTACT);
    say(r, BOB, reply(find_raw(r, BOB, "INVITE"), 486, "b1", lines));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 500 "), 1);
    ack(r, "u", find_got(r, ALICE, "SIP/2.0 500"));
    rig_quiet(r);
}

static void test_made_here(void **state)
{
    struct rig *r = *state;
    ring_one(r);
    /* §16.7 step 6: a 503 of a phone is not ours. */
    invite(r, "m1", CONTACT);
    say(r, BOB, reply(find_raw(r, BOB, "INVITE"), 503, "b1", "Retry-After: 9\r\n"));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 500 "), 1);
    ack(r, "m1", find_got(r, ALICE, "SIP/2.0 500"));
    /* Silence: 408 to an INVITE, silence to anything else (RFC 4320). */
    rig_clear(r);
    invite(r, "m2", CONTACT);
    say(r, ALICE, request(r, ALICE, "MESSAGE", BOB_URI, TO_BOB, "m3", ""));
    assert_int_equal(heard(r, BOB, "MESSAGE"), 1);
    assert_null(strstr(find_got(r, BOB, "MESSAGE"), "Record-Route"));
    rig_run(r, 33 * USEC_S);
    assert_true(heard(r, ALICE, "SIP/2.0 408 ") >= 1);
    for (unsigned i = 0; i < r->peer[ALICE].n && i < KEPT; i++)
        assert_true(strstr(r->peer[ALICE].got[i], "CSeq: 1 INVITE") != NULL ||
                    strncmp(r->peer[ALICE].got[i], "SIP/2.0 100 ", 12) == 0);
    ack(r, "m2", find_got(r, ALICE, "SIP/2.0 408"));
    rig_quiet(r);
    /* Nowhere to send it at all. */
    struct binding b = binding_of(r, DESK_AT ";transport=tls", DESK);
    rig_bind(r, "bob@example.com", &b, 1);
    rig_clear(r);
    invite(r, "m4", CONTACT);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 480 "), 1);
    ack(r, "m4", find_got(r, ALICE, "SIP/2.0 480"));
    rig_quiet(r);
}

/* §16.8: ringing ends; every 1xx but 100 begins it anew. */
static void test_timer_c(void **state)
{
    struct rig *r = *state;
    r->set->ringing = 200 * USEC_S;
    ring_one(r);
    invite(r, "t", CONTACT);
    const char *in = find_raw(r, BOB, "INVITE");
    say(r, BOB, reply(in, 180, "b1", ""));
    rig_run(r, 150 * USEC_S);
    say(r, BOB, reply(in, 180, "b1", ""));
    rig_run(r, 150 * USEC_S);
    assert_int_equal(heard(r, BOB, "CANCEL"), 0);
    say(r, BOB, reply(in, 100, NULL, ""));
    rig_run(r, 49 * USEC_S);
    assert_int_equal(heard(r, BOB, "CANCEL"), 0);
    rig_run(r, 2 * USEC_S);
    assert_true(heard(r, BOB, "CANCEL") >= 1);
    say(r, BOB, reply(in, 487, "b1", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 487 "), 1);
    ack(r, "t", find_got(r, ALICE, "SIP/2.0 487"));
    rig_quiet(r);
}

static void test_breadth(void **state)
{
    struct rig *r = *state;
    ring_two(r);
    invite(r, "b0", "Max-Breadth: 0\r\n");
    invite(r, "b1", "Max-Breadth: 1\r\n");
    assert_int_equal(heard(r, ALICE, "SIP/2.0 440 "), 2);
    assert_int_equal(heard(r, BOB, "") + heard(r, DESK, ""), 0);
    invite(r, "b3", "Max-Breadth: 3\r\n");
    assert_non_null(strstr(find_got(r, BOB, "INVITE"), "Max-Breadth: 2\r\n"));
    assert_non_null(strstr(find_got(r, DESK, "INVITE"), "Max-Breadth: 1\r\n"));
    rig_clear(r);
    invite(r, "b9", "Max-Breadth: 100000\r\n");
    assert_non_null(strstr(find_got(r, BOB, "INVITE"), "Max-Breadth: 30\r\n"));
    rig_quiet(r);
}

/* §16.3, without a login, a look-up or a trace of state. */
static void test_validation(void **state)
{
    struct rig *r = *state;
    static const struct {
        const char *method, *uri, *more;
        unsigned status;
    } table[] = {
        {"INVITE", BOB_URI, "Max-Forwards: 0\r\n", 483},
        {"OPTIONS", BOB_URI, "Max-Forwards: 0\r\n", 483},
        {"OPTIONS", "sip:example.com", "Max-Forwards: 0\r\n", 200},
        {"INVITE", "http://example.com/", "", 416},
        {"INVITE", BOB_URI, "Proxy-Require: foo, bar\r\n", 420},
        {"REGISTER", "sip:example.com", "Require: foo\r\n", 420},
        {"OPTIONS", "sip:example.com", "Require: foo\r\n", 420},
        {"OPTIONS", "sip:example.com", "Require: foo\r\nProxy-Require: bar\r\n", 420},
        {"INVITE", BOB_URI, "Max-Forwards: 256\r\n", 400},
    };
    ring_one(r);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char begins[32], call[16];
        rig_clear(r);
        snprintf(begins, sizeof(begins), "SIP/2.0 %u ", table[i].status);
        snprintf(call, sizeof(call), "v%zu", i);
        say(r, ALICE,
            request(r, ALICE, table[i].method, table[i].uri, TO_BOB, call, table[i].more));
        if (heard(r, ALICE, begins) != 1 || heard(r, ALICE, "") != 1)
            fail_msg("case %zu: %s", i, r->peer[ALICE].got[0]);
        if (table[i].status == 420)
            assert_non_null(strstr(r->peer[ALICE].got[0], "Unsupported: "));
        assert_int_equal(sip_transactions(r->sip), 0);
        assert_int_equal(heard(r, BOB, ""), 0);
        /* An ACK is never answered. */
        rig_clear(r);
        say(r, ALICE, request(r, ALICE, "ACK", table[i].uri, TO_BOB, call, table[i].more));
        assert_int_equal(heard(r, ALICE, ""), 0);
    }
    /* A loop: what went out comes back unchanged. A spiral: with another Request-URI it may
     * pass. */
    rig_clear(r);
    invite(r, "loop", CONTACT);
    const char *out = find_raw(r, BOB, "INVITE");
    char *back = scratch();
    snprintf(back, MESSAGE,
             "INVITE " BOB_URI " SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.12:5060;branch="
             "z9hG4bKloop\r\n%s",
             strstr(out, "Via: "));
    rig_clear(r);
    say(r, BOB, back);
    assert_int_equal(heard(r, BOB, "SIP/2.0 482 "), 1);
    back = scratch();
    snprintf(back, MESSAGE,
             "INVITE sip:102@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.12:5060;branch="
             "z9hG4bKspiral\r\n%s",
             strstr(out, "Via: "));
    rig_clear(r);
    say(r, BOB, back);
    assert_int_equal(heard(r, BOB, "SIP/2.0 482 "), 0);
    assert_int_equal(heard(r, BOB, "INVITE"), 1);
    rig_quiet(r);
}

/* Makes a call that stands; the route set is in route. */
static void stand(struct rig *r, const char *call, char route[static 256])
{
    ring_one(r);
    rig_clear(r);
    invite(r, call, CONTACT);
    say(r, BOB, reply(find_raw(r, BOB, "INVITE"), 200, "b1", "Contact: <" BOB_AT ">\r\n"));
    snprintf(route, 256, "%s", value(find_raw(r, ALICE, "SIP/2.0 200"), "Record-Route"));
    rig_clear(r);
}

#define IN_DIALOG "From: <sip:alice@example.com>;tag=a1\r\nTo: <" BOB_URI ">;tag=b1\r\n"

/* §16.11: who knows no branches (RFC 2543) writes one Via for all; its ACKs are told apart all the same. */
static void test_acks_without_branches(void **state)
{
    struct rig *r = *state;
    char route[256];
    stand(r, "old", route);
    for (unsigned i = 0; i < 3; i++) {
        char *text = scratch();
        snprintf(text, MESSAGE,
                 "ACK " BOB_AT
                 " SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.11:5060\r\nRoute: %s\r\n" IN_DIALOG
                 "Call-ID: old\r\nCSeq: %u ACK\r\nMax-Forwards: 70\r\n\r\n",
                 route, i ? 2 : 1);
        say(r, ALICE, text);
    }
    assert_int_equal(heard(r, BOB, "ACK"), 3);
    const char *first = strstr(r->peer[BOB].raw[0], ";branch=z9hG4bK");
    assert_non_null(first);
    assert_null(strstr(r->peer[BOB].raw[0], ";branch=z9hG4bK\r\n"));
    assert_memory_not_equal(first, strstr(r->peer[BOB].raw[1], ";branch=z9hG4bK"),
                            15 + HOME_MARK_LEN);
    assert_string_equal(r->peer[BOB].raw[1], r->peer[BOB].raw[2]);
    rig_quiet(r);
}

static void test_routes(void **state)
{
    struct rig *r = *state;
    char route[256], bare[256], more[1024];
    stand(r, "r", route);
    /* A strict router before us: our Record-Route in the Request-URI, the target last (§16.4). */
    snprintf(bare, sizeof(bare), "%.*s", (int)strcspn(route + 1, ">"), route + 1);
    say(r, ALICE, request(r, ALICE, "INFO", bare, IN_DIALOG, "r", "Route: <" BOB_AT ">\r\n"));
    assert_int_equal(heard(r, BOB, "INFO " BOB_AT " SIP/2.0\r\n"), 1);
    assert_null(strstr(r->peer[BOB].got[0], "Route:"));
    /* A strict router after us (§16.6 step 6). */
    rig_clear(r);
    snprintf(more, sizeof(more), "Route: %s, <sip:192.0.2.13:5060>, <sip:192.0.2.14;lr>\r\n",
             route);
    say(r, ALICE, request(r, ALICE, "INFO", BOB_AT, IN_DIALOG, "r", more));
    assert_int_equal(heard(r, DESK, "INFO sip:192.0.2.13:5060 SIP/2.0\r\n"), 1);
    assert_non_null(strstr(r->peer[DESK].got[0], "Route: <sip:192.0.2.14;lr>\r\n"));
    assert_non_null(strstr(r->peer[DESK].got[0], "Route: <" BOB_AT ">\r\n"));
    assert_true(strstr(r->peer[DESK].got[0], "Route: <sip:192.0.2.14") <
                strstr(r->peer[DESK].got[0], "Route: <" BOB_AT));
    /* A loose one. */
    rig_clear(r);
    snprintf(more, sizeof(more), "Route: %s\r\nRoute: <sip:192.0.2.13:5060;lr>\r\n", route);
    say(r, ALICE, request(r, ALICE, "INFO", BOB_AT, IN_DIALOG, "r2", more));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 403"), 1); /* the mark is another Call-ID's */
    rig_clear(r);
    say(r, ALICE, request(r, ALICE, "UPDATE", BOB_AT, IN_DIALOG, "r", more));
    assert_int_equal(heard(r, DESK, "UPDATE " BOB_AT " SIP/2.0\r\n"), 1);
    assert_non_null(strstr(r->peer[DESK].got[0], "Route: <sip:192.0.2.13:5060;lr>\r\n"));
    /* Outbound proxies as phones write them: ours, on top, by any of our names. */
    static const char *const names[] = {
        "<sip:example.com;lr>",       "<sip:EXAMPLE.com:5060;lr>",
        "<sip:192.0.2.1;lr>",         "<sip:192.0.2.1:5060;transport=udp;lr>",
        "<sip:alias.example.net;lr>", "<sip:example.com.;lr>"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char call[16];
        snprintf(call, sizeof(call), "o%zu", i);
        snprintf(more, sizeof(more), "Route: %s\r\n", names[i]);
        rig_clear(r);
        say(r, ALICE, request(r, ALICE, "MESSAGE", BOB_URI, TO_BOB, call, more));
        if (heard(r, BOB, "MESSAGE " BOB_AT) != 1 || strstr(r->peer[BOB].got[0], "Route:"))
            fail_msg("%s: %s", names[i], r->peer[ALICE].got[0]);
        say(r, BOB, reply(r->peer[BOB].raw[0], 200, "x", ""));
    }
    /* maddr of ours is as if it were not there (§16.4). */
    rig_clear(r);
    say(r, ALICE, request(r, ALICE, "MESSAGE", BOB_URI ";maddr=192.0.2.1;x=y", TO_BOB, "ma", ""));
    assert_int_equal(heard(r, BOB, "MESSAGE " BOB_AT), 1);
    rig_quiet(r);
}

/* A route set of ours carries the dialog it was made for, and nothing else (D6). */
static void test_mark_opens_nothing(void **state)
{
    struct rig *r = *state;
    char route[256], more[512];
    stand(r, "k", route);
    snprintf(more, sizeof(more), "Route: %s\r\n", route);
    say(r, ALICE, request(r, ALICE, "INVITE", "sip:x@192.0.2.13:5060", TO_BOB, "k", more));
    assert_int_equal(heard(r, DESK, ""), 0);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 403 "), 1);
    /* Nor with a mark made up or broken, nor to ourselves. */
    rig_clear(r);
    more[20] = more[20] == 'A' ? 'B' : 'A';
    say(r, ALICE, request(r, ALICE, "BYE", "sip:x@192.0.2.13:5060", IN_DIALOG, "k", more));
    assert_int_equal(heard(r, DESK, "") + heard(r, BOB, ""), 0);
    rig_clear(r);
    snprintf(more, sizeof(more), "Route: %s\r\n", route);
    say(r, ALICE,
        request(r, ALICE, "INFO", "sip:x@192.0.2.1:5060",
                "From: <sip:z@example.com>;tag=zz\r\nTo: <" BOB_URI ">;tag=yy\r\n", "k", more));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 404 "), 1);
    rig_clear(r);
    say(r, ALICE,
        request(r, ALICE, "INFO", "sip:x@127.0.0.1:5060",
                "From: <sip:z@example.com>;tag=zz\r\nTo: <" BOB_URI ">;tag=yy\r\n", "k2", more));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 403 "), 1);
    /* A call that is not known (any more), with our mark: by the address that it names. */
    rig_clear(r);
    say(r, ALICE,
        request(r, ALICE, "ACK", "sip:x@192.0.2.13:5060",
                "From: <sip:z@example.com>;tag=zz\r\nTo: <" BOB_URI ">;tag=yy\r\n", "k", more));
    assert_int_equal(heard(r, DESK, "ACK"), 1);
    assert_int_equal(heard(r, ALICE, ""), 0);
    rig_quiet(r);
}

/* The target of a re-INVITE is refreshed; a contact may not point anywhere (D16). */
static void test_refresh(void **state)
{
    struct rig *r = *state;
    char route[256], more[512];
    stand(r, "re", route);
    snprintf(more, sizeof(more), "Route: %s\r\nContact: <sip:alice@192.0.2.13:5060>\r\n", route);
    say(r, ALICE, request(r, ALICE, "INVITE", BOB_AT, IN_DIALOG, "re", more));
    assert_int_equal(heard(r, BOB, "INVITE " BOB_AT), 1);
    say(r, BOB, reply(find_raw(r, BOB, "INVITE"), 200, NULL, "Contact: <" BOB_AT ">\r\n"));
    const char *back = "From: <" BOB_URI ">;tag=b1\r\nTo: <sip:alice@example.com>;tag=a1\r\n";
    snprintf(more, sizeof(more), "Route: %s\r\n", route);
    rig_clear(r);
    say(r, BOB, request(r, BOB, "INFO", "sip:alice@192.0.2.13:5060", back, "re", more));
    assert_int_equal(heard(r, DESK, "INFO sip:alice@192.0.2.13:5060"), 1);
    /* To an address of another class, or ours: the flow is taken instead. */
    static const char *const wrong[] = {"127.0.0.1:5060", "10.1.2.3", "192.0.2.1:5060",
                                        "224.0.1.75"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char call[16], target[64];
        snprintf(call, sizeof(call), "UPDATE%zu", i);
        snprintf(more, sizeof(more), "Route: %s\r\nContact: <sip:alice@%s>\r\nX: %s\r\n", route,
                 wrong[i], call);
        rig_clear(r);
        const char *text = request(r, ALICE, "UPDATE", BOB_AT, IN_DIALOG, "re", more);
        char *numbered = scratch(); /* each its own branch */
        const char *at = strstr(text, "z9hG4bK");
        snprintf(numbered, MESSAGE, "%.*sz9hG4bK%s%s", (int)(at - text), text, call, at + 7);
        say(r, ALICE, numbered);
        assert_int_equal(heard(r, BOB, "UPDATE"), 1);
        snprintf(target, sizeof(target), "sip:alice@%s", wrong[i]);
        snprintf(more, sizeof(more), "Route: %s\r\n", route);
        text = request(r, BOB, "INFO", target, back, "re", more);
        numbered = scratch();
        at = strstr(text, "z9hG4bK");
        snprintf(numbered, MESSAGE, "%.*sz9hG4bK%s%s", (int)(at - text), text, call, at + 7);
        say(r, BOB, numbered);
        if (heard(r, ALICE, "INFO ") != 1)
            fail_msg("%s", wrong[i]);
    }
    rig_quiet(r);
}

/* What a sender says of itself is not believed; what does not belong into a Request-URI stays
 * out. */
static void test_details(void **state)
{
    struct rig *r = *state;
    struct binding b = binding_of(r, BOB_AT ";method=BYE;x=1", BOB);
    char route[256], more[512];
    rig_bind(r, "bob@example.com", &b, 1);
    const char *text = request(r, ALICE, "MESSAGE", BOB_URI, TO_BOB, "rc", "");
    const char *at = strstr(text, ";rport");
    char *changed = scratch();
    snprintf(changed, MESSAGE, "%.*s;received=203.0.113.9%s", (int)(at - text), text, at);
    say(r, ALICE, changed);
    assert_int_equal(heard(r, BOB, "MESSAGE " BOB_AT ";x=1 SIP/2.0\r\n"), 1);
    assert_non_null(strstr(r->peer[BOB].got[0], ";received=192.0.2.11;rport=5060\r\n"));
    assert_null(strstr(r->peer[BOB].got[0], "203.0.113.9"));
    /* §16.4: maddr with the port and transport that it came by is stripped, else it stays. */
    stand(r, "ma", route);
    snprintf(more, sizeof(more), "Route: %s\r\n", route);
    say(r, ALICE, request(r, ALICE, "INFO", BOB_AT ";maddr=192.0.2.1;y=2", IN_DIALOG, "ma", more));
    assert_int_equal(heard(r, BOB, "INFO sip:bob@192.0.2.12;y=2 SIP/2.0\r\n"), 1);
    rig_clear(r);
    say(r, ALICE,
        request(r, ALICE, "INFO", BOB_AT ";transport=tcp;maddr=192.0.2.1", IN_DIALOG, "ma", more));
    assert_int_equal(heard(r, BOB, "INFO " BOB_AT ";transport=tcp;maddr=192.0.2.1 SIP/2.0\r\n"), 1);
    rig_quiet(r);
}

/* The caller's connection dies while the phone rings: nobody is there to answer to. */
static void test_caller_lost(void **state)
{
    struct rig *r = *state;
    struct addr to = address(SERVER_IP, 5060);
    ring_one(r);
    assert_int_equal(
        stream_connect(r->peer_group->loop[0], NULL, &to, &stream_events, r, &r->stream), ERR_OK);
    rig_run(r, 20 * USEC_MS);
    char *text = scratch();
    snprintf(text, MESSAGE, "%s", request(r, ALICE, "INVITE", BOB_URI, TO_BOB, "lost", CONTACT));
    memcpy(strstr(text, "/UDP"), "/TCP", 4);
    sv piece = sv_of(text);
    assert_int_equal(stream_send(r->stream, &piece, 1), ERR_OK);
    rig_run(r, 20 * USEC_MS);
    const char *in = find_raw(r, BOB, "INVITE");
    say(r, BOB, reply(in, 180, "b1", ""));
    assert_non_null(strstr(r->stream_got, "SIP/2.0 180 "));
    stream_close(r->stream, true);
    r->stream = NULL;
    rig_run(r, 100 * USEC_MS);
    assert_int_equal(heard(r, BOB, "CANCEL"), 1);
    say(r, BOB, reply(in, 487, "b1", ""));
    rig_quiet(r);
    assert_int_equal(r->dir.records, 1);
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_whole),
        T(test_double_record_route),
        T(test_fork),
        T(test_decline),
        T(test_cancel),
        T(test_challenges),
        T(test_unwritable),
        T(test_made_here),
        T(test_timer_c),
        T(test_breadth),
        T(test_validation),
        T(test_routes),
        T(test_acks_without_branches),
        T(test_refresh),
        T(test_details),
        T(test_caller_lost),
        T(test_mark_opens_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
