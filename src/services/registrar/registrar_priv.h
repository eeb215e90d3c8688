/* SPDX-License-Identifier: MIT */
/* registrar_priv.h: the REGISTER driver's own. */
#ifndef REGISTRAR_PRIV_H
#define REGISTRAR_PRIV_H
#include "registrar/registrar.h"

/* The Contact and Date lines of a 200 (RFC 3261 §10.3 step 8), into b. */
void registrar_put_bindings(struct buf *b, const struct binding *bindings, size_t n, usec now);

#endif
