/* SPDX-License-Identifier: MIT */
/* world.h: a simulated world for tests: one server of one to four workers, made of the real
 * services,
 * and phones (services/useragent) on hosts of their own.
 *
 * Time is virtual and all chance comes from the seed; what is called between two runs of the
 * simulation happens at the time where the last one stopped. Failures go through world_fail, which
 * says how to replay them; the first of a world counts. */
#ifndef SIM_SUPPORT_WORLD_H
#define SIM_SUPPORT_WORLD_H
#include "routing/routing.h"
#include "sim/sim.h"
#include "store/store.h"
#include "useragent/useragent.h"

enum { WORLD_PHONES_MAX = 64, WORLD_ACCOUNTS_MAX = 32, WORLD_WORKERS_MAX = 4 };
#define WORLD_DOMAIN   "example.test"
#define WORLD_PASSWORD "a long enough password"

struct world_config {
    uint64_t seed;
    unsigned workers;
    struct sim_wire wire;
    usec ringing;         /* Timer C; 0: the default */
    uint64_t compact_min; /* of the location journal; 0: the default */
    /* the scenario's own routes and values; may be NULL. What it points to lives in set->arena. */
    void (*configure)(struct settings *set);
    bool media;          /* it looks at calls' session descriptions, and relays what must be */
    const char *program; /* for the replay line */
    const char *replay;  /* its options besides the seed */
    bool trace;          /* print the messages, too */
};

struct server {
    struct sim_host *host;
    struct loop_group *group; /* NULL: down */
    struct settings *set;
    struct sip_shared *shared;
    struct store_directory *directory; /* of the store */
    struct store *store;
    struct auth_verifier *verifier;
    struct locate_shared *names;
    struct ports *ports; /* NULL: no media */
    struct session_shared *media;
    struct routing *routing[WORLD_WORKERS_MAX];
    unsigned starts;
};

struct world;

struct phone {
    struct world *world;
    unsigned index, account;
    struct sim_host *host;
    struct addr ip;
    enum sip_transport transport;
    struct loop *loop; /* NULL: off */
    struct useragent *ua;
    uint16_t status; /* of the last REGISTER; 0: none yet */
    uint32_t bound_s;
    bool outside; /* registers nowhere: a server that calls are sent to */
    void *test;   /* the test's own */
};

struct world {
    struct world_config c;
    struct sim *sim;
    struct server server;
    struct addr server_ip;
    uint8_t secret[HOME_SECRET];
    unsigned accounts;
    struct phone phone[WORLD_PHONES_MAX];
    unsigned phones;
    const struct useragent_handler *handler; /* of the phones; arg: the phone */
    bool failed;
    char why[512];
};

/* Aborts when it cannot be made: that is no finding. */
void world_init(struct world *w, const struct world_config *c);
void world_done(struct world *w);
/* The first failure of a world is kept and printed, with the command that replays it. */
__attribute__((format(printf, 2, 3))) void world_fail(struct world *w, const char *fmt, ...);

/* The server with its accounts (user0, user1, …); the disk and the secret stay over restarts. */
void world_server_start(struct world *w);
/* power: what was not synced is lost; else kill -9. */
void world_server_kill(struct world *w, bool power);
/* SIGTERM: orderly. */
void world_server_stop(struct world *w);
/* Everything of the server that stands for something under way: transactions, contexts, standing
 * calls,
 * directory entries. Written to b as text when it is not 0 (b may be NULL). */
size_t world_server_load(struct world *w, struct buf *b);

/* A phone for this account, switched on but not registered. */
struct phone *world_phone(struct world *w, unsigned account, enum sip_transport t);
void phone_on(struct phone *p);
void phone_off(struct phone *p, bool power);
/* handler.on_registered for phones whose test wants no other. */
void phone_on_registered(void *arg, uint16_t status, uint32_t expires_s, struct rx *rx);
/* Prints a message when the world is traced. */
void phone_show(struct phone *p, bool out, sv octets);
/* Starts a REGISTER; a failure to start fails the world. */
void phone_register(struct phone *p, uint32_t expires_s);
/* All phones that are on are registered within this time. */
bool world_register_all(struct world *w, usec within);
/* "sip:userN@domain" in mem. */
sv world_uri(unsigned account, char mem[static 64]);
void world_run(struct world *w, usec duration);
extern const sv world_sdp;

/* An accounts directory in memory that keeps count of call records. */
MUST_USE enum err accounts_open(struct store_directory **ret_dir);
uint64_t accounts_records(const struct store_directory *dir);
uint64_t
accounts_stopped(const struct store_directory *dir); /* of them: ended by the server's end */

#endif
