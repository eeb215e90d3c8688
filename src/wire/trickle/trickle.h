/* SPDX-License-Identifier: MIT */
/* trickle/trickle.h: candidates that come behind a description: application/trickle-ice-sdpfrag.   layer: wire
 *
 * Spec    RFC 8840 §4.4, §9.2 (the body of an INFO), 8839 §5.1, §5.4 (candidates, credentials).
 * Shape   a body is read into what it says of the whole and of each m= line that it names by its mid. What it repeats,
 *         and it repeats everything (§4.4), is not told apart from what is new: that is the agent's.
 * Life    views into the body.
 * Limits  the TRICKLE_..._MAX; over them ERR_TOOBIG. Attributes that are not known are skipped (§9.2).
 * Threads any. No globals. */
#ifndef TRICKLE_TRICKLE_H
#define TRICKLE_TRICKLE_H
#include "sdp/sdp.h"

enum { TRICKLE_MAX = 16384, TRICKLE_MEDIA_MAX = 16, TRICKLE_CANDIDATES_MAX = 64 };

struct trickle_media {
    sv mid;
    sv ufrag, pwd;       /* its own, or else those of the whole */
    unsigned candidates; /* how many; what they are sdp_candidate_read() says of `text` */
    bool end;            /* no more will come, of this one or of all */
};
struct trickle {
    struct trickle_media media[TRICKLE_MEDIA_MAX];
    unsigned n, candidates;
    sv ufrag, pwd; /* of the whole; SV_NONE: each medium has its own */
    bool end;      /* of all */
};
/* A Content-Type means such a body; its parameters do not matter. */
bool trickle_is(sv content_type);
/* Errors: ERR_SYNTAX (also: a medium, or a body without any, that no credentials stand for), ERR_TOOBIG; both with
 * *reterr_fault. */
MUST_USE enum err trickle_parse(sv body, struct trickle *ret, struct sdp_fault *reterr_fault);

#endif
