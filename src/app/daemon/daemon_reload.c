/* SPDX-License-Identifier: MIT */
/* A new configuration, all or nothing: read by a helper thread, then taken by every worker, or
 * refused whole. */
#include <stdio.h>

#include "daemon/daemon_priv.h"

enum { REPORT_MAX = 1024 * 1024, SAVED_ARENA_MAX = 128 * 1024 * 1024 };
#define MAIL_AGAIN (10 * USEC_MS)

void reload_print(const struct config_report *r)
{
    struct buf b;
    if (!r->n)
        return;
    buf_init_heap(&b, REPORT_MAX);
    config_report_print(r, &b);
    fwrite(b.p, 1, b.n, stderr);
    buf_done(&b);
}

enum err reload_complete(struct daemon *d, struct config *c)
{
    struct settings *s = c->settings;
    if (c->domains_given)
        return ERR_OK;
    TRY(sv_dup(&s->arena, sv_of(d->domain), &s->domains[0].name));
    s->domains[0].realm = s->domains[0].name;
    s->domains_n = 1;
    /* Accounts of the file without a domain belong to the first. */
    struct settings_account *accounts = (struct settings_account *)s->accounts;
    for (size_t i = 0; i < s->accounts_n; i++) {
        if (!accounts[i].domain.n)
            accounts[i].domain = s->domains[0].name;
    }
    return ERR_OK;
}

static void set_level(sv module, enum log_level level)
{
    char name[64];
    struct buf b;
    buf_init(&b, name, sizeof(name));
    buf_put(&b, module);
    buf_char(&b, '\0');
    if (b.rc || log_level_set(name, level))
        LOG_WARN("daemon", "log.level", F_STR("why", "too many modules, or too long a name"),
                 F_SV("module", module));
}

void reload_log_levels(const struct config *was, const struct config *c)
{
    if (log_level_set(NULL, c->log_level))
        return; /* the level of all others cannot fail */
    /* A module that is named no more follows the rest again. */
    for (unsigned i = 0; was && i < was->levels_n; i++)
        set_level(was->levels[i].module, c->log_level);
    for (unsigned i = 0; i < c->levels_n; i++)
        set_level(c->levels[i].module, c->levels[i].level);
}

/* ---- one reload ----
 *
 *   read (helper) ─► publish: mail to every worker ─► the file's accounts ─► keep (helper) ─►
 *   answer
 */

struct settings_mail {
    struct mail mail;
    struct routing *routing;
    struct turnserver *turn; /* NULL: none */
    struct fence *fence;
    struct page *page;
    struct settings *set;
};

struct reload {
    struct job job;
    struct daemon *d;
    struct control_request *rq; /* NULL: nobody waits */
    bool rollback, was_ok;
    struct config_source source;
    struct config_report report;
    struct arena saved; /* the files of a rollback */
    struct config *config;
    struct certs *certs; /* of config; NULL: no TLS */
    usec wall;
    struct settings_mail *mails[LOOP_WORKERS_MAX]; /* not sent yet */
    struct timer again;                            /* for those whose mailbox was full */
    struct buf changed, restart;
    enum err rc;
    const char *why; /* besides the report */
    char why_mem[512];
    struct buf why_tls;
};

static void take_settings(struct loop *at, struct mail *m)
{
    struct settings_mail *sm = CONTAINER(m, struct settings_mail, mail);
    if (!loop_stopping(at)) {
        routing_settings(sm->routing, sm->set);
        turn_settings(sm->turn, sm->fence, sm->set);
        page_show(sm->page, sm->set, NULL);
    }
    settings_unref(sm->set);
    mem_free(sm);
}

static void reload_free(struct reload *r)
{
    struct daemon *d = r->d;
    loop_timer_cancel(d->group->loop[0], &r->again);
    for (unsigned i = 0; i < LOOP_WORKERS_MAX; i++) {
        if (r->mails[i])
            settings_unref(r->mails[i]->set);
        mem_free(r->mails[i]);
    }
    config_free(r->config);
    certs_unref(r->certs);
    config_report_done(&r->report);
    arena_done(&r->saved);
    buf_done(&r->changed);
    buf_done(&r->restart);
    d->reload = NULL;
    mem_free(r);
}

/* ---- the answer ---- */

static void put_lines(struct buf *b, const char *name, sv lines)
{
    buf_printf(b, ", \"%s\": [", name);
    for (bool first = true; lines.n; first = false) {
        size_t n = sv_chr(lines, '\n');
        buf_str(b, first ? "\"" : ", \"");
        buf_json(b, sv_sub(lines, 0, n));
        buf_char(b, '"');
        lines = sv_sub(lines, n + 1, lines.n);
    }
    buf_char(b, ']');
}

static void put_problems(struct buf *b, const struct config_report *r)
{
    buf_str(b, ", \"problems\": [");
    for (size_t i = 0; i < r->n; i++) {
        const struct config_problem *p = &r->problems[i];
        buf_str(b, i ? ", {\"file\": \"" : "{\"file\": \"");
        buf_json(b, p->file);
        buf_printf(b, "\", \"line\": %u, \"column\": %u, \"severity\": \"%s\", \"text\": \"",
                   p->line, p->column, p->severity == CONFIG_ERROR ? "error" : "finding");
        buf_json(b, p->text);
        buf_str(b, "\", \"hint\": \"");
        buf_json(b, p->hint);
        buf_str(b, "\"}");
    }
    buf_char(b, ']');
}

static void answer(struct reload *r)
{
    bool ok = r->rc == ERR_OK;
    struct buf b, warnings;
    if (r->why) {
        control_error(r->rq, r->rc == ERR_NOTFOUND ? 404 : 503, r->why);
        return;
    }
    buf_init_heap(&b, REPORT_MAX);
    buf_printf(&b, "{\"ok\": %s", ok ? "true" : "false");
    put_lines(&b, "changed", buf_sv(&r->changed));
    put_lines(&b, "restart", buf_sv(&r->restart));
    buf_init_heap(&warnings, REPORT_MAX);
    buf_put(&warnings, buf_sv(&r->d->stranded));
    if (r->certs && r->certs->ca.replaced)
        buf_str(&warnings, CA_NEW_TEXT "\n");
    put_lines(&b, "warnings", ok ? buf_sv(&warnings) : SV_NONE);
    b.rc = b.rc ? b.rc : warnings.rc;
    buf_done(&warnings);
    put_problems(&b, &r->report);
    buf_str(&b, "}\n");
    if (b.rc)
        control_error(r->rq, 500, "the report does not fit");
    else
        control_reply(r->rq, ok ? 200 : 422, SV("application/json"), buf_sv(&b));
    buf_done(&b);
}

static void reload_end(struct reload *r)
{
    struct daemon *d = r->d;
    const struct config_problem *first = r->report.n ? &r->report.problems[0] : NULL;
    if (!r->rc)
        LOG_INFO("daemon", "reload", F_INT("rollback", r->rollback),
                 F_SV("config", d->config->file.p ? d->config->file : SV("embedded defaults")));
    else
        LOG_ERROR("daemon", "reload.refused", F_INT("errors", r->report.errors),
                  F_SV("first", first ? first->text : sv_of(r->why ? r->why : err_text(r->rc))),
                  F_SV("file", first ? first->file : SV("")),
                  F_INT("line", first ? first->line : 0));
    if (!r->why) /* else no configuration was judged */
        d->env.reload_ok = r->rc == ERR_OK;
    if (r->rq)
        answer(r);
    bool again = d->reload_again && !loop_stopping(d->group->loop[0]);
    reload_free(r);
    if (again)
        reload_start(d, NULL, false);
}

static void reload_fail(struct reload *r, enum err rc, const char *why)
{
    r->rc = rc;
    r->why = why;
    reload_end(r);
}

/* ---- the steps, from the last ---- */

static void keep(struct job *j)
{
    struct reload *r = CONTAINER(j, struct reload, job);
    r->rc = saved_keep(r->d, r->d->config); /* stands still while a reload is under way */
}

static void kept(struct loop *at, struct job *j)
{
    struct reload *r = CONTAINER(j, struct reload, job);
    (void)at;
    if (r->rc)
        LOG_WARN("daemon", "config.keep", F_ERR(r->rc));
    r->rc = ERR_OK;
    reload_end(r);
}

static void accounts_taken(struct daemon *d)
{
    struct reload *r = d->reload;
    r->job = (struct job){.work = keep, .done = kept};
    enum err rc = loop_offload(d->group->loop[0], &r->job);
    if (rc) {
        LOG_WARN("daemon", "config.keep", F_ERR(rc));
        reload_end(r);
    }
}

/* Sends what is not sent. True: nothing is left. */
static bool send_settings(struct reload *r)
{
    struct loop_group *g = r->d->group;
    bool all = true;
    for (unsigned i = 0; i < g->n; i++) {
        if (r->mails[i] && loop_mail(g->loop[i], &r->mails[i]->mail) == ERR_OK)
            r->mails[i] = NULL; /* the worker's */
        all = all && !r->mails[i];
    }
    return all;
}

static void on_again(struct timer *t, void *arg)
{
    struct reload *r = arg;
    if (!send_settings(r))
        loop_timer(r->d->group->loop[0], t, MAIL_AGAIN);
    else
        accounts_start(r->d, r->d->config->settings, accounts_taken);
}

/* Every worker gets the snapshot by mail; each is prepared before any is sent, and a full
 * mailbox is
 * tried again, so that it is all of them or none. */
static enum err prepare_mails(struct reload *r)
{
    struct daemon *d = r->d;
    for (unsigned i = 0; i < d->group->n; i++) {
        struct settings_mail *m = MEM_NEW(struct settings_mail);
        if (!m)
            return ERR_NOMEM; /* reload_free has the rest */
        m->mail.fn = take_settings;
        m->routing = d->routing[i];
        m->turn = d->turn[i];
        m->fence = d->fence[i];
        m->page = &d->page[i];
        m->set = settings_ref(r->config->settings);
        r->mails[i] = m;
    }
    return ERR_OK;
}

static void take_effect(struct reload *r)
{
    struct daemon *d = r->d;
    struct config *old = d->config;
    config_diff(old, r->config, &r->changed, NULL);
    config_diff(d->booted, r->config, NULL, &r->restart);
    if (prepare_mails(r) || (r->certs && certs_install(d, r->certs))) {
        reload_fail(r, ERR_NOMEM, "out of memory");
        return;
    }
    d->config = r->config;
    r->config = NULL;
    d->env.settings = d->config->settings;
    if (d->ports &&
        ports_range(d->ports, d->env.settings->media.first_port, d->env.settings->media.last_port))
        LOG_WARN("daemon", "media.ports", F_STR("why", "not a range: the one of before stays"));
    d->env.config_file = d->config->file;
    buf_reset(&d->restart);
    buf_put(&d->restart, buf_sv(&r->restart));
    d->env.restart = buf_sv(&d->restart);
    reload_log_levels(old, d->config);
    if (old != d->booted)
        config_free(old);
    on_again(&r->again, r);
}

/* Where a rollback goes: what holds, when the file that was refused is all that changed since. */
static enum err read_saved(struct reload *r)
{
    const struct config_file *files;
    size_t n;
    TRY(saved_read(r->d, r->was_ok ? "config.previous" : "config.last", &r->saved, &files, &n));
    r->source.from_saved = true;
    r->source.saved = files;
    r->source.saved_n = n;
    return ERR_OK;
}

/* Zones change with a restart: what a route says of one means the one of that name that is there. */
static uint32_t same_zones(uint32_t zones, const struct sip_config *now,
                           const struct sip_config *boot)
{
    uint32_t out = 0;
    for (unsigned i = 0; i < now->zones; i++) {
        for (unsigned k = 0; k < boot->zones && (zones >> i & 1); k++)
            out |= sv_eq(now->zone[i].name, boot->zone[k].name) ? 1u << k : 0;
    }
    return out;
}

static void adopt_when(struct settings_when *w, const struct sip_config *now,
                       const struct sip_config *boot)
{
    uint32_t zones = same_zones(w->zones, now, boot);
    w->never = w->zones != 0 && zones == 0;
    w->zones = zones;
}

/* What is open stays open under its number: listeners and timers change with a restart. */
static enum err adopt(struct reload *r)
{
    struct daemon *d = r->d;
    struct settings *s = r->config->settings;
    struct settings_route *routes = (struct settings_route *)s->routes;
    for (size_t i = 0; i < s->routes_n; i++) {
        adopt_when(&routes[i].when, &s->sip, &d->boot->sip);
        if (routes[i].has_unless)
            adopt_when(&routes[i].unless, &s->sip, &d->boot->sip);
    }
    s->sip = d->boot->sip;
    memcpy(s->turn.listen, d->boot->turn.listen, sizeof(s->turn.listen));
    s->turn.listeners = d->boot->turn.listeners;
    TRY(reload_complete(d, r->config));
    if (!tls_wanted(r->config))
        return ERR_OK;
    buf_init(&r->why_tls, r->why_mem, sizeof(r->why_mem) - 1);
    enum err rc = certs_new(d, s, &r->config->tls, CA_FOR_NAMES, r->wall, &r->why_tls, &r->certs);
    if (rc && rc != ERR_NOMEM) {
        r->why_mem[r->why_tls.n] = '\0';
        r->why = r->why_mem;
    }
    return rc;
}

static void work(struct job *j)
{
    struct reload *r = CONTAINER(j, struct reload, job);
    r->rc = r->rollback ? read_saved(r) : ERR_OK;
    if (r->rc)
        r->why = r->rc == ERR_NOTFOUND ? "there is no earlier configuration"
                                       : "the earlier configuration cannot be read";
    else
        r->rc = config_load(&r->source, &r->report, &r->config);
    if (!r->rc)
        r->rc = adopt(r);
    if (r->rc == ERR_NOMEM)
        r->why = "out of memory";
}

static void loaded(struct loop *at, struct job *j)
{
    struct reload *r = CONTAINER(j, struct reload, job);
    if (loop_stopping(at))
        reload_fail(r, ERR_STATE, "the server is stopping");
    else if (r->rc)
        reload_end(r);
    else
        take_effect(r);
}

void reload_start(struct daemon *d, struct control_request *rq, bool rollback)
{
    const char *why = NULL;
    if (d->signals)
        why = "the server is stopping";
    else if (d->reload || !d->env.ready)
        why = "another reload is under way";
    struct reload *r = why ? NULL : MEM_NEW(struct reload);
    if (!r) {
        if (rq)
            control_error(rq, 503, why ? why : "out of memory");
        else
            d->reload_again = !d->signals; /* what SIGHUP points to is read then */
        return;
    }
    d->reload_again = false;
    d->reload = r;
    r->d = d;
    r->rq = rq;
    r->rollback = rollback;
    r->was_ok = d->env.reload_ok;
    r->wall = loop_wall(d->group->loop[0]);
    r->source = *d->source;
    r->job = (struct job){.work = work, .done = loaded};
    timer_init(&r->again, on_again, r);
    config_report_init(&r->report);
    arena_init(&r->saved, NULL, 0, SAVED_ARENA_MAX);
    buf_init_heap(&r->changed, REPORT_MAX);
    buf_init_heap(&r->restart, REPORT_MAX);
    if (loop_offload(d->group->loop[0], &r->job))
        reload_fail(r, ERR_BUSY, "no helper thread is free");
}

void reload_free_pending(struct daemon *d)
{
    struct reload *r = d->reload;
    if (!r)
        return;
    if (r->rq)
        control_error(r->rq, 503, "the server is stopping");
    reload_free(r);
}
