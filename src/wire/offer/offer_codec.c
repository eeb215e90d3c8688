/* SPDX-License-Identifier: MIT */
/* offer/offer_codec.c: what a codec is, and when two are one.
 *
 * Spec RFC 3551 §6, 3264 §6.1; fmtp that tells formats apart: 6184 §8.2.2 (H.264), 7798 §7.2.2 (H.265), 9628 §6
 * (VP9), 4867 §8.3 (AMR), 5577 (G.722.1). */
#include "offer/offer.h"

#include "offer/offer_priv.h"

void offer_codec_identify(struct offer_codec *c)
{
    static const struct {
        const char *name;
        enum offer_codec_id id;
        uint32_t clock_hz; /* 0: any */
    } names[] = {
        {"PCMU", CODEC_PCMU, 8000},  {"PCMA", CODEC_PCMA, 8000},
        {"G722", CODEC_G722, 8000}, /* RFC 3551 §4.5.2: samples 16000, counts 8000 */
        {"opus", CODEC_OPUS, 48000}, {"L16", CODEC_L16, 0},
        {"CN", CODEC_CN, 0},         {"telephone-event", CODEC_EVENT, 0},
        {"red", CODEC_RED, 0},       {"rtx", CODEC_RTX, 0},
        {"ulpfec", CODEC_FEC, 0},    {"parityfec", CODEC_FEC, 0},
        {"flexfec", CODEC_FEC, 0},   {"flexfec-03", CODEC_FEC, 0},
    };
    c->id = CODEC_OTHER;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (sv_ieq(c->name, sv_of(names[i].name)) &&
            (names[i].clock_hz == 0 || names[i].clock_hz == c->clock_hz))
            c->id = names[i].id;
    if (c->channels > 1 && (c->id == CODEC_PCMU || c->id == CODEC_PCMA || c->id == CODEC_G722))
        c->id = CODEC_OTHER;
}

bool offer_codec_is_main(const struct offer_codec *c)
{
    switch (c->id) {
    case CODEC_CN:
    case CODEC_EVENT:
    case CODEC_RED:
    case CODEC_RTX:
    case CODEC_FEC:
        return false;
    case CODEC_OTHER:
    case CODEC_PCMU:
    case CODEC_PCMA:
    case CODEC_G722:
    case CODEC_OPUS:
    case CODEC_L16:
        break;
    }
    return true;
}

bool offer_codec_can(const struct offer_codec *c)
{
    switch (c->id) {
    case CODEC_PCMU:
    case CODEC_PCMA:
    case CODEC_G722:
    case CODEC_OPUS:
        return true;
    case CODEC_L16:
        return c->channels == 1 &&
               (c->clock_hz == 8000 || c->clock_hz == 16000 || c->clock_hz == 48000);
    case CODEC_OTHER:
    case CODEC_CN:
    case CODEC_EVENT:
    case CODEC_RED:
    case CODEC_RTX:
    case CODEC_FEC:
        break;
    }
    return false;
}

/* ---- sameness ---- */

/* The fmtp parameters that tell formats of one name apart, and what they are when they are not there. Of
 * profile-level-id the first two octets: the third is a level, which an answer may lower. */
static const struct trait {
    const char *codec, *name, *absent;
    size_t digits; /* that count; 0: all */
} traits[] = {
    {"H264", "packetization-mode", "0", 0},
    {"H264", "profile-level-id", "4200", 4},
    {"H265", "profile-id", "1", 0},
    {"VP9", "profile-id", "0", 0},
    {"AV1", "profile", "0", 0},
    {"AMR", "octet-align", "0", 0},
    {"AMR", "crc", "0", 0},
    {"AMR", "robust-sorting", "0", 0},
    {"AMR-WB", "octet-align", "0", 0},
    {"AMR-WB", "crc", "0", 0},
    {"AMR-WB", "robust-sorting", "0", 0},
    {"G7221", "bitrate", "", 0},
};

static sv trait_of(const struct offer_codec *c, const struct trait *t)
{
    sv rest = c->fmtp, name, value, found = sv_of(t->absent);
    while (sdp_fmtp_next(&rest, &name, &value))
        if (sv_ieq(name, sv_of(t->name)))
            found = value;
    return t->digits ? sv_sub(found, 0, t->digits) : found;
}

static bool same_traits(const struct offer_codec *a, const struct offer_codec *b)
{
    for (size_t i = 0; i < sizeof traits / sizeof traits[0]; i++)
        if (sv_ieq(a->name, sv_of(traits[i].codec)) &&
            !sv_ieq(trait_of(a, &traits[i]), trait_of(b, &traits[i])))
            return false;
    return true;
}

bool offer_codec_same_name(const struct offer_codec *a, const struct offer_codec *b)
{
    /* RFC 7587 §7: always two channels, which some forget to write */
    return a->id == b->id && sv_ieq(a->name, b->name) && a->clock_hz == b->clock_hz &&
           (a->channels == b->channels || a->id == CODEC_OPUS);
}

/* Patient in the end: one who answers with another payload type and another profile of a format that was offered once
 * means that one. */
const struct offer_codec *offer_codec_find(const struct offer_codec *list, unsigned n,
                                           const struct offer_codec *c)
{
    const struct offer_codec *best = NULL;
    int best_fit = 0;
    for (unsigned i = 0; i < n; i++) {
        if (!offer_codec_same_name(&list[i], c))
            continue;
        int fit = 1 + (list[i].pt == c->pt) + (same_traits(&list[i], c) ? 2 : 0);
        if (fit > best_fit) {
            best = &list[i];
            best_fit = fit;
        }
    }
    return best;
}

const struct offer_codec *offer_codec_pt(const struct offer_codec *list, unsigned n, unsigned pt)
{
    for (unsigned i = 0; i < n; i++)
        if (list[i].pt == pt)
            return &list[i];
    return NULL;
}
