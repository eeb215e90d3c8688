/* SPDX-License-Identifier: MIT */
/* locate_world.h: locate on two workers, zones in text, virtual time. The endpoint is the tests' own:
 * it says which transports there are, so that each can be missing. */
#ifndef TESTS_SIP_LOCATE_WORLD_H
#define TESTS_SIP_LOCATE_WORLD_H
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

static inline void on_bent(void *arg, enum err rc, const struct dnsmsg *answer)
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

static inline void begin(uint64_t seed)
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

static inline void end(void)
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

static inline int setup(void **state)
{
    (void)state;
    begin(11);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    end();
    return 0;
}

static inline void zone(const char *text)
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

static inline void on_done(void *arg, enum err rc, const struct locate_set *set)
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

static inline struct uri uri(const char *text)
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
static inline void on_turn(struct timer *t, void *arg)
{
    struct turn *turn = arg;
    (void)t;
    turn->fn(turn->arg);
}
static inline void in_turn(unsigned worker, void (*fn)(void *arg), void *arg)
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
static inline void start_now(void *arg)
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

static inline struct locate_query *start(const char *text, struct result *r)
{
    struct start s = {.text = text, .r = r};
    in_turn(r->at_worker, start_now, &s);
    assert_int_equal(s.rc, ERR_OK);
    return s.q;
}

static inline bool is_done(void *arg)
{
    return ((struct result *)arg)->done;
}

static inline void wait_for(struct result *r)
{
    sim_run_when(sim, sim_now(sim) + 30 * USEC_S, is_done, r);
    assert_true(r->done);
}

static inline struct result find(const char *text)
{
    struct result r = {0};
    start(text, &r);
    wait_for(&r);
    return r;
}

static inline void run(usec by)
{
    sim_run_until(sim, sim_now(sim) + by);
}

/* "UDP 192.0.2.1:5060, TLS [2001:db8::1]:5061=name" */
static inline const char *text_of(const struct result *r)
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

static inline void gives(const char *text, const char *want)
{
    struct result r = find(text);
    assert_string_equal(text_of(&r), want);
}

static inline int64_t questions(void)
{
    return loop_stat(group, STAT_DNS_QUESTIONS);
}

static inline uint64_t refused(void)
{
    return group->loop[0]->stats.refusals[STAT_LIMIT_DNS] +
           group->loop[1]->stats.refusals[STAT_LIMIT_DNS];
}

static inline struct dest dest(enum sip_transport t, const char *text)
{
    struct dest d = {.transport = t};
    assert_int_equal(addr_parse(sv_of(text), &d.addr), ERR_OK);
    return d;
}

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

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

#endif
