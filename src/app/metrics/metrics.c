/* SPDX-License-Identifier: MIT */
/* The workers' counters as Prometheus text. */
#include "metrics/metrics.h"
#include "mem/mem.h"
#include "sipmsg/sipmsg.h"

static void head(struct buf *b, const char *name, const char *help, const char *type)
{
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_requests(const struct loop_group *g, struct buf *b)
{
    static const char name[] = "tandem_sip_requests_total";
    head(b, name, "SIP requests received", "counter");
    for (unsigned m = 0; m < SIP_METHODS && m < STAT_METHODS; m++) {
        for (unsigned t = 0; t < STAT_TRANSPORTS; t++) {
            uint64_t sum = 0;
            for (unsigned w = 0; w < g->n; w++)
                sum +=
                    atomic_load_explicit(&g->loop[w]->stats.requests[m][t], memory_order_relaxed);
            if (!sum)
                continue;
            sv method = m == SIP_EXTENSION ? SV("other") : sip_method_name((enum sip_method)m);
            sv transport = sip_transport_name((enum sip_transport)t);
            buf_printf(b, "%s{method=\"" SV_FMT "\",transport=\"", name, SV_ARG(method));
            for (size_t i = 0; i < transport.n; i++)
                buf_char(b, sv_lower(transport.p[i]));
            buf_printf(b, "\"} %llu\n", (unsigned long long)sum);
        }
    }
}

/* How the requests are spread over the workers: 1 is even, the number of workers is all on one. */
static void print_placement(const struct loop_group *g, struct buf *b)
{
    static const char name[] = "tandem_worker_requests_total", skew[] = "tandem_placement_skew";
    uint64_t all = 0, most = 0;
    head(b, name, "SIP requests received by each worker", "counter");
    for (unsigned w = 0; w < g->n; w++) {
        uint64_t sum = 0;
        for (unsigned m = 0; m < STAT_METHODS; m++)
            for (unsigned t = 0; t < STAT_TRANSPORTS; t++)
                sum +=
                    atomic_load_explicit(&g->loop[w]->stats.requests[m][t], memory_order_relaxed);
        buf_printf(b, "%s{worker=\"%u\"} %llu\n", name, w, (unsigned long long)sum);
        all += sum;
        most = sum > most ? sum : most;
    }
    head(b, skew, "Requests of the busiest worker beside the mean of all", "gauge");
    buf_printf(b, "%s %.3f\n", skew, all ? (double)most * g->n / (double)all : 1.0);
}

static void print_refusals(const struct loop_group *g, struct buf *b)
{
    static const char name[] = "tandem_limit_refusals_total";
    head(b, name, "Refusals because of a limit", "counter");
    for (unsigned i = 0; i < STAT_LIMIT_COUNT; i++) {
        uint64_t sum = 0;
        for (unsigned w = 0; w < g->n; w++)
            sum += atomic_load_explicit(&g->loop[w]->stats.refusals[i], memory_order_relaxed);
        buf_printf(b, "%s{limit=\"%s\"} %llu\n", name, stat_limit_label((enum stat_limit)i),
                   (unsigned long long)sum);
    }
}

static void print_turn(const struct loop_group *g, struct buf *b)
{
    static const char name[] = "tandem_turn_refusals_total";
    head(b, name, "What the TURN server refused, and what it dropped instead of relaying it",
         "counter");
    for (unsigned i = 0; i < STAT_TURN_COUNT; i++) {
        uint64_t sum = 0;
        for (unsigned w = 0; w < g->n; w++)
            sum += atomic_load_explicit(&g->loop[w]->stats.turn[i], memory_order_relaxed);
        buf_printf(b, "%s{reason=\"%s\"} %llu\n", name, stat_turn_label((enum stat_turn)i),
                   (unsigned long long)sum);
    }
}

struct histogram {
    const char *name, *help;
    const double *bounds; /* n; the last is +Inf */
    unsigned n;
};

/* counts: of each bucket, by itself. The count is what the buckets hold: the workers' own may have moved on
 * meanwhile. */
static void print_histogram(struct buf *b, const struct histogram *h, const uint64_t *counts,
                            double sum)
{
    uint64_t total = 0;
    head(b, h->name, h->help, "histogram");
    for (unsigned i = 0; i < h->n; i++) {
        total += counts[i];
        if (i + 1 < h->n)
            buf_printf(b, "%s_bucket{le=\"%g\"} %llu\n", h->name, h->bounds[i],
                       (unsigned long long)total);
        else
            buf_printf(b, "%s_bucket{le=\"+Inf\"} %llu\n", h->name, (unsigned long long)total);
    }
    buf_printf(b, "%s_sum %.6f\n%s_count %llu\n", h->name, sum, h->name, (unsigned long long)total);
}

static void print_setup(const struct loop_group *g, struct buf *b)
{
    static const struct histogram h = {"tandem_call_setup_seconds", "From INVITE to its 2xx",
                                       stat_setup_bounds_s, STAT_SETUP_BUCKETS};
    uint64_t counts[STAT_SETUP_BUCKETS] = {0}, us = 0;
    for (unsigned w = 0; w < g->n; w++) {
        for (unsigned i = 0; i < h.n; i++)
            counts[i] += atomic_load_explicit(&g->loop[w]->stats.setup[i], memory_order_relaxed);
        us += atomic_load_explicit(&g->loop[w]->stats.setup_sum_us, memory_order_relaxed);
    }
    print_histogram(b, &h, counts, (double)us / 1e6);
}

static void print_mos(const struct loop_group *g, struct buf *b)
{
    static const struct histogram h = {
        "tandem_call_mos", "What each direction of a relayed call was like (ITU-T G.107), 1 to 4.5",
        stat_mos_bounds, STAT_MOS_BUCKETS};
    uint64_t counts[STAT_MOS_BUCKETS] = {0}, milli = 0;
    for (unsigned w = 0; w < g->n; w++) {
        for (unsigned i = 0; i < h.n; i++)
            counts[i] += atomic_load_explicit(&g->loop[w]->stats.mos[i], memory_order_relaxed);
        milli += atomic_load_explicit(&g->loop[w]->stats.mos_sum_milli, memory_order_relaxed);
    }
    print_histogram(b, &h, counts, (double)milli / 1e3);
}

static void print_memory(struct buf *b, size_t allocated)
{
    static const char name[] = "tandem_memory_allocated_bytes",
                      regions[] = "tandem_memory_regions_bytes";
    head(b, name,
         "Memory that tables, touched or not, and what stands have; without libraries', and what "
         "is kept for reuse",
         "gauge");
    buf_printf(b, "%s %zu\n", name, allocated);
    head(b, regions, "Memory that objects and messages are cut from; it grows in steps and is kept",
         "gauge");
    buf_printf(b, "%s %zu\n", regions, mem_regions());
}

void metrics_print(const struct loop_group *g, const struct metrics_extra *x, struct buf *b)
{
    size_t allocated = mem_allocated(); /* b is none of it yet */
    for (unsigned i = 0; i < STAT_COUNT; i++) {
        enum stat_id id = (enum stat_id)i;
        head(b, stat_name(id), stat_help(id),
             stat_kind(id) == STAT_KIND_GAUGE ? "gauge" : "counter");
        buf_printf(b, "%s %lld\n", stat_name(id), (long long)loop_stat(g, id));
    }
    print_requests(g, b);
    print_placement(g, b);
    print_refusals(g, b);
    print_turn(g, b);
    print_setup(g, b);
    print_mos(g, b);
    print_memory(b, allocated);
    head(b, "tandem_config_reload_success", "Whether the last reload took effect", "gauge");
    buf_printf(b, "tandem_config_reload_success %d\n", x->reload_ok);
    if (x->certificate_expires) {
        static const char expiry[] = "tandem_tls_certificate_expiry_timestamp_seconds";
        head(b, expiry, "When the first of our certificates expires", "gauge");
        buf_printf(b, "%s %lld\n", expiry, (long long)(x->certificate_expires / USEC_S));
    }
    head(b, "process_start_time_seconds", "When this process started", "gauge");
    buf_printf(b, "process_start_time_seconds %.3f\n", (double)x->started / 1e6);
    head(b, "tandem_build_info", "The version that runs", "gauge");
    buf_printf(b, "tandem_build_info{version=\"%s\"} 1\n", x->version);
}
