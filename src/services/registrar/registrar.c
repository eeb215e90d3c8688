/* SPDX-License-Identifier: MIT */
/* The REGISTER driver: read the set, apply the request to it, swap it, answer.
 *
 *   store_bindings ─► registrar_apply ─► store_update ─► is the account still there? ─► 200
 *        ▲                                   │ ERR_BUSY: another worker was first
 *        └───────────────────────────────────┘
 *
 * The 200 leaves after the change is in the journal. */
#include "registrar/registrar.h"
#include "log/log.h"
#include "registrar/registrar_priv.h"

/* Two workers cannot lose against each other for ever: one of them always wins. */
enum { ROUNDS_MAX = 32, HEADERS_USUAL = 2048, HEADERS_MAX = 160 * 1024 };

struct registration {
    struct sip *sip;
    struct store *store;
    struct settings *set;
    struct stxn *txn;
    sv aor;
    unsigned rounds;
    struct store_bindings read;
    struct store_update write;
    struct registrar_input in;
    struct registrar_result result;
};

static void registration_free(struct registration *r)
{
    store_op_cancel(&r->read.op);
    store_op_cancel(&r->write.op);
    settings_unref(r->set);
    MEM_GIVE(r);
}

static void on_gone(void *arg, enum err why)
{
    (void)why;
    registration_free(arg);
}

static const struct stxn_handler handler = {.on_gone = on_gone};

/* The phone is reached by this connection while a binding on it lives, however silent it is. */
static void keep_flow(const struct registration *r)
{
    const struct flow *f = &stxn_rx(r->txn)->flow;
    const struct loop *l = sip_loop(r->sip);
    usec until = 0;
    for (size_t i = 0; i < r->result.n; i++) {
        const struct binding *b = &r->result.bindings[i];
        if (b->conn == f->conn && b->worker == f->worker && b->epoch == r->in.epoch &&
            b->expires > until)
            until = b->expires;
    }
    if (f->conn && until > r->in.now)
        sip_flow_keep(r->sip, f, l->now + (until - r->in.now));
}

static void put_headers(const struct registration *r, uint16_t status, struct buf *b)
{
    if (status == 200) {
        registrar_put_headers(b, &r->in, &r->result, r->set);
    } else if (status == 423) {
        buf_str(b, "Min-Expires: ");
        buf_i64(b, r->set->expires_min / USEC_S);
        buf_str(b, "\r\n");
    } else if (status == 503) {
        buf_str(b, "Retry-After: 5\r\n");
    } else if (status == 420) {
        buf_str(b, "Unsupported: path\r\n");
    }
}

static void answer(struct registration *r, uint16_t status, const char *why)
{
    char tag[24], usual[HEADERS_USUAL];
    LOG_DEBUG("registrar", "register.answered", F_INT("status", status),
              F_STR("why", why ? why : sip_reason(status)), F_SV("account", r->aor),
              F_INT("contacts", status == 200 ? r->result.n : 0));
    struct buf headers;
    buf_init(&headers, usual, sizeof(usual));
    put_headers(r, status, &headers);
    if (headers.rc == ERR_TOOBIG) { /* many contacts */
        buf_init_heap(&headers, HEADERS_MAX);
        put_headers(r, status, &headers);
    }
    if (status == 200)
        keep_flow(r);
    if (headers.rc) {
        status = 500;
        buf_reset(&headers);
    }
    struct sip_reply reply = {
        .status = status,
        .reason = why ? sv_of(why) : SV_NONE,
        .to_tag = sip_random_tag(r->sip, tag),
        .headers = buf_sv(&headers),
    };
    /* What cannot be sent now is the transaction's to report; the peer repeats its request. */
    enum err rc = stxn_reply(r->txn, &reply);
    if (rc == ERR_SYNTAX || rc == ERR_TOOBIG) { /* the list cannot be written */
        struct sip_reply plain = {.status = 500, .to_tag = reply.to_tag};
        rc = stxn_reply(r->txn, &plain);
    }
    buf_done(&headers);
    stxn_drop(r->txn);
    registration_free(r);
}

static void read_set(struct registration *r)
{
    struct rx *rx = stxn_rx(r->txn);
    r->read.arena = &rx->arena;
    r->read.aor = r->aor;
    r->read.wall = loop_wall(sip_loop(r->sip));
    store_bindings(r->store, sip_loop(r->sip), &r->read);
}

static void on_read(struct store_op *op, enum err rc)
{
    struct registration *r = op->arg;
    struct rx *rx = stxn_rx(r->txn);
    struct loop *l = sip_loop(r->sip);
    if (rc) {
        answer(r, 500, NULL);
        return;
    }
    struct registrar_limits lim = {
        .expires_min_s = (uint32_t)(r->set->expires_min / USEC_S),
        .expires_max_s = (uint32_t)(r->set->expires_max / USEC_S),
        .expires_default_s = (uint32_t)(r->set->expires_max / USEC_S),
        .contacts = r->set->contacts,
        .outbound = r->set->outbound,
    };
    r->in = (struct registrar_input){.sip = r->sip,
                                     .req = &rx->msg,
                                     .flow = &rx->flow,
                                     .aor = r->aor,
                                     .old = r->read.bindings,
                                     .old_n = r->read.n,
                                     .epoch = store_epoch(r->store),
                                     .chance = loop_random(l),
                                     .now = loop_wall(l)};
    rc = registrar_apply(&r->in, &lim, &rx->arena, &r->result);
    if (rc) {
        answer(r, rc == ERR_NOMEM ? 503 : 500, NULL);
        return;
    }
    if (r->result.status == 403)
        stat_refuse(&l->stats, STAT_LIMIT_CONTACTS);
    if (r->result.status != 200 || !r->result.changed) {
        answer(r, r->result.status, r->result.why);
        return;
    }
    r->write.aor = r->aor;
    r->write.bindings = r->result.bindings;
    r->write.n = r->result.n;
    r->write.version = r->read.version;
    store_update(r->store, l, &r->write);
}

static void on_written(struct store_op *op, enum err rc)
{
    struct registration *r = op->arg;
    if (rc == ERR_BUSY && ++r->rounds < ROUNDS_MAX) {
        read_set(r);
        return;
    }
    if (rc == ERR_TOOBIG || rc == ERR_BUSY) {
        stat_refuse(&sip_loop(r->sip)->stats, STAT_LIMIT_BINDINGS);
        answer(r, 503, NULL);
        return;
    }
    /* The account may have gone since its owner proved himself. Whoever removes it removes its bindings
     * afterwards, and then did so before there were these. */
    if (!rc && r->write.n && !store_has_account(r->store, r->aor)) {
        store_unbind(r->store, sip_loop(r->sip), r->aor);
        answer(r, 404, NULL); /* §10.3 step 5 */
        return;
    }
    /* A connection that ended in the meantime, on another worker perhaps, was told of before there
     * was a binding on it. */
    const struct flow *f = &stxn_rx(r->txn)->flow;
    if (!rc && f->conn && !sip_flow_up(r->sip, f))
        registrar_flow_gone(r->sip, r->store, f);
    answer(r, rc ? 500 : 200, NULL);
}

void registrar_request(struct sip *s, struct store *st, struct settings *set, struct stxn *t,
                       sv aor)
{
    struct registration *r = MEM_TAKE(struct registration);
    if (!r) {
        struct sip_reply reply = {.status = 503, .headers = SV("Retry-After: 5\r\n")};
        enum err rc = stxn_reply(t, &reply);
        (void)rc;
        stxn_drop(t);
        return;
    }
    r->sip = s;
    r->store = st;
    r->set = settings_ref(set);
    r->txn = t;
    r->aor = aor;
    store_op_init(&r->read.op, on_read, r);
    store_op_init(&r->write.op, on_written, r);
    stxn_handle(t, &handler, r);
    read_set(r);
}
