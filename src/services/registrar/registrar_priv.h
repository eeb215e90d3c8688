/* SPDX-License-Identifier: MIT */
/* registrar_priv.h: the parts of the registrar among themselves.
 *
 *   registrar.c           the driver: read, apply, write, answer
 *   registrar_bindings.c  what a REGISTER does to a set of bindings
 *   registrar_contact.c   what one Contact says, and which bindings it means
 *   registrar_path.c      the proxies between the phone and us
 *   registrar_reply.c     the header lines of a 200
 *   registrar_gruu.c      addresses of one phone
 *   registrar_flow.c      connections that ended
 */
#ifndef REGISTRAR_PRIV_H
#define REGISTRAR_PRIV_H
#include "registrar/registrar.h"

enum { CONTACT_MAX = 1024, INSTANCE_MAX = 256, PATH_MAX_OCTETS = 2048 };

/* ---- registrar_contact.c ---- */

/* One Contact of a REGISTER. */
struct contact {
    const struct sip_addr *addr;
    uint32_t expires_s; /* asked for */
    uint16_t q;
    sv instance;     /* +sip.instance, without quotes; empty: none */
    uint32_t reg_id; /* RFC 5626 §4.2; 0: none, or it does not count */
    sv push;         /* RFC 8599: its pn- parameters; empty: it does not ask to be woken */
};
/* default_s: without an expires parameter.
 * Errors: ERR_SYNTAX, ERR_TOOBIG (400), ERR_NOMEM. */
MUST_USE enum err contact_read(const struct sip_addr *addr, uint32_t default_s, struct arena *a,
                               struct contact *ret_contact);
/* All parameters but those that are the registrar's to say. Errors: as contact_read. */
MUST_USE enum err contact_params(struct arena *a, sv params, sv *ret);
/* This Contact is about that binding (RFC 3261 §10.3 step 7, RFC 5626 §6). */
bool contact_means(const struct contact *c, const struct binding *b);
/* The contact names the address of record itself, or a GRUU of it (RFC 5627 §5.1). */
bool contact_is_aor(const struct uri *u, sv aor);

/* ---- registrar_path.c ---- */

struct path {
    sv stored;   /* what requests to the phone carry as Route; empty: none */
    bool any;    /* the request has a Path */
    bool direct; /* the phone is the previous hop (RFC 5626 §6: by its Vias) */
    bool ob;     /* its first hop has done its part of RFC 5626 */
    bool secure; /* every URI in it is a sips URI */
    struct sip_addr first;
};
/* Errors: ERR_SYNTAX, ERR_TOOBIG (400), ERR_NOMEM. */
MUST_USE enum err path_read(const struct sip *s, struct sipmsg *req, struct arena *a,
                            struct path *ret_path);

/* ---- registrar_reply.c ---- */

/* The lines of a 200, into b: Contact, Date (RFC 3261 §10.3 step 8), and what the extensions add. */
void registrar_put_headers(struct buf *b, const struct registrar_input *in,
                           const struct registrar_result *r, const struct settings *set);
/* Contact and Date alone. gruu: with GRUUs. */
void registrar_put_bindings(struct buf *b, const struct registrar_input *in,
                            const struct binding *bindings, size_t n, bool gruu);

/* ---- registrar_gruu.c ---- */

enum { GRUU_SEED = 8 };
/* made, new in set, gets the seed of its phone, or a fresh one (RFC 5627 §5.1). */
MUST_USE enum err gruu_seed(const struct registrar_input *in, struct binding *set, size_t n,
                            struct binding *made, struct arena *a);
/* ";pub-gruu=…;temp-gruu=…" of this binding. */
void gruu_put(struct buf *b, const struct registrar_input *in, const struct binding *x);
/* A user part that we give to temporary GRUUs only. */
bool gruu_is_temporary_user(sv user);

#endif
