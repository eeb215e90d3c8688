/* SPDX-License-Identifier: MIT */
/* flows_scenario.h: what flows_sim keeps of its phones, their calls, and what strikes them. */
#ifndef SIM_SUPPORT_FLOWS_SCENARIO_H
#define SIM_SUPPORT_FLOWS_SCENARIO_H
#include "support/flows.h"

enum { CALLS_MAX = 128, EVENTS_MAX = 256 };
enum part {
    PART_CUTS,
    PART_CRASHES,
    PART_HALF_OPEN,
    PART_KILLED,
    PART_SLOW,
    PART_ALL,
    PART_TWICE,
    PART_ALTERNATIVE
};

struct attempt {
    struct scenario *sc;
    char call_id[ID_MAX];
    struct talk *talk; /* the caller's; NULL: ended */
    unsigned caller, to;
    usec began, decided;
    uint16_t status;
    bool cancelled;
    bool sound;  /* its caller was healthy when it began */
    bool unsaid; /* a side of it ended without a word */
    unsigned restarts, mishaps[HANDSETS_MAX];
    bool expected[HANDSETS_MAX], rung[HANDSETS_MAX];
    bool said[HANDSETS_MAX]; /* a provisional response */
};

/* One side of a dialog. */
struct side {
    enum { RING, ANSWER, REFUSE, TALK } plan;
    unsigned restarts;    /* of the server when the dialog stood */
    unsigned own, others; /* mishaps when a request was sent */
    bool silent;          /* nothing was said yet to the INVITE */
    bool thief;           /* it goes by the flow token of another dialog */
};

enum kind { CUT, CRASH, ON, PART, JOIN, HEALED, KILL, START, STALL, RINGS, GONE, TORN };

/* Something that happens between two turns. */
struct event {
    usec at;
    enum kind kind;
    unsigned phone, line, birth, call;
    bool power;
    usec lasts;
    unsigned other, own_mishaps, other_mishaps, restarts;
    struct talk ended; /* a copy: for its names */
};

struct scenario {
    struct world w;
    enum part part;
    unsigned chance; /* per mille that a moment is one of misfortune */
    struct handset phone[HANDSETS_MAX];
    unsigned phones, trouble[HANDSETS_MAX];
    usec struck[HANDSETS_MAX];
    struct timer act[HANDSETS_MAX];
    struct attempt call[CALLS_MAX];
    unsigned calls, want, restarts;
    struct event event[EVENTS_MAX];
    unsigned events;
    bool changed, calm;
    unsigned answered, refused, lost, cuts, crashes, parts, kills, stalls, dialog_ok, dialog_lost;
    unsigned subscriptions, thefts, again;
};

#endif
