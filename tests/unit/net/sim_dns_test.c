/* SPDX-License-Identifier: MIT */
/* The simulated backend: names from zones in text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "sim/sim.h"

static const char zone_text[] =
    "; a comment\n"
    "Example.COM. NAPTR 3600 10 50 \"s\" \"SIP+D2U\" \"\" _sip._udp.example.com\n"
    "example.com  NAPTR 3600 20 50 \"u\" \"E2U+sip\" \"!^(.*)$!sip:\\\\1;x@h!\" . ; the last\n"
    "\n"
    "quote.example.com NAPTR 1 20 1 \"\" \"\" \"a\\\";b\" .\n"
    "_sip._udp.example.com SRV 60 1 100 5060 edge.example.com.\n"
    "edge.example.com A 60 192.0.2.1\r\n"
    "edge.example.com A 60 192.0.2.2\n"
    "edge.example.com A 60 192.0.2.3\n"
    "edge.example.com AAAA 61 2001:db8::1\n"
    "www.example.com CNAME 30 alias.example.com\n"
    "alias.example.com CNAME 30 edge.example.com\n"
    "round.example.com CNAME 30 round.example.com\n"
    "slow.example.com TIMEOUT\n"
    "gone.example.com NXDOMAIN\n";

struct asked {
    struct loop *l;
    struct dns_query *q;
    unsigned calls;
    enum err rc;
    uint8_t rcode, first;
    size_t n;
    usec at;
    uint16_t port;
    uint32_t ttl, negative_ttl;
    char text[200];
};

static void note(struct asked *a, sv s)
{
    if (s.n < sizeof(a->text)) {
        memcpy(a->text, s.p, s.n);
        a->text[s.n] = 0;
    }
}

static void on_answer(void *arg, enum err rc, const struct dnsmsg *m)
{
    struct asked *a = arg;
    a->calls++;
    a->rc = rc;
    a->at = loop_now(a->l);
    assert_true((rc == ERR_OK) == (m != NULL));
    if (!m)
        return;
    a->rcode = m->rcode;
    a->n = m->n;
    a->negative_ttl = m->negative_ttl_s;
    if (!m->n)
        return;
    const struct dns_rr *r = &m->rrs[m->n - 1];
    a->ttl = r->ttl_s;
    a->first = m->rrs[0].ip[3];
    if (r->type == DNS_SRV) {
        a->port = r->srv.port;
        note(a, r->srv.target);
    } else if (r->type == DNS_NAPTR) {
        for (size_t i = 0; i < m->n; i++)
            if (m->rrs[i].naptr.order == 20)
                note(a, m->rrs[i].naptr.regexp);
    } else {
        note(a, r->name);
    }
}

struct fixture {
    struct sim *s;
    struct sim_host *h;
    struct loop *l;
};

static void start(struct fixture *f, uint64_t seed)
{
    struct addr ip;
    struct loop_group *g;
    assert_int_equal(sim_new(seed, &f->s), ERR_OK);
    assert_int_equal(addr_parse_ip(SV("192.0.2.9"), 0, &ip), ERR_OK);
    assert_int_equal(sim_host_new(f->s, "a", &ip, 1, &f->h), ERR_OK);
    assert_int_equal(sim_process(f->h, 1, &g), ERR_OK);
    f->l = g->loop[0];
    assert_int_equal(sim_zone(f->s, sv_of(zone_text)), ERR_OK);
}

static void ask(struct fixture *f, const char *name, enum dns_type type, struct asked *a)
{
    *a = (struct asked){.l = f->l};
    assert_int_equal(dns_ask(f->l, sv_of(name), type, on_answer, a, &a->q), ERR_OK);
    assert_int_equal(a->calls, 0);
}

static void answer(struct fixture *f, const char *name, enum dns_type type, struct asked *a)
{
    ask(f, name, type, a);
    sim_run_until(f->s, sim_now(f->s) + 10 * USEC_S);
    assert_int_equal(a->calls, 1);
}

static void answers_five_types(void **state)
{
    (void)state;
    struct fixture f;
    struct asked a;
    start(&f, 1);
    answer(&f, "EDGE.example.com.", DNS_A, &a);
    assert_int_equal(a.n, 3);
    assert_string_equal(a.text, "edge.example.com");
    answer(&f, "edge.example.com", DNS_AAAA, &a);
    assert_int_equal(a.n, 1);
    assert_int_equal(a.ttl, 61);
    answer(&f, "_sip._udp.example.com", DNS_SRV, &a);
    assert_int_equal(a.port, 5060);
    assert_string_equal(a.text, "edge.example.com");
    answer(&f, "example.com", DNS_NAPTR, &a);
    assert_int_equal(a.n, 2);
    assert_string_equal(a.text, "!^(.*)$!sip:\\1;x@h!");
    answer(&f, "quote.example.com", DNS_NAPTR, &a);
    assert_string_equal(a.text, "a\";b");
    answer(&f, "www.example.com", DNS_A, &a);
    assert_int_equal(a.n, 5); /* two aliases, three addresses */
    answer(&f, "www.example.com", DNS_CNAME, &a);
    assert_int_equal(a.n, 1);
    answer(&f, "round.example.com", DNS_A, &a);
    assert_int_equal(a.rc, ERR_OK);
    sim_free(f.s);
}

static void says_no_and_nothing(void **state)
{
    (void)state;
    struct fixture f;
    struct asked a;
    start(&f, 2);
    answer(&f, "nobody.example.com", DNS_A, &a);
    assert_int_equal(a.rcode, 3);
    assert_true(a.negative_ttl > 0);
    answer(&f, "gone.example.com", DNS_A, &a);
    assert_int_equal(a.rcode, 3);
    answer(&f, "_sip._udp.example.com", DNS_A, &a); /* the name is there, the type is not */
    assert_int_equal(a.rcode, 0);
    assert_int_equal(a.n, 0);
    usec asked = sim_now(f.s);
    answer(&f, "slow.example.com", DNS_A, &a);
    assert_int_equal(a.rc, ERR_TIMEOUT);
    assert_int_equal(a.at - asked, 5 * USEC_S);
    sim_free(f.s);
}

static void a_new_text_replaces_its_names(void **state)
{
    (void)state;
    struct fixture f;
    struct asked a;
    start(&f, 3);
    static const char *const wrong[] = {
        "edge.example.com A 60",          "edge.example.com A 60 2001:db8::1",
        "edge.example.com A x 192.0.2.1", "edge.example.com SRV 60 1 70000 5060 h",
        "edge.example.com MX 60 10 h",    "edge.example.com",
        "x NAPTR 1 1 1 \"s \"a\" \"b h"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(sim_zone(f.s, sv_of(wrong[i])), ERR_SYNTAX);
    answer(&f, "edge.example.com", DNS_A, &a);
    assert_int_equal(a.n, 3);
    assert_int_equal(sim_zone(f.s, SV("edge.example.com A 60 198.51.100.1")), ERR_OK);
    answer(&f, "edge.example.com", DNS_A, &a);
    assert_int_equal(a.n, 1);
    answer(&f, "edge.example.com", DNS_AAAA, &a);
    assert_int_equal(a.n, 0);
    answer(&f, "_sip._udp.example.com", DNS_SRV, &a);
    assert_int_equal(a.n, 1);
    sim_free(f.s);
}

static void answers_get_lost_and_shuffled(void **state)
{
    (void)state;
    struct fixture f;
    static struct asked a[1000];
    start(&f, 4);
    struct sim_wire w = {.loss_permille = 100};
    sim_set_wire(f.s, &w);
    for (unsigned i = 0; i < 1000; i++)
        ask(&f, "edge.example.com", DNS_A, &a[i]);
    sim_run_until(f.s, 10 * USEC_S);
    unsigned lost = 0, first[4] = {0};
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(a[i].calls, 1);
        lost += a[i].rc == ERR_TIMEOUT;
        first[a[i].first]++;
    }
    assert_in_range(lost, 65, 135);
    for (unsigned i = 1; i <= 3; i++)
        assert_in_range(first[i], 240, 360);
    sim_free(f.s);
}

static void cancelled_and_dead_queries_stay_silent(void **state)
{
    (void)state;
    struct fixture f;
    struct asked a, b, c;
    start(&f, 5);
    ask(&f, "edge.example.com", DNS_A, &a);
    ask(&f, "edge.example.com", DNS_A, &b);
    ask(&f, "slow.example.com", DNS_A, &c);
    dns_cancel(a.q);
    sim_run_until(f.s, USEC_S);
    assert_int_equal(a.calls, 0);
    assert_int_equal(b.calls, 1);
    ask(&f, "edge.example.com", DNS_A, &a);
    sim_process_kill(f.h, false);
    sim_run_until(f.s, 10 * USEC_S);
    assert_int_equal(a.calls + c.calls, 0);
    struct dns_query *q;
    assert_int_equal(dns_ask(f.l, SV("x"), DNS_A, on_answer, &a, &q), ERR_STATE);
    dns_cancel(a.q); /* c is left to the process */
    sim_process_free(f.h);
    sim_free(f.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_five_types),
        cmocka_unit_test(says_no_and_nothing),
        cmocka_unit_test(a_new_text_replaces_its_names),
        cmocka_unit_test(answers_get_lost_and_shuffled),
        cmocka_unit_test(cancelled_and_dead_queries_stay_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
