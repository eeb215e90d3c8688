/* SPDX-License-Identifier: MIT */
/* ds/wheel.c: the hierarchical timer wheel.
 *
 * A slot of level L is a block of 256^L steps, so that one of level 0 is a step, and its children are the 256 slots of
 * level L-1 that it is made of. Each level has room for the children of two blocks: of the one in which the wheel's
 * step is, and of the next.
 *
 *   present   those of the block that is entered are placed among its children
 *   next      it is emptied, some timers a call, into its children while the present one goes on, so that there is
 *             nothing left to do when it is entered. What is armed for it meanwhile waits behind them; for one that is
 *             empty it is placed in a child at once
 *   later     its timers wait in it
 *
 * So of the timers of one step those armed first are in the lower slots, and in each in order of arming; emptying a
 * block from its front keeps that: this is why ties fire as they were armed. The slot of the present index is
 * empty on every level but 0, where it holds what is due at once. Level 4 is a ring: a deadline
 * beyond its 68 years waits in the farthest slot and is placed again from there. With 256 children
 * nearly every timer of SIP is placed anew once at most. */
#include "ds/wheel.h"

enum { LEVELS = WHEEL_LEVELS, BITS = 8, SLOTS = WHEEL_SLOTS, TOP = LEVELS - 1 };
enum { WORDS = SLOTS / 64 };
_Static_assert(SLOTS == 2 << BITS, "the children of two blocks");
/* Timers of the next blocks that are placed anew in a call: for each step that has passed, up to so many steps. */
enum { MOVED_A_STEP = 32, STEPS_A_CALL = 8 };
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
    w->busy_words[level] |= (uint8_t)(1 << i / 64);
}

static void clear_busy(struct wheel *w, int level, unsigned i)
{
    unsigned of_next_block = (i ^ index_at(w->step, level)) & SLOTS / 2;
    if (of_next_block || index_at(w->next, level) == i)
        w->next = NEXT_UNKNOWN; /* it may have been this one */
    if (!(w->busy[level][i / 64] &= ~((uint64_t)1 << i % 64)))
        w->busy_words[level] &= (uint8_t) ~(1 << i / 64);
}

/* How far behind slot i, in the ring, the next one is that is not empty; 0: none is. */
static unsigned next_busy(const struct wheel *w, int level, unsigned i)
{
    unsigned at = (i + 1) & (SLOTS - 1), word = at / 64, shift = at % 64,
             words = w->busy_words[level];
    if (w->busy[level][word] >> shift)
        return 1 + (unsigned)__builtin_ctzll(w->busy[level][word] >> shift);
    /* The words behind it, the last of them its own again. */
    unsigned behind = (words | words << WORDS) >> (word + 1) & ((1 << WORDS) - 1);
    if (!behind)
        return 0;
    unsigned k = (unsigned)__builtin_ctz(behind);
    unsigned ahead =
        1 + 64 - shift + 64 * k + (unsigned)__builtin_ctzll(w->busy[level][(word + 1 + k) % WORDS]);
    return ahead < SLOTS ? ahead : 0;
}

void wheel_init(struct wheel *w, usec now)
{
    *w = (struct wheel){.step = floor_step(now), .next = NEXT_UNKNOWN};
    for (int l = 0; l < LEVELS; l++)
        for (int i = 0; i < SLOTS; i++)
            list_init(&w->slot[l][i]);
    list_init(&w->due);
}

/* The highest level at which the present step and s are in different slots. */
static int level_of(const struct wheel *w, int64_t s)
{
    uint64_t differ = (uint64_t)s ^ (uint64_t)w->step;
    int level = differ ? (63 - __builtin_clzll(differ)) / BITS : 0;
    return level < TOP ? level : TOP;
}

static int64_t begin_of(int64_t s, int level)
{
    return s & -((int64_t)1 << (BITS * level));
}

/* Into the slot of step s at this level. */
static void put(struct wheel *w, struct timer *t, int64_t s, int level)
{
    unsigned i = index_at(s, level);
    int64_t here = w->step >> (BITS * TOP);
    if (level == TOP && (s >> (BITS * TOP)) - here >= SLOTS)
        i = (unsigned)(here + SLOTS - 1) & (SLOTS - 1);
    list_push(&w->slot[level][i], &t->by_slot);
    set_busy(w, level, i);
}

/* What is due in s, which is in a slot of this level, is placed among its children. */
static bool is_open(const struct wheel *w, int64_t s, int level)
{
    int64_t ahead = (s >> (BITS * level)) - (w->step >> (BITS * level));
    return ahead == 0 || (ahead == 1 && !is_busy(w, level, index_at(s, level)));
}

/* As low as it can be, from this level down. */
static void place_from(struct wheel *w, struct timer *t, int64_t s, int level)
{
    while (level > 0 && is_open(w, s, level))
        level--;
    put(w, t, s, level);
}

/* Links t where its deadline belongs as seen from the present step. */
static void place(struct wheel *w, struct timer *t)
{
    int64_t s = ceil_step(t->at);
    if (s < w->step)
        s = w->step;
    int level = level_of(w, s);
    int64_t begins = begin_of(s, level);
    if (level == TOP)
        w->next = NEXT_UNKNOWN; /* of the ring it is not said here */
    else if (begins > w->step && begins < w->next)
        w->next = begins;
    place_from(w, t, s, level);
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
    if (!is_busy(w, level, i))
        return;
    list_splice(to, &w->slot[level][i]);
    clear_busy(w, level, i);
}

static void go_to(struct wheel *w, int64_t step)
{
    w->ahead |= (w->step ^ step) >> BITS != 0;
    w->step = step;
}

/* The step has just become w->step: the blocks that begin here are placed anew. */
static void enter(struct wheel *w)
{
    if (w->step & ((1 << BITS) - 1))
        return; /* none does */
    for (int level = TOP; level > 0; level--) {
        unsigned i = index_at(w->step, level);
        if (begin_of(w->step, level) != w->step || !is_busy(w, level, i))
            continue;
        struct link block;
        list_init(&block);
        take_slot(w, level, i, &block);
        for (struct link *l; (l = list_pop(&block));)
            place(w, CONTAINER(l, struct timer, by_slot));
    }
}

/* Empties the blocks that come next, the nearest first, as far as the steps that have passed allow. Once they are
 * empty they stay so until others come next. (The ring's, of 49 days, are left as they are.) */
static void move_ahead(struct wheel *w, int64_t passed)
{
    size_t most = passed < STEPS_A_CALL ? (size_t)(passed > 0 ? passed : 1) * MOVED_A_STEP
                                        : STEPS_A_CALL * MOVED_A_STEP;
    for (int level = 1; level < TOP; level++) {
        unsigned i = index_at(w->step + ((int64_t)1 << (BITS * level)), level);
        if (!is_busy(w, level, i))
            continue;
        struct link *block = &w->slot[level][i];
        for (struct link *l; most > 0 && (l = list_pop(block)); most--) {
            struct timer *t = CONTAINER(l, struct timer, by_slot);
            place_from(w, t, ceil_step(t->at), level - 1);
        }
        if (!list_empty(block))
            return;
        clear_busy(w, level, i);
    }
    w->ahead = false;
}

/* First step after the present one at which a slot or a block begins that is not empty; INT64_MAX: none. No slot of a
 * level begins before the next one of the level above does, but those of the present block. */
static int64_t find_next(const struct wheel *w)
{
    int64_t first = INT64_MAX;
    for (int level = 0; level < LEVELS; level++) {
        int64_t here = w->step >> (BITS * level);
        if (level > 0 && first <= (here + 1) * ((int64_t)1 << (BITS * level)))
            break;
        unsigned ahead = next_busy(w, level, index_at(w->step, level));
        int64_t begins = (here + ahead) * ((int64_t)1 << (BITS * level));
        if (ahead > 0 && begins < first)
            first = begins;
    }
    return first < INT64_MAX ? begin_of(first, level_of(w, first)) : first;
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
    if (list_empty(&w->due))
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
    int64_t target = floor_step(now), passed = target - w->step;
    size_t fired = fire(w, most);
    while (list_empty(&w->due) && w->step < target) {
        /* What the callbacks armed for the step that just fired waits for the next step, ahead of
         * that step's own: a timer that always re-arms for the past cannot hold the wheel. */
        struct link late;
        list_init(&late);
        take_slot(w, 0, index_at(w->step, 0), &late);
        int64_t next = list_empty(&late) ? next_step(w) : w->step + 1;
        go_to(w, next < target ? next : target);
        if (next > target)
            break;
        enter(w);
        if (!list_empty(&late)) {
            unsigned i = index_at(next, 0);
            take_slot(w, 0, i, &late);
            list_splice(&w->slot[0][i], &late);
            set_busy(w, 0, i);
        }
        fired += fire(w, most - fired);
    }
    if (w->ahead)
        move_ahead(w, passed);
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
            for (const struct link *l = head->next; l != head; l = l->next, count++) {
                const struct timer *t = CONTAINER(l, const struct timer, by_slot);
                if (level > 0 && level < TOP && index_at(ceil_step(t->at), level) != i)
                    return false;
            }
        }
    }
    for (const struct link *l = w->due.next; l != &w->due; l = l->next)
        count++;
    return count == w->armed && (w->next <= w->step || w->next == find_next(w));
}
