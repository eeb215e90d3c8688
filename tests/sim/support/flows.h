/* SPDX-License-Identifier: MIT */
/* flows.h: phones that keep connections of their own to the server (RFC 5626), over TCP or WebSocket
 * (RFC 7118), and can be cut, killed and stopped from reading at any moment.
 *
 * They speak SIP by themselves, octet for octet, over the streams of the simulation, and share nothing
 * with the server but the parser: what goes by which connection, and under which Contact, is theirs to
 * say and to check. A response by another connection than its request's, a request for another phone
 * or for a connection that is gone, a second final response: each fails the world at once.
 *
 *   line   one flow: a connection that registers with a reg-id, is kept alive, and made anew
 *   talk   one dialog, or what becomes one: a call or a subscription
 *   ask    one request of ours that waits for its final response
 */
#ifndef SIM_SUPPORT_FLOWS_H
#define SIM_SUPPORT_FLOWS_H
#include "support/world.h"

enum { HANDSETS_MAX = 10, HANDSET_LINES = 2, TALK_ROUTES = 6, TALK_TEXT = 320, ID_MAX = 64 };
enum { FLOWS_WS_PORT = 5066 };

struct handset;
struct talk;

enum line_state { LINE_DOWN, LINE_OPENING, LINE_UPGRADING, LINE_UP };

struct talk {
    struct link by_handset;
    struct handset *handset;
    unsigned line; /* whose connection it uses while that is up */
    bool outgoing, subscription;
    bool forked; /* a second answer: acknowledged and ended, nobody is told */
    enum { TALK_BEGUN, TALK_ANSWERED, TALK_UP, TALK_ENDING } state;
    char call_id[ID_MAX], local_tag[ID_MAX], remote_tag[ID_MAX];
    char local_uri[ID_MAX], remote_uri[ID_MAX], target[TALK_TEXT], contact[TALK_TEXT];
    char route[TALK_ROUTES][TALK_TEXT];
    unsigned routes;
    uint32_t cseq, invite_cseq;
    unsigned asking; /* requests under way */
    unsigned fresh;  /* mishaps of the phone when its Contact was last told to the peer */
    struct timer plan, repeat;
    usec repeat_gap, repeat_until;
    char *invite, *ok; /* received, with slack; our 2xx, until its ACK */
    size_t invite_n, ok_n;
    char invite_branch[TALK_TEXT];
    unsigned invite_line, invite_birth; /* that it came by */
    bool acked, cancel;
    bool unsaid; /* it ended, but no BYE arrived anywhere, as far as this phone knows */
    void *test;
};

struct line {
    struct handset *handset;
    unsigned index; /* reg-id - 1 */
    enum line_state state;
    struct stream *stream;
    unsigned births; /* connections so far */
    bool bound;      /* the REGISTER on this connection was answered 200 */
    usec bound_at;
    unsigned failures; /* in a row */
    bool pong_due, slow;
    usec flow_timer;
    struct timer keep, again, cut, stall;
    struct talk registering;
    char *in;
    size_t in_n, resume;
};

/* What a test wants to know; called in turns. */
struct handset_handler {
    void (*on_invite)(struct talk *t); /* a call comes in, rings when handset_respond says so */
    void (*on_progress)(struct talk *t, uint16_t status);
    /* of the INVITE that began t; 0: its connection ended. Other than 2xx: on_end follows. */
    void (*on_final)(struct talk *t, uint16_t status);
    void (*on_up)(struct talk *t); /* the ACK came, or went */
    /* another request in the dialog; 0: no answer, or its connection ended */
    void (*on_answer)(struct talk *t, enum sip_method method, uint16_t status);
    void (*on_plan)(struct talk *t); /* t->plan fired */
    /* a call that rings already came by this connection, too; answered 482; may be NULL */
    void (*on_merged)(struct line *l, sv call_id);
    void (*on_end)(struct talk *t); /* last */
};

struct handset {
    struct world *world;
    unsigned index, account;
    struct sim_host *host;
    struct addr ip;
    struct loop *loop; /* NULL: off */
    enum sip_transport transport;
    bool numeric; /* Contact with an address, not <random>.invalid */
    bool push;    /* Contact with push parameters (RFC 8599) */
    unsigned lines;
    struct line line[HANDSET_LINES];
    unsigned mishaps; /* counted by the test, and by a line that ends */
    unsigned serial;
    struct link asks, talks;
    const struct handset_handler *handler;
    void *test;
};

/* Adds the WebSocket listener: for world_config.configure. */
void flows_configure(struct settings *set);
/* h is the caller's and stays over handset_off; fields from transport to lines, handler and test are
 * set before. */
void handset_init(struct handset *h, struct world *w, unsigned index, unsigned account);
void handset_on(struct handset *h);
/* Its talks end with on_end, outside of a turn. */
void handset_off(struct handset *h, bool power);
/* In the next turn: the connection is closed, and made anew as RFC 5626 §4.5 says. */
void handset_cut(struct line *l);
/* Reads nothing for so long. */
void handset_stall(struct line *l, usec duration);
unsigned handset_bound(const struct handset *h); /* lines */
/* Requests and dialogs that have not ended. */
size_t handset_remains(const struct handset *h);

/* What the store says of them. A binding of nobody, a second one of a reg-id, another reg-id than the
 * phone's fail the world. */
struct handset_bindings {
    unsigned n[HANDSETS_MAX][HANDSET_LINES], birth[HANDSETS_MAX][HANDSET_LINES];
    bool dead[HANDSETS_MAX][HANDSET_LINES]; /* of a connection that is gone */
};
void handset_look(struct world *w, unsigned phones, struct handset_bindings *ret);

/* ---- in turns ---- */
/* A call, or a subscription, to a user of the domain; NULL: no connection is up. */
struct talk *handset_call(struct handset *h, unsigned account, bool subscription);
/* 101 to 699 to the incoming INVITE. */
void handset_respond(struct talk *t, uint16_t status);
/* In a dialog that is up. False: not now. */
bool handset_request(struct talk *t, enum sip_method method);
/* A MESSAGE within k whose last Route carries the flow token of another dialog's; all of k's requests
 * have it from now on. False: not now, or there is none. */
bool handset_steal(struct talk *k, const struct talk *from);
/* CANCEL, or BYE, or (subscriptions) the end of it; whatever its state demands. */
void handset_hangup(struct talk *t);
/* The other side of its dialog among these, or NULL. */
struct talk *handset_peer(struct handset *list, size_t n, const struct talk *t);

#endif
