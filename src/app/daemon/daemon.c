/* SPDX-License-Identifier: MIT */
/* The server: its parts made, run, drained and ended. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/daemon_priv.h"

const char daemon_version[] = TANDEM_VERSION;

enum { NONCE_COUNTS = 1 << 17, DIFFERENCES_MAX = 1024 * 1024, STRANDED_MAX = 64 * 1024 };
#define PHASE_LOOK (100 * USEC_MS)
/* BYEs are spread over two seconds; one that is lost is said again after half a second, one and two. */
#define LEAVE_WAIT (6 * USEC_S)
/* What was said leaves us, by whichever worker. */
#define CUT_WAIT (300 * USEC_MS)
/* What records and bindings take to be written, at most: more than a service manager need know. */
#define STORE_WAIT (30 * USEC_S)

static int start_failed(const char *what, enum err rc)
{
    LOG_ERROR("daemon", "start.failed", F_STR("what", what), F_ERR(rc));
    return 3;
}

/* ---- set-up ---- */

static void setup_log(const struct config *c)
{
    bool json = c->log_format == CONFIG_LOG_JSON ||
                (c->log_format == CONFIG_LOG_AUTO && !isatty(2) && !getenv("JOURNAL_STREAM"));
    log_setup(json, c->log_level);
    reload_log_levels(NULL, c);
}

static int setup_store(struct daemon *d)
{
    char path[1200];
    const char *why = "";
    struct sqlite_config sc = {.path = state_path(d, "tandem.db", path, sizeof(path)),
                               .records_keep = d->config->records_keep};
    memcpy(sc.seed, d->secrets.directory_seed, sizeof(sc.seed));
    struct store_directory *dir;
    struct store_location *loc;
    enum err rc = sqlite_directory_open(&sc, &dir, &why);
    if (rc) {
        LOG_ERROR("daemon", "start.failed",
                  F_STR("what", "the account database (tandem.db) cannot be opened"),
                  F_STR("path", path), F_STR("why", why), F_ERR(rc));
        return 3;
    }
    struct memory_report report;
    struct memory_config mc = {
        .disk = disk_real(),
        .folder = sv_of(d->data),
        .sync = d->config->store_sync,
        .compact_min = d->config->journal_min,
        .group = d->group,
        .wall = loop_wall(d->group->loop[0]),
    };
    memcpy(mc.seed, d->secrets.location_seed, sizeof(mc.seed));
    rc = memory_open(&mc, &loc, &report);
    if (rc) {
        dir->ops->close(dir);
        return start_failed("the location journal cannot be read", rc);
    }
    rc = store_new(loc, dir, &d->store);
    if (rc) {
        loc->ops->close(loc);
        dir->ops->close(dir);
        return start_failed("out of memory", rc);
    }
    if (report.cut_octets)
        LOG_WARN("store", "journal.cut",
                 F_STR("why", "a record was torn or failed its check: the tail was cut off"),
                 F_STR("file", report.cut_name), F_INT("octets", report.cut_octets),
                 F_INT("files", report.cut_files));
    LOG_INFO("store", "journal.recovered", F_INT("records", report.records),
             F_INT("accounts", report.aors), F_INT("bindings", report.bindings));
    return 0;
}

static int setup_sip(struct daemon *d)
{
    struct settings *set = d->config->settings;
    enum err rc = auth_verifier_new(d->secrets.nonces, NONCE_COUNTS, &d->verifier);
    if (!rc)
        rc = sip_shared_new(d->secrets.marks, d->group, &set->sip, &d->sip);
    if (!rc)
        rc = locate_shared_new(d->secrets.cache_seed, d->config->dns_cache, &d->locate);
    if (!rc)
        rc = ports_new(set->media.first_port, set->media.last_port, &d->ports);
    if (!rc)
        rc = session_shared_new(d->ports, &d->media);
    if (!rc && !session_shared_dtls(d->media))
        LOG_WARN("media", "dtls.unsupported",
                 F_STR("why", "this OpenSSL is not 3.0 or 3.1: browsers get no media"));
    if (!rc && d->mode != DAEMON_OFFLINE)
        rc = fetch_new(&d->fetch);
    struct routing_shared shared = {.sip = d->sip,
                                    .store = d->store,
                                    .verifier = d->verifier,
                                    .locate = d->locate,
                                    .media = d->media,
                                    .fetch = d->fetch,
                                    .on_http = page_answer};
    for (unsigned i = 0; i < d->group->n && !rc; i++) {
        struct page *page = &d->page[i];
        *page = (struct page){.d = d, .worker = i};
        page_show(page, set, NULL);
        shared.http_arg = page;
        rc = routing_new(d->group->loop[i], &shared, set, &d->routing[i]);
    }
    if (rc)
        return start_failed("out of memory", rc);
    for (unsigned i = 0; i < d->group->n; i++) {
        for (unsigned k = 0; k < set->sip.listeners; k++) {
            rc = sip_listen(routing_sip(d->routing[i]), k);
            if (rc)
                return start_failed("a listener cannot be opened", rc);
        }
    }
    /* With the ports that were found where the file says 0. */
    if (d->group->n)
        d->boot->sip = *sip_config(routing_sip(d->routing[0]));
    return 0;
}

static void reload_asked(void *arg, struct control_request *rq, bool rollback)
{
    reload_start(arg, rq, rollback);
}

/* As root still, where we began so: a port below 1024 may be asked for. */
static int setup_http(struct daemon *d)
{
    struct config *c = d->config;
    d->env = (struct control_env){
        .group = d->group,
        .turn = d->turn_shared,
        .turn_uris = buf_sv(&d->turn_uris),
        .routing = d->routing,
        .store = d->store,
        .version = daemon_version,
        .started = loop_wall(d->group->loop[0]),
        .reload_ok = true,
        .settings = c->settings,
        .doubt = state_doubt(d),
        .boot = d->boot,
        .ports = d->ports,
        .config_file = c->file,
        .reload = reload_asked,
        .arg = d,
    };
    enum err rc = control_new(d->group->loop[0], &d->env, sv_of(d->token), &d->control);
    if (rc)
        return start_failed("out of memory", rc);
    if (c->http.family) {
        struct addr http = c->http;
        /* A port that nobody wrote down is nobody's mistake. */
        int code = ports_check_http(&http, !c->http_given);
        if (code)
            return code;
        rc = control_listen_http(d->control, &http, &d->env.http);
        if (rc)
            return start_failed("control.http cannot be opened", rc);
    }
    return 0;
}

/* As whom we run: the socket is his, and he can remove it. */
static int setup_socket(struct daemon *d)
{
    char path[1200], mem[1200];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    if (d->config->socket.n)
        buf_put(&b, d->config->socket);
    else
        buf_str(&b, state_path(d, "control.sock", path, sizeof(path)));
    int code = b.rc ? 0 : state_socket_folder(d, buf_sv(&b), false);
    if (code)
        return code;
    enum err rc = b.rc ? b.rc : control_listen_unix(d->control, buf_sv(&b));
    if (rc) {
        LOG_ERROR("daemon", "start.failed", F_STR("what", "the control socket cannot be opened"),
                  F_SV("path", buf_sv(&b)), F_ERR(rc));
        return 3;
    }
    return 0;
}

static void tell_systemd(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t n = path ? strlen(path) : 0;
    if (n == 0 || n >= sizeof(un.sun_path))
        return;
    memcpy(un.sun_path, path, n);
    if (un.sun_path[0] == '@')
        un.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (sendto(fd, state, strlen(state), MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&un,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
        LOG_WARN("daemon", "systemd", F_STR("error", strerror(errno)));
    close(fd);
}

/* ---- running ---- */

static void put_transport(struct buf *b, enum sip_transport t)
{
    sv name = sip_transport_name(t);
    for (size_t i = 0; i < name.n; i++)
        buf_char(b, sv_lower(name.p[i]));
    buf_char(b, ':');
}

static void log_ready(struct daemon *d)
{
    const struct sip_config *c = &d->boot->sip;
    const struct settings_turn *t = &d->boot->turn;
    char mem[4096], turn_mem[2048];
    struct buf b, turn;
    buf_init(&b, mem, sizeof(mem));
    buf_init(&turn, turn_mem, sizeof(turn_mem));
    for (unsigned i = 0; i < c->listeners; i++) {
        buf_str(&b, i ? " " : "");
        put_transport(&b, c->listen[i].transport);
        addr_print(&b, &c->listen[i].bind);
    }
    for (unsigned i = 0; d->turn_shared && i < t->listeners; i++) {
        buf_str(&turn, i ? " " : "");
        turnserver_put_listen(&turn, &t->listen[i]);
    }
    const struct log_field fields[] = {
        F_SV("listen", buf_sv(&b)), F_SV("domain", d->config->settings->domains[0].name),
        F_INT("accounts", store_accounts(d->store)), F_SV("turn", buf_sv(&turn))};
    if (log_enabled("daemon", LOG_LEVEL_INFO))
        log_emit(LOG_LEVEL_INFO, "daemon", "ready", fields, turn.n > 0 ? 4 : 3);
}

static void on_ready(struct daemon *d)
{
    if (d->signals) /* asked to end before it began */
        return;
    tls_watch(d);
    store_unbind_strays(d->store, d->group->loop[0]);
    d->env.ready = true;
    log_ready(d);
    tell_systemd("READY=1");
    if (d->mode == DAEMON_DEMO)
        demo_start(d);
    if (d->reload_again)
        reload_start(d, NULL, false);
}

static void on_start(struct deferred *def, void *arg)
{
    (void)def;
    struct daemon *d = arg;
    accounts_start(d, d->config->settings, on_ready);
}

struct phase_mail {
    struct mail mail;
    struct daemon *daemon;
    struct routing *routing;
    enum phase phase;
};

/* On its thread: a worker has nothing more to say. */
static void on_left(void *arg)
{
    struct daemon *d = arg;
    if (atomic_fetch_add(&d->left, 1) + 1 == d->group->n)
        worker_group_stop(d->group);
}

/* Adds up what the workers say; the last one's thread tells. */
static void note_rest(struct daemon *d, enum phase phase, const struct routing_rest *rest)
{
    struct phase_rest *sum = &d->rest[phase];
    atomic_fetch_add(&sum->calls, rest->calls);
    atomic_fetch_add(&sum->ringing, rest->ringing);
    atomic_fetch_add(&sum->relayed, rest->relayed);
    atomic_fetch_add(&sum->unanswered, rest->unanswered);
    if (atomic_fetch_add(&sum->told, 1) + 1 < d->group->n)
        return;
    int64_t ringing = (int64_t)sum->ringing, relayed = (int64_t)sum->relayed,
            unanswered = (int64_t)sum->unanswered;
    if (phase == PHASE_LEAVE)
        LOG_INFO("daemon", "leave", F_INT("calls", (int64_t)sum->calls), F_INT("relayed", relayed),
                 F_INT("ringing", ringing), F_INT("unanswered", unanswered),
                 F_INT("wait_ms", LEAVE_WAIT / USEC_MS));
    else if (ringing || relayed || unanswered)
        LOG_WARN("daemon", "cut", F_INT("relayed", relayed), F_INT("ringing", ringing),
                 F_INT("unanswered", unanswered));
}

static void phase_worker(struct loop *at, struct mail *m)
{
    struct phase_mail *pm = CONTAINER(m, struct phase_mail, mail);
    struct routing_rest rest;
    if (loop_stopping(at)) {
        mem_free(pm);
        return;
    }
    switch (pm->phase) {
    case PHASE_LEAVE:
        routing_rest(pm->routing, &rest);
        routing_leave(pm->routing, on_left, pm->daemon);
        note_rest(pm->daemon, pm->phase, &rest);
        break;
    case PHASE_CUT:
        routing_cut(pm->routing, &rest);
        note_rest(pm->daemon, pm->phase, &rest);
        break;
    default:
        routing_drain(pm->routing);
        break;
    }
    mem_free(pm);
}

/* Those whose mailbox was full are told with the next look. */
static void tell_phase(struct daemon *d)
{
    for (unsigned i = 0; i < d->group->n; i++) {
        struct phase_mail *m = d->told[i] == d->phase ? NULL : MEM_NEW(struct phase_mail);
        if (!m)
            continue;
        *m = (struct phase_mail){
            .mail = {.fn = phase_worker}, .daemon = d, .routing = d->routing[i], .phase = d->phase};
        if (loop_mail(d->group->loop[i], &m->mail))
            mem_free(m);
        else
            d->told[i] = d->phase;
    }
}

static void enter_phase(struct daemon *d, enum phase phase, usec wait)
{
    struct loop *l = d->group->loop[0];
    d->phase = phase;
    d->phase_until = loop_now(l) + wait;
    loop_timer(l, &d->phase_timer, 0);
}

static void on_phase(struct timer *t, void *arg)
{
    struct daemon *d = arg;
    struct loop *l = d->group->loop[0];
    bool over = loop_now(l) >= d->phase_until;
    tell_phase(d);
    if (d->phase == PHASE_CUT && over)
        worker_group_stop(d->group);
    else if (d->phase == PHASE_LEAVE && over)
        enter_phase(d, PHASE_CUT, CUT_WAIT);
    else if (d->phase == PHASE_DRAIN && (over || loop_stat(d->group, STAT_CALLS) <= 0))
        enter_phase(d, PHASE_LEAVE, LEAVE_WAIT);
    else
        loop_timer(l, t, PHASE_LOOK);
}

static void drain(struct daemon *d)
{
    char state[64];
    LOG_INFO("daemon", "drain", F_INT("calls", loop_stat(d->group, STAT_CALLS)),
             F_INT("wait_ms", d->config->settings->drain / USEC_MS));
    usec most = d->config->settings->drain + LEAVE_WAIT + CUT_WAIT + STORE_WAIT;
    snprintf(state, sizeof(state), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%lld", (long long)most);
    tell_systemd(state);
    d->env.draining = true;
    enter_phase(d, PHASE_DRAIN, d->config->settings->drain);
}

static void on_signal(int signum, void *arg)
{
    struct daemon *d = arg;
    if (signum == SIGHUP)
        reload_start(d, NULL, false);
    else if (signum != SIGTERM && signum != SIGINT)
        return;
    else if (++d->signals == 1)
        drain(d);
    else if (d->phase != PHASE_CUT)
        enter_phase(d, PHASE_CUT, CUT_WAIT);
    else
        worker_group_stop(d->group);
}

/* ---- the whole ---- */

static void take_down(struct daemon *d)
{
    demo_free(d);
    reload_free_pending(d);
    accounts_free_pending(d);
    control_free(d->control);
    turn_free(d);
    for (unsigned i = 0; d->group && i < d->group->n; i++)
        routing_free(d->routing[i]);
    if (d->sip)
        sip_shared_free(d->sip);
    for (unsigned i = 0; i < LOOP_WORKERS_MAX; i++)
        page_done(&d->page[i]);
    tls_free(d);
    auth_verifier_free(d->verifier);
    locate_shared_free(d->locate);
    session_shared_free(d->media);
    ports_free(d->ports);
    fetch_free(d->fetch);
    if (d->store)
        store_close(d->store);
    worker_group_free(d->group);
    state_close(d);
    crypto_wipe(&d->secrets, sizeof(d->secrets));
    crypto_wipe(d->token, sizeof(d->token));
}

static int set_up_state(struct daemon *d)
{
    unsigned workers = d->config->workers ? d->config->workers : worker_cores();
    int code = user_find(d);
    if (!code)
        code = state_open(d);
    if (!code)
        code = state_secrets(d);
    if (code)
        return code;
    enum err rc = worker_group_new(d->mode == DAEMON_OFFLINE ? 1 : workers, &d->group);
    if (rc)
        return start_failed("no event loops", rc);
    deferred_init(&d->start, on_start, d);
    timer_init(&d->phase_timer, on_phase, d);
    code = setup_store(d);
    if (!code)
        code = state_domain(d);
    if (!code && reload_complete(d, d->config))
        code = start_failed("out of memory", ERR_NOMEM);
    if (!code && d->config->dns_servers_n &&
        worker_dns_servers(d->group, d->config->dns_servers, d->config->dns_servers_n))
        code = start_failed("dns.servers cannot be used", ERR_SYNTAX);
    return code;
}

/* What a start leaves in the data folder in place of what was there, so that one that fails, with a file
 * that nobody meant perhaps, takes away neither the authority that phones trust nor the way back. */
static int set_up_kept(struct daemon *d)
{
    if (d->mode == DAEMON_OFFLINE)
        return 0;
    int code = tls_setup(d);
    if (!code && saved_keep(d, d->config))
        LOG_WARN("daemon", "config.keep",
                 F_STR("why", "the configuration cannot be kept: no reload --rollback to it"));
    return code;
}

/* Before the configuration is read: `total_connections: auto` looks at the descriptors. */
static void set_limits(void)
{
    struct rlimit files, core = {0, 0};
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files) != 0)
            LOG_WARN("daemon", "limits", F_STR("error", strerror(errno)));
    }
    /* A core would hold hashes and secrets (D39). */
    if (setrlimit(RLIMIT_CORE, &core) != 0)
        LOG_WARN("daemon", "limits", F_STR("error", strerror(errno)));
}

static int set_up(struct daemon *d)
{
    int code = set_up_state(d);
    if (!code)
        code = user_leave(d);
    if (!code)
        code = ports_check(d);
    if (!code)
        code = setup_sip(d);
    if (!code)
        code = turn_setup(d);
    if (!code)
        code = setup_http(d);
    if (!code && d->config->socket.n)
        code = state_socket_folder(d, d->config->socket, true);
    if (!code)
        code = user_become(d);
    if (!code)
        code = setup_socket(d);
    if (!code) /* when nothing else can fail */
        code = set_up_kept(d);
    return code;
}

/* An offline server ends with whom it serves. After user_become: it is forgotten there. */
static bool follow_parent(struct daemon *d)
{
    return d->mode != DAEMON_OFFLINE ||
           (prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() == d->parent);
}

static const int our_signals[] = {SIGTERM, SIGINT, SIGHUP};
enum { OUR_SIGNALS = sizeof(our_signals) / sizeof(our_signals[0]) };

/* Signals that come during the set-up wait for its end, so that nothing half made stays behind. */
static void hold_signals(bool on)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < OUR_SIGNALS; i++)
        sigaddset(&set, our_signals[i]);
    pthread_sigmask(on ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

/* The process ends by itself, whoever says again that it should. */
static void ignore_signals(void)
{
    for (size_t i = 0; i < OUR_SIGNALS; i++)
        signal(our_signals[i], SIG_IGN);
}

static int serve(struct daemon *d)
{
    struct config *c = d->config;
    LOG_INFO("daemon", "start", F_STR("version", daemon_version),
             F_SV("config", c->file.p ? c->file : SV("embedded defaults")), F_SV("data", c->data),
             F_INT("process", getpid()));
    hold_signals(true);
    int code = set_up(d);
    if (!code && follow_parent(d)) {
        worker_on_signal(d->group, on_signal, d);
        hold_signals(false);
        loop_defer(d->group->loop[0], &d->start);
        enum err rc = worker_group_run(d->group);
        code = rc ? start_failed("no threads", rc) : 0;
        loop_defer_cancel(&d->start);
    }
    hold_signals(true); /* none is caught from here on */
    take_down(d);
    ignore_signals();
    hold_signals(false);
    if (!code)
        LOG_INFO("daemon", "end", F_INT("process", getpid()));
    return code;
}

int daemon_serve(const struct config_source *src, enum daemon_mode mode, const char *program)
{
    struct config_report report;
    struct daemon d = {
        .source = src, .mode = mode, .program = program, .lock_fd = -1, .parent = (int)getppid()};
    umask(0077);
    set_limits();
    if (crypto_start())
        return start_failed("no MD5 or SHA-256 in libcrypto", ERR_UNSUPPORTED);
    config_report_init(&report);
    enum err rc = config_load(src, &report, &d.config);
    if (rc || mode != DAEMON_OFFLINE)
        reload_print(&report);
    config_report_done(&report);
    if (rc)
        return rc == ERR_SYNTAX ? 1 : start_failed("the configuration cannot be read", rc);
    setup_log(d.config);
    if (mode == DAEMON_OFFLINE) {
        log_setup(false, LOG_LEVEL_ERROR);
        d.config->settings->sip.listeners = 0;
        d.config->http.family = 0;
    }
    pthread_mutex_init(&d.ca_lock, NULL);
    d.boot = settings_ref(d.config->settings);
    d.booted = d.config;
    buf_init_heap(&d.restart, DIFFERENCES_MAX);
    buf_init_heap(&d.stranded, STRANDED_MAX);
    int code = serve(&d);
    settings_unref(d.boot);
    if (d.booted != d.config)
        config_free(d.booted);
    config_free(d.config);
    buf_done(&d.restart);
    buf_done(&d.stranded);
    pthread_mutex_destroy(&d.ca_lock);
    return code;
}
