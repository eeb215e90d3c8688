/* SPDX-License-Identifier: MIT */
/* offer/offer_priv.h: what the parts of the module share.                        layer: wire */
#ifndef OFFER_OFFER_PRIV_H
#define OFFER_OFFER_PRIV_H
#include "offer/offer.h"

/* ---- offer_codec.c: what a codec is ---- */

/* Fills c->id from its name and clock rate. */
void offer_codec_identify(struct offer_codec *c);
/* Carries the medium itself: no event, noise, repair. */
bool offer_codec_is_main(const struct offer_codec *c);
/* We can decode and encode it. */
bool offer_codec_can(const struct offer_codec *c);
/* Same encoding, clock rate and channels. */
bool offer_codec_same_name(const struct offer_codec *a, const struct offer_codec *b);
/* The one of the list that is c by name and, best of these, by fmtp and payload type; NULL: none. */
const struct offer_codec *offer_codec_find(const struct offer_codec *list, unsigned n,
                                           const struct offer_codec *c);
/* The one with this payload type; NULL: none. */
const struct offer_codec *offer_codec_pt(const struct offer_codec *list, unsigned n, unsigned pt);

/* ---- offer_key.c: a=crypto ---- */

/* The value of an a=crypto as a key of ours to use. Errors: ERR_SYNTAX, ERR_RANGE: malformed; ERR_UNSUPPORTED: a suite,
 * MKI or session parameter that we do not do. */
MUST_USE enum err offer_key_read(sv value, struct offer_key *ret_key);

#endif
