/* SPDX-License-Identifier: MIT */
/* The verbs of the server and its configuration: serve, check, config, reload, status,
 * registrations, cert. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli_priv.h"

enum { PRINT_MAX = 16 * 1024 * 1024 };

int cli_serve(struct cli *c)
{
    struct config_source src = cli_source(c);
    if (c->args_n)
        return cli_usage(c, "no arguments are wanted");
    return daemon_serve(&src, c->on[CLI_DEMO] ? DAEMON_DEMO : DAEMON_SERVE, c->program);
}

static json_t *problem_json(const struct config_problem *p)
{
    return json_pack("{s:s%, s:i, s:i, s:s, s:s%, s:s%}", "file", p->file.p ? p->file.p : "",
                     p->file.n, "line", (int)p->line, "column", (int)p->column, "severity",
                     p->severity == CONFIG_ERROR ? "error" : "finding", "text",
                     p->text.p ? p->text.p : "", p->text.n, "hint", p->hint.p ? p->hint.p : "",
                     p->hint.n);
}

/* What media.ports come to. */
struct media_ports {
    unsigned first, last;
    unsigned
        calls; /* with one line of sound: an even port and the next (RTP, RTCP) on both sides */
    bool ephemeral;     /* some of them the kernel gives to others as well */
    unsigned from, to;  /* its own range */
    uint64_t bandwidth; /* media.bandwidth; 0: no cap */
};

static struct media_ports media_ports_of(const struct settings_media *m)
{
    struct media_ports p = {
        .first = m->first_port, .last = m->last_port, .bandwidth = m->bandwidth};
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    p.calls = (p.last + 1 - (p.first + p.first % 2)) / 4;
    if (f && fscanf(f, "%u %u", &p.from, &p.to) == 2)
        p.ephemeral = p.from <= p.last && p.to >= p.first;
    if (f)
        fclose(f);
    return p;
}

static void print_media_ports(const struct media_ports *p)
{
    uint64_t fit = p->bandwidth / 80000;
    printf(
        "media.ports %u-%u: %u call%s with sound, RTP and RTCP on both sides (4 ports a call and "
        "m= line)\n",
        p->first, p->last, p->calls, p->calls == 1 ? "" : "s");
    if (p->bandwidth)
        printf("media.bandwidth: %" PRIu64 " call%s of 80 kbit/s (G.711)\n", fit,
               fit == 1 ? "" : "s");
    if (p->ephemeral)
        printf(
            "warning: media.ports: %u-%u are ports that the kernel gives to others "
            "(net.ipv4.ip_local_port_range is %u-%u): they may be taken when a call wants them\n",
            p->from > p->first ? p->from : p->first, p->to < p->last ? p->to : p->last, p->from,
            p->to);
}

static json_t *turn_json(const struct settings_turn *t)
{
    json_t *list = json_array();
    char mem[128];
    struct buf b;
    for (unsigned i = 0; i < t->listeners; i++) {
        buf_init(&b, mem, sizeof(mem));
        turnserver_put_listen(&b, &t->listen[i]);
        json_array_append_new(list, json_stringn(b.p, b.n));
    }
    return list;
}

static void print_turn(const struct settings_turn *t)
{
    json_t *list = turn_json(t), *v;
    size_t i;
    json_array_foreach(list, i, v) printf("%s %s", i ? "" : "turn.listen", json_string_value(v));
    if (i > 0)
        printf("\n");
    json_decref(list);
}

/* What was found out of a configuration. */
struct checked {
    struct config_report report;
    struct config *config; /* NULL: it cannot be read */
    bool bad, authority, relays;
    struct media_ports ports;
};

static void check_json(const struct checked *k)
{
    json_t *list = json_array();
    for (size_t i = 0; i < k->report.n; i++)
        json_array_append_new(list, problem_json(&k->report.problems[i]));
    json_t *o = json_pack("{s:b, s:i, s:i, s:o, s:b}", "ok", !k->bad, "errors",
                          (int)k->report.errors, "findings", (int)k->report.findings, "problems",
                          list, "new_authority", k->authority);
    if (k->relays)
        json_object_set_new(o, "media",
                            json_pack("{s:i, s:b}", "calls", (int)k->ports.calls, "ephemeral_ports",
                                      k->ports.ephemeral));
    if (k->config)
        json_object_set_new(o, "turn", turn_json(&k->config->settings->turn));
    cli_print_json(o);
    json_decref(o);
}

static void check_text(const struct checked *k)
{
    struct buf b;
    buf_init_heap(&b, PRINT_MAX);
    config_report_print(&k->report, &b);
    fwrite(b.p ? b.p : "", 1, b.n, stdout);
    buf_done(&b);
    if (k->report.n)
        printf("%zu error%s, %zu finding%s\n", k->report.errors, k->report.errors == 1 ? "" : "s",
               k->report.findings, k->report.findings == 1 ? "" : "s");
    else
        printf("the configuration is fine\n");
    if (k->relays)
        print_media_ports(&k->ports);
    if (k->config)
        print_turn(&k->config->settings->turn);
    if (k->authority)
        printf("warning: tls: this makes a new authority: phones that trust the old one must "
               "trust the new one\n");
}

int cli_check(struct cli *c)
{
    struct checked k = {.config = NULL};
    struct config_source src = cli_source(c);
    if (c->args_n > 1)
        return cli_usage(c, "one file at a time");
    if (c->args_n)
        src.path = c->args[0];
    config_report_init(&k.report);
    enum err rc = config_load(&src, &k.report, &k.config);
    k.bad = rc != ERR_OK || (c->on[CLI_STRICT] && k.report.findings);
    k.authority = k.config && daemon_new_authority(k.config);
    k.relays = k.config && k.config->settings->media.mode != MEDIA_NEVER;
    if (k.relays)
        k.ports = media_ports_of(&k.config->settings->media);
    if (c->on[CLI_JSON])
        check_json(&k);
    else
        check_text(&k);
    if (k.config)
        config_free(k.config);
    config_report_done(&k.report);
    return k.bad ? CLI_NO : CLI_OK;
}

static int print_effective(struct cli *c, struct buf *b)
{
    struct config_report report;
    struct config *config = NULL;
    struct config_source src = cli_source(c);
    config_report_init(&report);
    enum err rc = config_load(&src, &report, &config);
    if (rc) {
        config_report_print(&report, b);
        fwrite(b->p ? b->p : "", 1, b->n, stderr);
        config_report_done(&report);
        return CLI_NO;
    }
    config_report_done(&report);
    rc = config_print_effective(config, b);
    config_free(config);
    return rc ? CLI_FAILED : CLI_OK;
}

int cli_config(struct cli *c)
{
    struct buf b;
    int code = CLI_OK;
    if (c->args_n)
        return cli_usage(c, "no arguments are wanted");
    buf_init_heap(&b, PRINT_MAX);
    if (c->on[CLI_SCHEMA])
        code = config_print_schema(&b) ? CLI_FAILED : CLI_OK;
    else if (c->on[CLI_REFERENCE])
        code = config_print_reference(&b) ? CLI_FAILED : CLI_OK;
    else if (c->on[CLI_DEFAULTS])
        code = config_print_defaults(&b) ? CLI_FAILED : CLI_OK;
    else
        code = print_effective(c, &b);
    if (code == CLI_OK)
        fwrite(b.p ? b.p : "", 1, b.n, stdout);
    else if (code == CLI_FAILED)
        fprintf(stderr, "tandem config: out of memory\n");
    buf_done(&b);
    return code;
}

const char *cli_member(json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s ? s : "";
}

static void print_list(const char *title, json_t *list)
{
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        printf("%s", title);
        cli_put(stdout, json_string_value(v));
        printf("\n");
    }
}

int cli_reload(struct cli *c)
{
    unsigned status;
    json_t *a, *v;
    size_t i;
    if (c->args_n)
        return cli_usage(c, "no arguments are wanted");
    int code = cli_ask(c, "POST", c->on[CLI_ROLLBACK] ? "/api/v1/rollback" : "/api/v1/reload", NULL,
                       CLI_ONLINE, &status, &a);
    if (code)
        return code;
    if (!json_object_get(a, "ok"))
        return cli_refused(c, status, a);
    if (c->on[CLI_JSON]) {
        cli_print_json(a);
    } else {
        json_array_foreach(json_object_get(a, "problems"), i, v)
        {
            long long line = (long long)json_integer_value(json_object_get(v, "line"));
            cli_put(stdout, cli_member(v, "file"));
            if (line > 0)
                printf(":%lld:%lld", line,
                       (long long)json_integer_value(json_object_get(v, "column")));
            printf(": ");
            cli_put(stdout, cli_member(v, "severity"));
            printf(": ");
            cli_put(stdout, cli_member(v, "text"));
            printf("%s", cli_member(v, "hint")[0] ? "; " : "");
            cli_put(stdout, cli_member(v, "hint"));
            printf("\n");
        }
        print_list("changed: ", json_object_get(a, "changed"));
        print_list("needs a restart: ", json_object_get(a, "restart"));
        print_list("warning: ", json_object_get(a, "warnings"));
        printf("%s\n", status == 200 ? "reloaded" : "refused: the server goes on as it was");
    }
    json_decref(a);
    return status == 200 ? CLI_OK : CLI_NO;
}

int cli_show(struct cli *c, const char *path, const char *key, enum cli_offline offline,
             void (*fn)(json_t *a))
{
    unsigned status;
    json_t *a;
    if (c->args_n)
        return cli_usage(c, "no arguments are wanted");
    int code = cli_ask(c, "GET", path, NULL, offline, &status, &a);
    if (code)
        return code;
    if (status != 200)
        return cli_refused(c, status, a);
    if (key)
        cli_sort(a, key, NULL);
    if (c->on[CLI_JSON])
        cli_print_json(a);
    else
        fn(a);
    json_decref(a);
    return CLI_OK;
}

void cli_put_duration(long long s)
{
    if (s >= 86400)
        printf("%lld d ", s / 86400);
    if (s >= 3600)
        printf("%lld h ", s / 3600 % 24);
    if (s >= 60)
        printf("%lld min ", s / 60 % 60);
    printf("%lld s", s % 60);
}

static void status_text(json_t *a)
{
    const char *key;
    json_t *v;
    size_t longest = 14;
    json_object_foreach(a, key, v) longest = strlen(key) > longest ? strlen(key) : longest;
    json_object_foreach(a, key, v)
    {
        if (json_is_array(v) && json_array_size(v) == 0)
            continue;
        printf("%-*s ", (int)longest, key);
        if (strcmp(key, "uptime") == 0 && json_is_integer(v))
            cli_put_duration((long long)json_integer_value(v));
        else if (json_is_string(v))
            cli_put(stdout, json_string_value(v));
        else if (json_is_integer(v))
            printf("%lld", (long long)json_integer_value(v));
        else if (json_is_null(v))
            printf("none: embedded defaults");
        size_t i;
        json_t *e;
        json_array_foreach(v, i, e)
        {
            printf("%s", i ? ", " : "");
            cli_put(stdout, json_string_value(e));
        }
        printf("\n");
    }
}

int cli_status(struct cli *c)
{
    return cli_show(c, "/api/v1/status", NULL, CLI_ONLINE, status_text);
}

static void registrations_text(json_t *a)
{
    size_t i, k;
    json_t *r, *x;
    json_array_foreach(a, i, r)
    {
        cli_put(stdout, cli_member(r, "account"));
        printf("\n");
        json_array_foreach(json_object_get(r, "contacts"), k, x)
        {
            printf("    ");
            cli_put(stdout, cli_member(x, "uri"));
            printf("  ");
            cli_put(stdout, cli_member(x, "transport"));
            printf(" from ");
            cli_put(stdout, cli_member(x, "source"));
            printf(", %lld s left", (long long)json_integer_value(json_object_get(x, "expires")));
            if (cli_member(x, "agent")[0]) {
                printf(", ");
                cli_put(stdout, cli_member(x, "agent"));
            }
            printf("%s\n", json_is_false(json_object_get(x, "connected"))
                               ? " (its connection is gone)"
                               : "");
        }
    }
    if (json_array_size(a) == 0)
        printf("nobody is registered\n");
}

int cli_registrations(struct cli *c)
{
    return cli_show(c, "/api/v1/registrations", "account", CLI_ONLINE, registrations_text);
}

static void put_member_line(const char *title, json_t *o, const char *name)
{
    printf("%-14s ", title);
    cli_put(stdout, cli_member(o, name));
    printf("\n");
}

static void one_cert_text(json_t *c)
{
    json_t *v;
    size_t i;
    put_member_line("subject", c, "subject");
    printf("%-14s ", "names");
    json_array_foreach(json_object_get(c, "names"), i, v)
    {
        printf("%s", i ? ", " : "");
        cli_put(stdout, json_string_value(v));
    }
    printf("\n");
    put_member_line("issuer", c, "issuer");
    put_member_line("fingerprint", c, "fingerprint");
    put_member_line("since", c, "since");
    put_member_line("expires", c, "expires");
}

static void cert_text(json_t *a)
{
    json_t *ca = json_object_get(a, "ca"), *v;
    size_t i;
    one_cert_text(json_object_get(a, "certificate"));
    json_array_foreach(json_object_get(a, "sni"), i, v)
    {
        printf("\n");
        one_cert_text(v);
    }
    if (json_is_object(ca))
        put_member_line("ca fingerprint", ca, "fingerprint");
}

int cli_cert(struct cli *c)
{
    bool ca = c->args_n == 1 && strcmp(c->args[0], "ca") == 0;
    bool known = ca || (c->args_n == 1 && strcmp(c->args[0], "show") == 0);
    unsigned status;
    json_t *a;
    if (!known)
        return cli_usage(c, "say show or ca");
    if (ca && c->on[CLI_JSON])
        return cli_usage(c, "the authority is printed as PEM");
    int code = cli_ask(c, "GET", "/api/v1/certificates", NULL, CLI_ONLINE, &status, &a);
    if (code)
        return code;
    if (status != 200)
        return cli_refused(c, status, a);
    if (!ca) {
        if (c->on[CLI_JSON])
            cli_print_json(a);
        else
            cert_text(a);
    } else if (json_is_object(json_object_get(a, "ca"))) {
        fputs(cli_member(json_object_get(a, "ca"), "pem"), stdout);
    } else {
        fprintf(stderr, "tandem cert: the certificate is of the configuration: there is no "
                        "authority of our own\n");
        code = CLI_NO;
    }
    json_decref(a);
    return code;
}
