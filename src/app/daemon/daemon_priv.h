/* SPDX-License-Identifier: MIT */
/* daemon_priv.h: the parts of the daemon among themselves.
 *
 *   daemon.c         set-up, signals, drain, end
 *   daemon_state.c   the data folder: lock, secrets, what is remembered
 *   daemon_ports.c   are the ports free, and who has them
 *   daemon_reload.c  a new configuration, all or nothing; the file's accounts
 *   daemon_demo.c    two accounts and a call between them
 */
#ifndef DAEMON_PRIV_H
#define DAEMON_PRIV_H
#include "auth/auth.h"
#include "control/control.h"
#include "daemon/daemon.h"
#include "memory/memory.h"
#include "sqlite/sqlite.h"
#include "worker/worker.h"

/* Secrets of the installation, made at the first start, kept in DATA/secret. Each use has its own.
 */
struct daemon_secrets {
    uint8_t marks[HOME_SECRET];
    uint8_t nonces[32];
    uint8_t location_seed[16];
    uint8_t directory_seed[16];
};

struct demo;

struct daemon {
    const struct config_source *source;
    struct config *config;
    struct settings *boot; /* the snapshot that the listeners were opened under */
    enum daemon_mode mode;
    char data[1024];
    int lock_fd;
    struct daemon_secrets secrets;
    char token[64];
    char domain[256]; /* remembered, when the file names none */
    struct loop_group *group;
    struct store *store;
    struct auth_verifier *verifier;
    struct sip_shared *sip;
    struct routing *routing[LOOP_WORKERS_MAX];
    struct control_env env;
    struct control *control;
    struct deferred start;
    struct timer drain_timer;
    usec drain_until;
    int signals; /* SIGTERMs so far */
    bool reloading;
    struct demo *demo; /* NULL: none under way */
};

/* ---- daemon_state.c: blocking, before the loops run. Non-zero: exit code, said why. ---- */
int state_open(struct daemon *d);
int state_secrets(struct daemon *d);
/* The domain of an installation whose file names none: the host name of the first start. */
int state_domain(struct daemon *d);
void state_close(struct daemon *d);
/* Path of a file in the data folder, in mem. */
const char *state_path(const struct daemon *d, const char *name, char *mem, size_t n);

/* ---- daemon_ports.c ---- */
/* All SIP ports are free, after moving on where no file demands them. Non-zero: exit code. */
int ports_check(struct daemon *d);
/* addr is free for TCP (or the next port is, when move): its port is set. Non-zero: exit code. */
int ports_check_http(struct daemon *d, struct addr *addr, bool move);

/* ---- daemon_reload.c ---- */
/* The accounts that the file names are in the directory, then fn. */
void reload_accounts(struct daemon *d, struct settings *set, void (*fn)(struct daemon *d));
/* rq: who asked, or NULL (SIGHUP). */
void reload_start(struct daemon *d, struct control_request *rq, bool rollback);
/* Prints a report to standard error, as text for people. */
void reload_print(const struct config_report *r);
/* Settings that need what only the daemon knows: the remembered domain. Errors: ERR_NOMEM. */
MUST_USE enum err reload_complete(struct daemon *d, struct config *c);

/* ---- daemon_demo.c ---- */
void demo_start(struct daemon *d);
/* Ends one that is still under way. */
void demo_free(struct daemon *d);

#endif
