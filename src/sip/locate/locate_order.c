/* SPDX-License-Identifier: MIT */
/* locate/locate_order.c: which record is tried first. Spec RFC 2782 (usage rules), RFC 3403 §4.1. */
#include "locate/locate_priv.h"

/* splitmix64 */
uint64_t locate_chance(uint64_t *seed)
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* One of the indices first..end-1, all of one priority, those of weight 0 first: "the running sum of
 * the weights ... select the RR whose running sum value is the first in the selected order which is
 * greater than or equal to the random number selected" between 0 and the sum, both included. */
static unsigned select_one(const struct locate_answer *a, const uint8_t *index, unsigned first,
                           unsigned end, uint64_t *seed)
{
    uint32_t sum = 0, running = 0;
    for (unsigned i = first; i < end; i++)
        sum += a->record[index[i]].weight;
    uint64_t chosen = locate_chance(seed) % ((uint64_t)sum + 1);
    for (unsigned i = first; i < end; i++) {
        running += a->record[index[i]].weight;
        if (running >= chosen)
            return i;
    }
    return first;
}

void locate_order_srv(const struct locate_answer *a, uint64_t *seed,
                      uint8_t ret_index[static LOCATE_RECORDS])
{
    for (unsigned i = 0; i < a->n; i++)
        ret_index[i] = (uint8_t)i;
    for (unsigned first = 0, end; first < a->n; first = end) {
        end = first + 1;
        while (end < a->n && a->record[end].order == a->record[first].order)
            end++;
        for (unsigned at = first; at + 1 < end; at++) {
            unsigned chosen = select_one(a, ret_index, at, end, seed);
            uint8_t index = ret_index[chosen];
            for (; chosen > at; chosen--) /* the others keep their order: weight 0 stays first */
                ret_index[chosen] = ret_index[chosen - 1];
            ret_index[at] = index;
        }
    }
}
