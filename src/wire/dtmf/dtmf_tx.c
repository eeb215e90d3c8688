/* SPDX-License-Identifier: MIT */
/* dtmf/dtmf_tx.c: keys into a stream (RFC 4733 §2.5.1).
 *
 *             a key waits                    it is over               twice more
 *    IDLE  ---------------->  ON  ------------------------>  ENDING  ----------->  PAUSE --> IDLE
 *                             ^ \ the longest duration
 *                  twice more |  '-----> SEGMENT
 *                             '-------------' */
#include "dtmf/dtmf.h"

enum { IDLE, ON, SEGMENT, ENDING, PAUSE };
enum { REPEATS = 2 /* §2.5.1.4: "a total of three times" */ };

static uint32_t units(const struct dtmf_tx *tx, uint32_t ms)
{
    return (uint32_t)((uint64_t)tx->clock_hz * ms / 1000);
}

void dtmf_tx_init(struct dtmf_tx *tx, uint32_t clock_hz, unsigned step_ms)
{
    *tx = (struct dtmf_tx){.clock_hz = clock_hz};
    tx->step = units(tx, step_ms);
}

static enum err queue(struct dtmf_tx *tx, const struct dtmf_key *key)
{
    if (tx->queue_n == DTMF_QUEUE_MAX)
        return ERR_TOOBIG;
    tx->queue[tx->queue_n++] = *key;
    return ERR_OK;
}

static uint8_t volume_of(uint8_t volume)
{
    return volume < DTMF_VOLUME_MAX ? volume : DTMF_VOLUME_MAX;
}

enum err dtmf_tx_play(struct dtmf_tx *tx, uint8_t event, uint8_t volume, uint32_t ms)
{
    if (ms == 0)
        ms = DTMF_USUAL_MS;
    if (ms < DTMF_SHORTEST_MS)
        ms = DTMF_SHORTEST_MS;
    if (ms > DTMF_LONGEST_MS)
        ms = DTMF_LONGEST_MS;
    return queue(tx, &(struct dtmf_key){event, volume_of(volume), units(tx, ms)});
}

enum err dtmf_tx_start(struct dtmf_tx *tx, uint8_t event, uint8_t volume)
{
    return queue(tx, &(struct dtmf_key){event, volume_of(volume), 0});
}

static bool is_down(const struct dtmf_tx *tx)
{
    return tx->state == ON || tx->state == SEGMENT;
}

void dtmf_tx_stop(struct dtmf_tx *tx)
{
    if (is_down(tx) && tx->key.length == 0 && !tx->stop) {
        tx->stop = true;
        return;
    }
    for (unsigned i = 0; i < tx->queue_n; i++) {
        if (tx->queue[i].length == 0) { /* let go before its turn came */
            tx->queue[i].length = units(tx, DTMF_USUAL_MS);
            return;
        }
    }
}

bool dtmf_tx_busy(const struct dtmf_tx *tx)
{
    return tx->queue_n > 0 || is_down(tx) || tx->state == ENDING;
}

static void take_key(struct dtmf_tx *tx, uint32_t ts_now)
{
    tx->key = tx->queue[0];
    tx->queue_n--;
    memmove(tx->queue, tx->queue + 1, tx->queue_n * sizeof tx->queue[0]);
    tx->state = ON;
    tx->marker = true;
    tx->stop = false;
    tx->ts = tx->begun = ts_now;
}

/* How long the key is down at the end of this tick, and whether that is all. */
static bool is_over(const struct dtmf_tx *tx, uint32_t ts_now, uint32_t *ret_total)
{
    uint32_t total = ts_now - tx->begun + tx->step;
    bool over = tx->key.length ? total >= tx->key.length
                               : total >= units(tx, tx->stop ? DTMF_SHORTEST_MS : DTMF_LONGEST_MS);
    *ret_total = over && tx->key.length ? tx->key.length : total;
    return over;
}

/* What the key's packet says now. */
static void hold(struct dtmf_tx *tx, uint32_t ts_now)
{
    uint32_t total, duration;
    bool over = is_over(tx, ts_now, &total);
    duration = tx->begun + total - tx->ts;
    tx->left = REPEATS;
    if (duration > DTMF_DURATION_MAX) { /* §2.5.1.3 */
        tx->state = SEGMENT;
        duration = DTMF_DURATION_MAX;
    } else if (over) {
        tx->state = ENDING;
        tx->ended = tx->begun + total;
    }
    tx->duration = (uint16_t)duration;
}

/* The stream's clock may have gone on for days, or been set anew. */
static bool pause_is_over(const struct dtmf_tx *tx, uint32_t ts_now)
{
    int32_t since = (int32_t)(ts_now - tx->ended);
    return since >= (int32_t)units(tx, DTMF_PAUSE_MS) ||
           since < -(int32_t)units(tx, DTMF_LONGEST_MS);
}

bool dtmf_tx_tick(struct dtmf_tx *tx, uint32_t ts_now, struct dtmf_out *ret_out)
{
    if (tx->state == PAUSE && pause_is_over(tx, ts_now))
        tx->state = IDLE;
    if (tx->state == IDLE && tx->queue_n > 0)
        take_key(tx, ts_now);
    if (tx->state == IDLE || tx->state == PAUSE)
        return false;
    if (tx->state == ON)
        hold(tx, ts_now);
    else
        tx->left--;
    *ret_out = (struct dtmf_out){
        tx->ts,
        tx->marker,
        {tx->key.event, tx->state == ENDING, tx->key.volume, tx->duration},
    };
    tx->marker = false;
    if (tx->left == 0 && tx->state == ENDING)
        tx->state = PAUSE;
    if (tx->left == 0 && tx->state == SEGMENT) {
        tx->state = ON;
        tx->ts += DTMF_DURATION_MAX;
    }
    return true;
}
