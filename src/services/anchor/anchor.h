/* SPDX-License-Identifier: MIT */
/* anchor/anchor.h: media that passes through us, of calls that the proxy forwards.     layer: services
 *
 * Spec    RFC 3264 (offers and answers, in whichever message they come: RFC 3261 §13.2.1, 3262, 3311), RFC 5853 §3.2
 *         (what a server does to them that stands between).
 * Shape   says of each offer whether the two sides can hear each other by themselves (media.mode, offer_way). If
 *         not, it makes a media session and exchanges the descriptions on their way (proxy_bodies): each side is
 *         told of our ports alone. A phone that refuses the description (488) is asked again: with media that passes
 *         through us, then with the next way to encrypt it; its dialog's requests have higher numbers from then on. A branch of a forked call has a session of its own, since each phone may answer.
 *         What was decided for a dialog holds until it ends. What needs us, whoever answers it, is refused before it goes
 *         anywhere when there is no room for it.
 * Life    a dialog's session ends when it is told that a BYE has ended the call, or when its branch fails; who refused that
 *         BYE hears one of ours. When nothing
 *         is heard for media.silence of who is meant to send, or a side's keys or its consent (RFC 7675) are gone and it
 *         stays silent, or a 2xx to INVITE (or its offer) is not acknowledged for 64*T1 (RFC 3261 §13.3.1.4), we end the
 *         call: BYE to both, with a Reason. So do calls that stand when the server ends (anchor_hang_up).
 * Limits  those of media (session.h), a caller's own among them, for whom a call counts once, however many phones ring;
 *         ANCHOR_TEXT_MAX octets of a description. Dialogs that stand without a session and are known all the same (under
 *         media.srtp: require, for their numbers, or since nothing was described yet): settings.calls_max, each until a day
 *         after its last request. At the cap (STAT_LIMIT_CALLS) the one silent longest is forgotten: the call goes on, and
 *         what it offers later passes unseen.
 * Threads the home's worker. */
#ifndef ANCHOR_ANCHOR_H
#define ANCHOR_ANCHOR_H
#include "proxy/proxy.h"
#include "session/session.h"
#include "settings/settings.h"

struct anchor;
struct anchor_passage;
enum { ANCHOR_TEXT_MAX = 32768 };

/* Errors: ERR_NOMEM. set: borrowed until anchor_settings. */
MUST_USE enum err anchor_new(struct sip *s, struct session_shared *shared, struct settings *set,
                             struct anchor **ret_anchor);
void anchor_free(struct anchor *a); /* NULL is fine */
void anchor_settings(struct anchor *a, struct settings *set);
struct sessions *anchor_sessions(struct anchor *a);
/* A call was ended by us (its media fell silent, its keys failed, the server ends): both sides were told. Called in turns of
 * the worker, never within a call of the anchor's but anchor_hang_up.
 *   ended_by, why  as in records */
typedef void anchor_ended_fn(void *arg, sv call_id, sv caller_tag, sv callee_tag, sv ended_by,
                             sv why);
void anchor_on_ended(struct anchor *a, anchor_ended_fn *fn, void *arg);
/* The server ends: calls that stand and whose media passes through us hear BYE, *most of them, which is less by those that
 * did. How many are left: the others, and those whose ACK has not come yet. most NULL: these hear it too, as nothing will be
 * said later. */
size_t anchor_hang_up(struct anchor *a, size_t *most);
/* Who sent rx, for a session with him. */
void anchor_sender(struct anchor *a, struct rx *rx, struct session_party *ret_party);
/* What a session of this call tells, into the log. */
void anchor_log_media(sv call_id, enum session_event e, unsigned side, sv why);
/* media.* as wire/offer asks for it. */
struct offer_policy anchor_policy(const struct settings *set);
/* Dialogs whose media passes through us. */
size_t anchor_count(const struct anchor *a);

/* A request goes to the proxy: what to give as proxy_request.bodies_arg, with anchor_bodies; NULL: nothing of it is ours
 * to look at. It ends with anchor_bodies' on_gone. An INVITE that belongs to no dialog of ours is a new call's, whatever
 * tag its To has, unless it is known.
 *   set     the snapshot that the request goes by
 *   payer   the account that a new call's ports count for (media.quota); empty: none
 *   known   it follows our route set within a call of the books: what is not ours of it was not to be
 * Errors: ERR_NOMEM, and that it cannot be read: it must not go on unseen. */
MUST_USE enum err anchor_passage(struct anchor *a, struct rx *rx, struct settings *set, sv payer,
                                 bool known, struct anchor_passage **ret_passage);
extern const struct proxy_bodies anchor_bodies;
/* A request within a dialog, any but ACK and CANCEL, before it goes on; txn: its transaction. True: it was for us (keys by
 * INFO), and txn is answered and let go of. */
bool anchor_request(struct anchor *a, struct rx *rx, struct stxn *txn);
/* How an ACK is to go on: with another description, in its arena, or as it came. */
void anchor_ack(struct anchor *a, struct rx *ack, struct proxy_body_new *ret);

/* This BYE has ended its call. refused: but for who got it, who hears one of ours then. */
void anchor_hung_up(struct anchor *a, struct rx *bye, bool refused);
/* The call of this request within a dialog stands, and its media passes through us: without us it is none. */
bool anchor_relays(struct anchor *a, struct rx *rx);

/* A call's media, for who looks at it: sides are 0 caller, 1 callee. False: it does not pass through us.
 *   ret_why  lines: why it does, then what was agreed on; valid until the next message of the call */
bool anchor_find(struct anchor *a, sv call_id, sv caller_tag, sv callee_tag,
                 struct session_id *ret_id, sv *ret_why);

#endif
