/* SPDX-License-Identifier: MIT */
/* figures/figures.h: how a call's media went, in words and figures.                layer: services
 *
 * Shape   one JSON object of a call, for those who look at it while it stands and for its record:
 *           {"media": "relay" | "direct" | "here", "why": [TEXT], "caller": HEARS, "callee": HEARS, "lines": [LINE]}
 *         media   relay: through us; direct: not, so that nothing is known of it; here: it ends at this server
 *         why     what was decided, the reason for the way first
 *         HEARS   of the first line that has sound, what this side hears; left out where nothing can be judged:
 *                   {"mos", "worst_mos", "packets", "lost", "loss", "jitter", "round_trip"}
 *                 loss is a share (late packets are lost, too), times are seconds, round_trip is from end to end,
 *                 0: not known
 *         LINE    of each m= line: {"kind", "caller": WAY, "callee": WAY}: what each of them hears
 *         WAY     {"codec", "packets", "lost", "late", "loss", "jitter", "round_trip", "mos", "worst_mos", "reported",
 *                  "received": {"codec", "packets", "lost", "jitter", "octets", "keys", "foreign", "refused"},
 *                  "interval": {"packets", "lost", "loss", "jitter", "mos"}, "address"}
 *                 reported: the listener says so itself (RTCP), else it is what arrived here. received: what arrived
 *                 here from who speaks, of the keys that it has toward us: plain, sdes or dtls. Of a live call
 *                 only: interval: the last seconds; address: where who speaks is.
 * Limits  FIGURES_RECORD_MAX octets of a record; lines that do not fit are counted in "more". Reasons likewise.
 * Threads the worker's whose call it is. */
#ifndef FIGURES_FIGURES_H
#define FIGURES_FIGURES_H
#include "accounting/accounting.h"
#include "anchor/anchor.h"
#include "settings/settings.h"

enum { FIGURES_RECORD_MAX = ACCOUNTING_MEDIA_MAX, FIGURES_LIVE_MAX = 16384 };

/* Of a call that never stood nothing is written. a NULL: media never passes through us.
 *   live  as it is now; else as a record keeps it */
void figures_put(struct buf *b, struct anchor *a, const struct settings *set,
                 const struct call_view *c, bool live);

#endif
