/* SPDX-License-Identifier: MIT */
/* load: callers and callees in one process and one thread, for measuring a SIP server.
 *
 *   load.c   the program: its arguments, the pace, the report
 *   talk.c   what callers and callees say: one operation is one struct op
 *   way.c    sockets and connections: a struct way carries messages to and from the server
 *
 * It shares no code with the server, so that a faster server is never a faster load. Times are
 * nanoseconds of CLOCK_REALTIME, the clock of the kernel's time stamps. */
#ifndef LOAD_H
#define LOAD_H
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MESSAGE_MAX = 4096, WAYS_MAX = 256 };
#define MS     UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

enum transport { UDP, TCP, TLS };
enum kind { OPTIONS, REGISTER, CALL, MESSAGE, REDIRECT };

struct plan {
    enum kind kind;
    enum transport transport;
    struct sockaddr_in server, callee; /* callee.sin_port is the first of `ports` */
    struct in_addr caller;
    const char *domain, *password;
    double rate;    /* operations a second */
    uint32_t count; /* operations */
    uint32_t users; /* the peer of a user is half of them further */
    uint32_t first_user;
    unsigned ports;  /* of the callers, and of the callees */
    uint64_t answer; /* from 180 to 200 */
    uint64_t hold;   /* from ACK to BYE */
    bool stand;      /* calls are left standing: no BYE */
    bool fresh;      /* a new connection for each operation */
};
extern struct plan plan;

struct counters {
    uint32_t good, failed;
    uint32_t resent;   /* by us: requests, and 200s without an ACK */
    uint32_t repeated; /* by the server: what had come before */
    const char *why;   /* the first failure */
};
extern struct counters counters;

/* ---- way.c ---- */

struct way; /* a UDP socket or a connection */
void ways_open(bool with_callees);
/* Messages until then go to talk_take(), no longer than there is something to do or wait for. */
void ways_wait(uint64_t until);
struct way *way_of_caller(uint32_t serial); /* with plan.fresh a new one */
struct way *way_of_callee(uint32_t user);   /* its local address is the contact */
void way_send(struct way *w, const char *text, size_t n);
void way_release(struct way *w); /* a fresh one is closed */
struct sockaddr_in way_local(const struct way *w);
uint64_t now(void);

/* ---- talk.c ---- */

void talk_start(void);
bool talk_begin(uint32_t serial); /* false: too many are under way */
/* One message, text[n] is 0; `arrived` is the kernel's time stamp, 0 where it gives none. */
void talk_take(struct way *w, const char *text, size_t n, uint64_t arrived);
/* What has become due; when it must be called next. */
uint64_t talk_due(uint64_t at);
unsigned talk_under_way(void);
/* A sample is how long the server kept a message: of a request that it relays until it was there at the
 * callee, else of the answer. */
void load_sample(uint64_t took);

void die(const char *what) __attribute__((noreturn));
#endif
