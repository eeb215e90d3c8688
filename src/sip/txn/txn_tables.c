/* SPDX-License-Identifier: MIT */
/* txn/txn_tables.c: RFC 3261 §17.1 and §17.2 as corrected by RFC 6026; nothing else is in here. */
#include "txn/txn_tables.h"

/* Nothing to do, stay. */
#define STAY(state)    \
    {                  \
        0, TXN_##state \
    }

const struct txn_cell
    txn_table[TXN_KINDS][TXN_STATES][TXN_EVENTS] =
        {
            /* RFC 6026 figure 5. */
            [TXN_ICT] =
                {
                    [TXN_CALLING] =
                        {
                            [TXN_RX_1XX] = {TXN_STOP | TXN_TELL, TXN_PROCEEDING},
                            [TXN_RX_2XX] = {TXN_STOP | TXN_ARM_M | TXN_TELL, TXN_ACCEPTED},
                            [TXN_RX_FAIL] = {TXN_STOP | TXN_SEND_ACK | TXN_ARM_D | TXN_TELL,
                                             TXN_COMPLETED},
                            [TXN_TIMER_A] = {TXN_SEND | TXN_ARM_A, TXN_CALLING},
                            [TXN_TIMER_B] = {TXN_STOP | TXN_LEAVE_TIMEOUT, TXN_GONE},
                            [TXN_TX_ERROR] = {TXN_STOP | TXN_LEAVE_ERROR, TXN_GONE},
                            [TXN_CANCEL] = {TXN_WANT_CANCEL, TXN_CALLING},
                            /* RFC 3263 §4.3: another server has it now. Timer B ends the wait. */
                            [TXN_GIVE_UP] = {TXN_STOP_RETRY | TXN_WANT_CANCEL, TXN_CALLING},
                        },
                    [TXN_PROCEEDING] =
                        {
                            [TXN_RX_1XX] = {TXN_TELL, TXN_PROCEEDING},
                            [TXN_RX_2XX] = {TXN_STOP | TXN_ARM_M | TXN_TELL, TXN_ACCEPTED},
                            [TXN_RX_FAIL] = {TXN_STOP | TXN_SEND_ACK | TXN_ARM_D | TXN_TELL,
                                             TXN_COMPLETED},
                            /* The peer has the request and answers over a new connection if it must
                               (§18.2.2). */
                            [TXN_TX_ERROR] = STAY(PROCEEDING),
                            [TXN_CANCEL] = {TXN_SEND_CANCEL | TXN_ARM_X, TXN_PROCEEDING},
                            [TXN_GIVE_UP] = {TXN_SEND_CANCEL | TXN_ARM_X, TXN_PROCEEDING},
                            [TXN_TIMER_X] = {TXN_STOP | TXN_LEAVE_TIMEOUT, TXN_GONE},
                        },
                    [TXN_ACCEPTED] =
                        {
                            [TXN_RX_1XX] = STAY(ACCEPTED),
                            [TXN_RX_2XX] = {TXN_TELL, TXN_ACCEPTED},
                            [TXN_RX_FAIL] = STAY(ACCEPTED),
                            [TXN_TX_ERROR] = STAY(ACCEPTED),
                            [TXN_CANCEL] = STAY(ACCEPTED),
                            [TXN_GIVE_UP] = STAY(ACCEPTED),
                            [TXN_TIMER_M] = {TXN_STOP | TXN_LEAVE, TXN_GONE},
                        },
                    [TXN_COMPLETED] =
                        {
                            [TXN_RX_1XX] = STAY(COMPLETED),
                            [TXN_RX_2XX] = STAY(COMPLETED),
                            [TXN_RX_FAIL] = {TXN_SEND_ACK, TXN_COMPLETED},
                            [TXN_TX_ERROR] = {TXN_STOP | TXN_LEAVE_ERROR, TXN_GONE},
                            [TXN_CANCEL] = STAY(COMPLETED),
                            [TXN_GIVE_UP] = STAY(COMPLETED),
                            [TXN_TIMER_D] = {TXN_STOP | TXN_LEAVE, TXN_GONE},
                        },
                },
            /* RFC 3261 figure 6. */
            [TXN_NICT] =
                {
                    [TXN_TRYING] =
                        {
                            [TXN_RX_1XX] = {TXN_TELL, TXN_PROCEEDING},
                            [TXN_RX_2XX] = {TXN_STOP | TXN_ARM_K | TXN_TELL, TXN_COMPLETED},
                            [TXN_RX_FAIL] = {TXN_STOP | TXN_ARM_K | TXN_TELL, TXN_COMPLETED},
                            [TXN_TIMER_E] = {TXN_SEND | TXN_ARM_E, TXN_TRYING},
                            [TXN_TIMER_F] = {TXN_STOP | TXN_LEAVE_TIMEOUT, TXN_GONE},
                            [TXN_TX_ERROR] = {TXN_STOP | TXN_LEAVE_ERROR, TXN_GONE},
                            [TXN_GIVE_UP] = {TXN_STOP_RETRY, TXN_TRYING},
                        },
                    [TXN_PROCEEDING] =
                        {
                            [TXN_RX_1XX] = {TXN_TELL, TXN_PROCEEDING},
                            [TXN_RX_2XX] = {TXN_STOP | TXN_ARM_K | TXN_TELL, TXN_COMPLETED},
                            [TXN_RX_FAIL] = {TXN_STOP | TXN_ARM_K | TXN_TELL, TXN_COMPLETED},
                            [TXN_TIMER_E] = {TXN_SEND | TXN_ARM_E_T2, TXN_PROCEEDING},
                            [TXN_TIMER_F] = {TXN_STOP | TXN_LEAVE_TIMEOUT, TXN_GONE},
                            [TXN_TX_ERROR] = {TXN_STOP | TXN_LEAVE_ERROR, TXN_GONE},
                            [TXN_GIVE_UP] = {TXN_STOP_RETRY, TXN_PROCEEDING},
                        },
                    [TXN_COMPLETED] =
                        {
                            [TXN_RX_1XX] = STAY(COMPLETED),
                            [TXN_RX_2XX] = STAY(COMPLETED),
                            [TXN_RX_FAIL] = STAY(COMPLETED),
                            [TXN_TX_ERROR] = STAY(COMPLETED),
                            [TXN_GIVE_UP] = STAY(COMPLETED),
                            [TXN_TIMER_K] = {TXN_STOP | TXN_LEAVE, TXN_GONE},
                        },
                },
            /* RFC 6026 figure 7. */
            [TXN_IST] =
                {
                    [TXN_PROCEEDING] =
                        {
                            [TXN_RX_REQUEST] = {TXN_SEND, TXN_PROCEEDING},
                            [TXN_RX_ACK] = STAY(PROCEEDING),
                            [TXN_RX_CANCEL] = {TXN_TELL, TXN_PROCEEDING},
                            [TXN_TX_1XX] = {TXN_STOP_RETRY | TXN_SEND, TXN_PROCEEDING},
                            [TXN_TX_2XX] = {TXN_STOP | TXN_SEND | TXN_ARM_L | TXN_ARM_2XX,
                                            TXN_ACCEPTED},
                            [TXN_TX_FAIL] = {TXN_STOP | TXN_SEND | TXN_ARM_G | TXN_ARM_H,
                                             TXN_COMPLETED},
                            [TXN_TIMER_100] = {TXN_SEND_100, TXN_PROCEEDING},
                            /* RFC 6026 §7.1: state is kept to absorb the INVITE. The user, being
                             * told, answers no more, so that only waiting out is left. */
                            [TXN_TX_ERROR] = {TXN_STOP | TXN_ARM_L | TXN_LEAVE_ERROR, TXN_ACCEPTED},
                        },
                    [TXN_ACCEPTED] =
                        {
                            [TXN_RX_REQUEST] = STAY(ACCEPTED),
                            /* "MUST be passed directly to the TU": only an ACK with the INVITE's
                               branch gets here. */
                            [TXN_RX_ACK] = {TXN_STOP_RETRY | TXN_TELL, TXN_ACCEPTED},
                            [TXN_RX_CANCEL] = STAY(ACCEPTED),
                            [TXN_TX_2XX] = {TXN_SEND, TXN_ACCEPTED},
                            [TXN_TIMER_2XX] = {TXN_SEND | TXN_ARM_2XX, TXN_ACCEPTED},
                            [TXN_TIMER_L] = {TXN_STOP | TXN_LEAVE, TXN_GONE},
                            [TXN_TX_ERROR] = {TXN_LEAVE_ERROR, TXN_ACCEPTED},
                        },
                    [TXN_COMPLETED] =
                        {
                            [TXN_RX_REQUEST] = {TXN_SEND, TXN_COMPLETED},
                            [TXN_RX_ACK] = {TXN_STOP | TXN_ARM_I, TXN_CONFIRMED},
                            [TXN_RX_CANCEL] = STAY(COMPLETED),
                            [TXN_TIMER_G] = {TXN_SEND | TXN_ARM_G, TXN_COMPLETED},
                            [TXN_TIMER_H] = {TXN_STOP | TXN_LEAVE_TIMEOUT, TXN_GONE},
                            [TXN_TX_ERROR] = {TXN_LEAVE_ERROR, TXN_COMPLETED},
                        },
                    [TXN_CONFIRMED] =
                        {
                            [TXN_RX_REQUEST] = STAY(CONFIRMED),
                            [TXN_RX_ACK] = STAY(CONFIRMED),
                            [TXN_RX_CANCEL] = STAY(CONFIRMED),
                            [TXN_TIMER_I] = {TXN_STOP | TXN_LEAVE, TXN_GONE},
                            [TXN_TX_ERROR] = STAY(CONFIRMED),
                        },
                },
            /* RFC 3261 figure 8; the 100 of RFC 4320 §4.1. */
            [TXN_NIST] =
                {
                    [TXN_TRYING] =
                        {
                            [TXN_RX_REQUEST] = STAY(TRYING),
                            [TXN_RX_CANCEL] = STAY(TRYING),
                            [TXN_TX_1XX] = {TXN_STOP | TXN_SEND, TXN_PROCEEDING},
                            [TXN_TX_2XX] = {TXN_STOP | TXN_SEND | TXN_ARM_J, TXN_COMPLETED},
                            [TXN_TX_FAIL] = {TXN_STOP | TXN_SEND | TXN_ARM_J, TXN_COMPLETED},
                            [TXN_TIMER_100] = {TXN_SEND_100, TXN_PROCEEDING},
                            [TXN_TX_ERROR] = STAY(TRYING),
                        },
                    [TXN_PROCEEDING] =
                        {
                            [TXN_RX_REQUEST] = {TXN_SEND, TXN_PROCEEDING},
                            [TXN_RX_CANCEL] = STAY(PROCEEDING),
                            [TXN_TX_1XX] = {TXN_SEND, TXN_PROCEEDING},
                            [TXN_TX_2XX] = {TXN_STOP | TXN_SEND | TXN_ARM_J, TXN_COMPLETED},
                            [TXN_TX_FAIL] = {TXN_STOP | TXN_SEND | TXN_ARM_J, TXN_COMPLETED},
                            [TXN_TX_ERROR] = {TXN_STOP | TXN_LEAVE_ERROR, TXN_GONE},
                        },
                    [TXN_COMPLETED] =
                        {
                            [TXN_RX_REQUEST] = {TXN_SEND, TXN_COMPLETED},
                            [TXN_RX_CANCEL] = STAY(COMPLETED),
                            [TXN_TIMER_J] = {TXN_STOP | TXN_LEAVE, TXN_GONE},
                            [TXN_TX_ERROR] = {TXN_STOP | TXN_LEAVE_ERROR, TXN_GONE},
                        },
                },
};

uint32_t txn_begin(enum txn_kind kind, uint8_t *ret_state)
{
    static const struct txn_cell begin[TXN_KINDS] = {
        [TXN_ICT] = {TXN_SEND | TXN_ARM_A | TXN_ARM_B, TXN_CALLING},
        [TXN_NICT] = {TXN_SEND | TXN_ARM_E | TXN_ARM_F, TXN_TRYING},
        [TXN_IST] = {TXN_ARM_100, TXN_PROCEEDING},
        [TXN_NIST] = {TXN_ARM_100, TXN_TRYING},
    };
    *ret_state = begin[kind].next;
    return begin[kind].todo;
}

uint32_t txn_step(enum txn_kind kind, uint8_t *state, enum txn_event ev)
{
    struct txn_cell c = txn_table[kind][*state][ev];
    if (c.next == TXN_UNSET)
        return TXN_BROKEN;
    *state = c.next;
    return c.todo;
}

bool txn_allows(enum txn_kind kind, uint8_t state, enum txn_event ev)
{
    return txn_table[kind][state][ev].next != TXN_UNSET;
}

const char *txn_kind_text(enum txn_kind kind)
{
    static const char *const text[] = {
#define X(id, text) text,
        TXN_KIND_LIST(X)
#undef X
    };
    return kind < TXN_KINDS ? text[kind] : "?";
}

const char *txn_state_text(enum txn_state state)
{
    static const char *const text[] = {
#define X(id, text) text,
        TXN_STATE_LIST(X)
#undef X
    };
    return state < TXN_STATES ? text[state] : "?";
}

const char *txn_event_text(enum txn_event ev)
{
    static const char *const text[] = {
#define X(id, text) text,
        TXN_EVENT_LIST(X)
#undef X
    };
    return ev < TXN_EVENTS ? text[ev] : "?";
}
