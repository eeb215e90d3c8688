/* SPDX-License-Identifier: MIT */
/* A user agent against a peer that says what the test says, in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "sim/sim.h"
#include "useragent/useragent.h"

enum { SEEN = 64, TEXT = 4096 };
static const sv sdp = {"v=0\r\n", 5};

struct fixture {
    struct sim *sim;
    struct sim_host *host[2]; /* the user agent's, the peer's */
    struct loop_group *group[2];
    struct useragent *ua;
    struct udp *peer;
    struct addr ip[2];
    char seen[SEEN][TEXT]; /* what the peer got */
    unsigned n;
    struct useragent_call *call;
    unsigned incoming, answered, confirmed, ended, provisional;
    uint16_t registered, status;
    enum useragent_end why;
};

/* ---- the peer ---- */

static void on_datagram(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    struct fixture *f = arg;
    (void)from;
    (void)to;
    assert_true(f->n < SEEN && b->n < TEXT);
    memcpy(f->seen[f->n], b->p, b->n);
    f->seen[f->n++][b->n] = 0;
}

static const struct udp_handler peer_handler = {.on_datagram = on_datagram};

static void say(struct fixture *f, sv text)
{
    struct addr to = f->ip[0];
    to.port = 5060;
    assert_int_equal(udp_send(f->peer, NULL, &to, &text, 1), ERR_OK);
    sim_run_until(f->sim, sim_now(f->sim) + 20 * USEC_MS);
}

static void wait(struct fixture *f, usec duration)
{
    sim_run_until(f->sim, sim_now(f->sim) + duration);
}

/* A response to what the peer saw as number i. */
static void reply(struct fixture *f, unsigned i, uint16_t status, const char *tag,
                  const char *headers)
{
    char text[TEXT], mem[TEXT + BLOCK_SLACK] = {0};
    struct arena a;
    struct sipmsg m;
    struct buf b;
    struct sip_reply r = {.status = status, .to_tag = sv_of(tag), .headers = sv_of(headers)};
    size_t n = strlen(f->seen[i]);
    memcpy(mem, f->seen[i], n);
    arena_init(&a, NULL, 0, 1 << 20);
    assert_int_equal(sipmsg_parse((sv){mem, n}, &a, &m, NULL), ERR_OK);
    buf_init(&b, text, sizeof(text));
    assert_int_equal(sipmsg_reply(&b, &m, &r), ERR_OK);
    say(f, buf_sv(&b));
    arena_done(&a);
}

/* A request of the peer's. to_tag NULL: outside a dialog. */
static void request(struct fixture *f, const char *method, unsigned cseq, const char *to_tag,
                    const char *headers)
{
    char text[TEXT];
    struct buf b;
    buf_init(&b, text, sizeof(text));
    buf_printf(&b,
               "%s sip:alice@10.0.0.1:5060 SIP/2.0\r\n"
               "Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK%s%u;rport\r\n"
               "Max-Forwards: 70\r\nFrom: <sip:bob@example.test>;tag=peer\r\n"
               "To: <sip:alice@example.test>%s%s\r\nCall-ID: a-call\r\nCSeq: %u %s\r\n"
               "Contact: <sip:bob@10.0.0.2:5060>\r\n%sContent-Length: 0\r\n\r\n",
               method, method, cseq, to_tag ? ";tag=" : "", to_tag ? to_tag : "", cseq, method,
               headers);
    assert_int_equal(b.rc, ERR_OK);
    say(f, buf_sv(&b));
}

static unsigned count(const struct fixture *f, const char *beginning)
{
    unsigned n = 0;
    for (unsigned i = 0; i < f->n; i++)
        n += strncmp(f->seen[i], beginning, strlen(beginning)) == 0;
    return n;
}

static unsigned find(const struct fixture *f, const char *beginning)
{
    for (unsigned i = 0; i < f->n; i++) {
        if (strncmp(f->seen[i], beginning, strlen(beginning)) == 0)
            return i;
    }
    fail_msg("the peer saw no %s", beginning);
    return 0;
}

/* The To tag of message i, in mem. */
static const char *to_tag(const struct fixture *f, unsigned i, char mem[static 64])
{
    const char *to = strstr(f->seen[i], "\r\nTo: "), *tag = to ? strstr(to, ";tag=") : NULL;
    assert_non_null(tag);
    assert_int_equal(sscanf(tag + 5, "%63[0-9a-zA-Z]", mem), 1);
    return mem;
}

/* ---- the user ---- */

static void on_registered(void *arg, uint16_t status, uint32_t expires_s, struct rx *rx)
{
    (void)expires_s;
    (void)rx;
    ((struct fixture *)arg)->registered = status;
}

static void on_incoming(void *arg, struct useragent_call *c, sv from, sv body)
{
    struct fixture *f = arg;
    (void)from;
    (void)body;
    f->call = c;
    f->incoming++;
}

static void on_provisional(void *arg, struct useragent_call *c, uint16_t status)
{
    (void)c;
    (void)status;
    ((struct fixture *)arg)->provisional++;
}

static void on_answered(void *arg, struct useragent_call *c, sv body)
{
    (void)c;
    (void)body;
    ((struct fixture *)arg)->answered++;
}

static void on_confirmed(void *arg, struct useragent_call *c)
{
    (void)c;
    ((struct fixture *)arg)->confirmed++;
}

static void on_ended(void *arg, struct useragent_call *c, enum useragent_end why, uint16_t status)
{
    struct fixture *f = arg;
    assert_ptr_equal(c, f->call);
    f->call = NULL;
    f->ended++;
    f->why = why;
    f->status = status;
}

static const struct useragent_handler handler = {
    .on_registered = on_registered,
    .on_incoming = on_incoming,
    .on_provisional = on_provisional,
    .on_answered = on_answered,
    .on_confirmed = on_confirmed,
    .on_ended = on_ended,
};

static int setup(void **state)
{
    static const char *const ips[] = {"10.0.0.1", "10.0.0.2"};
    static const char *const names[] = {"agent", "peer"};
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    assert_int_equal(sim_new(1, &f->sim), ERR_OK);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(addr_parse_ip(sv_of(ips[i]), 5060, &f->ip[i]), ERR_OK);
        assert_int_equal(sim_host_new(f->sim, names[i], &f->ip[i], 1, &f->host[i]), ERR_OK);
        assert_int_equal(sim_process(f->host[i], 1, &f->group[i]), ERR_OK);
    }
    assert_int_equal(udp_open(f->group[1]->loop[0], &f->ip[1], &peer_handler, f, &f->peer), ERR_OK);
    struct useragent_config c = {.transport = SIP_T_UDP,
                                 .bind = f->ip[0],
                                 .server = f->ip[1],
                                 .user = SV("alice"),
                                 .domain = SV("example.test"),
                                 .realm = SV("example.test"),
                                 .calls = 1};
    auth_ha1(c.user, c.realm, SV("secret"), &c.ha1);
    assert_int_equal(useragent_new(f->group[0]->loop[0], &c, &handler, f, &f->ua), ERR_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    useragent_free(f->ua);
    udp_close(f->peer);
    for (unsigned i = 0; i < 2; i++) {
        sim_process_stop(f->host[i]);
        sim_process_free(f->host[i]);
    }
    sim_free(f->sim);
    free(f);
    return 0;
}

/* ---- registering ---- */

static void challenge_is_answered_by_ha1(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(useragent_register(f->ua, 60), ERR_OK);
    assert_int_equal(useragent_register(f->ua, 60), ERR_STATE);
    wait(f, 20 * USEC_MS);
    reply(f, 0, 401, "t",
          "WWW-Authenticate: Digest realm=\"example.test\", nonce=\"n\", algorithm=SHA-256, "
          "qop=\"auth\"\r\n");
    assert_int_equal(count(f, "REGISTER"), 2);
    assert_non_null(strstr(f->seen[1], "username=\"alice\""));
    assert_non_null(strstr(f->seen[1], "CSeq: 2 REGISTER"));
    reply(f, 1, 200, "t", "Contact: <sip:alice@10.0.0.1:5060>;expires=60\r\n");
    assert_int_equal(f->registered, 200);
    wait(f, 31 * USEC_S); /* refreshed at half of the time */
    assert_true(count(f, "REGISTER") > 2);
}

static void another_realm_is_not_answered(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(useragent_register(f->ua, 60), ERR_OK);
    wait(f, 20 * USEC_MS);
    reply(f, 0, 401, "t",
          "WWW-Authenticate: Digest realm=\"elsewhere\", nonce=\"n\", qop=\"auth\"\r\n");
    assert_int_equal(f->registered, 401);
    assert_int_equal(count(f, "REGISTER"), 1);
}

static void silence_is_408(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(useragent_register(f->ua, 60), ERR_OK);
    wait(f, 33 * USEC_S);
    assert_int_equal(f->registered, 408);
    assert_int_equal(count(f, "REGISTER"), 11); /* Timer E */
}

/* ---- calling ---- */

static void start_call(struct fixture *f)
{
    assert_int_equal(useragent_call(f->ua, SV("sip:bob@example.test"), sdp, f, &f->call), ERR_OK);
    wait(f, 20 * USEC_MS);
    assert_int_equal(find(f, "INVITE"), 0);
}

static const char contact[] = "Contact: <sip:bob@10.0.0.2:5060>\r\n";

static void every_2xx_is_acknowledged(void **state)
{
    struct fixture *f = *state;
    start_call(f);
    reply(f, 0, 180, "one", contact);
    reply(f, 0, 200, "one", contact);
    reply(f, 0, 200, "one", contact);
    assert_int_equal(f->provisional, 1);
    assert_int_equal(f->answered, 1);
    assert_int_equal(count(f, "ACK sip:bob@10.0.0.2:5060"), 2);
    assert_string_equal(f->seen[f->n - 1], f->seen[f->n - 2]);
    useragent_hangup(f->call);
    wait(f, 20 * USEC_MS);
    reply(f, find(f, "BYE"), 200, "one", "");
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->why, USERAGENT_BY_US);
    wait(f, 70 * USEC_S);
    assert_int_equal(useragent_remains(f->ua), 0);
}

static void another_forks_2xx_gets_ack_and_bye(void **state)
{
    struct fixture *f = *state;
    char mem[64];
    start_call(f);
    reply(f, 0, 200, "one", contact);
    reply(f, 0, 200, "two", contact);
    assert_int_equal(f->answered, 1);
    assert_int_equal(count(f, "ACK"), 2);
    unsigned bye = find(f, "BYE");
    assert_string_equal(to_tag(f, bye, mem), "two");
    assert_int_equal(f->ended, 0);
}

static void a_2xx_behind_a_cancel_gets_ack_and_bye(void **state)
{
    struct fixture *f = *state;
    start_call(f);
    reply(f, 0, 180, "one", contact);
    useragent_hangup(f->call);
    wait(f, 20 * USEC_MS);
    assert_int_equal(count(f, "CANCEL"), 1);
    reply(f, 0, 200, "one", contact);
    assert_int_equal(f->answered, 0);
    assert_int_equal(count(f, "ACK"), 1);
    reply(f, find(f, "BYE"), 200, "one", "");
    assert_int_equal(f->ended, 1);
}

static void routes_are_followed_in_reverse(void **state)
{
    struct fixture *f = *state;
    start_call(f);
    reply(f, 0, 200, "one",
          "Record-Route: <sip:last@10.0.0.2;lr>, <sip:first@10.0.0.2;lr>\r\n"
          "Contact: <sip:bob@192.0.2.9>\r\n");
    const char *ack = f->seen[find(f, "ACK sip:bob@192.0.2.9 ")];
    const char *first = strstr(ack, "Route: <sip:first@"), *last = strstr(ack, "Route: <sip:last@");
    assert_true(first && last && first < last);
}

static void strict_router_gets_its_uri(void **state)
{
    struct fixture *f = *state;
    start_call(f);
    reply(f, 0, 200, "one",
          "Record-Route: <sip:strict@10.0.0.2>\r\nContact: <sip:bob@192.0.2.9>\r\n");
    const char *ack = f->seen[find(f, "ACK sip:strict@10.0.0.2 ")];
    assert_non_null(strstr(ack, "Route: <sip:bob@192.0.2.9>\r\n"));
}

static void cap_on_calls(void **state)
{
    struct fixture *f = *state;
    struct useragent_call *second;
    start_call(f);
    assert_int_equal(useragent_call(f->ua, SV("sip:eve@example.test"), sdp, f, &second), ERR_BUSY);
    request(f, "INVITE", 1, NULL, "");
    assert_int_equal(count(f, "SIP/2.0 486"), 1);
    assert_int_equal(f->incoming, 0);
}

/* ---- called ---- */

static void take_call(struct fixture *f)
{
    request(f, "INVITE", 1, NULL, "");
    assert_int_equal(f->incoming, 1);
    assert_int_equal(useragent_answer(f->call, sdp), ERR_OK);
    wait(f, 20 * USEC_MS);
}

static void answer_is_repeated_until_ack(void **state)
{
    struct fixture *f = *state;
    char mem[64];
    take_call(f);
    wait(f, 4 * USEC_S); /* 0.5, 1.5, 3.5 s */
    assert_int_equal(count(f, "SIP/2.0 200"), 4);
    useragent_hangup(f->call); /* §15: not before the ACK */
    wait(f, 20 * USEC_MS);
    assert_int_equal(count(f, "BYE"), 0);
    request(f, "ACK", 1, to_tag(f, find(f, "SIP/2.0 200"), mem), "");
    assert_int_equal(count(f, "BYE"), 1);
    unsigned n = count(f, "SIP/2.0 200");
    reply(f, find(f, "BYE"), 200, "peer", "");
    wait(f, 10 * USEC_S);
    assert_int_equal(count(f, "SIP/2.0 200"), n);
    assert_int_equal(f->why, USERAGENT_BY_US);
}

static void no_ack_ends_in_bye(void **state)
{
    struct fixture *f = *state;
    take_call(f);
    wait(f, 33 * USEC_S);
    reply(f, find(f, "BYE"), 200, "peer", "");
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->why, USERAGENT_NO_ACK);
}

static void reinvite_and_bye(void **state)
{
    struct fixture *f = *state;
    char mem[64];
    take_call(f);
    const char *tag = to_tag(f, find(f, "SIP/2.0 200"), mem);
    request(f, "ACK", 1, tag, "");
    assert_int_equal(f->confirmed, 1);
    request(f, "INVITE", 2, tag, "");
    assert_int_equal(count(f, "SIP/2.0 200"), 2);
    request(f, "ACK", 2, tag, "");
    request(f, "INVITE", 2, tag, "Max-Breadth: 1\r\n"); /* repeated: absorbed */
    request(f, "BYE", 1, tag, "");
    assert_int_equal(count(f, "SIP/2.0 500"), 1); /* §12.2.2: CSeq out of order */
    request(f, "BYE", 3, "another", "");
    assert_int_equal(count(f, "SIP/2.0 481"), 1);
    request(f, "BYE", 4, tag, "");
    assert_int_equal(count(f, "SIP/2.0 200"), 3);
    assert_int_equal(f->why, USERAGENT_BY_PEER);
}

static void cancel_is_487(void **state)
{
    struct fixture *f = *state;
    request(f, "INVITE", 1, NULL, "");
    assert_int_equal(useragent_ring(f->call), ERR_OK);
    say(f, SV("CANCEL sip:alice@10.0.0.1:5060 SIP/2.0\r\n"
              "Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKINVITE1;rport\r\n"
              "Max-Forwards: 70\r\nFrom: <sip:bob@example.test>;tag=peer\r\n"
              "To: <sip:alice@example.test>\r\nCall-ID: a-call\r\nCSeq: 1 CANCEL\r\n"
              "Content-Length: 0\r\n\r\n"));
    assert_int_equal(count(f, "SIP/2.0 200"), 1);
    assert_int_equal(count(f, "SIP/2.0 487"), 1);
    assert_int_equal(f->why, USERAGENT_CANCELLED);
}

static void strange_requests(void **state)
{
    struct fixture *f = *state;
    request(f, "BYE", 1, "unknown", "");
    assert_int_equal(count(f, "SIP/2.0 481"), 1);
    request(f, "INVITE", 2, NULL, "Require: 100rel\r\n");
    assert_non_null(strstr(f->seen[find(f, "SIP/2.0 420")], "Unsupported: 100rel\r\n"));
    request(f, "OPTIONS", 3, NULL, "");
    assert_non_null(strstr(f->seen[find(f, "SIP/2.0 200")], "Allow: INVITE"));
    request(f, "SUBSCRIBE", 4, NULL, "");
    assert_int_equal(count(f, "SIP/2.0 405"), 1);
    assert_int_equal(f->incoming, 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(challenge_is_answered_by_ha1),
        TEST(another_realm_is_not_answered),
        TEST(silence_is_408),
        TEST(every_2xx_is_acknowledged),
        TEST(another_forks_2xx_gets_ack_and_bye),
        TEST(a_2xx_behind_a_cancel_gets_ack_and_bye),
        TEST(routes_are_followed_in_reverse),
        TEST(strict_router_gets_its_uri),
        TEST(cap_on_calls),
        TEST(answer_is_repeated_until_ack),
        TEST(no_ack_ends_in_bye),
        TEST(reinvite_and_bye),
        TEST(cancel_is_487),
        TEST(strange_requests),
    };
    if (crypto_start())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
