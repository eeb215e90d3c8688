/* SPDX-License-Identifier: MIT */
/* Questions by c-ares to a server of our own on the loopback. */
#include "net_run.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dns/dns.h"

enum { MANY = 200, PORTS_MAX = 256 };

static struct udp *server;
static struct listener *tcp_server;
static struct addr server_addr;
static unsigned heard, told, wanted;
static enum err last_rc;
static struct dnsmsg last; /* values only: views end with the callback */
static char first_target[64];
static uint16_t ports[PORTS_MAX];
static unsigned ports_n;

/* ---- the server: what it does depends on the first label ---- */

static void answer_to(const struct dnsmsg *q, struct buf *b)
{
    static const struct dns_rr srv[2] = {
        {.name = {"srv.example", 11},
         .type = DNS_SRV,
         .ttl_s = 77,
         .srv = {.priority = 10, .weight = 20, .port = 5060, .target = {"one.example", 11}}},
        {.name = {"srv.example", 11},
         .type = DNS_SRV,
         .ttl_s = 78,
         .srv = {.priority = 20, .weight = 0, .port = 5070, .target = {"two.example", 11}}}};
    struct dns_rr a = {.name = q->question, .type = DNS_A, .ttl_s = 5, .ip = {192, 0, 2, 9}};
    struct dnsmsg m = {.id = q->id,
                       .response = true,
                       .question = q->question,
                       .question_type = q->question_type,
                       .rrs = &a,
                       .n = 1};
    if (sv_starts(q->question, SV("srv."))) {
        m.rrs = srv;
        m.n = 2;
    } else if (sv_starts(q->question, SV("nx.")) || sv_eq(q->question, SV("nx"))) {
        m.rcode = 3;
        m.n = 0;
    } else if (sv_starts(q->question, SV("fail."))) {
        m.rcode = 2;
        m.n = 0;
    } else if (sv_starts(q->question, SV("empty."))) {
        m.n = 0;
    } else if (sv_starts(q->question, SV("other."))) {
        m.question = a.name = SV("forged.example");
    } else if (sv_starts(q->question, SV("big."))) {
        m.truncated = true;
        m.n = 0;
    }
    assert_int_equal(dnsmsg_print_answer(b, &m), ERR_OK);
}

static void on_question(void *arg, struct block *block, const struct addr *from,
                        const struct addr *to)
{
    char mem[2048], out[1024];
    struct arena a;
    struct dnsmsg q;
    struct buf b;
    (void)arg;
    (void)to;
    heard++;
    bool known = false;
    for (unsigned i = 0; i < ports_n; i++)
        known |= ports[i] == from->port;
    if (!known && ports_n < PORTS_MAX)
        ports[ports_n++] = from->port;
    arena_init(&a, mem, sizeof(mem), 0);
    assert_int_equal(dnsmsg_parse(block_sv(block), &a, &q), ERR_OK);
    assert_false(q.response);
    if (!sv_starts(q.question, SV("silent."))) {
        buf_init(&b, out, sizeof(out));
        answer_to(&q, &b);
        sv piece = buf_sv(&b);
        assert_int_equal(udp_send(server, NULL, from, &piece, 1), ERR_OK);
    }
    if (sv_starts(q.question, SV("other."))) { /* the true answer follows the forged one */
        q.question = SV("other.example");
        buf_init(&b, out, sizeof(out));
        struct dns_rr rr = {.name = q.question, .type = DNS_A, .ttl_s = 5, .ip = {192, 0, 2, 1}};
        struct dnsmsg m = q;
        m.response = true;
        m.rrs = &rr;
        m.n = 1;
        assert_int_equal(dnsmsg_print_answer(&b, &m), ERR_OK);
        sv piece = buf_sv(&b);
        assert_int_equal(udp_send(server, NULL, from, &piece, 1), ERR_OK);
    }
    arena_done(&a);
}

/* Over TCP the whole answer comes: RFC 1035 §4.2.2, two octets of length first. */
static void on_tcp_question(void *arg, sv s)
{
    char mem[2048], out[1024], head[2];
    struct arena a;
    struct dnsmsg q;
    struct buf b;
    assert_true(s.n > 2);
    arena_init(&a, mem, sizeof(mem), 0);
    assert_int_equal(dnsmsg_parse(sv_sub(s, 2, s.n), &a, &q), ERR_OK);
    buf_init(&b, out, sizeof(out));
    struct dns_rr rr = {.name = q.question, .type = DNS_A, .ttl_s = 5, .ip = {192, 0, 2, 44}};
    struct dnsmsg m = {.id = q.id,
                       .response = true,
                       .question = q.question,
                       .question_type = q.question_type,
                       .rrs = &rr,
                       .n = 1};
    assert_int_equal(dnsmsg_print_answer(&b, &m), ERR_OK);
    head[0] = (char)(b.n >> 8);
    head[1] = (char)b.n;
    assert_int_equal(stream_send(arg, (sv[]){{head, 2}, buf_sv(&b)}, 2), ERR_OK);
    arena_done(&a);
}

static void on_tcp_close(void *arg, enum err why)
{
    (void)arg;
    (void)why;
}

static void on_tcp_accept(void *arg, struct stream *s)
{
    static const struct stream_handler h = {.on_data = on_tcp_question, .on_close = on_tcp_close};
    (void)arg;
    stream_handle(s, &h, s);
}

/* ---- asking ---- */

static int dns_setup(void **state)
{
    static const struct udp_handler h = {.on_datagram = on_question};
    struct addr a = net_addr("127.0.0.1:0");
    (void)state;
    heard = told = ports_n = 0;
    wanted = 1;
    last_rc = ERR_COUNT;
    net_setup(1);
    assert_int_equal(udp_open(at, &a, &h, NULL, &server), ERR_OK);
    server_addr = server->local;
    assert_int_equal(worker_dns_servers(group, &server_addr, 1), ERR_OK);
    return 0;
}

static int dns_teardown(void **state)
{
    (void)state;
    udp_close(server);
    net_end();
    return 0;
}

static void on_told(void *arg, enum err rc, const struct dnsmsg *answer)
{
    assert_int_equal((rc == ERR_OK), (answer != NULL));
    assert_ptr_equal(arg, &told);
    last_rc = rc;
    if (answer) {
        last = *answer;
        if (answer->n > 0 && answer->rrs[0].type == DNS_SRV)
            snprintf(first_target, sizeof(first_target), SV_FMT, SV_ARG(answer->rrs[0].srv.target));
        if (answer->n > 0 && answer->rrs[0].type == DNS_A)
            snprintf(first_target, sizeof(first_target), "%u.%u.%u.%u", answer->rrs[0].ip[0],
                     answer->rrs[0].ip[1], answer->rrs[0].ip[2], answer->rrs[0].ip[3]);
        if (answer->n > 0)
            last.id = (uint16_t)answer->rrs[0].ttl_s;
    }
    if (++told == wanted)
        net_stop();
}

static struct dns_query *ask(const char *name, enum dns_type type)
{
    struct dns_query *q;
    assert_int_equal(dns_ask(at, sv_of(name), type, on_told, &told, &q), ERR_OK);
    return q;
}

static void srv_comes_with_its_ttl(void **state)
{
    (void)state;
    ask("SRV.Example.", DNS_SRV);
    assert_int_equal(told, 0);
    net_run();
    assert_int_equal(last_rc, ERR_OK);
    assert_int_equal(last.n, 2);
    assert_int_equal(last.id, 77);
    assert_string_equal(first_target, "one.example");
}

static void no_such_name_is_an_answer(void **state)
{
    (void)state;
    ask("nx.example", DNS_NAPTR);
    net_run();
    assert_int_equal(last_rc, ERR_OK);
    assert_int_equal(last.rcode, 3);
}

static void no_record_is_an_answer(void **state)
{
    (void)state;
    ask("empty.example", DNS_AAAA);
    net_run();
    assert_int_equal(last_rc, ERR_OK);
    assert_int_equal(last.rcode, 0);
    assert_int_equal(last.n, 0);
}

static void failing_server_is_unreachable(void **state)
{
    (void)state;
    ask("fail.example", DNS_A);
    net_run();
    assert_int_equal(last_rc, ERR_UNREACHABLE);
}

static void dead_server_is_unreachable(void **state)
{
    (void)state;
    udp_close(server);
    server = NULL;
    ask("a.example", DNS_A);
    assert_int_equal(told, 0);
    net_run();
    assert_int_equal(last_rc, ERR_UNREACHABLE);
}

static void forged_question_is_not_believed(void **state)
{
    (void)state;
    ask("other.example", DNS_A);
    net_run();
    assert_int_equal(last_rc, ERR_OK);
    assert_string_equal(first_target, "192.0.2.1");
}

static void truncated_answer_comes_by_tcp(void **state)
{
    static const struct listener_handler h = {.on_accept = on_tcp_accept};
    (void)state;
    assert_int_equal(stream_listen(at, &server_addr, &h, NULL, &tcp_server), ERR_OK);
    ask("big.example", DNS_A);
    net_run();
    assert_int_equal(last_rc, ERR_OK);
    assert_string_equal(first_target, "192.0.2.44");
    listener_close(tcp_server);
}

enum { ROUNDS = 6 };
static size_t live_after_round[ROUNDS];

static void on_round(void *arg, enum err rc, const struct dnsmsg *answer)
{
    struct dns_query *q;
    (void)arg;
    (void)answer;
    assert_int_equal(rc, ERR_OK);
    if (++told % MANY != 0)
        return;
    live_after_round[told / MANY - 1] = mem_live();
    if (told == ROUNDS * MANY)
        net_stop();
    for (int i = 0; i < MANY && told < ROUNDS * MANY; i++)
        assert_int_equal(dns_ask(at, SV("a.example"), DNS_A, on_round, NULL, &q), ERR_OK);
}

/* A port serves 64 questions at most; a channel that is no longer asked ends with its last answer.
 */
static void ports_are_renewed(void **state)
{
    struct dns_query *q;
    (void)state;
    for (int i = 0; i < MANY; i++)
        assert_int_equal(dns_ask(at, SV("a.example"), DNS_A, on_round, NULL, &q), ERR_OK);
    net_run();
    assert_int_equal(heard, ROUNDS * MANY);
    assert_true(ports_n >= ROUNDS * MANY / 64);
    assert_true(live_after_round[ROUNDS - 1] <= live_after_round[1] + 2);
}

static void must_not_be_told(void *arg, enum err rc, const struct dnsmsg *answer)
{
    (void)arg;
    (void)rc;
    (void)answer;
    fail();
}

static void cancelled_question_is_not_told(void **state)
{
    struct dns_query *q, *r;
    (void)state;
    assert_int_equal(dns_ask(at, SV("a.example"), DNS_A, must_not_be_told, NULL, &q), ERR_OK);
    assert_int_equal(dns_ask(at, SV("silent.example"), DNS_A, must_not_be_told, NULL, &r), ERR_OK);
    ask("b.example", DNS_A);
    dns_cancel(q);
    dns_cancel(r);
    dns_cancel(NULL);
    net_run();
    assert_int_equal(last_rc, ERR_OK);
}

/* The end comes while questions are under way and nobody cancels. */
static void end_with_questions_under_way(void **state)
{
    struct dns_query *q;
    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(dns_ask(at, SV("silent.example"), DNS_A, must_not_be_told, NULL, &q),
                         ERR_OK);
    net_stop();
    net_run();
}

/* ---- what is not asked ---- */

static void localhost_is_the_loopback(void **state)
{
    (void)state;
    ask("localhost", DNS_A);
    assert_int_equal(told, 0);
    net_run();
    assert_int_equal(last_rc, ERR_OK);
    assert_string_equal(first_target, "127.0.0.1");
    assert_int_equal(heard, 0);
}

static void localhost_has_nothing_else(void **state)
{
    (void)state;
    wanted = 3;
    ask("Phone.LocalHost.", DNS_A);
    ask("localhost", DNS_AAAA);
    ask("_sip._udp.localhost", DNS_SRV);
    net_run();
    assert_int_equal(last_rc, ERR_OK);
    assert_int_equal(last.n, 0); /* the SRV */
    assert_int_equal(heard, 0);
}

/* The first name of /etc/hosts with an IPv4 address that is not localhost. */
static bool first_host(char ip[static 64], char name[static 256])
{
    char line[1024];
    bool found = false;
    FILE *f = fopen("/etc/hosts", "r");
    while (f && !found && fgets(line, sizeof line, f))
        found = sscanf(line, "%63[0-9.]%*[ \t]%255[^ \t\r\n#]", ip, name) == 2 &&
                !strstr(name, "localhost");
    if (f)
        fclose(f);
    return found;
}

static void hosts_file_comes_first(void **state)
{
    char ip[64], name[256];
    (void)state;
    if (!first_host(ip, name))
        skip();
    ask(name, DNS_A);
    assert_int_equal(told, 0);
    net_run();
    assert_int_equal(last_rc, ERR_OK);
    assert_string_equal(first_target, ip);
    assert_int_equal(last.id, 60);
    assert_int_equal(heard, 0);
}

static void hosts_file_has_addresses_alone(void **state)
{
    char ip[64], name[256];
    (void)state;
    if (!first_host(ip, name))
        skip();
    wanted = 2;
    ask(name, DNS_SRV);
    ask("notlocalhost", DNS_A);
    net_run();
    assert_int_equal(heard, 2);
}

/* A name of one label that the DNS does not know is not tried with a domain behind it. */
static void names_are_absolute(void **state)
{
    (void)state;
    setenv("LOCALDOMAIN", "search.example", 1);
    ask("nx", DNS_A);
    net_run();
    unsetenv("LOCALDOMAIN");
    assert_int_equal(heard, 1);
}

static struct dns_query *pair[2];

static void cancel_the_other(void *arg, enum err rc, const struct dnsmsg *answer)
{
    struct dns_query **other = arg;
    (void)answer;
    assert_int_equal(rc, ERR_OK);
    told++;
    dns_cancel(*other);
    ask("a.example", DNS_A); /* asking in an answer */
}

static void answer_may_cancel_and_ask(void **state)
{
    (void)state;
    wanted = 2;
    assert_int_equal(dns_ask(at, SV("a.example"), DNS_A, cancel_the_other, &pair[1], &pair[0]),
                     ERR_OK);
    assert_int_equal(dns_ask(at, SV("b.example"), DNS_A, cancel_the_other, &pair[0], &pair[1]),
                     ERR_OK);
    net_run();
    assert_int_equal(told, 2);
}

static void bad_names_and_too_many(void **state)
{
    struct dns_query *q;
    char name[260];
    (void)state;
    assert_int_equal(dns_ask(at, SV(""), DNS_A, on_told, NULL, &q), ERR_SYNTAX);
    assert_int_equal(dns_ask(at, SV("."), DNS_A, on_told, NULL, &q), ERR_SYNTAX);
    assert_int_equal(dns_ask(at, SV("a\\046b"), DNS_A, on_told, NULL, &q), ERR_SYNTAX);
    assert_int_equal(dns_ask(at, (sv){"a\0b", 3}, DNS_A, on_told, NULL, &q), ERR_SYNTAX);
    memset(name, 'a', sizeof(name));
    assert_int_equal(dns_ask(at, (sv){name, 254}, DNS_A, on_told, NULL, &q), ERR_TOOBIG);
    /* a label of 64: c-ares refuses it, and that too is told later */
    assert_int_equal(dns_ask(at, (sv){name, 64}, DNS_A, on_told, &told, &q), ERR_OK);
    assert_int_equal(told, 0);
    net_run();
    assert_int_equal(last_rc, ERR_CORRUPT);
    static const struct addr nine[9];
    struct addr any = net_addr("0.0.0.0:53");
    assert_int_equal(worker_dns_servers(group, &any, 1), ERR_SYNTAX);
    assert_int_equal(worker_dns_servers(group, nine, 9), ERR_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(srv_comes_with_its_ttl, dns_setup, dns_teardown),
        cmocka_unit_test_setup_teardown(no_such_name_is_an_answer, dns_setup, dns_teardown),
        cmocka_unit_test_setup_teardown(no_record_is_an_answer, dns_setup, dns_teardown),
        cmocka_unit_test_setup_teardown(failing_server_is_unreachable, dns_setup, dns_teardown),
        cmocka_unit_test_setup_teardown(dead_server_is_unreachable, dns_setup, dns_teardown),
        cmocka_unit_test_setup_teardown(forged_question_is_not_believed, dns_setup, dns_teardown),
        cmocka_unit_test_setup_teardown(truncated_answer_comes_by_tcp, dns_setup, dns_teardown),
        cmocka_unit_test_setup_teardown(ports_are_renewed, dns_setup, dns_teardown),
        cmocka_unit_test_setup_teardown(localhost_is_the_loopback, dns_setup, dns_teardown),
        cmocka_unit_test_setup_teardown(localhost_has_nothing_else, dns_setup, dns_teardown),
        cmocka_unit_test_setup_teardown(hosts_file_comes_first, dns_setup, dns_teardown),
        cmocka_unit_test_setup_teardown(hosts_file_has_addresses_alone, dns_setup, dns_teardown),
        cmocka_unit_test_setup_teardown(names_are_absolute, dns_setup, dns_teardown),
        cmocka_unit_test_setup_teardown(cancelled_question_is_not_told, dns_setup, dns_teardown),
        cmocka_unit_test_setup_teardown(end_with_questions_under_way, dns_setup, dns_teardown),
        cmocka_unit_test_setup_teardown(answer_may_cancel_and_ask, dns_setup, dns_teardown),
        cmocka_unit_test_setup_teardown(bad_names_and_too_many, dns_setup, dns_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
