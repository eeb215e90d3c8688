/* SPDX-License-Identifier: MIT */
/* session/session.h: the media of one call between two sides.                    layer: media
 *
 * Spec    RFC 3264 (what was agreed on), 3550, 3711, 5763, 5764, 8445 (lite), 9143 (bundled lines); what stands
 *         between the sides is decided by wire/offer and done here.
 * Shape   struct sessions is a worker's. A session has two sides and, for each m= line, a stream with a
 *         leg on each side. It is made when the first side has offered (session_new: ports, keys), tells what is
 *         ours toward each side (session_ours, for offer_pass and offer_answer), and starts, or changes,
 *         by a plan (session_apply). What happens is told by struct session_handler. Services hold a struct session_id,
 *         which may name one that is gone: everything asked of it is then ERR_NOTFOUND.
 *         A session may have one side alone: then what comes from it goes back to it (an echo).
 * Life    until session_end. Media flows only between session_apply and session_end.
 * Limits  OFFER_MEDIA_MAX streams; session_config.most sessions of a worker (STAT_LIMIT_MEDIA_SESSIONS); ports (relay.h);
 *         session_config.bandwidth of what sessions reserve (STAT_LIMIT_MEDIA_BANDWIDTH);
 *         session_config.quota ports that calls of one payer count for, each once: as the largest of its sessions, however many
 *         phones ring, and as all that were answered together. Sessions that ring beside the largest are bounded by how
 *         many phones an address of record may have and a request may go to (the users' business), and by half of all
 *         ports, or that quota if it is more: their payer's sessions have no more than that in truth. (Both: STAT_LIMIT_MEDIA_QUOTA.)
 * Threads the loop's. Handlers come in turns, never from within a call. */
#ifndef SESSION_SESSION_H
#define SESSION_SESSION_H
#include "file/file.h"
#include "mem/arena.h"
#include "offer/offer.h"
#include "quality/quality_leg.h"
#include "relay/relay.h"

struct sessions;
struct session_shared;
struct session_config {
    struct relay_config relay;
    usec silence;       /* media.silence; 0: SESSION_SILENT is never told */
    size_t most;        /* sessions; 0: what the ports allow */
    uint64_t bandwidth; /* bits a second that sessions of all workers may reserve; 0: no cap */
    /* ports that calls of one payer may count for, of all workers; 0: half, but SESSION_QUOTA_LEAST at least */
    unsigned quota;
};
enum { SESSION_QUOTA_LEAST = 64 };
/* What the workers of a process have in common: ports (borrowed), our DTLS certificate, what is reserved. Errors: ERR_NOMEM, ERR_IO. */
MUST_USE enum err session_shared_new(struct ports *ports, struct session_shared **ret_shared);
/* False: with this OpenSSL there is no DTLS-SRTP (dtls.h), and none is offered. */
bool session_shared_dtls(const struct session_shared *s);
void session_shared_free(struct session_shared *s);

/* Errors: ERR_NOMEM. */
MUST_USE enum err sessions_new(struct loop *l, struct session_shared *shared,
                               const struct session_config *c, struct sessions **ret_sessions);
void sessions_free(struct sessions *m); /* ends what is left */
void sessions_configure(struct sessions *m, const struct session_config *c);
size_t sessions_live(const struct sessions *m);

struct session_id {
    uint32_t slot, generation; /* generation 0: none */
};
enum { SESSION_DIGITS = 20 };
enum { SESSION_OFFERER, SESSION_ANSWERER, SESSION_SIDES }; /* of the first offer, for good */

/* An address in the terms of descriptions; family 0: none. */
struct offer_ip session_ip(const struct addr *a);

/* Who is on a side. */
struct session_party {
    struct addr
        local; /* our address toward it: ports are opened there; the port is not looked at */
    struct addr advertise; /* what it is told instead; family 0: local */
    struct addr source;    /* where its signalling comes from; family 0: not known */
    bool trusted;          /* the configuration names it */
};

enum session_event {
    /* Nothing for session_config.silence from who is meant to send; told again after as long. Not of a session in
     * which nobody is (hold). side: who that is, SESSION_SIDES: both */
    SESSION_SILENT,
    SESSION_SECURED,   /* a side's keys are there (DTLS) */
    SESSION_KEY_FAULT, /* DTLS failed: why says how */
    SESSION_PLAYED,    /* session_play has come to its end */
    SESSION_LOST       /* the consent of a side has ended (ICE): nothing is sent there any more */
};
struct session_handler {
    void (*on_event)(void *arg, struct session_id id, enum session_event e, unsigned side, sv why);
    /* This side has pressed a key, which came in its stream, and the other one gets keys by INFO (OFFER_DTMF_INFO). At
     * most SESSION_DIGITS a second. NULL: nobody asks. */
    void (*on_digit)(void *arg, struct session_id id, unsigned side, char digit, uint32_t ms);
};

/* A session for so many m= lines. Ports are taken on both sides, and nothing is sent or taken yet.
 *   party  of SESSION_ANSWERER without a local address (family 0): there is no such side
 * Errors: ERR_BUSY (no ports, over the cap), ERR_UNREACHABLE (a local address is not ours), ERR_NOMEM. */
MUST_USE enum err session_new(struct sessions *m, const struct session_party party[SESSION_SIDES],
                              unsigned lines, const struct session_handler *h, void *arg,
                              struct session_id *ret_id);
/* The ports that it will have count for this payer (session_payer).
 *   with  another session of the same call, which has the same payer: they count together; generation 0: none
 * Errors: ERR_NOTFOUND; ERR_STATE: it has some already. */
MUST_USE enum err session_pay(struct sessions *m, struct session_id id, uint32_t payer,
                              struct session_id with);
/* Whether there is room for a session of so many lines now, which counts for this payer and is not made. Errors: ERR_DENIED:
 * over his quota; ERR_BUSY: no ports. */
MUST_USE enum err session_room(const struct sessions *m, uint32_t payer, unsigned lines);
/* It stands, and counts whatever else of its call does. One that is gone is none. */
void session_answered(struct sessions *m, struct session_id id);
/* Who pays in this account's name; 0, nobody, for an empty one. One in SESSION_PAYERS accounts shares with another. */
enum { SESSION_PAYERS = 16384 };
uint32_t session_payer(const struct sessions *m, sv account);
/* There are so many m= lines now, at least, and each has ports. Errors: as session_new, ERR_NOTFOUND, ERR_TOOBIG;
 * ERR_DENIED: over its payer's quota. It is as it was then. */
MUST_USE enum err session_lines(struct sessions *m, struct session_id id, unsigned lines);
/* The same for the lines of an offer: one that it refuses needs no ports. */
MUST_USE enum err session_offered(struct sessions *m, struct session_id id,
                                  const struct offer_session *offer);
/* No offer waits for its answer: lines that the last plan does not have, or refuses, give their ports back; all, before there
 * is a plan. A later offer finds others there. */
void session_settle(struct sessions *m, struct session_id id);
/* It may take so many bits a second (offer_bandwidth) from now on, until session_end; none at first. Less is always given,
 * a session that was restored keeps what it had. Nobody is cut off who takes more.
 * Errors: ERR_NOTFOUND; ERR_BUSY: over the cap: as it was. */
MUST_USE enum err session_reserve(struct sessions *m, struct session_id id, uint64_t bits);
/* Its signalling comes from there now. Errors: ERR_NOTFOUND. */
MUST_USE enum err session_source(struct sessions *m, struct session_id id, unsigned side,
                                 const struct addr *source);
/* A side is told once more what was agreed on (a 2xx comes again): it begins to speak when it hears of it, and not before. */
void session_retold(struct sessions *m, struct session_id id, unsigned side);
/* What is ours toward a side. Texts live as long as the session.
 *   SESSION_NEXT     for a description that differs from the last one: its version (RFC 3264 §8) is one higher
 *   SESSION_RESTART  with new ICE credentials (RFC 8445 §9): until there is a new way, media goes on by the old one,
 *                    where checks with the former credentials are still answered
 * Errors: ERR_NOTFOUND. */
enum { SESSION_NEXT = 1, SESSION_RESTART = 2 };
MUST_USE enum err session_ours(struct sessions *m, struct session_id id, unsigned side,
                               unsigned flags, struct offer_ours *ret_ours);
/* theirs is a later description of this side: it has other ICE credentials than the one that was applied last, so that
 * an answer to it needs SESSION_RESTART (RFC 8839 §4.4.2.1). */
bool session_restarts(const struct sessions *m, struct session_id id, unsigned side,
                      const struct offer_session *theirs);
/* What was agreed on, first or anew. offerer: the side whose offer it was (leg 0 of the plan). The plan is copied
 * as far as it is needed. Errors: ERR_NOTFOUND, ERR_NOMEM; nothing has changed then. */
MUST_USE enum err session_apply(struct sessions *m, struct session_id id, unsigned offerer,
                                const struct offer_plan *plan);
/* Of one side: the rate of the codec that was agreed on, which a sound to be played should have. Errors: ERR_NOTFOUND
 * (no session, or no sound in it). */
MUST_USE enum err session_sound(struct sessions *m, struct session_id id, uint32_t *ret_hz);
/* Of one side: instead of an echo it hears this, which is the session's from here on, also on failure; loop: over and
 * over. SESSION_PLAYED tells its end. Errors: ERR_NOTFOUND, ERR_NOMEM, ERR_UNSUPPORTED (its rate). */
MUST_USE enum err session_play(struct sessions *m, struct session_id id, struct file_sound *sound,
                               bool loop);
/* A key that this side has pressed, and said elsewhere (INFO), is put into what goes to the other: as an event or a tone,
 * after those before it; ms 0: a usual one. known: it was told by on_digit before, or did not get there otherwise. Errors: ERR_NOTFOUND (no session, no sound in it), ERR_EXISTS (the side says its
 * keys in its stream, too: this one is known), ERR_UNSUPPORTED (the plan does not say `digits` of the other), ERR_TOOBIG. */
MUST_USE enum err session_digit(struct sessions *m, struct session_id id, unsigned side, char digit,
                                uint32_t ms, bool known);
void session_end(struct sessions *m, struct session_id id);
/* When the last packet of this side was taken (loop_now); since session_apply. Errors: ERR_NOTFOUND. */
MUST_USE enum err session_heard(struct sessions *m, struct session_id id, unsigned side,
                                usec *ret_at);

/* ---- written form ----
 *
 * A session in octets of ours, so that another process picks it up: the same ports, whom they listen to and where they
 * send, keys with their indices, names of streams (session_source.c), checks and their pairs, what was agreed on,
 * and how much was counted. Codecs begin anew. An association of DTLS goes on with its keys alone: what the peer still
 * sends of it is not answered; if it begins another one with a ClientHello, or a description has other
 * fingerprints (ours too), there is a new one. A handshake that was under way begins again. A session of one side
 * (echo, files) is not written.
 *
 * SESSION_LAST   the session does nothing more: it is ended, or its process is. Read once, it goes on as if nothing
 *                had been.
 * SESSION_AHEAD  it goes on, and the form may be picked up if its process dies: then numbers of SRTP leap by
 *                SRTP_AHEAD, which receivers follow (srtp.h), and nothing that may have been sent is sent
 *                again with its keys, however old the form is. It should be written anew after each session_apply,
 *                and before SRTP_AHEAD packets have left (sound: five minutes); else streams get other SSRCs. Who writes
 *                anew does away with the form before.
 * The octets hold keys: b is of the caller's own memory (one that grows leaves keys behind), and he wipes it, and
 * keeps others from what he writes it to. They are not signed: what reads them trusts who wrote them, but
 * for their form. */
enum session_form { SESSION_LAST, SESSION_AHEAD };
enum { SESSION_SAVED_MAX = 1200 * 1024 }; /* of two lines with a few SSRCs: 3 kB */
/* Errors: ERR_NOTFOUND, ERR_UNSUPPORTED (one side), b's: ERR_TOOBIG. */
MUST_USE enum err session_save(struct sessions *m, struct session_id id, enum session_form form,
                               struct buf *b);
/* All of octets. Ports must be free: before others take them by chance. Errors: ERR_CORRUPT (no such form, or one of
 * another version), ERR_BUSY (ports, over the cap), ERR_UNREACHABLE (a local address is not ours), ERR_NOMEM, ERR_IO. */
MUST_USE enum err session_restore(struct sessions *m, sv octets, const struct session_handler *h,
                                  void *arg, struct session_id *ret_id);

/* Figures of one direction of a stream: what came from a side, and went to the other. */
enum { SESSION_CODEC_MAX = 24 };
struct session_figures {
    enum offer_kind kind;
    /* as in a=rtpmap: the codec that came last (before any did: that is expected first), and what it leaves as;
     * "": what has none */
    char codec[SESSION_CODEC_MAX], left_as[SESSION_CODEC_MAX];
    uint64_t packets, octets; /* from the side, taken */
    uint64_t sent;            /* to the other side */
    uint64_t foreign;         /* from nobody that is believed */
    uint64_t refused;         /* wrong keys, replayed */
    bool from, to;            /* the direction is meant to carry something */
    struct addr remote;       /* where the side is; family 0: not known */
    enum offer_keying keying;
    /* what it was like for the other side: the call so far, and its worst interval; mos 0: nothing to judge */
    struct quality_span span, worst;
    struct quality_span last; /* the last interval; at 0: none yet; mos 0: nothing came */
    struct quality_span here; /* what arrived here, as we count; expected 0: nothing yet */
    bool told;                /* span, worst and last: the other side's reports are in them */
};
/* Errors: ERR_NOTFOUND (session, or stream). */
unsigned session_streams(struct sessions *m, struct session_id id); /* 0: there is none */
MUST_USE enum err session_figures(struct sessions *m, struct session_id id, unsigned line,
                                  unsigned side, struct session_figures *ret);

#endif
