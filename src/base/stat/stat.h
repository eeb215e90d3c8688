/* SPDX-License-Identifier: MIT */
/* stat/stat.h: counters and gauges of one worker; tables in stat.def.           layer: base
 *
 * Shape   a struct stats per worker, written by it alone with relaxed atomics, read by anyone:
 *         the reader sums the workers. Families with labels are small arrays in the same struct.
 * Rule    labels are of bounded kinds: method, transport, limit; never a user, number or address.
 * Threads write: the owning worker; read: any.
 */
#ifndef STAT_STAT_H
#define STAT_STAT_H
#include <stdatomic.h>
#include <stdint.h>

enum stat_id {
#define X(id, name, kind, help) STAT_##id,
#include "stat/stat.def"
#undef X
    STAT_COUNT
};
enum stat_kind { STAT_KIND_COUNTER, STAT_KIND_GAUGE };

/* Why the TURN server refused a request, or dropped what it was to relay: X(id, label). */
#define STAT_TURN_LIST(X)                     \
    X(BAD_REQUEST, "bad_request")             \
    X(UNAUTHENTICATED, "unauthenticated")     \
    X(EXPIRED, "expired")                     \
    X(STALE_NONCE, "stale_nonce")             \
    X(WRONG_CREDENTIALS, "wrong_credentials") \
    X(RATE, "rate")                           \
    X(FORBIDDEN, "forbidden_peer")            \
    X(UNKNOWN_ATTRIBUTE, "unknown_attribute") \
    X(MISMATCH, "allocation_mismatch")        \
    X(FAMILY, "address_family")               \
    X(TRANSPORT, "transport")                 \
    X(QUOTA, "quota")                         \
    X(CAPACITY, "capacity")                   \
    X(CONNECTION, "connection")               \
    X(SERVER_ERROR, "server_error")           \
    X(NO_PERMISSION, "no_permission")         \
    X(NO_CHANNEL, "no_channel")               \
    X(NOT_SENT, "not_sent")                   \
    X(STREAMS, "streams")
enum stat_turn {
#define X(id, label) STAT_TURN_##id,
    STAT_TURN_LIST(X)
#undef X
        STAT_TURN_COUNT
};

enum {
    STAT_METHODS = 16,
    STAT_TRANSPORTS = 6,
    STAT_LIMITS = 32,
    STAT_SETUP_BUCKETS = 12,
    STAT_MOS_BUCKETS = 8
};

struct stats {
    _Atomic int64_t v[STAT_COUNT];
    _Atomic uint64_t requests[STAT_METHODS][STAT_TRANSPORTS]; /* tandem_sip_requests_total */
    _Atomic uint64_t refusals[STAT_LIMITS]; /* tandem_limit_refusals_total, by enum stat_limit */
    _Atomic uint64_t turn[STAT_TURN_COUNT]; /* tandem_turn_refusals_total, by enum stat_turn */
    _Atomic uint64_t setup[STAT_SETUP_BUCKETS]; /* tandem_call_setup_seconds: each call in one, by
                                                   stat_setup_bounds_s */
    _Atomic uint64_t setup_count, setup_sum_us;
    _Atomic uint64_t mos[STAT_MOS_BUCKETS]; /* tandem_call_mos: each direction of a call in one, by
                                               stat_mos_bounds */
    _Atomic uint64_t mos_count, mos_sum_milli;
};

/* Limits with a metric: X(id, label). A refusal because of a cap counts here. */
#define STAT_LIMIT_LIST(X)                      \
    X(MESSAGE_SIZE, "message_size")             \
    X(TRANSACTIONS, "transactions")             \
    X(CONTACTS, "contacts")                     \
    X(BINDINGS, "bindings")                     \
    X(BRANCHES, "branches")                     \
    X(CALLS, "calls")                           \
    X(ANSWERED, "answered")                     \
    X(CONNECTIONS, "connections")               \
    X(SOURCE_CONNECTIONS, "source_connections") \
    X(NEW_CONNECTIONS, "new_connections")       \
    X(HANDSHAKE, "handshake_time")              \
    X(MESSAGE_TIME, "message_time")             \
    X(ORIGIN, "origin")                         \
    X(DNS, "dns")                               \
    X(PUSH, "push")                             \
    X(STUN, "stun")                             \
    X(OVERLOAD, "overload")                     \
    X(WRITE_QUEUE, "write_queue")               \
    X(MAILBOX, "mailbox")                       \
    X(DIRECTORY, "call_directory")              \
    X(OFFLOAD, "offload")                       \
    X(KEEPALIVE, "keepalive")                   \
    X(MEDIA_PORTS, "media_ports")               \
    X(MEDIA_SESSIONS, "media_sessions")         \
    X(MEDIA_BANDWIDTH, "media_bandwidth")       \
    X(MEDIA_QUOTA, "media_quota")               \
    X(CONTROL, "control")                       \
    X(DTLS, "dtls")
enum stat_limit {
#define X(id, label) STAT_LIMIT_##id,
    STAT_LIMIT_LIST(X)
#undef X
        STAT_LIMIT_COUNT
};

extern const double stat_setup_bounds_s[STAT_SETUP_BUCKETS]; /* upper bounds; last is +Inf */
extern const double stat_mos_bounds[STAT_MOS_BUCKETS];       /* likewise */
const char *stat_name(enum stat_id id);
const char *stat_help(enum stat_id id);
enum stat_kind stat_kind(enum stat_id id);
const char *stat_limit_label(enum stat_limit id);
const char *stat_turn_label(enum stat_turn id);

static inline void stat_add(struct stats *s, enum stat_id id, int64_t d)
{
    atomic_store_explicit(&s->v[id], atomic_load_explicit(&s->v[id], memory_order_relaxed) + d,
                          memory_order_relaxed);
}
static inline void stat_inc(struct stats *s, enum stat_id id)
{
    stat_add(s, id, 1);
}
static inline int64_t stat_get(const struct stats *s, enum stat_id id)
{
    return atomic_load_explicit(&s->v[id], memory_order_relaxed);
}
static inline void stat_refuse(struct stats *s, enum stat_limit id)
{
    atomic_store_explicit(&s->refusals[id],
                          atomic_load_explicit(&s->refusals[id], memory_order_relaxed) + 1,
                          memory_order_relaxed);
}
static inline void stat_turn_refuse(struct stats *s, enum stat_turn id)
{
    atomic_store_explicit(&s->turn[id],
                          atomic_load_explicit(&s->turn[id], memory_order_relaxed) + 1,
                          memory_order_relaxed);
}
/* A call's set-up took so many microseconds (INVITE in to final 2xx out). */
void stat_setup_time(struct stats *s, int64_t us);
void stat_mos(struct stats *s, double mos); /* 1 to 4.5 */

#endif
