/* SPDX-License-Identifier: MIT */
/* txn/txn_tables.h: the four transaction machines as const tables.              layer: sip
 *
 * Spec    RFC 3261 §17 figures 5 to 8 with RFC 6026 figures 5 and 7.
 * Shape   one cell a state and event: what to do, and the next state. A cell nobody wrote has
 *         next == TXN_UNSET:
 *         txn_step returns TXN_BROKEN, and the driver ends that one transaction.
 *         What is no matter of state and event is the driver's input: on a reliable transport it
 *         does not arm A, E and G, and
 *         D, I, J, K last no time.
 * Threads any; pure.
 */
#ifndef TXN_TXN_TABLES_H
#define TXN_TXN_TABLES_H
#include <stdbool.h>
#include <stdint.h>

#define TXN_KIND_LIST(X)         \
    X(ICT, "INVITE client")      \
    X(NICT, "non-INVITE client") \
    X(IST, "INVITE server")      \
    X(NIST, "non-INVITE server")
enum txn_kind {
#define X(id, text) TXN_##id,
    TXN_KIND_LIST(X)
#undef X
        TXN_KINDS
};

#define TXN_STATE_LIST(X)       \
    X(UNSET, "unset")           \
    X(CALLING, "Calling")       \
    X(TRYING, "Trying")         \
    X(PROCEEDING, "Proceeding") \
    X(ACCEPTED, "Accepted")     \
    X(COMPLETED, "Completed")   \
    X(CONFIRMED, "Confirmed")   \
    X(GONE, "Terminated")
enum txn_state {
#define X(id, text) TXN_##id,
    TXN_STATE_LIST(X)
#undef X
        TXN_STATES
};

#define TXN_EVENT_LIST(X)                      \
    X(RX_1XX, "1xx arrives")                   \
    X(RX_2XX, "2xx arrives")                   \
    X(RX_FAIL, "300-699 arrives")              \
    X(RX_REQUEST, "the request arrives again") \
    X(RX_ACK, "ACK arrives")                   \
    X(RX_CANCEL, "CANCEL arrives")             \
    X(TX_1XX, "user sends 1xx")                \
    X(TX_2XX, "user sends 2xx")                \
    X(TX_FAIL, "user sends 300-699")           \
    X(TX_ERROR, "transport error")             \
    X(CANCEL, "user cancels")                  \
    X(GIVE_UP, "user asks elsewhere")          \
    X(TIMER_A, "Timer A")                      \
    X(TIMER_B, "Timer B")                      \
    X(TIMER_D, "Timer D")                      \
    X(TIMER_E, "Timer E")                      \
    X(TIMER_F, "Timer F")                      \
    X(TIMER_G, "Timer G")                      \
    X(TIMER_H, "Timer H")                      \
    X(TIMER_I, "Timer I")                      \
    X(TIMER_J, "Timer J")                      \
    X(TIMER_K, "Timer K")                      \
    X(TIMER_L, "Timer L")                      \
    X(TIMER_M, "Timer M")                      \
    X(TIMER_100, "time for a 100")             \
    X(TIMER_2XX, "time to repeat the 2xx")     \
    X(TIMER_X, "64*T1 after CANCEL")
enum txn_event {
#define X(id, text) TXN_##id,
    TXN_EVENT_LIST(X)
#undef X
        TXN_EVENTS
};

/* Effects. The driver performs them in this order: stop, send, arm, tell. */
enum txn_do {
    TXN_STOP_RETRY = 1 << 0,
    TXN_STOP_DEADLINE = 1 << 1,
    TXN_STOP = TXN_STOP_RETRY | TXN_STOP_DEADLINE,
    TXN_SEND = 1 << 2, /* the request; the last response */
    TXN_SEND_ACK = 1 << 3,
    TXN_SEND_CANCEL = 1 << 4,
    TXN_SEND_100 = 1 << 5,
    TXN_WANT_CANCEL = 1 << 6, /* §9.1: wait for a provisional response */
    TXN_ARM_A = 1 << 7,
    TXN_ARM_B = 1 << 8,
    TXN_ARM_D = 1 << 9,
    TXN_ARM_E = 1 << 10,
    TXN_ARM_E_T2 = 1 << 11, /* Timer E at T2 */
    TXN_ARM_F = 1 << 12,
    TXN_ARM_G = 1 << 13,
    TXN_ARM_H = 1 << 14,
    TXN_ARM_I = 1 << 15,
    TXN_ARM_J = 1 << 16,
    TXN_ARM_K = 1 << 17,
    TXN_ARM_L = 1 << 18,
    TXN_ARM_M = 1 << 19,
    TXN_ARM_100 = 1 << 20,
    TXN_ARM_2XX = 1 << 21, /* only when the user asked for it */
    TXN_ARM_X = 1 << 22,
    TXN_ARM_RETRY = TXN_ARM_A | TXN_ARM_E | TXN_ARM_E_T2 | TXN_ARM_G | TXN_ARM_100 | TXN_ARM_2XX,
    TXN_ARM_DEADLINE = TXN_ARM_B | TXN_ARM_D | TXN_ARM_F | TXN_ARM_H | TXN_ARM_I | TXN_ARM_J |
                       TXN_ARM_K | TXN_ARM_L | TXN_ARM_M | TXN_ARM_X,
    TXN_TELL = 1 << 23,  /* the response to the user; the ACK; the CANCEL */
    TXN_LEAVE = 1 << 24, /* on_gone: its course is run */
    TXN_LEAVE_TIMEOUT = 1 << 25,
    TXN_LEAVE_ERROR = 1 << 26,
    TXN_BROKEN = 1 << 27,
};

struct txn_cell {
    uint32_t todo;
    uint8_t next; /* enum txn_state */
};
extern const struct txn_cell txn_table[TXN_KINDS][TXN_STATES][TXN_EVENTS];

/* How a machine of kind begins: its first effects. */
uint32_t txn_begin(enum txn_kind kind, uint8_t *ret_state);
/* One step. TXN_BROKEN: no such cell; *state is as it was. */
uint32_t txn_step(enum txn_kind kind, uint8_t *state, enum txn_event ev);
/* The table has the cell: for what a user asks, where a missing one is his error. */
bool txn_allows(enum txn_kind kind, uint8_t state, enum txn_event ev);

const char *txn_kind_text(enum txn_kind kind);
const char *txn_state_text(enum txn_state state);
const char *txn_event_text(enum txn_event ev);

#endif
