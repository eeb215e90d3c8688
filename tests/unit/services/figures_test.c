/* SPDX-License-Identifier: MIT */
/* figures_test.c: what is said of a call's media while it stands, and what its record keeps. In a whole server. */
#include "figures/figures.h"

#include "anchor_rig.h"

static char text[FIGURES_LIVE_MAX + 1];

static bool put_one(const struct call_view *c, void *arg)
{
    struct media_rig *m = arg;
    struct buf b;
    buf_init(&b, text, sizeof(text) - 1);
    routing_figures(m->r->routing, c, &b);
    assert_int_equal(b.rc, ERR_OK);
    text[b.n] = '\0';
    return true;
}

/* Of the one call that stands. */
static const char *live(struct media_rig *m)
{
    text[0] = '\0';
    accounting_each(routing_accounting(m->r->routing), put_one, m);
    return text;
}

static void has(const char *in, const char *what)
{
    if (!strstr(in, what))
        fail_msg("no %s in %s", what, in);
}

static void each_line_is_told_live_and_kept_with_the_record(void **state)
{
    struct media_rig *m = *state;
    invite(m, "c1", sdp("192.0.2.11", "0 8", ""));
    assert_string_equal(live(m), "{}"); /* it does not stand yet */
    char ok[MESSAGE];
    snprintf(ok, sizeof(ok), "%s", answer(m, sdp("192.0.2.12", "8", "")));
    uint16_t at_alice = our_port(ok);
    for (uint16_t seq = 1; seq <= 20; seq++) {
        if (seq != 10)
            say_rtp(m, ALICE, at_alice, 8, seq);
    }
    has(live(m), "\"media\": \"relay\"");
    has(text, "\"why\": [\"relayed: media.mode is always\", \"");
    has(text, "\"callee\": {\"mos\": ");
    has(text, "\"kind\": \"audio\"");
    has(text, "\"codec\": \"PCMA/8000\"");
    /* numbers 2 to 20, one of them missing: the first one proves nothing (RFC 3550 A.1) */
    has(text, "\"packets\": 19, \"lost\": 1, ");
    has(text, "\"address\": \"192.0.2.11:4000\"");
    m->r->dir.media[0] = '\0';
    hang_up(m, "c1", ok);
    const char *kept = m->r->dir.media;
    has(kept, "{\"media\": \"relay\", \"why\": [\"");
    has(kept, "\"packets\": 19, \"lost\": 1, ");
    has(kept, "\"codec\": \"PCMA/8000\"");
    assert_null(strstr(kept, "192.0.2.")); /* where phones are is not kept */
    assert_null(strstr(kept, "interval"));
}

static void what_goes_directly_is_said_to(void **state)
{
    struct media_rig *m = *state;
    m->r->set->media.mode = MEDIA_AUTO;
    invite(m, "c2", sdp("192.0.2.11", "0", ""));
    char ok[MESSAGE];
    snprintf(ok, sizeof(ok), "%s", answer(m, sdp("192.0.2.12", "0", "")));
    assert_string_equal(live(m),
                        "{\"media\": \"direct\", \"why\": [\"direct: both sides are alike and "
                        "reach each other\"]}");
    m->r->dir.media[0] = '\0';
    hang_up(m, "c2", ok);
    assert_string_equal(m->r->dir.media, text);
}

static void a_call_that_nobody_took_has_none(void **state)
{
    struct media_rig *m = *state;
    invite(m, "c3", sdp("192.0.2.11", "0", ""));
    m->r->dir.media[0] = '?';
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 486, "b", ""));
    rig_quiet(m->r);
    assert_int_equal(m->r->dir.last.status, 486);
    assert_string_equal(m->r->dir.media, "");
}

/* The most lines that there can be, with the longest names: a record stays in its bounds, and whole. */
static void a_record_is_bounded(void **state)
{
    struct media_rig *m = *state;
    char more[2000] = "", body[MESSAGE];
    for (int i = 1; i < OFFER_MEDIA_MAX; i++) {
        size_t n = strlen(more);
        snprintf(more + n, sizeof(more) - n,
                 "m=video %d RTP/AVP 99\r\na=rtpmap:99 A-Very-Long-Name-Of-A-Codec/90000\r\n",
                 4000 + 2 * i);
    }
    invite(m, "c4", sdp("192.0.2.11", "0", more));
    char ok[MESSAGE];
    snprintf(body, sizeof(body), "%s", sdp("192.0.2.12", "0", more));
    snprintf(ok, sizeof(ok), "%s", answer(m, body));
    live(m);
    unsigned lines = 0;
    for (const char *p = text; (p = strstr(p, "\"kind\"")); p++)
        lines++;
    assert_int_equal(lines, OFFER_MEDIA_MAX);
    hang_up(m, "c4", ok);
    size_t n = strlen(m->r->dir.media);
    assert_in_range(n, FIGURES_RECORD_MAX / 2, FIGURES_RECORD_MAX);
    has(m->r->dir.media, "\"more\": ");
    assert_int_equal(m->r->dir.media[n - 1], '}');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_line_is_told_live_and_kept_with_the_record, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_goes_directly_is_said_to, setup, teardown),
        cmocka_unit_test_setup_teardown(a_call_that_nobody_took_has_none, setup, teardown),
        cmocka_unit_test_setup_teardown(a_record_is_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
