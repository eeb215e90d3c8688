/* SPDX-License-Identifier: MIT */
/* bodies.h: phones of bodies_sim, which describe sessions in every message that may, and look at what they
 * get; see there. */
#ifndef SIM_SUPPORT_BODIES_H
#define SIM_SUPPORT_BODIES_H
#include "locate/locate.h"
#include "proxy/proxy.h"
#include "sim/sim.h"
#include "support/program.h"

enum { PHONES = 5, ROUTES = 4, LEGS_MAX = 100000, BODY_MAX = 8192, MESSAGE_ROOM = 12288 };
enum { MEMORY_MAX = 256 * 1024 * 1024 };

struct scenario;

struct caller {
    struct scenario *sc;
    unsigned index;
    struct sim_host *host;
    struct loop *loop;
    struct loop_group *group;
    struct addr ip;
    struct sip_shared *shared;
    struct sip *sip;
    struct link dialogs;
};

struct call {
    struct caller *from;
    sv id, tag;
    bool offerless, decided;
    unsigned up; /* dialogs */
};

struct bodies_dialog {
    struct link by_phone;
    struct caller *phone;
    struct call *call; /* of the caller; NULL: the callee's */
    sv call_id, local_tag, remote_tag, target, route[ROUTES];
    unsigned routes;
    uint32_t cseq, rseq, pracked;
    uint32_t invite_cseq, reinvite_cseq; /* as the callee got them */
    bool answered, ended, offerless, late;
    sv ok;             /* the body of its 2xx, as it came */
    struct block *ack; /* said again when the 2xx is */
    struct stxn *server, *reinvite;
    struct timer plan;
    unsigned step, repeats;
    sv early; /* the description of its 18x; SV_NONE: none so far */
};

struct ask {
    struct caller *phone;
    struct call *call;            /* the INVITE that begins it; else NULL */
    struct bodies_dialog *dialog; /* likewise */
    enum sip_method method;
    uint32_t cseq;
};

struct leg {
    unsigned phone; /* 1 + the one that an INVITE of it reached; 0: none */
    bool filled, gone, refused;
    bool first; /* of an INVITE that begins a dialog */
    uint32_t
        again; /* how often it was sent again to who refused it: its CSeq is raised by so much */
};

/* A dialog whose caller counts other numbers than its callee. */
struct raised {
    struct raised *next;
    sv tag; /* the callee's */
    uint32_t by;
};

/* A 2xx that the watcher refused, by its callee's tag: either it went up all the same, behind another one, or its callee was
 * told that nobody wants it. */
struct unfit {
    struct unfit *next;
    sv tag;
    bool up, acked, told;
};

struct scenario {
    uint64_t seed;
    struct sim *sim;
    const struct program *program;
    bool failed;
    struct arena memory;
    struct sim_host *host;
    struct loop_group *group;
    struct settings *set;
    struct sip_shared *shared;
    struct sip *sip;
    struct locate_shared *names;
    struct locate *locate;
    struct proxy *proxy;
    struct addr server;
    struct caller phone[PHONES];
    struct leg *leg;
    unsigned legs, contexts, contexts_gone, serial;
    struct raised *raised;
    struct unfit *unfit;
    unsigned asked_again;
    unsigned bodies, answers, again, refused, late, acks, multipart, long_ones;
};

void bodies_fail(struct scenario *sc, const char *what, sv text);
void bodies_need(enum err rc); /* aborts */
bool bodies_chance(struct scenario *sc, unsigned percent);
usec bodies_between(struct scenario *sc, usec from, usec to);
sv bodies_keep(struct scenario *sc, sv text);
/* NULL: its 2xx was not refused. */
struct unfit *bodies_unfit(struct scenario *sc, sv tag);
/* What is made of a phone's description of this name. */
sv bodies_exchanged(unsigned leg, sv name, char mem[static BODY_MAX]);
/* The name of a description that begins so. */
bool bodies_name(sv description, const char *begins, sv *ret);

void caller_start(struct scenario *sc, unsigned i);
/* One of them calls the others. */
void caller_call(struct scenario *sc, unsigned i);
extern const uint8_t bodies_secret[HOME_SECRET];

#endif
