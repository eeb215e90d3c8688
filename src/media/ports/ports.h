/* SPDX-License-Identifier: MIT */
/* ports/ports.h: the ports of `media.ports`: which are in use, and at which address.    layer: media
 *
 * Shape   one table for a process: an atomic octet for each port. Who opens a socket in that range takes its port here
 *         first, or claims the one that it has chosen, and gives it back when the socket is closed: so it is known which
 *         ports are ours. A port number belongs to one taker on all addresses. The first port of a search is the
 *         caller's random number: nobody outside can say which comes next (RFC 6056 §3.3.1).
 * Live    a port whose socket stands, at the address it is bound to. It is the one thing of ours that a
 *         relay may send to: another session's media, another client's relayed address. (D16, D22)
 * Limits  PORTS_ADDRESSES addresses that sockets are bound to; a port at one beyond them is never live.
 * Threads any.
 */
#ifndef PORTS_PORTS_H
#define PORTS_PORTS_H
#include "sock/addr.h"

enum { PORTS_ADDRESSES = 32 };

struct ports;

/* Of the ports first to last. Errors: ERR_NOMEM, ERR_RANGE (first is 0 or above last). */
MUST_USE enum err ports_new(uint16_t first, uint16_t last, struct ports **ret_ports);
void ports_free(struct ports *p); /* NULL is fine */
/* Another range from now on; what is taken stays so until it is given back. Errors: ERR_RANGE. */
MUST_USE enum err ports_range(struct ports *p, uint16_t first, uint16_t last);
unsigned ports_count(const struct ports *p); /* of the range */
unsigned ports_taken(const struct ports *p);

/* n ports in a row (1 to 4) of the range that nobody has; even: the first of them is. They are the caller's.
 *   chance   random; where the search begins
 *   ret_port the first
 * Errors: ERR_BUSY (no such run is free). */
MUST_USE enum err ports_take(struct ports *p, unsigned n, bool even, uint32_t chance,
                             uint16_t *ret_port);
/* These n, wherever they are. Errors: ERR_BUSY (another has one of them). */
MUST_USE enum err ports_claim(struct ports *p, uint16_t port, unsigned n);
/* The socket of a taken port stands, at this address (its port is the one meant). */
void ports_live(struct ports *p, const struct addr *at);
/* Back to all. */
void ports_give(struct ports *p, uint16_t port, unsigned n);
/* A socket of ours stands at this address, or at all of its family with this port. */
bool ports_is_live(struct ports *p, const struct addr *a);

#endif
