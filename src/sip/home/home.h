/* SPDX-License-Identifier: MIT */
/* home/home.h: which worker a call lives on: slots, marks, the Call-ID directory.   layer: sip
 *
 * Shape   a slot (of HOME_SLOTS) maps to a worker. A mark is HOME_MARK_LEN characters that we
 *         write into what comes
 *         back to us: Via branch, Record-Route user, tags, Call-IDs of ours. It is 64 bits
 *         of chance, or of a keyed hash of what it belongs to, the slot masked by a
 *         keyed hash of them, and a 32-bit MAC under the process's (later the cluster's) secret,
 *         in the base64url
 *         alphabet, behind a letter that tells the kernel the worker (sock.h). One that does not verify is a stranger's. A mark only says where to look:
 *         matching also
 *         needs branch, tags and flow in full.
 * Directory  Call-ID (keyed hash of 128 bits) → slot, counted: a claim holds the entry until
 *            released as often. Fixed size,
 *         sharded; full: the claimer keeps the request at home and the refusal is counted
 *         (STAT_LIMIT_DIRECTORY).
 * Threads any.
 */
#ifndef HOME_HOME_H
#define HOME_HOME_H
#include "loop/loop.h"
#include "str/buf.h"

enum { HOME_SLOTS = 4096, HOME_MARK_LEN = 20, HOME_SECRET = 32 };

struct home;

/* workers: of this process; slot s belongs to worker s % workers. entries: capacity of the
 * directory. Errors: ERR_NOMEM. */
MUST_USE enum err home_new(const uint8_t secret[static HOME_SECRET], unsigned workers,
                           size_t entries, struct home **ret_home);
void home_free(struct home *h);

/* A slot of this worker, spread by chance. */
uint16_t home_slot(const struct home *h, unsigned worker, uint64_t chance);
unsigned home_worker(const struct home *h, uint16_t slot);

/* Writes a mark; of its 64 bits it is as fresh as chance. */
void home_mark(const struct home *h, uint16_t slot, uint64_t chance, struct buf *b);
/* text begins with a mark of ours.
 *   ret_chance  what it was written with */
bool home_mark_open(const struct home *h, sv text, uint16_t *ret_slot, uint64_t *ret_chance);
bool home_mark_read(const struct home *h, sv text, uint16_t *ret_slot);

/* 128 bits of keyed hash that stand for a text or a list of texts: nobody without the secret can make two
 * meet, so a holder may forget the texts. */
struct home_key {
    uint64_t a, b;
};
static inline bool home_key_equal(const struct home_key *x, const struct home_key *y)
{
    return x->a == y->a && x->b == y->b;
}
/* What the directory knows a Call-ID by. */
struct home_key home_key(const struct home *h, sv call_id);

enum home_held {
    HOME_NOT_HELD, /* the directory is full; *ret_slot = slot */
    HOME_FIRST,    /* nobody else holds key */
    HOME_SHARED,
};
/* The slot that holds key, making slot its home when there is none; one more claim on it. */
enum home_held home_claim(struct home *h, const struct home_key *key, uint16_t slot,
                          uint16_t *ret_slot);
/* One claim less; the last removes the entry. Unknown: nothing happens. */
void home_release(struct home *h, const struct home_key *key);
/* Looks without claiming. */
bool home_find(const struct home *h, const struct home_key *key, uint16_t *ret_slot);
size_t home_entries(const struct home *h);

/* Keyed hashes of lists for what peers name; same secret, separate use; where one piece ends and the next
 * begins counts. pieces[0] says what for.
 *   home_hash      a MAC: what peers carry for us, and must not make themselves. The same in every process
 *                  with this secret
 *   home_call      the same of a Call-ID alone
 *   home_tag       peers may see it, this process compares it: loop detection, tags; the cheaper of the two for
 *                  long lists
 *   home_list_key  what is looked up here; nobody may see it */
uint64_t home_hash(const struct home *h, const sv *pieces, size_t n);
uint64_t home_call(const struct home *h, sv call_id);
uint64_t home_tag(const struct home *h, const sv *pieces, size_t n);
struct home_key home_list_key(const struct home *h, const sv *pieces, size_t n);

#endif
