/* SPDX-License-Identifier: MIT */
/* Edits over the received octets: what a proxy changes, and nothing else. RFC 3261 §16.6, §16.7;
 * threat D13. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mem/mem.h"
#include "sipmsg/sipmsg.h"

#define START "OPTIONS sip:nils@example.test SIP/2.0\r\n"
#define TOP                                  \
    "Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n" \
    "Max-Forwards: 70\r\n"
#define REST                    \
    "From: <sip:a@b>;tag=1\r\n" \
    "To: <sip:a@b>\r\n"         \
    "Call-ID: x\r\n"            \
    "CSeq: 1 OPTIONS\r\n"

struct fixture {
    struct arena arena;
    struct sipmsg m;
    struct sipedit e;
    struct buf b;
    char octets[8192 + BLOCK_SLACK], room[8192 + BLOCK_SLACK];
};

static void start(struct fixture *f, const char *text)
{
    size_t n = strlen(text);
    assert_true(n + BLOCK_SLACK <= sizeof(f->octets));
    memcpy(f->octets, text, n);
    memset(f->octets + n, '\n', BLOCK_SLACK);
    arena_init(&f->arena, NULL, 0, 1 << 20);
    assert_int_equal(sipmsg_parse((sv){f->octets, n}, &f->arena, &f->m, NULL), ERR_OK);
    sipedit_init(&f->e, &f->m);
    buf_init(&f->b, f->room, sizeof(f->room) - BLOCK_SLACK);
}

static void gives(struct fixture *f, const char *want)
{
    enum err rc = sipedit_write(&f->e, &f->b);
    if (rc || !sv_eq(buf_sv(&f->b), sv_of(want)))
        fail_msg("%s\n" SV_FMT "\nnot\n%s", err_name(rc), SV_ARG(buf_sv(&f->b)), want);
    struct sipmsg again;
    assert_int_equal(sipmsg_parse(buf_sv(&f->b), &f->arena, &again, NULL), ERR_OK);
    arena_done(&f->arena);
}

static void fails(struct fixture *f, enum err want)
{
    assert_int_equal(sipedit_write(&f->e, &f->b), want);
    arena_done(&f->arena);
}

static struct sip_item item_of(const struct sipmsg *m, enum sip_header h, unsigned n)
{
    struct sip_walk it = {.m = m, .id = h};
    struct sip_item item;
    do
        assert_true(sipmsg_next(&it, &item));
    while (n--);
    return item;
}

static void nothing_changes_nothing(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, START TOP REST "\r\nbody");
    gives(&f, START TOP REST "\r\nbody");
}

static void what_a_proxy_does(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, START "Subject:  odd \r\n blanks\r\n" TOP
                    "Route: <sip:p1;lr> ,\r\n <sip:p2;lr>\r\n" REST "l: 4\r\n\r\nbody");
    struct sip_item top = item_of(&f.m, SIP_H_ROUTE, 0);
    sipedit_uri(&f.e, SV("sip:nils@192.0.2.7"));
    sipedit_line_first(&f.e, SIP_H_VIA, SV("Via: SIP/2.0/TCP p;branch=z9hG4bK2"));
    sipedit_line_first(&f.e, SIP_H_RECORD_ROUTE, SV("Record-Route: <sip:p;lr>"));
    sipedit_value(&f.e, f.m.first[SIP_H_MAX_FORWARDS], SV("69"));
    sipedit_remove_item(&f.e, &top);
    sipedit_line_last(&f.e, SV("X-Last: 1"));
    gives(&f, "OPTIONS sip:nils@192.0.2.7 SIP/2.0\r\nRecord-Route: <sip:p;lr>\r\nSubject:  odd "
              "\r\n blanks\r\n"
              "Via: SIP/2.0/TCP p;branch=z9hG4bK2\r\nVia: SIP/2.0/UDP "
              "h;branch=z9hG4bK1\r\nMax-Forwards: 69\r\n"
              "Route: <sip:p2;lr>\r\n" REST "l: 4\r\nX-Last: 1\r\n\r\nbody");
}

static void length_is_added_when_missing(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, START TOP REST "\r\nbody");
    sipedit_value(&f.e, f.m.first[SIP_H_MAX_FORWARDS], SV("69"));
    gives(&f, START "Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\nMax-Forwards: 69\r\n" REST
                    "Content-Length: 4\r\n\r\nbody");
    start(&f, START TOP REST "\r\nbody");
    sipedit_line_last(&f.e, SV("A: 1"));
    sipedit_line_last(&f.e, SV("A: 2"));
    gives(&f, START TOP REST "A: 1\r\nA: 2\r\nContent-Length: 4\r\n\r\nbody");
}

static void responses_lose_our_via(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, "SIP/2.0 200 OK\r\nv: SIP/2.0/UDP p;branch=z9hG4bKp, SIP/2.0/UDP h\r\n" REST
              "l:0\r\n\r\n");
    struct sip_item top = item_of(&f.m, SIP_H_VIA, 0);
    assert_false(top.only);
    sipedit_remove_item(&f.e, &top);
    sipedit_status(&f.e, 603, SV("Declined"));
    gives(&f, "SIP/2.0 603 Declined\r\nv: SIP/2.0/UDP h\r\n" REST "l:0\r\n\r\n");
    start(&f, "SIP/2.0 100 \r\nVia: SIP/2.0/UDP p\r\nVia: SIP/2.0/UDP h\r\n" REST "l:0\r\n\r\n");
    top = item_of(&f.m, SIP_H_VIA, 0);
    assert_true(top.only);
    sipedit_remove_item(&f.e, &top);
    sipedit_status(&f.e, 183, SV("x"));
    gives(&f, "SIP/2.0 183 x\r\nVia: SIP/2.0/UDP h\r\n" REST "l:0\r\n\r\n");
}

/* All subsets of a list's values, in both orders, leave the others and no stray comma. */
static void values_go_in_any_combination(void **state)
{
    (void)state;
    static const char *const values[] = {"<sip:p0>", "<sip:p1>", "<sip:p2>", "<sip:p3>"};
    for (unsigned set = 1; set < 16; set++) {
        for (unsigned back = 0; back < 2; back++) {
            struct fixture f;
            start(&f, START TOP
                  "Route: <sip:p0> ,<sip:p1>,\r\n <sip:p2>, <sip:p3>\r\nRoute: <sip:q>\r\n" REST
                  "l:0\r\n\r\n");
            for (unsigned i = 0; i < 4; i++) {
                unsigned k = back ? 3 - i : i;
                struct sip_item item = item_of(&f.m, SIP_H_ROUTE, k);
                if (set >> k & 1)
                    sipedit_remove_item(&f.e, &item);
            }
            assert_int_equal(sipedit_write(&f.e, &f.b), ERR_OK);
            struct sipmsg again;
            assert_int_equal(sipmsg_parse(buf_sv(&f.b), &f.arena, &again, NULL), ERR_OK);
            struct sip_walk it = {.m = &again, .id = SIP_H_ROUTE};
            struct sip_item item;
            for (unsigned k = 0; k < 4; k++) {
                if (set >> k & 1)
                    continue;
                assert_true(sipmsg_next(&it, &item));
                assert_true(sv_eq(item.text, sv_of(values[k])));
            }
            assert_true(sipmsg_next(&it, &item) && sv_eq(item.text, SV("<sip:q>")));
            assert_false(sipmsg_next(&it, &item));
            assert_int_equal(it.rc, ERR_OK);
            assert_int_equal(again.count, set == 15 ? 8 : 9);
            arena_done(&f.arena);
        }
    }
}

static void whole_fields_go(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, START "A: 1\r\n" TOP "Route: <sip:p>\r\nroute:\r\n <sip:q>\r\n" REST
                    "l:0\r\nRoute: <sip:r>\r\n\r\n");
    sipedit_remove(&f.e, SIP_H_ROUTE);
    sipedit_remove(&f.e, SIP_H_CONTACT);
    sipedit_remove_field(&f.e, 0);
    gives(&f, START TOP REST "l:0\r\n\r\n");
    /* a line may take the place of one that goes */
    start(&f, START TOP "Route: <sip:p>\r\n" REST "l:0\r\n\r\n");
    sipedit_remove(&f.e, SIP_H_ROUTE);
    sipedit_line_first(&f.e, SIP_H_ROUTE, SV("Route: <sip:z>"));
    sipedit_line_first(&f.e, SIP_H_ROUTE, SV("Route: <sip:y>"));
    gives(&f, START TOP "Route: <sip:z>\r\nRoute: <sip:y>\r\n" REST "l:0\r\n\r\n");
    start(&f, "OPTIONS a:b SIP/2.0\r\n\r\n");
    sipedit_line_first(&f.e, SIP_H_VIA, SV("Via: SIP/2.0/UDP h"));
    gives(&f, "OPTIONS a:b SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nContent-Length: 0\r\n\r\n");
}

static void bodies_bring_their_length(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, START TOP REST "c: a/b\r\nl: 4\r\n\r\nbody");
    sipedit_body(&f.e, SV("text/plain"), SV("longer body"));
    gives(&f, START TOP REST "c: text/plain\r\nl: 11\r\n\r\nlonger body");
    start(&f, START TOP REST "c: a/b\r\nl: 4\r\n\r\nbody");
    sipedit_body(&f.e, SV_NONE, SV_NONE);
    gives(&f, START TOP REST "l: 0\r\n\r\n");
    start(&f, START TOP REST "\r\n");
    sipedit_body(&f.e, SV("a/b"), SV("x"));
    gives(&f, START TOP REST "Content-Length: 1\r\nContent-Type: a/b\r\n\r\nx");
    start(&f, START TOP REST "c: a/b\r\nl: 4\r\n\r\nbody");
    sipedit_body(&f.e, SV_NONE, SV("x"));
    gives(&f, START TOP REST "c: a/b\r\nl: 1\r\n\r\nx");
    start(&f, START TOP REST "l: 4\r\n\r\nbody");
    sipedit_cut(&f.e, sipmsg_body(&f.m), SV("y"));
    sipedit_body(&f.e, SV_NONE, SV("x"));
    fails(&f, ERR_STATE);
    start(&f, START TOP REST "l: 4\r\n\r\nbody");
    sipedit_body(&f.e, SV_NONE, SV("x"));
    sipedit_body(&f.e, SV_NONE, SV("x"));
    fails(&f, ERR_STATE);
}

static void cuts_do_not_overlap(void **state)
{
    (void)state;
    struct fixture f;
    const struct sip_addr *from;
    start(&f, START TOP REST "l:0\r\n\r\n");
    assert_int_equal(sipmsg_from(&f.m, &from), ERR_OK);
    sipedit_cut(&f.e, from->tag, SV("2"));
    sipedit_cut(&f.e, from->uri.user, SV("c"));
    gives(&f, START TOP
          "From: <sip:c@b>;tag=2\r\nTo: <sip:a@b>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\nl:0\r\n\r\n");
    start(&f, START TOP REST "\r\n");
    sipedit_value(&f.e, 0, SV("a"));
    sipedit_remove_field(&f.e, 0);
    fails(&f, ERR_STATE);
    start(&f, START TOP REST "\r\n");
    sipedit_cut(&f.e, SV("elsewhere"), SV("a"));
    fails(&f, ERR_STATE);
    start(&f, START TOP REST "\r\n");
    sipedit_remove_field(&f.e, f.m.count);
    fails(&f, ERR_STATE);
    start(&f, START TOP REST "\r\n");
    sipedit_status(&f.e, 200, SV("OK"));
    fails(&f, ERR_STATE);
    start(&f, "SIP/2.0 200 OK\r\n" REST "\r\n");
    sipedit_uri(&f.e, SV("sip:a@b"));
    fails(&f, ERR_STATE);
    start(&f, START TOP REST "\r\n");
    for (unsigned i = 0; i <= SIPEDIT_MAX; i++)
        sipedit_line_last(&f.e, SV("A: b"));
    fails(&f, ERR_TOOBIG);
    start(&f, START TOP REST "\r\n");
    sipedit_value(&f.e, 0, SV("a"));
    buf_init(&f.b, f.room, 20);
    fails(&f, ERR_TOOBIG);
}

/* D13: no setter takes text that could start a line of its own. */
static void setters_refuse_controls(void **state)
{
    (void)state;
    static const sv evil[] = {{"a\r\nX: y", 7}, {"a\nX: y", 6}, {"a\rb", 3},       {"a\0b", 3},
                              {"a\x7f", 2},     {"a\r\n", 3},   {"\"a\r\nb\"", 7}, {"a\\\x01", 3}};
    for (size_t i = 0; i < sizeof(evil) / sizeof(evil[0]); i++) {
        for (unsigned setter = 0; setter < 7; setter++) {
            struct fixture f;
            const struct sip_addr *from;
            start(&f, setter == 6 ? "SIP/2.0 200 OK\r\n" REST "\r\n" : START REST "\r\n");
            assert_int_equal(sipmsg_from(&f.m, &from), ERR_OK);
            switch (setter) {
            case 0:
                sipedit_uri(&f.e, evil[i]);
                break;
            case 1:
                sipedit_value(&f.e, 0, evil[i]);
                break;
            case 2:
                sipedit_cut(&f.e, from->tag, evil[i]);
                break;
            case 3:
                sipedit_line_first(&f.e, SIP_H_VIA, evil[i]);
                break;
            case 4:
                sipedit_line_last(&f.e, evil[i]);
                break;
            case 5:
                sipedit_body(&f.e, evil[i], SV("x"));
                break;
            case 6:
                sipedit_status(&f.e, 200, evil[i]);
                break;
            }
            fails(&f, ERR_SYNTAX);
        }
    }
    struct fixture f;
    start(&f, START REST "\r\n");
    sipedit_uri(&f.e, SV("sip:a b"));
    fails(&f, ERR_SYNTAX);
    start(&f, START REST "\r\n");
    sipedit_line_last(&f.e, SV(" continues the line before"));
    fails(&f, ERR_SYNTAX);
    start(&f, START REST "l:0\r\n\r\n"); /* folds and quoted pairs are no danger */
    sipedit_value(&f.e, 0, SV("\"a\\\x01\r\n\tb\" <sip:a@b>;tag=1"));
    gives(&f, START "From: \"a\\\x01\r\n\tb\" <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: "
                    "x\r\nCSeq: 1 OPTIONS\r\nl:0\r\n\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_changes_nothing),      cmocka_unit_test(what_a_proxy_does),
        cmocka_unit_test(length_is_added_when_missing), cmocka_unit_test(responses_lose_our_via),
        cmocka_unit_test(values_go_in_any_combination), cmocka_unit_test(whole_fields_go),
        cmocka_unit_test(bodies_bring_their_length),    cmocka_unit_test(cuts_do_not_overlap),
        cmocka_unit_test(setters_refuse_controls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
