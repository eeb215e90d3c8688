/* SPDX-License-Identifier: MIT */
/* sim/sim_loop.c: turns of a loop, its chance, mail between workers, jobs.
 *
 * A loop has at most one wake event in the queue, at the time its wheel asks for; it is put right
 * at the end of every turn, and for things armed outside a turn when a run begins. */
#include "sim/sim_priv.h"

/* 2026-01-01T00:00:00Z: the wall clock when a simulation begins. */
static const usec wall_start = (usec)1767225600 * USEC_S;

static const usec mail_usual = 40, mail_rare = 5 * USEC_MS; /* a busy worker looks late */
static const usec job_usual = 400, job_rare = 20 * USEC_MS;
enum { RARE_PERMILLE = 20 };

static usec some_delay(struct rng *r, usec usual, usec rare)
{
    return rng_between(r, 1, rng_permille(r, RARE_PERMILLE) ? rare : usual);
}

static void clock_set(struct sim_loop *l)
{
    l->loop.now = l->sim->now;
    l->loop.wall = wall_start + l->sim->now;
}

void sim_loop_unwake(struct sim_loop *l)
{
    if (!l->wake)
        return;
    sim_unqueue(l->sim, l->wake);
    sim_event_free(l->sim, l->wake);
    l->wake = NULL;
}

static void set_wake(struct sim_loop *l, usec earliest)
{
    usec at = list_empty(&l->loop.deferred) ? wheel_next(&l->loop.wheel) : earliest;
    if (at < earliest)
        at = earliest;
    if (l->wake && l->wake_at == at)
        return;
    sim_loop_unwake(l);
    if (at == USEC_NEVER)
        return;
    l->wake = sim_event_new(l->sim, EV_WAKE);
    l->wake->loop = l;
    l->wake_at = at;
    sim_push(l->sim, l->wake, at);
}

void sim_loop_sync(struct sim_loop *l)
{
    clock_set(l);
    if (sim_alive(l))
        set_wake(l, l->sim->now);
}

void sim_turn_begin(struct sim_loop *l)
{
    assert(sim_alive(l) && !l->sim->turn);
    l->sim->turn = l;
    clock_set(l);
    wheel_advance(&l->loop.wheel, l->loop.now, SIZE_MAX);
}

void sim_turn_end(struct sim_loop *l)
{
    loop_run_deferred(&l->loop);
    /* A turn takes time: a timer that always re-arms for now cannot hold the clock. */
    set_wake(l, l->sim->now + 1);
    l->sim->turn = NULL;
}

void sim_on_wake(struct sim *s, struct event *e)
{
    struct sim_loop *l = e->loop;
    l->wake = NULL;
    /* The timer that asked for it may have been cancelled outside a turn. */
    if (list_empty(&l->loop.deferred) && wheel_next(&l->loop.wheel) > s->now) {
        set_wake(l, s->now);
        return;
    }
    sim_trace_loop(s, "wake", l);
    sim_turn_begin(l);
    sim_turn_end(l);
}

static void random_op(struct loop *loop, void *p, size_t n)
{
    rng_fill(&sim_loop_of(loop)->rng, p, n);
}

/* ---- mail ---- */

static enum err mail_op(struct loop *to, struct mail *m)
{
    struct sim_loop *l = sim_loop_of(to);
    struct sim *s = l->sim;
    if (!sim_alive(l) || to->stopping)
        return ERR_STATE;
    if (l->mails_n >= SIM_MAILBOX_MAX)
        return ERR_BUSY;
    unsigned from = s->turn && s->turn->proc == l->proc ? s->turn->loop.worker : LOOP_WORKERS_MAX;
    usec at = s->now + some_delay(&s->rng, mail_usual, mail_rare);
    if (at < l->mail_last[from])
        at = l->mail_last[from];
    l->mail_last[from] = at;
    struct event *e = sim_event_new(s, EV_MAIL);
    e->mail.to = l;
    e->mail.m = m;
    list_push(&l->mails, &e->mail.by_loop);
    l->mails_n++;
    sim_push_keyed(s, e, at, l->mail_key[from]);
    return ERR_OK;
}

void sim_on_mail(struct sim *s, struct event *e)
{
    struct sim_loop *l = e->mail.to;
    struct mail *m = e->mail.m;
    list_unlink(&e->mail.by_loop);
    l->mails_n--;
    sim_trace_loop(s, "mail", l);
    sim_turn_begin(l);
    m->fn(&l->loop, m);
    sim_turn_end(l);
}

/* ---- jobs ---- */

static void job_event(struct sim_loop *l, struct job *j, enum event_kind kind)
{
    struct event *e = sim_event_new(l->sim, kind);
    e->job = j;
    j->backend = e;
    sim_push(l->sim, e, l->sim->now + some_delay(&l->sim->rng, job_usual, job_rare));
}

static enum err offload_op(struct loop *loop, struct job *j)
{
    struct sim_loop *l = sim_loop_of(loop);
    if (!sim_alive(l) || loop->stopping)
        return ERR_STATE;
    if (l->jobs_n >= SIM_JOBS_MAX)
        return ERR_BUSY;
    j->loop = loop;
    list_push(&l->jobs, &j->by_queue);
    l->jobs_n++;
    job_event(l, j, EV_WORK);
    return ERR_OK;
}

void sim_on_work(struct sim *s, struct event *e)
{
    struct job *j = e->job;
    struct sim_loop *l = sim_loop_of(j->loop);
    sim_trace_loop(s, "work", l);
    s->turn = l;
    j->work(j);
    s->turn = NULL;
    job_event(l, j, EV_DONE);
}

void sim_on_done(struct sim *s, struct event *e)
{
    struct job *j = e->job;
    struct sim_loop *l = sim_loop_of(j->loop);
    list_unlink(&j->by_queue);
    l->jobs_n--;
    sim_trace_loop(s, "done", l);
    sim_turn_begin(l);
    j->done(&l->loop, j);
    sim_turn_end(l);
}

void sim_loop_drain(struct sim_loop *l)
{
    struct sim *s = l->sim;
    struct sim_loop *outer = s->turn;
    s->turn = l;
    clock_set(l);
    for (struct link *k; (k = list_pop(&l->jobs));) {
        struct job *j = CONTAINER(k, struct job, by_queue);
        struct event *e = j->backend;
        bool worked = e->kind == EV_DONE;
        sim_unqueue(s, e);
        sim_event_free(s, e);
        if (!worked)
            j->work(j);
        l->jobs_n--;
        j->done(&l->loop, j);
    }
    for (struct link *k; (k = list_pop(&l->mails));) {
        struct event *e = CONTAINER(k, struct event, mail.by_loop);
        struct mail *m = e->mail.m;
        sim_unqueue(s, e);
        sim_event_free(s, e);
        l->mails_n--;
        m->fn(&l->loop, m);
    }
    s->turn = outer;
}

const struct loop_ops sim_loop_ops = {
    .random = random_op,
    .mail = mail_op,
    .offload = offload_op,
    .udp_open = sim_udp_open,
    .listen = sim_listen,
    .listen_unix = sim_listen_unix,
    .connect = sim_connect,
    .dns_query = sim_dns_query,
    .source_for = sim_source_for,
};

void sim_loop_init(struct sim_loop *l, struct sim_process *p, unsigned worker)
{
    struct sim *s = p->host->sim;
    l->sim = s;
    l->proc = p;
    list_init(&l->mails);
    list_init(&l->jobs);
    list_init(&l->udps);
    list_init(&l->listeners);
    list_init(&l->streams);
    list_init(&l->queries);
    rng_seed(&l->rng, sim_mix(sim_mix(sim_mix(s->seed, p->host->id), p->host->births), worker));
    for (size_t i = 0; i <= LOOP_WORKERS_MAX; i++)
        l->mail_key[i] = rng_next(&s->rng);
    l->loop.disk = &p->host->disk.disk;
}
