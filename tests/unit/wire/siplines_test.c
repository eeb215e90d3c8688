/* SPDX-License-Identifier: MIT */
/* Lines of a header section: names of fields and folds, wherever they stand. RFC 3261 §7.3.1 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mem/mem.h"
#include "sipmsg/sipmsg.h"

#define assert_sv(got, want) assert_true(sv_eq((got), SV(want)) && sv_present(got))
#define START                "OPTIONS sip:nils@example.test SIP/2.0\r\n"

struct fixture {
    struct arena arena;
    struct sipmsg m;
    struct sipmsg_fault fault;
    char *octets;
};

static enum err parse(struct fixture *f, const char *text)
{
    size_t n = strlen(text);
    f->octets = malloc(n + BLOCK_SLACK);
    assert_non_null(f->octets);
    memcpy(f->octets, text, n);
    memset(f->octets + n, '\n', BLOCK_SLACK);
    arena_init(&f->arena, NULL, 0, 1 << 20);
    return sipmsg_parse((sv){f->octets, n}, &f->arena, &f->m, &f->fault);
}

static void done(struct fixture *f)
{
    arena_done(&f->arena);
    free(f->octets);
}

static void refused(const char *text, const char *why, size_t at)
{
    struct fixture f;
    assert_int_equal(parse(&f, text), ERR_SYNTAX);
    assert_string_equal(f.fault.why, why);
    assert_int_equal(f.fault.at, at);
    done(&f);
}

/* Every name of the table is found in a line, in any case; one octet more or another one is another name. */
static void names_are_found_in_lines(void **state)
{
    (void)state;
    for (enum sip_header h = SIP_H_OTHER + 1; h < SIP_HEADERS; h++) {
        sv name = sip_header_name(h);
        for (unsigned form = 0; form < 4; form++) {
            struct fixture f;
            char text[256];
            (void)snprintf(text, sizeof(text), START "%s%s%s: 0\r\n\r\n", form == 2 ? "X" : "",
                           name.p, form == 3 ? "x" : "");
            char *line = text + sizeof(START) - 1;
            for (size_t i = 0; form == 1 && i < name.n; i++)
                line[i] ^= line[i] == '-' ? 0 : 0x20;
            assert_int_equal(parse(&f, text), ERR_OK);
            assert_int_equal(f.m.fields[0].id, form < 2 ? h : SIP_H_OTHER);
            assert_int_equal(f.m.fields[0].name_n, name.n + (form > 1));
            done(&f);
        }
    }
    refused(START "Max\rForwards: 7\r\n\r\n", "Bare CR or LF", sizeof(START) - 1 + 3);
    refused(START "To: a\r\n\177Subject: x\r\n\r\n", "Header field without a name",
            sizeof(START) - 1 + 7);
}

/* A folded line is indexed as another, and its value is read as if each fold were a blank. */
static void folds_are_blanks(void **state)
{
    (void)state;
    struct fixture f;
    const struct sip_via *vias;
    const struct sip_addr *to;
    size_t n;
    assert_int_equal(parse(&f, START
                           "Via: SIP/2.0/UDP a.test:5060\r\n\t;branch=z9hG4bK1\r\n ;rport ,\r\n"
                           "  SIP/2.0/TCP b.test\r\n ;branch=z9hG4bK2\r\n"
                           "To:\r\n \"N\"\r\n <sip:n@a.test>\r\n ;tag=1\r\n  ;x=\"y z\"\r\n"
                           "Subject: a\r\n \tb\r\n\r\n"),
                     ERR_OK);
    assert_int_equal(f.m.count, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(f.m.fields[i].flags, SIPMSG_FOLDED);
    assert_int_equal(sipmsg_vias(&f.m, &vias, &n), ERR_OK);
    assert_int_equal(n, 2);
    assert_sv(vias[0].text, "SIP/2.0/UDP a.test:5060\r\n\t;branch=z9hG4bK1\r\n ;rport");
    assert_sv(vias[0].params, "branch=z9hG4bK1\r\n ;rport");
    assert_true(vias[0].rport && vias[0].port == 5060);
    assert_sv(vias[1].text, "SIP/2.0/TCP b.test\r\n ;branch=z9hG4bK2");
    assert_sv(vias[1].branch, "z9hG4bK2");
    assert_int_equal(sipmsg_to(&f.m, &to), ERR_OK);
    assert_sv(to->display, "\"N\"");
    assert_sv(to->tag, "1");
    assert_sv(to->params, "tag=1\r\n  ;x=\"y z\"");
    assert_sv(sipmsg_value(&f.m, SIP_H_SUBJECT), "a\r\n \tb");
    done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found_in_lines),
        cmocka_unit_test(folds_are_blanks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
