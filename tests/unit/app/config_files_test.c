/* SPDX-License-Identifier: MIT */
/* Files, what comes from elsewhere, --set, printing, hostile files. */
#include "config_load.h"
#include <jansson.h>
#include "loop/loop.h"
#include "store/store.h"

/* ---- files ---- */

static void a_file_that_was_named_must_be_there(void **state)
{
    (void)state;
    char path[256];
    snprintf(path, sizeof(path), "%s", path_of("none.yaml"));
    assert_null(load_with(path, NULL, 0));
    assert_string_equal(said, "none.yaml: error: cannot read none.yaml: no such file\n");
    assert_null(load_with(folder, NULL, 0));
    assert_non_null(strstr(said, "not a readable file"));
    setenv("TANDEM_CONFIG", path, 1);
    assert_null(load_with(NULL, NULL, 0));
    put("none.yaml", "workers: 2\n");
    struct config *c = load_with(NULL, NULL, 0);
    unsetenv("TANDEM_CONFIG");
    assert_non_null(c);
    assert_sv(c->file, path);
    assert_int_equal(c->workers, 2);
    config_free(c);
}

static void a_file_over_its_limit_is_refused(void **state)
{
    (void)state;
    size_t n = CONFIG_FILE_MAX;
    char *text = malloc(n + 1);
    assert_non_null(text);
    memset(text, '#', n + 1);
    put_octets("big.yaml", text, n + 1);
    assert_null(load_with(path_of("big.yaml"), NULL, 0));
    assert_string_equal(said, "big.yaml: error: is over 4 MiB\n");
    put_octets("big.yaml", text, n);
    config_free(load_with(path_of("big.yaml"), NULL, 0));
    assert_string_equal(said, "");
    free(text);
}

static void aliases_anchors_and_nesting_are_bounded(void **state)
{
    (void)state;
    size_t cap = 1024 * 1024, n = 0;
    char *text = malloc(cap);
    assert_non_null(text);
    n += (size_t)snprintf(text + n, cap - n, "accounts:\n- &a {user: x}\n");
    for (int i = 0; i < 60000; i++)
        n += (size_t)snprintf(text + n, cap - n, "- *a\n");
    assert_null(load(text));
    assert_non_null(strstr(said, "aliases make this file too large"));
    n = (size_t)snprintf(text, cap, "log: {level: info}\nrun_as: x\nx:\n");
    for (int i = 0; i < 1001; i++)
        n += (size_t)snprintf(text + n, cap - n, "- &a%d x\n", i);
    refused(text, "t.yaml:1004:3: error: there are more than 1000 anchors\n");
    n = (size_t)snprintf(text, cap, "x: ");
    memset(text + n, '[', 40);
    text[n + 40] = '\0';
    refused(text, "t.yaml:1:35: error: is nested more than 32 deep\n");
    n = 0;
    for (int i = 0; i < 257; i++)
        n += (size_t)snprintf(text + n, cap - n, "k%d: 1\n", i);
    refused(text, "t.yaml:1:1: error: more than 256 keys\n");
    refused("log: &l\n  levels: *l\n",
            "t.yaml:1:6: error: log.levels: one value belongs here, not a map\n");
    free(text);
}

static void an_alias_stands_for_its_value(void **state)
{
    (void)state;
    struct config *c = good("sip: {t1: &t 700ms, t4: *t}\n");
    assert_int_equal(c->settings->sip.t4, 700 * USEC_MS);
    config_free(c);
}

static void included_files_merge(void **state)
{
    (void)state;
    assert_int_equal(mkdir(path_of("conf.d"), 0700), 0);
    put("conf.d/20.yaml", "accounts: [{user: carol}]\nsip: {t4: 6s}\nsecurity: {digest: [md5]}\n");
    put("conf.d/10.yaml", "accounts: [{user: bob}]\nlog: {levels: {txn: debug}}\ndata: sub\n");
    put("conf.d/ignored.txt", "[");
    struct config *c = good(
        "include: [conf.d/*.yaml, none.d/*.yaml]\nsip: {t1: 400ms}\nsecurity: {digest: [sha-256]}\n"
        "accounts: [{user: alice}]\nlog: {levels: {sip: warn}}\n");
    const struct settings *s = c->settings;
    assert_int_equal(s->accounts_n, 3);
    assert_sv(s->accounts[0].user, "alice");
    assert_sv(s->accounts[1].user, "bob"); /* in order of name */
    assert_sv(s->accounts[2].user, "carol");
    assert_int_equal(s->sip.t1, 400 * USEC_MS);
    assert_int_equal(s->sip.t4, 6 * USEC_S);
    assert_int_equal(c->levels_n, 2);
    assert_int_equal(s->digest.n, 2);
    assert_int_equal(s->digest.list[0], AUTH_SHA256);
    assert_sv(sv_sub(c->data, strlen(folder), c->data.n),
              "/conf.d/sub"); /* its own file's folder */
    config_free(c);
}

static void a_scalar_set_in_two_files_is_an_error(void **state)
{
    (void)state;
    put("b.yaml",
        "workers: 3\nlog: {levels: {txn: debug}}\nsecurity: {digest: [md5]}\nlisten: udp:5060\n");
    refused("workers: 2\ninclude: b.yaml\nlog: {levels: {txn: warn}}\nsecurity: {digest: "
            "auto}\nlisten: [udp:5060]\n",
            "b.yaml:1:10: error: workers: is set in t.yaml:1 as well; keep one of them\n"
            "b.yaml:2:16: error: log.levels: 'txn' is set in t.yaml:3 as well; keep one of them\n"
            "b.yaml:3:20: error: security.digest: is set in t.yaml:4 as well; keep one of them\n"
            "b.yaml:4:9: error: listen: udp:5060 is bound by t.yaml:5 as well; keep one of them\n");
}

static void includes_that_go_wrong(void **state)
{
    (void)state;
    refused("include: [absent.yaml]\n",
            "t.yaml:1:11: error: include: cannot read 'absent.yaml': no such file\n");
    refused("include: t.yaml\n", "t.yaml:1:10: error: include: t.yaml is read twice\n");
    put("b.yaml", "include: c.yaml\n");
    put("c.yaml", "include: d.yaml\n");
    put("d.yaml", "include: e.yaml\n");
    put("e.yaml", "include: f.yaml\n");
    refused("include: b.yaml\n",
            "e.yaml:1:10: error: include: files include files more than 4 deep\n");
    put("b.yaml", "wokers: 3\n");
    refused("include: b.yaml\n",
            "b.yaml:1:1: error: wokers: no such key; did you mean 'workers'?\n");
}

/* ---- values from elsewhere ---- */

static void values_come_from_elsewhere(void **state)
{
    (void)state;
    put("secret", "correct horse battery\n");
    put("token", "another long secret");
    setenv("TANDEM_TEST_VALUE", "700ms", 1);
    setenv("CREDENTIALS_DIRECTORY", folder, 1);
    struct config *c = good(
        "sip: {t1: env:TANDEM_TEST_VALUE}\n"
        "accounts: [{user: a, password: file:secret}, {user: b, password: credential:token}]\n");
    assert_int_equal(c->settings->sip.t1, 700 * USEC_MS);
    assert_sv(c->settings->accounts[0].password, "correct horse battery");
    assert_sv(c->settings->accounts[1].password, "another long secret");
    struct buf b;
    buf_init_heap(&b, 64 * 1024);
    assert_int_equal(config_print_effective(c, &b), ERR_OK);
    buf_char(&b, 0);
    assert_null(strstr(b.p, "horse"));
    assert_null(strstr(b.p, "another long"));
    assert_non_null(strstr(b.p, "credential:token"));
    buf_done(&b);
    config_free(c);
}

static void what_comes_from_elsewhere_is_never_repeated(void **state)
{
    (void)state;
    setenv("TANDEM_TEST_WRONG", "hunter2", 1);
    put("two", "hunter2\nhunter2\n");
    assert_null(load(
        "sip: {t1: env:TANDEM_TEST_WRONG}\nworkers: env:TANDEM_TEST_WRONG\nadvertise: file:two\n"
        "security: {digest: env:TANDEM_TEST_WRONG, authenticate: env:TANDEM_TEST_WRONG}\n"
        "registrar: {expires: env:TANDEM_TEST_WRONG}\nlisten: env:TANDEM_TEST_WRONG\n"
        "control: {http: env:TANDEM_TEST_WRONG}\nlog: {levels: {x: env:TANDEM_TEST_WRONG}}\n"
        "accounts: [{user: a, password: env:TANDEM_TEST_WRONG}, {user: \"env:NONE_SUCH\"}]\n"));
    assert_null(strstr(said, "hunter2"));
    assert_non_null(strstr(
        said, "t.yaml:1:11: error: sip.t1: the value of env:TANDEM_TEST_WRONG is not a duration"));
    assert_non_null(
        strstr(said, "advertise: the value of file:two has a control character or a line break"));
    assert_non_null(strstr(said, "the environment has no NONE_SUCH"));
    refused("accounts: [{user: a, password: env:TANDEM_TEST_WRONG}]\n",
            "t.yaml:1:32: error: accounts[].password: has fewer than 12 characters; see "
            "security.passwords.minimum\n");
    unsetenv("CREDENTIALS_DIRECTORY");
    refused(
        "run_as: credential:x\n",
        "t.yaml:1:9: error: run_as: there are no credentials: $CREDENTIALS_DIRECTORY is not set; "
        "start it by systemd with LoadCredential=, or use file:PATH\n");
    refused(
        "run_as: credential:../x\n",
        "t.yaml:1:9: error: run_as: a credential is a name without /; such as credential:alice\n");
}

static void the_environment_gives_defaults_only(void **state)
{
    (void)state;
    setenv("STATE_DIRECTORY", "/var/lib/a:/var/lib/b", 1);
    setenv("RUNTIME_DIRECTORY", "/run/a", 1);
    setenv("TANDEM_JOURNAL_MIN", "64KiB", 1);
    struct config *c = good("");
    assert_sv(c->data, "/var/lib/a");
    assert_true(c->data_given);
    assert_sv(c->socket, "/run/a/control.sock");
    assert_int_equal(c->journal_min, 65536);
    config_free(c);
    setenv("TANDEM_DATA", "/data", 1);
    setenv("TANDEM_SOCKET", "/a:b.sock", 1);
    c = good("");
    assert_sv(c->data, "/data");
    assert_sv(c->socket, "/a:b.sock");
    config_free(c);
    c = good("data: /x\ncontrol: {socket: /y}\n");
    assert_sv(c->data, "/x");
    assert_sv(c->socket, "/y");
    config_free(c);
    unsetenv("STATE_DIRECTORY");
    unsetenv("RUNTIME_DIRECTORY");
    unsetenv("TANDEM_JOURNAL_MIN");
    unsetenv("TANDEM_DATA");
    unsetenv("TANDEM_SOCKET");
}

static void set_overrides_one_value(void **state)
{
    (void)state;
    static const char *const right[] = {"sip.t1=300ms", "log.level=debug", "listen=udp:127.0.0.1:0",
                                        "workers=2", "workers=3"};
    put("s.yaml", "sip: {t1: 400ms}\nlisten: [udp:5060, tcp:5060]\n");
    struct config *c = load_with(path_of("s.yaml"), right, 5);
    assert_string_equal(said, "");
    assert_int_equal(c->settings->sip.t1, 300 * USEC_MS);
    assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
    assert_int_equal(c->settings->sip.listeners, 1);
    assert_int_equal(c->workers, 3);
    config_free(c);
    static const char *const wrong[] = {"sip.t1",         "sip=1",      "sip.t1=5", "nothing=1",
                                        "accounts=alice", "sip.mtuu=1", "tls=x",    "a.b.c=1"};
    assert_null(load_with(path_of("s.yaml"), wrong, 8));
    assert_string_equal(said,
                        "--set: error: 'sip.t1' has no =; KEY=VALUE, such as log.level=debug\n"
                        "--set: error: sip: is a section; name one key of it\n"
                        "--set: error: sip.t1: '5' has no unit; say 5s\n"
                        "--set: error: nothing: no such key\n"
                        "--set: error: accounts: is not a single value; write it into a file\n"
                        "--set: error: sip.mtuu: no such key; did you mean 'mtu'?\n"
                        "--set: error: tls: is a section; name one key of it\n"
                        "--set: error: a.b.c: no such key\n");
}

/* ---- printing ---- */

static const char full[] =
    "domains: [One.Test, {name: two.test, realm: \"old \\\"realm\\\"\", aliases: [pbx.two.test], "
    "digest: [md5, sha-256]}]\n"
    "listen: [udp:192.0.2.1:5070, {bind: \"tcp:[2001:db8::1]:0\"}]\n"
    "advertise: 2001:db8::5\nworkers: 3\ndata: /d d\nrun_as: \"-\"\ndrain: 2h\n"
    "store: {sync: 50ms}\ncontrol: {socket: /s.sock, http: \"[::1]:80\"}\n"
    "sip: {t1: 200ms, server: \"# 1\", max_message: 5000B}\nregistrar: {expires: 90s-1d}\n"
    "security: {digest: [sha-256, md5], limits: {total_connections: 30}}\n"
    "accounts:\n  - {user: alice, name: \"A: B\", number: 0041}\n  - {user: bob@two.test, number: "
    "[102, \"*9#\"]}\n"
    "log: {level: debug, levels: {txn: error}}\n";

static void differences(const struct config *a, const struct config *b, const char *changed,
                        const char *restart)
{
    struct buf x, y;
    buf_init_heap(&x, 64 * 1024);
    buf_init_heap(&y, 64 * 1024);
    config_diff(a, b, &x, &y);
    assert_sv(buf_sv(&x), changed);
    assert_sv(buf_sv(&y), restart);
    buf_done(&x);
    buf_done(&y);
}

static void the_effective_file_can_be_read_again(void **state)
{
    (void)state;
    struct config *c = good(full), *again;
    struct buf b, b2;
    buf_init_heap(&b, 64 * 1024);
    buf_init_heap(&b2, 64 * 1024);
    assert_int_equal(config_print_effective(c, &b), ERR_OK);
    buf_char(&b, 0);
    again = good(b.p);
    differences(c, again, "", "");
    assert_int_equal(again->settings->accounts_n, 2);
    assert_sv(again->settings->server, "# 1");
    char wanted[256];
    snprintf(wanted, sizeof(wanted), "    - \"udp:192.0.2.1:5070\"  # %s/t.yaml:2\n", folder);
    assert_non_null(strstr(b.p, wanted));
    assert_non_null(strstr(b.p, "    t2: 4s  # default\n"));
    buf_done(&b);
    buf_done(&b2);
    config_free(again);
    config_free(c);
}

static void the_defaults_can_be_read(void **state)
{
    (void)state;
    struct config *c = good(""), *again;
    struct buf b;
    buf_init_heap(&b, 64 * 1024);
    assert_int_equal(config_print_defaults(&b), ERR_OK);
    buf_char(&b, 0);
    again = good(b.p);
    differences(c, again, "", "");
    assert_true(again->listen_given);
    buf_done(&b);
    config_free(again);
    config_free(c);
}

static void a_reload_says_what_differs(void **state)
{
    (void)state;
    put("secret", "correct horse battery\n");
    struct config *a =
        good("workers: 2\nsip: {ringing: 200s}\nregistrar: {contacts: 10}\nlisten: [udp:5060]\n"
             "accounts: [{user: a}, {user: b}, {user: c, password: file:secret}, {user: e}]\n");
    put("secret", "incorrect horse battery\n");
    struct config *b = good(
        "workers: 3\nregistrar: {contacts: 11}\nlog: {levels: {txn: debug}}\nlisten: [tcp:5060]\n"
        "run_as: x\n"
        "accounts: [{user: e}, {user: d}, {user: c, password: file:secret}, {user: b, number: "
        "1}]\n");
    differences(
        a, b,
        "registrar.contacts: 10 -> 11\naccounts: a removed\naccounts: b changed\naccounts: c "
        "changed\n"
        "accounts: d added\nlog.levels: {} -> {txn: debug}\n",
        "listen: [\"udp:5060\"] -> [\"tcp:5060\"]\nworkers: 2 -> 3\nrun_as: (default) -> x\n");
    config_free(a);
    config_free(b);
}

static void schema_and_reference_know_every_key(void **state)
{
    (void)state;
    static const char *const paths[] = {
#define CONFIG_KEY(id, path, type, lo, hi, words, def, change, help) path,
#include "config/config.def"
    };
    struct buf s, m;
    json_error_t e;
    buf_init_heap(&s, 256 * 1024);
    buf_init_heap(&m, 256 * 1024);
    assert_int_equal(config_print_schema(&s), ERR_OK);
    assert_int_equal(config_print_reference(&m), ERR_OK);
    buf_char(&m, 0);
    json_t *root = json_loadb(s.p, s.n, JSON_REJECT_DUPLICATES, &e);
    assert_non_null(root);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        char cell[128], part[64];
        snprintf(cell, sizeof(cell), "| `%s` |", paths[i]);
        assert_non_null(strstr(m.p, cell));
        const json_t *at = root;
        for (const char *p = paths[i]; *p;) {
            size_t n = strcspn(p, ".");
            snprintf(part, sizeof(part), "%.*s", (int)n, p);
            at = json_object_get(json_object_get(at, "properties"), part);
            assert_non_null(at);
            p += n + (p[n] == '.');
        }
        assert_true(json_is_string(json_object_get(at, "description")));
    }
    json_decref(root);
    buf_done(&s);
    buf_done(&m);
}

/* ---- hostile files, and no memory ---- */

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

static void mutations_never_crash(void **state)
{
    (void)state;
    static const char odd[] = "[]{}:,-#&*!|>'\"%@`?\n\t \\~<=\x80\xff\0";
    uint64_t seed = 1;
    size_t fine = 0;
    char path[256], text[sizeof(full) + 64];
    snprintf(path, sizeof(path), "%s", path_of("m.yaml"));
    for (int round = 0; round < 3000; round++) {
        size_t n = sizeof(full) - 1;
        memcpy(text, full, n);
        for (uint32_t k = 1 + next_random(&seed) % 3; k > 0; k--) {
            size_t at = next_random(&seed) % n;
            uint32_t how = next_random(&seed) % 4;
            if (how == 0) {
                text[at] = (char)next_random(&seed);
            } else if (how == 1) {
                text[at] = odd[next_random(&seed) % (sizeof(odd) - 1)];
            } else if (how == 2) { /* a piece goes */
                size_t gone = 1 + next_random(&seed) % 8;
                gone = gone > n - at ? n - at : gone;
                memmove(text + at, text + at + gone, n - at - gone);
                n -= gone;
            } else if (n + 8 <= sizeof(text)) { /* a piece comes twice */
                size_t twice = n - at < 8 ? n - at : 8;
                memmove(text + at + twice, text + at, n - at);
                n += twice;
            }
            n = n > 0 ? n : 1;
        }
        put_octets("m.yaml", text, n);
        struct config *c = load_with(path, NULL, 0);
        fine += c != NULL;
        config_free(c);
    }
    assert_true(fine > 20 && fine < 2980); /* the mutations reach both sides */
}

static void running_out_of_memory_is_an_error_only(void **state)
{
    (void)state;
    char path[256];
    put("o.yaml", full);
    snprintf(path, sizeof(path), "%s", path_of("o.yaml"));
    bool done = false;
    size_t tries = 0, before = mem_live();
    for (size_t n = 1; !done; n++, tries++) {
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
    assert_true(tries > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_was_named_must_be_there),
        cmocka_unit_test(a_file_over_its_limit_is_refused),
        cmocka_unit_test(aliases_anchors_and_nesting_are_bounded),
        cmocka_unit_test(an_alias_stands_for_its_value),
        cmocka_unit_test(included_files_merge),
        cmocka_unit_test(a_scalar_set_in_two_files_is_an_error),
        cmocka_unit_test(includes_that_go_wrong),
        cmocka_unit_test(values_come_from_elsewhere),
        cmocka_unit_test(what_comes_from_elsewhere_is_never_repeated),
        cmocka_unit_test(the_environment_gives_defaults_only),
        cmocka_unit_test(set_overrides_one_value),
        cmocka_unit_test(the_effective_file_can_be_read_again),
        cmocka_unit_test(the_defaults_can_be_read),
        cmocka_unit_test(a_reload_says_what_differs),
        cmocka_unit_test(schema_and_reference_know_every_key),
        cmocka_unit_test(mutations_never_crash),
        cmocka_unit_test(running_out_of_memory_is_an_error_only),
    };
    return cmocka_run_group_tests(tests, in_folder, out_of_folder);
}
