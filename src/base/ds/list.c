/* SPDX-License-Identifier: MIT */
/* ds/list.c: the check of a list; everything else is inline. */
#include "ds/list.h"

bool list_validate(const struct link *head)
{
    const struct link *l = head, *slow = head;
    size_t steps = 0;
    do {
        if (!l->next || l->next->prev != l)
            return false;
        l = l->next;
        /* a ring that does not pass the head again is caught by the slower walker */
        if (++steps % 2 == 0)
            slow = slow->next;
        if (l == slow && l != head)
            return false;
    } while (l != head);
    return true;
}
