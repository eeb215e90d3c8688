/* SPDX-License-Identifier: MIT */
/* Connections that go to the worker that sends on them. */
#include "world.h"

enum { CYCLES = 60, KEPT_HOURS = 2, CROWD = 65536 };

/* By worker. */
static struct watched {
    struct sip_sent watch;
    unsigned fails;
} watched[WORLD_WORKERS];
static unsigned sender; /* acts, and looks */
static bool kept;
static struct world *world;

static void on_watch_fail(void *arg, enum err why)
{
    struct watched *x = arg;
    assert_int_equal(why, ERR_CLOSED);
    /* In a turn of its own worker: another's clock stands at its last turn. */
    assert_int_equal(world->group->loop[x - watched]->now, sim_now(world->sim));
    x->fails++;
}

static void keep_request(struct world *w, struct rx *rx)
{
    rx_unref(w->last);
    w->last = rx_ref(rx);
}

static void do_keep(struct world *w)
{
    struct sip *s = w->sip[sender];
    sip_flow_keep(s, &w->last->flow, sip_loop(s)->now + KEPT_HOURS * USEC_HOUR);
}

static void do_send(struct world *w)
{
    struct sip *s = w->sip[sender];
    struct dest d = {.flow = w->last->flow};
    struct watched *x = &watched[sender];
    struct block *b = sip_block(s, 5);
    memcpy(b->p, "text ", 5);
    b->n = 5;
    if (x->watch.on_fail)
        sip_send_cancel(&x->watch);
    *x = (struct watched){.watch = {.on_fail = on_watch_fail, .arg = x}};
    list_init(&x->watch.by_pending);
    assert_int_equal(sip_send(s, &d, b, &x->watch), ERR_OK);
    block_unref(b);
}

static void send_from(struct world *w, unsigned worker)
{
    sender = worker;
    act(w, w->group->loop[worker], do_send);
    run(w, 50 * USEC_MS);
}

/* Its connection lives where last's flow says. */
static void ask(struct world *w, const char *call_id)
{
    say_tcp(w, sv_of(request("OPTIONS", "TCP", "z9hG4bKa", call_id, "")));
    run(w, 50 * USEC_MS);
}

static struct world *start_with(unsigned workers)
{
    struct world *w = world = world_new(workers, NULL);
    memset(watched, 0, sizeof watched);
    w->on_request = keep_request;
    kept = true;
    return w;
}

static struct world *start(void)
{
    return start_with(2);
}

/* The worker that accepted it. */
static unsigned begin(struct world *w)
{
    dial(w);
    ask(w, "c1");
    assert_non_null(w->last);
    sender = w->last->flow.worker;
    if (kept)
        act(w, w->group->loop[sender], do_keep);
    return sender;
}

static void hang_up(struct world *w)
{
    stream_close(w->stream, false);
    w->stream = NULL;
    run(w, 50 * USEC_MS);
}

static void assert_served(struct world *w, unsigned worker)
{
    assert_int_equal(sip_connections(w->sip[worker]), 1);
    assert_int_equal(sip_connections(w->sip[1 - worker]), 0);
    assert_true(sip_flow_up(w->sip[0], &w->last->flow));
    assert_true(sip_flow_up(w->sip[1], &w->last->flow));
}

static void it_goes_to_who_sends_on_it(void **state)
{
    (void)state;
    struct world *w = start();
    unsigned at = begin(w), other = 1 - at;
    assert_served(w, at);
    send_from(w, at); /* a watch of the one that it leaves */
    send_from(w, other);
    assert_string_equal(w->inbox, "text text ");
    assert_int_equal(stat_of(w, STAT_CONNECTIONS_MOVED), 1);
    assert_int_equal(stat_of(w, STAT_SENT_ELSEWHERE), 1);
    assert_served(w, other);
    send_from(w, other); /* it is its own now */
    assert_int_equal(stat_of(w, STAT_SENT_ELSEWHERE), 1);
    /* What comes on it is received there, under the old name of the flow. */
    unsigned before = w->by_worker[other];
    ask(w, "c2");
    assert_int_equal(w->by_worker[other], before + 1);
    assert_int_equal(w->last->flow.worker, at);
    /* Not again at once; later it may go back. */
    send_from(w, at);
    assert_served(w, other);
    run(w, USEC_S);
    send_from(w, at);
    assert_served(w, at);
    send_from(w, other);
    assert_served(w, at);
    assert_int_equal(stat_of(w, STAT_CONNECTIONS_MOVED), 2);
    assert_int_equal(heard(w, "text "), 6);
    assert_int_equal(watched[0].fails + watched[1].fails, 0);
    hang_up(w);
    assert_int_equal(watched[0].fails, 1);
    assert_int_equal(watched[1].fails, 1);
    assert_int_equal(w->flows_gone, 1);
    assert_false(sip_flow_up(w->sip[0], &w->last->flow));
    assert_false(sip_flow_up(w->sip[1], &w->last->flow));
    world_free(w);
}

static void its_end_elsewhere_is_told_to_all(void **state)
{
    (void)state;
    struct world *w = start();
    unsigned at = begin(w);
    send_from(w, at);
    send_from(w, 1 - at);
    assert_served(w, 1 - at);
    hang_up(w);
    assert_int_equal(watched[0].fails, 1);
    assert_int_equal(watched[1].fails, 1);
    assert_int_equal(w->flows_gone, 1);
    send_from(w, at); /* gone is gone, whoever asks */
    send_from(w, 1 - at);
    assert_int_equal(watched[0].fails, 1);
    assert_int_equal(watched[1].fails, 1);
    world_free(w);
}

static void what_nobody_is_registered_on_stays(void **state)
{
    (void)state;
    struct world *w = start();
    kept = false;
    unsigned at = begin(w);
    send_from(w, 1 - at);
    assert_served(w, at);
    assert_int_equal(stat_of(w, STAT_CONNECTIONS_MOVED), 0);
    world_free(w);
}

static void a_busy_worker_takes_none(void **state)
{
    (void)state;
    struct world *w = start();
    unsigned at = begin(w);
    w->group->loop[1 - at]->busy = 500;
    send_from(w, 1 - at);
    assert_served(w, at);
    w->group->loop[1 - at]->busy = 499;
    send_from(w, 1 - at);
    assert_served(w, 1 - at);
    world_free(w);
}

static void a_full_worker_spreads_to_an_idle_one(void **state)
{
    (void)state;
    struct world *w = start();
    unsigned at = begin(w);
    w->group->loop[at]->busy = 749;
    ask(w, "c2");
    assert_served(w, at);
    w->group->loop[at]->busy = 750;
    w->group->loop[1 - at]->busy = 250;
    ask(w, "c3");
    assert_served(w, at);
    w->group->loop[1 - at]->busy = 249;
    ask(w, "c4"); /* not before both were measured anew */
    assert_served(w, at);
    run(w, 100 * USEC_MS);
    ask(w, "c5");
    assert_served(w, 1 - at);
    assert_int_equal(w->by_worker[at], 5);
    ask(w, "c6");
    assert_int_equal(w->by_worker[1 - at], 1);
    run(w, USEC_S);
    send_from(w, at); /* it is not called back */
    assert_served(w, 1 - at);
    world_free(w);
}

static void half_a_message_stays(void **state)
{
    (void)state;
    struct world *w = start();
    unsigned at = begin(w);
    const char *text = request("OPTIONS", "TCP", "z9hG4bKb", "c2", "");
    say_tcp(w, (sv){text, 20});
    run(w, 50 * USEC_MS);
    send_from(w, 1 - at);
    assert_served(w, at);
    say_tcp(w, sv_of(text + 20));
    run(w, 50 * USEC_MS);
    assert_int_equal(w->requests, 2);
    send_from(w, 1 - at);
    assert_served(w, 1 - at);
    world_free(w);
}

/* A connection counts where it was accepted, until it ends. */
static void slots_come_back(void **state)
{
    (void)state;
    struct world *w = start();
    for (unsigned i = 0; i < CYCLES; i++) {
        unsigned at = begin(w);
        send_from(w, 1 - at);
        assert_served(w, 1 - at);
        hang_up(w);
        assert_int_equal(sip_connections(w->sip[0]) + sip_connections(w->sip[1]), 0);
    }
    assert_int_equal(refused(w, STAT_LIMIT_CONNECTIONS), 0);
    assert_int_equal(w->flows_gone, CYCLES);
    world_free(w);
}

static void silence_and_keeping_follow_it(void **state)
{
    (void)state;
    struct world *w = start();
    unsigned at = begin(w);
    send_from(w, 1 - at);
    run(w, KEPT_HOURS * USEC_HOUR - USEC_MIN);
    assert_served(w, 1 - at);
    sender = at; /* kept on, by mail */
    act(w, w->group->loop[at], do_keep);
    run(w, KEPT_HOURS * USEC_HOUR - USEC_MIN);
    assert_served(w, 1 - at);
    run(w, 2 * USEC_MIN);
    assert_true(w->stream_closed);
    assert_int_equal(w->flows_gone, 1);
    world_free(w);
}

/* ---- on its way ---- */

static size_t served(const struct world *w)
{
    size_t n = 0;
    for (unsigned i = 0; i < w->workers; i++)
        n += sip_connections(w->sip[i]);
    return n;
}

static bool on_its_way(void *arg)
{
    return served(arg) == 0;
}

static void send_until_on_its_way(struct world *w, unsigned from)
{
    struct act a = {.w = w, .fn = do_send};
    sender = from;
    timer_init(&a.timer, act_now, &a);
    wheel_arm(&w->group->loop[from]->wheel, &a.timer, sim_now(w->sim));
    assert_true(sim_run_when(w->sim, sim_now(w->sim) + USEC_S, on_its_way, w));
}

static void what_is_sent_on_its_way_follows(void **state)
{
    enum { WORKERS = 3 };
    (void)state;
    struct world *w = start_with(WORKERS);
    for (unsigned i = 0; i < CYCLES; i++) {
        inbox_clear(w);
        unsigned at = begin(w);
        send_until_on_its_way(w, (at + 1) % WORKERS);
        for (unsigned k = 0; k < WORKERS; k++)
            assert_true(sip_flow_up(w->sip[k], &w->last->flow));
        send_from(w, i % WORKERS);
        assert_int_equal(heard(w, "text "), 2);
        assert_int_equal(served(w), 1);
        for (unsigned k = 0; k < WORKERS; k++)
            assert_int_equal(watched[k].fails, 0);
        hang_up(w);
        assert_int_equal(watched[i % WORKERS].fails, 1);
        memset(watched, 0, sizeof watched);
    }
    assert_int_equal(stat_of(w, STAT_CONNECTIONS_MOVED), CYCLES);
    world_free(w);
}

/* A mail that fills the mailbox of `crowded`, sent before what then is to follow the connection there. */
static struct mail crowd[CROWD], filling;
static struct loop *crowded;

static void nothing(struct loop *at, struct mail *m)
{
    (void)at;
    (void)m;
}

static void fill(struct loop *at, struct mail *m)
{
    (void)at;
    (void)m;
    for (unsigned i = 0; i < CROWD; i++) {
        crowd[i].fn = nothing;
        if (loop_mail(crowded, &crowd[i]))
            return;
    }
}

static void fill_and_send(struct world *w)
{
    unsigned at = w->last->flow.worker;
    crowded = w->group->loop[3 - at - sender];
    filling.fn = fill;
    assert_int_equal(loop_mail(w->group->loop[at], &filling), ERR_OK);
    do_send(w);
}

static void send_from_the_other(struct world *w)
{
    unsigned third = sender;
    sender = 3 - w->last->flow.worker - third;
    do_send(w);
    sender = third;
}

/* What cannot follow it is lost, as on the way; the connection lives. */
static void a_full_mailbox_is_no_end(void **state)
{
    enum { WORKERS = 3 };
    unsigned lost = 0;
    (void)state;
    struct world *w = start_with(WORKERS);
    for (unsigned i = 0; i < CYCLES && lost == 0; i++) { /* until the mails come in this order */
        inbox_clear(w);
        unsigned at = begin(w);
        struct act calls = {.w = w, .fn = send_from_the_other},
                   follows = {.w = w, .fn = fill_and_send};
        sender = (at + 1) % WORKERS;
        timer_init(&calls.timer, act_now, &calls);
        timer_init(&follows.timer, act_now, &follows);
        wheel_arm(&w->group->loop[(at + 2) % WORKERS]->wheel, &calls.timer, sim_now(w->sim));
        wheel_arm(&w->group->loop[sender]->wheel, &follows.timer, sim_now(w->sim));
        run(w, 50 * USEC_MS);
        assert_int_equal(served(w), 1);
        for (unsigned k = 0; k < WORKERS; k++)
            assert_int_equal(watched[k].fails, 0);
        lost += 2 - (unsigned)heard(w, "text ");
        hang_up(w);
        for (unsigned k = 0; k < WORKERS; k++) {
            if (watched[k].watch.on_fail)
                sip_send_cancel(&watched[k].watch); /* of what was lost nobody is told */
            watched[k] = (struct watched){.fails = 0};
        }
    }
    assert_int_equal(lost, 1);
    assert_int_equal(refused(w, STAT_LIMIT_MAILBOX), 1);
    world_free(w);
}

static void the_process_may_end_meanwhile(void **state)
{
    (void)state;
    for (unsigned kill = 0; kill < 2; kill++) {
        struct world *w = start();
        unsigned at = begin(w);
        send_until_on_its_way(w, 1 - at);
        world_end(w, kill);
        w = start();
        at = begin(w);
        send_from(w, 1 - at);
        assert_served(w, 1 - at);
        world_end(w, kill);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_goes_to_who_sends_on_it),
        cmocka_unit_test(its_end_elsewhere_is_told_to_all),
        cmocka_unit_test(what_nobody_is_registered_on_stays),
        cmocka_unit_test(a_busy_worker_takes_none),
        cmocka_unit_test(a_full_worker_spreads_to_an_idle_one),
        cmocka_unit_test(half_a_message_stays),
        cmocka_unit_test(slots_come_back),
        cmocka_unit_test(silence_and_keeping_follow_it),
        cmocka_unit_test(what_is_sent_on_its_way_follows),
        cmocka_unit_test(a_full_mailbox_is_no_end),
        cmocka_unit_test(the_process_may_end_meanwhile),
    };
    return crypto_start() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
