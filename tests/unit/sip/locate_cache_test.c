/* SPDX-License-Identifier: MIT */
/* What locate remembers, and what it does when the DNS, the caller or the memory misbehaves. */
#include "locate_world.h"
#include <pthread.h>
#include "locate/locate_priv.h"

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
    zone("_sip._udp.example.org SRV 30 1 1 5060 c.example.org\n"
         "c.example.org A 400 192.0.2.1\n");
    r = find("sip:example.org;transport=udp");
    assert_in_range(r.set.until - r.at, 29 * USEC_S, 30 * USEC_S);
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

/* ---- many threads ---- */

enum { THREADS = 4, TURNS = 20000, NAMES = 40 };

static struct locate_answer *answer(uint64_t hash, const char *name, usec until)
{
    size_t n = strlen(name);
    struct locate_answer *a = mem_alloc(sizeof *a + n);
    if (!a)
        return NULL;
    *a = (struct locate_answer){.hash = hash, .type = DNS_A, .until = until};
    atomic_init(&a->refs, 1);
    a->text = (char *)(a + 1);
    memcpy(a->text, name, n);
    a->name = (sv){a->text, n};
    return a;
}

/* What one thread puts there another finds whole, or not at all; arg counts what was found. */
static void *use_shared(void *arg)
{
    unsigned *hits = arg;
    struct dest d = {.addr = {.family = 4}, .transport = SIP_T_UDP};
    for (unsigned i = 0; i < TURNS; i++) {
        char name[32];
        snprintf(name, sizeof name, "n%u.example.com", i * 7 % NAMES);
        uint64_t hash = locate_hash(shared, sv_of(name), DNS_A);
        struct locate_answer *a = locate_cache_get(shared, hash, sv_of(name), DNS_A, i);
        if (a) {
            *hits += sv_eq(a->name, sv_of(name)) && a->until > i;
        } else if ((a = answer(hash, name, i + 50)) != NULL) {
            locate_cache_put(shared, a, i);
        }
        locate_answer_unref(a);
        d.addr.port = (uint16_t)(i % 64 + 1);
        locate_failed_set(shared, &d, i % 3 ? i + 100 : 0, i);
        (void)locate_failed_until(shared, &d, i);
    }
    return NULL;
}

static void threads_share_the_tables(void **state)
{
    pthread_t thread[THREADS];
    unsigned hits[THREADS] = {0};
    (void)state;
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, use_shared, &hits[i]), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_true(hits[i] > 0);
    }
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
    for (unsigned i = 0; i < 20000; i++) {
        d.addr.port = (uint16_t)(10000 + i);
        locate_failed(locate[0], &d, 60 * USEC_S, 0);
    }
    assert_true(locate_is_failed(locate[0], &last)); /* what ends first goes first */
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
    zone("n1.example.com CNAME 60 n2.example.com\n"
         "n2.example.com CNAME 60 n3.example.com\n"
         "n3.example.com CNAME 60 n4.example.com\n"
         "n4.example.com CNAME 60 n5.example.com\n"
         "n5.example.com CNAME 60 n6.example.com\n"
         "n6.example.com CNAME 60 n7.example.com\n"
         "n7.example.com CNAME 60 n8.example.com\n"
         "n8.example.com CNAME 60 n9.example.com\n"
         "n9.example.com CNAME 60 n10.example.com\n"
         "n10.example.com A 60 192.0.2.1\n");
    gives("sip:n2.example.com:5060", "UDP 192.0.2.1:5060"); /* 8 */
    gives("sip:n1.example.com:5060", "NOTFOUND");
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
    assert_int_equal(r.set.dest[1].addr.ip[3], 64);            /* the best are kept */
    assert_int_equal(questions(), 1 + 2 * LOCATE_TARGETS_MAX); /* as many as can be of use */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(answers_are_kept_for_their_ttl),
        CASE(set_lasts_as_long_as_its_shortest_record),
        CASE(ttl_has_a_floor_and_a_cap),
        CASE(no_is_kept_too),
        CASE(no_is_kept_for_five_minutes_at_most),
        CASE(cache_is_shared_and_of_fixed_size),
        CASE(equal_questions_are_one),
        CASE(threads_share_the_tables),
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
        CASE(cancelled_is_not_told),
        CASE(end_with_queries_under_way),
        CASE(told_may_start_and_cancel),
        CASE(too_many_at_once),
        CASE(memory_may_end_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
