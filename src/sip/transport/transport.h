/* SPDX-License-Identifier: MIT */
/* transport/transport.h: SIP messages in and out of a worker.                   layer: sip
 *
 * Spec    RFC 3261 §18, §26.2; RFC 3581 (rport); RFC 5923 (reuse); RFC 5626 §3.5.1, §4.4
 *         (CRLF keep-alives), §5.2 (flow tokens), §5.4, §8 (STUN keep-alives over UDP); RFC 7118 (WebSocket); RFC 5922 (names in TLS).
 * Shape   a struct sip is the endpoint of one worker; struct sip_shared is what the endpoints of
 *         one process share.
 *         Messages come as struct rx (octets, index, arena, flow), parsed once by pass one and
 *         sipmsg_check, and
 *         go to their home's worker before anybody acts on them. Above stands one user (sip_user).
 * Order   receive → limits → pass one → home → transaction match (txn/txn.h) → user.
 * Slow    every connection has a deadline for each phase (TLS handshake, upgrade, message begun,
 *         silence), a bounded write queue, and counts against caps per source and in all; one that does
 *         not read is ended, and nobody waits for it.
 * Threads sip_*: the worker's own. An rx may be unref'd anywhere.
 */
#ifndef TRANSPORT_TRANSPORT_H
#define TRANSPORT_TRANSPORT_H
#include "home/home.h"
#include "http/http.h"
#include "sipmsg/sipmsg.h"
#include "sock/sock.h"
#include "tls/tls.h"

enum { SIP_LISTENERS_MAX = 32, SIP_ZONES_MAX = 16, SIP_ZONE_NETWORKS_MAX = 32 };
/* What of a transaction only stands until its last timer, half a minute behind each call, is small: there may be
 * so many for each that has work to do. */
enum { SIP_STANDING = 8 };
enum { SIP_CONNECTIONS_MAX = 10000000 }; /* of a worker */
enum { SIP_NAMES = 4096 };               /* names of TLS peers that are remembered at once */

/* Where octets come from and go to. A value; the connection behind it may be gone when it is
 * used. */
struct flow {
    enum sip_transport transport;
    uint8_t listener; /* index in sip_config.listen */
    uint8_t
        worker;    /* that named the connection, and served it at first; for UDP any worker sends */
    uint64_t conn; /* connection id of that worker (slot and generation); 0: datagrams */
    struct addr local, remote;
};
bool flow_equal(const struct flow *a, const struct flow *b);
static inline bool flow_reliable(const struct flow *f)
{
    return f->transport != SIP_T_UDP;
}
/* TLS on this hop (RFC 3261 §26.2.2): what sips asks for. */
static inline bool flow_secure(const struct flow *f)
{
    return f->transport == SIP_T_TLS || f->transport == SIP_T_WSS;
}
/* A flow as text of FLOW_TOKEN_MAX characters at most, of the base64url alphabet, for the user part of a URI
 * (RFC 5626 §5.2). It carries no MAC: who writes it into a message protects it together with what
 * it belongs to. flow_read: ERR_SYNTAX. */
enum { FLOW_TOKEN_MAX = 96 };
void flow_put(struct buf *b, const struct flow *f);
MUST_USE enum err flow_read(sv token, struct flow *ret_flow);

/* Where to send: a flow if there is one (flow.transport != SIP_T_NONE), else an address and
 * transport: a connection is reused or made. */
struct dest {
    struct flow flow;
    struct addr addr;
    enum sip_transport transport;
    /* TLS: whom the certificate must show, by sip_name(); 0: the address itself (an iPAddress name) */
    uint32_t name;
    /* when the flow's connection is gone, addr and transport are tried: responses (RFC 3261
     * §18.2.2) */
    bool or_connect;
};

/* What the transaction layer knows a request by: kept with the message, so that it is computed once. */
struct rx_match {
    struct home_key key;
    uint64_t merge; /* of 64 bits of a keyed hash: nobody makes two meet; 0: not yet computed */
    uint32_t method;
    enum { RX_MATCH_UNKNOWN, RX_MATCH_NONE, RX_MATCH_KEY } state;
    bool old;    /* RFC 2543: without a branch that is unique */
    bool merges; /* it was asked whether it is merged: others may ask it of this one */
};

/* A received message. Everything in it lives until the last rx_unref. */
struct rx {
    struct sipmsg msg;
    struct flow flow;
    /* ERR_OK, or why the message was refused; then fault says more and msg is partial */
    enum err rc;
    struct sipmsg_fault fault;
    /* who sent it: flow.remote, or behind a proxy of the listener's the client that it names */
    struct addr source;
    usec at;              /* when it came */
    uint16_t slot;        /* a request's home */
    const char *marked;   /* a text of it that is known to begin with a mark of ours; NULL: none */
    uint64_t mark_chance; /* what that was written with */
    bool led;             /* to its home by a mark of ours */
    /* holds a claim on its Call-ID: goes over to the transaction, else released with the rx */
    bool claimed;
    bool first; /* nobody else did, so that it belongs to no transaction that has a claim */
    bool has_call_key;
    struct home_key call_key; /* by sip_call_key() */
    struct rx_match match;
    struct tls_peer
        *peer; /* who it came from, by certificate; NULL: none was shown. Lives with rx */
    struct arena arena;
    struct rx_priv *priv;
};
struct rx *rx_ref(struct rx *rx);
void rx_unref(struct rx *rx); /* NULL is fine */

enum { SIP_ORIGINS_MAX = 32, SIP_PROXIES_MAX = 32, SIP_OWN_NAMES_MAX = 64 };
enum { SIP_TRUSTED_MAX = 32, SIP_EXEMPT_MAX = 64 };
/* security.exempt: other limits for sources of this network. A limit that is not given is
 * SIP_LIMIT_DEFAULT: the one of all. */
#define SIP_LIMIT_DEFAULT UINT32_MAX
struct sip_exempt {
    struct addr_net from;
    unsigned connections;     /* as sip_config.connections_source */
    unsigned new_connections; /* as sip_config.new_connections; 0: any number */
};
struct sip_listen {
    enum sip_transport transport; /* UDP, TCP, TLS, WS, WSS */
    struct addr bind;
    /* host written into Via, Record-Route, Contact; SV_NONE: the local address of the flow. Told to
     * peers outside sip_config.local only. */
    sv advertise;
    uint8_t zone; /* index in sip_config.zone */
    bool freebind;
    /* WS, WSS: whose pages may connect (RFC 6454 origins); none: those whose host is the one that was
     * asked (not through a foreign name to a loopback listener), an address or a name of ours.
     * Requests without Origin do not come from a browser and pass. */
    sv origins[SIP_ORIGINS_MAX];
    unsigned origins_n;
    /* WS: whose X-Forwarded-For is believed */
    struct addr_net proxies[SIP_PROXIES_MAX];
    unsigned proxies_n;
};
/* Which listener reaches whom: the longest network that holds the address, among the zones' networks;
 * none does: any listener that suits. */
struct sip_zone {
    sv name;
    struct addr_net networks[SIP_ZONE_NETWORKS_MAX];
    unsigned networks_n;
};
struct sip_config {
    struct sip_listen listen[SIP_LISTENERS_MAX];
    unsigned listeners;
    sv names[SIP_OWN_NAMES_MAX]; /* our domains and their aliases, lower case: origins of our own */
    unsigned names_n;
    struct sip_zone zone[SIP_ZONES_MAX]; /* [0] always: "default" when none is named */
    unsigned zones;
    struct addr_net local[SIP_ZONE_NETWORKS_MAX]; /* local_networks: told the real address */
    unsigned local_n;
    usec t1, t2, t4;
    size_t max_message; /* bytes; above: 413 or the connection ends */
    /* requests longer than this prefer TCP (RFC 3261 §18.1.1) where the next hop is known to
     * take it */
    unsigned mtu;
    unsigned connections;        /* per worker */
    unsigned connections_source; /* per source (IPv4 address, IPv6 /64), all workers */
    unsigned new_connections;    /* per second and source, all workers; 0: any number */
    struct addr_net trusted[SIP_TRUSTED_MAX]; /* security.trusted: limits per source pass them */
    unsigned trusted_n;
    struct sip_exempt exempt[SIP_EXEMPT_MAX]; /* the longest network that holds the source */
    unsigned exempt_n;
    usec handshake;      /* TCP accepted until TLS is up, and from there until WebSocket is */
    usec idle;           /* connection without traffic, unless kept (sip_flow_keep) */
    usec message_time;   /* a message begun on a stream must be complete within this */
    size_t transactions; /* per worker, that have work to do; SIP_STANDING times as many in all */
};

struct sip;
struct sip_shared;
struct stxn;

/* The one above: services. Called on the home's worker, in a turn. */
struct sip_user {
    /* A request that matches no transaction, already checked (rx->rc == ERR_OK), or one that was
     * refused by pass one but can be
     * answered (rx->rc set: answer statelessly with rx->fault.status). ACKs of 2xx come here, and CANCELs that match
     * nothing. rx is borrowed. */
    void (*on_request)(void *arg, struct rx *rx);
    /* A response that matches no client transaction, by a branch of ours: RFC 6026 §7.2 says
     * drop; for the tap only. May be NULL. */
    void (*on_stray)(void *arg, struct rx *rx);
    /* A connection ended. May be NULL. */
    void (*on_flow_gone)(void *arg, const struct flow *f);
    /* A request that came to a ws or wss listener and is no upgrade; answer it with http_reply. May be
     * NULL: 426. */
    void (*on_http)(void *arg, struct http *h, const struct http_request *rq, const struct flow *f);
    /* Every message that comes or goes, repetitions and refused ones too, before anybody acts on
     * it. For traces. May be NULL. */
    void (*on_octets)(void *arg, bool out, const struct addr *peer, sv octets);
};

/* secret: for marks. Errors: ERR_NOMEM. */
MUST_USE enum err sip_shared_new(const uint8_t secret[static HOME_SECRET], struct loop_group *g,
                                 const struct sip_config *c, struct sip_shared **ret_shared);
void sip_shared_free(struct sip_shared *sh); /* after all endpoints */
/* Opens no socket yet. Errors: ERR_NOMEM. */
MUST_USE enum err sip_new(struct loop *l, struct sip_shared *sh, const struct sip_user *u,
                          void *arg, struct sip **ret_sip);
/* Opens listener i; when its port is 0 the port found is written to the shared configuration
 * (worker 0 first).
 * Errors: as udp_open and stream_listen. */
MUST_USE enum err sip_listen(struct sip *s, unsigned i);
/* What new TLS connections use from now on; a reference is taken. Before the first: tls and wss
 * listeners accept nothing. */
void sip_tls(struct sip *s, struct tls *t);
void sip_free(struct sip *s); /* ends transactions (on_gone with ERR_CANCELLED) and connections */

struct loop *sip_loop(const struct sip *s);
const struct sip_config *sip_config(const struct sip *s);
struct home *sip_home(const struct sip *s);
/* Live transactions; 0 and no timer armed is quiet. */
size_t sip_transactions(const struct sip *s);
/* How much of their cap is taken, in percent. */
unsigned sip_transactions_full(const struct sip *s);
size_t sip_connections(const struct sip *s); /* that this worker serves */

/* Sends octets (one whole message). Errors at once: ERR_UNREACHABLE (no listener of that
 * transport and family), ERR_BUSY, ERR_TOOBIG;
 * later ones, when watch is given, by one call of on_fail in a later turn or at the end of this
 * one: the connection died (also after the
 * octets were written, while the watch lasts: an answer on it will not come), or the network
 * refused the datagram (RFC 3261 §18.4).
 * A watch lasts until on_fail, sip_send_cancel, or its next use; its memory must. After
 * sip_send_cancel on_fail is not called. */
struct sip_sent {
    void (*on_fail)(void *arg, enum err why);
    void *arg;
    struct link by_pending; /* list_init before use; the rest is the transport's */
    uint64_t id;
    uint64_t target; /* whose failure it waits for, when not a connection of this worker */
    struct block
        *octets; /* of the datagram: a report that does not quote its branch is not believed */
    enum err why;
};
MUST_USE enum err sip_send(struct sip *s, const struct dest *d, struct block *octets,
                           struct sip_sent *watch);
void sip_send_cancel(struct sip_sent *watch);
/* A name for dest.name, the same for all workers: lower case, without the last dot. The table holds
 * SIP_NAMES; the one used longest ago is forgotten, and then its dest is ERR_UNREACHABLE. 0: no name. */
uint32_t sip_name(struct sip *s, sv name);
/* Ours by address or flow, and up: a connection of this worker is there; of others: as far as is known. */
bool sip_flow_up(struct sip *s, const struct flow *f);
/* Silence does not end this connection before `until` (the loop's clock), though longer than
 * sip_config.idle: somebody is to be reached by it. An earlier time changes nothing. Any worker's; best
 * effort; datagrams: nothing. A peer that is gone ends it all the same (TCP keep-alives). */
void sip_flow_keep(struct sip *s, const struct flow *f, usec until);
/* Octets that are no message, on a flow: keep-alives (RFC 5626 §3.5.1, §5.4). Errors: as sip_send. */
MUST_USE enum err sip_send_octets(struct sip *s, const struct flow *f, sv octets);
/* Something of ours listens with this transport. */
bool sip_has_transport(const struct sip *s, enum sip_transport t, unsigned family);
/* The zone of the listener that a flow belongs to. */
unsigned sip_zone_of(const struct sip *s, const struct flow *f);
/* A response to rx by RFC 3261 §18.2.2 and RFC 3581: same connection, else the source (rport,
 * received) or sent-by. */
MUST_USE enum err sip_send_response(struct sip *s, const struct rx *rx, struct block *octets);
/* Where responses to rx go: for transactions that outlive it. */
struct dest sip_response_dest(const struct rx *rx);

/* The flow that a request to d would use, for writing Via and Record-Route: transport, local
 * address and listener are right; conn may be 0.
 * Errors: ERR_UNREACHABLE. */
MUST_USE enum err sip_flow_for(struct sip *s, const struct dest *d, struct flow *ret_flow);
/* host[:port] of ours as peers on this flow see it. */
void sip_put_hostport(struct sip *s, struct buf *b, const struct flow *f);
/* A whole line: RFC 3261 §20.43. text: without quotes; what cannot stand in a quoted string becomes a blank. */
void sip_put_warning(struct sip *s, struct buf *b, const struct flow *f, uint16_t code, sv text);
/* What a response says to people: its reason phrase (SV_NONE: the usual one) and, behind ": ", the text of the first
 * Warning.
 *   warning  a Warning's value or whole line; SV_NONE: none */
void sip_put_said(struct buf *b, uint16_t status, sv reason, sv warning);
/* "SIP/2.0/UDP host:port;branch=z9hG4bK" for a request on f: behind it stands the mark. */
void sip_put_via_start(struct sip *s, struct buf *b, const struct flow *f);
/* "SIP/2.0/UDP host:port;branch=z9hG4bK<mark><suffix>;rport" for a request on f from this home.
 *   ret_branch  view into b */
void sip_put_via(struct sip *s, struct buf *b, const struct flow *f, uint16_t slot, sv suffix,
                 sv *ret_branch);
/* host and port (0: default) name one of our listeners. */
bool sip_is_local(const struct sip *s, sv host, uint16_t port);
bool sip_is_own(const struct sip *s, const struct addr *a); /* the same of an address */

/* Answers rx without a transaction: reply built, To tag made from the request so that
 * retransmissions get the same (RFC 3261 §8.2.7),
 * received and rport set. ACKs are never answered. Errors: as sip_send. */
MUST_USE enum err sip_reply(struct sip *s, struct rx *rx, struct sip_reply *r);
/* The octets of r, with received and rport of rx; ret_octets is the caller's. Errors: ERR_BUSY
 * (no block), as sipmsg_reply. */
MUST_USE enum err sip_build_reply(struct sip *s, struct rx *rx, struct sip_reply *r,
                                  struct block **ret_octets);
/* What the Call-ID of rx is known by in the directory of homes, fit for other tables too: computed once. One
 * without a Call-ID has the key of an empty one. */
const struct home_key *sip_call_key(struct sip *s, struct rx *rx);
/* A text of rx begins with a mark of ours, written with *ret_chance; what led rx home is not verified again. */
bool sip_marked(const struct sip *s, const struct rx *rx, sv text, uint64_t *ret_chance);
/* The stateless To tag for this request, written to mem. */
sv sip_stateless_tag(struct sip *s, struct rx *rx, char mem[static 24]);
/* A To tag of chance (RFC 3261 §19.3), for a transaction that says it again as it was. */
sv sip_random_tag(struct sip *s, char mem[static 24]);
/* Fills received and rport of r from rx. */
void sip_reply_via(const struct rx *rx, struct sip_reply *r, char mem[static 64]);
/* A block holding what buf-builders write: block of the loop's pool with cap. NULL: over the
 * cap. */
struct block *sip_block(struct sip *s, size_t cap);

/* ---- for txn, which registers itself: transport knows nothing above it ---- */
struct sip_txn_ops {
    /* True: a transaction took it. */
    bool (*on_request)(void *table, struct rx *rx);
    bool (*on_response)(void *table, struct rx *rx);
    /* A server transaction here would take this request: its home is here then. */
    bool (*knows)(void *table, struct rx *rx);
    size_t (*count)(const void *table);
    unsigned (*full)(const void *table); /* percent of the cap */
    void (*free)(void *table);
};
void sip_set_txns(struct sip *s, const struct sip_txn_ops *ops, void *table);
void *sip_txns(struct sip *s);
const struct sip_user *sip_user_of(struct sip *s, void **ret_arg);

#endif
