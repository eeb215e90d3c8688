/* SPDX-License-Identifier: MIT */
/* ds_test.c: lists and the hash table against plain models. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "ds/hash.h"
#include "mem/mem.h"

struct item {
    int id;
    struct link by_order;
    struct hash_node by_key;
    uint64_t key;
};

static uint64_t next_random(uint64_t *s)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return *s >> 33;
}

static void expect_order(struct link *head, const char *want)
{
    assert_true(list_validate(head));
    char got[16] = {0};
    size_t n = 0;
    LIST_EACH (it, head, struct item, by_order)
        got[n++] = (char)('0' + it->id);
    assert_string_equal(got, want);
}

static void a_list_keeps_its_order(void **state)
{
    (void)state;
    struct link a, b;
    struct item item[6] = {0};
    list_init(&a);
    list_init(&b);
    assert_true(list_empty(&a));
    assert_null(list_pop(&a));
    for (int i = 0; i < 6; i++) {
        item[i].id = i;
        assert_false(list_linked(&item[i].by_order));
        list_unlink(&item[i].by_order); /* of a zeroed link: harmless */
    }
    list_push(&a, &item[1].by_order);
    list_push(&a, &item[2].by_order);
    list_push_front(&a, &item[0].by_order);
    list_push(&b, &item[3].by_order);
    list_push(&b, &item[5].by_order);
    list_insert_before(&item[5].by_order, &item[4].by_order);
    expect_order(&a, "012");
    expect_order(&b, "345");
    list_splice(&a, &b);
    expect_order(&a, "012345");
    expect_order(&b, "");
    list_splice(&a, &b);
    list_unlink(&item[2].by_order);
    list_unlink(&item[2].by_order);
    assert_false(list_linked(&item[2].by_order));
    expect_order(&a, "01345");
    LIST_EACH_SAFE (it, &a, struct item, by_order)
        if (it->id % 2)
            list_unlink(&it->by_order);
    expect_order(&a, "04");
    assert_ptr_equal(CONTAINER(list_pop(&a), struct item, by_order), &item[0]);
    expect_order(&a, "4");
}

static void a_broken_list_is_noticed(void **state)
{
    (void)state;
    struct link head, l[3];
    list_init(&head);
    for (int i = 0; i < 3; i++)
        list_push(&head, &l[i]);
    assert_true(list_validate(&head));
    l[1].prev = &head;
    assert_false(list_validate(&head));
    l[1].prev = &l[0];
    l[2].next = NULL;
    assert_false(list_validate(&head));
    l[2].next = &l[0]; /* a ring beside the head */
    l[0].prev = &l[2];
    assert_false(list_validate(&head));
}

enum { ITEMS = 3000 };

/* Candidates of key, in order; the walk itself is what is under test. */
static bool in_table(const struct hash *h, const struct item *want)
{
    bool found = false;
    HASH_EACH (it, h, want->by_key.hash, struct item, by_key)
        found = found || it == want;
    return found;
}

static void a_hash_agrees_with_a_flag_per_item(void **state)
{
    (void)state;
    size_t live = mem_live();
    struct hash h;
    struct item *item = calloc(ITEMS, sizeof *item);
    bool *in = calloc(ITEMS, sizeof *in);
    uint64_t seed = 11;
    assert_int_equal(hash_init(&h, 4), ERR_OK);
    size_t count = 0;
    for (int step = 0; step < 60000; step++) {
        size_t i = next_random(&seed) % ITEMS;
        if (in[i]) {
            hash_remove(&h, &item[i].by_key);
            hash_remove(&h, &item[i].by_key);
            count--;
        } else {
            hash_insert(&h, &item[i].by_key, i / 3 * 0x9e3779b97f4a7c15u); /* three share a hash */
            count++;
        }
        in[i] = !in[i];
        assert_int_equal(h.count, count);
        if (step % 500 == 0) {
            assert_true(hash_validate(&h));
            for (size_t k = 0; k < ITEMS; k++)
                assert_int_equal(in_table(&h, &item[k]), in[k]);
        }
    }
    assert_true(h.mask + 1 >= 1024);
    free(item);
    free(in);
    hash_done(&h);
    assert_int_equal(mem_live(), live);
}

static bool remove_even(struct hash_node *n, void *arg)
{
    struct item *it = CONTAINER(n, struct item, by_key);
    if (it->id % 2 == 0)
        hash_remove(arg, n);
    return true;
}
static bool count_to_three(struct hash_node *n, void *arg)
{
    (void)n;
    return ++*(int *)arg < 3;
}

static void a_walk_may_remove_what_it_meets(void **state)
{
    (void)state;
    struct hash h;
    struct item item[100] = {0};
    assert_int_equal(hash_init(&h, 0), ERR_OK);
    for (int i = 0; i < 100; i++) {
        item[i].id = i;
        hash_insert(&h, &item[i].by_key, (uint64_t)i % 7);
    }
    hash_walk(&h, remove_even, &h);
    assert_int_equal(h.count, 50);
    assert_true(hash_validate(&h));
    int seen = 0;
    hash_walk(&h, count_to_three, &seen);
    assert_int_equal(seen, 3);
    hash_done(&h);
}

static void a_hash_that_cannot_grow_stays_right(void **state)
{
    (void)state;
    struct hash h;
    struct item item[200] = {0};
    size_t live = mem_live();
    for (unsigned fails = 1; fails <= 2; fails++) {
        mem_fail_after(fails);
        assert_int_equal(hash_init(&h, 0), ERR_NOMEM);
    }
    for (unsigned fails = 3; fails <= 4; fails++) { /* the buckets, the hints */
        memset(item, 0, sizeof item);
        mem_fail_after(fails);
        assert_int_equal(hash_init(&h, 0), ERR_OK);
        for (int i = 0; i < 200; i++)
            hash_insert(&h, &item[i].by_key, (uint64_t)i);
        assert_true(hash_validate(&h));
        for (int i = 0; i < 200; i++)
            assert_true(in_table(&h, &item[i]));
        assert_true(h.mask < 100);
        mem_fail_after(0);
        struct item one = {0};
        hash_insert(&h, &one.by_key, 5);
        assert_true(hash_validate(&h));
        hash_done(&h);
    }
    assert_int_equal(mem_live(), live);
}

/* The order of equal hashes depends on the calls alone, not on when the table grew. */
static void candidates_come_newest_first(void **state)
{
    (void)state;
    struct hash h;
    struct item same[5] = {0}, other[200] = {0};
    assert_int_equal(hash_init(&h, 0), ERR_OK);
    for (int i = 0; i < 5; i++) {
        same[i].id = i;
        hash_insert(&h, &same[i].by_key, 42);
        for (int k = 0; k < 40; k++)
            hash_insert(&h, &other[i * 40 + k].by_key, 1000 + (uint64_t)(i * 40 + k));
    }
    int want = 4;
    HASH_EACH (it, &h, 42, struct item, by_key)
        assert_int_equal(it->id, want--);
    assert_int_equal(want, -1);
    hash_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_keeps_its_order),
        cmocka_unit_test(a_broken_list_is_noticed),
        cmocka_unit_test(a_hash_agrees_with_a_flag_per_item),
        cmocka_unit_test(a_walk_may_remove_what_it_meets),
        cmocka_unit_test(a_hash_that_cannot_grow_stays_right),
        cmocka_unit_test(candidates_come_newest_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
