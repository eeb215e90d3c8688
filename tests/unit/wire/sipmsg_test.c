/* SPDX-License-Identifier: MIT */
/* Messages: pass one, typed values, the check, framing. RFC 3261 §7, §8.1.1, §18.3, §20, §25.1; RFC
 * 4475. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mem/mem.h"
#include "sipmsg/sipmsg_priv.h"

#define assert_sv(got, want) assert_true(sv_eq((got), SV(want)) && sv_present(got))

#define FIELDS                                                     \
    "Via: SIP/2.0/UDP 192.0.2.4:5070;branch=z9hG4bK77ef;rport\r\n" \
    "Max-Forwards: 70\r\n"                                         \
    "From: \"Mara\" <sip:mara@example.test>;tag=8a1\r\n"           \
    "To: <sip:nils@example.test>\r\n"                              \
    "Call-ID: f81d@quay.example.test\r\n"                          \
    "CSeq: 31 OPTIONS\r\n"
#define START "OPTIONS sip:nils@example.test SIP/2.0\r\n"

struct fixture {
    struct arena arena;
    struct sipmsg m;
    struct sipmsg_fault fault;
    char *octets;
};

/* The octets at the end of a heap block, slack included, so that a sanitizer sees what reads
 * beyond. */
static enum err parse_n(struct fixture *f, const char *text, size_t n)
{
    f->octets = malloc(n + BLOCK_SLACK);
    assert_non_null(f->octets);
    memcpy(f->octets, text, n);
    memset(f->octets + n, '\n', BLOCK_SLACK);
    arena_init(&f->arena, NULL, 0, 1 << 20);
    f->fault = (struct sipmsg_fault){0};
    return sipmsg_parse((sv){f->octets, n}, &f->arena, &f->m, &f->fault);
}

static enum err parse(struct fixture *f, const char *text)
{
    return parse_n(f, text, strlen(text));
}

static void done(struct fixture *f)
{
    arena_done(&f->arena);
    free(f->octets);
}

static void refused_n(const char *text, size_t n, enum err want, uint16_t status, const char *why)
{
    struct fixture f;
    enum err rc = parse_n(&f, text, n);
    if (!rc)
        rc = sipmsg_check(&f.m, &f.fault);
    if (rc != want || f.fault.status != status || !f.fault.why || strcmp(f.fault.why, why) != 0)
        fail_msg("%s\n%s %u %s", text, err_name(rc), f.fault.status,
                 f.fault.why ? f.fault.why : "");
    assert_true(f.fault.at <= n);
    done(&f);
}

static void refused(const char *text, const char *why)
{
    refused_n(text, strlen(text), ERR_SYNTAX, 400, why);
}

static void accepted(const char *text)
{
    struct fixture f;
    enum err rc = parse(&f, text);
    if (!rc)
        rc = sipmsg_check(&f.m, &f.fault);
    if (rc)
        fail_msg("%s\n%s %s at %u", text, err_name(rc), f.fault.why, f.fault.at);
    done(&f);
}

static void indexes_a_request(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(
        parse(&f, START FIELDS "X-One: a\r\nv:b\r\nX-One:c \t\r\nSubject:\r\nl: 4\r\n\r\nbodymore"),
        ERR_OK);
    const struct sipmsg *m = &f.m;
    assert_true(m->request);
    assert_int_equal(m->method, SIP_OPTIONS);
    assert_sv(m->method_text, "OPTIONS");
    assert_sv(m->uri_text, "sip:nils@example.test");
    assert_int_equal(m->count, 11);
    assert_sv(sipmsg_body(m), "body"); /* RFC 4475 §3.1.1.8: what follows is noise */
    assert_true(sv_ends(m->text, SV("body")));
    assert_int_equal(m->first[SIP_H_VIA], 0);
    assert_int_equal(m->fields[0].next, 7);
    assert_int_equal(m->fields[7].next, SIPMSG_NONE);
    assert_sv(sipmsg_field_value(m, 7), "b");
    assert_sv(sipmsg_value(m, SIP_H_CALL_ID), "f81d@quay.example.test");
    assert_sv(sipmsg_value(m, SIP_H_SUBJECT), "");
    assert_sv(sipmsg_value_named(m, SV("x-one")), "a");
    assert_sv(sipmsg_value_named(m, SV("i")), "f81d@quay.example.test");
    assert_false(sv_present(sipmsg_value_named(m, SV("X-Two"))));
    assert_false(sv_present(sipmsg_value(m, SIP_H_CONTACT)));
    assert_true(sipmsg_has(m, SIP_H_SUBJECT) && !sipmsg_has(m, SIP_H_ROUTE));
    assert_int_equal(sizeof(struct sipmsg_field), 12);
    done(&f);
}

static void indexes_a_response(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(parse(&f, "sip/2.0 404 N\xc3\xb6t here\t!\r\n" FIELDS "\r\nrest"), ERR_OK);
    assert_false(f.m.request);
    assert_int_equal(f.m.status, 404);
    assert_sv(f.m.reason, "N\xc3\xb6t here\t!");
    assert_sv(sipmsg_body(&f.m), "rest"); /* no length: up to the end of the datagram */
    assert_int_equal(sipmsg_check(&f.m, NULL), ERR_OK);
    done(&f);
    assert_int_equal(parse(&f, "SIP/2.0 100 \r\n" FIELDS "\r\n"), ERR_OK);
    assert_true(sv_present(f.m.reason) && f.m.reason.n == 0);
    const struct uri *uri;
    assert_int_equal(sipmsg_uri(&f.m, &uri), ERR_NOTFOUND);
    done(&f);
    static const char *const broken[] = {"SIP/2.0 99 x",   "SIP/2.0 700 x",  "SIP/2.0 200",
                                         "SIP/2.0  200 x", "SIP/2.0 2000 x", "SIP/2.0 4294967301 x",
                                         "SIP/2.0 2x0 x",  "SIP/3.0 200 OK", "SIP/2.0 -20 x"};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        char text[512];
        struct buf b;
        buf_init(&b, text, sizeof(text));
        buf_str(&b, broken[i]);
        buf_str(&b, "\r\n" FIELDS "\r\n");
        assert_int_equal(parse_n(&f, text, b.n), ERR_SYNTAX);
        assert_int_equal(f.fault.status, 0); /* a response is dropped, not answered */
        done(&f);
    }
}

static void start_lines_have_one_reading(void **state)
{
    (void)state;
    refused("OPTIONS sip:a@b; lr SIP/2.0\r\n" FIELDS "\r\n", "Blank in request line");
    refused("OPTIONS  sip:a@b SIP/2.0\r\n" FIELDS "\r\n", "Blank in request line");
    refused("OPTIONS sip:a@b  SIP/2.0\r\n" FIELDS "\r\n", "Blank in request line");
    refused("OPTIONS sip:a@b SIP/2.0 \r\n" FIELDS "\r\n", "Blank in request line");
    refused("OPTIONS\tsip:a@b SIP/2.0\r\n" FIELDS "\r\n", "Bad method");
    refused("OPTIONS sip:a\t@b SIP/2.0\r\n" FIELDS "\r\n", "Control character in start line");
    refused("OPTIONS sip:a@b\r\n SIP/2.0\r\n" FIELDS "\r\n", "Bad request line");
    refused("OPTIONS SIP/2.0\r\n" FIELDS "\r\n", "Bad request line");
    refused("OPTIONS\r\n" FIELDS "\r\n", "Bad request line");
    refused("OPT(ONS sip:a@b SIP/2.0\r\n" FIELDS "\r\n", "Bad method");
    refused("OPTIONS sip:a@b HTTP/1.1\r\n" FIELDS "\r\n", "Bad request line");
    refused("OPTIONS sip:a@b SIP/2\r\n" FIELDS "\r\n", "Bad SIP version");
    refused("OPTIONS sip:a@b SIP/2.0x\r\n" FIELDS "\r\n", "Bad SIP version");
    refused("OPTIONS <sip:a@b> SIP/2.0\r\n" FIELDS "\r\n", "Bad Request-URI");
    refused("OPTIONS sip:a@b?Route=x SIP/2.0\r\n" FIELDS "\r\n", "Headers in Request-URI");
    accepted("OPTIONS sip:a@b sip/2.0\r\n" FIELDS "\r\n");
    static const char most[] =
        ";a;b;c;d;e;f;g;h;i;j;k;l;m;n;o;p;q;r;s;t;u;v;w;x;y;z;aaaa;bbbb;cccc;dddd;eeee;ffff";
    char many[512];
    snprintf(many, sizeof(many), "OPTIONS sip:a@b%s SIP/2.0\r\n" FIELDS "\r\n", most);
    accepted(many);
    snprintf(many, sizeof(many), "OPTIONS sip:a@b%s;gggg SIP/2.0\r\n" FIELDS "\r\n", most);
    refused_n(many, strlen(many), ERR_TOOBIG, 400, "Bad Request-URI");
    accepted("OPTIONS nobodyKnows:this SIP/2.0\r\n" FIELDS "\r\n");
    static const char version[] = "OPTIONS sip:a@b SIP/7.0\r\n" FIELDS "\r\n";
    refused_n(version, sizeof(version) - 1, ERR_SYNTAX, 505, "Version Not Supported");

    static char text[URI_MAX + 1024];
    struct buf b;
    buf_init(&b, text, sizeof(text));
    buf_str(&b, "OPTIONS sip:");
    for (unsigned i = 0; i < URI_MAX; i++)
        buf_char(&b, 'a');
    buf_str(&b, " SIP/2.0\r\n" FIELDS "\r\n");
    refused_n(text, b.n, ERR_TOOBIG, 414, "Request-URI Too Long");
}

static void lines_have_one_reading(void **state)
{
    (void)state;
    refused(START FIELDS "A: b\nC: d\r\n\r\n", "Bare CR or LF");
    refused(START FIELDS "A: b\rC: d\r\n\r\n", "Bare CR or LF");
    refused(START FIELDS "A: b\r\n\x7f\nC: d\r\n\r\n", "Bare CR or LF");
    refused(START FIELDS "A: b\r\n", "Header section does not end");
    refused(START FIELDS "A: b\r\n\r", "Header section does not end");
    refused(START FIELDS "A: b", "Header section does not end");
    refused(START " A: b\r\n" FIELDS "\r\n", "Control character in start line");
    refused(START FIELDS "no colon\r\n\r\n", "Header field without a name");
    refused(START FIELDS ": x\r\n\r\n", "Header field without a name");
    refused(START FIELDS "a b: x\r\n\r\n", "Header field without a name");
    refused(START FIELDS "a\xc3\xa4: x\r\n\r\n", "Header field without a name");
    refused(START FIELDS "a\r\n : x\r\n\r\n", "Header field without a name");
    refused(START FIELDS "A: \x01\r\n\r\n", "Control character in header section");
    refused(START FIELDS "A: \x7f\r\n\r\n", "Control character in header section");
    refused(START FIELDS "Subject: \"\\\x01\"\r\n\r\n", "Control character in header section");
    refused(START FIELDS "Contact: \\\x01 <sip:a@b>\r\n\r\n",
            "Control character in header section");
    refused(START FIELDS "Contact: \"\x01\" <sip:a@b>\r\n\r\n",
            "Control character in header section");
    static const char nul[] = START FIELDS "A: \0\r\n\r\n";
    refused_n(nul, sizeof(nul) - 1, ERR_SYNTAX, 400, "Control character in header section");
    accepted(START FIELDS "A \t: \xc3\xa4;;,,\t\r\n more\r\n\t\r\n\r\n");
    accepted(START FIELDS "C%6Fntact: \"\r\n\r\n"); /* unknown names: framing only */
    /* RFC 4475 §3.1.1.2: a quoted pair may be any octet but CR and LF */
    struct fixture f;
    static const char pair[] = START FIELDS "Contact: \"\\\0\\\x07\\\x7f\" <sip:a@b>\r\n\r\n";
    assert_int_equal(parse_n(&f, pair, sizeof(pair) - 1), ERR_OK);
    assert_int_equal(sipmsg_check(&f.m, NULL), ERR_OK);
    done(&f);
}

static void single_fields_come_once(void **state)
{
    (void)state;
    static const char *const twice[] = {
        "From: <sip:a@b>;tag=1", "f: <sip:a@b>;tag=1", "To: <sip:a@b>",
        "t: <sip:a@b>",          "Call-ID: a",         "i: a",
        "CSeq: 31 OPTIONS",      "Max-Forwards: 70"};
    for (size_t i = 0; i < sizeof(twice) / sizeof(twice[0]); i++) {
        char text[512];
        struct buf b;
        buf_init(&b, text, sizeof(text));
        buf_str(&b, START FIELDS);
        buf_str(&b, twice[i]);
        buf_str(&b, "\r\n\r\n");
        buf_char(&b, '\0');
        refused(text, "Header field given twice");
    }
    refused(START FIELDS "Content-Length: 1\r\nl: 1\r\n\r\nx", "Header field given twice");
    accepted(START FIELDS "Via: SIP/2.0/TCP h\r\nContact: <sip:a@b>\r\nm: <sip:c@d>\r\n\r\n");
    accepted(START FIELDS "X-A: 1\r\nX-A: 2\r\n\r\n");
}

static void content_length_is_exact(void **state)
{
    (void)state;
    refused(START FIELDS "Content-Length: 5\r\n\r\nbody", "Body shorter than Content-Length");
    refused(START FIELDS "Content-Length: -1\r\n\r\nbody", "Bad Content-Length");
    refused(START FIELDS "Content-Length: +1\r\n\r\nbody", "Bad Content-Length");
    refused(START FIELDS "Content-Length: 1, 1\r\n\r\nbody", "Bad Content-Length");
    refused(START FIELDS "Content-Length: 0x1\r\n\r\nbody", "Bad Content-Length");
    refused(START FIELDS "Content-Length:\r\n\r\nbody", "Bad Content-Length");
    static const char huge[] = START FIELDS "Content-Length: 18446744073709551617\r\n\r\nx";
    refused_n(huge, sizeof(huge) - 1, ERR_RANGE, 400, "Bad Content-Length");
    accepted(START FIELDS "Content-Length:\r\n 0004\r\n\r\nbody");
}

static void answers_are_possible_after_a_fault(void **state)
{
    (void)state;
    struct fixture f;
    /* what stands before and behind the fault is indexed */
    assert_int_equal(
        parse(&f, "OPTIONS  sip:a@b SIP/2.0\r\nbroken\r\n" FIELDS "To: <sip:c@d>\r\n\r\n"),
        ERR_SYNTAX);
    assert_int_equal(f.fault.status, 400);
    assert_true(f.m.request && f.m.method == SIP_OPTIONS);
    assert_int_equal(f.m.count, 7);
    assert_sv(sipmsg_value(&f.m, SIP_H_TO), "<sip:nils@example.test>");
    const struct sip_via *via;
    assert_int_equal(sipmsg_via(&f.m, &via), ERR_OK);
    done(&f);
    assert_int_equal(parse(&f, START FIELDS "A: \r\nB"), ERR_SYNTAX);
    assert_int_equal(f.m.count, 7);
    done(&f);
    assert_int_equal(parse_n(&f, "\r\n", 2), ERR_SYNTAX);
    assert_int_equal(f.m.count, 0);
    done(&f);
    assert_int_equal(parse_n(&f, "", 0), ERR_SYNTAX);
    done(&f);
    struct arena none;
    struct sipmsg m;
    arena_init(&none, NULL, 0, 0);
    assert_int_equal(sipmsg_parse(SV(START FIELDS "\r\n"), &none, &m, NULL), ERR_NOMEM);
    assert_int_equal(m.count, 0);
    assert_false(sipmsg_has(&m, SIP_H_VIA));
    arena_done(&none);
}

static void names_are_compared_whole(void **state)
{
    (void)state;
    static const struct {
        const char *name, *compact;
        enum sip_header id;
    } all[] = {
#define X(id, name, compact, kind, rfc) {name, compact, SIP_H_##id},
#include "sipmsg/headers.def"
#undef X
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        char text[64];
        size_t n = strlen(all[i].name);
        assert_int_equal(sip_header_of(sv_of(all[i].name)), all[i].id);
        assert_true(sv_eq(sip_header_name(all[i].id), sv_of(all[i].name)));
        for (size_t k = 0; k < n; k++) /* any case */
            text[k] = (char)(k % 2 ? sv_lower(all[i].name[k])
                                   : all[i].name[k] & (all[i].name[k] >= 'a' ? 0x5f : 0x7f));
        assert_int_equal(sip_header_of((sv){text, n}), all[i].id);
        for (size_t k = 0; k < n; k++) { /* one octet off is another name */
            memcpy(text, all[i].name, n);
            text[k] ^= 1;
            assert_int_not_equal(sip_header_of((sv){text, n}), all[i].id);
        }
        if (n > 2) /* "T" is a name of its own */
            assert_int_equal(sip_header_of((sv){all[i].name, n - 1}), SIP_H_OTHER);
        if (all[i].compact[0]) {
            assert_int_equal(sip_header_of(sv_of(all[i].compact)), all[i].id);
            text[0] = (char)(all[i].compact[0] - 0x20);
            assert_int_equal(sip_header_of((sv){text, 1}), all[i].id);
        }
    }
    assert_int_equal(sip_header_of(SV("qnrl")), SIP_H_OTHER);
    assert_int_equal(sip_header_of(SV("")), SIP_H_OTHER);
    assert_int_equal(sip_header_of(SV("z")), SIP_H_OTHER);
    assert_int_equal(sip_header_of(SV("\0")), SIP_H_OTHER);

    for (unsigned m = 1; m < SIP_METHODS; m++)
        assert_int_equal(sip_method_of(sip_method_name((enum sip_method)m)), m);
    assert_int_equal(sip_method_of(SV("invite")), SIP_EXTENSION); /* §7.1: case sensitive */
    assert_int_equal(sip_method_of(SV("INVITEX")), SIP_EXTENSION);
    assert_int_equal(sip_method_of(SV("")), SIP_EXTENSION);
    assert_string_equal(sip_reason(486), "Busy Here");
    assert_string_equal(sip_reason(499), "Unknown Client Error");
    assert_string_equal(sip_reason(99), "Unknown");
    assert_int_equal(sip_transport_of(SV("wss")), SIP_T_WSS);
    assert_int_equal(sip_transport_of(SV("SCTP")), SIP_T_OTHER);
    assert_int_equal(sip_transport_of(SV("")), SIP_T_NONE);
    assert_sv(sip_transport_name(SIP_T_UDP), "UDP");
    assert_int_equal(sip_transport_name(SIP_T_OTHER).n, 0);
}

static void lists_respect_quotes_and_brackets(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(parse(&f, START FIELDS
                           "Contact: \"a, \\\"b\" <sip:a,b@c>;x=\",\",\r\n <sip:d@e>\r\n"
                           "Supported:\r\nContact: sip:f@g \t, *\r\nSupported: x ,y\r\n\r\n"),
                     ERR_OK);
    struct sip_walk it = {.m = &f.m, .id = SIP_H_CONTACT};
    struct sip_item item;
    assert_true(sipmsg_next(&it, &item));
    assert_sv(item.text, "\"a, \\\"b\" <sip:a,b@c>;x=\",\"");
    assert_int_equal(item.pos, 0);
    assert_false(item.only);
    assert_true(sipmsg_next(&it, &item));
    assert_sv(item.text, "<sip:d@e>");
    assert_int_equal(item.pos, 1);
    assert_true(sipmsg_next(&it, &item));
    assert_sv(item.text, "sip:f@g");
    assert_int_equal(item.field, 8);
    assert_int_equal(item.pos, 0);
    assert_true(sipmsg_next(&it, &item));
    assert_false(sipmsg_next(&it, &item));
    assert_int_equal(it.rc, ERR_OK);
    assert_int_equal(sipmsg_count(&f.m, SIP_H_CONTACT), 4);
    assert_int_equal(sipmsg_count(&f.m, SIP_H_SUPPORTED), 2);
    assert_int_equal(sipmsg_count(&f.m, SIP_H_ROUTE), 0);
    assert_true(sipmsg_lists(&f.m, SIP_H_SUPPORTED, SV("Y")));
    assert_false(sipmsg_lists(&f.m, SIP_H_SUPPORTED, SV("z")));
    done(&f);
    static const char *const broken[] = {",", "a,", ",a", "a,,b", "\"a", "<a", "a \"b\\\"", ""};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        char text[512];
        struct buf b;
        buf_init(&b, text, sizeof(text));
        buf_str(&b, START FIELDS "Route: ");
        buf_str(&b, broken[i]);
        buf_str(&b, "\r\n\r\n");
        assert_int_equal(parse_n(&f, text, b.n), ERR_OK);
        struct sip_walk walk = {.m = &f.m, .id = SIP_H_ROUTE};
        while (sipmsg_next(&walk, &item))
            continue;
        if (walk.rc != ERR_SYNTAX)
            fail_msg("taken: %s", broken[i]);
        const struct sip_addr *addrs;
        size_t n;
        assert_int_equal(sipmsg_addrs(&f.m, SIP_H_ROUTE, &addrs, &n), ERR_SYNTAX);
        done(&f);
    }
}

static void via_values(void **state)
{
    (void)state;
    struct sip_via v;
    assert_int_equal(
        sip_via_parse(SV("SIP/2.0/UDP 192.0.2.4:5070;branch=z9hG4bK1;rport;x=\"a;b\""), &v),
        ERR_OK);
    assert_int_equal(v.transport, SIP_T_UDP);
    assert_sv(v.host, "192.0.2.4");
    assert_int_equal(v.port, 5070);
    assert_sv(v.branch, "z9hG4bK1");
    assert_true(v.rport && v.rport_value == 0);
    assert_sv(v.params, "branch=z9hG4bK1;rport;x=\"a;b\"");
    assert_false(sv_present(v.received));

    assert_int_equal(
        sip_via_parse(SV("sip  / 2.0\r\n / tcp \r\n\t [2001:db8::1] : 5061\r\n ; branch\r\n = z9 ;"
                         " received=[2001:db8::2];rport = 7 ; maddr=[::1] ; ttl = 1"),
                      &v),
        ERR_OK);
    assert_int_equal(v.transport, SIP_T_TCP);
    assert_sv(v.host, "2001:db8::1");
    assert_true(v.host_ip6);
    assert_int_equal(v.port, 5061);
    assert_sv(v.branch, "z9");
    assert_sv(v.received, "2001:db8::2");
    assert_sv(v.maddr, "::1");
    assert_int_equal(v.rport_value, 7);
    assert_int_equal(sip_via_parse(SV("SIP/2.0/SCTP h;received=2001:db8::2"), &v), ERR_OK);
    assert_int_equal(v.transport, SIP_T_OTHER);
    assert_sv(v.transport_text, "SCTP");
    assert_sv(v.received, "2001:db8::2");
    assert_false(sv_present(v.branch));

    static const char *const broken[] = {"",
                                         "SIP/2.0/UDP",
                                         "SIP/2.0/UDP ",
                                         "SIP/2.0/ h",
                                         "SIP/2.0 h",
                                         "SIP/7.0/UDP h",
                                         "SOP/2.0/UDP h",
                                         "SIP/2.0/UDP h h",
                                         "SIP/2.0/UDP h:",
                                         "SIP/2.0/UDP h:x",
                                         "SIP/2.0/UDP h..a",
                                         "SIP/2.0/UDP [::1",
                                         "SIP/2.0/UDP ::1",
                                         "SIP/2.0/UDP h;",
                                         "SIP/2.0/UDP h;;",
                                         "SIP/2.0/UDP h;branch",
                                         "SIP/2.0/UDP h;branch=",
                                         "SIP/2.0/UDP h;branch=\"a\"",
                                         "SIP/2.0/UDP h;branch=a:b",
                                         "SIP/2.0/UDP h;branch=a;branch=b",
                                         "SIP/2.0/UDP h;rport;rport",
                                         "SIP/2.0/UDP h;rport=x",
                                         "SIP/2.0/UDP h;received=h",
                                         "SIP/2.0/UDP h;received=192.0.2.1;received=192.0.2.1",
                                         "SIP/2.0/UDP h;maddr=a..b",
                                         "SIP/2.0/UDP h;x=\"a",
                                         "SIP/2.0/UDP h\r\n;x",
                                         "SIP/2.0/UDP 192.0.2.15;;,;,,"};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        if (sip_via_parse(sv_of(broken[i]), &v) != ERR_SYNTAX)
            fail_msg("taken: %s", broken[i]);
    assert_int_equal(sip_via_parse(SV("SIP/2.0/UDP h:0"), &v), ERR_RANGE);
    assert_int_equal(sip_via_parse(SV("SIP/2.0/UDP h:65536"), &v), ERR_RANGE);
    assert_int_equal(sip_via_parse(SV("SIP/2.0/UDP h;ttl=256"), &v), ERR_RANGE);
    assert_int_equal(sip_via_parse(SV_NONE, &v), ERR_SYNTAX);
}

static void addresses(void **state)
{
    (void)state;
    struct sip_addr a;
    assert_int_equal(
        sip_addr_parse(SV("\"J \\\\\\\"\"   \r\n <sip:j@b;lr?a=b>\r\n ;\r\n tag = 98 ;x"), false,
                       &a),
        ERR_OK);
    assert_sv(a.display, "\"J \\\\\\\"\"");
    assert_sv(a.uri.user, "j");
    assert_sv(a.uri.headers, "a=b");
    assert_sv(a.tag, "98");
    assert_true(a.bracketed && !a.star);
    assert_int_equal(sip_addr_parse(SV("token1~` token2'+_\r\n token3*%!.- <sip:m@b>"), false, &a),
                     ERR_OK);
    assert_sv(a.display, "token1~` token2'+_\r\n token3*%!.-");
    assert_false(sv_present(a.params) || sv_present(a.tag));
    assert_int_equal(sip_addr_parse(SV("caller<sip:m@b>;tag=1"), false, &a), ERR_OK);
    assert_sv(a.display, "caller");
    assert_int_equal(sip_addr_parse(SV("<sip:m@b>"), false, &a), ERR_OK);
    assert_false(sv_present(a.display));
    /* without brackets the parameters are the header's (§20) */
    assert_int_equal(sip_addr_parse(SV("sip:m@b ; tag=1;user=phone"), false, &a), ERR_OK);
    assert_sv(a.uri.text, "sip:m@b");
    assert_false(sv_present(a.uri.params));
    assert_sv(a.tag, "1");
    assert_false(a.bracketed);
    assert_int_equal(sip_addr_parse(SV(" * "), true, &a), ERR_OK);
    assert_true(a.star);
    assert_int_equal(sip_addr_parse(SV("*"), false, &a), ERR_SYNTAX);
    assert_int_equal(sip_addr_parse(SV("* <sip:a@b>"), true, &a), ERR_OK);
    assert_false(a.star);

    static const char *const broken[] = {"",
                                         "sip:a@b?c=d",
                                         "sip:a@b,sip:c@d",
                                         "<sip:a@b>,<sip:c@d>",
                                         "< sip:a@b>",
                                         "<sip:a@b >",
                                         "<sip:a@b",
                                         "<>",
                                         "Bell, A <sip:a@b>",
                                         "\"a <sip:a@b>",
                                         "\"a\" sip:a@b",
                                         "\"a\"b <sip:a@b>",
                                         "a \"b\" <sip:a@b>",
                                         "\xc3\xa4 <sip:a@b>",
                                         "<sip:a@b>x",
                                         "<sip:a@b>;",
                                         "<sip:a@b>;;;;",
                                         "<sip:a@b>;tag",
                                         "<sip:a@b>;tag=",
                                         "<sip:a@b>;tag=a;tag=b",
                                         "<sip:a@b>;tag=\"a\"",
                                         "<sip:a@b>;x=a b",
                                         "<sip:a@b>;x=a@b",
                                         "\"a\r\nb\" <sip:a@b>",
                                         "\"a\\\r\n b\" <sip:a@b>",
                                         "sip:a@b x"};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        if (sip_addr_parse(sv_of(broken[i]), true, &a) != ERR_SYNTAX)
            fail_msg("taken: %s", broken[i]);
}

static void small_values(void **state)
{
    (void)state;
    struct sip_cseq c;
    assert_int_equal(sip_cseq_parse(SV("0009\r\n  INVITE"), &c), ERR_OK);
    assert_int_equal(c.number, 9);
    assert_int_equal(c.method, SIP_INVITE);
    assert_int_equal(sip_cseq_parse(SV("2147483647 x"), &c), ERR_OK);
    assert_int_equal(sip_cseq_parse(SV("2147483648 x"), &c), ERR_RANGE);
    assert_int_equal(sip_cseq_parse(SV("36893488147419103232 x"), &c), ERR_RANGE);
    static const char *const broken[] = {"",          "1",          "INVITE",    "1INVITE",
                                         "-1 INVITE", "1 INVITE x", "1 IN(VITE", "1, 2 INVITE"};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        if (sip_cseq_parse(sv_of(broken[i]), &c) != ERR_SYNTAX)
            fail_msg("taken: %s", broken[i]);

    struct sip_auth auth;
    sv name, value;
    enum err rc;
    assert_int_equal(
        sip_auth_parse(SV("Digest username=\"a, \\\"b\" ,\r\n nc = 1,qop=auth"), &auth), ERR_OK);
    assert_sv(auth.scheme, "Digest");
    assert_true(sip_auth_param_next(&auth.params, &name, &value, &rc));
    assert_sv(name, "username");
    assert_sv(value, "\"a, \\\"b\"");
    assert_true(sip_auth_param_next(&auth.params, &name, &value, &rc));
    assert_sv(name, "nc");
    assert_sv(value, "1");
    assert_true(sip_auth_param_next(&auth.params, &name, &value, &rc));
    assert_false(sip_auth_param_next(&auth.params, &name, &value, &rc));
    assert_int_equal(rc, ERR_OK);
    static const char *const bad_params[] = {"a",  "a=",    "a=b,",    "a=b,,c=d", "a=b;c=d",
                                             "=b", "a=\"b", "a=b c=d", ""};
    for (size_t i = 0; i < sizeof(bad_params) / sizeof(bad_params[0]); i++) {
        sv rest = sv_of(bad_params[i]);
        while (sip_auth_param_next(&rest, &name, &value, &rc))
            continue;
        if (rc != ERR_SYNTAX)
            fail_msg("taken: %s", bad_params[i]);
    }
    assert_int_equal(sip_auth_parse(SV("Digest"), &auth), ERR_SYNTAX);
    assert_int_equal(sip_auth_parse(SV("Dig,est a=b"), &auth), ERR_SYNTAX);

    assert_true(sip_param(SV("a=1; B ;c = \"x;y\""), SV("b"), &value) && value.n == 0 && value.p);
    assert_true(sip_param(SV("a=1; B ;c = \"x;y\""), SV("C"), &value));
    assert_sv(value, "\"x;y\"");
    assert_false(sip_param(SV("a=1"), SV("b"), &value));
    assert_false(sip_param(SV_NONE, SV("b"), &value));

    struct arena a;
    sv text;
    arena_init(&a, NULL, 0, 4096);
    assert_int_equal(sip_unquote(&a, SV("\"a \\\"b\\\\ \r\n c\""), &text), ERR_OK);
    assert_sv(text, "a \"b\\ c");
    assert_int_equal(sip_unquote(&a, SV("plain\\x"), &text), ERR_OK);
    assert_sv(text, "plain\\x");
    assert_int_equal(sip_unquote(&a, SV("\"a"), &text), ERR_SYNTAX);
    assert_int_equal(sip_unquote(&a, SV("\"a\"b"), &text), ERR_SYNTAX);
    assert_int_equal(sip_unquote(&a, SV("\"\\\""), &text), ERR_SYNTAX);
    assert_int_equal(sip_unquote(&a, SV_NONE, &text), ERR_OK);
    assert_int_equal(text.n, 0);
    arena_done(&a);
    assert_true(sip_is_token(SV("a-.!%*_+`'~Z9")));
    assert_false(sip_is_token(SV("a b")) || sip_is_token(SV("")) || sip_is_token(SV("a\xc3")));
}

static void typed_values_are_remembered(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(parse(&f, START FIELDS "Expires: 4294967295\r\nMin-Expires: "
                                            "4294967296\r\nSession-Expires: 90 ;refresher=uas\r\n"
                                            "Contact: <sip:a@b>, <sip:c@d>\r\n\r\n"),
                     ERR_OK);
    const struct sip_addr *a1, *a2;
    const struct sip_via *v1, *v2;
    const struct sip_cseq *cseq;
    const struct uri *u1, *u2;
    size_t n;
    uint32_t number;
    sv id;
    assert_int_equal(sipmsg_from(&f.m, &a1), ERR_OK);
    assert_int_equal(sipmsg_from(&f.m, &a2), ERR_OK);
    assert_ptr_equal(a1, a2);
    assert_sv(a1->tag, "8a1");
    assert_int_equal(sipmsg_to(&f.m, &a2), ERR_OK);
    assert_sv(a2->uri.user, "nils");
    assert_int_equal(sipmsg_via(&f.m, &v1), ERR_OK);
    assert_int_equal(sipmsg_vias(&f.m, &v2, &n), ERR_OK);
    assert_int_equal(n, 1);
    assert_sv(v2->branch, "z9hG4bK77ef");
    assert_int_equal(sipmsg_uri(&f.m, &u1), ERR_OK);
    assert_int_equal(sipmsg_uri(&f.m, &u2), ERR_OK);
    assert_ptr_equal(u1, u2);
    assert_int_equal(sipmsg_cseq(&f.m, &cseq), ERR_OK);
    assert_int_equal(cseq->number, 31);
    assert_int_equal(sipmsg_call_id(&f.m, &id), ERR_OK);
    assert_int_equal(sipmsg_addrs(&f.m, SIP_H_CONTACT, &a1, &n), ERR_OK);
    assert_int_equal(sipmsg_addrs(&f.m, SIP_H_CONTACT, &a2, &n), ERR_OK);
    assert_ptr_equal(a1, a2);
    assert_int_equal(n, 2);
    assert_sv(a1[1].uri.user, "c");
    assert_int_equal(sipmsg_addrs(&f.m, SIP_H_ROUTE, &a1, &n), ERR_NOTFOUND);
    assert_int_equal(sipmsg_number(&f.m, SIP_H_EXPIRES, &number), ERR_OK);
    assert_int_equal(number, UINT32_MAX);
    assert_int_equal(sipmsg_number(&f.m, SIP_H_MIN_EXPIRES, &number), ERR_RANGE);
    assert_int_equal(sipmsg_number(&f.m, SIP_H_SESSION_EXPIRES, &number), ERR_OK);
    assert_int_equal(number, 90);
    assert_int_equal(sipmsg_number(&f.m, SIP_H_MIN_SE, &number), ERR_NOTFOUND);
    done(&f);
}

static void checks_what_a_server_acts_on(void **state)
{
    (void)state;
#define V "Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n"
#define F "From: <sip:a@b>;tag=1\r\n"
#define T "To: <sip:a@b>\r\n"
#define I "Call-ID: x\r\n"
#define C "CSeq: 1 OPTIONS\r\n"
    accepted(START V F T I C "\r\n"); /* RFC 2543: no Max-Forwards */
    refused(START F T I C "\r\n", "Via missing");
    refused(START V T I C "\r\n", "From missing");
    refused(START V F I C "\r\n", "To missing");
    refused(START V F T C "\r\n", "Call-ID missing");
    refused(START V F T I "\r\n", "CSeq missing");
    refused(START V F T I "CSeq: 1 INVITE\r\n\r\n", "CSeq method differs");
    refused(START V F T I "CSeq: 1 options\r\n\r\n", "CSeq method differs");
    refused(START V "Via: x\r\n" F T I C "\r\n", "Bad Via");
    refused(START V "Via:\r\n" F T I C "\r\n", "Bad Via");
    refused(START "Via: SIP/2.0/UDP h;branch=z9hG4bK\r\n" F T I C "\r\n", "Bad branch");
    accepted(START V "Via: SIP/2.0/UDP h;branch=z9hG4bK\r\n" F T I C "\r\n");
    refused(START V F T I C "Max-Forwards: x\r\n\r\n", "Bad Max-Forwards");
    static const char hops[] = START V F T I C "Max-Forwards: 256\r\n\r\n";
    refused_n(hops, sizeof(hops) - 1, ERR_RANGE, 400, "Bad Max-Forwards");
    static const char expires[] = START V F T I C "Expires: 4294967296\r\n\r\n";
    refused_n(expires, sizeof(expires) - 1, ERR_RANGE, 400, "Bad Expires");
    accepted(START V F T I C "Contact: *\r\nExpires: 0\r\n\r\n");
    refused(START V F T I C "Contact: sip:a@b?c=d\r\n\r\n", "Bad Contact");
    accepted(START V F T I C
             "Contact: sip:a@b;expires=never;q=7\r\n\r\n"); /* the registrar's to judge */
    refused(START V F T I C "Route: sip:a@b\r\n\r\n", "Bad Route");
    refused(START V F T I C "Record-Route: sip:a@b\r\n\r\n", "Bad Record-Route");
    accepted(START V F T I C "Route: <sip:a@b;lr>, X <sip:c@d>;e\r\n\r\n");
    refused(START V F T I C "Require: a b\r\n\r\n", "Bad option tag");
    refused(START V F T I C "Require:\r\n\r\n", "Bad list of option tags");
    accepted(START V F T I C "Supported:\r\nRequire: 100rel, x\r\n\r\n");
    refused(START V F T I C "Content-Type: text\r\n\r\n", "Bad Content-Type");
    refused(START V F T I C "Content-Type: text/plain;\r\n\r\n", "Bad Content-Type");
    refused(START V F T I C "Content-Type: text/plain, a/b\r\n\r\n", "Bad Content-Type");
    accepted(START V F T I C "c: multipart / mixed\r\n ; boundary = \"a/b\"\r\n\r\n");
    refused(START V F T "Call-ID: a b\r\n" C "\r\n", "Bad Call-ID");
    refused(START V F T "Call-ID: a@b@c\r\n" C "\r\n", "Bad Call-ID");
    refused(START V F T "Call-ID: @b\r\n" C "\r\n", "Bad Call-ID");
    refused(START V F T "Call-ID:\r\n" C "\r\n", "Bad Call-ID");
    accepted(START V F T "Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{\r\n" C "\r\n");
}

static void worst_inputs_stay_in_proportion(void **state)
{
    (void)state;
    /* the costliest value of each kind, as often as a section holds it: memory bounds the work
     * done, since nothing is kept twice */
    static const char *const pieces[] = {"a:\r\n",
                                         "v:SIP/2.0/UDP a\r\n",
                                         "m:<a:b>\r\n",
                                         "Route:<a:b>,<a:b>,<a:b>\r\n",
                                         "s:\r\n \r\n \r\n",
                                         "t:;;;;;;\r\n",
                                         "\r\n ",
                                         "m:\"\\\"\\\"\\\"\"<a:b>\r\n",
                                         "m:\"\"\"\"\"\"\"\"\r\n",
                                         "x:,,,,,,,,\r\n"};
    static char text[65536];
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct buf b;
        buf_init(&b, text, sizeof(text) - 2);
        buf_str(&b, START);
        while (!b.rc)
            buf_str(&b, pieces[i]);
        memcpy(text + b.n, "\r\n", 2);
        struct fixture f;
        enum err rc = parse_n(&f, text, b.n + 2);
        if (!rc)
            rc = sipmsg_check(&f.m, &f.fault);
        assert_int_not_equal(rc, ERR_NOMEM);
        assert_true(f.arena.used <= 2 * b.n + 65536);
        done(&f);
    }
    /* more fields than the index takes, a section beyond 64 KiB, more values than a list takes */
    struct buf b;
    struct fixture f;
    buf_init(&b, text, sizeof(text));
    buf_str(&b, START);
    for (unsigned i = 0; i < SIPMSG_HEADERS_MAX; i++)
        buf_str(&b, "a:\r\n");
    size_t n = b.n;
    buf_str(&b, "\r\n");
    assert_int_equal(parse_n(&f, text, b.n), ERR_OK);
    done(&f);
    b.n = n;
    buf_str(&b, "a:\r\n\r\n");
    refused_n(text, b.n, ERR_TOOBIG, 513, "Too many header fields");
    static char big[80000];
    memset(big, 'a', sizeof(big));
    memcpy(big, START "a:", sizeof(START) + 1);
    refused_n(big, sizeof(big), ERR_TOOBIG, 513, "Header section too large");
    buf_reset(&b);
    buf_str(&b, START "Route: <a:b>");
    for (unsigned i = 0; i < SIPMSG_LIST_MAX; i++)
        buf_str(&b, ",<a:b>");
    buf_str(&b, "\r\n\r\n");
    const struct sip_addr *addrs;
    assert_int_equal(parse_n(&f, text, b.n), ERR_OK);
    assert_int_equal(sipmsg_count(&f.m, SIP_H_ROUTE), SIPMSG_LIST_MAX);
    assert_int_equal(sipmsg_addrs(&f.m, SIP_H_ROUTE, &addrs, &n), ERR_TOOBIG);
    done(&f);
    memset(big, 'x', 256);
    memcpy(big + 256, ": y\r\n\r\n", 8);
    buf_reset(&b);
    buf_str(&b, START);
    buf_str(&b, big);
    refused_n(text, b.n, ERR_TOOBIG, 400, "Header field name too long");
}

static void framing(void **state)
{
    (void)state;
    static const char text[] =
        START FIELDS "a:\r\n b\r\n\tc\r\nContent-Length \t:\r\n 4\r\n\r\nbodyNEXT";
    size_t total = sizeof(text) - 1 - 4, resume = 0, n = 0;
    assert_int_equal(sipmsg_frame(sv_of(text), 65536, &resume, &n, NULL), ERR_OK);
    assert_int_equal(n, total);
    /* any pieces: the same end, and the resume point never falls back */
    for (size_t step = 1; step < 20; step++) {
        size_t before = 0;
        resume = n = 0;
        for (size_t have = 0; have < total; have += step) {
            assert_int_equal(sipmsg_frame((sv){text, have}, 65536, &resume, &n, NULL), ERR_MORE);
            assert_true(resume >= before && resume + 4 >= (have < 4           ? 4
                                                           : have < total - 4 ? have
                                                                              : 0));
            before = resume;
        }
        assert_int_equal(sipmsg_frame((sv){text, total}, 65536, &resume, &n, NULL), ERR_OK);
        assert_int_equal(n, total);
    }
    static const struct {
        const char *text;
        enum err rc;
        uint16_t status;
    } broken[] = {
        {START FIELDS "\r\n", ERR_SYNTAX, 400},
        {START "Content-Length: -1\r\n\r\n", ERR_SYNTAX, 400},
        {START "Content-Length: \r\n\r\n", ERR_SYNTAX, 400},
        {START "Content-Length\r\n\r\n", ERR_SYNTAX, 400},
        {START "Content-Length: 1\r\nl: 1\r\n\r\n", ERR_SYNTAX, 400},
        {START "Content-Length: 99999999999999999999\r\n\r\n", ERR_SYNTAX, 400},
        {START "Content-Length: 2147483648\r\n\r\n", ERR_SYNTAX, 400},
        {START "Content-Length: 2147483647\r\n\r\n", ERR_TOOBIG, 513},
        {START "Content-Length: 65536\r\n\r\n", ERR_TOOBIG, 513},
        {START "a: \nb\r\n\r\n", ERR_SYNTAX, 400},
        {START "a: \rb\r\n\r\n", ERR_SYNTAX, 400},
        {START "a: \x01\r\n\r\n", ERR_SYNTAX, 400},
        {"\r\nx", ERR_SYNTAX, 400},
        {"\nx", ERR_SYNTAX, 400},
    };
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct sipmsg_fault fault = {0};
        resume = 0;
        enum err rc = sipmsg_frame(sv_of(broken[i].text), 65536, &resume, &n, &fault);
        if (rc != broken[i].rc || fault.status != broken[i].status || !fault.why)
            fail_msg("%s: %s %u", broken[i].text, err_name(rc), fault.status);
    }
    static char big[SIPMSG_SECTION_MAX + 2];
    memset(big, 'a', sizeof(big));
    resume = 0;
    assert_int_equal(sipmsg_frame((sv){big, SIPMSG_SECTION_MAX}, 1 << 20, &resume, &n, NULL),
                     ERR_MORE);
    assert_int_equal(sipmsg_frame((sv){big, sizeof(big)}, 1 << 20, &resume, &n, NULL), ERR_TOOBIG);
    resume = 0;
    assert_int_equal(sipmsg_frame((sv){big, 1000}, 1000, &resume, &n, NULL), ERR_TOOBIG);
    resume = 0;
    assert_int_equal(sipmsg_frame(SV(""), 1000, &resume, &n, NULL), ERR_MORE);
    /* "Content-Length" within a body or a folded value is none */
    resume = 0;
    assert_int_equal(sipmsg_frame(SV(START "a: b\r\n Content-Length: 3\r\nl:0\r\n\r\nl: 7"), 1000,
                                  &resume, &n, NULL),
                     ERR_OK);
    assert_int_equal(n, sizeof(START) - 1 + 33);
    assert_int_equal(sipmsg_skip_crlf(SV("\r\n\r\n\rx")), 4);
    assert_int_equal(sipmsg_skip_crlf(SV("x")), 0);
    assert_int_equal(sipmsg_skip_crlf(SV_NONE), 0);
}

/* Lines lie anywhere among the 64 octets that are looked at together. */
static void framing_anywhere(void **state)
{
    (void)state;
    char text[512], filler[140];
    memset(filler, 'f', sizeof(filler));
    for (int pad = 0; pad < (int)sizeof(filler); pad++) {
        size_t resume = 0, n = 0;
        struct sipmsg_fault fault = {0};
        int head = snprintf(text, sizeof(text), START "x: %.*s\r\n", pad, filler);
        int whole = head + snprintf(text + head, sizeof(text) - (size_t)head, "l: 4\r\n\r\nbody");
        for (int have = 0; have < whole; have++) {
            resume = 0;
            assert_int_equal(sipmsg_frame((sv){text, (size_t)have}, 65536, &resume, &n, NULL),
                             ERR_MORE);
        }
        resume = 0;
        assert_int_equal(sipmsg_frame((sv){text, (size_t)whole}, 65536, &resume, &n, NULL), ERR_OK);
        assert_int_equal(n, whole);
        /* the second of two is told, also when the first came in another piece */
        whole = head + snprintf(text + head, sizeof(text) - (size_t)head,
                                "l: 4\r\na: b\r\nContent-Length: 4\r\n\r\nbody");
        for (int first = 0; first < head + 6; first += 7) {
            resume = 0;
            if (first > 0)
                assert_int_equal(sipmsg_frame((sv){text, (size_t)first}, 65536, &resume, &n, NULL),
                                 ERR_MORE);
            assert_int_equal(sipmsg_frame((sv){text, (size_t)whole}, 65536, &resume, &n, &fault),
                             ERR_SYNTAX);
            assert_int_equal(fault.at, head + 12);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(indexes_a_request),
        cmocka_unit_test(indexes_a_response),
        cmocka_unit_test(start_lines_have_one_reading),
        cmocka_unit_test(lines_have_one_reading),
        cmocka_unit_test(single_fields_come_once),
        cmocka_unit_test(content_length_is_exact),
        cmocka_unit_test(answers_are_possible_after_a_fault),
        cmocka_unit_test(names_are_compared_whole),
        cmocka_unit_test(lists_respect_quotes_and_brackets),
        cmocka_unit_test(via_values),
        cmocka_unit_test(addresses),
        cmocka_unit_test(small_values),
        cmocka_unit_test(typed_values_are_remembered),
        cmocka_unit_test(checks_what_a_server_acts_on),
        cmocka_unit_test(worst_inputs_stay_in_proportion),
        cmocka_unit_test(framing),
        cmocka_unit_test(framing_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
