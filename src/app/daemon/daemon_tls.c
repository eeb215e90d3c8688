/* SPDX-License-Identifier: MIT */
/* Certificates: from files or from our own authority into a snapshot, by mail to every worker, and
 * again when a file or an address changed.
 *
 *   every TLS_LOOK: look (helper) ─► something else now: new snapshot (helper) ─► mail to every
 *   worker; broken: the old one stays, and it is said
 */
#include <errno.h>
#include <unistd.h>

#include "daemon/daemon_priv.h"

enum { CERTS_ARENA_MAX = 64 * 1024 * 1024, WHY_MAX = 512 };
#define TLS_LOOK   (5 * USEC_S)
#define MAIL_AGAIN (10 * USEC_MS)

/* ---- one set ---- */

struct certs *certs_ref(struct certs *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void certs_unref(struct certs *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    tls_unref(c->tls);
    arena_done(&c->arena);
    mem_free(c);
}

static enum err dup_pem(struct arena *a, const struct config_pem *from, struct config_pem *to)
{
    *to = *from;
    if (sv_present(from->path))
        TRY(sv_dup(a, from->path, &to->path));
    return sv_present(from->octets) ? sv_dup(a, from->octets, &to->octets) : ERR_OK;
}

/* All PEM files, in order; NULL at the end. */
static struct config_pem *pem_at(struct config_tls *t, unsigned i)
{
    if (i < 2 * t->n)
        return i % 2 ? &t->pairs[i / 2].key : &t->pairs[i / 2].certificate;
    return i == 2 * t->n ? &t->ca : NULL;
}

static enum err copy_files(struct certs *c, const struct config_tls *from)
{
    struct config_tls src = *from;
    const struct config_pem *pem;
    c->files = *from;
    for (unsigned i = 0; (pem = pem_at(&src, i)); i++)
        TRY(dup_pem(&c->arena, pem, pem_at(&c->files, i)));
    return ERR_OK;
}

/* Octets of our arena. */
static void wipe(sv secret)
{
    if (secret.n)
        crypto_wipe((char *)secret.p, secret.n);
}

static enum err make_tls(const struct daemon *d, struct certs *c, const struct tls *before,
                         struct buf *why)
{
    struct tls_pair pairs[TLS_PAIRS_MAX];
    struct tls_config tc = {.pairs = pairs,
                            .n = c->files.n,
                            .ca = c->files.ca.octets,
                            .ca_own = c->ca.ca,
                            .clients = c->files.clients,
                            .only_13 = c->files.only_13,
                            .before = before};
    for (unsigned i = 0; i < c->files.n; i++)
        pairs[i] =
            (struct tls_pair){c->files.pairs[i].certificate.octets, c->files.pairs[i].key.octets};
    if (c->own) {
        pairs[0] = (struct tls_pair){c->ca.leaf, c->ca.leaf_key};
        tc.n = 1;
    }
    c->leaf = pairs[0].certificate;
    for (unsigned i = 1; i < tc.n; i++)
        c->sni[c->sni_n++] = pairs[i].certificate;
    memcpy(tc.ticket_key, d->secrets.tickets, sizeof(tc.ticket_key));
    enum err rc = tls_new(&tc, why, &c->tls);
    crypto_wipe(tc.ticket_key, sizeof(tc.ticket_key));
    wipe(c->ca.ca_key); /* on the disk, where the next one comes from */
    wipe(c->ca.leaf_key);
    return rc;
}

/* before: NULL: the system's store is read anew, as at a start and at a reload. */
static enum err fill(struct daemon *d, const struct settings *set, enum ca_change change, usec wall,
                     struct certs *c, const struct tls *before, struct buf *why)
{
    struct ca *ca = &c->ca;
    char mem[96];
    struct buf print;
    c->own = c->files.n == 0;
    if (c->own) {
        enum err rc = ca_ensure(d, set, change, wall, &c->arena, ca);
        if (rc) {
            buf_printf(why, "our own authority: %s", err_text(rc));
            return rc;
        }
    }
    TRY(make_tls(d, c, before, why));
    buf_init(&print, mem, sizeof(mem));
    tls_fingerprint(c->tls, &print);
    return sv_dup(&c->arena, buf_sv(&print), &c->fingerprint);
}

static struct certs *certs_alloc(void)
{
    struct certs *c = MEM_NEW(struct certs);
    if (c) {
        atomic_init(&c->refs, 1);
        arena_init(&c->arena, NULL, 0, CERTS_ARENA_MAX);
    }
    return c;
}

enum err certs_new(struct daemon *d, const struct settings *set, const struct config_tls *files,
                   enum ca_change change, usec wall, struct buf *why, struct certs **ret_certs)
{
    struct certs *c = certs_alloc();
    if (!c)
        return ERR_NOMEM;
    enum err rc = copy_files(c, files);
    if (!rc)
        rc = fill(d, set, change, wall, c, NULL, why);
    if (rc)
        certs_unref(c);
    else
        *ret_certs = c;
    return rc;
}

/* ---- to the workers ---- */

struct tls_mail {
    struct mail mail;
    struct routing *routing;
    struct turnserver *turn; /* NULL: none */
    struct page *page;
    struct certs *certs;
};

static void tls_mail_free(struct tls_mail *m)
{
    if (m)
        certs_unref(m->certs);
    mem_free(m);
}

static void take_tls(struct loop *at, struct mail *m)
{
    struct tls_mail *tm = CONTAINER(m, struct tls_mail, mail);
    if (!loop_stopping(at)) {
        sip_tls(routing_sip(tm->routing), tm->certs->tls);
        if (tm->turn)
            turnserver_tls(tm->turn, tm->certs->tls);
        page_show(tm->page, tm->page->set, tm->certs);
    }
    tls_mail_free(tm);
}

/* Those whose mailbox is full are tried again. */
static void send_tls(struct timer *t, void *arg)
{
    struct daemon *d = arg;
    struct loop_group *g = d->group;
    bool all = true;
    for (unsigned i = 0; i < g->n; i++) {
        struct tls_mail *m = d->tls_mail[i];
        if (m && loop_mail(g->loop[i], &m->mail) == ERR_OK)
            d->tls_mail[i] = NULL; /* the worker's */
        all = all && !d->tls_mail[i];
    }
    if (!all)
        loop_timer(g->loop[0], t, MAIL_AGAIN);
}

static void tell_env(struct daemon *d)
{
    d->env.certificate = d->certs->leaf;
    d->env.sni = d->certs->sni;
    d->env.sni_n = d->certs->sni_n;
    d->env.ca = d->certs->ca.ca;
    d->env.fingerprint = d->certs->fingerprint;
    d->env.certificate_expires = tls_expires(d->certs->tls);
}

/* Prepared before anything changes: all workers get it or none. */
static enum err prepare(struct daemon *d, struct certs *c,
                        struct tls_mail *ret_mails[static LOOP_WORKERS_MAX])
{
    for (unsigned i = 0; i < d->group->n; i++) {
        struct tls_mail *m = MEM_NEW(struct tls_mail);
        if (!m) {
            while (i > 0)
                tls_mail_free(ret_mails[--i]);
            return ERR_NOMEM;
        }
        m->mail.fn = take_tls;
        m->routing = d->routing[i];
        m->turn = d->turn[i];
        m->page = &d->page[i];
        m->certs = certs_ref(c);
        ret_mails[i] = m;
    }
    return ERR_OK;
}

static void say(const struct daemon *d, const char *event)
{
    char mem[40];
    struct buf when;
    buf_init(&when, mem, sizeof(mem));
    clock_rfc3339(&when, tls_expires(d->certs->tls));
    LOG_INFO("daemon", event, F_SV("fingerprint", d->certs->fingerprint),
             F_SV("expires", buf_sv(&when)),
             F_STR("issuer", d->certs->own ? "our own authority" : "the configuration"));
}

enum err certs_install(struct daemon *d, struct certs *c)
{
    struct tls_mail *mails[LOOP_WORKERS_MAX];
    bool same = d->certs && sv_eq(d->certs->fingerprint, c->fingerprint);
    TRY(prepare(d, c, mails));
    for (unsigned i = 0; i < d->group->n; i++) {
        tls_mail_free(d->tls_mail[i]); /* not sent: this one comes instead */
        d->tls_mail[i] = mails[i];
    }
    certs_unref(d->certs);
    d->certs = certs_ref(c);
    tell_env(d);
    if (!same)
        say(d, "tls.swapped");
    send_tls(&d->tls_again, d);
    if (!timer_armed(&d->tls_look) && !d->look)
        loop_timer(d->group->loop[0], &d->tls_look, TLS_LOOK);
    return ERR_OK;
}

/* ---- the watch ---- */

struct look {
    struct job job;
    struct daemon *d;
    struct certs *old, *now; /* now: NULL: nothing changed, or it is broken */
    struct settings *set;
    usec wall;
    struct config_stamp seen[2 * TLS_PAIRS_MAX + 1];
    bool changed;
    sv file; /* of old: the first that changed */
    enum err rc;
    char why_mem[WHY_MAX];
    struct buf why;
};

/* What the disk holds, where it is other than what we have. */
static enum err read_again(struct look *k, struct certs *c)
{
    struct config_pem *pem;
    TRY(copy_files(c, &k->old->files));
    for (unsigned i = 0; (pem = pem_at(&c->files, i)); i++) {
        enum err rc = sv_present(pem->path) ? config_pem_read(&c->arena, pem) : ERR_OK;
        if (rc) {
            buf_put(&k->why, pem->path);
            buf_printf(&k->why, ": %s", err_text(rc));
            return rc;
        }
    }
    return ERR_OK;
}

static void look_work(struct job *j)
{
    struct look *k = CONTAINER(j, struct look, job);
    const struct config_pem *pem;
    for (unsigned i = 0; (pem = pem_at(&k->old->files, i)); i++) {
        if (!sv_present(pem->path))
            continue;
        k->seen[i] = config_stamp_of(pem->path);
        if (config_stamp_same(&k->seen[i], &pem->stamp))
            continue;
        k->file = k->changed ? k->file : pem->path;
        k->changed = true;
    }
    if (!k->changed && k->old->own)
        k->changed = !ca_stands(k->set, k->wall, &k->old->ca);
    if (!k->changed)
        return;
    struct certs *c = certs_alloc();
    k->rc = c ? read_again(k, c) : ERR_NOMEM;
    if (!k->rc)
        k->rc = fill(k->d, k->set, CA_STAYS, k->wall, c, k->old->tls, &k->why);
    if (k->rc)
        certs_unref(c);
    else
        k->now = c;
}

static void look_free(struct look *k)
{
    certs_unref(k->old);
    certs_unref(k->now);
    settings_unref(k->set);
    k->d->look = NULL;
    mem_free(k);
}

/* The same is not tried again before it changes. */
static void remember(struct look *k)
{
    struct config_pem *pem;
    for (unsigned i = 0; (pem = pem_at(&k->old->files, i)); i++) {
        if (sv_present(pem->path))
            pem->stamp = k->seen[i];
    }
}

static void look_done(struct loop *at, struct job *j)
{
    struct look *k = CONTAINER(j, struct look, job);
    struct daemon *d = k->d;
    bool current = d->certs == k->old && !d->reload && !loop_stopping(at);
    if (current && k->now)
        k->rc = certs_install(d, k->now);
    if (current && k->rc) {
        if (!k->why.n)
            buf_str(&k->why, err_text(k->rc));
        if (!d->look_failed || !k->old->own)
            LOG_ERROR("daemon", "tls.reload.failed", F_SV("file", k->file.n ? k->file : SV("")),
                      F_SV("why", buf_sv(&k->why)),
                      F_STR("what", "the certificate of before stays"));
        remember(k);
    }
    d->look_failed = k->rc != ERR_OK;
    look_free(k);
    if (!loop_stopping(at))
        loop_timer(at, &d->tls_look, TLS_LOOK);
}

static void on_look(struct timer *t, void *arg)
{
    struct daemon *d = arg;
    struct loop *l = d->group->loop[0];
    struct look *k = d->look || d->reload ? NULL : MEM_NEW(struct look);
    if (!k) {
        loop_timer(l, t, TLS_LOOK);
        return;
    }
    k->job = (struct job){.work = look_work, .done = look_done};
    k->d = d;
    k->old = certs_ref(d->certs);
    k->set = settings_ref(d->config->settings);
    k->wall = loop_wall(l);
    buf_init(&k->why, k->why_mem, sizeof(k->why_mem));
    d->look = k;
    if (loop_offload(l, &k->job)) {
        look_free(k);
        loop_timer(l, t, TLS_LOOK);
    }
}

/* ---- life ---- */

bool tls_wanted(const struct config *c)
{
    const struct sip_config *s = &c->settings->sip;
    bool wanted = c->tls.n > 0;
    for (unsigned i = 0; i < s->listeners && !wanted; i++)
        wanted = s->listen[i].transport == SIP_T_TLS || s->listen[i].transport == SIP_T_WSS;
    for (unsigned i = 0; i < c->settings->turn.listeners && !wanted; i++)
        wanted = c->settings->turn.listen[i].transport == TURNSERVER_TLS;
    return wanted;
}

/* The ports are open; no loop runs. */
static void give(struct daemon *d)
{
    for (unsigned i = 0; i < d->group->n; i++) {
        sip_tls(routing_sip(d->routing[i]), d->certs->tls);
        if (d->turn[i])
            turnserver_tls(d->turn[i], d->certs->tls);
        page_show(&d->page[i], d->config->settings, d->certs);
    }
}

int tls_setup(struct daemon *d)
{
    char mem[WHY_MAX];
    struct buf why;
    timer_init(&d->tls_look, on_look, d);
    timer_init(&d->tls_again, send_tls, d);
    if (!tls_wanted(d->config))
        return 0;
    buf_init(&why, mem, sizeof(mem));
    enum err rc = certs_new(d, d->config->settings, &d->config->tls, CA_FOR_NAMES,
                            loop_wall(d->group->loop[0]), &why, &d->certs);
    if (!rc) {
        give(d);
        return 0;
    }
    LOG_ERROR("daemon", "start.failed", F_STR("what", "the certificate cannot be used"),
              F_SV("why", buf_sv(&why)), F_ERR(rc));
    return 3;
}

/* Root read them for us, once. */
static void say_unreadable(struct daemon *d)
{
    const struct config_pem *pem;
    for (unsigned i = 0; (pem = pem_at(&d->certs->files, i)); i++) {
        if (sv_present(pem->path) && access(pem->path.p, R_OK) != 0)
            LOG_WARN("daemon", "tls.unreadable", F_SV("path", pem->path),
                     F_STR("error", strerror(errno)),
                     F_STR("what", "the user that we run as cannot read it again: a reload will be "
                                   "refused"));
    }
}

void tls_watch(struct daemon *d)
{
    if (!d->certs)
        return;
    say_unreadable(d);
    tell_env(d);
    say(d, "tls.ready");
    loop_timer(d->group->loop[0], &d->tls_look, TLS_LOOK);
}

void tls_free(struct daemon *d)
{
    if (d->group) {
        loop_timer_cancel(d->group->loop[0], &d->tls_look);
        loop_timer_cancel(d->group->loop[0], &d->tls_again);
    }
    if (d->look)
        look_free(d->look);
    for (unsigned i = 0; i < LOOP_WORKERS_MAX; i++) {
        tls_mail_free(d->tls_mail[i]);
        d->tls_mail[i] = NULL;
    }
    certs_unref(d->certs);
    d->certs = NULL;
}
