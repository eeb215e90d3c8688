/* SPDX-License-Identifier: MIT */
/* DNS answers: five record types, names and pointers, caps, cuts at every octet, printing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dnsmsg/dnsmsg.h"

#define PBX         "\3pbx\7example\3com\0"
#define OCTETS(lit) ((sv){"" lit, sizeof(lit) - 1})

static struct arena arena;
static struct dnsmsg msg;
static char mem[70000];
static struct buf b;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 0, 1 << 20);
    buf_init(&b, mem, sizeof mem);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static void assert_sv(sv got, const char *want)
{
    if (!sv_eq(got, sv_of(want)) || !sv_present(got))
        fail_msg("got \"" SV_FMT "\", want \"%s\"", SV_ARG(got), want);
}

/* Parses a heap block of exactly these octets and frees it: neither reading beyond it nor pointing
 * into it goes unseen by the sanitizer. */
static enum err parse(sv octets)
{
    char *copy = malloc(octets.n ? octets.n : 1);
    memcpy(copy, octets.p, octets.n);
    enum err rc = dnsmsg_parse((sv){copy, octets.n}, &arena, &msg);
    free(copy);
    return rc;
}

static void u16(unsigned v)
{
    buf_char(&b, (char)(v >> 8));
    buf_char(&b, (char)v);
}

static void header(unsigned flags, unsigned questions, unsigned answers, unsigned authorities)
{
    buf_reset(&b);
    u16(7);
    u16(flags);
    u16(questions);
    u16(answers);
    u16(authorities);
    u16(0);
}

/* owner and data as octets; class IN unless another is asked for */
static void record_of(sv owner, unsigned type, unsigned class_, uint32_t ttl_s, sv data)
{
    buf_put(&b, owner);
    u16(type);
    u16(class_);
    u16(ttl_s >> 16);
    u16(ttl_s & 0xffff);
    u16((unsigned)data.n);
    buf_put(&b, data);
}

static void record(sv owner, unsigned type, sv data)
{
    record_of(owner, type, 1, 300, data);
}

/* A header, the question PBX of type A at offset 12, and one record of that name. */
static enum err parse_record(unsigned type, sv data)
{
    header(0x8180, 1, 1, 0);
    buf_put(&b, OCTETS(PBX "\0\1\0\1"));
    record(OCTETS("\xc0\x0c"), type, data);
    return parse(buf_sv(&b));
}

/* A header and one CNAME record, owned by name. */
static enum err parse_name(sv name)
{
    header(0x8180, 0, 1, 0);
    record(name, 5, OCTETS("\0"));
    return parse(buf_sv(&b));
}

/* ---- records ---- */

static void reads_five_types(void **state)
{
    (void)state;
    assert_int_equal(parse_record(DNS_A, OCTETS("\xc0\x00\x02\x01")), ERR_OK);
    assert_int_equal(msg.id, 7);
    assert_true(msg.response && !msg.truncated && msg.rcode == 0);
    assert_sv(msg.question, "pbx.example.com");
    assert_int_equal(msg.question_type, DNS_A);
    assert_int_equal(msg.n, 1);
    assert_sv(msg.rrs[0].name, "pbx.example.com");
    assert_int_equal(msg.rrs[0].type, DNS_A);
    assert_int_equal(msg.rrs[0].ttl_s, 300);
    assert_memory_equal(msg.rrs[0].ip, "\xc0\x00\x02\x01", 4);

    assert_int_equal(parse_record(DNS_AAAA, OCTETS("\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\5")),
                     ERR_OK);
    assert_int_equal(msg.rrs[0].ip[15], 5);

    assert_int_equal(parse_record(DNS_CNAME, OCTETS("\3BIG\xc0\x10")), ERR_OK);
    assert_sv(msg.rrs[0].cname, "big.example.com");

    assert_int_equal(parse_record(DNS_SRV, OCTETS("\0\x0a\0\x3c\x13\xc4\3Sip\xc0\x10")), ERR_OK);
    assert_int_equal(msg.rrs[0].srv.priority, 10);
    assert_int_equal(msg.rrs[0].srv.weight, 60);
    assert_int_equal(msg.rrs[0].srv.port, 5060);
    assert_sv(msg.rrs[0].srv.target, "sip.example.com");

    assert_int_equal(parse_record(DNS_SRV, OCTETS("\0\0\0\0\0\0\0")), ERR_OK);
    assert_sv(msg.rrs[0].srv.target, ""); /* RFC 2782: "." is "decidedly not available" */

    assert_int_equal(
        parse_record(DNS_NAPTR, OCTETS("\0\x32\0\x64\1s\7SIP+D2U\0\4_sip\4_udp\xc0\x10")), ERR_OK);
    assert_int_equal(msg.rrs[0].naptr.order, 50);
    assert_int_equal(msg.rrs[0].naptr.preference, 100);
    assert_sv(msg.rrs[0].naptr.flags, "s");
    assert_sv(msg.rrs[0].naptr.service, "SIP+D2U");
    assert_sv(msg.rrs[0].naptr.regexp, "");
    assert_sv(msg.rrs[0].naptr.replacement, "_sip._udp.example.com");
}

static void data_of_a_wrong_length_is_refused(void **state)
{
    (void)state;
    assert_int_equal(parse_record(DNS_A, OCTETS("\1\2\3")), ERR_SYNTAX);
    assert_int_equal(parse_record(DNS_A, OCTETS("\1\2\3\4\5")), ERR_SYNTAX);
    assert_int_equal(parse_record(DNS_AAAA, OCTETS("\1\2\3\4")), ERR_SYNTAX);
    assert_int_equal(parse_record(DNS_CNAME, OCTETS("")), ERR_SYNTAX);
    assert_int_equal(parse_record(DNS_CNAME, OCTETS("\0\0")), ERR_SYNTAX);
    assert_int_equal(parse_record(DNS_CNAME, OCTETS("\3pb")), ERR_SYNTAX);
    assert_int_equal(parse_record(DNS_SRV, OCTETS("\0\0\0\0\0")), ERR_SYNTAX);
    assert_int_equal(parse_record(DNS_SRV, OCTETS("\0\0\0\0\0\0\0x")), ERR_SYNTAX);
    assert_int_equal(parse_record(DNS_NAPTR, OCTETS("\0\0\0\0\5s\0\0\0")), ERR_SYNTAX);
    assert_int_equal(parse_record(DNS_NAPTR, OCTETS("\0\0\0\0\0\0\0")), ERR_SYNTAX);
}

static void other_types_and_classes_are_skipped(void **state)
{
    (void)state;
    header(0x8180, 1, 4, 0);
    buf_put(&b, OCTETS(PBX "\0\1\0\1"));
    record(OCTETS("\xc0\x0c"), 16, OCTETS("\3txt"));
    record_of(OCTETS("\xc0\x0c"), DNS_A, 3, 1, OCTETS("\1\2\3\4"));
    record(OCTETS("\2a.\0"), 16, OCTETS("")); /* a label we have no text for, of no interest */
    record_of(OCTETS("\xc0\x0c"), DNS_A, 1, 0x80000001, OCTETS("\1\2\3\4"));
    assert_int_equal(parse(buf_sv(&b)), ERR_OK);
    assert_int_equal(msg.n, 1);
    assert_int_equal(msg.rrs[0].ttl_s, 0); /* RFC 2181 §8 */
}

static void negative_answers_have_a_ttl(void **state)
{
    (void)state;
    static const struct {
        uint32_t ttl_s;
        uint8_t minimum, want;
    } rows[] = {{900, 60, 60}, {30, 60, 30}};
    for (size_t i = 0; i < 2; i++) {
        header(0x8183, 1, 0, 2);
        buf_put(&b, OCTETS(PBX "\0\1\0\1"));
        record(OCTETS("\xc0\x10"), 2, OCTETS("\2ns\xc0\x10"));
        char soa[] = "\2ns\xc0\x10\4root\xc0\x10\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\0";
        soa[sizeof soa - 2] = (char)rows[i].minimum;
        record_of(OCTETS("\xc0\x10"), DNS_SOA, 1, rows[i].ttl_s, (sv){soa, sizeof soa - 1});
        assert_int_equal(parse(buf_sv(&b)), ERR_OK);
        assert_int_equal(msg.rcode, 3);
        assert_int_equal(msg.n, 0);
        assert_int_equal(msg.negative_ttl_s, rows[i].want);
    }
    header(0x8183, 0, 0, 1);
    record(OCTETS("\0"), DNS_SOA, OCTETS("\0\0\0\0\0\1"));
    assert_int_equal(parse(buf_sv(&b)), ERR_SYNTAX);
}

static void reads_flags(void **state)
{
    (void)state;
    header(0x0200, 0, 0, 0);
    assert_int_equal(parse(buf_sv(&b)), ERR_OK);
    assert_true(!msg.response && msg.truncated);
    assert_false(sv_present(msg.question));
    header(0x8185, 0, 0, 0);
    assert_int_equal(parse(buf_sv(&b)), ERR_OK);
    assert_true(msg.response && !msg.truncated && msg.rcode == 5);
    header(0x8180, 2, 0, 0);
    buf_put(&b, OCTETS("\0\0\1\0\1\0\0\1\0\1"));
    assert_int_equal(parse(buf_sv(&b)), ERR_SYNTAX); /* RFC 9619: one question */
}

/* ---- names ---- */

static void pointers_only_go_back(void **state)
{
    (void)state;
    assert_int_equal(parse_name(OCTETS("\1a\1B\0")), ERR_OK);
    assert_sv(msg.rrs[0].name, "a.b");
    assert_int_equal(parse_name(OCTETS("\xc0\x0c")), ERR_SYNTAX);      /* itself */
    assert_int_equal(parse_name(OCTETS("\1a\xc0\x0c")), ERR_SYNTAX);   /* its own run of labels */
    assert_int_equal(parse_name(OCTETS("\1a\xc0\x10\0")), ERR_SYNTAX); /* forward */
    assert_int_equal(parse_name(OCTETS("\xc0\x04")), ERR_SYNTAX);      /* the header */
    assert_int_equal(parse_name(OCTETS("\xff\xff")), ERR_SYNTAX);      /* beyond the message */
    char reserved[256]; /* 01 and 10 in the top bits, and enough octets to take them for lengths */
    memset(reserved, 'x', sizeof reserved);
    for (unsigned top = 0x40; top <= 0x80; top += 0x40) {
        reserved[0] = (char)top;
        reserved[1 + top] = 0;
        assert_int_equal(parse_name((sv){reserved, 2 + top}), ERR_SYNTAX);
        assert_int_equal(parse_record(DNS_CNAME, (sv){reserved, 2 + top}), ERR_SYNTAX);
    }
    /* two names that point at each other */
    header(0x8180, 1, 1, 0);
    buf_put(&b, OCTETS("\1a\0\0\1\0\1"));
    record(OCTETS("\1b\xc0\x0c"), DNS_CNAME, OCTETS("\1c\xc0\x13"));
    assert_int_equal(parse(buf_sv(&b)), ERR_OK);
    assert_sv(msg.rrs[0].name, "b.a");
    assert_sv(msg.rrs[0].cname, "c.b.a");
    mem[22] = 0x13; /* the owner's pointer now goes to the owner */
    assert_int_equal(parse(buf_sv(&b)), ERR_SYNTAX);
    mem[22] = 0x21; /* and to the CNAME's data, which points back to it */
    assert_int_equal(parse(buf_sv(&b)), ERR_SYNTAX);
}

/* A chain of pointers to pointers in skipped records' data: work that buys nothing is refused. */
static void chains_of_pointers_are_short(void **state)
{
    (void)state;
    for (unsigned hops = 127; hops <= 128; hops++) {
        char chain[1 + 2 * 128];
        chain[0] = 0;
        for (unsigned i = 0; i + 1 < hops; i++) { /* at offset 24, 26, … each to the one before */
            unsigned to = i == 0 ? 23 : 24 + 2 * (i - 1);
            chain[1 + 2 * i] = (char)(0xc0 | to >> 8);
            chain[2 + 2 * i] = (char)to;
        }
        header(0x8180, 0, 2, 0);
        record(OCTETS("\0"), 99, (sv){chain, 1 + 2 * (hops - 1)});
        unsigned last = 24 + 2 * (hops - 2);
        char owner[] = {(char)(0xc0 | last >> 8), (char)last};
        record((sv){owner, 2}, DNS_A, OCTETS("\1\2\3\4"));
        assert_int_equal(parse(buf_sv(&b)), hops > 127 ? ERR_SYNTAX : ERR_OK);
    }
}

static void names_end_at_255_octets(void **state)
{
    (void)state;
    for (size_t last = 61; last <= 62; last++) { /* 3 * 64 + 1 + last + 1 octets */
        char name[260], text[260];
        size_t n = 0;
        for (size_t label = 0; label < 4; label++) {
            size_t octets = label < 3 ? 63 : last;
            name[n++] = (char)octets;
            for (size_t i = 0; i < octets; i++)
                name[n++] = 'x';
        }
        name[n++] = 0;
        assert_int_equal(parse_name((sv){name, n}), last > 61 ? ERR_TOOBIG : ERR_OK);
        for (size_t i = 0; i < n; i++)
            text[i] = i % 64 == 63 ? '.' : 'x';
        if (last == 61)
            assert_true(sv_eq(msg.rrs[0].name, (sv){text, 253}));
        buf_reset(&b);
        assert_int_equal(dnsmsg_print_query(&b, 1, (sv){text, n - 2}, DNS_A),
                         last > 61 ? ERR_TOOBIG : ERR_OK);
    }
    /* 255 octets and more by way of pointers: each record's name one label longer than the last's
     */
    header(0x8180, 0, 20, 0);
    size_t at = 12;
    record(OCTETS("\x0fxxxxxxxxxxxxxxx\0"), DNS_A, OCTETS("\1\2\3\4"));
    for (size_t i = 1; i < 20; i++) {
        buf_put(&b, OCTETS("\x0fxxxxxxxxxxxxxxx"));
        u16(0xc000 | (unsigned)at);
        at = b.n - 18;
        record(OCTETS(""), DNS_A, OCTETS("\1\2\3\4"));
    }
    assert_int_equal(parse(buf_sv(&b)), ERR_TOOBIG);
}

static void labels_without_a_text_are_refused(void **state)
{
    (void)state;
    assert_int_equal(parse_name(OCTETS("\3a.b\0")), ERR_SYNTAX);
    assert_int_equal(parse_name(OCTETS("\3a b\0")), ERR_SYNTAX);
    assert_int_equal(parse_name(OCTETS("\3a\0b\0")), ERR_SYNTAX);
    assert_int_equal(parse_name(OCTETS("\3a\x80"
                                       "b\0")),
                     ERR_SYNTAX);
    assert_int_equal(parse_name(OCTETS("\3a_b\0")), ERR_OK);
}

/* ---- caps and cuts ---- */

static void caps_refuse_one_more(void **state)
{
    (void)state;
    for (unsigned n = DNSMSG_RRS_MAX; n <= DNSMSG_RRS_MAX + 1; n++) {
        header(0x8180, 0, n + 1, 0);
        record(OCTETS("\0"), 16, OCTETS("")); /* a skipped one is not counted */
        for (unsigned i = 0; i < n; i++)
            record(OCTETS("\0"), DNS_A, OCTETS("\1\2\3\4"));
        assert_int_equal(parse(buf_sv(&b)), n > DNSMSG_RRS_MAX ? ERR_TOOBIG : ERR_OK);
    }
    assert_int_equal(msg.n, DNSMSG_RRS_MAX);
    header(0x8180, 0, 0xffff, 0); /* a count that the octets cannot hold */
    assert_int_equal(parse(buf_sv(&b)), ERR_SYNTAX);
    assert_int_equal(parse((sv){mem, 65535}), ERR_SYNTAX);
    assert_int_equal(parse((sv){mem, 65536}), ERR_TOOBIG);
    struct arena tight;
    arena_init(&tight, NULL, 0, 16);
    header(0x8180, 0, 1, 0);
    record(OCTETS("\0"), DNS_A, OCTETS("\1\2\3\4"));
    assert_int_equal(dnsmsg_parse(buf_sv(&b), &tight, &msg), ERR_NOMEM);
    arena_done(&tight);
}

static void stands_being_cut_anywhere(void **state)
{
    (void)state;
    header(0x8180, 1, 5, 1);
    buf_put(&b, OCTETS(PBX "\0\1\0\1"));
    record(OCTETS("\xc0\x0c"), DNS_A, OCTETS("\1\2\3\4"));
    record(OCTETS("\xc0\x0c"), DNS_AAAA, OCTETS("\1\2\3\4\1\2\3\4\1\2\3\4\1\2\3\4"));
    record(OCTETS("\xc0\x0c"), DNS_CNAME, OCTETS("\3big\xc0\x10"));
    record(OCTETS("\xc0\x0c"), DNS_SRV, OCTETS("\0\1\0\1\0\1\3big\xc0\x10"));
    record(OCTETS("\xc0\x0c"), DNS_NAPTR, OCTETS("\0\1\0\1\1s\7SIP+D2U\3!a!\3big\xc0\x10"));
    record(OCTETS("\xc0\x10"), DNS_SOA, OCTETS("\0\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5"));
    assert_int_equal(parse(buf_sv(&b)), ERR_OK);
    assert_int_equal(msg.n, 5);
    assert_int_equal(msg.negative_ttl_s, 5);
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(parse(sv_sub(buf_sv(&b), 0, n)), ERR_SYNTAX);
    buf_char(&b, 'x'); /* the additional section is not read */
    assert_int_equal(parse(buf_sv(&b)), ERR_OK);
}

/* ---- printing ---- */

static void prints_queries(void **state)
{
    (void)state;
    assert_int_equal(dnsmsg_print_query(&b, 0x1234, SV("pbx.example.com"), DNS_SRV), ERR_OK);
    sv want = OCTETS("\x12\x34\1\0\0\1\0\0\0\0\0\0" PBX "\0\x21\0\1");
    assert_true(sv_eq(buf_sv(&b), want));
    buf_reset(&b);
    assert_int_equal(dnsmsg_print_query(&b, 0x1234, SV("pbx.example.com."), DNS_SRV), ERR_OK);
    assert_true(sv_eq(buf_sv(&b), want));
    assert_int_equal(parse(buf_sv(&b)), ERR_OK);
    assert_sv(msg.question, "pbx.example.com");
    assert_false(msg.response);
    buf_reset(&b);
    static const char *const bad[] = {
        "a..b", ".a",    "..",
        "a b",  "a.b..", "0123456789012345678901234567890123456789012345678901234567890123.com"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(dnsmsg_print_query(&b, 1, sv_of(bad[i]), DNS_A), ERR_SYNTAX);
    assert_int_equal(b.n, 0);
    assert_int_equal(dnsmsg_print_query(&b, 1, SV(""), DNS_A), ERR_OK);
    buf_init(&b, mem, 20);
    assert_int_equal(dnsmsg_print_query(&b, 1, SV("pbx.example.com"), DNS_A), ERR_TOOBIG);
}

static void prints_answers_that_read_back(void **state)
{
    (void)state;
    struct dns_rr rrs[] = {
        {.name = SV("a.b"), .type = DNS_A, .ttl_s = 70000, .ip = {192, 0, 2, 1}},
        {.name = SV("a.b"), .type = DNS_AAAA, .ttl_s = 1, .ip = {0x20, 1, [15] = 9}},
        {.name = SV("a.b"), .type = DNS_CNAME, .cname = SV("c.d")},
        {.name = SV("a.b"), .type = DNS_SRV, .srv = {1, 2, 5061, SV("")}},
        {.name = SV("a.b"),
         .type = DNS_NAPTR,
         .naptr = {1, 2, SV("U"), SV("E2U+sip"), SV("!^.*$!sip:a@b!"), SV("")}}};
    struct dnsmsg m = {.id = 9,
                       .response = true,
                       .rcode = 3,
                       .question = SV("a.b"),
                       .question_type = DNS_SRV,
                       .rrs = rrs,
                       .n = 5,
                       .negative_ttl_s = 30};
    assert_int_equal(dnsmsg_print_answer(&b, &m), ERR_OK);
    assert_int_equal(parse(buf_sv(&b)), ERR_OK);
    assert_true(msg.id == 9 && msg.response && !msg.truncated && msg.rcode == 3);
    assert_sv(msg.question, "a.b");
    assert_int_equal(msg.question_type, DNS_SRV);
    assert_int_equal(msg.negative_ttl_s, 30);
    assert_int_equal(msg.n, 5);
    assert_int_equal(msg.rrs[0].ttl_s, 70000);
    assert_memory_equal(msg.rrs[1].ip, rrs[1].ip, 16);
    assert_sv(msg.rrs[2].cname, "c.d");
    assert_int_equal(msg.rrs[3].srv.port, 5061);
    assert_sv(msg.rrs[3].srv.target, "");
    assert_sv(msg.rrs[4].naptr.regexp, "!^.*$!sip:a@b!");
    assert_sv(msg.rrs[4].naptr.service, "E2U+sip");
    m.n = DNSMSG_RRS_MAX + 1;
    assert_int_equal(dnsmsg_print_answer(&b, &m), ERR_TOOBIG);
    m.n = 1;
    rrs[0].type = DNS_SOA;
    assert_int_equal(dnsmsg_print_answer(&b, &m), ERR_UNSUPPORTED);
    char text[256] = {0};
    rrs[0] = (struct dns_rr){.name = SV("a"), .type = DNS_NAPTR};
    rrs[0].naptr.regexp = (sv){text, 256};
    assert_int_equal(dnsmsg_print_answer(&b, &m), ERR_TOOBIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_five_types, setup, teardown),
        cmocka_unit_test_setup_teardown(data_of_a_wrong_length_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(other_types_and_classes_are_skipped, setup, teardown),
        cmocka_unit_test_setup_teardown(negative_answers_have_a_ttl, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_flags, setup, teardown),
        cmocka_unit_test_setup_teardown(pointers_only_go_back, setup, teardown),
        cmocka_unit_test_setup_teardown(chains_of_pointers_are_short, setup, teardown),
        cmocka_unit_test_setup_teardown(names_end_at_255_octets, setup, teardown),
        cmocka_unit_test_setup_teardown(labels_without_a_text_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(caps_refuse_one_more, setup, teardown),
        cmocka_unit_test_setup_teardown(stands_being_cut_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(prints_queries, setup, teardown),
        cmocka_unit_test_setup_teardown(prints_answers_that_read_back, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
