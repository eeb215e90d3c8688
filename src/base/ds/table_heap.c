/* SPDX-License-Identifier: MIT */
/* ds/table_heap.c: where records lie.
 *
 * Classes go by 8 octets up to 1 KiB and by 256 up to 5 KiB: of a small record half a unit is lost on
 * average. A chunk is touched from its front as it fills, so a class with few records holds few pages.
 * An empty chunk goes back unless it is its class's only one with room: so a load that replaces
 * records calls no allocator. */
#include "mem/mem.h"
#include "ds/table_priv.h"

enum {
    FINE = 128,  /* classes of one unit more each; */
    COARSE = 32, /* then of so many */
    OWN = HEAP_CLASSES,
};

static unsigned class_of(size_t n)
{
    size_t units = (n + HEAP_UNIT - 1) / HEAP_UNIT;
    size_t class_ = units <= FINE ? units - 1 : FINE + (units - FINE - 1) / COARSE;
    return class_ < HEAP_CLASSES ? (unsigned)class_ : OWN;
}

static unsigned units_of(unsigned class_)
{
    return class_ < FINE ? class_ + 1 : FINE + (class_ - FINE + 1) * COARSE;
}

static struct heap_chunk *chunk_at(struct heap *h, uint32_t number)
{
    return &h->list[number / HEAP_LIST]->chunk[number % HEAP_LIST];
}

static char **octets_at(struct heap *h, uint32_t number)
{
    return &h->list[number / HEAP_LIST]->octets[number % HEAP_LIST];
}

static bool has_room(const struct heap_chunk *c)
{
    return c->class_ != OWN && (c->vacant || c->fresh + units_of(c->class_) <= HEAP_UNITS);
}

/* Where a vacant unit says which is next. */
static uint16_t *link_at(struct heap *h, uint32_t at)
{
    return (uint16_t *)(void *)(*octets_at(h, at / HEAP_UNITS) +
                                (size_t)(at % HEAP_UNITS) * HEAP_UNIT);
}

void heap_init(struct heap *h)
{
    pthread_mutex_init(&h->lock, NULL);
    h->chunks = 1;
}

void heap_done(struct heap *h)
{
    for (uint32_t i = 1; i < h->chunks; i++)
        mem_free(*octets_at(h, i));
    for (unsigned i = 0; i < HEAP_LISTS; i++)
        mem_free(h->list[i]);
    pthread_mutex_destroy(&h->lock);
}

/* ---- LOCK: h->lock held ---- */

static void link_roomy(struct heap *h, uint32_t number)
{
    struct heap_chunk *c = chunk_at(h, number);
    uint32_t *first = &h->roomy[c->class_];
    c->prev = 0;
    c->next = *first;
    if (*first)
        chunk_at(h, *first)->prev = number;
    *first = number;
}

static void unlink_roomy(struct heap *h, struct heap_chunk *c)
{
    if (c->prev)
        chunk_at(h, c->prev)->next = c->next;
    else
        h->roomy[c->class_] = c->next;
    if (c->next)
        chunk_at(h, c->next)->prev = c->prev;
}

/* A record in the first chunk with room. 0: there is none. */
static uint32_t take(struct heap *h, unsigned class_)
{
    uint32_t number = class_ == OWN ? 0 : h->roomy[class_];
    if (!number)
        return 0;
    struct heap_chunk *c = chunk_at(h, number);
    unsigned unit = c->fresh;
    if (c->vacant) {
        unit = c->vacant - 1u;
        c->vacant = *link_at(h, number * HEAP_UNITS + unit);
    } else {
        c->fresh = (uint16_t)(c->fresh + units_of(class_));
    }
    c->live++;
    if (!has_room(c))
        unlink_roomy(h, c);
    return number * HEAP_UNITS + unit;
}

/* A number for one more chunk, whose list is there. 0: none, or *spare is needed for its list. */
static uint32_t number_new(struct heap *h, struct heap_list **spare)
{
    uint32_t number = h->unused;
    if (number) {
        h->unused = chunk_at(h, number)->next;
        return number;
    }
    number = h->chunks;
    if (number == (uint32_t)HEAP_LISTS * HEAP_LIST)
        return 0;
    if (!h->list[number / HEAP_LIST]) {
        h->list[number / HEAP_LIST] = *spare;
        *spare = NULL;
    }
    if (!h->list[number / HEAP_LIST])
        return 0;
    h->chunks++;
    return number;
}

static uint32_t add_chunk(struct heap *h, unsigned class_, char *octets, struct heap_list **spare)
{
    uint32_t number = number_new(h, spare);
    if (!number)
        return 0;
    *octets_at(h, number) = octets;
    *chunk_at(h, number) = (struct heap_chunk){.class_ = (uint16_t)class_};
    if (class_ == OWN)
        return number * HEAP_UNITS;
    link_roomy(h, number);
    return take(h, class_);
}

/* Returns what is to be freed outside the lock, or NULL. */
static char *give_back(struct heap *h, uint32_t at)
{
    uint32_t number = at / HEAP_UNITS;
    struct heap_chunk *c = chunk_at(h, number);
    if (c->class_ != OWN) {
        bool had_room = has_room(c);
        *link_at(h, at) = c->vacant;
        c->vacant = (uint16_t)(at % HEAP_UNITS + 1);
        c->live--;
        if (!had_room)
            link_roomy(h, number);
        if (c->live || (h->roomy[c->class_] == number && !c->next))
            return NULL;
        unlink_roomy(h, c);
    }
    char *octets = *octets_at(h, number);
    *octets_at(h, number) = NULL;
    c->next = h->unused;
    h->unused = number;
    return octets;
}

/* ---- */

enum err heap_get(struct heap *h, size_t n, uint32_t *ret_at)
{
    unsigned class_ = class_of(n);
    if (mem_refuse_now())
        return ERR_NOMEM;
    pthread_mutex_lock(&h->lock);
    uint32_t at = take(h, class_);
    bool listed = h->unused || h->list[h->chunks / HEAP_LIST % HEAP_LISTS];
    pthread_mutex_unlock(&h->lock);
    while (!at) {
        char *octets = mem_alloc(class_ == OWN ? n : (size_t)HEAP_UNITS * HEAP_UNIT);
        struct heap_list *spare = listed ? NULL : MEM_NEW(struct heap_list);
        if (!octets || (!listed && !spare)) {
            mem_free(octets);
            mem_free(spare);
            return ERR_NOMEM;
        }
        pthread_mutex_lock(&h->lock);
        at = add_chunk(h, class_, octets, &spare);
        bool full = h->chunks == (uint32_t)HEAP_LISTS * HEAP_LIST && !h->unused;
        pthread_mutex_unlock(&h->lock);
        mem_free(spare);
        if (!at) {
            mem_free(octets);
            if (full)
                return ERR_NOMEM;
            listed = false; /* others have filled the list meanwhile */
        }
    }
    *ret_at = at;
    return ERR_OK;
}

void heap_put(struct heap *h, uint32_t at)
{
    if (!at)
        return;
    pthread_mutex_lock(&h->lock);
    char *octets = give_back(h, at);
    pthread_mutex_unlock(&h->lock);
    mem_free(octets);
}
