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
    usec expires_min, expires_max; /* registrar.expires */
    unsigned contacts;             /* registrar.contacts */
    struct auth_policy digest;     /* security.digest */
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
