/* SPDX-License-Identifier: MIT */
/* Networks, zones, listeners of the long form, and routes: what becomes of them, and which are
 * refused. */
#include "config_load.h"
#include <dlfcn.h>
#include <sys/resource.h>
#include <time.h>
#include "crypto/crypto.h"

static void an_outside_and_an_inside(void **state)
{
    (void)state;
    struct config *c = good(
        "domains: [example.test]\n"
        "listen:\n"
        "- {bind: udp:127.0.0.1:5060, zone: outside}\n"
        "- {bind: wss:127.0.0.1:5443, zone: inside, origins: [https://App.example.test], proxies: "
        "10.0.0.7}\n"
        "- {bind: tls:198.51.100.9:5061, freebind: true}\n"
        "advertise: 203.0.113.5\n"
        "local_networks: [192.0.2.0/24]\n"
        "zones:\n"
        "  outside: {advertise: edge.example.test, networks: [0.0.0.0/0, \"::/0\"]}\n"
        "  inside: {networks: 10.20.0.0/16}\n"
        "security:\n"
        "  trusted: [127.0.0.0/8, \"::1\"]\n"
        "  exempt: [{from: 198.51.100.0/28, connections: 5000}, {from: 10.0.0.1, new_connections: "
        "0/s}]\n"
        "  limits: {new_connections: 7/s, handshake: 2s}\n");
    const struct sip_config *s = &c->settings->sip;
    assert_int_equal(s->zones, 3);
    assert_sv(s->zone[0].name, "default");
    assert_sv(s->zone[1].name, "outside");
    assert_int_equal(s->zone[1].networks_n, 2);
    assert_int_equal(s->zone[1].networks[1].base.family, 6);
    assert_int_equal(s->zone[2].networks[0].bits, 16);
    assert_int_equal(s->listeners, 3);
    assert_int_equal(s->listen[0].zone, 1);
    assert_sv(s->listen[0].advertise, "edge.example.test"); /* the zone's, not the one of all */
    assert_int_equal(s->listen[1].zone, 2);
    assert_sv(s->listen[1].advertise, "203.0.113.5");
    assert_int_equal(s->listen[1].transport, SIP_T_WSS);
    assert_int_equal(s->listen[1].origins_n, 1);
    assert_sv(s->listen[1].origins[0], "https://app.example.test");
    assert_int_equal(s->listen[1].proxies_n, 1);
    assert_false(s->listen[1].freebind);
    assert_int_equal(s->listen[2].zone, 0);
    assert_true(s->listen[2].freebind);
    assert_int_equal(s->local[0].bits, 24);
    for (unsigned i = 0; i < s->local_n; i++) /* the defaults are replaced */
        assert_false(s->local[i].base.family == 4 && s->local[i].bits == 12);
    assert_int_equal(s->trusted_n, 2);
    assert_int_equal(s->trusted[1].bits, 128);
    assert_int_equal(s->exempt_n, 2);
    assert_int_equal(s->exempt[0].connections, 5000);
    assert_int_equal(s->exempt[0].new_connections, SIP_LIMIT_DEFAULT);
    assert_int_equal(s->exempt[1].connections, SIP_LIMIT_DEFAULT);
    assert_int_equal(s->exempt[1].new_connections, 0);
    assert_int_equal(s->new_connections, 7);
    assert_int_equal(s->handshake, 2 * USEC_S);
    config_free(c);
}

/* An authority that vouches for clients, as ca.pem. */
static int with_authority(void **state)
{
    sv names[] = {SV("authority.test")};
    const struct tls_names n = {.dns = names, .dns_n = 1};
    struct buf ca, key;
    if (crypto_start() || in_folder(state))
        return -1;
    buf_init_heap(&ca, 64 * 1024);
    buf_init_heap(&key, 64 * 1024);
    assert_int_equal(tls_make_ca(&n, (usec)time(NULL) * USEC_S, &ca, &key), ERR_OK);
    put_octets("ca.pem", ca.p, ca.n);
    buf_done(&ca);
    buf_done(&key);
    return 0;
}

static bool library_is_there(void)
{
    void *lib = dlopen("libcurl.so.4", RTLD_NOW | RTLD_NOLOAD);
    if (lib)
        dlclose(lib);
    return lib != NULL;
}

/* A configuration out of memory. can_open: files, libraries too. */
static bool loads(const char *text, bool can_open)
{
    struct config_file file = {.path = SV("/t.yaml"), .octets = sv_of(text)};
    struct config_source src = {.from_saved = true, .saved = &file, .saved_n = 1};
    struct config_report report;
    struct config *c = NULL;
    struct rlimit was, none;
    struct buf b;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    none = (struct rlimit){can_open ? was.rlim_cur : 0, was.rlim_max};
    config_report_init(&report);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    enum err rc = config_load(&src, &report, &c);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    buf_init(&b, said, sizeof(said) - 1);
    config_report_print(&report, &b);
    said[b.n] = '\0';
    config_report_done(&report);
    config_free(c);
    return rc == ERR_OK;
}

/* The first of all: what was loaded stays. */
static void push_needs_its_library_and_nothing_else_does(void **state)
{
    (void)state;
    if (!loads("domains: [example.test]\n", true))
        fail_msg("%s", said);
    assert_false(library_is_there());
    assert_false(loads("push: {url: \"https://push.example.test/\"}\n", false));
    assert_non_null(strstr(said, "/t.yaml:1:13: error: push.url: needs libcurl (libcurl.so.4), "
                                 "which cannot be loaded; install it (Debian's libcurl4), or "
                                 "leave the key out\n"));
    assert_true(loads("push: {url: \"https://push.example.test/\"}\n", true));
    assert_true(library_is_there());
}

static void the_other_keys_have_their_values(void **state)
{
    (void)state;
    put("secret", "0123456789abcdef");
    struct config *c = good("sip: {session_timer: never, min_se: 2m}\n"
                            "registrar: {keepalive: never, outbound: false}\n"
                            "push: {url: \"https://push.example.test/wake\", secret: file:secret, "
                            "hold: 9s}\n"
                            "security: {require_tls: true}\n"
                            "dns: {servers: [127.0.0.1:5353, 192.0.2.53, \"::1\"], cache: 500}\n"
                            "tls: {clients: optional, ca: ca.pem, minimum: 1.3}\n");
    const struct settings *s = c->settings;
    assert_int_equal(s->session_timer, 0);
    assert_int_equal(s->min_se, 2 * USEC_MIN);
    assert_int_equal(s->keepalive, 0);
    assert_false(s->outbound);
    assert_true(s->require_tls);
    assert_sv(s->push.url, "https://push.example.test/wake");
    assert_sv(s->push.secret, "0123456789abcdef");
    assert_int_equal(s->push.hold, 9 * USEC_S);
    assert_int_equal(c->dns_servers_n, 3);
    assert_addr(&c->dns_servers[0], "127.0.0.1:5353");
    assert_addr(&c->dns_servers[1], "192.0.2.53:53");
    assert_addr(&c->dns_servers[2], "[::1]:53");
    assert_int_equal(c->dns_cache, 500);
    assert_int_equal(c->tls.clients, TLS_CLIENTS_OPTIONAL);
    assert_true(c->tls.only_13);
    config_free(c);
    config_free(good("push: {url: \"http://[::1]:8080/x\", secret: file:secret}\n"));
    config_free(load("push: {url: \"http://localhost/x\"}\n"));
    assert_string_equal(said, "t.yaml:1:13: finding: push.secret: is not set: whoever gets the "
                              "requests cannot tell ours; secret: file:PATH\n");
}

static void a_zone_of_nobody_is_a_finding(void **state)
{
    (void)state;
    struct config *c = load("listen: [{bind: udp:5060, zone: a}]\nzones: {a: {}, b: {}}\n");
    assert_non_null(c);
    assert_string_equal(said, "t.yaml:2:16: finding: zones: no listener is in b; such as listen: "
                              "[{bind: udp:5060, zone: NAME}]\n");
    config_free(c);
}

/* ---- routes ---- */

static void routes_mean_what_they_say(void **state)
{
    (void)state;
    struct config *c = good(
        "domains: [{name: example.test, aliases: [pbx.example.test]}]\n"
        "listen: [udp:5060, {bind: tcp:5060, zone: out}]\n"
        "zones: {out: {}}\n"
        "tls: {clients: optional, ca: ca.pem}\n"
        "accounts: [{user: alice, number: 101}, {user: bob, number: \"0041\"}]\n"
        "routes:\n"
        "- name: gateway\n"
        "  when: {from: [alice, 10.0.0.0/8, tls:SBC.example.test], user: [\"9*\", \"+41*\"], "
        "domain: [local, pbx.example.test, other.test], method: [INVITE, MESSAGE], zone: out, "
        "not: {user: 911}}\n"
        "  to: [bob, [sip:gw1.test;transport=tls, sips:gw2.test, \"0041\"], alice@example.test, "
        "uri, reject 486 Busy Here]\n"
        "  timeout: 30s\n"
        "- {when: {user: old}, redirect: sip:new@elsewhere.test}\n"
        "- {when: {from: strangers, domain: example.test}, reject: 403 Not from here}\n"
        "- {when: {}, to: local}\n");
    const struct settings *s = c->settings;
    assert_int_equal(s->routes_n, 4);
    const struct settings_route *r = &s->routes[0];
    assert_sv(r->name, "gateway");
    assert_sv(sv_sub(r->place, strlen(folder), 99), "/t.yaml:7");
    assert_int_equal(r->when.from_n, 3);
    assert_int_equal(r->when.from[0].kind, FROM_ACCOUNT);
    assert_sv(r->when.from[0].user, "alice");
    assert_sv(r->when.from[0].domain, "");
    assert_int_equal(r->when.from[1].kind, FROM_NETWORK);
    assert_int_equal(r->when.from[1].network.bits, 8);
    assert_int_equal(r->when.from[2].kind, FROM_TLS);
    assert_sv(r->when.from[2].name, "sbc.example.test");
    assert_int_equal(r->when.user_n, 2);
    assert_sv(r->when.user[1], "+41*");
    assert_int_equal(r->when.domain_n, 3);
    assert_sv(r->when.domain[0], "local");
    assert_sv(r->when.domain[1], "example.test"); /* an alias means its domain */
    assert_sv(r->when.domain[2], "other.test");
    assert_int_equal(r->when.method_n, 2);
    assert_int_equal(r->when.zones, 1u << 1);
    assert_true(r->has_unless);
    assert_sv(r->unless.user[0], "911");
    assert_int_equal(r->action, ACTION_TO);
    assert_int_equal(r->timeout, 30 * USEC_S);
    assert_int_equal(r->targets_n, 7);
    static const struct {
        enum settings_target_kind kind;
        unsigned step;
    } targets[] = {{TARGET_ACCOUNT, 0}, {TARGET_SIP, 1}, {TARGET_SIP, 1},   {TARGET_ACCOUNT, 1},
                   {TARGET_ACCOUNT, 2}, {TARGET_URI, 3}, {TARGET_REJECT, 4}};
    for (unsigned i = 0; i < 7; i++) {
        assert_int_equal(r->target[i].kind, targets[i].kind);
        assert_int_equal(r->target[i].step, targets[i].step);
    }
    assert_sv(r->target[1].uri, "sip:gw1.test;transport=tls");
    assert_sv(r->target[3].user, "0041"); /* a text keeps its zeros */
    assert_sv(r->target[4].domain, "example.test");
    assert_int_equal(r->target[6].status, 486);
    assert_sv(r->target[6].reason, "Busy Here");
    r = &s->routes[1];
    assert_sv(sv_sub(r->name, strlen(folder), 99), "/t.yaml:11"); /* its place */
    assert_int_equal(r->action, ACTION_REDIRECT);
    assert_int_equal(r->timeout, 0);
    assert_false(r->has_unless);
    r = &s->routes[2];
    assert_int_equal(r->action, ACTION_REJECT);
    assert_int_equal(r->status, 403);
    assert_sv(r->reason, "Not from here");
    assert_int_equal(r->when.from[0].kind, FROM_STRANGERS);
    assert_int_equal(s->routes[3].target[0].kind, TARGET_LOCAL);
    config_free(c);
}

/* echo and play stand alone, a file from the folder of its own file on; what is dialled for an echo. */
static void calls_may_end_here(void **state)
{
    (void)state;
    struct config *c = load("routes:\n"
                            "  - {when: {user: hello}, to: echo}\n"
                            "  - {when: {user: closed}, to: [\"play:sounds/closed.wav\"]}\n"
                            "  - {when: {user: open}, to: \"play:/srv/open.wav\"}\n");
    assert_non_null(c);
    const struct settings *s = c->settings;
    char want[256];
    assert_int_equal(s->routes[0].target[0].kind, TARGET_ECHO);
    assert_int_equal(s->routes[1].target[0].kind, TARGET_PLAY);
    snprintf(want, sizeof(want), "%s/sounds/closed.wav", folder);
    assert_sv(s->routes[1].target[0].file, want);
    assert_sv(s->routes[2].target[0].file, "/srv/open.wav");
    assert_sv(s->codes.echo, "*43");
    config_free(c);
    c = load("codes: {echo: \"#1\"}\n");
    assert_sv(c->settings->codes.echo, "#1");
    config_free(c);
    c = load("codes: {echo: \"\"}\n");
    assert_int_equal(c->settings->codes.echo.n, 0);
    config_free(c);
    assert_null(load("codes: {echo: bob}\n"));
    assert_non_null(strstr(said, "codes.echo: is not what a phone dials"));
    assert_null(load("codes: {echo: \"12345678901234567\"}\n"));
    assert_null(load("codes: {voicemail: \"*97\"}\n"));
    assert_non_null(strstr(said, "codes.voicemail: is not built yet"));
}

#define FROM_WORDS "accounts, alice, strangers, 10.0.0.0/8, tls:sbc.example.test"
#define TARGET_WORDS                                                                                  \
    "local, uri, sip:…, sips:…, tel:…, an account or its number, reject 486; alone also echo, " \
    "play:FILE"
#define RELAY                                                                                  \
    " lets strangers call on through us, anywhere and at our cost; say in when.from who may: " \
    "accounts, a CIDR, tls:NAME\n"
#define NEVER                                                                              \
    ": error: routes[]: is never reached: the route in t.yaml:2 takes all that it could; " \
    "put it before that one, or take it out\n"

static const struct {
    const char *routes, *said; /* lines from the second on; the report from "t.yaml:" on */
} refusals[] = {
    /* shape */
    {"- {to: local}\n", "2:3: error: routes[]: has no when; when: {} takes everything\n"},
    {"- {when: {}}\n", "2:3: error: routes[]: has none of to, redirect and reject; such as {when: "
                       "{user: \"9*\"}, to: sip:gateway.example.test}\n"},
    {"- {when: {}, to: local, reject: 403}\n",
     "2:3: error: routes[]: has more than one of to, redirect and reject; such as {when: {user: "
     "\"9*\"}, to: sip:gateway.example.test}\n"},
    {"- {when: {}, reject: 403, timeout: 5s}\n",
     "2:36: error: routes[].timeout: is for `to` alone; leave it out\n"},
    {"- {when: {}, to: []}\n", "2:18: error: routes[].to: the list is empty; such as local\n"},
    {"- {when: {}, to: [[[local]]]}\n",
     "2:20: error: routes[].to: one value belongs here, not a list\n"},
    {"- {when: {not: {}}, to: local}\n",
     "2:16: error: routes[].when.not: is empty; leave it out\n"},
    {"- {when: {not: {user: a, not: {user: b}}}, to: local}\n",
     "2:26: error: routes[].when.not: inside another not; once is enough\n"},
    {"- {name: a, when: {user: a}, to: local}\n- {name: a, when: {user: b}, to: local}\n",
     "3:10: error: routes[].name: 'a' is that of t.yaml:2 as well; each route has a name of its "
     "own\n"},
    {"- {when: {form: a}, to: local}\n",
     "2:11: error: routes[].when.form: no such key; did you mean 'from'?\n"},
    /* words */
    {"- {when: {from: trunk:telco}, to: local}\n",
     "2:17: error: routes[].when.from: 'trunk:telco' is not there yet; " FROM_WORDS "\n"},
    {"- {when: {from: group:sales}, to: local}\n",
     "2:17: error: routes[].when.from: 'group:sales' is not there yet; " FROM_WORDS "\n"},
    {"- {when: {from: 10.0.0.1/8}, to: local}\n",
     "2:17: error: routes[].when.from: '10.0.0.1/8' has bits behind its prefix, or a prefix that "
     "is too long; such as 10.0.0.0/8, 192.0.2.7, \"2001:db8::/32\"\n"},
    {"- {when: {from: alice@other.test}, to: local}\n",
     "2:17: error: routes[].when.from: 'alice@other.test' is in none of our domains; sip:… leads "
     "to other domains\n"},
    {"- {when: {user: a@b}, to: local}\n",
     "2:17: error: routes[].when.user: 'a@b' is no user; alice, \"9*\", \"+4144*\"; the domain has "
     "a field of its own\n"},
    {"- {when: {method: invite}, to: local}\n",
     "2:19: error: routes[].when.method: 'invite' is no method; in capitals, such as INVITE\n"},
    {"- {when: {from: tls:sbc.test}, to: local}\n",
     "2:17: error: routes[].when.from: tls.clients is none: nobody who connects is asked for a "
     "certificate; tls: {clients: optional, ca: FILE}\n"},
    {"- {when: {from: accounts}, to: gateway.example.net}\n",
     "2:32: error: routes[].to: 'gateway.example.net' has no scheme; sip:gateway.example.net; an "
     "account with a dot in its name is named with its domain\n"},
    {"- {when: {from: accounts}, to: gw.test:5062;transport=tcp}\n",
     "2:32: error: routes[].to: 'gw.test:5062;transport=tcp' has no scheme; "
     "sip:gw.test:5062;transport=tcp; an account with a dot in its name is named with its "
     "domain\n"},
    {"- {when: {zone: x}, to: local}\n",
     "2:17: error: routes[].when.zone: there is no zone x; name it under zones\n"},
    {"- {when: {}, to: [trunk:telco, echo, voicemail:alice, group:sales]}\n",
     "2:19: error: routes[].to: 'trunk:telco' is not there yet; " TARGET_WORDS "\n"
     "t.yaml:2:32: error: routes[].to: 'echo' stands alone, nothing rings beside it or before it; "
     "make a route of its own of it\n"
     "t.yaml:2:38: error: routes[].to: 'voicemail:alice' is not there yet; " TARGET_WORDS "\n"
     "t.yaml:2:55: error: routes[].to: 'group:sales' is not there yet; " TARGET_WORDS "\n"},
    {"- {when: {from: accounts}, to: \"sip:\"}\n",
     "2:32: error: routes[].to: 'sip:' is no URI; such as "
     "sip:gateway.example.test;transport=tls\n"},
    {"- {when: {}, to: [alice, [\"play:x.wav\"]]}\n",
     "2:27: error: routes[].to: 'play:x.wav' stands alone, nothing rings beside it or before it; "
     "make a route of its own of it\n"},
    {"- {when: {}, to: \"play:\"}\n",
     "2:18: error: routes[].to: 'play:' names no file; such as play:sounds/closed.wav\n"},
    {"- {when: {}, redirect: echo}\n",
     "2:24: error: routes[].redirect: 'echo' is no contact to redirect to; local, sip:…, sips:…, "
     "tel:…, an account\n"},
    {"- {when: {}, redirect: uri}\n",
     "2:24: error: routes[].redirect: 'uri' is no contact to redirect to; local, sip:…, sips:…, "
     "tel:…, an account\n"},
    {"- {when: {}, reject: 200 OK}\n",
     "2:22: error: routes[].reject: '200 OK' is no status to reject with; 400 to 699, but for the "
     "challenges 401 and 407; such as 403 Not from here\n"},
    {"- {when: {}, to: reject 407}\n",
     "2:18: error: routes[].to: '407' is no status to reject with; 400 to 699, but for the "
     "challenges 401 and 407; such as 403 Not from here\n"},
    /* what nothing reaches */
    {"- {when: {}, to: local}\n- {when: {user: a}, reject: 403}\n", "3:3" NEVER},
    {"- {when: {user: \"9*\"}, to: local}\n- {when: {user: [\"99*\", 911], method: INVITE}, to: "
     "local}\n",
     "3:3" NEVER},
    {"- {when: {from: accounts}, to: local}\n- {when: {from: [alice, bob]}, to: uri}\n",
     "3:3" NEVER},
    {"- {when: {domain: local}, to: local}\n- {when: {domain: EXAMPLE.test}, reject: 404}\n",
     "3:3" NEVER},
    {"- {when: {from: [0.0.0.0/0, \"::/0\"]}, to: local}\n- {when: {from: strangers}, reject: "
     "403}\n",
     "3:3" NEVER},
    {"- {when: {user: a, not: {user: [a, b]}}, to: local}\n",
     "2:3: error: routes[]: `not` takes away all that `when` takes; take the route out, or the "
     "not\n"},
    /* open relays */
    {"- {when: {}, to: uri}\n", "2:18: error: routes[].to: uri" RELAY},
    {"- {when: {from: strangers, domain: local}, to: [local, uri]}\n",
     "2:56: error: routes[].to: uri" RELAY},
    {"- {when: {from: [accounts, strangers]}, to: uri}\n", "2:45: error: routes[].to: uri" RELAY},
    {"- {when: {from: 0.0.0.0/0}, to: sip:gw.test}\n",
     "2:33: error: routes[].to: sip:gw.test" RELAY},
    {"- {when: {user: \"9*\"}, to: tel:+41445550100}\n",
     "2:28: error: routes[].to: tel:+41445550100" RELAY},
    {"- {when: {not: {from: strangers, method: INVITE}}, to: uri}\n",
     "2:56: error: routes[].to: uri" RELAY},
};

static void each_wrong_route_has_its_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        char text[1024], wanted[2048];
        snprintf(text, sizeof(text), "routes:\n%sdomains: [example.test]\n", refusals[i].routes);
        snprintf(wanted, sizeof(wanted), "t.yaml:%s", refusals[i].said);
        refused(text, wanted);
    }
}

/* What is near to a refusal, and fine. */
static void these_routes_are_fine(void **state)
{
    (void)state;
    static const char *const fine[] = {
        "- {when: {user: \"9*\"}, to: local}\n- {when: {user: \"8*\"}, to: local}\n",
        "- {when: {user: \"99*\"}, to: local}\n- {when: {user: \"9*\"}, to: local}\n",
        "- {when: {user: a, not: {method: INVITE}}, to: local}\n- {when: {user: a}, reject: 403}\n",
        "- {when: {from: alice}, to: uri}\n- {when: {from: accounts}, to: uri}\n",
        "- {when: {from: 10.0.0.0/8}, to: uri}\n- {when: {from: 10.0.0.0/7}, to: uri}\n",
        "- {when: {domain: other.test}, to: local}\n- {when: {domain: local}, to: local}\n",
        "- {when: {user: \"*\"}, to: local}\n- {when: {}, to: local}\n", /* no user at all */
        "- {when: {from: [accounts, 192.0.2.0/24, tls:a.test]}, to: [uri, sip:gw.test]}\n",
        "- {when: {not: {from: strangers}}, to: uri}\n",
        "- {when: {}, to: sip:alice@example.test}\n", /* ours */
        "- {when: {}, redirect: sip:elsewhere.test}\n",
    };
    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
        char text[1024];
        snprintf(text, sizeof(text),
                 "routes:\n%sdomains: [example.test]\ntls: {clients: optional, ca: "
                 "ca.pem}\n",
                 fine[i]);
        config_free(good(text));
    }
}

static void a_word_that_is_nearly_another_is_a_finding(void **state)
{
    (void)state;
    struct config *c = load("domains: [example.test]\naccounts: [{user: j.doe}, {user: account}]\n"
                            "routes:\n- {when: {from: stranger}, to: j.doe}\n"
                            "- {when: {from: account, method: [INVTE, SERVICE, INVITE]}, to: "
                            "j.doe@example.test}\n");
    assert_non_null(c);
    assert_string_equal(
        said,
        "t.yaml:4:17: finding: routes[].when.from: 'stranger' is taken for an account; did you "
        "mean 'strangers'?\n"
        "t.yaml:4:17: finding: routes[].when.from: no account of the file is 'stranger'; "
        "unless it was made with `tandem user add`\n"
        "t.yaml:5:35: finding: routes[].when.method: 'INVTE' is none of the known methods; did "
        "you mean 'INVITE'?\n"
        "t.yaml:5:42: finding: routes[].when.method: 'SERVICE' is none of the known methods\n");
    config_free(c);
}

static void an_account_that_the_file_does_not_have_is_a_finding(void **state)
{
    (void)state;
    config_free(load("accounts: [{user: alice, number: 101}]\nroutes:\n- {when: {user: x}, to: "
                     "[alice, 101, carol]}\n"));
    assert_string_equal(said, "t.yaml:3:38: finding: routes[].to: no account of the file is "
                              "'carol'; unless it was made with `tandem user add`\n");
    config_free(good("routes:\n- {when: {user: x}, to: carol}\n")); /* none is in the file */
}

static void more_than_fits_is_refused(void **state)
{
    (void)state;
    char text[8192];
    size_t n = (size_t)snprintf(text, sizeof(text), "routes:\n- {when: {user: [");
    for (int i = 0; i <= SETTINGS_MATCH_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "u%d, ", i);
    snprintf(text + n, sizeof(text) - n, "]}, to: local}\n");
    assert_null(load(text));
    assert_non_null(strstr(said, "routes[].when.user: more than 16; make two routes of it\n"));
    n = (size_t)snprintf(text, sizeof(text), "routes:\n- {when: {}, to: [");
    for (int i = 0; i <= SETTINGS_TARGETS_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "u%d, ", i);
    snprintf(text + n, sizeof(text) - n, "]}\n");
    assert_null(load(text));
    assert_non_null(strstr(said, "routes[].to: more than 16\n"));
    n = (size_t)snprintf(text, sizeof(text), "zones:\n");
    for (int i = 0; i < SIP_ZONES_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "  z%d: {}\n", i);
    assert_null(load(text));
    assert_non_null(strstr(said, "t.yaml:17:3: error: zones: more than 15\n"));
}

/* ---- printing ---- */

static const char full[] =
    "domains: [example.test]\n"
    "listen: [{bind: \"ws:127.0.0.1:5080\", zone: a, origins: [\"https://x.test:8443\"], proxies: "
    "[10.0.0.7/32], freebind: true}, udp:5060]\n"
    "local_networks: [192.0.2.0/24, \"2001:db8::/32\"]\n"
    "zones: {a: {advertise: 203.0.113.5, networks: [0.0.0.0/0]}, default: {networks: "
    "[\"fd00::/8\"]}}\n"
    "dns: {servers: [127.0.0.1:5353], cache: 500}\n"
    "sip: {session_timer: never}\nregistrar: {outbound: false}\n"
    "security:\n  trusted: [127.0.0.0/8]\n"
    "  exempt: [{from: 10.0.0.0/8, connections: 9, new_connections: 3/s}]\n"
    "routes:\n"
    "- {name: \"a b\", when: {from: [accounts], user: [\"9*\"], not: {method: [INVITE]}}, to: "
    "[alice, [bob, \"sip:x.test\"], \"reject 486 Busy\"], timeout: 30s}\n"
    "- {when: {zone: a}, reject: 404}\n";

static void they_are_printed_as_they_can_be_read_again(void **state)
{
    (void)state;
    struct config *c = good(full), *again;
    struct buf b, changed, restart;
    buf_init_heap(&b, 256 * 1024);
    buf_init_heap(&changed, 64 * 1024);
    buf_init_heap(&restart, 64 * 1024);
    assert_int_equal(config_print_effective(c, &b), ERR_OK);
    buf_char(&b, 0);
    assert_non_null(strstr(b.p, "to: [alice, [bob, \"sip:x.test\"], \"reject 486 Busy\"]"));
    again = good(b.p);
    config_diff(c, again, &changed, &restart);
    assert_sv(buf_sv(&changed), "");
    assert_sv(buf_sv(&restart), "");
    assert_int_equal(again->settings->routes_n, 2);
    assert_int_equal(again->settings->routes[0].target[2].step, 1);
    assert_int_equal(again->settings->routes[1].when.zones, 2);
    config_free(again);
    again = good("domains: [example.test]\nroutes: [{when: {}, to: local}]\n");
    config_diff(c, again, &changed, &restart);
    assert_non_null(memmem(changed.p, changed.n, "] -> [{when: {}, to: [local]}]\n", 31));
    assert_non_null(memmem(restart.p, restart.n, "zones: {a: {advertise: 203.0.113.5", 34));
    assert_non_null(
        memmem(restart.p, restart.n, "security.trusted: [\"127.0.0.0/8\"] -> []\n", 40));
    buf_done(&b);
    buf_done(&changed);
    buf_done(&restart);
    config_free(again);
    config_free(c);
}

static void set_replaces_a_list(void **state)
{
    (void)state;
    static const char *const sets[] = {"security.trusted=10.0.0.0/8", "dns.servers=192.0.2.1",
                                       "local_networks=192.0.2.0/24"};
    char path[256];
    put("s.yaml", full);
    snprintf(path, sizeof(path), "%s", path_of("s.yaml"));
    struct config *c = load_with(path, sets, 3);
    assert_string_equal(said, "");
    assert_int_equal(c->settings->sip.trusted_n, 1);
    assert_int_equal(c->settings->sip.trusted[0].base.ip[0], 10);
    assert_int_equal(c->dns_servers_n, 1);
    assert_addr(&c->dns_servers[0], "192.0.2.1:53");
    config_free(c);
}

static void running_out_of_memory_is_an_error_only(void **state)
{
    (void)state;
    char path[256];
    put("o.yaml", full);
    snprintf(path, sizeof(path), "%s", path_of("o.yaml"));
    bool done = false;
    size_t before = mem_live();
    for (size_t n = 1; !done; n++) {
        struct config_source src = {.path = path};
        struct config_report report;
        struct config *c = NULL;
        config_report_init(&report);
        mem_fail_after(n);
        enum err rc = config_load(&src, &report, &c);
        mem_fail_after(0);
        assert_true(rc == ERR_OK || rc == ERR_NOMEM);
        done = rc == ERR_OK;
        config_report_done(&report);
        config_free(c);
        assert_int_equal(mem_live(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_may_end_here),
        cmocka_unit_test(push_needs_its_library_and_nothing_else_does),
        cmocka_unit_test(an_outside_and_an_inside),
        cmocka_unit_test(the_other_keys_have_their_values),
        cmocka_unit_test(a_zone_of_nobody_is_a_finding),
        cmocka_unit_test(routes_mean_what_they_say),
        cmocka_unit_test(each_wrong_route_has_its_line),
        cmocka_unit_test(these_routes_are_fine),
        cmocka_unit_test(a_word_that_is_nearly_another_is_a_finding),
        cmocka_unit_test(an_account_that_the_file_does_not_have_is_a_finding),
        cmocka_unit_test(more_than_fits_is_refused),
        cmocka_unit_test(they_are_printed_as_they_can_be_read_again),
        cmocka_unit_test(set_replaces_a_list),
        cmocka_unit_test(running_out_of_memory_is_an_error_only),
    };
    return cmocka_run_group_tests(tests, with_authority, out_of_folder);
}
