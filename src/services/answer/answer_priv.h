/* SPDX-License-Identifier: MIT */
/* answer_priv.h: the parts of the user agent server among themselves.
 *
 *   answer.c          calls: begun, answered, ended; what comes in their dialogs
 *   answer_dialog.c   the dialog: its texts, our Contact, our BYE
 *   answer_timer.c    session timers */
#ifndef ANSWER_PRIV_H
#define ANSWER_PRIV_H
#include "answer/answer.h"
#include "ds/hash.h"

#define ANSWER_ALLOW "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO\r\n"

enum answer_state { ANSWER_ASKED, ANSWER_SAID, ANSWER_UP, ANSWER_OVER };

struct answer_call {
    struct answer *answer;
    struct hash_node by_call_id;
    const struct answer_handler *h; /* never NULL */
    void *arg;
    enum answer_state state;
    uint16_t status;                /* of the INVITE's refusal */
    sv reason, warning;             /* likewise, until the books have it; as for sip_put_said */
    struct call *call;              /* in the books; NULL: not there */
    unsigned busy;                  /* calls into it on the stack: it is freed by the last */
    bool hangup;                    /* as soon as the ACK is here */
    const struct answer_cause *why; /* of ANSWER_BY_US; may be NULL */
    struct stxn *invite;            /* not answered, or waiting for its ACK; a re-INVITE's too */
    struct dest dest;               /* where our requests leave to */
    uint16_t slot;
    uint32_t invite_cseq, remote_cseq, local_cseq;
    struct timer expiry;
    char tag[24];
    sv local_tag; /* in tag */
    /* one piece of memory: as they stand in the INVITE; routes: values of Record-Route, each with an end */
    sv call_id, remote, remote_tag, local, routes;
    sv target; /* another one */
};

struct answer {
    struct sip *sip;
    struct accounting *books; /* may be NULL */
    const struct settings *set;
    struct hash calls;
    size_t cap;
};

/* ---- answer_dialog.c ---- */
/* Texts and place of a call from its INVITE. Errors: ERR_NOMEM; ERR_TOOBIG; ERR_SYNTAX (no Contact, or not one). */
MUST_USE enum err answer_dialog_learn(struct answer_call *c, struct rx *rx);
/* A request of the caller: where he is now, and, of one that refreshes it, his Contact. */
void answer_dialog_heard(struct answer_call *c, struct rx *rx, bool refresh);
void answer_dialog_forget(struct answer_call *c);
/* "Contact: <…>" with CRLF. */
void answer_dialog_put_contact(const struct answer_call *c, struct buf *b, struct rx *rx);
/* The call that rx belongs to; NULL: none. */
struct answer_call *answer_dialog_find(struct answer *a, struct rx *rx);
/* rx follows a Contact of ours. */
bool answer_dialog_is_ours(struct answer *a, struct rx *rx);
/* Says BYE, with the Reason of this cause; what comes of it is nobody's any more. */
void answer_dialog_bye(struct answer_call *c, const struct answer_cause *why);

/* ---- answer_timer.c ---- */
/* What an INVITE or UPDATE says of the session's time; the lines of its 2xx, with CRLF. */
void answer_refresh(struct answer_call *c, struct rx *rx, struct buf *lines);
/* answer.c: nobody refreshed it. */
void answer_expired(struct timer *t, void *arg);

#endif
