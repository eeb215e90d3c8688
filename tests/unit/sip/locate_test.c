/* SPDX-License-Identifier: MIT */
/* From URIs to targets: zones in text, virtual time. The endpoint is this test's own: it says which
 * transports there are, so that each can be missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "dns/dns.h"
#include "locate/locate.h"
#include "sim/sim.h"

/* ---- the endpoint ---- */

struct sip {
    struct loop *loop;
};
static bool have[SIP_T_OTHER + 1][2]; /* IPv4, IPv6 */
static bool no_way6;                  /* listeners, but no route */
static char names[16][256];
static unsigned names_n;

struct loop *sip_loop(const struct sip *s)
{
    return s->loop;
}

bool sip_has_transport(const struct sip *s, enum sip_transport t, unsigned family)
{
    (void)s;
    return have[t][family == 6];
}

enum err sip_flow_for(struct sip *s, const struct dest *d, struct flow *ret_flow)
{
    (void)s;
    *ret_flow = (struct flow){.transport = d->transport, .remote = d->addr};
    return have[d->transport][d->addr.family == 6] && !(no_way6 && d->addr.family == 6)
               ? ERR_OK
               : ERR_UNREACHABLE;
}

uint32_t sip_name(struct sip *s, sv name)
{
    (void)s;
    for (unsigned i = 0; i < names_n; i++)
        if (sv_eq(sv_of(names[i]), name))
            return i + 1;
    snprintf(names[names_n], sizeof names[0], SV_FMT, SV_ARG(name));
    return ++names_n;
}

/* ---- the DNS: the simulated one, where a test may bend the answers ---- */

static void (*bend)(struct dnsmsg *m, struct dns_rr *rr, enum err *rc);
static struct {
    dns_fn *fn;
    void *arg;
} asked[256];
static unsigned asked_n;

static void on_bent(void *arg, enum err rc, const struct dnsmsg *answer)
{
    unsigned i = (unsigned)(uintptr_t)arg;
    struct dns_rr rr[DNSMSG_RRS_MAX] = {0};
    struct dnsmsg m = {0};
    if (answer) {
        m = *answer;
        for (size_t k = 0; k < m.n; k++)
            rr[k] = answer->rrs[k];
        m.rrs = rr;
    }
    bend(&m, rr, &rc);
    asked[i].fn(asked[i].arg, rc, rc ? NULL : &m);
}

enum err dns_ask(struct loop *l, sv name, enum dns_type type, dns_fn *fn, void *arg,
                 struct dns_query **ret_query)
{
    if (!bend)
        return l->ops->dns_query(l, name, (unsigned)type, fn, arg, ret_query);
    assert_true(asked_n < 256);
    asked[asked_n].fn = fn;
    asked[asked_n].arg = arg;
    return l->ops->dns_query(l, name, (unsigned)type, on_bent, (void *)(uintptr_t)asked_n++,
                             ret_query);
}

void dns_cancel(struct dns_query *q)
{
    if (q)
        q->ops->cancel(q);
}

/* ---- a process of two workers ---- */

static struct sim *sim;
static struct sim_host *host;
static struct loop_group *group;
static struct sip sip[2];
static struct locate_shared *shared;
static struct locate *locate[2];
static size_t live_before;
static size_t cache = 64;

static void begin(uint64_t seed)
{
    static const uint8_t key[16] = "sixteen octets.";
    struct addr ip;
    live_before = mem_live();
    memset(have, 0, sizeof have);
    for (unsigned t = SIP_T_UDP; t <= SIP_T_TLS; t++)
        have[t][0] = have[t][1] = true;
    no_way6 = false;
    names_n = asked_n = 0;
    bend = NULL;
    assert_int_equal(addr_parse_ip(SV("192.0.2.1"), 0, &ip), ERR_OK);
    assert_int_equal(sim_new(seed, &sim), ERR_OK);
    assert_int_equal(sim_host_new(sim, "server", &ip, 1, &host), ERR_OK);
    assert_int_equal(sim_process(host, 2, &group), ERR_OK);
    assert_int_equal(locate_shared_new(key, cache, &shared), ERR_OK);
    for (unsigned i = 0; i < 2; i++) {
        sip[i].loop = group->loop[i];
        assert_int_equal(locate_new(&sip[i], shared, &locate[i]), ERR_OK);
    }
}

static void end(void)
{
    sim_process_stop(host);
    for (unsigned i = 0; i < 2; i++) {
        locate_free(locate[i]);
        assert_int_equal(group->loop[i]->wheel.armed, 0);
    }
    locate_shared_free(shared);
    sim_process_free(host);
    sim_free(sim);
    assert_int_equal(mem_live(), live_before);
}

static int setup(void **state)
{
    (void)state;
    begin(11);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    end();
    return 0;
}

static void zone(const char *text)
{
    assert_int_equal(sim_zone(sim, sv_of(text)), ERR_OK);
}

/* ---- asking ---- */

struct result {
    bool done;
    enum err rc;
    struct locate_set set;
    usec at;
    unsigned at_worker;
    bool (*allowed)(void *arg, const struct addr *a);
};

static void on_done(void *arg, enum err rc, const struct locate_set *set)
{
    struct result *r = arg;
    assert_false(r->done);
    assert_int_equal(rc == ERR_OK, set != NULL);
    r->done = true;
    r->rc = rc;
    r->at = group->loop[r->at_worker]->now;
    if (set) {
        assert_in_range(set->n, 1, LOCATE_TARGETS_MAX);
        r->set = *set;
    }
}

static struct uri uri(const char *text)
{
    struct uri u;
    assert_int_equal(uri_parse(sv_of(text), &u, NULL), ERR_OK);
    return u;
}

/* What runs in a turn of a worker's loop. */
struct turn {
    struct timer timer;
    void (*fn)(void *arg);
    void *arg;
};
static void on_turn(struct timer *t, void *arg)
{
    struct turn *turn = arg;
    (void)t;
    turn->fn(turn->arg);
}
static void in_turn(unsigned worker, void (*fn)(void *arg), void *arg)
{
    struct turn t = {.fn = fn, .arg = arg};
    timer_init(&t.timer, on_turn, &t);
    wheel_arm(&group->loop[worker]->wheel, &t.timer, sim_now(sim));
    sim_run_until(sim, sim_now(sim) + USEC_MS);
    assert_false(timer_armed(&t.timer));
}

struct start {
    const char *text;
    const struct sip_via *via;
    struct result *r;
    struct locate_query *q;
    enum err rc;
};
static void start_now(void *arg)
{
    struct start *s = arg;
    if (s->via) {
        s->rc =
            locate_response(locate[s->r->at_worker], s->via, s->r->allowed, on_done, s->r, &s->q);
    } else {
        struct uri u = uri(s->text);
        s->rc = locate_start(locate[s->r->at_worker], &u, s->r->allowed, on_done, s->r, &s->q);
    }
    assert_false(s->r->done); /* never from inside */
}

static struct locate_query *start(const char *text, struct result *r)
{
    struct start s = {.text = text, .r = r};
    in_turn(r->at_worker, start_now, &s);
    assert_int_equal(s.rc, ERR_OK);
    return s.q;
}

static bool is_done(void *arg)
{
    return ((struct result *)arg)->done;
}

static void wait_for(struct result *r)
{
    sim_run_when(sim, sim_now(sim) + 30 * USEC_S, is_done, r);
    assert_true(r->done);
}

static struct result find(const char *text)
{
    struct result r = {0};
    start(text, &r);
    wait_for(&r);
    return r;
}

static void run(usec by)
{
    sim_run_until(sim, sim_now(sim) + by);
}

/* "UDP 192.0.2.1:5060, TLS [2001:db8::1]:5061=name" */
static const char *text_of(const struct result *r)
{
    static char mem[4096];
    struct buf b;
    if (r->rc)
        return err_name(r->rc);
    buf_init(&b, mem, sizeof mem - 1);
    for (unsigned i = 0; i < r->set.n; i++) {
        const struct dest *d = &r->set.dest[i];
        assert_int_equal(d->flow.transport, SIP_T_NONE);
        if (i > 0)
            buf_str(&b, ", ");
        buf_put(&b, sip_transport_name(d->transport));
        buf_char(&b, ' ');
        addr_print(&b, &d->addr);
        if (d->name) {
            buf_char(&b, '=');
            buf_str(&b, names[d->name - 1]);
        }
    }
    assert_int_equal(b.rc, ERR_OK);
    mem[b.n] = 0;
    return mem;
}

static void gives(const char *text, const char *want)
{
    struct result r = find(text);
    assert_string_equal(text_of(&r), want);
}

static int64_t questions(void)
{
    return loop_stat(group, STAT_DNS_QUESTIONS);
}

static uint64_t refused(void)
{
    return group->loop[0]->stats.refusals[STAT_LIMIT_DNS] +
           group->loop[1]->stats.refusals[STAT_LIMIT_DNS];
}

static struct dest dest(enum sip_transport t, const char *text)
{
    struct dest d = {.transport = t};
    assert_int_equal(addr_parse(sv_of(text), &d.addr), ERR_OK);
    return d;
}

/* ---- without the DNS ---- */

static void number(const char *text, const char *want)
{
    struct uri u = uri(text);
    struct result r = {.rc = locate_numeric(locate[0], &u, &r.set)};
    assert_string_equal(text_of(&r), want);
}

static void numbers_are_targets_at_once(void **state)
{
    (void)state;
    number("sip:bob@192.0.2.9", "UDP 192.0.2.9:5060");
    number("sip:192.0.2.9:5080", "UDP 192.0.2.9:5080");
    number("sip:192.0.2.9;transport=TCP", "TCP 192.0.2.9:5060");
    number("sip:192.0.2.9;transport=tls", "TLS 192.0.2.9:5061");
    number("sips:192.0.2.9", "TLS 192.0.2.9:5061");
    number("sips:192.0.2.9:7000;transport=tcp", "TLS 192.0.2.9:7000");
    number("sips:[2001:db8::1]", "TLS [2001:db8::1]:5061");
    number("sip:[2001:db8::1]:5070", "UDP [2001:db8::1]:5070");
    number("sip:example.com;maddr=192.0.2.8", "UDP 192.0.2.8:5060");
    number("sip:example.com;maddr=[2001:db8::8]", "UDP [2001:db8::8]:5060");
    number("sips:Example.com.;maddr=192.0.2.8", "TLS 192.0.2.8:5061=Example.com");
    number("sip:example.com", "MORE");
    number("sip:192.0.2.1;maddr=example.com", "MORE");
    number("tel:+15550100", "UNREACHABLE");
    number("mailto:a@example.com", "UNREACHABLE");
    number("sip:192.0.2.9;transport=ws", "UNREACHABLE");
    number("sips:192.0.2.9;transport=wss", "UNREACHABLE");
    number("sips:192.0.2.9;transport=udp", "UNREACHABLE");
    number("sip:192.0.2.9;transport=sctp", "UNREACHABLE");
    number("sip:x7.invalid", "UNREACHABLE");
    number("sip:x.INVALID.", "UNREACHABLE");
    number("sip:isinvalid", "MORE");
    have[SIP_T_UDP][1] = false;
    number("sip:[2001:db8::1]", "UNREACHABLE");
    have[SIP_T_TCP][0] = false;
    number("sip:192.0.2.9;transport=tcp", "UNREACHABLE");
    /* no UDP at all: TCP */
    have[SIP_T_TCP][0] = true;
    have[SIP_T_UDP][0] = false;
    number("sip:192.0.2.9", "TCP 192.0.2.9:5060");
    assert_int_equal(questions(), 0);
}

static void number_may_be_started_too(void **state)
{
    (void)state;
    gives("sip:192.0.2.9:5080", "UDP 192.0.2.9:5080");
    assert_int_equal(questions(), 0);
}

/* ---- transport: RFC 3263 §4.1 ---- */

static const char by_naptr[] =
    "example.com NAPTR 60 50 50 \"s\" \"SIPS+D2T\" \"\" _sips._tcp.example.com\n"
    "example.com NAPTR 60 90 20 \"S\" \"sip+d2u\" \"\" _sip._udp.other.example\n"
    "example.com NAPTR 60 90 10 \"s\" \"SIP+D2T\" \"\" _sip._tcp.example.com\n"
    "example.com NAPTR 60 10 10 \"s\" \"SIP+D2S\" \"\" _sip._sctp.example.com\n"
    "example.com NAPTR 60 10 10 \"u\" \"E2U+sip\" \"!.*!sip:x@y!\" .\n"
    "_sips._tcp.example.com SRV 60 1 1 5071 a.elsewhere.example\n"
    "_sip._tcp.example.com SRV 60 1 1 5072 b.example.com\n"
    "_sip._udp.other.example SRV 60 1 1 5073 c.example.com\n"
    "a.elsewhere.example A 60 192.0.2.11\n"
    "b.example.com A 60 192.0.2.12\n"
    "c.example.com A 60 192.0.2.13\n";

static void naptr_chooses_the_transport(void **state)
{
    (void)state;
    zone(by_naptr);
    /* the lowest order that we can use, alone; TLS must show the domain that was asked for */
    gives("sip:bob@Example.COM.", "TLS 192.0.2.11:5071=example.com");
    gives("sips:bob@example.com", "TLS 192.0.2.11:5071=example.com");
    have[SIP_T_TLS][0] = have[SIP_T_TLS][1] = false;
    gives("sip:bob@example.com", "TCP 192.0.2.12:5072, UDP 192.0.2.13:5073");
    have[SIP_T_TCP][0] = have[SIP_T_TCP][1] = false;
    gives("sip:bob@example.com", "UDP 192.0.2.13:5073");
}

static void sips_takes_sips_alone(void **state)
{
    (void)state;
    zone("example.com NAPTR 60 90 10 \"s\" \"SIP+D2T\" \"\" _sip._tcp.example.com\n"
         "_sip._tcp.example.com SRV 60 1 1 5072 b.example.com\n"
         "_sip._udp.example.com SRV 60 1 1 5072 b.example.com\n"
         "b.example.com A 60 192.0.2.12\n");
    gives("sips:example.com", "NOTFOUND");
    zone("example.com A 60 192.0.2.99\n");
    run(6 * USEC_MIN);
    gives("sips:example.com", "TLS 192.0.2.99:5061=example.com");
}

static void naptr_that_leads_astray_is_dropped(void **state)
{
    (void)state;
    zone("example.com NAPTR 60 10 10 \"s\" \"SIP+D2U\" \"!.*!x!\" _sip._udp.bad.example\n"
         "example.com NAPTR 60 10 10 \"a\" \"SIP+D2U\" \"\" bad.example\n"
         "example.com NAPTR 60 20 10 \"s\" \"SIP+D2U\" \"\" _sip._udp.good.example\n"
         "_sip._udp.bad.example SRV 60 1 1 5060 bad.example\n"
         "_sip._udp.good.example SRV 60 1 1 5060 good.example\n"
         "bad.example A 60 192.0.2.66\n"
         "good.example A 60 192.0.2.12\n");
    gives("sip:example.com", "UDP 192.0.2.12:5060");
    assert_int_equal(refused(), 2);
}

static void naptr_without_srv_gives_addresses_by_its_transport(void **state)
{
    (void)state;
    zone("example.com NAPTR 60 10 10 \"s\" \"SIP+D2T\" \"\" _sip._tcp.example.com\n"
         "example.com A 60 192.0.2.12\n");
    gives("sip:example.com", "TCP 192.0.2.12:5060");
}

static void without_naptr_each_srv_is_asked(void **state)
{
    (void)state;
    zone("_sips._tcp.example.com SRV 60 1 1 5061 tls.example.com\n"
         "_sip._udp.example.com SRV 60 1 1 5062 udp.example.com\n"
         "_sip._tcp.example.com SRV 60 1 1 5063 tcp.example.com\n"
         "example.com A 60 192.0.2.10\n"
         "tls.example.com A 60 192.0.2.11\n"
         "udp.example.com A 60 192.0.2.12\n"
         "tcp.example.com A 60 192.0.2.13\n");
    gives("sip:example.com", "TLS 192.0.2.11:5061=example.com");
    gives("sips:example.com", "TLS 192.0.2.11:5061=example.com");
    have[SIP_T_TLS][0] = have[SIP_T_TLS][1] = false;
    gives("sip:example.com", "UDP 192.0.2.12:5062, TCP 192.0.2.13:5063");
    zone("_sip._udp.example.com NXDOMAIN\n");
    run(60 * USEC_S);
    gives("sip:example.com", "TCP 192.0.2.13:5063");
    zone("_sip._tcp.example.com NXDOMAIN\n");
    run(60 * USEC_S);
    gives("sip:example.com", "UDP 192.0.2.10:5060");
}

/* TLS that is there but useless is no reason to speak in the clear. */
static void tls_is_not_talked_down(void **state)
{
    (void)state;
    zone("_sips._tcp.example.com SRV 60 1 1 5061 gone.example.com\n"
         "_sip._udp.example.com SRV 60 1 1 5062 udp.example.com\n"
         "udp.example.com A 60 192.0.2.12\n");
    gives("sip:example.com", "NOTFOUND");
    zone("_sips._tcp.example.com SRV 60 0 0 0 .\n");
    run(60 * USEC_S);
    gives("sip:example.com", "UDP 192.0.2.12:5062");
}

static void transport_and_port_save_questions(void **state)
{
    (void)state;
    zone("example.com NAPTR 60 10 10 \"s\" \"SIP+D2U\" \"\" _sip._udp.example.com\n"
         "_sip._tcp.example.com SRV 60 1 1 5072 b.example.com\n"
         "_sip._udp.example.com SRV 60 1 1 5073 b.example.com\n"
         "example.com A 60 192.0.2.10\n"
         "b.example.com A 60 192.0.2.12\n");
    gives("sip:example.com:5060", "UDP 192.0.2.10:5060");
    assert_int_equal(questions(), 2); /* A, AAAA */
    gives("sips:example.com:5060", "TLS 192.0.2.10:5060=example.com");
    gives("sip:example.com:5060;transport=tcp", "TCP 192.0.2.10:5060");
    assert_int_equal(questions(), 2);
    gives("sip:example.com;transport=tcp", "TCP 192.0.2.12:5072");
    assert_int_equal(questions(), 5); /* SRV, A, AAAA */
    gives("sip:example.com;transport=tls", "TLS 192.0.2.10:5061=example.com");
    assert_int_equal(questions(), 6); /* SRV; no record: the addresses are known */
    gives("sip:192.0.2.77;maddr=example.com;transport=tcp", "TCP 192.0.2.12:5072");
    gives("sips:bank.example;maddr=example.com;transport=tcp", "TLS 192.0.2.10:5061=bank.example");
}

/* ---- SRV: RFC 2782 ---- */

static void priorities_go_first(void **state)
{
    (void)state;
    zone("_sip._udp.example.com SRV 60 20 9 5060 c.example.com\n"
         "_sip._udp.example.com SRV 60 5 0 5060 a.example.com\n"
         "_sip._udp.example.com SRV 60 10 0 5060 b.example.com\n"
         "a.example.com A 60 192.0.2.1\n"
         "b.example.com A 60 192.0.2.2\n"
         "c.example.com A 60 192.0.2.3\n");
    gives("sip:example.com;transport=udp",
          "UDP 192.0.2.1:5060, UDP 192.0.2.2:5060, UDP 192.0.2.3:5060");
}

static void weights_are_shares(void **state)
{
    enum { ROUNDS = 4000 };
    unsigned first[4] = {0}, second_of_a[4] = {0};
    (void)state;
    zone("_sip._udp.example.com SRV 86400 1 0 5060 z.example.com\n"
         "_sip._udp.example.com SRV 86400 1 60 5060 a.example.com\n"
         "_sip._udp.example.com SRV 86400 1 30 5060 b.example.com\n"
         "_sip._udp.example.com SRV 86400 1 10 5060 c.example.com\n"
         "z.example.com A 86400 192.0.2.0\n"
         "a.example.com A 86400 192.0.2.1\n"
         "b.example.com A 86400 192.0.2.2\n"
         "c.example.com A 86400 192.0.2.3\n");
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct result r = find("sip:example.com;transport=udp");
        assert_int_equal(r.set.n, 4);
        first[r.set.dest[0].addr.ip[3]]++;
        if (r.set.dest[0].addr.ip[3] == 1)
            second_of_a[r.set.dest[1].addr.ip[3]]++;
    }
    assert_in_range(first[1], 2250, 2550); /* 60 of 101, five deviations */
    assert_in_range(first[2], 1050, 1330);
    assert_in_range(first[3], 300, 490);
    assert_in_range(first[0], 10, 80); /* "a very small chance" */
    /* then the others, by their own shares */
    assert_in_range(second_of_a[2] * 100 / first[1], 67, 79);
    assert_in_range(second_of_a[3] * 100 / first[1], 19, 30);
    assert_int_equal(questions(), 9); /* SRV, A and AAAA of each: all from the cache */
}

static void same_seed_same_order(void **state)
{
    char order[2][4096] = {"", ""};
    (void)state;
    end();
    for (unsigned k = 0; k < 2; k++) {
        begin(5);
        zone("_sip._udp.example.com SRV 60 1 5 5060 a.example.com\n"
             "_sip._udp.example.com SRV 60 1 5 5060 b.example.com\n"
             "_sip._udp.example.com SRV 60 1 5 5060 c.example.com\n"
             "a.example.com A 60 192.0.2.1\n"
             "b.example.com A 60 192.0.2.2\n"
             "c.example.com A 60 192.0.2.3\n");
        for (unsigned i = 0; i < 20; i++) {
            struct result r = find("sip:example.com;transport=udp");
            strncat(order[k], text_of(&r), sizeof order[0] - strlen(order[k]) - 1);
        }
        if (k == 0)
            end();
    }
    assert_string_equal(order[0], order[1]);
}

static void dot_is_a_no(void **state)
{
    (void)state;
    zone("_sip._udp.example.com SRV 60 0 0 0 .\n"
         "example.com A 60 192.0.2.10\n");
    gives("sip:example.com;transport=udp", "NOTFOUND");
    gives("sip:example.com", "NOTFOUND"); /* UDP is the default, and it is not there */
    gives("sip:example.com;transport=tcp", "TCP 192.0.2.10:5060");
}

static void port_0_is_dropped(void **state)
{
    (void)state;
    zone("_sip._udp.example.com SRV 60 1 1 0 a.example.com\n"
         "_sip._udp.example.com SRV 60 2 1 5060 a.example.com\n"
         "a.example.com A 60 192.0.2.1\n"
         "_sip._udp.zero.example SRV 60 1 1 0 a.example.com\n"
         "zero.example A 60 192.0.2.2\n");
    gives("sip:example.com;transport=udp", "UDP 192.0.2.1:5060");
    assert_int_equal(refused(), 1);
    gives("sip:zero.example;transport=udp", "NOTFOUND"); /* there were records: no way round */
    assert_int_equal(refused(), 2);
}

/* ---- families: RFC 7984 ---- */

static void families_take_turns_within_a_server(void **state)
{
    (void)state;
    zone("_sip._udp.example.com SRV 60 1 1 5060 a.example.com\n"
         "_sip._udp.example.com SRV 60 2 1 5060 b.example.com\n"
         "a.example.com A 60 192.0.2.1\n"
         "a.example.com AAAA 60 2001:db8::1\n"
         "b.example.com A 60 192.0.2.2\n"
         "b.example.com AAAA 60 2001:db8::2\n");
    gives("sip:example.com;transport=udp", "UDP [2001:db8::1]:5060, UDP 192.0.2.1:5060, "
                                           "UDP [2001:db8::2]:5060, UDP 192.0.2.2:5060");
    no_way6 = true;
    gives("sip:example.com;transport=udp", "UDP 192.0.2.1:5060, UDP 192.0.2.2:5060");
    have[SIP_T_UDP][0] = no_way6 = false;
    gives("sip:example.com;transport=udp", "UDP [2001:db8::1]:5060, UDP [2001:db8::2]:5060");
}

static void families_that_we_lack_are_not_asked_for(void **state)
{
    (void)state;
    zone("a.example.com A 60 192.0.2.1\n"
         "a.example.com AAAA 60 2001:db8::1\n");
    have[SIP_T_UDP][1] = false;
    gives("sip:a.example.com:5060", "UDP 192.0.2.1:5060");
    assert_int_equal(questions(), 1);
}

static void neither_family_is_waited_for_alone(void **state)
{
    (void)state;
    zone("_sip._udp.example.com SRV 60 1 1 5060 silent.example.com\n"
         "_sip._udp.example.com SRV 60 2 1 5060 a.example.com\n"
         "silent.example.com TIMEOUT\n"
         "a.example.com A 60 192.0.2.1\n");
    usec begun = sim_now(sim);
    struct result r = find("sip:example.com;transport=udp");
    assert_string_equal(text_of(&r), "UDP 192.0.2.1:5060");
    assert_in_range(r.at - begun, 500 * USEC_MS, 600 * USEC_MS);
}

/* ---- the cache ---- */

static void answers_are_kept_for_their_ttl(void **state)
{
    (void)state;
    zone("a.example.com A 60 192.0.2.1\n");
    have[SIP_T_UDP][1] = false;
    struct result r = find("sip:a.example.com:5060");
    assert_in_range(r.set.until - r.at, 59 * USEC_S, 60 * USEC_S);
    zone("a.example.com A 60 192.0.2.2\n");
    run(59 * USEC_S);
    r = find("sip:A.example.com:5060");
    assert_string_equal(text_of(&r), "UDP 192.0.2.1:5060");
    assert_in_range(r.set.until - r.at, 0, USEC_S);
    assert_int_equal(questions(), 1);
    assert_int_equal(loop_stat(group, STAT_DNS_CACHE_HITS), 1);
    run(2 * USEC_S);
    gives("sip:a.example.com:5060", "UDP 192.0.2.2:5060");
    assert_int_equal(questions(), 2);
}

static void set_lasts_as_long_as_its_shortest_record(void **state)
{
    (void)state;
    zone("example.com NAPTR 500 10 10 \"s\" \"SIP+D2U\" \"\" _sip._udp.example.com\n"
         "_sip._udp.example.com SRV 300 1 1 5060 a.example.com\n"
         "a.example.com CNAME 40 b.example.com\n"
         "b.example.com A 400 192.0.2.1\n");
    struct result r = find("sip:example.com");
    assert_in_range(r.set.until - r.at, 39 * USEC_S, 40 * USEC_S);
}

static void ttl_has_a_floor_and_a_cap(void **state)
{
    (void)state;
    zone("zero.example.com A 0 192.0.2.1\n"
         "ever.example.com A 2147483647 192.0.2.2\n");
    have[SIP_T_UDP][1] = false;
    struct result r = find("sip:zero.example.com:5060");
    assert_in_range(r.set.until - r.at, USEC_S - 1, USEC_S);
    r = find("sip:ever.example.com:5060");
    assert_in_range(r.set.until - r.at, USEC_DAY - 1, USEC_DAY);
}

static void no_is_kept_too(void **state)
{
    (void)state;
    have[SIP_T_UDP][1] = false;
    gives("sip:gone.example.com:5060", "NOTFOUND");
    zone("gone.example.com A 60 192.0.2.1\n");
    run(28 * USEC_S); /* the simulated SOA says 30 s */
    gives("sip:gone.example.com:5060", "NOTFOUND");
    assert_int_equal(questions(), 1);
    run(3 * USEC_S);
    gives("sip:gone.example.com:5060", "UDP 192.0.2.1:5060");
}

static void soa_of_a_day(struct dnsmsg *m, struct dns_rr *rr, enum err *rc)
{
    (void)rr;
    (void)rc;
    m->negative_ttl_s = 86400;
}

static void no_is_kept_for_five_minutes_at_most(void **state)
{
    (void)state;
    have[SIP_T_UDP][1] = false;
    bend = soa_of_a_day;
    gives("sip:gone.example.com:5060", "NOTFOUND");
    run(299 * USEC_S);
    gives("sip:gone.example.com:5060", "NOTFOUND");
    assert_int_equal(questions(), 1);
    run(USEC_S);
    gives("sip:gone.example.com:5060", "NOTFOUND");
    assert_int_equal(questions(), 2);
}

static void cache_is_shared_and_of_fixed_size(void **state)
{
    char text[64];
    (void)state;
    have[SIP_T_UDP][1] = false;
    zone("a.example.com A 60000 192.0.2.1\n");
    gives("sip:a.example.com:5060", "UDP 192.0.2.1:5060");
    struct result r = {.at_worker = 1};
    start("sip:a.example.com:5060", &r);
    wait_for(&r);
    assert_int_equal(questions(), 1);
    size_t live = mem_live();
    for (unsigned i = 0; i < 500; i++) {
        snprintf(text, sizeof text, "sip:x%u.example.com:5060", i);
        gives(text, "NOTFOUND");
    }
    assert_true(mem_live() <= live + cache);
    /* what lasts longest is still there */
    gives("sip:a.example.com:5060", "UDP 192.0.2.1:5060");
    assert_int_equal(questions(), 501);
}

static void start_three(void *arg)
{
    struct result *r = arg;
    struct start s = {.text = "sip:example.com"};
    for (unsigned i = 0; i < 3; i++) {
        s.r = &r[i];
        start_now(&s);
        assert_int_equal(s.rc, ERR_OK);
    }
}

static void equal_questions_are_one(void **state)
{
    struct result r[3] = {{0}, {0}, {0}};
    (void)state;
    zone(by_naptr);
    in_turn(0, start_three, r);
    assert_int_equal(questions(), 1);
    for (unsigned i = 0; i < 3; i++) {
        wait_for(&r[i]);
        assert_string_equal(text_of(&r[i]), "TLS 192.0.2.11:5071=example.com");
    }
    assert_int_equal(questions(), 4); /* NAPTR, SRV, A, AAAA */
}

/* ---- failures ---- */

static const char two[] = "_sip._udp.example.com SRV 60 1 1 5060 a.example.com\n"
                          "_sip._udp.example.com SRV 60 2 1 5060 b.example.com\n"
                          "a.example.com A 60 192.0.2.1\n"
                          "b.example.com A 60 192.0.2.2\n";

static void failed_are_left_out_until_the_ttl_ends(void **state)
{
    (void)state;
    zone(two);
    struct result r = find("sip:example.com;transport=udp");
    assert_string_equal(text_of(&r), "UDP 192.0.2.1:5060, UDP 192.0.2.2:5060");
    run(10 * USEC_S);
    locate_failed(locate[1], &r.set.dest[0], r.set.until - sim_now(sim), 0);
    assert_true(locate_is_failed(locate[0], &r.set.dest[0]));
    assert_false(locate_is_failed(locate[0], &r.set.dest[1]));
    struct dest tcp = r.set.dest[0];
    tcp.transport = SIP_T_TCP;
    assert_false(locate_is_failed(locate[0], &tcp));
    gives("sip:example.com;transport=udp", "UDP 192.0.2.2:5060");
    sim_run_until(sim, r.set.until);
    gives("sip:example.com;transport=udp", "UDP 192.0.2.1:5060, UDP 192.0.2.2:5060");
    assert_false(locate_is_failed(locate[0], &r.set.dest[0]));
}

static void when_all_failed_all_are_there(void **state)
{
    (void)state;
    zone(two);
    struct result r = find("sip:example.com;transport=udp");
    locate_failed(locate[0], &r.set.dest[0], 0, 20 * USEC_S); /* 503, Retry-After: 20 */
    locate_failed(locate[0], &r.set.dest[1], 10 * USEC_S, 0);
    gives("sip:example.com;transport=udp", "UDP 192.0.2.2:5060, UDP 192.0.2.1:5060");
    run(11 * USEC_S);
    gives("sip:example.com;transport=udp", "UDP 192.0.2.2:5060");
    locate_worked(locate[1], &r.set.dest[0]);
    gives("sip:example.com;transport=udp", "UDP 192.0.2.1:5060, UDP 192.0.2.2:5060");
}

static void failures_have_a_least_and_a_most(void **state)
{
    struct dest d = dest(SIP_T_UDP, "192.0.2.1:5060");
    (void)state;
    locate_failed(locate[0], &d, -5, 0);
    assert_true(locate_is_failed(locate[0], &d));
    run(2 * USEC_S);
    assert_false(locate_is_failed(locate[0], &d));
    locate_failed(locate[0], &d, USEC_NEVER, 0);
    run(LOCATE_FAILED_MAX - USEC_S);
    assert_true(locate_is_failed(locate[0], &d));
    run(2 * USEC_S);
    assert_false(locate_is_failed(locate[0], &d));
    locate_failed(locate[0], &d, 0, USEC_NEVER);
    run(LOCATE_RETRY_MAX - USEC_S);
    assert_true(locate_is_failed(locate[0], &d));
    run(2 * USEC_S);
    assert_false(locate_is_failed(locate[0], &d));
}

static void memory_of_failures_is_of_fixed_size(void **state)
{
    struct dest d = dest(SIP_T_UDP, "192.0.2.1:5060"), last = dest(SIP_T_UDP, "192.0.2.1:5061");
    (void)state;
    size_t live = mem_live();
    for (unsigned i = 0; i < 20000; i++) {
        d.addr.port = (uint16_t)(10000 + i);
        locate_failed(locate[0], &d, 60 * USEC_S, 0);
        assert_true(locate_is_failed(locate[0], &d));
    }
    locate_failed(locate[0], &last, 200 * USEC_S, 0);
    assert_true(locate_is_failed(locate[0], &last));
    assert_int_equal(mem_live(), live);
}

/* ---- hostile and broken ---- */

static void aliases_are_followed_but_not_for_ever(void **state)
{
    (void)state;
    have[SIP_T_UDP][1] = false;
    zone("a.example.com CNAME 60 b.example.com\n"
         "b.example.com CNAME 60 c.example.com\n"
         "c.example.com A 60 192.0.2.1\n"
         "x.example.com CNAME 60 y.example.com\n"
         "y.example.com CNAME 60 x.example.com\n"
         "self.example.com CNAME 60 self.example.com\n");
    gives("sip:a.example.com:5060", "UDP 192.0.2.1:5060");
    assert_int_equal(refused(), 0);
    gives("sip:x.example.com:5060", "NOTFOUND");
    assert_int_equal(refused(), 1);
    gives("sip:self.example.com:5060", "NOTFOUND");
    assert_int_equal(refused(), 2);
    assert_true(questions() < 10);
}

/* As a server that knows only its own zone answers: the alias, and nothing behind it. */
static void alias_alone(struct dnsmsg *m, struct dns_rr *rr, enum err *rc)
{
    (void)rc;
    if (m->n > 0 && rr[0].type == DNS_CNAME) {
        m->n = 1;
        m->rcode = 0;
        m->negative_ttl_s = 0;
    }
}

static void alias_that_leads_out_is_asked_again(void **state)
{
    (void)state;
    have[SIP_T_UDP][1] = false;
    zone("a.example.com CNAME 30 b.example.com\n"
         "b.example.com CNAME 20 c.example.com\n"
         "c.example.com A 60 192.0.2.1\n"
         "x.example.com CNAME 60 y.example.com\n"
         "y.example.com CNAME 60 x.example.com\n");
    bend = alias_alone;
    struct result r = find("sip:a.example.com:5060");
    assert_string_equal(text_of(&r), "UDP 192.0.2.1:5060");
    assert_true(r.set.until - r.at <= 20 * USEC_S);
    assert_int_equal(questions(), 3);
    gives("sip:x.example.com:5060", "NOTFOUND");
    assert_int_equal(questions(), 6);
    assert_int_equal(refused(), 1);
}

static void add_strangers(struct dnsmsg *m, struct dns_rr *rr, enum err *rc)
{
    (void)rc;
    rr[m->n++] = (struct dns_rr){
        .name = {"bank.example", 12}, .type = DNS_A, .ttl_s = 60, .ip = {6, 6, 6, 6}};
    rr[m->n++] = (struct dns_rr){.name = {"victim.example", 14},
                                 .type = DNS_CNAME,
                                 .ttl_s = 60,
                                 .cname = {"bank.example", 12}};
}

static void records_that_were_not_asked_for_are_not_believed(void **state)
{
    (void)state;
    have[SIP_T_UDP][1] = false;
    zone("a.example.com A 60 192.0.2.1\n"
         "bank.example A 60 192.0.2.7\n"
         "victim.example A 60 192.0.2.8\n");
    bend = add_strangers;
    gives("sip:a.example.com:5060", "UDP 192.0.2.1:5060");
    gives("sip:nothing.example.com:5060", "NOTFOUND");
    bend = NULL;
    gives("sip:bank.example:5060", "UDP 192.0.2.7:5060");
    gives("sip:victim.example:5060", "UDP 192.0.2.8:5060");
}

static void many_records_are_cut(void **state)
{
    char text[16384];
    int n = 0;
    (void)state;
    for (int i = 0; i < 64; i++)
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "_sip._udp.example.com SRV 60 %d 1 5060 h%d.example.com\n"
                      "h%d.example.com A 60 192.0.2.%d\n"
                      "h%d.example.com AAAA 60 2001:db8::%d\n",
                      64 - i, i, i, i + 1, i, i + 1);
    zone(text);
    struct result r = find("sip:example.com;transport=udp");
    assert_int_equal(r.rc, ERR_OK);
    assert_int_equal(r.set.n, LOCATE_TARGETS_MAX);
    assert_int_equal(r.set.dest[1].addr.ip[3], 64); /* the best are kept */
    assert_true(questions() <= LOCATE_QUESTIONS);
    assert_true(refused() > 0);
}

static bool no_loopback(void *arg, const struct addr *a)
{
    (void)arg;
    return addr_class(a) == ADDR_GLOBAL;
}

static void special_addresses_are_refused(void **state)
{
    (void)state;
    zone("_sip._udp.example.com SRV 60 1 1 5060 inside.example.com\n"
         "_sip._udp.example.com SRV 60 2 1 5060 outside.example.com\n"
         "inside.example.com A 60 127.0.0.1\n"
         "inside.example.com AAAA 60 fd00::1\n"
         "outside.example.com A 60 198.51.100.1\n");
    struct result r = {.allowed = no_loopback};
    start("sip:example.com;transport=udp", &r);
    wait_for(&r);
    assert_string_equal(text_of(&r), "UDP 198.51.100.1:5060");
    assert_true(refused() > 0);
    r = (struct result){.allowed = no_loopback};
    start("sip:inside.example.com", &r);
    wait_for(&r);
    assert_int_equal(r.rc, ERR_NOTFOUND);
    r = (struct result){.allowed = no_loopback};
    start("sip:127.0.0.1", &r);
    wait_for(&r);
    assert_int_equal(r.rc, ERR_NOTFOUND);
}

static void silence_ends_in_time(void **state)
{
    (void)state;
    zone("example.com TIMEOUT\n"
         "_sips._tcp.example.com TIMEOUT\n"
         "_sip._udp.example.com TIMEOUT\n"
         "_sip._tcp.example.com TIMEOUT\n");
    usec begun = sim_now(sim);
    struct result r = find("sip:example.com");
    assert_int_equal(r.rc, ERR_TIMEOUT);
    assert_in_range(r.at - begun, 9 * USEC_S, LOCATE_TIME + 10 * USEC_MS);
    /* and is remembered for a moment: the next one is told at once */
    begun = sim_now(sim);
    r = find("sip:example.com:5060");
    assert_int_equal(r.rc, ERR_TIMEOUT);
    run(20 * USEC_S);
    zone("example.com A 60 192.0.2.1\n");
    gives("sip:example.com:5060", "UDP 192.0.2.1:5060");
}

static void silent_naptr_is_no_naptr(void **state)
{
    (void)state;
    zone("example.com TIMEOUT\n"
         "_sip._udp.example.com SRV 60 1 1 5060 a.example.com\n"
         "a.example.com A 60 192.0.2.1\n");
    gives("sip:example.com", "UDP 192.0.2.1:5060");
}

static void servfail(struct dnsmsg *m, struct dns_rr *rr, enum err *rc)
{
    (void)rr;
    (void)m;
    *rc = ERR_UNREACHABLE;
}

static void strange_code(struct dnsmsg *m, struct dns_rr *rr, enum err *rc)
{
    (void)rr;
    (void)rc;
    m->rcode = 5;
}

static void no_dns_is_unreachable(void **state)
{
    (void)state;
    bend = servfail;
    gives("sip:example.com", "UNREACHABLE");
    bend = NULL;
    zone("example.com A 60 192.0.2.1\n");
    gives("sip:example.com", "UNREACHABLE"); /* for a moment */
    run(6 * USEC_S);
    gives("sip:example.com", "UDP 192.0.2.1:5060");
    bend = strange_code;
    gives("sip:other.example.com", "UNREACHABLE");
}

static void names_that_cannot_be(void **state)
{
    char text[300] = "sip:";
    struct locate_query *q;
    (void)state;
    memset(text + 4, 'a', 254);
    struct uri u = uri(text);
    assert_int_equal(locate_start(locate[0], &u, NULL, on_done, NULL, &q), ERR_UNREACHABLE);
    text[4 + 253] = 0; /* fits, but not behind _sip._udp., and a label has 63 octets */
    gives(text, "NOTFOUND");
    u = uri("tel:+15550100");
    assert_int_equal(locate_start(locate[0], &u, NULL, on_done, NULL, &q), ERR_UNREACHABLE);
    u = uri("sip:abc.invalid");
    assert_int_equal(locate_start(locate[0], &u, NULL, on_done, NULL, &q), ERR_UNREACHABLE);
    have[SIP_T_TLS][0] = have[SIP_T_TLS][1] = false;
    u = uri("sips:example.com");
    assert_int_equal(locate_start(locate[0], &u, NULL, on_done, NULL, &q), ERR_UNREACHABLE);
}

/* ---- responses: RFC 3263 §5 ---- */

static void response_gives(struct sip_via via, const char *want)
{
    struct result r = {0};
    struct start s = {.via = &via, .r = &r};
    in_turn(0, start_now, &s);
    r.rc = s.rc;
    if (!s.rc)
        wait_for(&r);
    assert_string_equal(text_of(&r), want);
}

static void responses_go_by_the_via(void **state)
{
    (void)state;
    zone(by_naptr);
    zone("example.com NAPTR 60 50 50 \"s\" \"SIPS+D2T\" \"\" _sips._tcp.example.com\n"
         "example.com A 60 192.0.2.10\n"
         "plain.example A 60 192.0.2.20\n");
    response_gives((struct sip_via){.transport = SIP_T_UDP, .host = SV("192.0.2.5"), .port = 5070},
                   "UDP 192.0.2.5:5070");
    response_gives((struct sip_via){.transport = SIP_T_TLS, .host = SV("192.0.2.5")},
                   "TLS 192.0.2.5:5061");
    response_gives((struct sip_via){.transport = SIP_T_TCP, .host = SV("example.com")},
                   "TCP 192.0.2.12:5072");
    response_gives((struct sip_via){.transport = SIP_T_TLS, .host = SV("example.com")},
                   "TLS 192.0.2.11:5071=example.com");
    response_gives((struct sip_via){.transport = SIP_T_UDP, .host = SV("example.com"), .port = 99},
                   "UDP 192.0.2.10:99");
    response_gives((struct sip_via){.transport = SIP_T_UDP, .host = SV("plain.example")},
                   "UDP 192.0.2.20:5060");
    response_gives((struct sip_via){.transport = SIP_T_WS, .host = SV("example.com")},
                   "UNREACHABLE");
    response_gives((struct sip_via){.transport = SIP_T_WS, .host = SV("x.invalid")}, "UNREACHABLE");
}

/* ---- lives ---- */

static void cancel_now(void *arg)
{
    locate_cancel(arg);
}

static void cancelled_is_not_told(void **state)
{
    struct result r = {0}, other = {0};
    (void)state;
    zone(by_naptr);
    struct locate_query *q = start("sip:example.com", &r);
    start("sip:example.com", &other);
    in_turn(0, cancel_now, q);
    locate_cancel(NULL);
    wait_for(&other);
    run(20 * USEC_S);
    assert_false(r.done);
    /* cancelled in the turn of its start, and when the answer is on its way */
    r = (struct result){0};
    struct uri u = uri("sip:example.com");
    assert_int_equal(locate_start(locate[0], &u, NULL, on_done, &r, &q), ERR_OK);
    locate_cancel(q);
    run(20 * USEC_S);
    assert_false(r.done);
}

static void end_with_queries_under_way(void **state)
{
    struct result r[3] = {{0}, {0}, {0}};
    (void)state;
    zone("slow.example.com TIMEOUT\n");
    start("sip:slow.example.com", &r[0]);
    start("sip:slow.example.com:5060", &r[1]);
    start("sips:other.example.com", &r[2]);
    run(2 * USEC_MS);
    end();
    assert_false(r[0].done || r[1].done);
    begin(3);
}

struct again {
    struct result second;
    struct locate_query *other;
    bool done;
};

static void on_again(void *arg, enum err rc, const struct locate_set *set)
{
    struct again *a = arg;
    struct locate_query *q;
    struct uri u = uri("sip:example.com");
    (void)set;
    assert_int_equal(rc, ERR_OK);
    a->done = true;
    locate_cancel(a->other);
    assert_int_equal(locate_start(locate[0], &u, NULL, on_done, &a->second, &q), ERR_OK);
}

static void start_pair(void *arg)
{
    struct again *a = arg;
    struct locate_query *q;
    struct uri u = uri("sip:example.com");
    static struct result never;
    never = (struct result){.done = true}; /* a call would fail */
    assert_int_equal(locate_start(locate[0], &u, NULL, on_again, a, &q), ERR_OK);
    assert_int_equal(locate_start(locate[0], &u, NULL, on_done, &never, &a->other), ERR_OK);
}

static void told_may_start_and_cancel(void **state)
{
    struct again a = {0};
    (void)state;
    zone(by_naptr);
    in_turn(0, start_pair, &a);
    wait_for(&a.second);
    assert_true(a.done);
    assert_string_equal(text_of(&a.second), "TLS 192.0.2.11:5071=example.com");
}

static void on_any(void *arg, enum err rc, const struct locate_set *set)
{
    (void)arg;
    (void)rc;
    (void)set;
}

static void too_many_at_once(void **state)
{
    struct locate_query *q;
    struct uri u = uri("sip:slow.example.com");
    enum err rc = ERR_OK;
    unsigned n = 0;
    (void)state;
    zone("slow.example.com TIMEOUT\n");
    for (; n < 100000 && !rc; n++)
        rc = locate_start(locate[0], &u, NULL, on_any, NULL, &q);
    assert_int_equal(rc, ERR_BUSY);
    assert_in_range(n, 1000, 10000);
    assert_int_equal(refused(), 1);
}

/* Every allocation fails once: an error or an answer, never a crash or a leak. */
static void memory_may_end_anywhere(void **state)
{
    unsigned found = 0;
    (void)state;
    for (size_t n = 1; n < 60; n++) {
        struct result r = {0};
        struct start s = {.text = "sip:example.com", .r = &r};
        end();
        begin(n);
        zone(by_naptr);
        mem_fail_after(n);
        in_turn(0, start_now, &s);
        if (!s.rc) {
            sim_run_when(sim, sim_now(sim) + 30 * USEC_S, is_done, &r);
            assert_true(r.done);
            found += r.rc == ERR_OK;
        }
        mem_fail_after(0);
    }
    assert_true(found > 0);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(numbers_are_targets_at_once),
        CASE(number_may_be_started_too),
        CASE(naptr_chooses_the_transport),
        CASE(sips_takes_sips_alone),
        CASE(naptr_that_leads_astray_is_dropped),
        CASE(naptr_without_srv_gives_addresses_by_its_transport),
        CASE(without_naptr_each_srv_is_asked),
        CASE(tls_is_not_talked_down),
        CASE(transport_and_port_save_questions),
        CASE(priorities_go_first),
        CASE(weights_are_shares),
        CASE(same_seed_same_order),
        CASE(dot_is_a_no),
        CASE(port_0_is_dropped),
        CASE(families_take_turns_within_a_server),
        CASE(families_that_we_lack_are_not_asked_for),
        CASE(neither_family_is_waited_for_alone),
        CASE(answers_are_kept_for_their_ttl),
        CASE(set_lasts_as_long_as_its_shortest_record),
        CASE(ttl_has_a_floor_and_a_cap),
        CASE(no_is_kept_too),
        CASE(no_is_kept_for_five_minutes_at_most),
        CASE(cache_is_shared_and_of_fixed_size),
        CASE(equal_questions_are_one),
        CASE(failed_are_left_out_until_the_ttl_ends),
        CASE(when_all_failed_all_are_there),
        CASE(failures_have_a_least_and_a_most),
        CASE(memory_of_failures_is_of_fixed_size),
        CASE(aliases_are_followed_but_not_for_ever),
        CASE(alias_that_leads_out_is_asked_again),
        CASE(records_that_were_not_asked_for_are_not_believed),
        CASE(many_records_are_cut),
        CASE(special_addresses_are_refused),
        CASE(silence_ends_in_time),
        CASE(silent_naptr_is_no_naptr),
        CASE(no_dns_is_unreachable),
        CASE(names_that_cannot_be),
        CASE(responses_go_by_the_via),
        CASE(cancelled_is_not_told),
        CASE(end_with_queries_under_way),
        CASE(told_may_start_and_cancel),
        CASE(too_many_at_once),
        CASE(memory_may_end_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
