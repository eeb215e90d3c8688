/* SPDX-License-Identifier: MIT */
/* collect.h: which part of a program callgrind counts. Without valgrind's header nothing is counted, and the
 * program runs all the same. */
#ifndef BENCH_COLLECT_H
#define BENCH_COLLECT_H

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_TOGGLE_COLLECT        (void)0
#define CALLGRIND_START_INSTRUMENTATION (void)0
#define CALLGRIND_STOP_INSTRUMENTATION  (void)0
#endif

#endif
