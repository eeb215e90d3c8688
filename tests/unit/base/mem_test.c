/* SPDX-License-Identifier: MIT */
/* mem_test.c: heap accounting, arenas, pools, blocks and their way home from other threads. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdbool.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <cmocka.h>
#include "mem/arena.h"
#include "mem/mem.h"
#include "mem/mem_priv.h"

static void the_heap_counts_and_fails_on_demand(void **state)
{
    (void)state;
    size_t live = mem_live();
    char *p = mem_alloc(0), *q = mem_calloc(3, 5);
    assert_non_null(p);
    for (int i = 0; i < 15; i++)
        assert_int_equal(q[i], 0);
    assert_int_equal(mem_live(), live + 2);
    assert_null(mem_calloc(SIZE_MAX / 2, 3));
    mem_fail_after(2);
    char *r = mem_alloc(1);
    assert_non_null(r);
    assert_null(mem_alloc(1));
    assert_null(mem_calloc(1, 1));
    assert_null(mem_realloc(q, 100)); /* q itself stays */
    mem_fail_after(0);
    q[14] = 1;
    q = mem_realloc(q, 100);
    assert_int_equal(q[14], 1);
    char *s = mem_realloc(NULL, 4);
    assert_int_equal(mem_live(), live + 4);
    mem_free(p);
    mem_free(q);
    mem_free(r);
    mem_free(s);
    mem_free(NULL);
    assert_int_equal(mem_live(), live);
}

/* Of each kind one; what another thread is to give back. */
struct load {
    void *heap, *small, *middle, *large;
    struct block_pool *bp;
    struct block *block, *single;
};

static void *unload(void *arg)
{
    struct load *l = arg;
    mem_free(l->heap);
    mem_give(l->small, 64);
    mem_give(l->middle, 40000);
    mem_give(l->large, 70000);
    block_unref(l->block);
    block_unref(l->single);
    return NULL;
}

static void load(struct load *l)
{
    size_t used = mem_allocated(), heap;
    l->heap = mem_realloc(mem_alloc(10), 100000);
    heap = malloc_usable_size(l->heap);
    assert_int_equal(mem_allocated() - used, heap);
    l->small = mem_take(1);
    l->middle = mem_take_cleared(40000);
    assert_int_equal(mem_allocated() - used, heap + 64 + 40960);
    l->large = mem_take(70000);
    heap += malloc_usable_size(l->large);
    l->block = block_new(l->bp, 700);
    l->single = block_new(l->bp, 70000);
    assert_int_equal(mem_allocated() - used, heap + 64 + 40960 + 768 + 70000);
}

static void *load_and_unload(void *arg)
{
    load(arg);
    unload(arg);
    load(arg);
    return NULL;
}

static void octets_that_live_are_counted_whoever_gives_them_back(void **state)
{
    (void)state;
    size_t used = mem_allocated();
    struct load l = {0};
    pthread_t t;
    assert_int_equal(block_pool_new(0, &l.bp), ERR_OK);
    size_t with_pool = mem_allocated();
    assert_true(with_pool > used);
    for (int i = 0; i < 3; i++) { /* first from elsewhere, then from what is kept */
        load(&l);
        unload(&l);
        assert_int_equal(mem_allocated(), with_pool);
    }
    load(&l);
    assert_int_equal(pthread_create(&t, NULL, unload, &l), 0);
    pthread_join(t, NULL);
    assert_int_equal(mem_allocated(), with_pool);
    assert_int_equal(pthread_create(&t, NULL, load_and_unload, &l), 0);
    pthread_join(t, NULL);
    assert_true(mem_allocated() > with_pool + 200000); /* a thread that is no more took them */
    unload(&l);
    assert_int_equal(mem_allocated(), with_pool);
    mem_tidy(); /* what was kept was counted off before */
    assert_int_equal(mem_allocated(), with_pool);
    mem_fail_after(1);
    assert_null(mem_alloc(1));
    assert_null(mem_calloc(1, 1));
    assert_null(mem_take(1));
    assert_null(mem_take(100000));
    assert_null(block_new(l.bp, 1));
    mem_fail_after(0);
    assert_int_equal(mem_allocated(), with_pool);
    block_pool_free(l.bp);
    assert_int_equal(mem_allocated(), used);
}

static void what_is_given_back_is_taken_again(void **state)
{
    (void)state;
    static const size_t size[] = {0,   1,   64,   65,   80,    81,    100,  128,
                                  129, 160, 1000, 1024, 40000, 65535, 65536};
    enum { SIZES = sizeof size / sizeof size[0] };
    size_t live = mem_live();
    for (size_t i = 0; i < SIZES; i++) {
        unsigned char *p = mem_take(size[i]);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        memset(p, 0xff, size[i]);
        size_t calls = mem_calls();
        mem_give(p, size[i]);
        assert_int_equal(mem_live(), live);
        assert_ptr_equal(mem_take_cleared(size[i]), p);
        for (size_t k = 0; k < size[i]; k++)
            assert_int_equal(p[k], 0);
        assert_int_equal(mem_calls(), calls);
        assert_int_equal(mem_live(), live + 1);
        mem_fail_after(1);
        mem_give(p, size[i]);
        assert_null(mem_take(size[i])); /* failure on demand meets reuse too */
        mem_fail_after(0);
    }
    void *large = mem_take(65537);
    size_t calls = mem_calls();
    mem_give(large, 65537);
    mem_give(mem_take(65537), 65537);
    assert_int_equal(mem_calls(), calls + 1); /* larger than what is kept */
    mem_give(NULL, 10);
    assert_int_equal(mem_live(), live);
    mem_tidy();
    mem_give(mem_take(100), 100);
    assert_int_equal(mem_calls(), calls + 2); /* nothing was kept any more */
}

enum { PEAK = 10000 };

static void *peak(void *arg)
{
    static void *p[PEAK];
    size_t *again = arg;
    for (int i = 0; i < PEAK; i++)
        p[i] = mem_take(100);
    for (int i = 0; i < PEAK; i++)
        mem_give(p[i], 100);
    size_t calls = mem_calls();
    for (int i = 0; i < PEAK; i++)
        p[i] = mem_take(100);
    *again = mem_calls() - calls;
    for (int i = 0; i < PEAK; i++)
        mem_give(p[i], 100);
    return NULL;
}

static void a_thread_keeps_some_and_nothing_beyond_its_end(void **state)
{
    (void)state;
    size_t live = mem_live(), again;
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, peak, &again), 0);
    pthread_join(t, NULL);
    assert_true(again > 0 && again < PEAK);
    assert_int_equal(mem_live(), live);
}

enum { CROWD = 12000, MIXED = 5 };
struct crowd {
    char *p[CROWD];
    size_t n[CROWD];
};

/* Objects of many sizes; each is full of its number. */
static void *fill(void *arg)
{
    static const size_t sizes[MIXED] = {64, 472, 1000, 4096, 9000};
    struct crowd *c = arg;
    for (size_t i = 0; i < CROWD; i++) {
        c->n[i] = sizes[i % MIXED];
        c->p[i] = mem_take(c->n[i]);
        memset(c->p[i], (int)(i % 251), c->n[i]);
    }
    return NULL;
}

static void give_all(struct crowd *c)
{
    for (size_t i = 0; i < CROWD; i++)
        mem_give(c->p[i], c->n[i]);
}

/* So many that they come from several regions: none lies in another, whoever took it. */
static void objects_do_not_overlap(void **state)
{
    (void)state;
    static struct crowd here, there;
    size_t live = mem_live();
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, fill, &there), 0);
    fill(&here);
    pthread_join(t, NULL);
    size_t wrong = 0;
    for (size_t i = 0; i < CROWD; i++) {
        for (size_t k = 0; k < here.n[i]; k++)
            wrong += here.p[i][k] != (char)(i % 251) || there.p[i][k] != (char)(i % 251);
    }
    assert_int_equal(wrong, 0);
    assert_int_equal(mem_live(), live + 2 * CROWD);
    size_t regions = mem_regions();
    assert_true(WITH_ASAN || regions > 2 * CROWD / MIXED * (64 + 472 + 1000 + 4096 + 9000));
    give_all(&here);
    give_all(&there);
    assert_int_equal(mem_live(), live);
    fill(&here);
    give_all(&here);
    assert_int_equal(mem_regions(), regions); /* all of it is there for the next */
}

static long page_faults(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_minflt;
}

enum { OBJECT = 8192 };

static void take_one(struct crowd *c, size_t *n)
{
    c->n[*n] = OBJECT;
    c->p[*n] = mem_take(OBJECT);
    memset(c->p[(*n)++], 1, OBJECT);
}

/* The next region is asked for once, when there is little left; then it serves, and its first touch costs nothing. */
static void a_region_is_made_ahead(void **state)
{
    (void)state;
    static struct crowd c;
    size_t n = 0, regions = mem_regions();
    if (WITH_ASAN)
        return;
    memset(&c, 1, sizeof c);
    while (mem_regions() == regions)
        take_one(&c, &n);
    size_t size = mem_regions() - regions, first = n - 1;
    assert_false(mem_region_wanted());
    while (!mem_region_wanted())
        take_one(&c, &n);
    assert_true((n - first) * OBJECT < size && (n - first) * OBJECT >= size / 2);
    assert_false(mem_region_wanted()); /* one makes it */
    mem_region_ahead();
    assert_int_equal(mem_regions(), regions + 2 * size);
    while (n < first + size / OBJECT) /* the rest of the one before */
        take_one(&c, &n);
    long before = page_faults();
    for (size_t i = 0; i < size / 2 / OBJECT; i++)
        take_one(&c, &n);
    assert_int_equal(mem_regions(), regions + 2 * size);
    assert_int_equal(page_faults(), before);
    assert_false(mem_region_wanted());
    while (n > 0)
        mem_give(c.p[--n], OBJECT);
}

static int by_address(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t) * (char *const *)a, y = (uintptr_t) * (char *const *)b;
    return x < y ? -1 : x > y;
}

static void *take_and_give(void *arg)
{
    fill(arg);
    give_all(arg);
    return NULL;
}

/* What a thread's peak took serves the next thread: memory does not grow by one peak a thread. */
static void what_one_thread_gave_another_takes(void **state)
{
    (void)state;
    static struct crowd first, second;
    pthread_t t;
    mem_tidy();
    assert_int_equal(pthread_create(&t, NULL, take_and_give, &first), 0);
    pthread_join(t, NULL);
    assert_int_equal(pthread_create(&t, NULL, take_and_give, &second), 0);
    pthread_join(t, NULL);
#if !WITH_ASAN
    size_t same = 0;
    qsort(first.p, CROWD, sizeof first.p[0], by_address);
    for (size_t i = 0; i < CROWD; i++)
        same += bsearch(&second.p[i], first.p, CROWD, sizeof first.p[0], by_address) != NULL;
    assert_int_equal(same, CROWD);
#else
    (void)by_address; /* there each object is malloc's, which keeps it from being taken again */
#endif
}

static void an_arena_uses_its_first_piece_then_chunks_up_to_its_cap(void **state)
{
    (void)state;
    size_t live = mem_live();
    char first[100];
    struct arena a;
    arena_init(&a, first + 1, sizeof first - 1, 10000); /* unaligned on purpose */
    char *p = arena_alloc(&a, 10), *q = arena_alloc(&a, 10);
    assert_true(p > first && q >= p + 10 && q + 10 <= first + sizeof first);
    assert_int_equal((uintptr_t)p % 16, 0);
    assert_int_equal(mem_live(), live);
    assert_ptr_not_equal(arena_alloc(&a, 0), arena_alloc(&a, 0));
    size_t total = 0;
    for (char *at; (at = arena_alloc(&a, 100)); total += 100) {
        assert_int_equal((uintptr_t)at % 16, 0);
        memset(at, 0xff, 100);
    }
    assert_true(total > 8000 && total <= 10000);
    assert_true(a.used <= a.cap);
    assert_null(arena_alloc(&a, 10001));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_calloc(&a, SIZE_MAX / 2, 3));
    arena_reset(&a);
    assert_int_equal(mem_live(), live);
    assert_ptr_equal(arena_alloc(&a, 10), p);
    char *zero = arena_calloc(&a, 10, 100);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(zero[i], 0);
    arena_done(&a);
    assert_int_equal(mem_live(), live);
}

static void a_steady_load_of_arenas_does_not_call_the_heap(void **state)
{
    (void)state;
    size_t calls = 0;
    for (int i = 0; i < 20; i++) {
        struct arena a;
        if (i == 1)
            calls = mem_calls();
        arena_init(&a, NULL, 0, 300000);
        for (int k = 0; k < 100; k++)
            assert_non_null(arena_alloc(&a, 2000));
        arena_done(&a);
    }
    assert_int_equal(mem_calls(), calls);
}

static void a_large_object_does_not_waste_an_arenas_piece(void **state)
{
    (void)state;
    char first[1024];
    struct arena a;
    arena_init(&a, first, sizeof first, 1 << 20);
    assert_non_null(arena_alloc(&a, 5000));
    char *p = arena_alloc(&a, 16);
    assert_true(p >= first && p < first + sizeof first);
    arena_done(&a);
}

static void a_pool_reuses_clears_and_caps(void **state)
{
    (void)state;
    size_t live = mem_live();
    struct pool *p;
    assert_int_equal(pool_new("things", 100, 300, &p), ERR_OK);
    assert_string_equal(pool_name(p), "things");
    unsigned char *object[300];
    for (int i = 0; i < 300; i++) {
        object[i] = pool_get(p);
        assert_non_null(object[i]);
        assert_int_equal((uintptr_t)object[i] % 16, 0);
        memset(object[i], i, 100);
    }
    assert_null(pool_get(p));
    assert_int_equal(pool_live(p), 300);
    for (int i = 0; i < 300; i++)
        for (int k = 0; k < 100; k++)
            assert_int_equal(object[i][k], (unsigned char)i); /* none overlaps another */
    size_t with_slabs = mem_live();
    for (int i = 0; i < 300; i++)
        pool_put(p, object[i]);
    for (int i = 0; i < 300; i++) {
        object[i] = pool_get(p);
        for (int k = 0; k < 100; k++)
            assert_int_equal(object[i][k], 0);
    }
    assert_int_equal(mem_live(), with_slabs); /* nothing new from the heap */
    mem_fail_after(1);
    pool_put(p, object[0]);
    assert_null(pool_get(p));
    mem_fail_after(0);
    for (int i = 1; i < 300; i++)
        pool_put(p, object[i]);
    pool_put(p, NULL);
    assert_int_equal(pool_live(p), 0);
    pool_free(p);
    pool_free(NULL);
    assert_int_equal(mem_live(), live);
}

static void a_pool_survives_a_failing_heap(void **state)
{
    (void)state;
    struct pool *p;
    mem_fail_after(1);
    assert_int_equal(pool_new("x", 50000, 0, &p), ERR_NOMEM);
    mem_fail_after(3); /* the pool, the first get's question, not its slab */
    assert_int_equal(pool_new("x", 50000, 0, &p), ERR_OK);
    assert_null(pool_get(p));
    mem_fail_after(0);
    assert_int_equal(pool_live(p), 0);
    void *object = pool_get(p);
    assert_non_null(object);
    pool_put(p, object);
    pool_free(p);
}

static void blocks_have_slack_classes_and_a_cap(void **state)
{
    (void)state;
    size_t live = mem_live();
    struct block_pool *bp;
    assert_int_equal(block_pool_new(200 * 1024, &bp), ERR_OK);
    static const size_t ask[] = {0,    512,  513,  769,  1024,  1025,  2048,
                                 2049, 4097, 8192, 8193, 65536, 65537, 100000};
    static const size_t get[] = {512,  512,  768,  1024,  1024,  2048,  2048,
                                 4096, 8192, 8192, 65536, 65536, 65537, 100000};
    for (size_t i = 0; i < sizeof ask / sizeof ask[0]; i++) {
        struct block *b = block_new(bp, ask[i]);
        assert_non_null(b);
        assert_int_equal(b->cap, get[i]);
        assert_int_equal(b->n, 0);
        memset(b->p, 'x', b->cap);
        for (size_t k = 0; k < BLOCK_SLACK; k++)
            assert_int_equal(b->p[b->cap + k], 0);
        block_unref(b);
    }
    struct block *a = block_new(bp, 65536), *b = block_new(bp, 65536), *c = block_new(bp, 65536);
    assert_non_null(c);
    assert_null(block_new(bp, 65536)); /* 192 KiB are out there */
    struct block *d = block_new(bp, 8192);
    assert_non_null(d);
    assert_null(block_new(bp, 1));
    assert_int_equal(block_pool_live(bp), 4);
    assert_null(block_new(bp, SIZE_MAX));
    block_unref(a);
    assert_int_equal(block_pool_live(bp), 3);
    assert_ptr_equal(block_new(bp, 60000), a); /* from what is kept */
    assert_ptr_equal(block_ref(b), b);
    block_unref(b);
    assert_int_equal(block_pool_live(bp), 4);
    block_unref(b);
    block_unref(a);
    block_unref(c);
    block_unref(NULL);
    block_pool_free(bp);
    memset(d->p, 1, d->cap); /* a block out there outlives block_pool_free */
    block_unref(d);
    assert_int_equal(mem_live(), live);
}

enum { ROUNDS = 2000, WINDOW = 64 };

static void a_block_is_of_the_smallest_class_with_room(void **state)
{
    (void)state;
    static const uint32_t caps[] = {512, 768, 1024, 2048, 4096, 8192, 65536};
    struct block_pool *bp;
    assert_int_equal(block_pool_new(0, &bp), ERR_OK);
    for (uint32_t n = 0, c = 0; n <= 65536; n += n < 9000 ? 1 : 997) {
        while (caps[c] < n)
            c++;
        struct block *b = block_new(bp, n);
        assert_int_equal(b->cap, caps[c]);
        block_unref(b);
    }
    struct block *b = block_new(bp, 65537);
    assert_int_equal(b->cap, 65537);
    block_unref(b);
    block_pool_free(bp);
}

static void *returner(void *arg)
{
    struct block *_Atomic *slot = arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct block *b;
        while (!(b = atomic_exchange(&slot[i % WINDOW], NULL)))
            sched_yield();
        if (b->p[b->n - 1] != (char)i)
            return (void *)1;
        block_unref(b);
    }
    return NULL;
}

static void blocks_come_home_from_another_thread(void **state)
{
    (void)state;
    size_t live = mem_live();
    struct block_pool *bp;
    static struct block *_Atomic slot[WINDOW];
    assert_int_equal(block_pool_new(0, &bp), ERR_OK);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, returner, slot), 0);
    for (int i = 0; i < ROUNDS; i++) {
        struct block *b = block_new(bp, i % 3 ? 1000 : 5000), *none = NULL;
        assert_non_null(b);
        b->n = 100;
        b->p[99] = (char)i;
        bool shared = i % 5 == 0; /* sometimes both sides hold it */
        if (shared)
            block_ref(b);
        while (!atomic_compare_exchange_weak(&slot[i % WINDOW], &none, b)) {
            none = NULL;
            sched_yield();
        }
        if (shared)
            block_unref(b);
    }
    void *wrong;
    pthread_join(t, &wrong);
    assert_null(wrong);
    assert_int_equal(block_pool_live(bp), 0);
    /* At most a window of each class was ever out, so reuse keeps the heap's count near that. */
    assert_true(mem_live() - live <= 2 * (WINDOW + 2) + 1);
    block_pool_free(bp);
    assert_int_equal(mem_live(), live);
}

static void *library_thread(void *arg)
{
    (void)arg;
    for (int i = 0; i < 5000; i++) /* more than a thread keeps, and what it keeps at its end */
        mem_lib_free(mem_lib_alloc((size_t)(i % 2500) * 10));
    return NULL;
}

static void a_library_gets_again_what_it_freed(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 8, 24, 25, 40, 41, 1000, 16700, 20487, 20488, 100000};
    enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };
    size_t live = mem_live();
    pthread_t t;
    mem_fail_after(1); /* not of its concern */
    for (unsigned i = 0; i < SIZES; i++) {
        char *p = mem_lib_alloc(sizes[i]), *q = mem_lib_alloc(sizes[i]);
        assert_true(p && q && p != q);
        memset(p, 'p', sizes[i]);
        memset(q, 'q', sizes[i]);
        mem_lib_free(p);
        char *r = mem_lib_alloc(sizes[i]);
        if (!WITH_ASAN && sizes[i] < 20480)
            assert_ptr_equal(r, p);
        r = mem_lib_realloc(r, sizes[i] + 5000);
        memset(r, 'r', sizes[i] + 5000);
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(q[k], 'q');
        mem_lib_free(q);
        mem_lib_free(r);
    }
    mem_fail_after(0);
    mem_lib_free(NULL);
    assert_int_equal(mem_live(), live);
    /* never less than was asked for */
    for (size_t n = 0; n < 3000; n++) {
        char *p = mem_lib_alloc(n);
        memset(p, 'p', n);
        mem_lib_free(p);
        p = mem_lib_alloc(n + 1);
        assert_true(malloc_usable_size(p) > n);
        mem_lib_free(p);
    }
    assert_int_equal(pthread_create(&t, NULL, library_thread, NULL), 0);
    pthread_join(t, NULL);
    mem_tidy();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_heap_counts_and_fails_on_demand),
        cmocka_unit_test(octets_that_live_are_counted_whoever_gives_them_back),
        cmocka_unit_test(what_is_given_back_is_taken_again),
        cmocka_unit_test(a_library_gets_again_what_it_freed),
        cmocka_unit_test(a_thread_keeps_some_and_nothing_beyond_its_end),
        cmocka_unit_test(objects_do_not_overlap),
        cmocka_unit_test(a_region_is_made_ahead),
        cmocka_unit_test(what_one_thread_gave_another_takes),
        cmocka_unit_test(an_arena_uses_its_first_piece_then_chunks_up_to_its_cap),
        cmocka_unit_test(a_steady_load_of_arenas_does_not_call_the_heap),
        cmocka_unit_test(a_large_object_does_not_waste_an_arenas_piece),
        cmocka_unit_test(a_pool_reuses_clears_and_caps),
        cmocka_unit_test(a_pool_survives_a_failing_heap),
        cmocka_unit_test(blocks_have_slack_classes_and_a_cap),
        cmocka_unit_test(a_block_is_of_the_smallest_class_with_room),
        cmocka_unit_test(blocks_come_home_from_another_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
