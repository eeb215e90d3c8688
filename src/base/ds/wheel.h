/* SPDX-License-Identifier: MIT */
/* ds/wheel.h: hierarchical timer wheel; O(1) arm and cancel.                    layer: base
 *
 * Shape   1 ms steps, 5 levels of blocks, each of 256 of the level below. Time is an argument. A timer
 *         never fires early; it fires at the first wheel_advance whose now is at or past its deadline
 *         rounded up to 1 ms.
 * Cost    arming and cancelling O(1). A timer that is far off is placed anew once or twice, by the call
 *         that finds time for it: 32 a step, 256 a call. Only who has slept until shortly before a block
 *         of many begins places them all in one.
 * Order   timers of one wheel_advance fire in order of deadline step, ties in order of arming:
 *         the same calls give the same order, however many a call may fire. A deadline in the past counts as the present step;
 *         armed from a callback for the step that is firing, a timer fires at the next step or
 *         the next call.
 * Life    embedded in its owner; cancel before the owner ends. A timer may arm or cancel any
 *         timer, itself included, from its callback.
 * Threads one at a time.
 */
#ifndef DS_WHEEL_H
#define DS_WHEEL_H
#include "clock/clock.h"
#include "ds/list.h"

struct timer;
/* Called by wheel_advance with the timer disarmed. May free the timer's owner. */
typedef void timer_fn(struct timer *t, void *arg);

struct timer {
    struct link by_slot;
    usec at; /* deadline; meaningful while armed */
    timer_fn *fn;
    void *arg;
};

enum { WHEEL_LEVELS = 5, WHEEL_SLOTS = 512 };
struct wheel {
    struct link slot[WHEEL_LEVELS][WHEEL_SLOTS];
    uint64_t busy[WHEEL_LEVELS][WHEEL_SLOTS / 64]; /* bit per non-empty slot */
    uint8_t busy_words[WHEEL_LEVELS];              /* bit per word of those that is not 0 */
    int64_t step;                                  /* steps (ms) passed */
    /* the first one behind it at which a slot or block begins that is not empty; not behind it: to be
     * looked for */
    int64_t next;
    size_t armed;
    bool ahead;      /* blocks that come next may not be empty yet */
    struct link due; /* of the present step: they fire before all others */
};

void wheel_init(struct wheel *w, usec now);
static inline void timer_init(struct timer *t, timer_fn *fn, void *arg)
{
    *t = (struct timer){.fn = fn, .arg = arg};
    list_init(&t->by_slot);
}
static inline bool timer_armed(const struct timer *t)
{
    return list_linked(&t->by_slot);
}
/* (Re)arms t for at. */
void wheel_arm(struct wheel *w, struct timer *t, usec at);
void wheel_cancel(struct wheel *w, struct timer *t); /* idempotent */
/* Fires what is due at now, `most` at most: the rest waits for the next call, so that many that end at once hold up
 * nobody for long. Returns how many fired. */
size_t wheel_advance(struct wheel *w, usec now, size_t most);
/* The last call left some that were due. */
static inline bool wheel_is_late(const struct wheel *w)
{
    return !list_empty(&w->due);
}
/* No timer fires before this; USEC_NEVER when none is armed. May be early by the wheel's
 * coarseness, never late. */
usec wheel_next(struct wheel *w);
bool wheel_validate(const struct wheel *w);

#endif
