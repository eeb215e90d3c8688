/* SPDX-License-Identifier: MIT */
/* A stream that goes on to the next worker whenever it is told to, outside of its own callbacks. */
#ifndef NET_MOVER_H
#define NET_MOVER_H
#include "net_run.h"
#include <pthread.h>

struct mover {
    struct mail mail;
    struct stream **s;
    unsigned moves, refused;
    bool going;
    pthread_t thread; /* that it came to */
};

static void mover_join(struct loop *l, struct mail *m)
{
    struct mover *v = CONTAINER(m, struct mover, mail);
    if (loop_stopping(l))
        return; /* the test closes it */
    assert_int_equal(stream_join(*v->s, l), ERR_OK);
    assert_ptr_equal((*v->s)->loop, l);
    v->thread = pthread_self();
    v->moves++;
    v->going = false;
}

static void mover_leave(struct loop *l, struct mail *m)
{
    struct mover *v = CONTAINER(m, struct mover, mail);
    if (loop_stopping(l) || !*v->s)
        return;
    if (stream_leave(v->s) != ERR_OK) {
        v->refused++;
        v->going = false;
        return;
    }
    if (v->moves % 3 == 2) { /* nobody took it: it comes back at once */
        mover_join(l, m);
        return;
    }
    m->fn = mover_join;
    assert_int_equal(loop_mail(group->loop[(l->worker + 1) % group->n], m), ERR_OK);
}

/* From a turn of the stream's worker. */
static void mover_go(struct mover *v)
{
    if (v->moves > 0)
        assert_true(pthread_equal(v->thread, pthread_self()));
    if (v->going)
        return;
    v->going = true;
    v->mail.fn = mover_leave;
    assert_int_equal(loop_mail((*v->s)->loop, &v->mail), ERR_OK);
}

#endif
