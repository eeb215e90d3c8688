/* SPDX-License-Identifier: MIT */
/* Values and mistakes of one file. */
#include "config_load.h"

/* ---- values ---- */

static bool is_local(const struct settings *s, const char *ip)
{
    struct addr a;
    assert_int_equal(addr_parse_ip(sv_of(ip), 0, &a), ERR_OK);
    for (unsigned i = 0; i < s->sip.local_n; i++) {
        if (addr_net_has(&s->sip.local[i], &a))
            return true;
    }
    return false;
}

static void an_empty_file_gives_every_default(void **state)
{
    (void)state;
    struct config *c = good("# nothing\n");
    const struct settings *s = c->settings;
    assert_false(c->domains_given);
    assert_int_equal(s->domains_n, 0);
    assert_false(c->listen_given);
    assert_int_equal(s->sip.listeners, 9);
    assert_addr(&s->sip.listen[0].bind, "0.0.0.0:5060");
    assert_addr(&s->sip.listen[1].bind, "[::]:5060");
    assert_int_equal(s->sip.listen[1].transport, SIP_T_UDP);
    assert_int_equal(s->sip.listen[2].transport, SIP_T_TCP);
    assert_addr(&s->sip.listen[4].bind, "0.0.0.0:5061");
    assert_int_equal(s->sip.listen[5].transport, SIP_T_TLS);
    assert_addr(&s->sip.listen[7].bind, "[::]:5443");
    assert_int_equal(s->sip.listen[7].transport, SIP_T_WSS);
    assert_addr(&s->sip.listen[8].bind, "127.0.0.1:5080");
    assert_int_equal(s->sip.listen[8].transport, SIP_T_WS);
    assert_int_equal(s->sip.zones, 1);
    assert_sv(s->sip.zone[0].name, "default");
    assert_int_equal(s->sip.zone[0].networks_n, 0);
    assert_true(is_local(s, "10.255.0.1") && is_local(s, "172.31.0.1"));
    assert_true(is_local(s, "192.168.7.7") && is_local(s, "100.64.0.1"));
    assert_true(is_local(s, "fd00::1") && is_local(s, "fe80::1") && is_local(s, "127.0.0.1"));
    assert_false(is_local(s, "198.51.100.1"));
    assert_int_equal(s->sip.trusted_n + s->sip.exempt_n, 0);
    assert_int_equal(s->sip.new_connections, 20);
    assert_int_equal(s->sip.handshake, 5 * USEC_S);
    assert_int_equal(s->session_timer, 30 * USEC_MIN);
    assert_int_equal(s->min_se, 90 * USEC_S);
    assert_int_equal(s->keepalive, 25 * USEC_S);
    assert_true(s->outbound);
    assert_false(s->require_tls);
    assert_false(sv_present(s->push.url));
    assert_int_equal(s->push.hold, 20 * USEC_S);
    assert_int_equal(s->routes_n, 0);
    assert_int_equal(c->tls.n, 0);
    assert_int_equal(c->tls.clients, TLS_CLIENTS_NONE);
    assert_false(c->tls.only_13);
    assert_int_equal(c->dns_servers_n, 0);
    assert_int_equal(c->dns_cache, 10000);
    assert_false(sv_present(s->sip.listen[0].advertise));
    assert_int_equal(c->workers, 0);
    assert_sv(c->data, "./tandem-data");
    assert_false(c->data_given);
    assert_sv(c->run_as, "");
    assert_sv(c->socket, "");
    assert_addr(&c->http, "127.0.0.1:8080");
    assert_false(c->http_given);
    assert_int_equal(c->log_level, LOG_LEVEL_INFO);
    assert_int_equal(c->log_format, CONFIG_LOG_AUTO);
    assert_int_equal(c->store_sync, 100 * USEC_MS);
    assert_int_equal(c->journal_min, 4 * 1024 * 1024);
    assert_int_equal(c->records_keep, 400 * USEC_DAY);
    assert_int_equal(s->sip.t1, 500 * USEC_MS);
    assert_int_equal(s->sip.t2, 4 * USEC_S);
    assert_int_equal(s->sip.t4, 5 * USEC_S);
    assert_int_equal(s->sip.max_message, 65536);
    assert_int_equal(s->sip.mtu, 1300);
    assert_int_equal(s->sip.connections_source, 200);
    assert_int_equal(s->sip.idle, 15 * USEC_MIN);
    assert_int_equal(s->ringing, 200 * USEC_S);
    assert_true(s->server_hidden);
    assert_int_equal(s->breadth, 60);
    assert_int_equal(s->media.first_port, 20000);
    assert_int_equal(s->media.last_port, 29999);
    assert_int_equal(s->media.mode, MEDIA_AUTO);
    assert_int_equal(s->media.srtp, MEDIA_SRTP_PREFER);
    assert_int_equal(s->media.codecs_n, 4);
    assert_int_equal(s->media.codecs[0], SETTINGS_OPUS);
    assert_int_equal(s->media.codecs[3], SETTINGS_PCMU);
    assert_true(s->media.transcode);
    assert_int_equal(s->media.dtmf, MEDIA_DTMF_AUTO);
    assert_int_equal(s->media.silence, USEC_MIN);
    assert_int_equal(s->media.bandwidth, 0);
    assert_int_equal(s->media.quota, 0);
    assert_int_equal(s->turn.listeners, 0);
    assert_int_equal(s->expires_min, 60 * USEC_S);
    assert_int_equal(s->expires_max, USEC_HOUR);
    assert_int_equal(s->contacts, 10);
    assert_int_equal(s->digest.mode, AUTH_MODE_AUTO);
    assert_int_equal(s->authenticate, SETTINGS_AUTH_ALL);
    assert_int_equal(s->strangers, SETTINGS_STRANGERS_REFUSE);
    assert_int_equal(s->password_min, 12);
    assert_int_equal(s->drain, 30 * USEC_S);
    assert_int_equal(s->accounts_n, 0);
    config_free(c);
}

static void every_key_has_its_value(void **state)
{
    (void)state;
    struct config *c = load(
        "domains: [One.Test, {name: two.test, realm: old realm, aliases: pbx.two.test, "
        "digest: [md5, sha-256]}]\n"
        "listen: [udp:192.0.2.1:5070, {bind: \"tcp:[2001:db8::1]:0\"}, udp:lo:5071]\n"
        "advertise: 203.0.113.5\n"
        "workers: 3\n"
        "data: ../d\n"
        "run_as: no\n"
        "drain: 2h\n"
        "store: {directory: sqlite, location: memory, sync: 50ms}\n"
        "control: {socket: s.sock, http: never}\n"
        "sip: {t1: 200ms, t2: 3s, t4: 6s, ringing: 4m, max_message: 32KiB, mtu: 1200, server: "
        "Tandem 1, breadth: 7}\n"
        "registrar: {expires: 2m-1d, contacts: 3}\n"
        "media: {ports: 30000-30999, mode: always, srtp: require, codecs: [pcmu, opus], transcode: "
        "never, dtmf: info, t38: false, latch: 2s, silence: never, dscp: 40, bandwidth: "
        "50Mbit/s, quota: 20}\n"
        "security:\n"
        "  digest: [sha-256, md5]\n"
        "  authenticate: register\n"
        "  strangers: ring\n"
        "  passwords: {minimum: 14}\n"
        "  limits: {connections: 5, total_connections: 30, idle: 1m}\n"
        "accounts:\n"
        "  - {user: alice, name: Alice Meier, number: 0041}\n"
        "  - {user: bob@two.test, number: [102, \"+41445550102\", \"*9#\"]}\n"
        "log: {level: debug, format: json, levels: {txn: error, sip: warn}}\n"
        "records: {keep: 30d}\n");
    assert_non_null(c);
    const struct settings *s = c->settings;
    assert_true(c->domains_given);
    assert_int_equal(s->domains_n, 2);
    assert_sv(s->domains[0].name, "one.test");
    assert_sv(s->domains[0].realm, "one.test");
    assert_int_equal(s->domains[0].digest.n, 0);
    assert_sv(s->domains[1].realm, "old realm");
    assert_int_equal(s->domains[1].aliases_n, 1);
    assert_sv(s->domains[1].aliases[0], "pbx.two.test");
    assert_int_equal(s->domains[1].digest.n, 2);
    assert_int_equal(s->domains[1].digest.list[0], AUTH_MD5);
    assert_true(c->listen_given);
    assert_addr(&s->sip.listen[0].bind, "192.0.2.1:5070");
    assert_sv(s->sip.listen[0].advertise, "203.0.113.5");
    assert_addr(&s->sip.listen[1].bind, "[2001:db8::1]:0");
    assert_false(sv_present(s->sip.listen[1].advertise)); /* an IPv4 address says nothing of IPv6 */
    assert_int_equal(addr_class(&s->sip.listen[2].bind), ADDR_LOOPBACK);
    assert_int_equal(s->sip.listen[2].bind.port, 5071);
    assert_int_equal(c->workers, 3);
    assert_int_equal(s->sip.connections, 10); /* 30 over 3 workers */
    assert_true(c->data_given);
    assert_sv(sv_sub(c->data, strlen(folder), c->data.n), "/../d");
    assert_sv(c->run_as, "no"); /* a text is a text */
    assert_int_equal(s->drain, 2 * USEC_HOUR);
    assert_int_equal(c->store_sync, 50 * USEC_MS);
    assert_sv(sv_sub(c->socket, strlen(folder), c->socket.n), "/s.sock");
    assert_int_equal(c->http.family, 0);
    assert_true(c->http_given);
    assert_int_equal(s->sip.t1, 200 * USEC_MS);
    assert_int_equal(s->sip.t2, 3 * USEC_S);
    assert_int_equal(s->sip.t4, 6 * USEC_S);
    assert_int_equal(s->ringing, 4 * USEC_MIN);
    assert_int_equal(s->sip.max_message, 32768);
    assert_int_equal(s->sip.mtu, 1200);
    assert_false(s->server_hidden);
    assert_sv(s->server, "Tandem 1");
    assert_int_equal(s->breadth, 7);
    assert_int_equal(s->media.first_port, 30000);
    assert_int_equal(s->media.last_port, 30999);
    assert_int_equal(s->media.mode, MEDIA_ALWAYS);
    assert_int_equal(s->media.srtp, MEDIA_SRTP_REQUIRE);
    assert_int_equal(s->media.codecs_n, 2);
    assert_int_equal(s->media.codecs[0], SETTINGS_PCMU);
    assert_int_equal(s->media.codecs[1], SETTINGS_OPUS);
    assert_false(s->media.transcode);
    assert_int_equal(s->media.dtmf, MEDIA_DTMF_INFO);
    assert_false(s->media.t38);
    assert_int_equal(s->media.latch, 2 * USEC_S);
    assert_int_equal(s->media.silence, 0);
    assert_int_equal(s->media.dscp, 40);
    assert_int_equal(s->media.bandwidth, 50000000);
    assert_int_equal(s->media.quota, 20);
    assert_int_equal(s->expires_min, 2 * USEC_MIN);
    assert_int_equal(s->expires_max, USEC_DAY);
    assert_int_equal(s->contacts, 3);
    assert_int_equal(s->digest.mode, AUTH_MODE_LIST);
    assert_int_equal(s->digest.list[0], AUTH_SHA256);
    assert_int_equal(s->digest.list[1], AUTH_MD5);
    assert_int_equal(s->authenticate, SETTINGS_AUTH_REGISTER);
    assert_int_equal(s->strangers, SETTINGS_STRANGERS_RING);
    assert_int_equal(s->password_min, 14);
    assert_int_equal(s->sip.connections_source, 5);
    assert_int_equal(s->sip.idle, USEC_MIN);
    assert_int_equal(s->accounts_n, 2);
    assert_sv(s->accounts[0].user, "alice");
    assert_sv(s->accounts[0].domain, "one.test");
    assert_sv(s->accounts[0].name, "Alice Meier");
    assert_sv(s->accounts[0].numbers[0], "0041"); /* keeps its zeros */
    assert_false(sv_present(s->accounts[0].password));
    assert_sv(sv_sub(s->accounts[0].origin, strlen(folder), 99), "/t.yaml:20");
    assert_sv(s->accounts[1].domain, "two.test");
    assert_int_equal(s->accounts[1].numbers_n, 3);
    assert_sv(s->accounts[1].numbers[2], "*9#");
    assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
    assert_int_equal(c->log_format, CONFIG_LOG_JSON);
    assert_int_equal(c->levels_n, 2);
    assert_sv(c->levels[0].module, "txn");
    assert_int_equal(c->levels[0].level, LOG_LEVEL_ERROR);
    assert_int_equal(c->records_keep, 30 * USEC_DAY);
    config_free(c);
}

static void one_duration_is_a_range_of_itself(void **state)
{
    (void)state;
    struct config *c = good("registrar: {expires: 120s}\n");
    assert_int_equal(c->settings->expires_min, 120 * USEC_S);
    assert_int_equal(c->settings->expires_max, 120 * USEC_S);
    config_free(c);
}

static void weak_settings_are_findings(void **state)
{
    (void)state;
    struct config *c = load("security: {authenticate: register, strangers: ring, digest: md5, "
                            "passwords: {minimum: 11}}\n");
    assert_non_null(c);
    assert_string_equal(said, "t.yaml:1:26: finding: security.authenticate: whoever reaches us can "
                              "call as any of our users; authenticate: all\n"
                              "t.yaml:1:47: finding: security.strangers: anybody can make our "
                              "users' phones ring; strangers: refuse\n"
                              "t.yaml:1:61: finding: security.digest: MD5 alone, although phones "
                              "take SHA-256; digest: auto\n"
                              "t.yaml:1:87: finding: security.passwords.minimum: short passwords "
                              "are guessed; minimum: 12\n");
    config_free(c);
}

static void what_has_no_effect_is_a_finding(void **state)
{
    (void)state;
    struct config *c = load("media: {mode: never, srtp: require}\n");
    assert_non_null(c);
    assert_string_equal(said, "t.yaml:1:28: finding: media.srtp: requires nothing of calls whose "
                              "descriptions pass as they are (media.mode: never); mode: auto\n");
    config_free(c);
    config_free(good("media: {srtp: require}\n"));
}

static void turn_is_there_where_its_section_is(void **state)
{
    (void)state;
    struct config *c = good("turn: {}\n");
    const struct settings_turn *t = &c->settings->turn;
    assert_int_equal(t->listeners, 6); /* each in both families */
    assert_addr(&t->listen[0].bind, "0.0.0.0:3478");
    assert_int_equal(t->listen[0].transport, TURNSERVER_UDP);
    assert_addr(&t->listen[3].bind, "[::]:3478");
    assert_int_equal(t->listen[3].transport, TURNSERVER_TCP);
    assert_addr(&t->listen[4].bind, "0.0.0.0:5349");
    assert_int_equal(t->listen[4].transport, TURNSERVER_TLS);
    assert_int_equal(t->limits.lifetime, USEC_HOUR);
    assert_int_equal(t->limits.quota, 10);
    assert_int_equal(t->limits.peers_n, 0);
    config_free(c);
    c = good("turn: {quota: 3}\n");
    assert_int_equal(c->settings->turn.listeners, 6);
    config_free(c);
    c = good("turn: {listen: [], quota: 3}\n");
    assert_int_equal(c->settings->turn.listeners, 0);
    config_free(c);
    c = good("advertise: 203.0.113.5\nturn: {listen: \"udp:192.0.2.1:3479\", lifetime: 10m, quota: "
             "2, peers: [10.0.0.0/8, \"fd00::/8\"]}\n");
    t = &c->settings->turn;
    assert_int_equal(t->listeners, 1);
    assert_addr(&t->listen[0].bind, "192.0.2.1:3479");
    assert_int_equal(t->limits.lifetime, 10 * USEC_MIN);
    assert_int_equal(t->limits.quota, 2);
    assert_int_equal(t->limits.peers_n, 2);
    assert_int_equal(t->limits.peers[1].bits, 8);
    assert_addr(&t->advertise[0], "203.0.113.5:0");
    assert_int_equal(t->advertise[1].family, 0);
    config_free(c);
    c = load("turn: {peers: [0.0.0.0/0]}\n");
    assert_non_null(c);
    assert_string_equal(said, "t.yaml:1:16: finding: turn.peers: whoever has an account reaches "
                              "every private network that this machine reaches; name the networks "
                              "that are meant\n");
    config_free(c);
}

/* ---- mistakes ---- */

static void all_mistakes_are_reported_in_order_with_place_and_hint(void **state)
{
    (void)state;
    refused("domains: [example.test]\nlissten: [udp:5060]\nregistrar: {expires: 120}\nsip:\n  t1: "
            "fast\n"
            "workers: many\nlog:\n  level: loud\n",
            "t.yaml:2:1: error: lissten: no such key; did you mean 'listen'?\n"
            "t.yaml:3:22: error: registrar.expires: '120' has no unit; say 120s\n"
            "t.yaml:5:7: error: sip.t1: 'fast' is not a duration; a duration is a number and a "
            "unit: 500ms, 30s, 5m, 1h, 2d\n"
            "t.yaml:6:10: error: workers: 'many' is not a number; a number from 1 to 64, or auto\n"
            "t.yaml:8:10: error: log.level: 'loud' is not a word that can stand here; say error, "
            "warn, info, debug\n");
}

static const struct {
    const char *text, *line; /* how the report goes on behind "t.yaml:" */
} mistakes[] = {
    /* what YAML refuses, or would let pass */
    {"domains: [a.test]\ndomains: [b.test]\n",
     "2:1: error: 'domains' stands here a second time; the first is in line 1\n"},
    {"log: {level: info, level: warn}\n",
     "1:20: error: log: 'level' stands here a second time; the first is in line 1\n"},
    {"domains: [a.test]\n---\ndomains: [b.test]\n",
     "2:1: error: a second document begins here; take out the '---' or '...'\n"},
    {"{", "2:1: error: while parsing a flow node: did not find expected node content\n"},
    {"- 1\n", "1:1: error: keys and values belong here; such as {name: value}\n"},
    {"\tx: 1\n", "1:1: error: while scanning for the next token: found character that cannot "
                 "start any token; indent with spaces, not with a tab\n"},
    {"codes: {echo: *43}\n", "1:15: error: found undefined alias; * begins an alias: write it "
                             "in quotes, such as \"*43\"\n"},
    {"include: *.yaml\n",
     "1:11: error: while scanning an alias: did not find expected alphabetic or numeric "
     "character; * begins an alias: write it in quotes, such as \"*43\"\n"},
    {"run_as: #8\n", "1:8: error: run_as: has no value; # begins a comment: write it in "
                     "quotes, such as \"#8\"\n"},
    {"# \xc3\xa4\nrun_as: #8\n", "2:8: error: run_as: has no value; # begins a comment: write "
                                 "it in quotes, such as \"#8\"\n"},
    {"run_as: @x\n", "1:9: error: while scanning for the next token: found character that "
                     "cannot start any token; write the value in quotes\n"},
    {"data: \xff\n", "1:7: error: invalid leading UTF-8 octet; the file has to be UTF-8 text\n"},
    {"log: {level: !x info}\n",
     "1:14: error: tags have no meaning here; a value that begins with ! needs quotes\n"},
    {"? [a]\n: 1\n", "1:3: error: a key is a word, not a list or map\n"},
    {"run_as: \"a\\0b\"\n", "1:9: error: run_as: has a control character or a line break\n"},
    /* shapes */
    {"workers: [1, 2]\n", "1:10: error: workers: one value belongs here, not a list\n"},
    {"workers: {a: 1}\n", "1:10: error: workers: one value belongs here, not a map\n"},
    {"log: debug\n", "1:6: error: log: keys and values belong here; such as {name: value}\n"},
    {"workers:\n", "1:9: error: workers: has no value; give it one, or leave the key out; \"\" "
                   "is an empty text\n"},
    {"accounts: [alice]\n",
     "1:12: error: accounts[]: keys and values belong here; such as {name: value}\n"},
    /* keys */
    {"sip.t1: 500ms\n", "1:1: error: sip.t1: no such key; a point does not nest: write the "
                        "section, and the key under it\n"},
    {"max_message: 1KiB\n",
     "1:1: error: max_message: no such key; did you mean sip.max_message?\n"},
    {"sip: {t9: 1s}\n", "1:7: error: sip.t9: no such key; did you mean 't1'?\n"},
    {"accounts: [{user: a, nmae: A}]\n",
     "1:22: error: accounts[].nmae: no such key; did you mean 'name'?\n"},
    {"xyzzy: 1\n", "1:1: error: xyzzy: no such key\n"},
    {"\"\\e[2J\": 1\n", "1:1: error: \\x1b[2J: no such key\n"},
    /* numbers */
    {"workers: 65\n",
     "1:10: error: workers: '65' is out of range; a number from 1 to 64, or auto\n"},
    {"workers: 0\n", "1:10: error: workers: '0' is out of range; a number from 1 to 64, or auto\n"},
    {"workers: -1\n",
     "1:10: error: workers: '-1' is not a number; a number from 1 to 64, or auto\n"},
    {"sip: {mtu: 99999999999999999999999}\n", "1:12: error: sip.mtu: '99999999999999999999999' "
                                              "is out of range; a number from 500 to 65535\n"},
    {"sip: {t1: 1ms}\n", "1:11: error: sip.t1: '1ms' is out of range; from 50ms to 10s\n"},
    {"drain: 9999999999999999999d\n",
     "1:8: error: drain: '9999999999999999999d' is out of range; a duration is a number and a "
     "unit: 500ms, 30s, 5m, 1h, 2d\n"},
    {"drain: 1.5h\n", "1:8: error: drain: '1.5h' is not a duration; a duration is a number and "
                      "a unit: 500ms, 30s, 5m, 1h, 2d\n"},
    {"drain: 30 s\n", "1:8: error: drain: '30 s' is not a duration; a duration is a number and "
                      "a unit: 500ms, 30s, 5m, 1h, 2d\n"},
    {"sip: {max_message: 65536}\n",
     "1:20: error: sip.max_message: '65536' has no unit; say 65536B, or 64KiB\n"},
    {"sip: {max_message: 64kB}\n", "1:20: error: sip.max_message: '64kB' is not a size; a size "
                                   "is a number and a unit: 512B, 64KiB, 1MiB\n"},
    {"turn: {listen: ws:3478}\n", "1:16: error: turn.listen: 'ws:3478' is nothing that TURN runs "
                                  "over; udp, tcp or tls\n"},
    {"turn: {listen: [udp:5060]}\n",
     "1:17: error: turn.listen: udp:5060 is bound by another listener as well; give it a port of "
     "its own\nt.yaml:1:17: error: turn.listen: udp:5060 is bound by another listener as well; "
     "give "
     "it a port of its own\n"},
    {"turn: {listen: [\"udp:192.0.2.1:20500\"]}\n",
     "1:17: error: turn.listen: udp:192.0.2.1:20500 is one of media.ports; such as udp:3478\n"},
    {"turn: {listen: [udp:1, {bind: udp:2}]}\n",
     "1:24: error: turn.listen: one value belongs here, not a map\n"},
    {"turn: {lifetime: 5m}\n",
     "1:18: error: turn.lifetime: '5m' is out of range; from 10m to 1d\n"},
    {"sip: {t1: 5s, t2: 2s}\n", "1:19: error: sip.t2: is shorter than sip.t1\n"},
    {"sip: {ringing: 180s}\n",
     "1:16: error: sip.ringing: '180s' is out of range; from 181s to 1h\n"},
    {"registrar: {expires: 1h-60s}\n", "1:22: error: registrar.expires: '1h-60s' ends before "
                                       "it begins; the smaller one comes first: 60s-1h\n"},
    {"registrar: {expires: 2h-3h}\n",
     "1:22: error: registrar.expires: the shortest may be at most 1h; such as 60s-1h\n"},
    {"registrar: {expires: 60s-}\n",
     "1:22: error: registrar.expires: '60s-' is not a duration; a duration is a number and a "
     "unit: 500ms, 30s, 5m, 1h, 2d\n"},
    /* words */
    {"security: {authenticate: false}\n", "1:26: error: security.authenticate: 'false' is not "
                                          "a word that can stand here; say all or register\n"},
    {"security: {digest: [auto, md5]}\n",
     "1:21: error: security.digest: 'auto' is no digest algorithm that we have; auto, or a "
     "list of sha-256 and md5\n"},
    {"security: {digest: [md5, md5]}\n",
     "1:26: error: security.digest: 'md5' stands in the list twice\n"},
    {"security: {digest: []}\n",
     "1:20: error: security.digest: the list is empty; auto, or a list of sha-256 and md5\n"},
    {"media: {codecs: [opus, g729]}\n",
     "1:24: error: media.codecs: 'g729' is none of what this can "
     "have; some of opus g722 pcma pcmu\n"},
    {"media: {codecs: [opus, opus]}\n",
     "1:24: error: media.codecs: 'opus' stands in the list twice\n"},
    {"media: {ports: 20000-20002}\n",
     "1:16: error: media.ports: '20000-20002' is no range of ports, or one too small for a call; "
     "two ports from 1024 to 65535, such as 20000-29999\n"},
    {"media: {bandwidth: 50}\n", "1:20: error: media.bandwidth: '50' has no unit that this can "
                                 "have; such as 50Mbit/s, or 0\n"},
    {"store: {directory: \"postgresql://x\"}\n",
     "1:20: error: store.directory: 'postgresql://x' is not built yet; say sqlite\n"},
    {"log: {levels: {txn: loud}}\n",
     "1:21: error: log.levels: 'loud' is no level; error, warn, info, debug\n"},
    /* addresses */
    {"advertise: 0.0.0.0\n", "1:12: error: advertise: '0.0.0.0' is no address of one host; an "
                             "address that peers can send to\n"},
    {"advertise: a b\n", "1:12: error: advertise: 'a b' is neither an address nor a host name; "
                         "such as 203.0.113.5, 2001:db8::5, pbx.example.test, or auto\n"},
    {"control: {http: 8080}\n", "1:17: error: control.http: '8080' is not ADDRESS:PORT; such "
                                "as 127.0.0.1:8080, [::1]:8080, or never\n"},
    {"control: {http: 0.0.0.0:8080}\n",
     "1:17: error: control.http: '0.0.0.0:8080' is not on the loopback, where only TLS may go, "
     "which is not built yet; bind it to 127.0.0.1 and reach it through a tunnel\n"},
    /* domains */
    {"domains: []\n", "1:10: error: domains: the list is empty; name one, or leave the key out\n"},
    {"domains: [a b.test]\n",
     "1:11: error: domains: 'a b.test' is no domain name; such as example.test\n"},
    {"domains: [a.test, A.test]\n",
     "1:19: error: domains: a.test is named in t.yaml:1 as well; keep one of them\n"},
    {"domains:\n- a.test\n- {name: b.test, aliases: [a.test]}\n",
     "3:3: error: domains: a.test is named in t.yaml:2 as well; keep one of them\n"},
    {"domains:\n- {aliases: [a.test]}\n",
     "2:3: error: domains[]: has no name; such as {name: example.test}\n"},
    {"domains: [{name: a.test, digest: auto}]\nsecurity: {digest: [sha-256]}\n",
     "1:34: error: domains[].digest: cannot be auto while security.digest is a list; name the "
     "algorithms\n"},
    /* listeners */
    {"listen: []\n", "1:9: error: listen: the list is empty; name one, or leave the key out\n"},
    {"listen: sctp:5061\n",
     "1:9: error: listen: 'sctp:5061' is no listener; such as udp:5060, tcp:192.0.2.1:5060, "
     "udp:[2001:db8::1]:5060, udp:eth0:5060\n"},
    {"listen: [tcp:127.0.0.1:5061, tls:127.0.0.1:5061]\n",
     "1:30: error: listen: tls:127.0.0.1:5061 is bound by t.yaml:1 as well; keep one of them\n"},
    {"listen: udp:1.2.3.4.5:1\n",
     "1:9: error: listen: 'udp:1.2.3.4.5:1' names neither an address nor an interface that has "
     "one; such as udp:5060, tcp:192.0.2.1:5060, udp:[2001:db8::1]:5060, udp:eth0:5060\n"},
    {"listen: \"udp:::1:5060\"\n",
     "1:9: error: listen: 'udp:::1:5060' has an IPv6 address without brackets, or too many "
     "parts; such as udp:5060, tcp:192.0.2.1:5060, udp:[2001:db8::1]:5060, udp:eth0:5060\n"},
    {"listen: udp:65536\n",
     "1:9: error: listen: 'udp:65536' has no port from 0 to 65535 (0: one that is free); such "
     "as udp:5060, tcp:192.0.2.1:5060, udp:[2001:db8::1]:5060, udp:eth0:5060\n"},
    {"listen: tsl:5061\n", "1:9: error: listen: 'tsl:5061' is no listener; did you mean 'tls'?\n"},
    {"tls: {cert: a.pem}\n", "1:7: error: tls.cert: no such key; did you mean 'certificate'?\n"},
    {"listen: udp:5060\nsecurity: {require_tls: true}\n",
     "2:25: error: security.require_tls: nothing listens with tls or wss, so nobody could register "
     "or call; listen: [tls:5061], or require_tls: false\n"},
    {"listen: 5060\n", "1:9: error: listen: '5060' is no listener; such as udp:5060, "
                       "tcp:192.0.2.1:5060, udp:[2001:db8::1]:5060, udp:eth0:5060\n"},
    {"listen: [udp:5060, \"udp:[::]:5060\"]\n",
     "1:20: error: listen: udp:[::]:5060 is bound by t.yaml:1 as well; keep one of them\n"},
    {"listen: [{bind: udp:5060, zone: x}]\n",
     "1:33: error: listen[].zone: there is no zone x; name it under zones\n"},
    {"listen: [{}, {zone: x}]\n",
     "1:10: error: listen[]: has no bind; such as {bind: udp:5060}\n"
     "t.yaml:1:14: error: listen[]: has no bind; such as {bind: udp:5060}\n"},
    {"listen: [{bind: udp:5060, origins: [https://a.test]}]\n",
     "1:10: error: listen[].origins: is for ws and wss alone; leave it out\n"},
    {"listen: [{bind: tls:5061, proxies: [10.0.0.7]}]\n",
     "1:10: error: listen[].proxies: is for ws and wss alone; leave it out\n"},
    {"listen: [{bind: ws:5080, origins: [https://a.test/path, a.test, \"*\"]}]\n",
     "1:36: error: listen[].origins: 'https://a.test/path' is no origin of a page; such as "
     "https://app.example.test, without a path\n"
     "t.yaml:1:57: error: listen[].origins: 'a.test' is no origin of a page; such as "
     "https://app.example.test, without a path\n"
     "t.yaml:1:65: error: listen[].origins: '*' is no origin of a page; such as "
     "https://app.example.test, without a path\n"},
    {"listen: [{bind: ws:5080, freebind: yes}]\n",
     "1:36: error: listen[].freebind: 'yes' is neither true nor false; say true or false\n"},
    /* networks */
    {"local_networks: [10.0.0.1/8, 10/8]\n",
     "1:18: error: local_networks: '10.0.0.1/8' has bits behind its prefix, or a prefix that is "
     "too long; such as 10.0.0.0/8, 192.0.2.7, \"2001:db8::/32\"\n"
     "t.yaml:1:30: error: local_networks: '10/8' is no network; such as 10.0.0.0/8, 192.0.2.7, "
     "\"2001:db8::/32\"\n"},
    {"zones: {a b: {}}\n", "1:9: error: zones: 'a b' is no name; letters, digits, - and _\n"},
    {"zones: {default: {network: 10.0.0.0/8}}\n",
     "1:19: error: zones.NAME.network: no such key; did you mean 'networks'?\n"},
    {"security: {exempt: [{connections: 5}]}\n",
     "1:21: error: security.exempt[]: has no from; such as {from: 198.51.100.0/28, connections: "
     "1000}\n"},
    {"security: {exempt: [{from: 10.0.0.0/8, new_connections: 5}]}\n",
     "1:57: error: security.exempt[].new_connections: '5' has no unit; say 5/s\n"},
    {"security: {limits: {new_connections: 30/m}}\n",
     "1:38: error: security.limits.new_connections: '30/m' is no rate that this can have; a number "
     "a second, such as 20/s\n"},
    {"dns: {servers: [127.0.0.1:5353, dns.test]}\n",
     "1:33: error: dns.servers: 'dns.test' is neither ADDRESS nor ADDRESS:PORT; such as "
     "192.0.2.53, 127.0.0.1:5353, \"[2001:db8::53]:53\"\n"},
    {"dns: {dnssec: true}\n",
     "1:15: error: dns.dnssec: is not built yet; false, or leave the key out\n"},
    {"registrar: {outbound: on}\n",
     "1:23: error: registrar.outbound: 'on' is neither true nor false; say true or false\n"},
    {"sip: {session_timer: 2m, min_se: 3m}\n",
     "1:34: error: sip.min_se: is longer than sip.session_timer\n"},
    {"push: {url: \"http://push.example.test/wake\"}\n",
     "1:13: error: push.url: is not where such a request may go; such as "
     "https://push.example.test/wake; http on the loopback\n"},
    {"push: {url: \"http://127.0.0.1.example.test/\"}\n",
     "1:13: error: push.url: is not where such a request may go; such as "
     "https://push.example.test/wake; http on the loopback\n"},
    {"push: {secret: hunter2}\n",
     "1:16: error: push.secret: a secret may not stand in the file itself; file:PATH, env:NAME or "
     "credential:NAME\n"},
    {"tls: {minimum: 1.1}\n",
     "1:16: error: tls.minimum: '1.1' is not a word that can stand here; say 1.2 or 1.3\n"},
    {"tls: {certificate: none.pem}\n",
     "1:20: error: tls.certificate: cannot read none.pem: no such file; relative paths start "
     "at the folder of the file\n"},
    /* accounts */
    {"accounts: [{name: A}]\n",
     "1:12: error: accounts[]: has no user; such as {user: alice, number: 101}\n"},
    {"accounts: [{user: \"a b\"}]\n",
     "1:19: error: accounts[].user: 'a b' is no user name; letters, digits and -_.!~*'()&=+$, "
     "such as alice or alice@example.test\n"},
    {"accounts: [{user: a, password: hunter2hunter2}]\n",
     "1:32: error: accounts[].password: a password may not stand in the file itself; "
     "file:PATH, env:NAME, credential:NAME, or `tandem user passwd`\n"},
    {"accounts: [{user: a, number: 10a}]\n",
     "1:30: error: accounts[].number: '10a' is no number; digits, * and #, such as 101, "
     "\"+41445550101\"\n"},
    {"accounts:\n- {user: a}\n- {user: b}\n- {user: a}\n",
     "4:3: error: accounts: user 'a' is used in t.yaml:2 as well; a name or number belongs to "
     "one account\n"},
    {"accounts:\n- {user: a, number: 1}\n- {user: b, number: [2, 1]}\n",
     "3:3: error: accounts: number '1' is used in t.yaml:2 as well; a name or number belongs "
     "to one account\n"},
    {"accounts:\n- {user: a, number: 7}\n- {user: 7}\n",
     "3:3: error: accounts: user '7' is used in t.yaml:2 as well; a name or number belongs to "
     "one account\n"},
    {"domains: [a.test]\naccounts: [{user: a@b.test}]\n",
     "2:12: error: accounts[].user: b.test is none of the domains; name it under domains, or "
     "leave it out for the first domain\n"},
    {"accounts: [{user: a, forward: {busy: b}}]\n",
     "1:22: error: accounts[].forward: is not built yet; leave it out for now\n"},
};

static void each_mistake_has_its_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        char wanted[1024];
        snprintf(wanted, sizeof(wanted), "t.yaml:%s", mistakes[i].line);
        refused(mistakes[i].text, wanted);
    }
}

static void names_alike_in_two_domains_are_two_accounts(void **state)
{
    (void)state;
    struct config *c = good("domains: [a.test, b.test]\naccounts: [{user: x}, {user: x@b.test}, "
                            "{user: 7, number: 7}]\n");
    assert_int_equal(c->settings->accounts_n, 3);
    config_free(c);
}

static void what_is_found_late_stands_in_its_place(void **state)
{
    (void)state;
    refused("accounts: [{user: a}, {user: a}]\nsip: {t1: 1}\n",
            "t.yaml:1:23: error: accounts: user 'a' is used in t.yaml:1 as well; a name or number "
            "belongs to one account\n"
            "t.yaml:2:11: error: sip.t1: '1' has no unit; say 1s\n");
}

/* Each name that config.def keeps for later says so. */
static void what_is_not_built_yet_says_so(void **state)
{
    (void)state;
    static const char *const later[] = {
#define CONFIG_LATER(path) path,
#include "config/config.def"
    };
    for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
        char text[256], wanted[256];
        size_t n = 0, open = 0;
        char close[16] = "";
        for (const char *p = later[i]; *p; p++) {
            if (*p == '[' || *p == '.') {
                bool list = *p == '[';
                n += (size_t)snprintf(text + n, sizeof(text) - n, list ? ": [{" : ": {");
                open += list ? 2 : 1;
                memmove(close + (list ? 2 : 1), close, open);
                memcpy(close, "}]", list ? 2 : 1);
                p += list ? 2 : 0; /* "].": the field follows */
            } else {
                text[n++] = *p;
            }
        }
        n += (size_t)snprintf(text + n, sizeof(text) - n, ": 1%s\n", close);
        snprintf(wanted, sizeof(wanted), ": error: %s: is not built yet; leave it out for now\n",
                 later[i]);
        assert_null(load(text));
        assert_non_null(strstr(said, wanted));
    }
}

static void more_problems_than_fit_are_counted(void **state)
{
    (void)state;
    char text[8192];
    size_t n = 0;
    for (int i = 0; i < 250; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "unknown%d: 1\n", i);
    assert_null(load(text));
    size_t lines = 0;
    for (const char *p = said; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, CONFIG_PROBLEMS_MAX + 1);
    assert_non_null(strstr(said, "there are more problems than the 200 shown\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_file_gives_every_default),
        cmocka_unit_test(every_key_has_its_value),
        cmocka_unit_test(one_duration_is_a_range_of_itself),
        cmocka_unit_test(weak_settings_are_findings),
        cmocka_unit_test(what_has_no_effect_is_a_finding),
        cmocka_unit_test(turn_is_there_where_its_section_is),
        cmocka_unit_test(all_mistakes_are_reported_in_order_with_place_and_hint),
        cmocka_unit_test(each_mistake_has_its_line),
        cmocka_unit_test(names_alike_in_two_domains_are_two_accounts),
        cmocka_unit_test(what_is_found_late_stands_in_its_place),
        cmocka_unit_test(what_is_not_built_yet_says_so),
        cmocka_unit_test(more_problems_than_fit_are_counted),
    };
    return cmocka_run_group_tests(tests, in_folder, out_of_folder);
}
