/* SPDX-License-Identifier: MIT */
/* flows_priv.h: between the parts of support/flows: flows.c (connections), flows_talk.c (what phones
 * ask), flows_serve.c (what they are asked). */
#ifndef SIM_SUPPORT_FLOWS_PRIV_H
#define SIM_SUPPORT_FLOWS_PRIV_H
#include "support/flows.h"

enum { MESSAGE_MAX = 8192 };

bool line_send(struct line *l, sv octets);
void handset_message(struct line *l, sv octets);
void handset_line_lost(struct line *l); /* asks and talks learn of it */
void handset_register(struct line *l);
void handset_registered(struct line *l, uint16_t status, struct sipmsg *m);
void handset_forget(struct handset *h);
/* Via's sent-by and the Contact's host and port of this connection. */
void line_put_host(struct buf *b, const struct line *l);

void line_put_contact(struct buf *b, const struct line *l); /* "<sip:…", open */

void text_copy(char *to, size_t cap, sv s); /* cut at cap - 1 */
const char *method_name(enum sip_method m);
struct talk *talk_new(struct handset *h, unsigned line);
void talk_free(struct talk *k, bool tell);
struct talk *talk_find(struct handset *h, sv call_id, sv local_tag, sv remote_tag);
struct line *talk_line(struct talk *k); /* RFC 5626 §4.3; NULL: none is up */
void talk_learn(struct talk *k, struct sipmsg *m);
void talk_learn_target(struct talk *k, struct sipmsg *m);
void talk_end(struct talk *k); /* BYE, or what ends a subscription */
void talk_on_repeat(struct timer *t, void *arg);
void talk_on_response(struct line *l, struct sipmsg *m);

#endif
