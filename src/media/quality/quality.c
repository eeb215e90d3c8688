/* SPDX-License-Identifier: MIT */
/* The E-model with what a server can know: delay, loss, codec. */
#include "quality/quality.h"

const struct quality_codec quality_g711 = {0, 25.1};
const struct quality_codec quality_g722 = {0, 20.0};
const struct quality_codec quality_opus = {0, 20.0};
const struct quality_codec quality_unknown = {10, 15.0};

enum { BEST = 932 /* tenths: R0 - Is with default values, G.107 Table 2 */, IE_WORST = 95 };
/* From here on delay disturbs conversation itself. */
#define DELAY_DISTURBS_MS 177.3

static double clamp(double v, double from, double to)
{
    if (!(v >= from)) /* also: not a number */
        return from;
    return v > to ? to : v;
}

/* Id, as G.107's curve is approximated where echo is cancelled. */
static double delay_impairment(double ms)
{
    double id = 0.024 * ms;
    if (ms > DELAY_DISTURBS_MS)
        id += 0.11 * (ms - DELAY_DISTURBS_MS);
    return id;
}

/* Ie,eff (G.107 §7.5, equation 7-29). */
static double loss_impairment(const struct quality_codec *c, double loss, double burst)
{
    double percent = 100 * loss;
    if (percent <= 0)
        return c->ie;
    return c->ie + (IE_WORST - c->ie) * percent / (percent / burst + c->bpl);
}

double quality_rating(const struct quality_codec *c, const struct quality_figures *f)
{
    double id = delay_impairment(clamp(f->one_way_ms, 0, 1e6));
    double ie = loss_impairment(c, clamp(f->loss, 0, 1), clamp(f->burst, 1, 1e3));
    return clamp(BEST / 10.0 - id - ie, 0, BEST / 10.0);
}

double quality_mos(double rating)
{
    double r = clamp(rating, 0, 100);
    double mos = 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6;
    return clamp(mos, 1, 4.5); /* the polynomial dips below 1 for ratings under 7 */
}
