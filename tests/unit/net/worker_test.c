/* SPDX-License-Identifier: MIT */
/* Turns, mail, jobs, signals and the end of real loops. */
#include "net_run.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char trace[128];
static size_t trace_n;

static void note(char c)
{
    assert_true(trace_n < sizeof(trace) - 1);
    trace[trace_n++] = c;
    trace[trace_n] = 0;
}

static int setup(void **state)
{
    (void)state;
    trace_n = 0;
    trace[0] = 0;
    return 0;
}

/* ---- the turn ---- */

static usec turn_now, deadline;
static struct mail first_mail, last_mail;
static struct deferred deferred;
static struct timer timer, zero;

static void on_last_mail(struct loop *l, struct mail *m)
{
    (void)m;
    note('l');
    assert_true(l->now >= turn_now);
    net_stop();
}

static void on_zero(struct timer *t, void *arg)
{
    (void)t;
    (void)arg;
    note('z');
    assert_true(at->now > turn_now); /* delay 0 is the next turn, not this one */
    assert_int_equal(loop_mail(at, &last_mail), ERR_OK);
}

static void on_deferred(struct deferred *d, void *arg)
{
    (void)d;
    (void)arg;
    note('d');
    assert_int_equal(at->now, turn_now); /* one clock read a turn */
}

static void on_first_mail(struct loop *l, struct mail *m)
{
    (void)m;
    note('m');
    assert_int_equal(l->now, turn_now);
}

static void on_timer(struct timer *t, void *arg)
{
    (void)t;
    (void)arg;
    note('t');
    assert_true(at->now >= deadline);
    turn_now = at->now;
    loop_defer(at, &deferred);
    loop_timer(at, &zero, 0);
    assert_int_equal(loop_mail(at, &first_mail), ERR_OK);
}

static void turn_has_its_order(void **state)
{
    (void)state;
    net_setup(1);
    first_mail.fn = on_first_mail;
    last_mail.fn = on_last_mail;
    deferred_init(&deferred, on_deferred, NULL);
    timer_init(&timer, on_timer, NULL);
    timer_init(&zero, on_zero, NULL);
    deadline = at->now + 5 * USEC_MS;
    loop_timer(at, &timer, 5 * USEC_MS);
    net_run();
    assert_string_equal(trace, "tmdzl");
    assert_true(at->wall > 1500000000 * USEC_S);
    net_end();
}

static struct mail second_mail;

static void on_second_mail(struct loop *l, struct mail *m)
{
    (void)l;
    (void)m;
    note('s');
    net_stop();
}

static void on_due(struct timer *t, void *arg)
{
    (void)t;
    (void)arg;
    note('t');
}

static void on_busy_mail(struct loop *l, struct mail *m)
{
    struct timespec ts;
    (void)m;
    loop_timer(l, &timer, USEC_MS);
    assert_int_equal(loop_mail(l, &second_mail), ERR_OK);
    do /* until the next turn finds the timer due beside the mail */
        clock_gettime(CLOCK_MONOTONIC, &ts);
    while (ts.tv_sec * USEC_S + ts.tv_nsec / 1000 < l->now + 3 * USEC_MS);
}

static void timers_come_before_mail(void **state)
{
    (void)state;
    net_setup(1);
    timer_init(&timer, on_due, NULL);
    first_mail.fn = on_busy_mail;
    second_mail.fn = on_second_mail;
    assert_int_equal(loop_mail(at, &first_mail), ERR_OK);
    net_run();
    assert_string_equal(trace, "ts");
    net_end();
}

static void on_stop_deferred(struct deferred *d, void *arg)
{
    (void)d;
    (void)arg;
    note('d');
    net_stop();
}

static void deferred_before_the_run_comes_at_once(void **state)
{
    (void)state;
    net_setup(1);
    deferred_init(&deferred, on_stop_deferred, NULL);
    loop_defer(at, &deferred);
    net_run();
    assert_string_equal(trace, "d");
    net_end();
}

static void long_timers_end_together(void **state)
{
    (void)state;
    net_setup(1);
    struct timer t;
    timer_init(&t, NULL, NULL);
    assert_true(at->grid > 0);
    for (usec delay = LOOP_LONG; delay < LOOP_LONG + 3 * at->grid; delay += 777) {
        loop_timer(at, &t, delay);
        assert_int_equal(t.at % at->grid, 0);
        assert_true(t.at >= at->now + delay && t.at < at->now + delay + at->grid);
    }
    loop_timer(at, &t, LOOP_LONG - 1);
    assert_int_equal(t.at, at->now + LOOP_LONG - 1); /* a short one is exact */
    loop_timer(at, &t, USEC_NEVER - at->now);
    assert_int_equal(t.at, USEC_NEVER);
    loop_timer_cancel(at, &t);
    net_end();
}

/* ---- mail ---- */

enum { WORKERS = 4, TOKENS = 64 };

struct token {
    struct mail m;
    unsigned hops;
    struct loop *from;
};
static struct token token[TOKENS];
static _Atomic unsigned passed, finished;
static unsigned hops_each;

static void on_token(struct loop *l, struct mail *m)
{
    struct token *t = (struct token *)m;
    if (l->stopping)
        return;
    atomic_fetch_add(&passed, 1);
    if (++t->hops == hops_each) {
        if (atomic_fetch_add(&finished, 1) + 1 == TOKENS)
            net_stop();
        return;
    }
    unsigned to = (unsigned)(loop_random(l) % WORKERS);
    assert_int_equal(loop_mail(l->group->loop[to], m), ERR_OK);
}

/* TANDEM_MAILS: more of them, for long runs under the thread sanitizer. */
static void workers_pass_mail_around(void **state)
{
    const char *more = getenv("TANDEM_MAILS");
    (void)state;
    hops_each = (unsigned)(more ? strtoul(more, NULL, 10) : 20000) / TOKENS;
    passed = finished = 0;
    net_setup(WORKERS);
    for (unsigned i = 0; i < TOKENS; i++) {
        token[i] = (struct token){.m.fn = on_token};
        assert_int_equal(loop_mail(group->loop[i % WORKERS], &token[i].m), ERR_OK);
    }
    net_run();
    assert_int_equal(passed, hops_each * TOKENS);
    net_end();
}

enum { IN_ORDER = 5000 };
static struct {
    struct mail m;
    unsigned number;
} numbered[IN_ORDER];
static unsigned expected;

static void on_numbered(struct loop *l, struct mail *m)
{
    unsigned number = ((const unsigned *)(m + 1))[0];
    (void)l;
    assert_int_equal(number, expected);
    if (++expected == IN_ORDER)
        net_stop();
}

static void *send_numbered(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < IN_ORDER; i++) {
        numbered[i].m.fn = on_numbered;
        numbered[i].number = i;
        while (loop_mail(at, &numbered[i].m) == ERR_BUSY)
            sched_yield();
    }
    return NULL;
}

static void mail_of_one_sender_stays_in_order(void **state)
{
    pthread_t thread;
    (void)state;
    expected = 0;
    net_setup(1);
    assert_int_equal(pthread_create(&thread, NULL, send_numbered, NULL), 0);
    net_run();
    pthread_join(thread, NULL);
    assert_int_equal(expected, IN_ORDER);
    net_end();
}

enum { CAP = 65536 };
static unsigned delivered;

static void on_counted(struct loop *l, struct mail *m)
{
    (void)l;
    free(m);
    if (++delivered == CAP)
        net_stop();
}

static void mailbox_has_a_cap(void **state)
{
    struct mail *m;
    (void)state;
    delivered = 0;
    net_setup(1);
    for (unsigned i = 0; i < CAP; i++) {
        m = calloc(1, sizeof(*m));
        m->fn = on_counted;
        assert_int_equal(loop_mail(at, m), ERR_OK);
    }
    m = calloc(1, sizeof(*m));
    m->fn = on_counted;
    assert_int_equal(loop_mail(at, m), ERR_BUSY);
    free(m); /* still ours */
    net_run();
    assert_int_equal(delivered, CAP);
    assert_int_equal(at->stats.refusals[STAT_LIMIT_MAILBOX], 1);
    net_end();
}

static void on_last_words(struct loop *l, struct mail *m)
{
    assert_true(loop_stopping(l));
    assert_int_equal(loop_mail(l->group->loop[0], m), ERR_STATE);
    note('m');
}

static void mail_that_waits_at_the_end_is_delivered(void **state)
{
    struct mail mine[2] = {{.fn = on_last_words}, {.fn = on_last_words}};
    struct timer never;
    (void)state;
    net_setup(2);
    timer_init(&never, on_timer, NULL);
    loop_timer(at, &never, 0);
    assert_int_equal(loop_mail(group->loop[0], &mine[0]), ERR_OK);
    assert_int_equal(loop_mail(group->loop[1], &mine[1]), ERR_OK);
    worker_group_free(group); /* never ran: as when set-up fails half way */
    assert_string_equal(trace, "mm");
    assert_int_equal(mem_live(), live_before);
}

/* ---- jobs ---- */

static struct job job;
static pthread_t loop_thread;

static void work(struct job *j)
{
    (void)j;
    assert_false(pthread_equal(pthread_self(), loop_thread));
    note('w');
}

static void done(struct loop *l, struct job *j)
{
    assert_ptr_equal(l, at);
    assert_ptr_equal(j, &job);
    assert_true(pthread_equal(pthread_self(), loop_thread));
    assert_false(loop_stopping(l));
    note('d');
    net_stop();
}

static void job_runs_elsewhere_and_ends_here(void **state)
{
    (void)state;
    net_setup(1);
    loop_thread = pthread_self();
    job = (struct job){.work = work, .done = done};
    assert_int_equal(loop_offload(at, &job), ERR_OK);
    net_run();
    assert_string_equal(trace, "wd");
    net_end();
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

/* ---- memory ---- */

enum { OBJECT = 8192, OBJECTS = 4096, LOOKS = 5000 };
static void *object[OBJECTS];
static size_t objects, regions, looks;

static void take_objects(size_t until_regions, size_t most)
{
    while (objects < most && mem_regions() < until_regions)
        object[objects++] = mem_take(OBJECT);
}

static void on_look(struct timer *t, void *arg)
{
    (void)arg;
    if (mem_regions() > regions || ++looks == LOOKS)
        net_stop();
    else
        loop_timer(at, t, USEC_MS);
}

/* In one turn more than half of a region is taken; the next one is there without anybody having asked for an object
 * of it. */
static void memory_is_made_ahead(void **state)
{
    (void)state;
    net_setup(1);
    size_t before = mem_regions();
    take_objects(before + 1, OBJECTS);
    if (objects < OBJECTS) { /* else the heap is another's */
        regions = mem_regions();
        take_objects(SIZE_MAX, objects + (regions - before) / 2 / OBJECT + 16);
        timer_init(&timer, on_look, NULL);
        loop_timer(at, &timer, 0);
        net_run();
        assert_true(looks < LOOKS);
    }
    while (objects > 0)
        mem_give(object[--objects], OBJECT);
    net_end();
}

static void slow_work(struct job *j)
{
    (void)j;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
}

static void slow_done(struct loop *l, struct job *j)
{
    (void)j;
    assert_true(loop_stopping(l));
    assert_int_equal(loop_offload(l, &job), ERR_STATE);
    note('d');
}

static void open_gate(struct loop *l, struct mail *m)
{
    assert_true(loop_stopping(l));
    (void)m;
    pthread_mutex_unlock(&gate);
}

static void on_filler(struct loop *l, struct mail *m)
{
    (void)m;
    assert_false(loop_stopping(l));
}

/* A turn takes 1,024 mails, so of these the last comes after the only turn, at the end; it lets the
 * job go on. */
static void job_under_way_at_the_end_is_awaited(void **state)
{
    enum { FILLERS = 1024 };
    static struct mail filler[FILLERS];
    struct mail opens = {.fn = open_gate};
    (void)state;
    net_setup(1);
    pthread_mutex_lock(&gate);
    job = (struct job){.work = slow_work, .done = slow_done};
    assert_int_equal(loop_offload(at, &job), ERR_OK);
    for (int i = 0; i < FILLERS; i++) {
        filler[i].fn = on_filler;
        assert_int_equal(loop_mail(at, &filler[i]), ERR_OK);
    }
    assert_int_equal(loop_mail(at, &opens), ERR_OK);
    net_stop();
    net_run();
    assert_string_equal(trace, "d"); /* before run returned */
    net_end();
}

/* ---- the rest ---- */

static void on_signal(int signum, void *arg)
{
    assert_ptr_equal(arg, trace);
    note(signum == SIGUSR1 ? 'u' : signum == SIGHUP ? 'h' : signum == SIGTERM ? 't' : '?');
    if (signum == SIGUSR1)
        raise(SIGHUP);
    else if (signum == SIGHUP)
        raise(SIGTERM);
    else
        net_stop();
}

static void signals_are_calls_on_worker_0(void **state)
{
    (void)state;
    net_setup(2);
    worker_on_signal(group, on_signal, trace);
    raise(SIGPIPE); /* ignored */
    raise(SIGUSR1);
    net_run();
    assert_string_equal(trace, "uht");
    net_end();
}

static char name[16];

static void on_name(struct loop *l, struct mail *m)
{
    (void)l;
    (void)m;
    pthread_getname_np(pthread_self(), name, sizeof(name));
    net_stop();
}

static void *wait_for_name(void *arg)
{
    struct mail *m = arg;
    assert_int_equal(loop_mail(group->loop[1], m), ERR_OK);
    return NULL;
}

static void threads_have_names(void **state)
{
    struct mail m = {.fn = on_name};
    pthread_t thread;
    (void)state;
    net_setup(2);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_name, &m), 0);
    net_run();
    pthread_join(thread, NULL);
    assert_string_equal(name, "tandem/1");
    net_end();
}

static void out_of_memory_at_set_up_leaves_nothing(void **state)
{
    enum err rc = ERR_NOMEM;
    size_t live = mem_live();
    (void)state;
    for (unsigned n = 1; rc; n++) {
        assert_true(n < 100);
        mem_fail_after(n);
        rc = worker_group_new(2, &group);
        mem_fail_after(0);
        if (rc)
            assert_int_equal(rc, ERR_NOMEM);
        else
            worker_group_free(group);
        assert_int_equal(mem_live(), live);
    }
}

static void random_octets_differ(void **state)
{
    uint8_t big[3000], again[3000];
    (void)state;
    net_setup(1);
    assert_int_not_equal(loop_random(at), loop_random(at));
    loop_random_bytes(at, big, sizeof(big));
    loop_random_bytes(at, again, sizeof(again));
    assert_memory_not_equal(big, again, sizeof(big));
    for (size_t i = 0; i + 16 <= sizeof(big); i += 8) /* no stretch was left out or repeated */
        assert_memory_not_equal(big + i, big + i + 8, 8);
    net_end();
}

static void cores_follow_affinity(void **state)
{
    cpu_set_t before, one;
    (void)state;
    unsigned all = worker_cores();
    assert_true(all >= 1 && all <= LOOP_WORKERS_MAX);
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    unsigned cores = worker_cores();
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
    assert_int_equal(cores, 1);
}

static void own_addresses_have_the_loopback(void **state)
{
    struct addr all[64], loopback = net_addr("127.0.0.1:0");
    size_t n = worker_addresses(all, 64);
    bool found = false;
    (void)state;
    for (size_t i = 0; i < n; i++) {
        found |= addr_equal(&all[i], &loopback);
        for (size_t k = 0; k < i; k++)
            assert_false(addr_equal(&all[i], &all[k]));
    }
    assert_true(found);
    assert_int_equal(worker_addresses(all, 1), 1);
}

static void own_subnets_hold_own_addresses(void **state)
{
    struct addr all[64];
    struct addr_net nets[64], loopback;
    size_t n = worker_addresses(all, 64), nets_n = worker_subnets(nets, 64);
    bool found = false;
    (void)state;
    assert_int_equal(addr_net_parse(SV("127.0.0.0/8"), &loopback), ERR_OK);
    for (size_t i = 0; i < n; i++) {
        bool held = false;
        for (size_t k = 0; k < nets_n; k++)
            held |= addr_net_has(&nets[k], &all[i]);
        assert_true(held);
    }
    for (size_t k = 0; k < nets_n; k++)
        found |= nets[k].bits == 8 && addr_equal(&nets[k].base, &loopback.base);
    assert_true(found);
    assert_int_equal(worker_subnets(nets, 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(turn_has_its_order, setup),
        cmocka_unit_test_setup(timers_come_before_mail, setup),
        cmocka_unit_test_setup(deferred_before_the_run_comes_at_once, setup),
        cmocka_unit_test_setup(long_timers_end_together, setup),
        cmocka_unit_test_setup(workers_pass_mail_around, setup),
        cmocka_unit_test_setup(mail_of_one_sender_stays_in_order, setup),
        cmocka_unit_test_setup(mailbox_has_a_cap, setup),
        cmocka_unit_test_setup(mail_that_waits_at_the_end_is_delivered, setup),
        cmocka_unit_test_setup(job_runs_elsewhere_and_ends_here, setup),
        cmocka_unit_test_setup(memory_is_made_ahead, setup),
        cmocka_unit_test_setup(job_under_way_at_the_end_is_awaited, setup),
        cmocka_unit_test_setup(signals_are_calls_on_worker_0, setup),
        cmocka_unit_test_setup(threads_have_names, setup),
        cmocka_unit_test_setup(out_of_memory_at_set_up_leaves_nothing, setup),
        cmocka_unit_test_setup(random_octets_differ, setup),
        cmocka_unit_test_setup(cores_follow_affinity, setup),
        cmocka_unit_test_setup(own_addresses_have_the_loopback, setup),
        cmocka_unit_test_setup(own_subnets_hold_own_addresses, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
