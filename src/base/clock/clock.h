/* SPDX-License-Identifier: MIT */
/* clock/clock.h: the one time unit. Time is passed in, never read here.         layer: base
 *
 * Shape   usec: microseconds. Monotonic times count from an arbitrary start; wall times from
 *         1970-01-01T00:00:00Z. Durations are usec too.
 * Threads any.
 */
#ifndef CLOCK_CLOCK_H
#define CLOCK_CLOCK_H
#include <stdint.h>
#include "str/buf.h"

typedef int64_t usec;

#define USEC_MS    ((usec)1000)
#define USEC_S     ((usec)1000000)
#define USEC_MIN   (60 * USEC_S)
#define USEC_HOUR  (60 * USEC_MIN)
#define USEC_DAY   (24 * USEC_HOUR)
#define USEC_NEVER INT64_MAX

/* wall as RFC 3339 with milliseconds, UTC: 2026-11-02T10:20:30.123Z */
void clock_rfc3339(struct buf *b, usec wall);
/* wall as RFC 1123 date (RFC 3261 §20.17): Mon, 02 Nov 2026 10:20:30 GMT */
void clock_rfc1123(struct buf *b, usec wall);

#endif
