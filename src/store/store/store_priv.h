/* SPDX-License-Identifier: MIT */
/* store_priv.h: the parts of store among themselves. */
#ifndef STORE_STORE_PRIV_H
#define STORE_STORE_PRIV_H
#include "store/store.h"

struct store {
    struct store_location *loc;
    struct store_directory *dir;
    /* under way, by the worker that owns them */
    struct link removals[LOOP_WORKERS_MAX], amendments[LOOP_WORKERS_MAX];
};

void store_amendments_end(struct store *s);

#endif
