/* SPDX-License-Identifier: MIT */
/* The routes of the control API. */
#include "control/control_priv.h"
#include "crypto/crypto.h"
#include "metrics/metrics.h"
#include "ports/ports.h"

enum { BODY_OUT_MAX = 256 * 1024 * 1024, ALLOW_MAX = 64 };
#define ROUND_AGAIN (10 * USEC_MS)

static void reply_json(struct control_request *rq, struct buf *b)
{
    if (b->rc)
        control_error(rq, 503, "the answer does not fit");
    else
        control_reply(rq, 200, SV("application/json"), buf_sv(b));
    buf_done(b);
}

void control_put_text(struct buf *b, const char *name, sv value)
{
    buf_printf(b, "\"%s\": \"", name);
    buf_json(b, value);
    buf_char(b, '"');
}

static void put_transport(struct buf *b, enum sip_transport t)
{
    sv name = sip_transport_name(t);
    for (size_t i = 0; i < name.n; i++)
        buf_char(b, sv_lower(name.p[i]));
}

void control_put_time(struct buf *b, const char *name, usec wall)
{
    buf_printf(b, "\"%s\": \"", name);
    clock_rfc3339(b, wall);
    buf_char(b, '"');
}

const char *control_rest(const struct control_request *rq, sv before, struct arena *a, sv *ret)
{
    sv text = sv_sub(rq->path, before.n, rq->path.n);
    char *mem = arena_alloc(a, text.n + 1);
    struct buf b;
    if (!mem)
        return "out of memory";
    buf_init(&b, mem, text.n + 1);
    for (size_t i = 0; i < text.n; i++) {
        uint8_t octet;
        size_t n;
        if (text.p[i] != '%') {
            buf_char(&b, text.p[i]);
            continue;
        }
        if (crypto_unhex(sv_sub(text, i + 1, i + 3), &octet, 1, &n) || n != 1)
            return "the path has a broken escape";
        buf_char(&b, (char)octet);
        i += 2;
    }
    *ret = buf_sv(&b);
    return NULL;
}

/* ---- status ---- */

/* Where SIP is, the TURN server, and control.http. */
static void put_listeners(struct buf *b, const struct control_env *env)
{
    const struct sip_config *sip = sip_config(routing_sip(env->routing[0]));
    const struct settings_turn *turn = &env->boot->turn;
    buf_str(b, "\"listen\": [");
    for (unsigned i = 0; i < sip->listeners; i++) {
        buf_str(b, i ? ", \"" : "\"");
        put_transport(b, sip->listen[i].transport);
        buf_char(b, ':');
        addr_print(b, &sip->listen[i].bind);
        buf_char(b, '"');
    }
    buf_str(b, "], \"turn\": [");
    for (unsigned i = 0; env->turn && i < turn->listeners; i++) {
        buf_str(b, i ? ", \"" : "\"");
        turnserver_put_listen(b, &turn->listen[i]);
        buf_char(b, '"');
    }
    buf_str(b, "], \"http\": [");
    if (env->http.family) {
        buf_char(b, '"');
        addr_print(b, &env->http);
        buf_char(b, '"');
    }
    buf_str(b, "], ");
}

static void get_status(struct control_request *rq)
{
    struct control_env *env = control_env_of(rq);
    struct buf b;
    usec now = loop_wall(control_loop(rq));
    buf_init_heap(&b, BODY_OUT_MAX);
    buf_str(&b, "{");
    control_put_text(&b, "version", sv_of(env->version));
    buf_str(&b, ", ");
    control_put_text(&b, "state",
                     sv_of(env->draining ? "draining"
                           : env->ready  ? "ready"
                                         : "starting"));
    buf_str(&b, ", ");
    control_put_time(&b, "since", env->started);
    buf_printf(&b, ", \"uptime\": %lld, ", (long long)((now - env->started) / USEC_S));
    if (env->config_file.p)
        control_put_text(&b, "config", env->config_file);
    else
        buf_str(&b, "\"config\": null");
    buf_str(&b, ", \"domains\": [");
    for (unsigned i = 0; i < env->settings->domains_n; i++) {
        buf_str(&b, i ? ", \"" : "\"");
        buf_json(&b, env->settings->domains[i].name);
        buf_char(&b, '"');
    }
    buf_str(&b, "], ");
    put_listeners(&b, env);
    buf_printf(&b, "\"media_ports\": \"%u-%u\", \"media_ports_used\": %u, ",
               env->settings->media.first_port, env->settings->media.last_port,
               ports_taken(env->ports));
    if (env->fingerprint.n) {
        control_put_text(&b, "certificate", env->fingerprint);
        buf_str(&b, ", ");
        control_put_time(&b, "certificate_expires", env->certificate_expires);
        buf_str(&b, ", ");
    }
    buf_str(&b, "\"needs_restart\": [");
    for (sv lines = env->restart; lines.n;
         lines = sv_sub(lines, sv_chr(lines, '\n') + 1, lines.n)) {
        buf_str(&b, lines.p == env->restart.p ? "\"" : ", \"");
        buf_json(&b, sv_sub(lines, 0, sv_chr(lines, ':')));
        buf_char(&b, '"');
    }
    buf_printf(&b,
               "], \"workers\": %u, \"accounts\": %zu, \"registrations\": %zu, \"calls\": %lld, "
               "\"transactions\": %lld}\n",
               env->group->n, store_accounts(env->store), store_aors(env->store),
               (long long)loop_stat(env->group, STAT_CALLS),
               (long long)loop_stat(env->group, STAT_SIP_TXN_LIVE));
    reply_json(rq, &b);
}

static void get_metrics(struct control_request *rq)
{
    struct control_env *env = control_env_of(rq);
    struct metrics_extra x = {.version = env->version,
                              .reload_ok = env->reload_ok,
                              .started = env->started,
                              .certificate_expires = env->certificate_expires};
    struct buf b;
    buf_init_heap(&b, BODY_OUT_MAX);
    metrics_print(env->group, &x, &b);
    if (b.rc)
        control_error(rq, 503, "the answer does not fit");
    else
        control_reply(rq, 200, SV("text/plain; version=0.0.4; charset=utf-8"), buf_sv(&b));
    buf_done(&b);
}

static void get_healthz(struct control_request *rq)
{
    control_reply(rq, 200, SV("text/plain"), SV("ok\n"));
}

static void get_readyz(struct control_request *rq)
{
    struct control_env *env = control_env_of(rq);
    bool ready = env->ready && !env->draining;
    control_reply(rq, ready ? 200 : 503, SV("text/plain"),
                  ready ? SV("ready\n") : SV("not ready\n"));
}

/* ---- registrations: printed on a helper thread, there may be very many ---- */

struct listing {
    struct job job;
    struct control_request *rq;
    struct store *store;
    struct buf b;
    usec now;
    uint64_t epoch;
    bool any;
};

static bool put_registration(sv aor, const struct binding *bindings, size_t n, void *arg)
{
    struct listing *l = arg;
    buf_str(&l->b, l->any ? ",\n " : "\n ");
    l->any = true;
    buf_char(&l->b, '{');
    control_put_text(&l->b, "account", aor);
    buf_str(&l->b, ", \"contacts\": [");
    for (size_t i = 0; i < n; i++) {
        const struct binding *x = &bindings[i];
        buf_str(&l->b, i ? ", {" : "{");
        control_put_text(&l->b, "uri", x->uri);
        buf_str(&l->b, ", \"transport\": \"");
        put_transport(&l->b, (enum sip_transport)x->transport);
        buf_str(&l->b, "\", \"source\": \"");
        addr_print(&l->b, &x->remote);
        buf_printf(&l->b, "\", \"expires\": %lld, ",
                   (long long)((x->expires - l->now + USEC_S - 1) / USEC_S));
        control_put_text(&l->b, "agent", x->agent);
        buf_printf(&l->b, ", \"q\": %u.%03u, ", x->q / 1000, x->q % 1000);
        control_put_time(&l->b, "since", x->since);
        buf_printf(&l->b, ", \"connected\": %s}",
                   binding_conn_dead(x, l->epoch) ? "false" : "true");
    }
    buf_str(&l->b, "]}");
    return l->b.rc == ERR_OK;
}

static void listing_work(struct job *j)
{
    struct listing *l = CONTAINER(j, struct listing, job);
    buf_char(&l->b, '[');
    enum err rc = store_each_aor(l->store, l->now, put_registration, l);
    buf_str(&l->b, l->any ? "\n]\n" : "]\n");
    if (rc && !l->b.rc)
        l->b.rc = rc;
}

static void listing_done(struct loop *at, struct job *j)
{
    struct listing *l = CONTAINER(j, struct listing, job);
    (void)at;
    reply_json(l->rq, &l->b);
    mem_free(l);
}

static void get_registrations(struct control_request *rq)
{
    struct control_env *env = control_env_of(rq);
    struct loop *loop = control_loop(rq);
    struct listing *l = MEM_NEW(struct listing);
    if (!l) {
        control_error(rq, 503, "out of memory");
        return;
    }
    l->job = (struct job){.work = listing_work, .done = listing_done};
    l->rq = rq;
    l->store = env->store;
    l->now = loop_wall(loop);
    l->epoch = store_epoch(env->store);
    buf_init_heap(&l->b, BODY_OUT_MAX);
    if (loop_offload(loop, &l->job)) {
        control_error(rq, 503, "too much is going on");
        mem_free(l);
    }
}

/* ---- calls: a mail that goes round the workers ---- */

struct round {
    struct mail mail;
    struct timer again;
    struct loop *loop; /* where it is */
    struct control_request *rq;
    struct control_env *env;
    unsigned at; /* whose calls come next */
    struct buf b;
    bool any;
    sv only; /* the one of this Call-ID; SV_NONE: all */
};

static bool put_call(const struct call_view *c, void *arg)
{
    static const char *const states[] = {"calling", "ringing", "up", "ending"};
    struct round *r = arg;
    if (sv_present(r->only) && (r->any || !sv_eq(r->only, c->call_id)))
        return !r->any;
    if (sv_present(r->only))
        buf_char(&r->b, '{');
    else
        buf_str(&r->b, r->any ? ",\n {" : "\n {");
    r->any = true;
    control_put_text(&r->b, "call_id", c->call_id);
    buf_str(&r->b, ", ");
    control_put_text(&r->b, "state", sv_of(states[c->state]));
    buf_str(&r->b, ", ");
    control_put_text(&r->b, "from", c->from);
    buf_str(&r->b, ", ");
    control_put_text(&r->b, "to", c->to);
    buf_str(&r->b, ", ");
    control_put_time(&r->b, "since", c->since);
    if (c->answered) {
        buf_str(&r->b, ", ");
        control_put_time(&r->b, "answered", c->answered);
    }
    buf_str(&r->b, ", \"legs\": [");
    for (unsigned i = 0; i < 2; i++) {
        const struct call_leg *leg = &c->legs[i];
        if (leg->dest->transport == SIP_T_NONE)
            continue;
        buf_str(&r->b, i ? ", {" : "{");
        control_put_text(&r->b, "role", i ? SV("callee") : SV("caller"));
        buf_str(&r->b, ", ");
        control_put_text(&r->b, "contact", leg->contact.p ? leg->contact : SV(""));
        buf_str(&r->b, ", \"transport\": \"");
        put_transport(&r->b, leg->dest->transport);
        buf_str(&r->b, "\", \"address\": \"");
        addr_print(&r->b, &leg->dest->addr);
        buf_str(&r->b, "\"}");
    }
    buf_str(&r->b, "], \"quality\": ");
    routing_figures(r->env->routing[r->at], c, &r->b);
    buf_char(&r->b, '}');
    return r->b.rc == ERR_OK;
}

static void round_free(void *arg)
{
    struct round *r = arg;
    loop_timer_cancel(r->loop, &r->again);
    buf_done(&r->b);
    mem_free(r);
}

/* On to the next worker, or home. A full mailbox is tried again: only worker 0 may end a request,
 * so the round cannot be dropped on the way. */
static void round_go(struct round *r)
{
    struct loop_group *g = r->env->group;
    if (loop_mail(g->loop[r->at < g->n ? r->at : 0], &r->mail))
        loop_timer(r->loop, &r->again, ROUND_AGAIN);
}

static void round_again(struct timer *t, void *arg)
{
    (void)t;
    round_go(arg);
}

static void round_step(struct loop *at, struct mail *m)
{
    struct round *r = CONTAINER(m, struct round, mail);
    r->loop = at;
    if (loop_stopping(at)) { /* then all threads but this one have ended */
        control_error(r->rq, 503, "the server is stopping");
        round_free(r);
    } else if (r->at < r->env->group->n) {
        accounting_each(routing_accounting(r->env->routing[r->at]), put_call, r);
        r->at++;
        round_go(r);
    } else if (sv_present(r->only) && !r->any) {
        control_error(r->rq, 404, "no such call");
        round_free(r);
    } else {
        buf_str(&r->b, sv_present(r->only) ? "\n" : r->any ? "\n]\n" : "]\n");
        reply_json(r->rq, &r->b);
        round_free(r);
    }
}

static void go_round(struct control_request *rq, sv only)
{
    struct round *r = MEM_NEW(struct round);
    if (!r) {
        control_error(rq, 503, "out of memory");
        return;
    }
    r->mail.fn = round_step;
    timer_init(&r->again, round_again, r);
    r->rq = rq;
    r->env = control_env_of(rq);
    r->only = only;
    buf_init_heap(&r->b, BODY_OUT_MAX);
    buf_str(&r->b, sv_present(only) ? "" : "[");
    control_on_end(rq, round_free, r);
    round_step(control_loop(rq), &r->mail);
}

static void get_calls(struct control_request *rq)
{
    go_round(rq, SV_NONE);
}

/* As it is now, with the figures of its media. */
static void get_call(struct control_request *rq)
{
    sv call_id;
    const char *why = control_rest(rq, SV("/api/v1/calls/"), &rq->arena, &call_id);
    if (why)
        control_error(rq, 422, why);
    else
        go_round(rq, call_id);
}

/* ---- reload ---- */

static void post_reload(struct control_request *rq)
{
    struct control_env *env = control_env_of(rq);
    env->reload(env->arg, rq, sv_eq(rq->path, SV("/api/v1/rollback")));
}

/* ---- the table ---- */

static const struct {
    const char *method, *path;
    bool prefix, open;
    void (*fn)(struct control_request *rq);
} routes[] = {
    {"GET", "/healthz", false, true, get_healthz},
    {"GET", "/readyz", false, true, get_readyz},
    {"GET", "/metrics", false, true, get_metrics},
    {"GET", "/api/v1/status", false, false, get_status},
    {"GET", "/api/v1/registrations", false, false, get_registrations},
    {"GET", "/api/v1/calls", false, false, get_calls},
    {"GET", "/api/v1/calls/", true, false, get_call},
    {"GET", "/api/v1/records", false, false, control_records},
    {"GET", "/api/v1/accounts", false, false, control_accounts_list},
    {"GET", "/api/v1/accounts/export", false, false, control_accounts_export},
    {"POST", "/api/v1/accounts", false, false, control_account_add},
    {"PUT", "/api/v1/accounts/", true, false, control_account_set},
    {"DELETE", "/api/v1/accounts/", true, false, control_account_remove},
    {"GET", "/api/v1/certificates", false, false, control_certificates},
    {"POST", "/api/v1/turn", false, false, control_turn},
    {"POST", "/api/v1/reload", false, false, post_reload},
    {"POST", "/api/v1/rollback", false, false, post_reload},
};

void control_route(struct control_request *rq)
{
    char *mem = arena_alloc(&rq->arena, ALLOW_MAX);
    struct buf allow;
    sv method = sv_eq(rq->method, SV("HEAD")) ? SV("GET") : rq->method;
    buf_init(&allow, mem, mem ? ALLOW_MAX : 0);
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        sv path = sv_of(routes[i].path);
        bool match = routes[i].prefix ? sv_starts(rq->path, path) && rq->path.n > path.n
                                      : sv_eq(rq->path, path);
        if (!match)
            continue;
        if (sv_eq(method, sv_of(routes[i].method))) {
            routes[i].fn(rq);
            return;
        }
        buf_str(&allow, allow.n ? ", " : "");
        buf_str(&allow, routes[i].method);
    }
    rq->allow = buf_sv(&allow);
    if (allow.n)
        control_error(rq, 405, "method not allowed");
    else
        control_error(rq, 404, "no such path");
}

/* Probes are open to all that reach the port; the counters only to this machine. */
bool control_open(sv path, const struct addr *peer)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (routes[i].open && sv_eq(path, sv_of(routes[i].path)))
            return routes[i].fn != get_metrics || addr_class(peer) == ADDR_LOOPBACK;
    }
    return false;
}
