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
 *   daemon_ca.c        our own authority, when nobody gave a certificate
 *   daemon_tls.c       certificates: to the workers, and watched
 *   daemon_web.c       the page that browsers see
 *   daemon_turn.c      the TURN server
 *   daemon_demo.c      two accounts and a call between them
 */
#ifndef DAEMON_PRIV_H
#define DAEMON_PRIV_H
#include <pthread.h>
#include "auth/auth.h"
#include "control/control.h"
#include "daemon/daemon.h"
#include "fence/fence.h"
#include "fetch/fetch.h"
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
    uint8_t cache_seed[16];
    uint8_t tickets[TLS_TICKET_KEY];
    uint8_t turn[32];
};

struct demo;
struct reload;
struct accounts;
struct look;
struct tls_mail;

/* Our own authority and its certificate, as PEM. */
struct ca {
    sv ca, ca_key, ca_names;
    sv leaf, leaf_key, names;
    sv left_out; /* names and addresses of ours that the authority may not sign for, a line each */
    bool replaced; /* just now: phones that trusted the one before do not trust us */
    usec renew;    /* wall: when the certificate is to be a new one */
};
#define CA_NEW_TEXT                                                                     \
    "this makes a new authority: phones that trust the old one must trust the new one " \
    "(`tandem cert ca`); the old one is kept as ca.pem.old, ca.key.old, ca.names.old"
/* May a new authority take the place of one that does? Only for a new name in the configuration,
 * which somebody wrote down, and only when he may look for what came of it: at a start and at a
 * reload. */
enum ca_change { CA_STAYS, CA_FOR_NAMES };

/* A set of certificates, and the snapshot made of it. */
struct certs {
    _Atomic unsigned refs;
    struct arena arena;
    struct config_tls files; /* as they were read */
    bool own;                /* no files: our own authority's */
    struct ca ca;            /* of own; else empty */
    sv leaf;                 /* PEM: the first pair's */
    sv sni[TLS_PAIRS_MAX];   /* PEM: the others' */
    unsigned sni_n;
    sv fingerprint; /* of it */
    struct tls *tls;
};

/* What a worker shows browsers; its own thread's when the loops run. */
struct page {
    struct daemon *d;
    unsigned worker;
    struct settings *set;
    struct certs *certs; /* NULL: no TLS */
};

/* The TURN server of a worker asks it; that worker's thread's. */
struct turn_desk {
    struct daemon *d;
    struct loop *loop;
    struct log_brake failures; /* auth.failure */
};

/* How a server ends (SIGTERM): it waits for the calls that stand; then those that ring are given up, those that need it hear
 * BYE, and it waits for the answers; at last (or by a second signal) whoever is left is told and not waited for. */
enum phase { PHASE_SERVE, PHASE_DRAIN, PHASE_LEAVE, PHASE_CUT };
/* What hung on the workers when they heard of the phase. */
struct phase_rest {
    _Atomic size_t told, calls, ringing, relayed, unanswered;
};

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
    char doubt[1024];  /* of state_doubt */
    uint32_t uid, gid; /* whom root becomes; 0: nobody else */
    int parent;        /* of an offline server */
    struct loop_group *group;
    struct store *store;
    struct auth_verifier *verifier;
    struct sip_shared *sip;
    struct locate_shared *locate;
    struct ports *ports; /* of media.ports */
    struct session_shared *media;
    struct fetch *fetch;
    struct certs *certs; /* NULL: no TLS */
    struct page page[LOOP_WORKERS_MAX];
    struct tls_mail *tls_mail[LOOP_WORKERS_MAX]; /* not sent yet */
    struct timer tls_look, tls_again;
    struct look *look; /* under way */
    bool look_failed;
    pthread_mutex_t ca_lock; /* the authority's files */
    struct routing *routing[LOOP_WORKERS_MAX];
    struct turnserver_shared *turn_shared; /* NULL: no TURN server, nor any of the next */
    struct turnserver *turn[LOOP_WORKERS_MAX];
    struct turn_desk turn_desk[LOOP_WORKERS_MAX];
    struct fence *fence[LOOP_WORKERS_MAX]; /* NULL where turn is */
    struct buf turn_uris;                  /* a line each */
    struct control_env env;
    struct control *control;
    struct deferred start;
    enum phase phase;
    struct timer phase_timer;
    usec phase_until;
    enum phase told[LOOP_WORKERS_MAX]; /* what each worker knows of it */
    struct phase_rest rest[PHASE_CUT + 1];
    _Atomic unsigned left; /* workers that have nothing more to say */
    int signals;           /* SIGTERMs so far */
    bool reload_again;     /* SIGHUP came while one was under way */
    struct reload *reload; /* NULL: none under way; likewise the next two */
    struct accounts *accounts;
    struct demo *demo;
};

/* ---- daemon_state.c: blocking, before the loops run. Non-zero: exit code, said why. ---- */
int state_open(struct daemon *d);
int state_secrets(struct daemon *d);
/* The domain of an installation whose file names none: the host name of the first start. */
int state_domain(struct daemon *d);
/* For a verb that opened the folder itself: why a name without a domain may not be meant for the one of
 * settings, in d->doubt; NULL: it is. */
const char *state_doubt(struct daemon *d);
void state_close(struct daemon *d);
/* The host name in lower case; localhost when it cannot stand in a SIP address. */
sv state_host_name(char mem[static 256]);
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
/* All SIP ports are free, after each that is taken moved on where no file demands it. Non-zero: exit
 * code. */
int ports_check(struct daemon *d);
/* addr is free for TCP (or the next port is, when move): its port is set. Non-zero: exit code. */
int ports_check_http(struct addr *addr, bool move);

/* The ports of the TURN server are free. Non-zero: exit code. */
int ports_check_turn(struct daemon *d);

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

/* ---- daemon_ca.c: blocking; any thread ---- */
/* The authority and a certificate for all names of set and all addresses, made where they are
 * missing or do not fit any more. What is made is said. Errors: ERR_IO, ERR_NOMEM, ERR_SYNTAX. */
MUST_USE enum err ca_ensure(struct daemon *d, const struct settings *set, enum ca_change change,
                            usec wall, struct arena *a, struct ca *ret_ca);
/* There is nothing to make, and nothing new is left out. */
bool ca_stands(const struct settings *set, usec wall, const struct ca *c);

/* ---- daemon_tls.c ---- */
/* A listener or the configuration asks for certificates. */
bool tls_wanted(const struct config *c);
/* Blocking, before the loops run and when all ports are open: the certificates of the configuration, or our
 * own, to every endpoint. Non-zero: exit code. */
int tls_setup(struct daemon *d);
/* On worker 0, when it runs: says what there is, and looks after the files. */
void tls_watch(struct daemon *d);
void tls_free(struct daemon *d);
/* Blocking; any thread. why: what is wrong. Errors: as tls_new and ca_ensure. */
MUST_USE enum err certs_new(struct daemon *d, const struct settings *set,
                            const struct config_tls *files, enum ca_change change, usec wall,
                            struct buf *why, struct certs **ret_certs);
struct certs *certs_ref(struct certs *c);
void certs_unref(struct certs *c); /* NULL is fine */
/* On worker 0: every worker gets c by mail; a reference is taken. Errors: ERR_NOMEM: nothing has
 * changed. */
MUST_USE enum err certs_install(struct daemon *d, struct certs *c);

/* ---- daemon_web.c: the worker's thread ---- */
/* From now on it shows these; references are taken. certs: NULL: as before. */
void page_show(struct page *p, struct settings *set, struct certs *certs);
void page_done(struct page *p);
/* For routing_shared; arg: a struct page. */
void page_answer(void *arg, struct http *h, const struct http_request *rq, const struct flow *f);

/* ---- daemon_turn.c ---- */
/* On every worker, where the configuration asks for one. Non-zero: exit code. */
int turn_setup(struct daemon *d);
/* A worker's own thread: what a reload changes. NULL: there is none. */
void turn_settings(struct turnserver *t, struct fence *f, struct settings *set);
void turn_free(struct daemon *d);

/* ---- daemon_demo.c ---- */
void demo_start(struct daemon *d);
/* Ends one that is still under way. */
void demo_free(struct daemon *d);

#endif
