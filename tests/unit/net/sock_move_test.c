/* SPDX-License-Identifier: MIT */
/* Streams that go from one worker's loop to another's, on real threads. */
#include "net_mover.h"
#include <string.h>

enum { WORKERS = 3, ROUNDS = 300, MUCH = 16 * 1024 * 1024 };

static struct listener *listener;
static struct stream *client, *server;
static struct mover mover;
static unsigned rounds, server_closes, client_closes;
static struct timer tick;
static void (*when_data)(void);

static void on_server_data(void *arg, sv s)
{
    (void)arg;
    assert_int_equal(stream_send(server, &s, 1), ERR_OK);
    mover_go(&mover); /* the echo leaves first */
}

static void on_server_close(void *arg, enum err why)
{
    (void)arg;
    (void)why;
    server = NULL;
    server_closes++;
    net_stop();
}

static const struct stream_handler server_handler = {.on_data = on_server_data,
                                                     .on_close = on_server_close};

static void on_accept(void *arg, struct stream *s)
{
    (void)arg;
    server = s;
    stream_handle(s, &server_handler, NULL);
}

static const struct listener_handler accepting = {.on_accept = on_accept};

static void on_client_data(void *arg, sv s)
{
    (void)arg;
    (void)s;
    when_data();
}

static void on_client_close(void *arg, enum err why)
{
    (void)arg;
    (void)why;
    client = NULL;
    client_closes++;
    net_stop();
}

static const struct stream_handler client_handler = {.on_data = on_client_data,
                                                     .on_close = on_client_close};

static void setup(void)
{
    struct addr any = net_addr("127.0.0.1:0");
    client = server = NULL;
    rounds = server_closes = client_closes = 0;
    net_setup(WORKERS);
    mover = (struct mover){.s = &server};
    assert_int_equal(stream_listen(at, &any, &accepting, NULL, &listener), ERR_OK);
    struct addr to = listener->local;
    assert_int_equal(stream_connect(at, NULL, &to, &client_handler, NULL, &client), ERR_OK);
    assert_int_equal(stream_leave(&client), ERR_BUSY); /* it is not open */
}

static void end(void)
{
    stream_close(client, false);
    stream_close(server, false);
    listener_close(listener);
    net_end();
}

static void say_again(void)
{
    sv piece = SV("again");
    if (++rounds < ROUNDS) {
        assert_int_equal(stream_send(client, &piece, 1), ERR_OK);
    } else {
        stream_close(client, true);
        client = NULL;
    }
}

static void a_stream_is_heard_wherever_it_goes(void **state)
{
    (void)state;
    setup();
    when_data = say_again;
    assert_int_equal(stream_send(client, &SV("first"), 1), ERR_OK);
    net_run();
    assert_int_equal(rounds, ROUNDS);
    assert_int_equal(server_closes, 1);
    assert_true(mover.moves > ROUNDS / 2);
    assert_int_equal(mover.refused, 0);
    end();
}

/* ---- what stays ---- */

static char much[MUCH];

static void say_much_and_try_to_leave(struct timer *t, void *arg)
{
    (void)arg;
    if (!server) {
        loop_timer(at, t, USEC_MS);
        return;
    }
    server->queue_max = SIZE_MAX / 4;
    stream_pause(client, true);
    assert_int_equal(stream_send(server, &(sv){much, MUCH}, 1), ERR_OK);
    assert_true(server->queued > 0);
    assert_int_equal(stream_leave(&server), ERR_BUSY);
    net_stop();
}

static void a_stream_with_a_queue_stays(void **state)
{
    (void)state;
    setup();
    timer_init(&tick, say_much_and_try_to_leave, NULL);
    loop_timer(at, &tick, 0);
    net_run();
    end();
}

/* ---- between two loops ---- */

static void leave_and_close(struct timer *t, void *arg)
{
    (void)arg;
    if (!server) {
        loop_timer(at, t, USEC_MS);
        return;
    }
    assert_int_equal(stream_send(server, &SV("last"), 1), ERR_OK);
    assert_int_equal(stream_leave(&server), ERR_OK);
    stream_close(server, true);
    server = NULL;
}

static void count_rounds(void)
{
    rounds++;
}

static void a_stream_may_be_closed_on_its_way(void **state)
{
    (void)state;
    setup();
    when_data = count_rounds;
    timer_init(&tick, leave_and_close, NULL);
    loop_timer(at, &tick, 0);
    net_run();
    assert_int_equal(rounds, 1);
    assert_int_equal(client_closes, 1);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_is_heard_wherever_it_goes),
        cmocka_unit_test(a_stream_with_a_queue_stays),
        cmocka_unit_test(a_stream_may_be_closed_on_its_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
