/* SPDX-License-Identifier: MIT */
/* What stands in the requests of a user agent, word by word: RFC 3261 §8.1.1, §10.2, RFC 5626 §4.2;
 * and what it makes of responses that nobody has heard of: §8.1.3.2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "crypto/crypto.h"
#include "sim/sim.h"
#include "sipmsg/sipmsg.h"
#include "useragent/useragent.h"

enum { SEEN = 32, TEXT = 4096 };

struct world {
    struct sim *sim;
    struct sim_host *host[2]; /* the user agent's, the peer's */
    struct loop_group *group[2];
    struct addr ip[2];
    struct useragent *ua;
    struct udp *peer;
    char mem[SEEN][TEXT + BLOCK_SLACK];
    struct sipmsg seen[SEEN]; /* what the peer got */
    struct arena arena;
    unsigned n;
    struct useragent_call *call;
    unsigned provisional, ended;
    uint16_t registered, status;
};

static void on_datagram(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    struct world *w = arg;
    (void)from;
    (void)to;
    assert_true(w->n < SEEN && b->n < TEXT);
    memcpy(w->mem[w->n], b->p, b->n);
    assert_int_equal(sipmsg_parse((sv){w->mem[w->n], b->n}, &w->arena, &w->seen[w->n], NULL),
                     ERR_OK);
    assert_int_equal(sipmsg_check(&w->seen[w->n], NULL), ERR_OK);
    w->n++;
}
static const struct udp_handler peer_handler = {.on_datagram = on_datagram};

static void on_registered(void *arg, uint16_t status, uint32_t expires_s, struct rx *rx)
{
    (void)expires_s;
    (void)rx;
    ((struct world *)arg)->registered = status;
}
static void on_provisional(void *arg, struct useragent_call *c, uint16_t status)
{
    (void)c;
    (void)status;
    ((struct world *)arg)->provisional++;
}
static void on_ended(void *arg, struct useragent_call *c, enum useragent_end why, uint16_t status)
{
    struct world *w = arg;
    (void)c;
    (void)why;
    w->ended++;
    w->status = status;
}
static const struct useragent_handler handler = {
    .on_registered = on_registered, .on_provisional = on_provisional, .on_ended = on_ended};

static int setup(void **state)
{
    static const char *const ips[] = {"10.0.0.1", "10.0.0.2"};
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    assert_int_equal(crypto_start(), ERR_OK);
    arena_init(&w->arena, NULL, 0, 1 << 20);
    assert_int_equal(sim_new(1, &w->sim), ERR_OK);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(addr_parse_ip(sv_of(ips[i]), 5060, &w->ip[i]), ERR_OK);
        assert_int_equal(sim_host_new(w->sim, ips[i], &w->ip[i], 1, &w->host[i]), ERR_OK);
        assert_int_equal(sim_process(w->host[i], 1, &w->group[i]), ERR_OK);
    }
    assert_int_equal(udp_open(w->group[1]->loop[0], &w->ip[1], &peer_handler, w, &w->peer), ERR_OK);
    struct useragent_config c = {.transport = SIP_T_UDP,
                                 .bind = w->ip[0],
                                 .server = w->ip[1],
                                 .user = SV("alice"),
                                 .domain = SV("example.test"),
                                 .password = SV("secret"),
                                 .instance = SV("<urn:uuid:00000000-0000-1000-8000-aabbccddeeff>"),
                                 .reg_id = 7};
    assert_int_equal(useragent_new(w->group[0]->loop[0], &c, &handler, w, &w->ua), ERR_OK);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    useragent_free(w->ua);
    udp_close(w->peer);
    for (unsigned i = 0; i < 2; i++) {
        sim_process_stop(w->host[i]);
        sim_process_free(w->host[i]);
    }
    sim_free(w->sim);
    arena_done(&w->arena);
    free(w);
    return 0;
}

static void wait(struct world *w, usec by)
{
    sim_run_until(w->sim, sim_now(w->sim) + by);
}

/* The peer's answer to what it saw as number i. */
static void reply(struct world *w, unsigned i, unsigned status, const char *headers)
{
    char text[TEXT];
    struct buf b;
    struct sip_reply r = {.status = (uint16_t)status, .to_tag = SV("p"), .headers = sv_of(headers)};
    buf_init(&b, text, sizeof(text));
    assert_int_equal(sipmsg_reply(&b, &w->seen[i], &r), ERR_OK);
    sv piece = buf_sv(&b);
    assert_int_equal(udp_send(w->peer, NULL, &w->ip[0], &piece, 1), ERR_OK);
    wait(w, 20 * USEC_MS);
}

/* The last request of this method that the peer saw. */
static unsigned last(const struct world *w, enum sip_method m)
{
    for (unsigned i = w->n; i-- > 0;) {
        if (w->seen[i].request && w->seen[i].method == m)
            return i;
    }
    fail_msg("no such request");
    return 0;
}

static void field_is(struct world *w, unsigned i, enum sip_header h, const char *text)
{
    sv v = sipmsg_value(&w->seen[i], h);
    if (!sv_eq(v, sv_of(text)))
        fail_msg("%.*s: %.*s", (int)sip_header_name(h).n, sip_header_name(h).p, (int)v.n, v.p);
}

/* §8.1.1: the six fields, each as it must be. */
static void expect_basics(struct world *w, unsigned i, uint32_t cseq)
{
    struct sipmsg *m = &w->seen[i];
    const struct sip_addr *from, *to;
    const struct sip_cseq *c;
    const struct sip_via *via;
    field_is(w, i, SIP_H_MAX_FORWARDS, "70");
    assert_int_equal(sipmsg_from(m, &from), ERR_OK);
    assert_int_equal(sipmsg_to(m, &to), ERR_OK);
    assert_true(from->tag.n >= 8);
    assert_int_equal(sipmsg_cseq(m, &c), ERR_OK);
    assert_int_equal(c->number, cseq);
    assert_true(sv_eq(c->method_text, m->method_text));
    assert_int_equal(sipmsg_via(m, &via), ERR_OK);
    assert_int_equal(sipmsg_count(m, SIP_H_VIA), 1);
    assert_true(sv_starts(via->text, SV("SIP/2.0/UDP 10.0.0.1")));
    assert_true(sv_starts(via->branch, SV("z9hG4bK")) && via->branch.n > 7 + 8);
    assert_true(via->rport && !via->rport_value);
    assert_false(sipmsg_has(m, SIP_H_REQUIRE) || sipmsg_has(m, SIP_H_PROXY_REQUIRE));
}

static sv branch_of(struct world *w, unsigned i)
{
    const struct sip_via *via;
    assert_int_equal(sipmsg_via(&w->seen[i], &via), ERR_OK);
    return via->branch;
}

/* §10.2: neither a user in the Request-URI nor a route set; CSeq rises by one; one at a time. */
static void what_a_register_says(void **state)
{
    struct world *w = *state;
    assert_int_equal(useragent_register(w->ua, 120), ERR_OK);
    assert_int_equal(useragent_register(w->ua, 120), ERR_STATE);
    wait(w, 20 * USEC_MS);
    expect_basics(w, 0, 1);
    assert_true(sv_eq(w->seen[0].uri_text, SV("sip:example.test")));
    const struct sip_addr *to;
    assert_int_equal(sipmsg_to(&w->seen[0], &to), ERR_OK);
    assert_true(to->uri.scheme == URI_SIP && sv_eq(to->uri.user, SV("alice")) && !to->tag.p);
    /* RFC 5626 §4.2.1 */
    assert_true(sipmsg_lists(&w->seen[0], SIP_H_SUPPORTED, SV("outbound")));
    assert_true(sipmsg_lists(&w->seen[0], SIP_H_SUPPORTED, SV("path")));
    sv contact = sipmsg_value(&w->seen[0], SIP_H_CONTACT);
    assert_true(sv_eq(sv_sub(contact, sv_chr(contact, ';'), contact.n),
                      SV(";+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-aabbccddeeff>\""
                         ";reg-id=7")));
    reply(w, 0, 200,
          "Record-Route: <sip:10.0.0.9;lr>\r\nContact: <sip:alice@10.0.0.1:5060>;expires=120\r\n");
    assert_int_equal(w->registered, 200);
    wait(w, 61 * USEC_S);
    unsigned again = last(w, SIP_REGISTER);
    expect_basics(w, again, 2);
    assert_false(sipmsg_has(&w->seen[again], SIP_H_ROUTE));
    assert_true(sv_eq(sipmsg_value(&w->seen[again], SIP_H_CONTACT), contact));
    assert_true(sv_eq(sipmsg_value(&w->seen[0], SIP_H_CALL_ID),
                      sipmsg_value(&w->seen[again], SIP_H_CALL_ID)));
    assert_false(sv_eq(branch_of(w, 0), branch_of(w, again)));
    reply(w, again, 200, "Contact: <sip:alice@10.0.0.1:5060>;expires=120\r\n");
    /* §10.2.2, RFC 5626 §4.2.3 */
    assert_int_equal(useragent_unregister(w->ua, true), ERR_OK);
    wait(w, 20 * USEC_MS);
    unsigned star = last(w, SIP_REGISTER);
    field_is(w, star, SIP_H_CONTACT, "*");
    field_is(w, star, SIP_H_EXPIRES, "0");
}

static void what_an_invite_says(void **state)
{
    struct world *w = *state;
    struct useragent_call *second;
    const struct sip_addr *to, *contacts = NULL;
    size_t n = 0;
    assert_int_equal(useragent_call(w->ua, SV("sip:bob@example.test"), SV("v=0\r\n"), w, &w->call),
                     ERR_OK);
    assert_int_equal(useragent_call(w->ua, SV("sip:eve@example.test"), SV("v=0\r\n"), w, &second),
                     ERR_OK);
    wait(w, 20 * USEC_MS);
    assert_int_equal(w->n, 2);
    for (unsigned i = 0; i < 2; i++) {
        expect_basics(w, i, 1);
        assert_int_equal(sipmsg_to(&w->seen[i], &to), ERR_OK);
        assert_false(to->tag.p);
        assert_int_equal(sipmsg_addrs(&w->seen[i], SIP_H_CONTACT, &contacts, &n), ERR_OK);
        assert_true(n == 1 && contacts[0].uri.scheme == URI_SIP);
    }
    assert_false(sv_eq(branch_of(w, 0), branch_of(w, 1)));
    assert_false(
        sv_eq(sipmsg_value(&w->seen[0], SIP_H_CALL_ID), sipmsg_value(&w->seen[1], SIP_H_CALL_ID)));
    assert_false(
        sv_eq(sipmsg_value(&w->seen[0], SIP_H_FROM), sipmsg_value(&w->seen[1], SIP_H_FROM)));
}

/* §8.1.3.2: an unknown 1xx is progress, an unknown final one is x00 of its class. */
static void unknown_responses_are_of_their_class(void **state)
{
    struct world *w = *state;
    static const uint16_t finals[] = {399, 499, 599, 699};
    for (unsigned i = 0; i < 4; i++) {
        w->n = w->ended = w->provisional = 0;
        assert_int_equal(
            useragent_call(w->ua, SV("sip:bob@example.test"), SV("v=0\r\n"), w, &w->call), ERR_OK);
        wait(w, 20 * USEC_MS);
        reply(w, 0, 199, "Contact: <sip:bob@10.0.0.2>\r\n");
        assert_int_equal(w->provisional, 1);
        reply(w, 0, finals[i], "");
        assert_int_equal(w->ended, 1);
        assert_int_equal(w->status, finals[i]);
        assert_int_equal(w->seen[last(w, SIP_ACK)].method, SIP_ACK);
        wait(w, 40 * USEC_S);
    }
}

/* §8.1.3.1: nobody there counts as 503. */
static void nobody_there_is_a_503(void **state)
{
    struct world *w = *state;
    udp_close(w->peer);
    w->peer = NULL;
    assert_int_equal(useragent_register(w->ua, 120), ERR_OK);
    wait(w, 5 * USEC_S);
    assert_int_equal(w->registered, 503);
}

/* RFC 5626 §4.5: a refused registration is tried again, not before its time. */
static void a_refused_registration_waits(void **state)
{
    struct world *w = *state;
    assert_int_equal(useragent_register(w->ua, 120), ERR_OK);
    wait(w, 20 * USEC_MS);
    reply(w, 0, 500, "");
    assert_int_equal(w->registered, 500);
    wait(w, 15 * USEC_S - 100 * USEC_MS); /* half of 30 s at least */
    assert_int_equal(w->n, 1);
    wait(w, 16 * USEC_S);
    assert_true(w->n > 1);
    field_is(w, last(w, SIP_REGISTER), SIP_H_CONTACT,
             "<sip:alice@10.0.0.1:5060>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-"
             "aabbccddeeff>\";reg-id=7");
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_a_register_says),
        T(what_an_invite_says),
        T(unknown_responses_are_of_their_class),
        T(nobody_there_is_a_503),
        T(a_refused_registration_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
