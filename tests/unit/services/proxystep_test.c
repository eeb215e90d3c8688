/* SPDX-License-Identifier: MIT */
/* proxy_step: every order of events for one to three branches of one to three ranks, and the choice of
 * the best (§16.7). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "proxy/proxy_step.h"

enum { MOST = 3 };

/* What the driver would have done so far. */
struct world {
    struct step_context c;
    unsigned finals, best, silence, success;                         /* sent upstream */
    unsigned cancels[MOST], nexts[MOST], servers[MOST], flows[MOST]; /* left */
    bool begun[MOST], redirecting[MOST], redirected, ending;
    bool ended[MOST]; /* the branch's transaction has given its final response */
};

static unsigned visits;

static uint16_t status_of(enum step_event ev, int alternative)
{
    static const uint16_t failures[] = {486, 603, 503, 430};
    switch (ev) {
    case STEP_EV_PROVISIONAL:
        return 180;
    case STEP_EV_SUCCESS:
    case STEP_EV_LATE:
        return 200;
    case STEP_EV_FAILURE:
        return failures[alternative];
    case STEP_EV_REDIRECT:
        return 302;
    case STEP_EV_REFUSED:
        return 440;
    case STEP_EV_UNFIT:
        return 488;
    default:
        return 0;
    }
}

static bool is_pending(const struct step_branch *b)
{
    return b->phase == STEP_TRYING || b->phase == STEP_PROCEEDING;
}

/* A 2xx, a 6xx, the caller or the server's end has decided it. */
static bool is_decided(const struct world *w)
{
    bool decided = w->success || w->c.cancelled || w->ending;
    for (unsigned i = 0; i < w->c.n; i++)
        decided = decided || (w->c.branch[i].phase == STEP_FINAL && w->c.branch[i].status >= 600);
    return decided;
}

static void check(const struct world *w, unsigned effects, enum step_event ev, unsigned branch)
{
    const struct step_context *c = &w->c;
    bool decided = is_decided(w), waits = false, rings = false;
    /* One final answer other than 2xx at most, none beside silence, none after a 2xx. */
    assert_true(w->best + w->silence <= 1);
    assert_false(w->best && w->success);
    assert_false(w->silence && w->success);
    if (!c->invite)
        assert_true(w->success <= 1);
    for (unsigned i = 0; i < c->n; i++) {
        assert_true(w->cancels[i] <= 1);
        assert_int_equal(w->cancels[i] > 0, w->begun[i] && c->branch[i].cancelled);
        waits = waits || c->branch[i].phase == STEP_WAITING;
        rings = rings || (is_pending(&c->branch[i]) && !c->branch[i].cancelled);
        if (is_pending(&c->branch[i]))
            assert_true(w->begun[i]);
    }
    /* When all have ended, exactly one thing has been said. */
    if (proxy_all_final(c)) {
        assert_true(w->best + w->silence + (w->success > 0) == 1);
        if (w->best)
            assert_int_not_equal(c->branch[proxy_best(c)].status, 0);
    } else {
        assert_int_equal(w->best + w->silence, 0);
    }
    /* Whoever loses a call is told so: nobody rings on after a 2xx, a 6xx or the caller's
     * CANCEL, and nobody begins to. */
    for (unsigned i = 0; decided && i < c->n; i++) {
        assert_int_not_equal(c->branch[i].phase, STEP_WAITING);
        if (c->invite && c->branch[i].phase != STEP_FINAL)
            assert_int_equal(w->cancels[i], 1);
    }
    if (decided)
        assert_int_equal(effects & (STEP_NEXT | STEP_START | STEP_REDIRECT), 0);
    /* Who waits, waits for somebody. */
    if (waits)
        assert_true(rings);
    /* Timer C starts again with each provisional response, and with nothing else. */
    assert_int_equal((effects & STEP_RESET_C) != 0,
                     ev == STEP_EV_PROVISIONAL && c->branch[branch].phase != STEP_FINAL);
    if (effects & STEP_FORWARD)
        assert_true(ev == STEP_EV_PROVISIONAL || ev == STEP_EV_SUCCESS || ev == STEP_EV_LATE);
    if (ev == STEP_EV_PROVISIONAL && w->success)
        assert_false(effects & STEP_FORWARD);
}

/* As the driver does what it is told; what may not be told is seen here. */
static void perform(struct world *w, unsigned effects, unsigned branch, uint32_t cancel)
{
    struct step_context *c = &w->c;
    assert_int_equal((effects & STEP_CANCEL_OTHERS) != 0, cancel != 0);
    for (unsigned i = 0; i < 32; i++) {
        if (!(cancel & UINT32_C(1) << i))
            continue;
        assert_true(i < c->n);
        assert_int_not_equal(c->branch[i].phase, STEP_FINAL);
        w->cancels[i]++;
    }
    if (effects & STEP_NEXT) {
        unsigned *left = w->servers[branch] ? &w->servers[branch] : &w->flows[branch];
        assert_true(*left > 0);
        assert_false(c->branch[branch].cancelled);
        (*left)--;
        c->branch[branch].more = w->servers[branch] > 0;
        c->branch[branch].other = w->flows[branch] > 0;
        w->nexts[branch]++;
    }
    if (effects & STEP_REDIRECT)
        w->redirecting[branch] = true;
    for (unsigned i = 0; effects & STEP_START && i < c->n; i++) {
        if (!(c->starting & UINT32_C(1) << i)) {
            /* Of those before nobody rings on, those behind are no higher. */
            assert_false(is_pending(&c->branch[i]) && !c->branch[i].cancelled);
            for (unsigned k = 0; k < c->n; k++) {
                if (c->branch[i].phase == STEP_WAITING && c->starting & UINT32_C(1) << k)
                    assert_true(c->branch[i].rank < c->branch[k].rank);
            }
            continue;
        }
        assert_false(w->begun[i]);
        w->begun[i] = true;
    }
    if (effects & STEP_BEST) {
        w->best++;
        c->sent = c->branch[proxy_best(c)].status;
    }
    if (effects & STEP_SILENCE)
        w->silence++;
}

/* What transactions, timers and the watcher can bring in this state. */
static bool may_come(const struct world *w, enum step_event ev, unsigned branch, int alternative)
{
    const struct step_branch *b = &w->c.branch[branch];
    if (alternative && ev != STEP_EV_FAILURE)
        return false;
    switch (ev) {
    case STEP_EV_START:
        return false;
    case STEP_EV_RANK_TIME:
        return branch == 0 && w->c.invite;
    case STEP_EV_CANCEL: /* the server transaction hands it over once, before a final */
        return branch == 0 && !w->c.cancelled && !w->c.sent && !w->silence && w->c.invite;
    case STEP_EV_END:
        return branch == 0 && !w->ending && !w->c.sent && !w->silence && w->c.invite;
    case STEP_EV_CUT:
        return branch == 0 && w->ending && !w->c.sent;
    case STEP_EV_LATE: /* after another final response the context is gone */
        return w->nexts[branch] > 0 && !w->best && !w->silence;
    case STEP_EV_GAVE_WAY:
        return w->redirecting[branch] && b->phase != STEP_FINAL && !b->cancelled && w->c.n < MOST;
    case STEP_EV_REDIRECT: /* once is enough to see */
        return w->begun[branch] && is_pending(b) && !w->redirected;
    case STEP_EV_SILENT:
        return w->begun[branch] && b->phase == STEP_TRYING;
    case STEP_EV_UNFIT:
        return w->c.invite && w->begun[branch] && !w->ended[branch] && !w->redirecting[branch];
    default:
        break;
    }
    if (!w->begun[branch])
        return false;
    if (w->redirecting[branch]) /* nothing is left of it but the watcher's answer, or its end */
        return ev == STEP_EV_FAILURE || (ev == STEP_EV_TIMEOUT && b->cancelled);
    /* A transaction says nothing after its final response but 2xx again; only that it is gone, and
     * Timer C may be on its way. */
    bool repeats = ev == STEP_EV_SUCCESS && w->c.invite && b->status / 100 == 2;
    return !w->ended[branch] || repeats || ev == STEP_EV_TIMEOUT || ev == STEP_EV_UNREACHABLE ||
           ev == STEP_EV_TIMER_C;
}

static void walk(const struct world *before, unsigned depth);

static void one(const struct world *before, enum step_event ev, unsigned branch, int alternative,
                unsigned depth)
{
    struct world w = *before;
    uint32_t cancel;
    if (ev == STEP_EV_GAVE_WAY) { /* the new one rings already */
        w.c.branch[w.c.n] = (struct step_branch){.rank = w.c.branch[branch].rank};
        w.begun[w.c.n++] = true;
        w.redirecting[branch] = false;
    }
    unsigned effects = proxy_step(&w.c, ev, branch, status_of(ev, alternative), &cancel);
    if (ev == STEP_EV_REDIRECT)
        w.redirected = true;
    if (ev == STEP_EV_END)
        w.ending = true;
    if (effects & STEP_FORWARD && (ev == STEP_EV_SUCCESS || ev == STEP_EV_LATE))
        w.success++;
    perform(&w, effects, branch, cancel);
    if (ev == STEP_EV_CUT)
        assert_true(w.best == 1);
    for (unsigned i = 0; i < w.c.n; i++)
        w.ended[i] = w.ended[i] || (w.begun[i] && w.c.branch[i].phase == STEP_FINAL);
    check(&w, effects, ev, branch);
    walk(&w, depth - 1);
}

static void walk(const struct world *before, unsigned depth)
{
    visits++;
    if (depth == 0)
        return;
    for (int ev = 0; ev < STEP_EVENTS; ev++) {
        for (unsigned branch = 0; branch < before->c.n; branch++) {
            for (int alternative = 0; alternative < 4; alternative++) {
                if (may_come(before, (enum step_event)ev, branch, alternative))
                    one(before, (enum step_event)ev, branch, alternative, depth);
            }
        }
    }
}

/* Every way to rank up to three targets, with a second server for some. */
static void test_all_orders(void **state)
{
    (void)state;
    static const unsigned depth[] = {0, 6, 4, 4};
    static const uint16_t ranks[][MOST] = {{5, 5, 5}, {5, 3, 1}, {3, 5, 3}};
    for (unsigned k = 0; k < 12; k++) {
        bool invite = k & 1;
        for (unsigned n = 1; n <= MOST; n++) {
            struct world w = {.c = {.n = n, .invite = invite}};
            uint32_t cancel;
            for (unsigned i = 0; i < n; i++) {
                w.servers[i] = k / 6 && i < 2;
                w.flows[i] = k / 6 && i % 2 == 0;
                w.c.branch[i] = (struct step_branch){.phase = STEP_WAITING,
                                                     .rank = ranks[k / 2 % 3][i],
                                                     .more = w.servers[i] > 0,
                                                     .other = w.flows[i] > 0};
            }
            unsigned effects = proxy_step(&w.c, STEP_EV_START, 0, 0, &cancel);
            assert_int_equal(effects, STEP_START);
            perform(&w, effects, 0, cancel);
            walk(&w, depth[n]);
        }
    }
    print_message("%u states\n", visits);
    assert_true(visits > 1000000);
}

/* RFC 3263 §4.3: what makes a branch go on to its next server, and what does not. */
static void test_servers(void **state)
{
    (void)state;
    uint32_t cancel;
    static const struct {
        enum step_event ev;
        uint16_t status;
        bool invite, provisional, goes_on;
    } table[] = {
        {STEP_EV_TIMEOUT, 0, true, false, true},    {STEP_EV_UNREACHABLE, 0, true, false, true},
        {STEP_EV_FAILURE, 503, true, false, true},  {STEP_EV_SILENT, 0, true, false, true},
        {STEP_EV_FAILURE, 503, true, true, true},   {STEP_EV_UNREACHABLE, 0, false, true, true},
        {STEP_EV_SILENT, 0, false, false, true},    {STEP_EV_TIMEOUT, 0, false, false, true},
        {STEP_EV_TIMEOUT, 0, true, true, false},    {STEP_EV_SILENT, 0, true, true, false},
        {STEP_EV_FAILURE, 500, true, false, false}, {STEP_EV_FAILURE, 486, true, false, false},
        {STEP_EV_FAILURE, 600, true, false, false}, {STEP_EV_REFUSED, 440, true, false, false},
        {STEP_EV_UNFIT, 488, true, false, false},   {STEP_EV_UNFIT, 503, true, true, false},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct step_context c = {.n = 1, .invite = table[i].invite};
        c.branch[0].more = true;
        if (table[i].provisional)
            proxy_step(&c, STEP_EV_PROVISIONAL, 0, 180, &cancel);
        unsigned effects = proxy_step(&c, table[i].ev, 0, table[i].status, &cancel);
        if ((effects == STEP_NEXT) != table[i].goes_on)
            fail_msg("case %zu: %u", i, effects);
        if (table[i].goes_on)
            assert_int_equal(c.branch[0].phase, STEP_TRYING);
    }
    /* RFC 5626 §7: the phone's next flow, when nobody was at this one or it has failed. */
    static const struct {
        enum step_event ev;
        uint16_t status;
        bool goes_on;
    } flows[] = {{STEP_EV_TIMEOUT, 0, true},    {STEP_EV_UNREACHABLE, 430, true},
                 {STEP_EV_FAILURE, 430, true},  {STEP_EV_FAILURE, 408, true},
                 {STEP_EV_FAILURE, 503, false}, {STEP_EV_FAILURE, 486, false}};
    for (size_t i = 0; i < sizeof(flows) / sizeof(flows[0]); i++) {
        struct step_context c = {.n = 1, .invite = true};
        c.branch[0].other = true;
        unsigned effects = proxy_step(&c, flows[i].ev, 0, flows[i].status, &cancel);
        if ((effects == STEP_NEXT) != flows[i].goes_on)
            fail_msg("flow %zu: %u", i, effects);
    }
    /* Silence of the last one is Timer B's for an INVITE; for another request it is the end. */
    struct step_context c = {.n = 1, .invite = true};
    assert_int_equal(proxy_step(&c, STEP_EV_SILENT, 0, 0, &cancel), 0);
    c = (struct step_context){.n = 1};
    assert_int_equal(proxy_step(&c, STEP_EV_SILENT, 0, 0, &cancel), STEP_SILENCE);
    /* A cancelled branch asks nobody else. */
    c = (struct step_context){.n = 1, .invite = true};
    c.branch[0].more = true;
    assert_int_equal(proxy_step(&c, STEP_EV_CANCEL, 0, 0, &cancel), STEP_CANCEL_OTHERS);
    assert_int_equal(proxy_step(&c, STEP_EV_UNREACHABLE, 0, 0, &cancel), STEP_BEST);
}

struct choice {
    uint16_t status[3];
    unsigned made_up; /* mask */
    unsigned best;
};

static void test_best(void **state)
{
    (void)state;
    static const struct choice table[] = {
        {{486, 404, 0}, 0, 0},   {{404, 486, 0}, 0, 0},   {{486, 302, 0}, 0, 1},
        {{503, 486, 0}, 0, 1},   {{600, 302, 200}, 0, 0}, {{404, 603, 401}, 0, 1},
        {{404, 401, 0}, 0, 1},   {{404, 407, 480}, 0, 1}, {{420, 404, 0}, 0, 0},
        {{404, 415, 0}, 0, 1},   {{486, 484, 0}, 0, 1},   {{415, 401, 0}, 0, 1},
        {{408, 480, 0}, 0, 1},   {{487, 408, 0}, 0, 1},   {{487, 486, 487}, 0, 1},
        {{487, 500, 0}, 0, 0},   {{503, 500, 0}, 1, 1},   {{408, 408, 0}, 1, 1},
        {{503, 408, 0}, 3, 1},   {{503, 487, 0}, 1, 1},   {{500, 503, 600}, 0, 2},
        {{480, 480, 480}, 0, 0}, {{440, 404, 0}, 1, 1},   {{305, 604, 407}, 0, 1},
        {{430, 480, 0}, 1, 1},   {{430, 503, 0}, 3, 0},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct step_context c = {.invite = true};
        for (; c.n < 3 && table[i].status[c.n]; c.n++)
            c.branch[c.n] = (struct step_branch){.phase = STEP_FINAL,
                                                 .status = table[i].status[c.n],
                                                 .made_up = table[i].made_up >> c.n & 1};
        if (proxy_best(&c) != table[i].best)
            fail_msg("case %zu: %u", i, proxy_best(&c));
    }
}

/* A branch that we refuse stands behind all that was heard, 487 of the caller's CANCEL too; but not behind a phone that is
 * not there. */
static void test_refused(void **state)
{
    (void)state;
    static const struct {
        uint16_t status[2];
        unsigned made_up, refused; /* masks */
        unsigned best;
    } table[] = {
        {{403, 487}, 1, 1, 1}, {{403, 487}, 3, 1, 1}, {{403, 486}, 1, 1, 1}, {{403, 503}, 1, 1, 1},
        {{403, 302}, 1, 1, 1}, {{403, 408}, 3, 1, 1}, {{403, 603}, 1, 1, 1}, {{503, 403}, 3, 3, 1},
        {{403, 488}, 3, 3, 0}, {{403, 503}, 3, 1, 0}, {{440, 500}, 1, 1, 1}, {{487, 503}, 2, 2, 0},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct step_context c = {.n = 2, .invite = true};
        for (unsigned k = 0; k < 2; k++)
            c.branch[k] = (struct step_branch){.phase = STEP_FINAL,
                                               .status = table[i].status[k],
                                               .made_up = table[i].made_up >> k & 1,
                                               .refused = table[i].refused >> k & 1};
        if (proxy_best(&c) != table[i].best)
            fail_msg("case %zu: %u", i, proxy_best(&c));
    }
    /* Beside a phone that the caller gives up on, and one that fails. */
    uint32_t cancel;
    struct step_context c = {.n = 2, .invite = true};
    assert_int_equal(proxy_step(&c, STEP_EV_REFUSED, 0, 403, &cancel), 0);
    assert_int_equal(proxy_step(&c, STEP_EV_CANCEL, 0, 0, &cancel), STEP_CANCEL_OTHERS);
    assert_int_equal(proxy_step(&c, STEP_EV_FAILURE, 1, 487, &cancel), STEP_BEST);
    assert_int_equal(proxy_best(&c), 1);
    c = (struct step_context){.n = 2, .invite = true};
    assert_int_equal(proxy_step(&c, STEP_EV_REFUSED, 0, 403, &cancel), 0);
    assert_int_equal(proxy_step(&c, STEP_EV_FAILURE, 1, 500, &cancel), STEP_BEST);
    assert_int_equal(proxy_best(&c), 1);
}

/* What the statuses made here are. */
static void test_made_up(void **state)
{
    (void)state;
    uint32_t cancel;
    struct step_context c = {.n = 2, .invite = true};
    assert_int_equal(proxy_step(&c, STEP_EV_UNREACHABLE, 0, 0, &cancel), 0);
    assert_int_equal(c.branch[0].status, 503);
    assert_int_equal(proxy_step(&c, STEP_EV_TIMEOUT, 1, 0, &cancel), STEP_BEST);
    assert_int_equal(c.branch[1].status, 408);
    assert_true(c.branch[1].made_up);
    /* A branch that the caller cancelled and that stays silent. */
    c = (struct step_context){.n = 1, .invite = true};
    assert_int_equal(proxy_step(&c, STEP_EV_CANCEL, 0, 0, &cancel), STEP_CANCEL_OTHERS);
    assert_int_equal(cancel, 1);
    assert_int_equal(proxy_step(&c, STEP_EV_TIMEOUT, 0, 0, &cancel), STEP_BEST);
    assert_int_equal(c.branch[0].status, 487);
    /* One that Timer C ended. */
    c = (struct step_context){.n = 1, .invite = true};
    assert_int_equal(proxy_step(&c, STEP_EV_TIMER_C, 0, 0, &cancel), STEP_CANCEL_OTHERS);
    assert_int_equal(proxy_step(&c, STEP_EV_TIMER_C, 0, 0, &cancel), 0);
    assert_int_equal(proxy_step(&c, STEP_EV_TIMEOUT, 0, 0, &cancel), STEP_BEST);
    assert_int_equal(c.branch[0].status, 408);
    /* RFC 4320: no 408 to anything but an INVITE; a phone's own 404 is fine. */
    c = (struct step_context){.n = 2};
    assert_int_equal(proxy_step(&c, STEP_EV_TIMEOUT, 0, 0, &cancel), 0);
    assert_int_equal(proxy_step(&c, STEP_EV_FAILURE, 1, 408, &cancel), STEP_SILENCE);
    c = (struct step_context){.n = 2};
    assert_int_equal(proxy_step(&c, STEP_EV_TIMEOUT, 0, 0, &cancel), 0);
    assert_int_equal(proxy_step(&c, STEP_EV_FAILURE, 1, 404, &cancel), STEP_BEST);
    /* §16.7 step 4: a redirection that was followed is nobody's answer. */
    c = (struct step_context){.n = 2, .invite = true};
    assert_int_equal(proxy_step(&c, STEP_EV_REDIRECT, 0, 302, &cancel), STEP_REDIRECT);
    assert_int_equal(proxy_step(&c, STEP_EV_GAVE_WAY, 0, 0, &cancel), 0);
    assert_int_equal(proxy_step(&c, STEP_EV_FAILURE, 1, 604, &cancel), STEP_BEST);
    assert_int_equal(proxy_best(&c), 1);
    /* Its flow is gone. */
    c = (struct step_context){.n = 1, .invite = true};
    assert_int_equal(proxy_step(&c, STEP_EV_UNREACHABLE, 0, 430, &cancel), STEP_BEST);
    assert_int_equal(c.branch[0].status, 430);
    /* No breadth left. */
    c = (struct step_context){.n = 1};
    assert_int_equal(proxy_step(&c, STEP_EV_REFUSED, 0, 440, &cancel), STEP_BEST);
    assert_int_equal(c.branch[0].status, 440);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_orders), cmocka_unit_test(test_servers),
        cmocka_unit_test(test_best),       cmocka_unit_test(test_refused),
        cmocka_unit_test(test_made_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
