/* SPDX-License-Identifier: MIT */
/* daemon_priv.h: the parts of the daemon among themselves.
 *
 *   daemon.c         set-up, signals, drain, end
 *   daemon_state.c     the data folder: lock, secrets, what is remembered
 *   daemon_user.c      whom root becomes
 *   daemon_ports.c     are the ports free, and who has them
 *   daemon_reload.c    a new configuration, all or nothing
 *   daemon_saved.c     the configurations that took effect, kept for --rollback
 *   daemon_accounts.c  the accounts that the file names
 *   daemon_demo.c      two accounts and a call between them
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
struct reload;
struct accounts;

struct daemon {
    const struct config_source *source;
    struct config *config;
    struct config *booted; /* what runs until a restart: the configuration of the start */
    struct buf restart;    /* lines: in what the current one differs from it */
    struct buf stranded;   /* a line: accounts of domains that are no more; empty: none */
    struct settings *boot; /* the snapshot that the listeners were opened under */
    enum daemon_mode mode;
    const char *program; /* as it was called */
    char data[1024];
    int lock_fd;
    struct daemon_secrets secrets;
    char token[64];
    char domain[256];  /* remembered; for a file that names none */
    uint32_t uid, gid; /* whom root becomes; 0: nobody else */
    int parent;        /* of an offline server */
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
    bool drained[LOOP_WORKERS_MAX]; /* has been told */
    int signals;                    /* SIGTERMs so far */
    bool reload_again;              /* SIGHUP came while one was under way */
    struct reload *reload;          /* NULL: none under way; likewise the next two */
    struct accounts *accounts;
    struct demo *demo;
};

/* ---- daemon_state.c: blocking, before the loops run. Non-zero: exit code, said why. ---- */
int state_open(struct daemon *d);
int state_secrets(struct daemon *d);
/* The domain of an installation whose file names none: the host name of the first start. */
int state_domain(struct daemon *d);
void state_close(struct daemon *d);
/* The folder that the control socket is to stand in: made, mode 0750, when only it is missing.
 * as_root: before the rights of root go, for whom we become; what root's folder does not protect
 * is left to the second time. */
int state_socket_folder(struct daemon *d, sv socket, bool as_root);
/* Path of a file in the data folder, in mem. */
const char *state_path(const struct daemon *d, const char *name, char *mem, size_t n);
/* A file of mode 0600 with these octets, whole or not at all, synced. Errors: ERR_IO. */
MUST_USE enum err state_write(const char *path, sv octets);

/* ---- daemon_user.c: each non-zero: exit code, said why ---- */
/* Finds out whom root becomes: `run_as`, or the user tandem where there is one. */
int user_find(struct daemon *d);
/* The data folder is his; what is made from here on too. */
int user_enter(struct daemon *d);
/* For ports below 1024. */
int user_leave(struct daemon *d);
/* For good. */
int user_become(struct daemon *d);

/* ---- daemon_ports.c ---- */
/* All SIP ports are free, after moving on where no file demands them. Non-zero: exit code. */
int ports_check(struct daemon *d);
/* addr is free for TCP (or the next port is, when move): its port is set. Non-zero: exit code. */
int ports_check_http(struct addr *addr, bool move);

/* ---- daemon_accounts.c ---- */
/* The accounts of set are in the directory, then fn. */
void accounts_start(struct daemon *d, struct settings *set, void (*fn)(struct daemon *d));
void accounts_free_pending(struct daemon *d);

/* ---- daemon_saved.c: blocking ---- */
/* c took effect: it is DATA/config.last now, and what was there before, if it differs,
 * config.previous. Errors: ERR_IO, ERR_NOMEM, ERR_TOOBIG. */
MUST_USE enum err saved_keep(const struct daemon *d, const struct config *c);
/* The files of DATA/<name>, in a. Errors: ERR_NOTFOUND, ERR_CORRUPT, ERR_IO, ERR_NOMEM. */
MUST_USE enum err saved_read(const struct daemon *d, const char *name, struct arena *a,
                             const struct config_file **ret_files, size_t *ret_n);

/* ---- daemon_reload.c ---- */
/* rq: who asked, or NULL (SIGHUP). rollback: to the last configuration that took effect before
 * this one; after a refused reload, to the one that stands. */
void reload_start(struct daemon *d, struct control_request *rq, bool rollback);
void reload_free_pending(struct daemon *d);
/* Prints a report to standard error, as text for people. */
void reload_print(const struct config_report *r);
/* Settings that need what only the daemon knows: the remembered domain. Errors: ERR_NOMEM. */
MUST_USE enum err reload_complete(struct daemon *d, struct config *c);
/* Levels of the log as c says. was: what held before, or NULL. */
void reload_log_levels(const struct config *was, const struct config *c);

/* ---- daemon_demo.c ---- */
void demo_start(struct daemon *d);
/* Ends one that is still under way. */
void demo_free(struct daemon *d);

#endif
