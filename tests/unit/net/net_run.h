/* SPDX-License-Identifier: MIT */
/* Running real loops in tests: until the test says stop, guarded by a timer that fails the test. */
#ifndef NET_RUN_H
#define NET_RUN_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "sock/sock.h"
#include "worker/worker.h"

static struct loop_group *group;
static struct loop *at; /* worker 0 */
static struct timer guard;
static bool late;
static size_t live_before;

static void on_guard(struct timer *t, void *arg)
{
    (void)t;
    (void)arg;
    late = true;
    worker_group_stop(group);
}

static void net_setup(unsigned workers)
{
    live_before = mem_live();
    late = false;
    assert_int_equal(worker_group_new(workers, &group), ERR_OK);
    at = group->loop[0];
    timer_init(&guard, on_guard, NULL);
}

static inline void net_stop(void)
{
    worker_group_stop(group);
}

static void net_run(void)
{
    loop_timer(at, &guard, 30 * USEC_S);
    assert_int_equal(worker_group_run(group), ERR_OK);
    assert_false(late);
}

/* After the test closed its objects: nothing is left. */
static void net_end(void)
{
    worker_group_free(group);
    group = NULL;
    assert_int_equal(mem_live(), live_before);
}

static inline struct addr net_addr(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(sv_of(text), &a), ERR_OK);
    return a;
}

#endif
