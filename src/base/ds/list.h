/* SPDX-License-Identifier: MIT */
/* ds/list.h: doubly linked intrusive list with a sentinel.                      layer: base
 *
 * Shape   a head is a struct link that points to itself when empty. Links are named by role
 *         (by_expiry, by_branch). Unlinking is idempotent. Nothing is allocated.
 * Threads one at a time.
 */
#ifndef DS_LIST_H
#define DS_LIST_H
#include <stdbool.h>
#include <stddef.h>

struct link {
    struct link *prev, *next;
};

#define CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct link *l)
{
    l->prev = l->next = l;
}
static inline bool list_empty(const struct link *head)
{
    return head->next == head;
}
/* l is in some list (an initialised or never touched zeroed link is not). */
static inline bool list_linked(const struct link *l)
{
    return l->next && l->next != l;
}
static inline void list_insert_before(struct link *at, struct link *l)
{
    l->prev = at->prev;
    l->next = at;
    at->prev->next = l;
    at->prev = l;
}
static inline void list_push(struct link *head, struct link *l)
{
    list_insert_before(head, l);
}
static inline void list_push_front(struct link *head, struct link *l)
{
    list_insert_before(head->next, l);
}
static inline void list_unlink(struct link *l)
{
    if (!l->next)
        return;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    list_init(l);
}
static inline struct link *list_pop(struct link *head)
{
    struct link *l = head->next;
    if (l == head)
        return NULL;
    list_unlink(l);
    return l;
}
/* Moves all of from to the end of to. */
static inline void list_splice(struct link *to, struct link *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}
/* The list holds together: for tests and fuzzers. */
bool list_validate(const struct link *head);

#define LIST_EACH(it, head, type, member)                                         \
    for (type *it = CONTAINER((head)->next, type, member); &it->member != (head); \
         it = CONTAINER(it->member.next, type, member))
/* The body may unlink or free `it`. */
#define LIST_EACH_SAFE(it, head, type, member)                       \
    for (type *it = CONTAINER((head)->next, type, member),           \
              *it##_next = CONTAINER(it->member.next, type, member); \
         &it->member != (head);                                      \
         it = it##_next, it##_next = CONTAINER(it->member.next, type, member))

#endif
