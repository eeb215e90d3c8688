/* SPDX-License-Identifier: MIT */
/* NATs are kept open: who gets datagrams, how often, how evenly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "crypto/crypto.h"
#include "keepalive/keepalive.h"
#include "memory/memory.h"
#include "sim/sim.h"

enum { WORKERS = 3, PHONES = 600, PORT = 10000 };
static const usec every = 25 * USEC_S;

/* What a phone got. */
struct phone {
    struct udp *udp;
    unsigned n;
    usec last, longest; /* between two */
    uint16_t from;
};

struct fixture {
    struct sim *sim;
    struct sim_host *host, *outside;
    struct loop_group *group, *peers;
    struct settings *set;
    struct store *store;
    struct store_location *location;
    struct sip_shared *shared;
    struct sip *sip[WORKERS];
    struct keepalive *keepalive[WORKERS];
    struct phone phone[PHONES];
    usec since; /* all datagrams from then on, by 10 ms */
    unsigned per_moment[12000];
    size_t live;
};
static struct fixture *fx;

static struct addr address(const char *ip, uint16_t port)
{
    struct addr a;
    assert_int_equal(addr_parse_ip(sv_of(ip), port, &a), ERR_OK);
    return a;
}

static void on_datagram(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    struct phone *p = arg;
    usec now = sim_now(fx->sim);
    (void)to;
    assert_int_equal(b->n, 4);
    assert_memory_equal(b->p, "\r\n\r\n", 4);
    if (p->n++ && now - p->last > p->longest)
        p->longest = now - p->last;
    p->last = now;
    p->from = from->port;
    size_t moment = (size_t)((now - fx->since) / (10 * USEC_MS));
    if (moment < sizeof(fx->per_moment) / sizeof(fx->per_moment[0]))
        fx->per_moment[moment]++;
}
static const struct udp_handler phone_events = {.on_datagram = on_datagram};
static const struct sip_user nobody = {0};

static void dir_close(struct store_directory *d)
{
    (void)d;
}
static const struct store_directory_ops dir_ops = {.close = dir_close};
static struct store_directory directory = {&dir_ops};

static void start(struct fixture *f)
{
    static const uint8_t secret[32] = "thirty-two octets for one test.";
    struct addr server = address("192.0.2.1", 0), outside = address("192.0.2.2", 0);
    struct store_location *loc;
    struct memory_report report;
    *f = (struct fixture){.live = mem_live()};
    fx = f;
    assert_int_equal(crypto_start(), ERR_OK);
    assert_int_equal(sim_new(5, &f->sim), ERR_OK);
    assert_int_equal(sim_host_new(f->sim, "server", &server, 1, &f->host), ERR_OK);
    assert_int_equal(sim_host_new(f->sim, "outside", &outside, 1, &f->outside), ERR_OK);
    assert_int_equal(sim_process(f->host, WORKERS, &f->group), ERR_OK);
    assert_int_equal(sim_process(f->outside, 1, &f->peers), ERR_OK);
    assert_int_equal(disk_mkdir(sim_disk(f->host), SV("/var/lib/tandem"), 0700), ERR_OK);
    struct memory_config mc = {.disk = sim_disk(f->host),
                               .folder = SV("/var/lib/tandem"),
                               .sync = 100 * USEC_MS,
                               .compact_min = 4 << 20,
                               .group = f->group,
                               .wall = f->group->loop[0]->wall};
    assert_int_equal(memory_open(&mc, &loc, &report), ERR_OK);
    f->location = loc;
    assert_int_equal(store_new(loc, &directory, &f->store), ERR_OK);
    assert_int_equal(settings_default(SV("example.com"), &f->set), ERR_OK);
    for (unsigned i = 0; i < 2; i++)
        f->set->sip.listen[i] = (struct sip_listen){
            .transport = SIP_T_UDP, .bind = address("192.0.2.1", (uint16_t)(5060 + i))};
    f->set->sip.listeners = 2;
    f->set->keepalive = every;
    assert_int_equal(sip_shared_new(secret, f->group, &f->set->sip, &f->shared), ERR_OK);
    for (unsigned w = 0; w < WORKERS; w++) {
        assert_int_equal(sip_new(f->group->loop[w], f->shared, &nobody, NULL, &f->sip[w]), ERR_OK);
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(sip_listen(f->sip[w], i), ERR_OK);
    }
    for (unsigned i = 0; i < PHONES; i++) {
        struct addr a = address("192.0.2.2", (uint16_t)(PORT + i));
        assert_int_equal(
            udp_open(f->peers->loop[0], &a, &phone_events, &f->phone[i], &f->phone[i].udp), ERR_OK);
    }
}

static void keep_alive(struct fixture *f)
{
    for (unsigned w = 0; w < WORKERS; w++)
        assert_int_equal(keepalive_new(f->sip[w], f->store, f->set, &f->keepalive[w]), ERR_OK);
}

static void run(struct fixture *f, usec by)
{
    sim_run_until(f->sim, sim_now(f->sim) + by);
}

static void end(struct fixture *f)
{
    sim_process_stop(f->host);
    sim_process_stop(f->outside);
    for (unsigned w = 0; w < WORKERS; w++) {
        keepalive_free(f->keepalive[w]);
        sip_free(f->sip[w]);
    }
    for (unsigned i = 0; i < PHONES; i++)
        udp_close(f->phone[i].udp);
    sip_shared_free(f->shared);
    store_close(f->store);
    settings_unref(f->set);
    sim_process_free(f->host);
    sim_process_free(f->outside);
    sim_free(f->sim);
    assert_int_equal(mem_live(), f->live);
}

static struct binding phone_binding(const struct fixture *f, unsigned i)
{
    return (struct binding){.uri = SV("sip:a@10.0.0.1"),
                            .call_id = SV("c"),
                            .expires = f->group->loop[0]->wall + USEC_HOUR,
                            .transport = SIP_T_UDP,
                            .listener = (uint8_t)(i % 2),
                            .worker = (uint8_t)(i % WORKERS),
                            .by_flow = true,
                            .local = address("192.0.2.1", (uint16_t)(5060 + i % 2)),
                            .remote = address("192.0.2.2", (uint16_t)(PORT + i))};
}

static void done(struct store_op *op, enum err rc)
{
    assert_int_equal(rc, ERR_OK);
    *(bool *)op->arg = true;
}

static void bind(struct fixture *f, const char *aor, const struct binding *b, size_t n)
{
    bool is_done = false;
    struct store_update u = {.aor = sv_of(aor), .bindings = b, .n = n};
    store_op_init(&u.op, done, &is_done);
    store_update(f->store, f->group->loop[0], &u);
    run(f, USEC_MS);
    assert_true(is_done);
}

static void bind_phone(struct fixture *f, unsigned i)
{
    char aor[16];
    struct binding b = phone_binding(f, i);
    snprintf(aor, sizeof aor, "u%u@x", i);
    bind(f, aor, &b, 1);
}

static void every_phone_in_time_and_none_in_a_burst(void **state)
{
    (void)state;
    static struct fixture f;
    unsigned most = 0;
    start(&f);
    for (unsigned i = 0; i < PHONES - 1; i++)
        bind_phone(&f, i);
    keep_alive(&f);
    f.since = sim_now(f.sim);
    run(&f, 100 * USEC_S);
    bind_phone(&f, PHONES - 1); /* who comes changes nobody's time */
    run(&f, 20 * USEC_S);
    for (unsigned i = 0; i < PHONES - 1; i++) {
        /* the mapping of a NAT that forgets in 30 s; by one worker, once in the interval */
        if (f.phone[i].n < 4 || f.phone[i].n > 5 || f.phone[i].longest > every + 50 * USEC_MS)
            fail_msg("phone %u: %u datagrams, %lld us", i, f.phone[i].n,
                     (long long)f.phone[i].longest);
        assert_int_equal(f.phone[i].from, 5060 + i % 2); /* where it registered */
    }
    unsigned before = f.phone[PHONES - 1].n;
    run(&f, every);
    assert_int_equal(f.phone[PHONES - 1].n, before + 1);
    for (size_t i = 0; i < sizeof(f.per_moment) / sizeof(f.per_moment[0]); i++)
        most = f.per_moment[i] > most ? f.per_moment[i] : most;
    assert_in_range(most, 2, 5); /* 0.24 in the mean; a part at once would be up to ten */
    end(&f);
}

static void only_who_needs_it(void **state)
{
    (void)state;
    static struct fixture f;
    start(&f);
    struct binding b[4];
    for (unsigned i = 0; i < 10; i++) {
        char aor[16];
        snprintf(aor, sizeof aor, "u%u@x", i);
        b[0] = phone_binding(&f, i);
        if (i == 1) {
            b[0].transport = SIP_T_TCP;
            b[0].conn = 5;
        } else if (i == 2) {
            b[0].by_flow = false;
        } else if (i == 3) {
            b[0].path = SV("<sip:192.0.2.9;lr>");
        } else if (i == 4) {
            b[0].expires = f.group->loop[0]->wall + 10 * USEC_MS;
        } else if (i == 5 || i == 6) {
            b[0].push = SV("pn-provider=x;pn-prid=y");
        }
        bind(&f, aor, b, 1);
    }
    b[0] = b[1] = b[2] = phone_binding(&f, 20); /* one phone with three contacts */
    b[3] = phone_binding(&f, 21);
    b[1].uri = SV("sip:b@10.0.0.1");
    bind(&f, "many@x", b, 4);
    run(&f, 20 * USEC_MS);
    keep_alive(&f);
    run(&f, 2 * every);
    static const unsigned want[] = {1, 0, 0, 0, 0, 1, 1, 1, 1, 1};
    for (unsigned i = 0; i < 10; i++)
        if ((f.phone[i].n == 2) != want[i] || (f.phone[i].n == 0) != !want[i])
            fail_msg("phone %u: %u", i, f.phone[i].n);
    assert_int_equal(f.phone[20].n, 2);
    assert_int_equal(f.phone[21].n, 2);
    /* Who can be woken need not be reached. */
    f.set->push.url = SV("https://push.example.com/");
    for (unsigned w = 0; w < WORKERS; w++)
        keepalive_settings(f.keepalive[w], f.set);
    run(&f, USEC_S);
    unsigned before = f.phone[5].n;
    run(&f, 2 * every);
    assert_in_range(f.phone[5].n, before, before);
    assert_int_equal(f.phone[0].n, 4);
    f.set->push.url = SV("");
    end(&f);
}

/* What walks there were, of a store that counts them. */
static struct {
    const struct store_location_ops *real;
    store_aor_fn *fn;
    void *arg;
    unsigned walks, given, most;
} counted;

static bool count_one(sv aor, const struct binding *b, size_t n, void *arg)
{
    (void)arg;
    counted.given++;
    return counted.fn(aor, b, n, counted.arg);
}

static enum err count_walk(struct store_location *loc, uint32_t from, uint32_t to, usec wall,
                           store_aor_fn *fn, void *arg)
{
    counted.walks++;
    counted.given = 0;
    counted.fn = fn;
    counted.arg = arg;
    enum err rc = counted.real->each_between(loc, from, to, wall, count_one, NULL);
    counted.most = counted.given > counted.most ? counted.given : counted.most;
    return rc;
}

static void a_turn_walks_some_and_idle_ones_are_few(void **state)
{
    (void)state;
    static struct fixture f;
    static struct store_location_ops ops;
    enum { AORS = 5700 };
    start(&f);
    counted.real = f.location->ops;
    ops = *counted.real;
    ops.each_between = count_walk;
    f.location->ops = &ops;
    keep_alive(&f);
    run(&f, 100 * USEC_S);
    assert_in_range(counted.walks, WORKERS * 95, WORKERS * 101);
    struct binding b = phone_binding(&f, 0);
    b.by_flow = false;
    for (unsigned i = 0; i < AORS; i++) {
        char aor[16];
        snprintf(aor, sizeof aor, "n%u@x", i);
        bind(&f, aor, &b, 1);
    }
    f.set->keepalive = USEC_S; /* a worker's 1,900 within a second */
    for (unsigned w = 0; w < WORKERS; w++)
        keepalive_settings(f.keepalive[w], f.set);
    counted.walks = counted.most = 0;
    run(&f, 10 * USEC_S);
    assert_in_range(counted.walks, WORKERS * 18, WORKERS * 22);
    assert_in_range(counted.most, 900, 1000);
    f.location->ops = counted.real;
    end(&f);
}

/* A store with many phones at one place. */
enum { CROWD = KEEPALIVE_WINDOW / STORE_BINDINGS_MAX + 5 };
static struct {
    sv aor;
    struct binding binding[STORE_BINDINGS_MAX];
    unsigned times; /* that it is given; 0: the walk has no memory */
} crowd;

static enum err walk_crowd(struct store_location *loc, uint32_t from, uint32_t to, usec wall,
                           store_aor_fn *fn, void *arg)
{
    uint32_t place = loc->ops->place(loc, crowd.aor);
    (void)wall;
    if (place < from || place >= to)
        return ERR_OK;
    for (unsigned i = 0; i < crowd.times; i++)
        if (!fn(crowd.aor, crowd.binding, STORE_BINDINGS_MAX, arg))
            break;
    return crowd.times ? ERR_OK : ERR_NOMEM;
}

static int64_t refused(const struct fixture *f)
{
    uint64_t n = 0;
    for (unsigned w = 0; w < WORKERS; w++)
        n += f->group->loop[w]->stats.refusals[STAT_LIMIT_KEEPALIVE];
    return (int64_t)n;
}

static void who_gets_none_is_counted(void **state)
{
    (void)state;
    static struct fixture f;
    static struct store_location_ops ops;
    start(&f);
    const struct store_location_ops *real = f.location->ops;
    ops = *real;
    ops.each_between = walk_crowd;
    f.location->ops = &ops;
    crowd.aor = SV("crowd@x");
    for (unsigned i = 0; i < STORE_BINDINGS_MAX; i++)
        crowd.binding[i] = phone_binding(&f, i);
    crowd.times = CROWD;
    keep_alive(&f);
    run(&f, every + USEC_S);
    assert_int_equal(refused(&f), 5 * STORE_BINDINGS_MAX);
    assert_in_range(f.phone[0].n, KEEPALIVE_WINDOW / STORE_BINDINGS_MAX,
                    KEEPALIVE_WINDOW / STORE_BINDINGS_MAX);
    crowd.times = 0;
    run(&f, every);
    assert_int_equal(refused(&f), 5 * STORE_BINDINGS_MAX + 1);
    f.location->ops = real;
    end(&f);
}

static void the_interval_may_change_and_be_none(void **state)
{
    (void)state;
    static struct fixture f;
    start(&f);
    f.set->keepalive = 0;
    bind_phone(&f, 0);
    keep_alive(&f);
    run(&f, 10 * every);
    assert_int_equal(f.phone[0].n, 0);
    f.set->keepalive = 10 * USEC_S;
    for (unsigned w = 0; w < WORKERS; w++)
        keepalive_settings(f.keepalive[w], f.set);
    run(&f, 100 * USEC_S);
    assert_in_range(f.phone[0].n, 9, 11);
    for (unsigned w = 0; w < WORKERS; w++)
        keepalive_settings(f.keepalive[w], f.set); /* the same: goes on */
    f.set->keepalive = 0;
    unsigned before = f.phone[0].n;
    for (unsigned w = 0; w < WORKERS; w++)
        keepalive_settings(f.keepalive[w], f.set);
    run(&f, 100 * USEC_S);
    assert_int_equal(f.phone[0].n, before);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_phone_in_time_and_none_in_a_burst),
        cmocka_unit_test(only_who_needs_it),
        cmocka_unit_test(a_turn_walks_some_and_idle_ones_are_few),
        cmocka_unit_test(who_gets_none_is_counted),
        cmocka_unit_test(the_interval_may_change_and_be_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
