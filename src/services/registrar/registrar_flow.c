/* SPDX-License-Identifier: MIT */
/* Connections that ended, and flows that failed: RFC 5626 §7 "MUST invalidate all the bindings in the
 * target set that use that flow".
 *
 * A binding with push parameters stays, with the mark of a dead connection: its phone is asleep, and
 * what wakes it up stands in the binding (RFC 8599). */
#include "registrar/registrar_priv.h"
#include "location/location.h"

/* Of no process: see binding_conn_dead. */
enum { NO_EPOCH = 0 };

/* ---- a connection of ours ended ---- */

struct connection {
    uint64_t conn, epoch;
    uint8_t worker;
};

static bool drop_connection(struct binding *b, size_t *n, const void *arg)
{
    const struct connection *c = arg;
    size_t kept = 0;
    bool changed = false;
    for (size_t i = 0; i < *n; i++) {
        struct binding x = b[i];
        bool on_it = x.conn == c->conn && x.worker == c->worker && x.epoch == c->epoch;
        if (on_it && x.push.n)
            x.epoch = NO_EPOCH;
        /* Others may be reached where their Contact says that they listen. */
        bool goes = on_it && !x.push.n && location_hangs_on_flow(&x);
        changed = changed || goes || x.epoch != b[i].epoch;
        if (!goes)
            b[kept++] = x;
    }
    *n = kept;
    return changed;
}

void registrar_flow_gone(struct sip *s, struct store *st, const struct flow *f)
{
    struct connection c = {.conn = f->conn, .epoch = store_epoch(st), .worker = f->worker};
    if (f->conn)
        store_amend_flow(st, sip_loop(s), f->worker, f->conn, drop_connection, &c, sizeof(c));
}

/* ---- a target could not be reached ---- */

struct target {
    struct flow flow;
    uint64_t epoch;
    size_t uri_n;
    char uri[STORE_AMEND_ARG - sizeof(struct flow) - 2 * sizeof(uint64_t)];
};

/* The Request-URI of a target is the Contact's, but perhaps for its scheme. */
static bool same_target(sv contact, sv uri)
{
    size_t a = sv_chr(contact, ':'), b = sv_chr(uri, ':');
    return sv_eq(sv_sub(contact, a, contact.n), sv_sub(uri, b, uri.n));
}

static bool is_target(const struct binding *b, const struct target *t)
{
    const struct flow *f = &t->flow;
    if (!b->reg_id || !same_target(b->uri, (sv){t->uri, t->uri_n}))
        return false;
    if (f->transport == SIP_T_NONE)
        return b->path.n > 0;
    return b->path.n == 0 && b->transport == f->transport && b->conn == f->conn &&
           (!b->conn || (b->epoch == t->epoch && b->worker == f->worker)) &&
           addr_equal(&b->remote, &f->remote);
}

static bool drop_target(struct binding *b, size_t *n, const void *arg)
{
    const struct target *t = arg;
    size_t kept = 0;
    bool changed = false;
    for (size_t i = 0; i < *n; i++) {
        struct binding x = b[i];
        bool failed = is_target(&x, t);
        if (failed && x.push.n && x.conn)
            x.epoch = NO_EPOCH;
        changed = changed || failed;
        if (!failed || x.push.n)
            b[kept++] = x;
    }
    *n = kept;
    return changed;
}

void registrar_unreachable(struct sip *s, struct store *st, sv aor, sv uri, const struct flow *flow)
{
    struct target t = {.flow = *flow, .epoch = store_epoch(st), .uri_n = uri.n};
    if (uri.n > sizeof(t.uri))
        return;
    memcpy(t.uri, uri.p, uri.n);
    store_amend(st, sip_loop(s), aor, drop_target, &t, sizeof(t));
}
