/* SPDX-License-Identifier: MIT */
/* ds/wheel.c: the hierarchical timer wheel.
 *
 * A deadline step S lies in level L, where L is the highest group of eight bits in which S and the
 * wheel's step differ, at the index that this group has in S:
 *
 *   level 0   S and step share all but the lowest group: each slot is one step
 *   level L   each slot is a block of 256^L steps; when step enters it, its timers are placed anew
 *
 * So at any time all timers of one S lie in one slot, in order of arming, and placing a block anew
 * keeps that order: this is why ties fire as they were armed. The slot of the present index is
 * empty on every level but 0, where it holds what is due at once. Level 4 is a ring: a deadline
 * beyond its 34 years waits in the farthest slot and is placed again from there. With 256 slots a
 * level nearly every timer of SIP is placed anew once at most. */
#include "ds/wheel.h"

enum { LEVELS = WHEEL_LEVELS, BITS = 8, SLOTS = WHEEL_SLOTS, TOP = LEVELS - 1 };
_Static_assert(SLOTS == 1 << BITS, "a level is a group of bits");
#define NEXT_UNKNOWN INT64_MIN /* before every step */

static int64_t floor_step(usec t)
{
    return t / USEC_MS - (t % USEC_MS < 0);
}

static int64_t ceil_step(usec t)
{
    return t / USEC_MS + (t % USEC_MS > 0);
}

static unsigned index_at(int64_t step, int level)
{
    return (unsigned)(step >> (BITS * level)) & (SLOTS - 1);
}

static bool is_busy(const struct wheel *w, int level, unsigned i)
{
    return w->busy[level][i / 64] >> i % 64 & 1;
}

static void set_busy(struct wheel *w, int level, unsigned i)
{
    w->busy[level][i / 64] |= (uint64_t)1 << i % 64;
}

static void clear_busy(struct wheel *w, int level, unsigned i)
{
    if (index_at(w->next, level) == i)
        w->next = NEXT_UNKNOWN; /* it may have been this one */
    w->busy[level][i / 64] &= ~((uint64_t)1 << i % 64);
}

/* The first slot from i on that is not empty; SLOTS: none. */
static unsigned next_busy(const struct wheel *w, int level, unsigned i)
{
    while (i < SLOTS) {
        uint64_t here = w->busy[level][i / 64] >> i % 64;
        if (here)
            return i + (unsigned)__builtin_ctzll(here);
        i = (i / 64 + 1) * 64;
    }
    return SLOTS;
}

void wheel_init(struct wheel *w, usec now)
{
    *w = (struct wheel){.step = floor_step(now), .next = NEXT_UNKNOWN};
    for (int l = 0; l < LEVELS; l++)
        for (int i = 0; i < SLOTS; i++)
            list_init(&w->slot[l][i]);
    list_init(&w->due);
}

/* Links t where its deadline belongs as seen from the present step. */
static void place(struct wheel *w, struct timer *t)
{
    int64_t s = ceil_step(t->at);
    if (s < w->step)
        s = w->step;
    uint64_t differ = (uint64_t)s ^ (uint64_t)w->step;
    int level = differ ? (63 - __builtin_clzll(differ)) / BITS : 0;
    unsigned i;
    if (level < TOP) {
        i = index_at(s, level);
    } else {
        int64_t here = w->step >> (BITS * TOP), ahead = (s >> (BITS * TOP)) - here;
        level = TOP;
        i = (unsigned)(here + (ahead < SLOTS ? ahead : SLOTS - 1)) & (SLOTS - 1);
    }
    list_push(&w->slot[level][i], &t->by_slot);
    set_busy(w, level, i);
    /* Where its slot begins; of the ring that is not said here. */
    int64_t begins = s & -((int64_t)1 << (BITS * level));
    if (level == TOP)
        w->next = NEXT_UNKNOWN;
    else if (begins > w->step && begins < w->next)
        w->next = begins;
}

void wheel_arm(struct wheel *w, struct timer *t, usec at)
{
    wheel_cancel(w, t);
    t->at = at;
    place(w, t);
    w->armed++;
}

void wheel_cancel(struct wheel *w, struct timer *t)
{
    if (!timer_armed(t))
        return;
    const struct link *head = t->by_slot.prev;
    bool last = head == t->by_slot.next;
    list_unlink(&t->by_slot);
    w->armed--;
    /* The last of a slot clears its bit. A head outside the table is the list of those that are due. */
    uintptr_t first = (uintptr_t)&w->slot[0][0], at = (uintptr_t)head;
    if (last && at >= first && at < first + sizeof w->slot) {
        size_t i = (at - first) / sizeof(struct link);
        clear_busy(w, (int)(i / SLOTS), (unsigned)(i % SLOTS));
    }
}

static void take_slot(struct wheel *w, int level, unsigned i, struct link *to)
{
    list_splice(to, &w->slot[level][i]);
    clear_busy(w, level, i);
}

/* The step has just become w->step: the blocks that begin here are placed anew. */
static void enter(struct wheel *w)
{
    for (int level = TOP; level > 0; level--) {
        unsigned i = index_at(w->step, level);
        if (w->step & (((int64_t)1 << (BITS * level)) - 1) || !is_busy(w, level, i))
            continue;
        struct link block;
        list_init(&block);
        take_slot(w, level, i, &block);
        for (struct link *l; (l = list_pop(&block));)
            place(w, CONTAINER(l, struct timer, by_slot));
    }
}

/* First step after the present one at which a slot or a block begins that is not empty; INT64_MAX:
 * none. A lower level's slots all come before the next block of a higher one. */
static int64_t find_next(const struct wheel *w)
{
    for (int level = 0; level < LEVELS; level++) {
        unsigned later = next_busy(w, level, index_at(w->step, level) + 1);
        int64_t round = (w->step >> (BITS * level)) & ~(int64_t)(SLOTS - 1);
        if (later == SLOTS && level == TOP && (later = next_busy(w, TOP, 0)) < SLOTS)
            round += SLOTS; /* the ring's next turn */
        if (later < SLOTS)
            return (round + later) * ((int64_t)1 << (BITS * level));
    }
    return INT64_MAX;
}

/* The same, looked for only when it is not known from before. */
static int64_t next_step(struct wheel *w)
{
    if (w->next <= w->step)
        w->next = find_next(w);
    return w->next;
}

/* Those of the present step, which are taken from its slot first: what callbacks arm for it waits there. */
static size_t fire(struct wheel *w, size_t most)
{
    size_t fired = 0;
    unsigned i = index_at(w->step, 0);
    if (list_empty(&w->due) && is_busy(w, 0, i))
        take_slot(w, 0, i, &w->due);
    for (struct link *l; fired < most && (l = list_pop(&w->due)); fired++) {
        struct timer *t = CONTAINER(l, struct timer, by_slot);
        w->armed--;
        t->fn(t, t->arg); /* may free t */
    }
    return fired;
}

size_t wheel_advance(struct wheel *w, usec now, size_t most)
{
    int64_t target = floor_step(now);
    size_t fired = fire(w, most);
    while (list_empty(&w->due) && w->step < target) {
        /* What the callbacks armed for the step that just fired waits for the next step, ahead of
         * that step's own: a timer that always re-arms for the past cannot hold the wheel. */
        struct link late;
        list_init(&late);
        take_slot(w, 0, index_at(w->step, 0), &late);
        int64_t next = list_empty(&late) ? next_step(w) : w->step + 1;
        if (next > target) {
            w->step = target;
            break;
        }
        w->step = next;
        enter(w);
        if (!list_empty(&late)) {
            unsigned i = index_at(next, 0);
            take_slot(w, 0, i, &late);
            list_splice(&w->slot[0][i], &late);
            set_busy(w, 0, i);
        }
        fired += fire(w, most - fired);
    }
    return fired;
}

usec wheel_next(struct wheel *w)
{
    if (w->armed == 0)
        return USEC_NEVER;
    if (wheel_is_late(w) || is_busy(w, 0, index_at(w->step, 0)))
        return w->step * USEC_MS;
    int64_t next = next_step(w);
    return next > USEC_NEVER / USEC_MS ? USEC_NEVER : next * USEC_MS;
}

bool wheel_validate(const struct wheel *w)
{
    size_t count = 0;
    for (int level = 0; level < LEVELS; level++) {
        for (unsigned i = 0; i < SLOTS; i++) {
            const struct link *head = &w->slot[level][i];
            if (!list_validate(head) || list_empty(head) == is_busy(w, level, i))
                return false;
            if (level > 0 && i == index_at(w->step, level) && !list_empty(head))
                return false;
            for (const struct link *l = head->next; l != head; l = l->next)
                count++;
        }
    }
    for (const struct link *l = w->due.next; l != &w->due; l = l->next)
        count++;
    return count == w->armed && (w->next <= w->step || w->next == find_next(w));
}
