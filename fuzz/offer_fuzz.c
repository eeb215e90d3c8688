/* SPDX-License-Identifier: MIT */
/* fuzz/offer_fuzz.c: any description in the terms of offer/offer.h: bounds hold, and what is said fits together. */
#include <stdlib.h>

#include "offer/offer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check(const struct offer_session *s)
{
    must(s->n <= OFFER_MEDIA_MAX && s->n + s->lost == s->text->n_media);
    for (unsigned i = 0; i < s->n; i++) {
        const struct offer_media *m = &s->media[i];
        must(m->codecs_n <= OFFER_CODECS_MAX && m->cryptos_n <= OFFER_CRYPTOS_MAX);
        must(m->fingerprints_n <= OFFER_FINGERPRINTS_MAX);
        must(m->candidates_n <= OFFER_CANDIDATES_MAX);
        must(!m->bundled || m->bundle_with < i);
        must(!m->ice || (m->ufrag.n >= 4 && m->pwd.n >= 22));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct offer_session s;
    struct arena a;
    struct sdp sdp;
    struct sdp_fault fault = {0};
    arena_init(&a, NULL, 0, 1 << 20);
    if (sdp_parse((sv){(const char *)data, size}, &a, &sdp, &fault) == ERR_OK) {
        enum err rc = offer_read(&sdp, &a, &s, &fault);
        must(rc == ERR_OK || (rc == ERR_SYNTAX && fault.why));
        if (rc == ERR_OK)
            check(&s);
    }
    arena_done(&a);
    return 0;
}
