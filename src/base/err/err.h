/* SPDX-License-Identifier: MIT */
/* err/err.h: the one error type.                                                layer: base
 *
 * Shape   functions that can fail return enum err; detail travels in reterr_ out-parameters.
 * Rule    errno and library codes are converted where they appear (net, store) and go no further.
 * Threads any. No globals.
 */
#ifndef ERR_ERR_H
#define ERR_ERR_H

#define ERR_LIST(X)                                     \
    X(OK, "success")                                    \
    X(NOMEM, "out of memory or over a configured cap")  \
    X(MORE, "valid prefix; more octets needed")         \
    X(SYNTAX, "input violates the grammar")             \
    X(TOOBIG, "input or result over its limit")         \
    X(RANGE, "number outside its range")                \
    X(STATE, "call not allowed in this state")          \
    X(TIMEOUT, "no answer in time")                     \
    X(NOTFOUND, "no such thing")                        \
    X(EXISTS, "already there")                          \
    X(DENIED, "not permitted")                          \
    X(REFUSED, "refused by the peer")                   \
    X(CLOSED, "closed by the peer")                     \
    X(UNREACHABLE, "no route or no such host")          \
    X(BUSY, "in use or over capacity; try again later") \
    X(IO, "input or output failed")                     \
    X(CORRUPT, "stored data fails its checks")          \
    X(UNSUPPORTED, "understood but not supported")      \
    X(CANCELLED, "cancelled by the caller")             \
    X(AUTH, "identity not proven")

enum err {
#define X(name, text) ERR_##name,
    ERR_LIST(X)
#undef X
        ERR_COUNT
};

/* The text of rc, for people. Never NULL. */
const char *err_text(enum err rc);
/* The name of rc without ERR_, for logs and metrics. Never NULL. */
const char *err_name(enum err rc);

#define MUST_USE __attribute__((warn_unused_result))
#define TRY(expr)              \
    do {                       \
        enum err rc_ = (expr); \
        if (rc_)               \
            return rc_;        \
    } while (0)

#endif
