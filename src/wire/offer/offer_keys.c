/* SPDX-License-Identifier: MIT */
/* offer/offer_keys.c: plain, SDES or DTLS: what an offer gets, what an answer chose.
 *
 * Spec RFC 4568 §5.1, 5763 §5, 8842 §5, 8643 §3. */
#include "offer/offer.h"

#include "offer/offer_priv.h"

const struct offer_key *offer_key_of(const struct offer_ours_media *mine, enum offer_suite suite)
{
    for (unsigned i = 0; i < mine->keys_n && i < SUITES; i++)
        if (mine->keys[i].suite == suite)
            return &mine->keys[i];
    return NULL;
}

static void use_key(struct offer_keyed *k, const struct offer_key *theirs,
                    const struct offer_key *ours)
{
    k->keying = OFFER_SDES;
    k->theirs = *theirs;
    k->ours = *ours;
    k->ours.tag = theirs->tag; /* RFC 4568 §5.1.2: the tag and suite of the accepted one */
}

/* RFC 8842 §5.3, 4145 §4.1: the other of an offered role. Who may choose is left to be the client: its ClientHello opens
 * the NAT that it stands behind, and reaches us on the path that media will take. */
static enum sdp_setup answered_role(const struct offer_media *m, enum sdp_setup fixed)
{
    enum sdp_setup offered = m->setup_said ? m->setup : SDP_ACTIVE;
    if (offered == SDP_ACTIVE)
        return SDP_PASSIVE;
    if (offered == SDP_PASSIVE)
        return SDP_ACTIVE;
    return fixed == SDP_ACTIVE ? SDP_ACTIVE : SDP_PASSIVE;
}

static enum err deny(struct offer_why *w, const char *side, const struct offer_media *m,
                     const char *why)
{
    offer_because(w, "%s: " SV_FMT " by " SV_FMT ", %s", side, SV_ARG(m->text->type),
                  SV_ARG(sv_sub(m->text->proto, 0, 40)), why);
    return w->rc ? w->rc : ERR_DENIED;
}

enum err offer_key_caller(struct offer_why *w, const struct offer_media *m, enum offer_srtp srtp,
                          const struct offer_ours *ours, const struct offer_ours_media *mine,
                          struct offer_keyed *ret)
{
    *ret = (struct offer_keyed){.keying = OFFER_PLAIN};
    if (srtp == OFFER_SRTP_NEVER)
        return m->secure ? deny(w, "caller", m, "but SRTP is not to be used here") : ERR_OK;
    bool dtls = m->fingerprints_n > 0 && ours->fingerprint.n > 0;
    const struct offer_key *theirs = NULL, *key = NULL;
    for (unsigned i = 0; i < m->cryptos_n && !key; i++) {
        theirs = &m->cryptos[i];
        key = offer_key_of(mine, theirs->suite);
    }
    /* RTP/SAVP means SDES where it can; best effort (RFC 8643) means the strongest */
    if (key && !m->dtls_only && (m->secure || !dtls)) {
        use_key(ret, theirs, key);
    } else if (dtls) {
        ret->keying = OFFER_DTLS;
        ret->setup = answered_role(m, ours->setup);
    } else if (m->secure) {
        return deny(w, "caller", m, "without a key or fingerprint that we can use");
    } else if (srtp == OFFER_SRTP_REQUIRE) {
        return deny(w, "caller", m, "without a key, but SRTP is required");
    }
    return ERR_OK;
}

static enum err misfit(struct offer_why *w, const struct offer_media *m, const char *why)
{
    enum err rc = deny(w, "callee", m, why);
    return rc == ERR_DENIED ? ERR_SYNTAX : rc;
}

/* RFC 4568 §5.1.3: one of the offered suites with its tag. By another tag it is still that suite's key. */
static const struct offer_key *answered_crypto(const struct offer_media *passed,
                                               const struct offer_media *answer,
                                               const struct offer_ours_media *mine)
{
    for (unsigned i = 0; i < answer->cryptos_n; i++)
        for (unsigned k = 0; k < passed->cryptos_n; k++)
            if (passed->cryptos[k].suite == answer->cryptos[i].suite &&
                offer_key_of(mine, answer->cryptos[i].suite))
                return &answer->cryptos[i];
    return NULL;
}

/* RFC 4145 §4: an answer that does not say is passive. Phones exist that say in each answer what they offered once
 * (actpass, which RFC 8842 §5.3 forbids in an answer): an association that stands, or is being made, keeps its roles. */
static enum sdp_setup role_of_answer(const struct offer_media *answer, enum sdp_setup fixed)
{
    enum sdp_setup said = answer->setup_said ? answer->setup : SDP_PASSIVE;
    if (said == SDP_ACTIVE)
        return SDP_PASSIVE;
    if (answer->setup_said && said == SDP_PASSIVE)
        return SDP_ACTIVE;
    return fixed == SDP_PASSIVE ? SDP_PASSIVE : SDP_ACTIVE;
}

enum err offer_key_callee(struct offer_why *w, const struct offer_media *passed,
                          const struct offer_media *answer, enum offer_srtp srtp,
                          const struct offer_ours *ours, const struct offer_ours_media *mine,
                          struct offer_keyed *ret)
{
    *ret = (struct offer_keyed){.keying = OFFER_PLAIN};
    const struct offer_key *theirs = answered_crypto(passed, answer, mine);
    bool dtls = passed->fingerprints_n > 0 && answer->fingerprints_n > 0;
    if (dtls && (passed->dtls_only || answer->dtls_only || !theirs)) {
        ret->keying = OFFER_DTLS;
        ret->setup = role_of_answer(answer, ours->setup);
    } else if (theirs && !passed->dtls_only) {
        use_key(ret, theirs, offer_key_of(mine, theirs->suite));
    } else if (passed->secure || answer->secure) {
        return misfit(w, answer, "without a key or fingerprint that was asked for");
    } else if (answer->cryptos_n + answer->cryptos_lost > 0) {
        return misfit(w, answer, "with a key that was not offered");
    } else if (srtp == OFFER_SRTP_REQUIRE) {
        return deny(w, "callee", answer, "without a key, but SRTP is required");
    }
    return ERR_OK;
}
