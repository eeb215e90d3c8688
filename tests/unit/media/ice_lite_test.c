/* SPDX-License-Identifier: MIT */
/* The side of ICE that answers: who is checked, who is selected, who is lost, what a restart keeps, what a forger
 * changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "crypto/crypto.h"
#include "ice/ice_lite.h"
#include "ice_peer.h"

static const struct ice_secret first = {"ourufrag", "our password of 24 octet"};
static const struct ice_secret second = {"newufrag", "another of 24 octets, ok"};

static struct ice_lite lite;
static struct addr alice, mallory, far;
static usec now;
static struct stunmsg answer;

static struct addr at(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(sv_of(text), &a), ERR_OK);
    return a;
}

static int setup(void **state)
{
    (void)state;
    now = 1000 * USEC_S;
    alice = at("198.51.100.1:4000");
    far = at("[2001:db8::1]:4000");
    mallory = at("203.0.113.66:666");
    ice_lite_init(&lite, &first, 1, ICE_LITE_SILENCE_S * USEC_S);
    return crypto_start();
}

/* What a check says. */
struct say {
    const struct ice_secret *to; /* NULL: first */
    bool use, controlled;
    uint32_t priority;
    unsigned component; /* 0: the first */
    uint8_t socket;
};
#define CHECK(...) ((struct say){__VA_ARGS__})

static unsigned check(struct say s, const struct addr *from)
{
    static char mem[512], out_mem[ICE_CHECK_MAX];
    struct buf b, out;
    if (!s.to)
        s.to = &first;
    buf_init(&b, mem, sizeof mem);
    buf_init(&out, out_mem, sizeof out_mem);
    struct peer_check c = {.ufrag = ice_ufrag(s.to),
                           .pwd = ice_pwd(s.to),
                           .from = "abcd",
                           .priority = s.priority,
                           .use = s.use,
                           .controlled = s.controlled};
    unsigned did = ice_lite_on_datagram(&lite, s.component ? s.component : 1, s.socket, from,
                                        peer_check(&c, &b), now, &out);
    assert_int_equal(!!(did & ICE_LITE_ANSWER), out.n > 0);
    if (out.n > 0)
        assert_int_equal(stunmsg_parse(buf_sv(&out), &answer), ERR_OK);
    return did & ~(unsigned)ICE_LITE_ANSWER;
}

static unsigned answered(void)
{
    struct stun_attr a;
    unsigned code = 0;
    sv reason;
    if (stunmsg_find(&answer, STUN_ERROR_CODE, &a))
        assert_int_equal(stunmsg_error_code(a.value, &code, &reason), ERR_OK);
    return code;
}

static void selected_is(unsigned component, const struct addr *want)
{
    const struct ice_lite_pair *p = ice_lite_selected(&lite, component);
    if (!want)
        assert_null(p);
    else
        assert_true(p && addr_equal(&p->remote, want));
}

/* ---- ways through it ---- */

static void a_check_shows_the_peer_and_a_nomination_selects_it(void **state)
{
    (void)state;
    assert_int_equal(check(CHECK(.priority = 5), &alice), ICE_LITE_CHECKED);
    assert_int_equal(answered(), 0);
    assert_true(ice_lite_is_checked(&lite, 1, 0, &alice));
    assert_false(ice_lite_is_checked(&lite, 1, 1, &alice)); /* another address of ours */
    assert_false(ice_lite_is_checked(&lite, 1, 0, &mallory));
    selected_is(1, NULL);
    assert_int_equal(check(CHECK(.priority = 5), &alice), 0);
    assert_int_equal(check(CHECK(.priority = 5, .use = true), &alice),
                     ICE_LITE_SELECTED | ICE_LITE_READY);
    selected_is(1, &alice);
    assert_int_equal(check(CHECK(.priority = 5, .use = true), &alice), 0);
    assert_int_equal(check(CHECK(.component = 2), &alice), 0);
    assert_int_equal(check(CHECK(.component = 9), &alice), 0);
}

static void each_component_has_its_own(void **state)
{
    struct addr rtcp = at("198.51.100.1:4001");
    (void)state;
    ice_lite_init(&lite, &first, 2, 0);
    assert_int_equal(check(CHECK(.use = true), &alice), ICE_LITE_CHECKED | ICE_LITE_SELECTED);
    assert_false(ice_lite_ready(&lite));
    assert_int_equal(check(CHECK(.use = true, .component = 2), &rtcp),
                     ICE_LITE_CHECKED | ICE_LITE_SELECTED | ICE_LITE_READY);
    selected_is(1, &alice);
    selected_is(2, &rtcp);
    assert_false(ice_lite_is_checked(&lite, 2, 0, &alice));
    ice_lite_init(&lite, &first, 2, 0);
    check(CHECK(.use = true), &alice);
    ice_lite_mux(&lite);
    assert_true(ice_lite_ready(&lite));
}

/* Several at once: the highest priority. Later: the last. */
static void the_last_nomination_counts_once_it_has_settled(void **state)
{
    (void)state;
    check(CHECK(.use = true, .priority = 50), &alice);
    assert_int_equal(check(CHECK(.use = true, .priority = 10, .socket = 1), &far),
                     ICE_LITE_CHECKED);
    selected_is(1, &alice);
    now += 100 * USEC_MS;
    assert_int_equal(check(CHECK(.use = true, .priority = 90), &mallory),
                     ICE_LITE_CHECKED | ICE_LITE_SELECTED);
    now += 2 * USEC_S;
    assert_int_equal(check(CHECK(.use = true, .priority = 10, .socket = 1), &far),
                     ICE_LITE_SELECTED);
    selected_is(1, &far);
    assert_int_equal(ice_lite_selected(&lite, 1)->socket, 1);
}

static void a_peer_that_is_controlled_must_change(void **state)
{
    (void)state;
    assert_int_equal(check(CHECK(.controlled = true, .use = true), &alice), 0);
    assert_int_equal(answered(), 487);
    assert_int_equal(stunmsg_verify(&answer, ice_pwd(&first), 32), ERR_OK);
    assert_false(ice_lite_is_checked(&lite, 1, 0, &alice));
}

/* ---- silence ---- */

static void a_peer_that_kept_consent_is_lost_by_silence(void **state)
{
    (void)state;
    check(CHECK(.use = true), &alice);
    for (int i = 0; i < 20; i++) {
        now += 5 * USEC_S;
        assert_int_equal(check(CHECK(.use = i % 2), &alice), 0);
        assert_int_equal(ice_lite_timer(&lite, now), 0);
    }
    assert_int_equal(ice_lite_next(&lite), now + 30 * USEC_S);
    now += 30 * USEC_S;
    assert_int_equal(ice_lite_timer(&lite, now - 1), 0);
    assert_int_equal(ice_lite_timer(&lite, now), 1);
    selected_is(1, NULL);
    assert_false(ice_lite_is_checked(&lite, 1, 0, &alice));
    assert_int_equal(ice_lite_next(&lite), USEC_NEVER);
    assert_int_equal(check(CHECK(.use = true), &alice),
                     ICE_LITE_CHECKED | ICE_LITE_SELECTED | ICE_LITE_READY);
}

/* RFC 5245: after its nomination such a peer sends no checks, but for repetitions of the one that nominated. */
static void a_peer_without_consent_is_not_measured(void **state)
{
    (void)state;
    check(CHECK(.use = true), &alice);
    now += 1500 * USEC_MS;
    check(CHECK(.use = true), &alice);
    assert_int_equal(ice_lite_next(&lite), USEC_NEVER);
    assert_int_equal(ice_lite_timer(&lite, now + USEC_HOUR), 0);
    selected_is(1, &alice);
}

static void indicate(const struct addr *from)
{
    char mem[64];
    struct buf b, none;
    buf_init(&b, mem, sizeof mem);
    buf_init(&none, NULL, 0);
    struct stun_out o =
        stunmsg_begin(&b, STUN_BINDING, STUN_INDICATION, (const uint8_t *)"transaction.");
    stunmsg_put_fingerprint(&o);
    assert_int_equal(ice_lite_on_datagram(&lite, 1, 0, from, buf_sv(&b), now, &none), 0);
}

/* Where the owner tells of data, it is; and so a nomination whose source was forged ends by itself. */
static void a_peer_without_consent_is_measured_by_its_data(void **state)
{
    (void)state;
    ice_lite_watch_data(&lite, true, now);
    check(CHECK(.use = true), &alice);
    for (int i = 0; i < 10; i++) {
        now += 20 * USEC_S;
        if (i % 2)
            assert_int_equal(ice_lite_data(&lite, 1, &alice, now), 0);
        else
            indicate(&alice);
        assert_int_equal(ice_lite_timer(&lite, now), 0);
    }
    now += 29 * USEC_S;
    indicate(&mallory); /* not from there */
    ice_lite_data(&lite, 1, &mallory, now);
    ice_lite_data(&lite, 2, &alice, now);
    assert_int_equal(ice_lite_timer(&lite, now), 0);
    now += USEC_S;
    assert_int_equal(ice_lite_timer(&lite, now), 1);
    selected_is(1, NULL);
    assert_int_equal(ice_lite_data(&lite, 1, &mallory, now), 0);
    indicate(&alice);
    selected_is(1, NULL);
    assert_int_equal(ice_lite_data(&lite, 1, &alice, now), ICE_LITE_SELECTED); /* it speaks again */
    selected_is(1, &alice);
    now += 30 * USEC_S;
    assert_int_equal(ice_lite_timer(&lite, now), 1);
}

static void who_asks_for_consent_is_lost_without_it_unless_it_speaks(void **state)
{
    (void)state;
    ice_lite_watch_data(&lite, true, now);
    check(CHECK(.use = true), &alice);
    now += 10 * USEC_S;
    check(CHECK(.use = true), &alice);
    assert_true(lite.component[0].pair[0].repeats);
    now += 29 * USEC_S;
    indicate(&alice); /* it is no substitute */
    assert_int_equal(ice_lite_timer(&lite, now), 0);
    ice_lite_data(&lite, 1, &alice, now);
    now += 29 * USEC_S;
    indicate(&alice);
    assert_int_equal(ice_lite_timer(&lite, now), 0);
    now += USEC_S;
    assert_int_equal(ice_lite_timer(&lite, now), 1);
    selected_is(1, NULL);
}

/* On hold it owes nothing; who only listens sends RTCP, for which there is a port of its own. */
static void who_is_sent_nothing_need_not_speak(void **state)
{
    struct addr rtcp = at("198.51.100.1:4001");
    (void)state;
    ice_lite_init(&lite, &first, 2, 30 * USEC_S);
    ice_lite_watch_data(&lite, true, now);
    check(CHECK(.use = true), &alice);
    check(CHECK(.use = true, .component = 2), &rtcp);
    ice_lite_watch_data(&lite, false, now);
    assert_int_equal(ice_lite_next(&lite), USEC_NEVER);
    now += USEC_HOUR;
    assert_int_equal(ice_lite_timer(&lite, now), 0);
    ice_lite_watch_data(&lite, true, now);
    for (int i = 0; i < 5; i++) {
        now += 29 * USEC_S;
        assert_int_equal(ice_lite_timer(&lite, now), 0);
        ice_lite_data(&lite, 2, &rtcp, now);
    }
    now += 30 * USEC_S;
    assert_int_equal(ice_lite_timer(&lite, now), 3);
}

static void silence_may_be_ignored(void **state)
{
    (void)state;
    ice_lite_init(&lite, &first, 1, 0);
    check(CHECK(.use = true), &alice);
    now += 15 * USEC_S;
    check(CHECK(.use = true), &alice);
    assert_int_equal(ice_lite_next(&lite), USEC_NEVER);
    assert_int_equal(ice_lite_timer(&lite, now + USEC_DAY), 0);
}

/* ---- restart ---- */

static void a_restart_keeps_the_old_way_until_the_new_one_stands(void **state)
{
    struct addr moved = at("203.0.113.5:5");
    (void)state;
    check(CHECK(.use = true), &alice);
    check(CHECK(.use = false), &far);
    ice_lite_restart(&lite, &second);
    selected_is(1, &alice);
    assert_true(ice_lite_ready(&lite));
    assert_false(ice_lite_is_checked(&lite, 1, 0, &far));
    now += 10 * USEC_S;
    static const struct ice_secret guess = {"ourufrag", "0123456789012345678901ab"};
    usec heard = lite.component[0].pair[0].heard;
    assert_int_equal(check(CHECK(.to = &guess), &alice), 0);
    assert_int_equal(answered(), 401);
    assert_true(lite.component[0].pair[0].heard == heard);
    assert_int_equal(check(CHECK(0), &alice), 0); /* consent on the old pair */
    assert_int_equal(answered(), 0);
    assert_int_equal(stunmsg_verify(&answer, ice_pwd(&first), 32), ERR_OK);
    assert_int_equal(check(CHECK(.use = true), &moved), 0); /* no new one by the old password */
    assert_int_equal(answered(), 401);
    assert_int_equal(check(CHECK(.to = &second), &alice), ICE_LITE_CHECKED);
    assert_int_equal(check(CHECK(.to = &second, .use = true), &moved),
                     ICE_LITE_CHECKED | ICE_LITE_SELECTED);
    selected_is(1, &moved);
    assert_false(lite.restarting);
    assert_int_equal(lite.former.pwd[0], 0);
    check(CHECK(0), &alice);
    assert_int_equal(answered(), 401);
    assert_true(ice_lite_is_checked(&lite, 1, 0, &alice)); /* by the new one */
}

static void a_restart_concludes_component_by_component(void **state)
{
    (void)state;
    ice_lite_init(&lite, &first, 2, 30 * USEC_S);
    check(CHECK(.use = true), &alice);
    check(CHECK(.use = true, .component = 2), &alice);
    ice_lite_restart(&lite, &second);
    assert_int_equal(check(CHECK(.to = &second, .use = true), &alice),
                     ICE_LITE_CHECKED | ICE_LITE_SELECTED);
    assert_true(lite.restarting);
    now += 5 * USEC_S;
    check(CHECK(.component = 2), &alice);
    assert_int_equal(answered(), 0);
    now += 30 * USEC_S; /* the old pair of the second falls silent: the restart ends */
    assert_int_equal(ice_lite_timer(&lite, now), 2);
    assert_false(lite.restarting);
    selected_is(2, NULL);
    ice_lite_restart(&lite, &first); /* and with nothing in the second */
    check(CHECK(.to = &second), &alice);
    assert_int_equal(answered(), 0);
    ice_lite_done(&lite);
    assert_int_equal(lite.ours.pwd[0], 0);
}

/* Our answer may not arrive: what nobody took up is forgotten, and the old way stays. */
static void a_restart_over_another_keeps_what_is_in_use(void **state)
{
    static const struct ice_secret third = {"thirdone", "a third of 24 octets, ok"};
    (void)state;
    check(CHECK(.use = true), &alice);
    ice_lite_restart(&lite, &second);
    ice_lite_restart(&lite, &third);
    assert_int_equal(check(CHECK(0), &alice), 0);
    assert_int_equal(answered(), 0);
    check(CHECK(.to = &second), &alice);
    assert_int_equal(answered(), 401);
    assert_int_equal(check(CHECK(.to = &third, .use = true), &alice),
                     ICE_LITE_CHECKED | ICE_LITE_SELECTED);
    assert_false(lite.restarting);
    check(CHECK(0), &alice);
    assert_int_equal(answered(), 401);
}

/* ---- what a stranger does ---- */

static void forgers_change_nothing(void **state)
{
    static const struct ice_secret guess = {"ourufrag", "0123456789012345678901ab"};
    (void)state;
    check(CHECK(.use = true, .priority = 5), &alice);
    struct ice_lite before = lite;
    now += USEC_S;
    for (int i = 0; i < 100; i++) {
        struct addr a = mallory;
        a.port = (uint16_t)(1 + i);
        assert_int_equal(check(CHECK(.to = &guess, .use = true, .priority = 0x7fffffff), &a), 0);
        assert_int_equal(answered(), 401);
        assert_int_equal(stunmsg_integrity(&answer), STUN_UNSIGNED);
        assert_int_equal(check(CHECK(.to = &guess, .use = true), &alice), 0); /* his source, too */
        assert_int_equal(check(CHECK(.to = &guess, .controlled = true), &alice), 0);
    }
    assert_memory_equal(&before, &lite, sizeof lite);
}

/* The peer itself, or who has its password, from many places: what is selected stays, and memory is bounded. */
static void many_sources_replace_each_other(void **state)
{
    (void)state;
    check(CHECK(.use = true), &alice);
    for (int i = 0; i < 1000; i++) {
        struct addr a = mallory;
        a.port = (uint16_t)(1 + i);
        now += USEC_MS;
        assert_int_equal(check(CHECK(0), &a), ICE_LITE_CHECKED);
        assert_true(ice_lite_is_checked(&lite, 1, 0, &a));
    }
    assert_int_equal(lite.component[0].n, ICE_LITE_PAIRS);
    selected_is(1, &alice);
    now += 31 * USEC_S;
    assert_int_equal(ice_lite_timer(&lite, now), 0);
    assert_int_equal(lite.component[0].n, 1);
    selected_is(1, &alice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_check_shows_the_peer_and_a_nomination_selects_it, setup),
        cmocka_unit_test_setup(each_component_has_its_own, setup),
        cmocka_unit_test_setup(the_last_nomination_counts_once_it_has_settled, setup),
        cmocka_unit_test_setup(a_peer_that_is_controlled_must_change, setup),
        cmocka_unit_test_setup(a_peer_that_kept_consent_is_lost_by_silence, setup),
        cmocka_unit_test_setup(a_peer_without_consent_is_not_measured, setup),
        cmocka_unit_test_setup(a_peer_without_consent_is_measured_by_its_data, setup),
        cmocka_unit_test_setup(who_asks_for_consent_is_lost_without_it_unless_it_speaks, setup),
        cmocka_unit_test_setup(who_is_sent_nothing_need_not_speak, setup),
        cmocka_unit_test_setup(silence_may_be_ignored, setup),
        cmocka_unit_test_setup(a_restart_keeps_the_old_way_until_the_new_one_stands, setup),
        cmocka_unit_test_setup(a_restart_concludes_component_by_component, setup),
        cmocka_unit_test_setup(a_restart_over_another_keeps_what_is_in_use, setup),
        cmocka_unit_test_setup(forgers_change_nothing, setup),
        cmocka_unit_test_setup(many_sources_replace_each_other, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
