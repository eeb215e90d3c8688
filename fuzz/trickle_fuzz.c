/* SPDX-License-Identifier: MIT */
/* fuzz/trickle_fuzz.c: any octets as a body of trickled candidates. */
#include <stdlib.h>

#include "trickle/trickle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static bool inside(sv v, sv body)
{
    return v.n == 0 || (v.p >= body.p && v.p + v.n <= body.p + body.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sv body = {(const char *)data, size};
    struct trickle t;
    struct sdp_fault fault = {0};
    unsigned candidates = 0;
    (void)trickle_is(body);
    if (trickle_parse(body, &t, &fault)) {
        must(fault.why && fault.line <= size);
        return 0;
    }
    must(size <= TRICKLE_MAX && t.n <= TRICKLE_MEDIA_MAX && t.candidates <= TRICKLE_CANDIDATES_MAX);
    must(inside(t.ufrag, body) && inside(t.pwd, body));
    for (unsigned i = 0; i < t.n; i++) {
        const struct trickle_media *m = &t.media[i];
        must(inside(m->mid, body) && inside(m->ufrag, body) && inside(m->pwd, body));
        must(m->ufrag.n >= 4 && m->pwd.n >= 22 && (m->mid.n > 0 || m->candidates == 0));
        must(m->end || !t.end);
        candidates += m->candidates;
    }
    must(candidates == t.candidates && (t.n > 0 || t.ufrag.n > 0));
    return 0;
}
