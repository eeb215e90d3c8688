/* SPDX-License-Identifier: MIT */
/* metrics/metrics.h: the workers' counters in the Prometheus text format.       layer: app
 *
 * Spec    text format 0.0.4. Names and helps from base/stat's tables; labels of bounded kinds only.
 * Threads any: counters are read with relaxed atomics.
 */
#ifndef METRICS_METRICS_H
#define METRICS_METRICS_H
#include "loop/loop.h"

struct metrics_extra {
    const char *version;
    bool reload_ok; /* tandem_config_reload_success */
    usec started;   /* wall */
    /* wall; 0: no certificate. tandem_tls_certificate_expiry_timestamp_seconds */
    usec certificate_expires;
};
void metrics_print(const struct loop_group *g, const struct metrics_extra *x, struct buf *b);

#endif
