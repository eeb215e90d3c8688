/* SPDX-License-Identifier: MIT */
/* Calls that have ended: their records, the newest first, read on a helper thread. */
#include "control/control_priv.h"

enum { LAST_DEFAULT = 20, LAST_MAX = 1000, BODY_MAX = 16 * 1024 * 1024 };

struct reading {
    struct job job;
    struct control_request *rq;
    struct store *store;
    struct buf b;
    size_t last;
    enum err rc;
    bool any;
};

static void put_text(struct buf *b, const char *name, sv value)
{
    buf_str(b, ", ");
    control_put_text(b, name, value);
}

static void put_time(struct buf *b, const char *name, usec wall)
{
    buf_str(b, ", ");
    control_put_time(b, name, wall);
}

/* As one that stands, and how it ended. */
static bool put_record(const struct call_record *c, void *arg)
{
    struct reading *r = arg;
    struct buf *b = &r->b;
    buf_str(b, r->any ? ",\n {" : "\n {");
    r->any = true;
    buf_str(b, "\"state\": \"ended\"");
    put_text(b, "call_id", c->call_id);
    put_text(b, "from", c->from);
    put_text(b, "to", c->to);
    put_time(b, "since", c->start);
    if (c->answer)
        put_time(b, "answered", c->answer);
    put_time(b, "ended", c->end);
    if (c->answer)
        buf_printf(b, ", \"duration\": %lld", (long long)((c->end - c->answer) / USEC_S));
    buf_printf(b, ", \"status\": %u", c->status);
    put_text(b, "ended_by", c->ended_by);
    put_text(b, "reason", c->reason);
    put_text(b, "caller", c->caller);
    put_text(b, "callee", c->callee);
    put_text(b, "agent", c->agent);
    buf_str(b, ", \"legs\": [], \"quality\": ");
    buf_put(b, c->media.n ? c->media : SV("{}"));
    buf_char(b, '}');
    return b->rc == ERR_OK;
}

static void reading_work(struct job *j)
{
    struct reading *r = CONTAINER(j, struct reading, job);
    buf_char(&r->b, '[');
    r->rc = store_each_record(r->store, r->last, put_record, r);
    buf_str(&r->b, r->any ? "\n]\n" : "]\n");
}

static void reading_done(struct loop *at, struct job *j)
{
    struct reading *r = CONTAINER(j, struct reading, job);
    (void)at;
    if (r->rc)
        control_error(r->rq, 503, "the call records cannot be read");
    else if (r->b.rc)
        control_error(r->rq, 503, "the answer does not fit");
    else
        control_reply(r->rq, 200, SV("application/json"), buf_sv(&r->b));
    buf_done(&r->b);
    mem_free(r);
}

/* "last=N". False: another query. */
static bool read_last(sv query, size_t *ret_last)
{
    uint64_t n = LAST_DEFAULT;
    if (query.n > 0 && (!sv_starts(query, SV("last=")) ||
                        sv_u64(sv_sub(query, SV("last=").n, query.n), LAST_MAX, &n) || n == 0))
        return false;
    *ret_last = (size_t)n;
    return true;
}

void control_records(struct control_request *rq)
{
    struct reading *r;
    size_t last;
    if (!read_last(rq->query, &last)) {
        control_error(rq, 422, "last: 1 to 1000 records");
        return;
    }
    r = MEM_NEW(struct reading);
    if (!r) {
        control_error(rq, 503, "out of memory");
        return;
    }
    r->job = (struct job){.work = reading_work, .done = reading_done};
    r->rq = rq;
    r->store = control_env_of(rq)->store;
    r->last = last;
    buf_init_heap(&r->b, BODY_MAX);
    if (loop_offload(control_loop(rq), &r->job)) {
        control_error(rq, 503, "too much is going on");
        mem_free(r);
    }
}
