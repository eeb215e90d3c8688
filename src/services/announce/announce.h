/* SPDX-License-Identifier: MIT */
/* announce/announce.h: calls that end here with sound: an echo, a file.            layer: services
 *
 * Shape   answers what routing hands over (TARGET_ECHO, TARGET_PLAY): one audio line, in whatever way the caller offers it
 *         (plain, SDES, DTLS, ICE). Who hears his own voice knows that both ways work. A file is read before the
 *         call is answered, and the call ends with it.
 * Limits  those of answer, media sessions and file; a call whose media falls silent ends (media.silence).
 * Threads the worker's. */
#ifndef ANNOUNCE_ANNOUNCE_H
#define ANNOUNCE_ANNOUNCE_H
#include "anchor/anchor.h"
#include "answer/answer.h"

struct announce;
/* anchor: whose sessions they are; set: borrowed until announce_settings. Errors: ERR_NOMEM. */
MUST_USE enum err announce_new(struct loop *l, struct anchor *anchor, struct settings *set,
                               struct announce **ret_announce);
/* Before the anchor; its calls end. NULL is fine. */
void announce_free(struct announce *a);
void announce_settings(struct announce *a, struct settings *set);
/* As routing_media.on_call. */
void announce_call(struct announce *a, struct answer_call *call, sv payer,
                   const struct settings_target *what);
size_t announce_count(const struct announce *a);

#endif
