/* SPDX-License-Identifier: MIT */
/* TLS streams that go from one worker's loop to another's, on real threads. */
#include "tls_ends.h"
#include "net_mover.h"

enum { ROUNDS = 300 };
static struct mover mover = {.s = &server.s};
static unsigned rounds;

static void say_first(struct end *e)
{
    assert_int_equal(stream_leave(&e->s), ERR_BUSY); /* inside its own callback */
    say(e, SV("first"));
}

static void echo_and_go(struct end *e, sv s)
{
    say(e, s);
    mover_go(&mover);
}

static void say_again(struct end *e, sv s)
{
    (void)s;
    if (++rounds < ROUNDS)
        say(e, SV("again"));
    else
        leave(e);
}

static void a_stream_is_heard_wherever_it_goes(void **state)
{
    (void)state;
    workers = 3;
    rounds = 0;
    start();
    client.when_open = say_first;
    client.when_data = say_again;
    server.when_data = echo_and_go;
    dial();
    net_run();
    assert_int_equal(rounds, ROUNDS);
    assert_int_equal(server.closed, 1);
    assert_int_equal(server.why, ERR_OK);
    assert_true(mover.moves > ROUNDS / 2);
    assert_int_equal(mover.refused, 0);
    assert_int_equal(loop_stat(group, STAT_TLS_CONNECTIONS), 0);
    end();
}

/* ---- between two loops ---- */

static void leave_and_close(struct timer *t, void *arg)
{
    (void)arg;
    if (server.got == 0) {
        loop_timer(at, t, USEC_MS);
        return;
    }
    say(&server, SV("last"));
    assert_int_equal(stream_leave(&server.s), ERR_OK);
    assert_int_equal(stat(STAT_TLS_CONNECTIONS), 1); /* the client's */
    stream_close(server.s, true);
    server.s = NULL;
}

static void a_stream_may_be_closed_on_its_way(void **state)
{
    (void)state;
    start();
    client.when_open = say_first;
    timer_init(&later, leave_and_close, NULL);
    dial();
    loop_timer(at, &later, 0);
    net_run();
    assert_heard(&client, "last");
    assert_int_equal(client.closed, 1);
    assert_int_equal(client.why, ERR_CLOSED); /* nobody could say goodbye */
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_is_heard_wherever_it_goes),
        cmocka_unit_test(a_stream_may_be_closed_on_its_way),
    };
    return ends_main(tests, sizeof(tests) / sizeof(*tests));
}
