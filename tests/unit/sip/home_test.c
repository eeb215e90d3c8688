/* SPDX-License-Identifier: MIT */
/* Marks lead home and cannot be made without the secret; the directory counts its claims. */
#include "home/home.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "crypto/crypto.h"

static const uint8_t secret[HOME_SECRET] = "a secret of thirty-two octets..";

static struct home *make(unsigned workers, size_t entries)
{
    struct home *h = NULL;
    assert_int_equal(home_new(secret, workers, entries, &h), ERR_OK);
    return h;
}

static bool claim(struct home *h, sv call_id, uint16_t slot, uint16_t *ret_slot)
{
    struct home_key key = home_key(h, call_id);
    return home_claim(h, &key, slot, ret_slot);
}

static bool find(struct home *h, sv call_id, uint16_t *ret_slot)
{
    struct home_key key = home_key(h, call_id);
    return home_find(h, &key, ret_slot);
}

static void release(struct home *h, sv call_id)
{
    struct home_key key = home_key(h, call_id);
    home_release(h, &key);
}

static sv write_mark(const struct home *h, uint16_t slot, uint64_t chance, char mem[32])
{
    struct buf b;
    buf_init(&b, mem, 32);
    home_mark(h, slot, chance, &b);
    assert_int_equal(b.rc, ERR_OK);
    assert_int_equal(b.n, HOME_MARK_LEN);
    return buf_sv(&b);
}

static void slots_belong_to_their_worker(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 64; workers++) {
        struct home *h = make(workers, 16);
        for (unsigned w = 0; w < workers; w++) {
            for (uint64_t chance = 0; chance < 10000; chance += 7) {
                uint16_t slot = home_slot(h, w, chance);
                assert_in_range(slot, 0, HOME_SLOTS - 1);
                assert_int_equal(home_worker(h, slot), w);
            }
            assert_int_equal(home_worker(h, home_slot(h, w, UINT64_MAX)), w);
        }
        home_free(h);
    }
}

static void marks_are_read_back(void **state)
{
    (void)state;
    struct home *h = make(4, 16);
    char mem[64];
    for (unsigned slot = 0; slot < HOME_SLOTS; slot++) {
        sv mark = write_mark(h, (uint16_t)slot, slot * 0x9e3779b97f4a7c15u, mem);
        uint16_t got = 9999;
        assert_true(home_mark_read(h, mark, &got));
        assert_int_equal(got, slot);
        memcpy(mem + HOME_MARK_LEN, ".suffix", 7);
        assert_true(home_mark_read(h, (sv){mem, HOME_MARK_LEN + 7}, &got));
        assert_false(home_mark_read(h, (sv){mem, HOME_MARK_LEN - 1}, &got));
    }
    assert_false(home_mark_read(h, SV_NONE, &(uint16_t){0}));
    home_free(h);
}

static void altered_and_foreign_marks_are_strangers(void **state)
{
    (void)state;
    struct home *h = make(4, 16), *other;
    uint8_t foreign[HOME_SECRET] = {1};
    char mem[32];
    uint16_t slot;
    assert_int_equal(home_new(foreign, 4, 16, &other), ERR_OK);
    sv mark = write_mark(h, 77, 12345, mem);
    assert_false(home_mark_read(other, mark, &slot));
    for (size_t i = 1; i < HOME_MARK_LEN; i++) { /* the first is a hint for the kernel */
        char keep = mem[i];
        for (int c = 1; c < 128; c++) {
            mem[i] = (char)c;
            if (c != keep)
                assert_false(home_mark_read(h, mark, &slot));
        }
        mem[i] = keep;
    }
    assert_true(home_mark_read(h, mark, &slot));
    home_free(other);
    home_free(h);
}

/* The same slot under two random words shares no run of characters but by chance. */
static void marks_of_one_slot_do_not_show_it(void **state)
{
    (void)state;
    struct home *h = make(1, 16);
    char a[32], b[32];
    uint8_t x[16], y[16];
    size_t n, same = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        crypto_base64url_decode(write_mark(h, 5, 2 * i, a), x, sizeof x, &n) ? fail() : (void)0;
        crypto_base64url_decode(write_mark(h, 5, 2 * i + 1, b), y, sizeof y, &n) ? fail() : (void)0;
        same += x[8] == y[8] && x[9] == y[9];
    }
    assert_in_range(same, 0, 5);
    home_free(h);
}

static void the_first_claim_chooses_and_the_last_release_forgets(void **state)
{
    (void)state;
    struct home *h = make(4, 1000);
    uint16_t slot = 0;
    assert_false(find(h, SV("call@a"), &slot));
    assert_true(claim(h, SV("call@a"), 10, &slot));
    assert_int_equal(slot, 10);
    assert_true(claim(h, SV("call@a"), 20, &slot));
    assert_int_equal(slot, 10);
    assert_true(claim(h, SV("call@b"), 30, &slot));
    assert_int_equal(slot, 30);
    assert_int_equal(home_entries(h), 2);
    release(h, SV("call@a"));
    assert_true(find(h, SV("call@a"), &slot));
    assert_int_equal(slot, 10);
    release(h, SV("call@a"));
    assert_false(find(h, SV("call@a"), &slot));
    release(h, SV("call@a")); /* nothing held: nothing happens */
    assert_true(claim(h, SV("call@a"), 20, &slot));
    assert_int_equal(slot, 20);
    assert_int_equal(home_entries(h), 2);
    home_free(h);
}

static void a_full_directory_keeps_the_claimer_at_home(void **state)
{
    (void)state;
    struct home *h = make(2, 8);
    char id[16];
    uint16_t slot;
    for (int i = 0; i < 8; i++) {
        struct buf b;
        buf_init(&b, id, sizeof id);
        buf_u64(&b, (uint64_t)i);
        assert_true(claim(h, buf_sv(&b), 1, &slot));
    }
    assert_false(claim(h, SV("late"), 9, &slot));
    assert_int_equal(slot, 9);
    assert_false(find(h, SV("late"), &slot));
    assert_true(claim(h, SV("3"), 9, &slot)); /* known ones still count up */
    assert_int_equal(slot, 1);
    release(h, SV("5"));
    assert_true(claim(h, SV("late"), 9, &slot));
    assert_int_equal(home_entries(h), 8);
    home_free(h);
}

static void many_come_and_go_without_a_trace(void **state)
{
    (void)state;
    size_t live = mem_live();
    struct home *h = make(4, 20000);
    char id[32];
    uint16_t slot;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10000; i++) {
            struct buf b;
            buf_init(&b, id, sizeof id);
            buf_u64(&b, (uint64_t)i);
            assert_true(claim(h, buf_sv(&b), (uint16_t)(i % HOME_SLOTS), &slot));
        }
        assert_int_equal(home_entries(h), 10000);
        for (int i = 0; i < 10000; i++) {
            struct buf b;
            buf_init(&b, id, sizeof id);
            buf_u64(&b, (uint64_t)i);
            assert_true(find(h, buf_sv(&b), &slot));
            assert_int_equal(slot, i % HOME_SLOTS);
            release(h, buf_sv(&b));
        }
        assert_int_equal(home_entries(h), 0);
    }
    home_free(h);
    assert_int_equal(mem_live(), live);
}

static sv number(uint32_t i, char mem[static 16])
{
    struct buf b;
    buf_init(&b, mem, 16);
    buf_u64(&b, i);
    return buf_sv(&b);
}

/* Buckets come with the entries and go with them: at every size all that are there are found, and no other. */
static void a_directory_grows_and_shrinks(void **state)
{
    (void)state;
    enum { MOST = 1500, STEPS = 3 * MOST };
    struct home *h = make(1, 4096);
    static bool there[MOST];
    char mem[16];
    uint16_t slot;
    uint32_t n = 0, random = 1;
    for (uint32_t step = 0; step < STEPS; step++) {
        random = random * 1664525 + 1013904223;
        uint32_t i = (random >> 8) % MOST;
        /* Mostly more, then any, then mostly fewer. */
        bool add = random >> 28 < (step < MOST ? 15 : step < 2 * MOST ? 8 : 1);
        while (there[i] == add && n != (add ? MOST : 0))
            i = (i + 1) % MOST;
        if (there[i] == add)
            continue;
        there[i] = add;
        n += add ? 1 : UINT32_MAX;
        if (add)
            assert_true(claim(h, number(i, mem), (uint16_t)i, &slot));
        else
            release(h, number(i, mem));
        assert_int_equal(home_entries(h), n);
        if (step % 10)
            continue;
        for (uint32_t k = 0; k < MOST; k++) {
            if (find(h, number(k, mem), &slot) != there[k] || (there[k] && slot != k))
                fail_msg("step %u: %u of %u is wrong", step, k, n);
        }
    }
    assert_in_range(n, 0, MOST / 4);
    home_free(h);
}

static void pieces_of_a_hash_do_not_run_together(void **state)
{
    (void)state;
    struct home *h = make(1, 1);
    sv ab_c[] = {SV("ab"), SV("c")}, a_bc[] = {SV("a"), SV("bc")}, abc[] = {SV("abc")};
    uint64_t x = home_hash(h, ab_c, 2), y = home_hash(h, a_bc, 2), z = home_hash(h, abc, 1);
    assert_true(x != y && y != z && x != z);
    assert_true(home_hash(h, ab_c, 2) == x);
    struct home_key p = home_list_key(h, ab_c, 2), q = home_list_key(h, a_bc, 2);
    assert_false(home_key_equal(&p, &q));
    q = home_list_key(h, ab_c, 2);
    assert_true(home_key_equal(&p, &q));
    assert_true(p.a != x && p.b != x && p.a != p.b); /* of another use */
    uint64_t t = home_tag(h, ab_c, 2);
    assert_true(t != home_tag(h, a_bc, 2) && t == home_tag(h, ab_c, 2));
    assert_true(t != x && t != p.a && t != p.b && t != (p.a ^ p.b)); /* a key is not seen in it */
    home_free(h);
}

static void no_memory_is_an_error(void **state)
{
    (void)state;
    size_t live = mem_live();
    struct home *h = NULL;
    for (size_t n = 1; n < 50; n++) {
        mem_fail_after(n);
        enum err rc = home_new(secret, 2, 500, &h);
        mem_fail_after(0);
        if (!rc) {
            assert_true(n > 3);
            home_free(h);
            break;
        }
        assert_int_equal(rc, ERR_NOMEM);
    }
    assert_int_equal(mem_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_belong_to_their_worker),
        cmocka_unit_test(marks_are_read_back),
        cmocka_unit_test(altered_and_foreign_marks_are_strangers),
        cmocka_unit_test(marks_of_one_slot_do_not_show_it),
        cmocka_unit_test(the_first_claim_chooses_and_the_last_release_forgets),
        cmocka_unit_test(a_full_directory_keeps_the_claimer_at_home),
        cmocka_unit_test(many_come_and_go_without_a_trace),
        cmocka_unit_test(a_directory_grows_and_shrinks),
        cmocka_unit_test(pieces_of_a_hash_do_not_run_together),
        cmocka_unit_test(no_memory_is_an_error),
    };
    return crypto_start() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
