/* SPDX-License-Identifier: MIT */
/* memory_format_test.c: files of earlier forms are read, and go on in the present one. */
#include "memory_run.h"
#include <stdlib.h>

/* Written by the first form of a set: alice's two bindings in the snapshot, bob's one and carol's,
 * who left again, in the log. Hexadecimal; *N: so many octets 0. */
static const char snapshot[] =
    "54414e44454d5331020000000000000055e6ddf691fe67e5000100002c4abba6"
    "*492 "
    "01000000000000006d010000d4b67cc8010000000000000012616c696365406578616d706c652e636f6d"
    "0040f86038c91900020040f86038c9190000401e18240a06002e7369703a616c696365405b323030313a"
    "6462383a3a395d3a353036313b7472616e73706f72743d7463703b6f62243b2b7369702e696e7374616e"
    "63653d223c75726e3a757569643a313e223b713d302e351c383433383137363337363834323330403939"
    "387364617364683039ffffffff0ff4030a50686f6e652f312e30183c7369703a70312e6578616d706c65"
    "2e636f6d3b6c723e02ff0301ffffffffffffffffff0107040a000001c4270006fe800000000000000000"
    "000000000009ffff03040040f86038c9190000401e18240a0600107369703a62403139322e302e322e39"
    "001c38343338313736333736383432333040393938736461736468303905f4030a50686f6e652f312e30"
    "0102ff0301ffffffffffffffffff0107040a000001c4270006fe800000000000000000000000000009ff"
    "ff0304"
    "*2572 "
    "54414e44454d534592d30d71";
static const char log_2_0[] =
    "54414e44454d4c31020000000000000055e6ddf691fe67e50000000098f90baacb000000ebfd0d9f0100"
    "00000000000010626f62406578616d706c652e636f6d0040f86038c91900010040f86038c9190000401e"
    "18240a0600127369703a626f62403139322e302e322e38243b2b7369702e696e7374616e63653d223c75"
    "726e3a757569643a313e223b713d302e351c383433383137363337363834323330403939387364617364"
    "68303909f4030a50686f6e652f312e30183c7369703a70312e6578616d706c652e636f6d3b6c723e02ff"
    "03010007040a000001c4270006fe800000000000000000000000000009ffff0304cd000000f6897ae901"
    "00000000000000126361726f6c406578616d706c652e636f6d0040f86038c91900010040f86038c91900"
    "00401e18240a0600127369703a626f62403139322e302e322e38243b2b7369702e696e7374616e63653d"
    "223c75726e3a757569643a313e223b713d302e351c383433383137363337363834323330403939387364"
    "61736468303901f4030a50686f6e652f312e30183c7369703a70312e6578616d706c652e636f6d3b6c72"
    "3e02ff03010007040a000001c4270006fe800000000000000000000000000009ffff03041a000000130b"
    "e0430200000000000000126361726f6c406578616d706c652e636f6d";

static unsigned digit(char c)
{
    return (unsigned)(c >= 'a' ? c - 'a' + 10 : c - '0');
}

static size_t octets_of(const char *text, char *mem, size_t cap)
{
    size_t n = 0;
    while (*text) {
        if (*text == '*') {
            char *end;
            unsigned long zeros = strtoul(text + 1, &end, 10);
            assert_true(n + zeros <= cap);
            memset(mem + n, 0, zeros);
            n += zeros;
            text = end + 1;
            continue;
        }
        assert_true(n < cap);
        mem[n++] = (char)(digit(text[0]) << 4 | digit(text[1]));
        text += 2;
    }
    return n;
}

static void write_file(struct world *w, const char *path, const char *text)
{
    static char mem[8192];
    struct disk_file *f;
    uint64_t size;
    sv octets = {mem, octets_of(text, mem, sizeof mem)};
    assert_int_equal(disk_open(sim_disk(w->h), sv_of(path), true, &f, &size), ERR_OK);
    assert_int_equal(disk_append(f, &octets, 1), ERR_OK);
    disk_close(f);
}

static void expect_old(const struct binding *b, const char *uri, uint32_t cseq)
{
    assert_true(sv_eq(b->uri, sv_of(uri)));
    assert_int_equal(b->cseq, cseq);
    assert_true(sv_eq(b->call_id, SV("843817637684230@998sdasdh09")));
    assert_int_equal(b->q, 500);
    assert_int_equal(b->expires, 7258118400 * USEC_S);
    assert_int_equal(b->since, 1700000000 * USEC_S);
    assert_true(sv_eq(b->agent, SV("Phone/1.0")));
    assert_true(b->transport == 2 && b->listener == 255 && b->worker == 3 && b->by_flow);
    assert_int_equal(b->epoch, 7);
    assert_int_equal(b->remote.port, 65535);
    assert_true(b->instance.n == 0 && b->reg_id == 0 && b->push.n == 0 && b->gruu.n == 0);
}

static void expect_all_old(struct world *w)
{
    struct arena a;
    struct store_bindings got;
    arena_init(&a, NULL, 0, 1 << 20);
    assert_int_equal(world_get(w, 0, "alice@example.com", &a, &got), ERR_OK);
    assert_int_equal(got.n, 2);
    expect_old(&got.bindings[0], "sip:alice@[2001:db8::9]:5061;transport=tcp;ob", UINT32_MAX);
    assert_true(sv_eq(got.bindings[0].path, SV("<sip:p1.example.com;lr>")));
    assert_true(sv_eq(got.bindings[0].params, SV(";+sip.instance=\"<urn:uuid:1>\";q=0.5")));
    expect_old(&got.bindings[1], "sip:b@192.0.2.9", 5);
    assert_false(sv_present(got.bindings[1].params));
    assert_int_equal(world_get(w, 0, "bob@example.com", &a, &got), ERR_OK);
    assert_int_equal(got.n, 1);
    expect_old(&got.bindings[0], "sip:bob@192.0.2.8", 9);
    assert_int_equal(has(w, "carol@example.com"), 0);
    arena_done(&a);
}

/* Beside what stands in the first form, one of bob's in the present one. */
static void add_new(struct world *w)
{
    struct arena a;
    struct store_bindings got;
    arena_init(&a, NULL, 0, 1 << 20);
    assert_int_equal(world_get(w, 0, "bob@example.com", &a, &got), ERR_OK);
    struct binding two[2] = {got.bindings[0], plain(w, 77, USEC_HOUR)};
    two[1].instance = SV("<urn:uuid:2>");
    two[1].reg_id = 3;
    assert_int_equal(world_set(w, 0, "bob@example.com", two, 2, &got.version), ERR_OK);
    arena_done(&a);
}

static void expect_new(struct world *w)
{
    struct arena a;
    struct store_bindings got;
    arena_init(&a, NULL, 0, 1 << 20);
    assert_int_equal(world_get(w, 0, "bob@example.com", &a, &got), ERR_OK);
    assert_int_equal(got.n, 2);
    expect_old(&got.bindings[0], "sip:bob@192.0.2.8", 9);
    assert_int_equal(got.bindings[1].cseq, 77);
    assert_int_equal(got.bindings[1].reg_id, 3);
    assert_true(sv_eq(got.bindings[1].instance, SV("<urn:uuid:2>")));
    assert_int_equal(world_get(w, 0, "alice@example.com", &a, &got), ERR_OK);
    assert_int_equal(got.n, 2);
    arena_done(&a);
}

static void files_of_the_first_form_are_read(void **state)
{
    (void)state;
    struct world w;
    world_start(&w, 1);
    write_file(&w, "/var/lib/tandem/location.snapshot", snapshot);
    write_file(&w, "/var/lib/tandem/location.2.0.log", log_2_0);
    world_up(&w, 2);
    assert_int_equal(w.report.aors, 2);
    assert_int_equal(w.report.bindings, 3);
    assert_int_equal(w.report.records, 4);
    assert_int_equal(w.report.cut_files, 0);
    expect_all_old(&w);
    world_down(&w, END_KILL);
    world_up(&w, 1);
    expect_all_old(&w);
    add_new(&w);
    expect_new(&w);
    world_down(&w, END_KILL);
    world_up(&w, 1);
    expect_new(&w);
    memory_compact(w.loc, w.g->loop[0]); /* both forms in one snapshot */
    world_run(&w, USEC_S);
    world_down(&w, END_KILL);
    world_up(&w, 2);
    assert_int_equal(w.report.records, 2);
    expect_new(&w);
    world_down(&w, END_ORDERLY);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_the_first_form_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
