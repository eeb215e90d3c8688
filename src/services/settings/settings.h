/* SPDX-License-Identifier: MIT */
/* settings/settings.h: what services read of the configuration, as one immutable snapshot.   layer:
 * services
 *
 * Shape   plain values, filled by app/config from the file (every default included), never changed
 * afterwards. A reload makes a new snapshot; each worker swaps its pointer when the mail with it
 * arrives. What is in use keeps a reference. Life    counted; everything it points to lives in its
 * arena. Threads RO after settings_seal; references from any thread.
 */
#ifndef SETTINGS_SETTINGS_H
#define SETTINGS_SETTINGS_H
#include <stdatomic.h>
#include "auth/auth.h"
#include "mem/arena.h"
#include "sock/addr.h"
#include "transport/transport.h"
#include "turnserver/turnserver.h"

enum { SETTINGS_DOMAINS_MAX = 64, SETTINGS_ALIASES_MAX = 32 };
enum { SETTINGS_BREADTH_DEFAULT = 60 };

struct settings_domain {
    sv name; /* lower case */
    sv realm;
    sv aliases[SETTINGS_ALIASES_MAX];
    unsigned aliases_n;
    struct auth_policy digest; /* n == 0: security.digest */
};

enum settings_authenticate { SETTINGS_AUTH_ALL, SETTINGS_AUTH_REGISTER };
enum settings_strangers { SETTINGS_STRANGERS_REFUSE, SETTINGS_STRANGERS_RING };

/* An account that the file names: written to the directory at start and reload. */
struct settings_account {
    sv user, domain, name;
    sv numbers[16];
    unsigned numbers_n;
    sv password; /* SV_NONE: set by `tandem user passwd` */
    sv origin;   /* file:line */
};

/* ---- routes: first match wins ---- */
enum { SETTINGS_ROUTES_MAX = 1024, SETTINGS_MATCH_MAX = 16, SETTINGS_TARGETS_MAX = 16 };

/* One word of `from`. */
enum settings_from { FROM_ACCOUNTS, FROM_ACCOUNT, FROM_STRANGERS, FROM_NETWORK, FROM_TLS };
struct settings_source {
    enum settings_from kind;
    sv user, domain;         /* FROM_ACCOUNT; domain empty: any of ours */
    struct addr_net network; /* FROM_NETWORK: the source address */
    sv name;                 /* FROM_TLS: an identity of its verified certificate (RFC 5922) */
};
/* All that is given must hold; a list means any of. */
struct settings_when {
    struct settings_source from[SETTINGS_MATCH_MAX];
    unsigned from_n;
    sv user[SETTINGS_MATCH_MAX]; /* of the Request-URI, canonical; a trailing * is any rest */
    unsigned user_n;
    sv domain[SETTINGS_MATCH_MAX]; /* of the Request-URI, lower case; "local": any of ours */
    unsigned domain_n;
    sv method[SETTINGS_MATCH_MAX];
    unsigned method_n;
    uint32_t zones; /* mask of sip_config.zone; 0: any */
    bool never;     /* nothing can match (said as an error by check) */
};
/* ECHO and PLAY are of this server's own media service and stand alone. */
enum settings_target_kind {
    TARGET_LOCAL,
    TARGET_URI,
    TARGET_SIP,
    TARGET_ACCOUNT,
    TARGET_REJECT,
    TARGET_ECHO,
    TARGET_PLAY
};
struct settings_target {
    enum settings_target_kind kind;
    sv uri;          /* TARGET_SIP */
    sv user, domain; /* TARGET_ACCOUNT */
    sv file;         /* TARGET_PLAY: its path */
    uint16_t status; /* TARGET_REJECT */
    sv reason;
    uint8_t step; /* equal ones ring together; the next step when all have failed */
};
enum settings_action { ACTION_TO, ACTION_REDIRECT, ACTION_REJECT };
struct settings_route {
    sv name, place;                    /* place: file:line */
    struct settings_when when, unless; /* unless: `not` */
    bool has_unless;
    enum settings_action action;
    struct settings_target target[SETTINGS_TARGETS_MAX]; /* TO, REDIRECT */
    unsigned targets_n;
    uint16_t status; /* REJECT */
    sv reason;
    usec timeout; /* per step; 0: sip.ringing */
};

/* ---- media ---- */
enum settings_media_mode { MEDIA_AUTO, MEDIA_ALWAYS, MEDIA_NEVER };
enum settings_media_srtp { MEDIA_SRTP_NEVER, MEDIA_SRTP_PREFER, MEDIA_SRTP_REQUIRE };
enum settings_codec { SETTINGS_OPUS, SETTINGS_G722, SETTINGS_PCMA, SETTINGS_PCMU, SETTINGS_CODECS };
enum settings_dtmf { MEDIA_DTMF_AUTO, MEDIA_DTMF_RFC4733, MEDIA_DTMF_INFO, MEDIA_DTMF_INBAND };
enum { SETTINGS_PORTS_OF_CALL = 4 }; /* with sound: RTP and RTCP on both sides */
struct settings_media {
    uint16_t first_port, last_port;
    enum settings_media_mode mode;
    enum settings_media_srtp srtp;
    enum settings_codec codecs[SETTINGS_CODECS]; /* in order of preference */
    unsigned codecs_n;
    bool transcode;
    enum settings_dtmf dtmf;
    bool t38;
    usec latch, silence; /* silence 0: never */
    uint8_t dscp;
    uint64_t bandwidth; /* bit/s; 0: no cap */
    unsigned quota;     /* relayed calls of one account; 0: half of what the ports hold */
};

struct settings_turn {
    struct turnserver_listen listen[TURNSERVER_LISTENERS_MAX];
    unsigned listeners; /* 0: no TURN server */
    struct turnserver_limits limits;
    struct addr advertise[2]; /* IPv4, IPv6; family 0: none */
};

/* What is dialled on any phone; empty: nothing. */
struct settings_codes {
    sv echo;
};

struct settings_push {
    sv url; /* empty: none */
    sv secret;
    usec hold;
};

struct settings {
    _Atomic unsigned refs;
    struct arena arena;

    struct settings_domain domains[SETTINGS_DOMAINS_MAX];
    unsigned domains_n;
    struct sip_config sip; /* listeners, timers, caps */
    usec ringing;          /* sip.ringing: Timer C, at least 3 min + (RFC 3261 §16.6 step 11) */
    bool server_hidden;    /* sip.server: hidden */
    sv server;             /* else this */
    unsigned breadth;      /* targets rung at once, at most */
    usec session_timer, min_se;    /* sip.session_timer (0: none), sip.min_se (RFC 4028) */
    usec expires_min, expires_max; /* registrar.expires */
    /* registrar.keepalive: NAT bindings of phones are kept open so often; Flow-Timer. 0: never */
    usec keepalive;
    bool outbound;    /* registrar.outbound (RFC 5626) */
    bool require_tls; /* security.require_tls: accounts only over tls and wss */
    struct settings_push push;
    struct settings_media media;
    struct settings_turn turn;
    struct settings_codes codes;
    const struct settings_route *routes;
    size_t routes_n;
    unsigned contacts;         /* registrar.contacts */
    struct auth_policy digest; /* security.digest */
    enum settings_authenticate authenticate;
    enum settings_strangers strangers;
    unsigned password_min;
    usec drain;
    const struct settings_account *accounts;
    size_t accounts_n;
    size_t calls_max; /* standing calls a worker; internal cap */
};

/* Empty, one reference; fill it, then seal. Errors: ERR_NOMEM. */
MUST_USE enum err settings_new(struct settings **ret_settings);
/* Defaults of every value (one domain named `domain`, no listener): for tests, the demo and the
 * simulation. Errors: ERR_NOMEM. */
MUST_USE enum err settings_default(sv domain, struct settings **ret_settings);
struct settings *settings_ref(struct settings *s);
void settings_unref(struct settings *s);
/* The domain that host names: its name, an alias, or (first domain) one of our listeners'
 * addresses. NULL: foreign. */
const struct settings_domain *settings_domain_of(const struct settings *s, const struct sip *sip,
                                                 sv host, uint16_t port);

#endif
