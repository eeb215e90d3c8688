/* SPDX-License-Identifier: MIT */
/* What was read, checked across keys and made into the settings and the rest of struct config. */
#include <stdlib.h>
#include <sys/resource.h>

#include "config/config_priv.h"
#include "fetch/fetch.h"
#include "worker/worker.h"

/* Descriptors that are not connections: listeners, the store, loops, the log. */
enum { DESCRIPTORS_RESERVE = 256 };
/* With `auto`, however many descriptors there are: tables for them are made at start. */
enum { CONNECTIONS_AUTO_MAX = 100000 };
enum { JOURNAL_MIN_DEFAULT = 4 * 1024 * 1024 };

static const struct config_value *value(const struct config_reader *r, enum config_id id)
{
    return &r->c->values[id];
}

static void copy(struct config_reader *r, sv from, sv *ret_to)
{
    if (sv_dup(&r->c->pub.settings->arena, from, ret_to))
        r->nomem = true;
}

/* ---- domains ---- */

/* The domain before `until` that has the name as its own or as an alias. */
static const struct config_domain *domain_with(const struct config_reader *r, sv name,
                                               const struct config_domain *until)
{
    for (const struct config_domain *x = r->c->domains; x && x != until; x = x->next) {
        if (sv_eq(x->name, name))
            return x;
        for (unsigned i = 0; i < x->aliases_n; i++) {
            if (sv_eq(x->aliases[i], name))
                return x;
        }
    }
    return NULL;
}

static void name_twice(struct config_reader *r, const struct config_domain *x, sv name,
                       const struct config_domain *other)
{
    char place[CONFIG_SHOWN];
    config_error(r, x->at, SV("keep one of them"), "domains: " SV_FMT " is named in %s as well",
                 SV_ARG(name), config_place_text(other->at, place));
}

static void one_domain(struct config_reader *r, const struct config_domain *x,
                       struct settings_domain *out)
{
    const struct config_domain *other = domain_with(r, x->name, x);
    if (other)
        name_twice(r, x, x->name, other);
    for (unsigned i = 0; i < x->aliases_n; i++) {
        other = domain_with(r, x->aliases[i], x);
        if (!other && sv_eq(x->aliases[i], x->name))
            other = x;
        for (unsigned k = 0; k < i && !other; k++)
            other = sv_eq(x->aliases[k], x->aliases[i]) ? x : NULL;
        if (other)
            name_twice(r, x, x->aliases[i], other);
        copy(r, x->aliases[i], &out->aliases[i]);
    }
    out->aliases_n = x->aliases_n;
    copy(r, x->name, &out->name);
    copy(r, sv_present(x->realm) ? x->realm : x->name, &out->realm);
    out->digest = x->digest;
    /* An empty policy means that of security.digest: there is no other way to say auto. */
    if (x->has_digest && x->digest.mode == AUTH_MODE_AUTO &&
        value(r, CONFIG_K_SECURITY_DIGEST)->digest_listed)
        config_error(r, x->digest_at, SV("name the algorithms"),
                     "domains[].digest: cannot be auto while security.digest is a list");
}

static void domains(struct config_reader *r)
{
    struct settings *s = r->c->pub.settings;
    s->domains_n = 0;
    s->domains[0] = (struct settings_domain){.aliases_n = 0};
    for (const struct config_domain *x = r->c->domains; x; x = x->next) {
        if (s->domains_n == SETTINGS_DOMAINS_MAX) {
            config_error(r, x->at, SV_NONE, "domains: more than %d", SETTINGS_DOMAINS_MAX);
            return;
        }
        one_domain(r, x, &s->domains[s->domains_n++]);
    }
    r->c->pub.domains_given = s->domains_n > 0;
}

/* ---- listeners ---- */

static bool bound_before(struct config_reader *r, const struct config_listener *l,
                         const struct addr *a)
{
    char place[CONFIG_SHOWN];
    for (const struct config_listener *x = r->c->listeners; x && a->port != 0; x = x->next) {
        for (unsigned i = 0; i < x->addrs_n; i++) {
            if (&x->addrs[i] == a)
                return false;
            /* All but UDP are TCP below. */
            if ((x->transport == SIP_T_UDP) != (l->transport == SIP_T_UDP) ||
                !addr_equal(&x->addrs[i], a))
                continue;
            config_error(
                r, l->at, SV("keep one of them"), "listen: " SV_FMT " is bound by %s as well",
                SV_ARG(sv_sub(l->text, 0, CONFIG_SHOWN_MAX)), config_place_text(x->at, place));
            return true;
        }
    }
    return false;
}

/* What is told of a listener's address: the zone's, else that of all. */
static const struct config_value *told(const struct config_reader *r,
                                       const struct config_listener *l)
{
    for (const struct config_zone *z = r->c->zones; z; z = z->next) {
        if (z->advertise.set && sv_eq(z->name, sv_present(l->zone) ? l->zone : SV("default")))
            return &z->advertise;
    }
    return value(r, CONFIG_K_ADVERTISE);
}

/* The long form's fields, for each address. */
static void fill_listener(struct config_reader *r, const struct config_listener *l,
                          struct sip_listen *x)
{
    x->freebind = l->freebind;
    for (unsigned i = 0; i < l->origins_n; i++)
        copy(r, l->origins[i], &x->origins[i]);
    x->origins_n = l->origins_n;
    for (const struct config_net *n = l->proxies; n; n = n->next)
        x->proxies[x->proxies_n++] = n->net;
}

static void one_listener(struct config_reader *r, const struct config_listener *l)
{
    struct sip_config *c = &r->c->pub.settings->sip;
    const struct config_value *tell = told(r, l);
    unsigned zone = 0;
    if (sv_present(l->zone) && !config_zone_of(r, l->zone, &zone)) {
        config_error(r, l->zone_at, SV("name it under zones"),
                     "listen[].zone: there is no zone " SV_FMT,
                     SV_ARG(sv_sub(l->zone, 0, CONFIG_SHOWN_MAX)));
        return;
    }
    for (unsigned i = 0; i < l->addrs_n; i++) {
        if (bound_before(r, l, &l->addrs[i]))
            return;
        if (c->listeners == SIP_LISTENERS_MAX) {
            config_error(r, l->at, SV_NONE, "listen: more than %d addresses", SIP_LISTENERS_MAX);
            return;
        }
        struct sip_listen *x = &c->listen[c->listeners++];
        *x = (struct sip_listen){
            .transport = l->transport, .bind = l->addrs[i], .zone = (uint8_t)zone};
        fill_listener(r, l, x);
        /* An address is told on listeners of its family; a name on all. */
        bool same = tell->addr.family == 0 || tell->addr.family == l->addrs[i].family;
        if (tell->text.n > 0 && same)
            copy(r, tell->text, &x->advertise);
    }
}

static void listeners(struct config_reader *r)
{
    r->c->pub.listen_given = r->c->listeners_n > 0;
    if (!value(r, CONFIG_K_LISTEN)->set && r->c->listeners_n == 0)
        config_default_items(r, CONFIG_K_LISTEN);
    for (const struct config_listener *l = r->c->listeners; l; l = l->next)
        one_listener(r, l);
}

/* ---- accounts ---- */

/* A name that must be an account's alone. */
struct claim {
    sv name, domain; /* domain: of a user name, else empty */
    bool user;
    size_t order;
    const struct config_account *account;
};

static int by_name(const void *x, const void *y)
{
    const struct claim *a = x, *b = y;
    int c = sv_cmp(a->name, b->name);
    if (c == 0) /* numbers first: they clash with whatever follows */
        c = (int)a->user - (int)b->user;
    if (c == 0)
        c = sv_cmp(a->domain, b->domain);
    return c ? c : (a->order > b->order) - (a->order < b->order);
}

static void clash(struct config_reader *r, const struct claim *a, const struct claim *b)
{
    const struct claim *late = a->order > b->order ? a : b, *early = late == a ? b : a;
    char place[CONFIG_SHOWN];
    config_error(r, late->account->at, SV("a name or number belongs to one account"),
                 "accounts: %s '" SV_FMT "' is used in %s as well", late->user ? "user" : "number",
                 SV_ARG(sv_sub(late->name, 0, CONFIG_SHOWN_MAX)),
                 config_place_text(early->account->at, place));
}

static void check_claims(struct config_reader *r, struct claim *claims, size_t n)
{
    if (n > 0)
        qsort(claims, n, sizeof(*claims), by_name);
    size_t head = 0;
    for (size_t i = 1; i < n; i++) {
        const struct claim *h = &claims[head], *c = &claims[i], *before = &claims[i - 1];
        if (!sv_eq(h->name, c->name))
            head = i;
        else if (c->user && before->user && sv_eq(before->domain, c->domain))
            clash(r, before, c);
        else if (!h->user && (h->account != c->account || !c->user))
            clash(r, h, c);
    }
}

/* Its domain: one that is ours, else an error. */
static sv account_domain(struct config_reader *r, const struct config_account *a)
{
    if (!sv_present(a->domain))
        return r->c->domains ? r->c->domains->name : SV("");
    for (const struct config_domain *x = r->c->domains; x; x = x->next) {
        if (sv_eq(x->name, a->domain))
            return x->name;
    }
    config_error(r, a->at, SV("name it under domains, or leave it out for the first domain"),
                 "accounts[].user: " SV_FMT " is none of the domains", SV_ARG(a->domain));
    return a->domain;
}

static void one_account(struct config_reader *r, const struct config_account *a, sv domain,
                        struct settings_account *out)
{
    char place[CONFIG_SHOWN];
    int64_t least = value(r, CONFIG_K_SECURITY_PASSWORDS_MINIMUM)->n;
    copy(r, a->user, &out->user);
    copy(r, domain, &out->domain);
    copy(r, sv_present(a->name) ? a->name : SV(""), &out->name);
    for (unsigned i = 0; i < a->numbers_n; i++)
        copy(r, a->numbers[i], &out->numbers[i]);
    out->numbers_n = a->numbers_n;
    copy(r, sv_of(config_place_text(a->at, place)), &out->origin);
    if (!sv_present(a->password))
        return;
    copy(r, a->password, &out->password);
    if (a->password.n < (size_t)least)
        config_error(r, a->password_at, SV("see security.passwords.minimum"),
                     "accounts[].password: has fewer than %d characters", (int)least);
}

static void accounts(struct config_reader *r)
{
    struct settings *s = r->c->pub.settings;
    size_t n = r->c->accounts_n, claims_n = 0, i = 0;
    struct settings_account *out = arena_calloc(&s->arena, n, sizeof(*out));
    struct claim *claims = arena_calloc(r->arena, n * (STORE_NUMBERS_MAX + 1), sizeof(*claims));
    if (!out || !claims) {
        r->nomem = true;
        return;
    }
    for (const struct config_account *a = r->c->accounts; a; a = a->next, i++) {
        sv domain = account_domain(r, a);
        one_account(r, a, domain, &out[i]);
        claims[claims_n] = (struct claim){a->user, domain, true, claims_n, a};
        claims_n++;
        for (unsigned k = 0; k < a->numbers_n; k++, claims_n++)
            claims[claims_n] = (struct claim){a->numbers[k], SV(""), false, claims_n, a};
    }
    check_claims(r, claims, claims_n);
    s->accounts = out;
    s->accounts_n = n;
}

/* ---- scalars ---- */

/* Connections of one worker. */
static unsigned connections(const struct config_reader *r)
{
    unsigned workers = r->c->pub.workers ? r->c->pub.workers : worker_cores();
    uint64_t total = (uint64_t)value(r, CONFIG_K_SECURITY_LIMITS_TOTAL_CONNECTIONS)->n;
    struct rlimit limit;
    if (total == 0) {
        total = CONNECTIONS_AUTO_MAX;
        if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur != RLIM_INFINITY) {
            uint64_t left = limit.rlim_cur > 2 * DESCRIPTORS_RESERVE
                                ? limit.rlim_cur - DESCRIPTORS_RESERVE
                                : limit.rlim_cur / 2;
            total = left < total ? left : total;
        }
    }
    return total / workers > 0 ? (unsigned)(total / workers) : 1;
}

/* What can be dialled, and is no account's name. */
static void apply_codes(struct config_reader *r)
{
    enum { CODE_MAX = 16 };
    const struct config_value *v = value(r, CONFIG_K_CODES_ECHO);
    bool good = v->text.n <= CODE_MAX;
    for (size_t i = 0; i < v->text.n; i++)
        good = good && sv_chr(SV("0123456789*#"), v->text.p[i]) < 12;
    if (good)
        copy(r, v->text, &r->c->pub.settings->codes.echo);
    else
        config_error(r, v->at, SV("such as \"*43\""),
                     "codes.echo: is not what a phone dials: up to %d of 0-9, * and #", CODE_MAX);
}

static void media(struct settings *s, const struct config_value *v)
{
    struct settings_media *m = &s->media;
    m->first_port = (uint16_t)v[CONFIG_K_MEDIA_PORTS].n;
    m->last_port = (uint16_t)v[CONFIG_K_MEDIA_PORTS].n2;
    m->mode = (enum settings_media_mode)v[CONFIG_K_MEDIA_MODE].n;
    m->srtp = (enum settings_media_srtp)v[CONFIG_K_MEDIA_SRTP].n;
    m->codecs_n = config_words_n(&v[CONFIG_K_MEDIA_CODECS]);
    for (unsigned i = 0; i < m->codecs_n; i++)
        m->codecs[i] = (enum settings_codec)config_words_at(&v[CONFIG_K_MEDIA_CODECS], i);
    m->transcode = v[CONFIG_K_MEDIA_TRANSCODE].n != 0;
    m->dtmf = (enum settings_dtmf)v[CONFIG_K_MEDIA_DTMF].n;
    m->t38 = v[CONFIG_K_MEDIA_T38].n != 0;
    m->latch = v[CONFIG_K_MEDIA_LATCH].n;
    m->silence = v[CONFIG_K_MEDIA_SILENCE].n;
    m->dscp = (uint8_t)v[CONFIG_K_MEDIA_DSCP].n;
    m->bandwidth = (uint64_t)v[CONFIG_K_MEDIA_BANDWIDTH].n;
    m->quota = (unsigned)v[CONFIG_K_MEDIA_QUOTA].n;
}

static void scalars(struct config_reader *r)
{
    struct settings *s = r->c->pub.settings;
    const struct config_value *v = r->c->values;
    s->sip.t1 = v[CONFIG_K_SIP_T1].n;
    s->sip.t2 = v[CONFIG_K_SIP_T2].n;
    s->sip.t4 = v[CONFIG_K_SIP_T4].n;
    s->sip.max_message = (size_t)v[CONFIG_K_SIP_MAX_MESSAGE].n;
    s->sip.mtu = (unsigned)v[CONFIG_K_SIP_MTU].n;
    s->sip.connections = connections(r);
    s->sip.connections_source = (unsigned)v[CONFIG_K_SECURITY_LIMITS_CONNECTIONS].n;
    s->sip.new_connections = (unsigned)v[CONFIG_K_SECURITY_LIMITS_NEW_CONNECTIONS].n;
    s->sip.handshake = v[CONFIG_K_SECURITY_LIMITS_HANDSHAKE].n;
    s->sip.idle = v[CONFIG_K_SECURITY_LIMITS_IDLE].n;
    s->ringing = v[CONFIG_K_SIP_RINGING].n;
    s->server_hidden = sv_eq(v[CONFIG_K_SIP_SERVER].text, SV("hidden"));
    if (!s->server_hidden)
        copy(r, v[CONFIG_K_SIP_SERVER].text, &s->server);
    apply_codes(r);
    s->breadth = (unsigned)v[CONFIG_K_SIP_BREADTH].n;
    s->session_timer = v[CONFIG_K_SIP_SESSION_TIMER].n;
    s->min_se = v[CONFIG_K_SIP_MIN_SE].n;
    s->keepalive = v[CONFIG_K_REGISTRAR_KEEPALIVE].n;
    s->outbound = v[CONFIG_K_REGISTRAR_OUTBOUND].n != 0;
    s->require_tls = v[CONFIG_K_SECURITY_REQUIRE_TLS].n != 0;
    s->push.hold = v[CONFIG_K_PUSH_HOLD].n;
    if (v[CONFIG_K_PUSH_URL].text.n > 0)
        copy(r, v[CONFIG_K_PUSH_URL].text, &s->push.url);
    if (v[CONFIG_K_PUSH_SECRET].text.n > 0)
        copy(r, v[CONFIG_K_PUSH_SECRET].text, &s->push.secret);
    s->expires_min = v[CONFIG_K_REGISTRAR_EXPIRES].n;
    s->expires_max = v[CONFIG_K_REGISTRAR_EXPIRES].n2;
    s->contacts = (unsigned)v[CONFIG_K_REGISTRAR_CONTACTS].n;
    s->digest = v[CONFIG_K_SECURITY_DIGEST].digest;
    s->authenticate = (enum settings_authenticate)v[CONFIG_K_SECURITY_AUTHENTICATE].n;
    s->strangers = (enum settings_strangers)v[CONFIG_K_SECURITY_STRANGERS].n;
    s->password_min = (unsigned)v[CONFIG_K_SECURITY_PASSWORDS_MINIMUM].n;
    media(s, v);
    s->drain = v[CONFIG_K_DRAIN].n;
}

/* A default that the environment gives, as origin of the value. */
static bool from_environment(struct config_reader *r, enum config_id id, const char *name,
                             const char *file)
{
    struct config_value *v = &r->c->values[id];
    const char *text = getenv(name);
    struct buf b;
    if (!text || !*text || v->set)
        return v->set;
    buf_init_heap(&b, 64 * 1024);
    /* systemd's lists folders, separated by colons. */
    bool list = sv_ends(sv_of(name), SV("_DIRECTORY"));
    buf_put(&b, sv_sub(sv_of(text), 0, list ? sv_chr(sv_of(text), ':') : strlen(text)));
    buf_str(&b, file);
    if (b.rc || sv_dup(r->arena, buf_sv(&b), &v->text))
        r->nomem = true;
    buf_done(&b);
    v->set = true;
    v->at = (struct config_place){.line = 0};
    char place[64];
    snprintf(place, sizeof(place), "$%s", name);
    if (sv_dup(r->arena, sv_of(place), &v->at.file))
        r->nomem = true;
    return true;
}

static void process(struct config_reader *r)
{
    struct config *c = &r->c->pub;
    struct config_value *v = r->c->values;
    uint64_t n;
    c->workers = (unsigned)v[CONFIG_K_WORKERS].n;
    c->data_given = from_environment(r, CONFIG_K_DATA, "TANDEM_DATA", "") ||
                    from_environment(r, CONFIG_K_DATA, "STATE_DIRECTORY", "");
    if (!c->data_given)
        v[CONFIG_K_DATA].text = SV("./tandem-data");
    c->data = v[CONFIG_K_DATA].text;
    c->run_as = v[CONFIG_K_RUN_AS].text;
    if (from_environment(r, CONFIG_K_CONTROL_SOCKET, "TANDEM_SOCKET", "") ||
        from_environment(r, CONFIG_K_CONTROL_SOCKET, "RUNTIME_DIRECTORY", "/control.sock"))
        c->socket = v[CONFIG_K_CONTROL_SOCKET].text;
    c->http = v[CONFIG_K_CONTROL_HTTP].addr;
    c->http_given = v[CONFIG_K_CONTROL_HTTP].set;
    c->log_level = (enum log_level)v[CONFIG_K_LOG_LEVEL].n;
    c->log_format = v[CONFIG_K_LOG_FORMAT].n == 0   ? CONFIG_LOG_AUTO
                    : v[CONFIG_K_LOG_FORMAT].n == 1 ? CONFIG_LOG_TEXT
                                                    : CONFIG_LOG_JSON;
    for (unsigned i = 0; i < r->c->modules_n; i++)
        c->levels[c->levels_n++] =
            (struct config_level){r->c->modules[i].module, r->c->modules[i].level};
    c->store_sync = v[CONFIG_K_STORE_SYNC].n;
    c->records_keep = v[CONFIG_K_RECORDS_KEEP].n;
    c->dns_cache = (unsigned)v[CONFIG_K_DNS_CACHE].n;
    const char *journal = getenv("TANDEM_JOURNAL_MIN");
    c->journal_min = JOURNAL_MIN_DEFAULT;
    if (journal && !config_size_parse(sv_of(journal), &n))
        c->journal_min = n;
}

/* ---- across keys ---- */

static void push(struct config_reader *r)
{
    const struct config_value *url = value(r, CONFIG_K_PUSH_URL);
    if (url->text.n == 0)
        return;
    if (!fetch_allowed(url->text)) /* the request carries who is called */
        config_error(r, url->at, SV("such as https://push.example.test/wake; http on the loopback"),
                     "push.url: is not where such a request may go");
    else if (fetch_load())
        config_error(r, url->at, SV("install it (Debian's libcurl4), or leave the key out"),
                     "push.url: needs libcurl (libcurl.so.4), which cannot be loaded");
    else if (value(r, CONFIG_K_PUSH_SECRET)->text.n == 0)
        config_finding(r, url->at, SV("secret: file:PATH"),
                       "push.secret: is not set: whoever gets the requests cannot tell ours");
}

static void across(struct config_reader *r)
{
    const struct config_value *t2 = value(r, CONFIG_K_SIP_T2),
                              *expires = value(r, CONFIG_K_REGISTRAR_EXPIRES);
    const struct config_value *t1 = value(r, CONFIG_K_SIP_T1);
    if (t2->n < t1->n) /* the later one in the file is the one to look at */
        config_error(r, t2->set ? t2->at : t1->at, SV_NONE, "sip.t2: is shorter than sip.t1");
    const struct config_value *timer = value(r, CONFIG_K_SIP_SESSION_TIMER),
                              *min = value(r, CONFIG_K_SIP_MIN_SE);
    if (timer->n != 0 && timer->n < min->n)
        config_error(r, min->set ? min->at : timer->at, SV_NONE,
                     "sip.min_se: is longer than sip.session_timer");
    if (value(r, CONFIG_K_DNS_DNSSEC)->n)
        config_error(r, value(r, CONFIG_K_DNS_DNSSEC)->at, SV("false, or leave the key out"),
                     "dns.dnssec: is not built yet");
    /* RFC 3261 §10.3 step 7: a registrar may refuse as too brief only what is shorter than one
     * hour. */
    if (expires->n > USEC_HOUR)
        config_error(r, expires->at, SV("such as 60s-1h"),
                     "registrar.expires: the shortest may be at most 1h");
}

static void idle_zones(struct config_reader *r)
{
    const struct sip_config *c = &r->c->pub.settings->sip;
    for (const struct config_zone *z = r->c->zones; z; z = z->next) {
        unsigned at = 0, i = 0;
        if (!config_zone_of(r, z->name, &at))
            continue;
        while (i < c->listeners && c->listen[i].zone != at)
            i++;
        if (i == c->listeners)
            config_finding(r, z->at, SV("such as listen: [{bind: udp:5060, zone: NAME}]"),
                           "zones: no listener is in " SV_FMT, SV_ARG(z->name));
    }
}

static void findings(struct config_reader *r)
{
    const struct config_value *authenticate = value(r, CONFIG_K_SECURITY_AUTHENTICATE);
    const struct config_value *strangers = value(r, CONFIG_K_SECURITY_STRANGERS);
    const struct config_value *minimum = value(r, CONFIG_K_SECURITY_PASSWORDS_MINIMUM);
    const struct config_value *digest = value(r, CONFIG_K_SECURITY_DIGEST);
    if (authenticate->n == SETTINGS_AUTH_REGISTER)
        config_finding(r, authenticate->at, SV("authenticate: all"),
                       "security.authenticate: whoever reaches us can call as any of our users");
    if (strangers->n == SETTINGS_STRANGERS_RING)
        config_finding(r, strangers->at, SV("strangers: refuse"),
                       "security.strangers: anybody can make our users' phones ring");
    if (minimum->n < 12)
        config_finding(r, minimum->at, SV("minimum: 12"),
                       "security.passwords.minimum: short passwords are guessed");
    if (digest->digest.n == 1 && digest->digest.list[0] == AUTH_MD5)
        config_finding(r, digest->at, SV("digest: auto"),
                       "security.digest: MD5 alone, although phones take SHA-256");
    const struct config_value *srtp = value(r, CONFIG_K_MEDIA_SRTP);
    if (srtp->n == MEDIA_SRTP_REQUIRE && value(r, CONFIG_K_MEDIA_MODE)->n == MEDIA_NEVER)
        config_finding(r, srtp->at, SV("mode: auto"),
                       "media.srtp: requires nothing of calls whose descriptions pass as they are "
                       "(media.mode: never)");
    idle_zones(r);
}

/* What we are called: pages of these names may open our WebSockets. */
static void own_names(struct settings *s)
{
    for (unsigned i = 0; i < s->domains_n; i++) {
        const struct settings_domain *d = &s->domains[i];
        for (unsigned k = 0; k <= d->aliases_n; k++) {
            if (s->sip.names_n < SIP_OWN_NAMES_MAX)
                s->sip.names[s->sip.names_n++] = k ? d->aliases[k - 1] : d->name;
        }
    }
}

void config_apply(struct config_reader *r)
{
    process(r);
    if (settings_default(SV("localhost"), &r->c->pub.settings)) {
        r->nomem = true;
        return;
    }
    domains(r);
    config_apply_nets(r);
    listeners(r);
    scalars(r);
    own_names(r->c->pub.settings);
    accounts(r);
    across(r);
    push(r);
    config_apply_turn(r);
    config_apply_tls(r);
    config_apply_routes(r);
    findings(r);
}
