/* SPDX-License-Identifier: MIT */
/* daemon/daemon.h: the server: set-up, signals, reload, drain, end.             layer: app
 *
 * Shape   daemon_serve runs until SIGTERM or SIGINT; its parts are made on the main thread before
 * the workers start and ended after they have joined. Exit    0 ended as asked · 1 the
 * configuration was refused · 3 could not start (port taken, folder locked, …). Threads main
 * thread.
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H
#include "config/config.h"

enum daemon_mode {
    DAEMON_SERVE,
    DAEMON_DEMO,   /* two accounts and a call between them */
    DAEMON_OFFLINE /* no SIP, no HTTP: only the control socket, for the verbs that change accounts
                      while no server runs */
};
/* program: as it was called, for what it prints. */
int daemon_serve(const struct config_source *src, enum daemon_mode mode, const char *program);
/* A start with c would make a new authority in place of the one in its data folder, since c has names
 * that this one may not sign for. False too when that cannot be read. Blocking. */
bool daemon_new_authority(const struct config *c);
extern const char daemon_version[];

#endif
