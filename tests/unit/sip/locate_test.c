/* SPDX-License-Identifier: MIT */
/* From URIs to targets: RFC 3263, RFC 2782, RFC 7984. */
#include "locate_world.h"

/* ---- without the DNS ---- */

static void number(const char *text, const char *want)
{
    struct uri u = uri(text);
    struct result r = {.rc = locate_numeric(locate[0], &u, &r.set)};
    assert_string_equal(text_of(&r), want);
}

static void numbers_are_targets_at_once(void **state)
{
    (void)state;
    number("sip:bob@192.0.2.9", "UDP 192.0.2.9:5060");
    number("sip:192.0.2.9:5080", "UDP 192.0.2.9:5080");
    number("sip:192.0.2.9;transport=TCP", "TCP 192.0.2.9:5060");
    number("sip:192.0.2.9;transport=tls", "TLS 192.0.2.9:5061");
    number("sips:192.0.2.9", "TLS 192.0.2.9:5061");
    number("sips:192.0.2.9:7000;transport=tcp", "TLS 192.0.2.9:7000");
    number("sips:[2001:db8::1]", "TLS [2001:db8::1]:5061");
    number("sip:[2001:db8::1]:5070", "UDP [2001:db8::1]:5070");
    number("sip:example.com;maddr=192.0.2.8", "UDP 192.0.2.8:5060");
    number("sip:example.com;maddr=[2001:db8::8]", "UDP [2001:db8::8]:5060");
    number("sips:Example.com.;maddr=192.0.2.8", "TLS 192.0.2.8:5061=Example.com");
    number("sip:example.com", "MORE");
    number("sip:192.0.2.1;maddr=example.com", "MORE");
    number("tel:+15550100", "UNREACHABLE");
    number("mailto:a@example.com", "UNREACHABLE");
    number("sip:192.0.2.9;transport=ws", "UNREACHABLE");
    number("sips:192.0.2.9;transport=wss", "UNREACHABLE");
    number("sips:192.0.2.9;transport=udp", "UNREACHABLE");
    number("sip:192.0.2.9;transport=sctp", "UNREACHABLE");
    number("sip:x7.invalid", "UNREACHABLE");
    number("sip:x.INVALID.", "UNREACHABLE");
    number("sip:isinvalid", "MORE");
    have[SIP_T_UDP][1] = false;
    number("sip:[2001:db8::1]", "UNREACHABLE");
    have[SIP_T_TCP][0] = false;
    number("sip:192.0.2.9;transport=tcp", "UNREACHABLE");
    /* no UDP at all: TCP */
    have[SIP_T_TCP][0] = true;
    have[SIP_T_UDP][0] = false;
    number("sip:192.0.2.9", "TCP 192.0.2.9:5060");
    assert_int_equal(questions(), 0);
}

static void number_may_be_started_too(void **state)
{
    (void)state;
    gives("sip:192.0.2.9:5080", "UDP 192.0.2.9:5080");
    assert_int_equal(questions(), 0);
}

/* ---- transport: RFC 3263 §4.1 ---- */

static void naptr_chooses_the_transport(void **state)
{
    (void)state;
    zone(by_naptr);
    /* the lowest order that we can use, alone; TLS must show the domain that was asked for */
    gives("sip:bob@Example.COM.", "TLS 192.0.2.11:5071=example.com");
    gives("sips:bob@example.com", "TLS 192.0.2.11:5071=example.com");
    have[SIP_T_TLS][0] = have[SIP_T_TLS][1] = false;
    gives("sip:bob@example.com", "TCP 192.0.2.12:5072, UDP 192.0.2.13:5073");
    have[SIP_T_TCP][0] = have[SIP_T_TCP][1] = false;
    gives("sip:bob@example.com", "UDP 192.0.2.13:5073");
}

static void sips_takes_sips_alone(void **state)
{
    (void)state;
    zone("example.com NAPTR 60 90 10 \"s\" \"SIP+D2T\" \"\" _sip._tcp.example.com\n"
         "_sip._tcp.example.com SRV 60 1 1 5072 b.example.com\n"
         "_sip._udp.example.com SRV 60 1 1 5072 b.example.com\n"
         "b.example.com A 60 192.0.2.12\n");
    gives("sips:example.com", "NOTFOUND");
    zone("example.com A 60 192.0.2.99\n");
    run(6 * USEC_MIN);
    gives("sips:example.com", "TLS 192.0.2.99:5061=example.com");
}

static void naptr_that_leads_astray_is_dropped(void **state)
{
    (void)state;
    zone("example.com NAPTR 60 10 10 \"s\" \"SIP+D2U\" \"!.*!x!\" _sip._udp.bad.example\n"
         "example.com NAPTR 60 10 10 \"a\" \"SIP+D2U\" \"\" bad.example\n"
         "example.com NAPTR 60 20 10 \"s\" \"SIP+D2U\" \"\" _sip._udp.good.example\n"
         "_sip._udp.bad.example SRV 60 1 1 5060 bad.example\n"
         "_sip._udp.good.example SRV 60 1 1 5060 good.example\n"
         "bad.example A 60 192.0.2.66\n"
         "good.example A 60 192.0.2.12\n");
    gives("sip:example.com", "UDP 192.0.2.12:5060");
    assert_int_equal(refused(), 2);
}

static void naptr_without_srv_gives_addresses_by_its_transport(void **state)
{
    (void)state;
    zone("example.com NAPTR 60 10 10 \"s\" \"SIP+D2T\" \"\" _sip._tcp.example.com\n"
         "example.com A 60 192.0.2.12\n");
    gives("sip:example.com", "TCP 192.0.2.12:5060");
}

static void without_naptr_each_srv_is_asked(void **state)
{
    (void)state;
    zone("_sips._tcp.example.com SRV 60 1 1 5061 tls.example.com\n"
         "_sip._udp.example.com SRV 60 1 1 5062 udp.example.com\n"
         "_sip._tcp.example.com SRV 60 1 1 5063 tcp.example.com\n"
         "example.com A 60 192.0.2.10\n"
         "tls.example.com A 60 192.0.2.11\n"
         "udp.example.com A 60 192.0.2.12\n"
         "tcp.example.com A 60 192.0.2.13\n");
    gives("sip:example.com", "TLS 192.0.2.11:5061=example.com");
    gives("sips:example.com", "TLS 192.0.2.11:5061=example.com");
    have[SIP_T_TLS][0] = have[SIP_T_TLS][1] = false;
    gives("sip:example.com", "UDP 192.0.2.12:5062, TCP 192.0.2.13:5063");
    zone("_sip._udp.example.com NXDOMAIN\n");
    run(60 * USEC_S);
    gives("sip:example.com", "TCP 192.0.2.13:5063");
    zone("_sip._tcp.example.com NXDOMAIN\n");
    run(60 * USEC_S);
    gives("sip:example.com", "UDP 192.0.2.10:5060");
}

/* TLS that is there but useless is no reason to speak in the clear. */
static void tls_is_not_talked_down(void **state)
{
    (void)state;
    zone("_sips._tcp.example.com SRV 60 1 1 5061 gone.example.com\n"
         "_sip._udp.example.com SRV 60 1 1 5062 udp.example.com\n"
         "udp.example.com A 60 192.0.2.12\n");
    gives("sip:example.com", "NOTFOUND");
    zone("_sips._tcp.example.com SRV 60 0 0 0 .\n");
    run(60 * USEC_S);
    gives("sip:example.com", "UDP 192.0.2.12:5062");
}

static void tls_is_waited_for(void **state)
{
    (void)state;
    zone("_sips._tcp.example.com TIMEOUT\n"
         "_sip._udp.example.com SRV 60 1 1 5062 udp.example.com\n"
         "udp.example.com A 60 192.0.2.12\n");
    usec begun = sim_now(sim);
    struct result r = find("sip:example.com");
    assert_string_equal(text_of(&r), "UDP 192.0.2.12:5062");
    assert_in_range(r.at - begun, 5 * USEC_S, 6 * USEC_S); /* what the simulated DNS takes */
}

static void transport_and_port_save_questions(void **state)
{
    (void)state;
    zone("example.com NAPTR 60 10 10 \"s\" \"SIP+D2U\" \"\" _sip._udp.example.com\n"
         "_sip._tcp.example.com SRV 60 1 1 5072 b.example.com\n"
         "_sip._udp.example.com SRV 60 1 1 5073 b.example.com\n"
         "example.com A 60 192.0.2.10\n"
         "b.example.com A 60 192.0.2.12\n");
    gives("sip:example.com:5060", "UDP 192.0.2.10:5060");
    assert_int_equal(questions(), 2); /* A, AAAA */
    gives("sips:example.com:5060", "TLS 192.0.2.10:5060=example.com");
    gives("sip:example.com:5060;transport=tcp", "TCP 192.0.2.10:5060");
    assert_int_equal(questions(), 2);
    gives("sip:example.com;transport=tcp", "TCP 192.0.2.12:5072");
    assert_int_equal(questions(), 5); /* SRV, A, AAAA */
    gives("sip:example.com;transport=tls", "TLS 192.0.2.10:5061=example.com");
    assert_int_equal(questions(), 6); /* SRV; no record: the addresses are known */
    gives("sip:192.0.2.77;maddr=example.com;transport=tcp", "TCP 192.0.2.12:5072");
    gives("sips:bank.example;maddr=example.com;transport=tcp", "TLS 192.0.2.10:5061=bank.example");
}

/* ---- SRV: RFC 2782 ---- */

static void priorities_go_first(void **state)
{
    (void)state;
    zone("_sip._udp.example.com SRV 60 20 9 5060 c.example.com\n"
         "_sip._udp.example.com SRV 60 5 0 5060 a.example.com\n"
         "_sip._udp.example.com SRV 60 10 0 5060 b.example.com\n"
         "a.example.com A 60 192.0.2.1\n"
         "b.example.com A 60 192.0.2.2\n"
         "c.example.com A 60 192.0.2.3\n");
    gives("sip:example.com;transport=udp",
          "UDP 192.0.2.1:5060, UDP 192.0.2.2:5060, UDP 192.0.2.3:5060");
}

static void weights_are_shares(void **state)
{
    enum { ROUNDS = 4000 };
    unsigned first[4] = {0}, second_of_a[4] = {0};
    (void)state;
    zone("_sip._udp.example.com SRV 86400 1 0 5060 z.example.com\n"
         "_sip._udp.example.com SRV 86400 1 60 5060 a.example.com\n"
         "_sip._udp.example.com SRV 86400 1 30 5060 b.example.com\n"
         "_sip._udp.example.com SRV 86400 1 10 5060 c.example.com\n"
         "z.example.com A 86400 192.0.2.0\n"
         "a.example.com A 86400 192.0.2.1\n"
         "b.example.com A 86400 192.0.2.2\n"
         "c.example.com A 86400 192.0.2.3\n");
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct result r = find("sip:example.com;transport=udp");
        assert_int_equal(r.set.n, 4);
        first[r.set.dest[0].addr.ip[3]]++;
        if (r.set.dest[0].addr.ip[3] == 1)
            second_of_a[r.set.dest[1].addr.ip[3]]++;
    }
    assert_in_range(first[1], 2250, 2550); /* 60 of 101, five deviations */
    assert_in_range(first[2], 1050, 1330);
    assert_in_range(first[3], 300, 490);
    assert_in_range(first[0], 10, 80); /* "a very small chance" */
    /* then the others, by their own shares */
    assert_in_range(second_of_a[2] * 100 / first[1], 67, 79);
    assert_in_range(second_of_a[3] * 100 / first[1], 19, 30);
    assert_int_equal(questions(), 9); /* SRV, A and AAAA of each: all from the cache */
}

static void weight_0_beside_1_is_as_likely(void **state)
{
    unsigned first = 0;
    (void)state;
    zone("_sip._udp.example.com SRV 86400 1 0 5060 a.example.com\n"
         "_sip._udp.example.com SRV 86400 1 1 5060 b.example.com\n"
         "a.example.com A 86400 192.0.2.1\n"
         "b.example.com A 86400 192.0.2.2\n");
    for (unsigned i = 0; i < 400; i++)
        first += find("sip:example.com;transport=udp").set.dest[0].addr.ip[3] == 1;
    assert_in_range(first, 150, 250); /* of the numbers 0 and 1, both included */
}

static void one_address_is_one_target(void **state)
{
    (void)state;
    zone("_sip._udp.example.com SRV 60 1 1 5060 a.example.com\n"
         "_sip._udp.example.com SRV 60 2 1 5060 b.example.com\n"
         "_sip._udp.example.com SRV 60 3 1 5061 b.example.com\n"
         "a.example.com A 60 192.0.2.1\n"
         "b.example.com A 60 192.0.2.1\n");
    gives("sip:example.com;transport=udp", "UDP 192.0.2.1:5060, UDP 192.0.2.1:5061");
}

static void same_seed_same_order(void **state)
{
    char order[2][4096];
    struct buf b;
    (void)state;
    end();
    for (unsigned k = 0; k < 2; k++) {
        begin(5);
        buf_init(&b, order[k], sizeof order[k] - 1);
        zone("_sip._udp.example.com SRV 60 1 5 5060 a.example.com\n"
             "_sip._udp.example.com SRV 60 1 5 5060 b.example.com\n"
             "_sip._udp.example.com SRV 60 1 5 5060 c.example.com\n"
             "a.example.com A 60 192.0.2.1\n"
             "b.example.com A 60 192.0.2.2\n"
             "c.example.com A 60 192.0.2.3\n");
        for (unsigned i = 0; i < 20; i++) {
            struct result r = find("sip:example.com;transport=udp");
            buf_str(&b, text_of(&r));
        }
        assert_int_equal(b.rc, ERR_OK);
        order[k][b.n] = 0;
        if (k == 0)
            end();
    }
    assert_string_equal(order[0], order[1]);
}

static void dot_is_a_no(void **state)
{
    (void)state;
    zone("_sip._udp.example.com SRV 60 0 0 0 .\n"
         "example.com A 60 192.0.2.10\n");
    gives("sip:example.com;transport=udp", "NOTFOUND");
    gives("sip:example.com", "NOTFOUND"); /* UDP is the default, and it is not there */
    gives("sip:example.com;transport=tcp", "TCP 192.0.2.10:5060");
}

static void port_0_is_dropped(void **state)
{
    (void)state;
    zone("_sip._udp.example.com SRV 60 1 1 0 a.example.com\n"
         "_sip._udp.example.com SRV 60 2 1 5060 a.example.com\n"
         "a.example.com A 60 192.0.2.1\n"
         "_sip._udp.zero.example SRV 60 1 1 0 a.example.com\n"
         "zero.example A 60 192.0.2.2\n");
    gives("sip:example.com;transport=udp", "UDP 192.0.2.1:5060");
    assert_int_equal(refused(), 1);
    gives("sip:zero.example;transport=udp", "NOTFOUND"); /* there were records: no way round */
    assert_int_equal(refused(), 2);
}

/* ---- families: RFC 7984 ---- */

static void families_take_turns_within_a_server(void **state)
{
    (void)state;
    zone("_sip._udp.example.com SRV 60 1 1 5060 a.example.com\n"
         "_sip._udp.example.com SRV 60 2 1 5060 b.example.com\n"
         "a.example.com A 60 192.0.2.1\n"
         "a.example.com AAAA 60 2001:db8::1\n"
         "b.example.com A 60 192.0.2.2\n"
         "b.example.com AAAA 60 2001:db8::2\n");
    gives("sip:example.com;transport=udp", "UDP [2001:db8::1]:5060, UDP 192.0.2.1:5060, "
                                           "UDP [2001:db8::2]:5060, UDP 192.0.2.2:5060");
    no_way6 = true;
    gives("sip:example.com;transport=udp", "UDP 192.0.2.1:5060, UDP 192.0.2.2:5060");
    have[SIP_T_UDP][0] = no_way6 = false;
    gives("sip:example.com;transport=udp", "UDP [2001:db8::1]:5060, UDP [2001:db8::2]:5060");
}

static void families_that_we_lack_are_not_asked_for(void **state)
{
    (void)state;
    zone("a.example.com A 60 192.0.2.1\n"
         "a.example.com AAAA 60 2001:db8::1\n");
    have[SIP_T_UDP][1] = false;
    gives("sip:a.example.com:5060", "UDP 192.0.2.1:5060");
    assert_int_equal(questions(), 1);
}

static void neither_family_is_waited_for_alone(void **state)
{
    (void)state;
    zone("_sip._udp.example.com SRV 60 1 1 5060 silent.example.com\n"
         "_sip._udp.example.com SRV 60 2 1 5060 a.example.com\n"
         "silent.example.com TIMEOUT\n"
         "a.example.com A 60 192.0.2.1\n");
    usec begun = sim_now(sim);
    struct result r = find("sip:example.com;transport=udp");
    assert_string_equal(text_of(&r), "UDP 192.0.2.1:5060");
    assert_in_range(r.at - begun, 500 * USEC_MS, 600 * USEC_MS);
}

/* ---- responses: RFC 3263 §5 ---- */

static void response_gives(struct sip_via via, const char *want)
{
    struct result r = {0};
    struct start s = {.via = &via, .r = &r};
    in_turn(0, start_now, &s);
    r.rc = s.rc;
    if (!s.rc)
        wait_for(&r);
    assert_string_equal(text_of(&r), want);
}

static void responses_go_by_the_via(void **state)
{
    (void)state;
    zone(by_naptr);
    zone("example.com NAPTR 60 50 50 \"s\" \"SIPS+D2T\" \"\" _sips._tcp.example.com\n"
         "example.com A 60 192.0.2.10\n"
         "plain.example A 60 192.0.2.20\n");
    response_gives((struct sip_via){.transport = SIP_T_UDP, .host = SV("192.0.2.5"), .port = 5070},
                   "UDP 192.0.2.5:5070");
    response_gives((struct sip_via){.transport = SIP_T_TLS, .host = SV("192.0.2.5")},
                   "TLS 192.0.2.5:5061");
    response_gives((struct sip_via){.transport = SIP_T_TCP, .host = SV("example.com")},
                   "TCP 192.0.2.12:5072");
    response_gives((struct sip_via){.transport = SIP_T_TLS, .host = SV("example.com")},
                   "TLS 192.0.2.11:5071=example.com");
    response_gives((struct sip_via){.transport = SIP_T_UDP, .host = SV("example.com"), .port = 99},
                   "UDP 192.0.2.10:99");
    response_gives((struct sip_via){.transport = SIP_T_UDP, .host = SV("plain.example")},
                   "UDP 192.0.2.20:5060");
    response_gives((struct sip_via){.transport = SIP_T_WS, .host = SV("example.com")},
                   "UNREACHABLE");
    response_gives((struct sip_via){.transport = SIP_T_WS, .host = SV("x.invalid")}, "UNREACHABLE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(numbers_are_targets_at_once),
        CASE(number_may_be_started_too),
        CASE(naptr_chooses_the_transport),
        CASE(sips_takes_sips_alone),
        CASE(naptr_that_leads_astray_is_dropped),
        CASE(naptr_without_srv_gives_addresses_by_its_transport),
        CASE(without_naptr_each_srv_is_asked),
        CASE(tls_is_not_talked_down),
        CASE(tls_is_waited_for),
        CASE(transport_and_port_save_questions),
        CASE(priorities_go_first),
        CASE(weights_are_shares),
        CASE(weight_0_beside_1_is_as_likely),
        CASE(one_address_is_one_target),
        CASE(same_seed_same_order),
        CASE(dot_is_a_no),
        CASE(port_0_is_dropped),
        CASE(families_take_turns_within_a_server),
        CASE(families_that_we_lack_are_not_asked_for),
        CASE(neither_family_is_waited_for_alone),
        CASE(responses_go_by_the_via),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
