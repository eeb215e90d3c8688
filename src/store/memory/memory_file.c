/* SPDX-License-Identifier: MIT */
/* memory/memory_file.c: names, headers and records of the journal.
 *
 *   header  magic (8) generation (8) check of the seed (8) worker or number of shards (4) CRC-32C
 * (4) record  length of what follows the CRC (4) CRC-32C of length and payload (4) payload: version
 * (8) key, value: to the end
 *
 * A log gets its name only after its header is on the disk: so a header that fails its checks was
 * damaged, never just torn, and is no reason to throw its records away. */
#include "memory/memory_priv.h"
#include "crypto/crypto.h"
#include "pack/pack.h"
#include "str/scan.h"

enum { MAGIC = 8, RECORD_LEAST = 8 + 1 };

static const char magic_log[] = "TANDEML1", magic_snapshot[] = "TANDEMS1";

/* ---- names ---- */

enum memory_name memory_name_parse(sv name, uint64_t *ret_generation)
{
    struct scan c = scan_of(name);
    uint64_t worker;
    if (sv_eq(name, SV("location.snapshot")))
        return MEMORY_SNAP;
    if (sv_eq(name, SV("location.snapshot.new")))
        return MEMORY_LEFTOVER;
    if (!scan_itext(&c, SV("location.")) || scan_u64(&c, UINT64_MAX / 2, ret_generation) ||
        !scan_char(&c, '.') || scan_u64(&c, UINT32_MAX, &worker))
        return MEMORY_OTHER;
    if (sv_eq(scan_rest(&c), SV(".log")))
        return MEMORY_LOG;
    return sv_eq(scan_rest(&c), SV(".new")) ? MEMORY_LEFTOVER : MEMORY_OTHER;
}

sv memory_path(const struct memory *m, struct memory_path *p, sv name)
{
    struct buf b;
    buf_init(&b, p->text, sizeof p->text);
    buf_mem(&b, m->folder, m->folder_n);
    buf_char(&b, '/');
    buf_put(&b, name);
    p->n = b.n;
    return buf_sv(&b);
}

sv memory_log_path(const struct memory *m, struct memory_path *p, uint64_t generation,
                   unsigned worker, bool fresh)
{
    char name[64];
    struct buf b;
    buf_init(&b, name, sizeof name);
    buf_str(&b, "location.");
    buf_u64(&b, generation);
    buf_char(&b, '.');
    buf_u64(&b, worker);
    buf_str(&b, fresh ? ".new" : ".log");
    return memory_path(m, p, buf_sv(&b));
}

/* ---- headers ---- */

void memory_header_put(const struct memory *m, struct buf *b, bool snapshot, uint64_t generation,
                       uint32_t number)
{
    size_t begin = b->n;
    buf_mem(b, snapshot ? magic_snapshot : magic_log, MAGIC);
    pack_u64(b, generation);
    pack_u64(b, m->check);
    pack_u32(b, number);
    if (!b->rc)
        pack_u32(b, crypto_crc32c(0, b->p + begin, b->n - begin));
}

enum err memory_header_read(const struct memory *m, sv octets, bool snapshot,
                            uint64_t *ret_generation, uint32_t *ret_number)
{
    struct unpack u = unpack_of(sv_sub(octets, 0, MEMORY_HEADER));
    sv magic = unpack_octets(&u, MAGIC);
    uint64_t generation = unpack_u64(&u), check = unpack_u64(&u);
    uint32_t number = unpack_u32(&u), crc = unpack_u32(&u);
    TRY(unpack_end(&u));
    if (crc != crypto_crc32c(0, octets.p, MEMORY_HEADER - 4) || check != m->check ||
        !sv_eq(magic, (sv){snapshot ? magic_snapshot : magic_log, MAGIC}))
        return ERR_CORRUPT;
    *ret_generation = generation;
    *ret_number = number;
    return ERR_OK;
}

/* ---- records ---- */

static uint32_t record_crc(const char *p, size_t payload)
{
    uint32_t crc = crypto_crc32c(0, p, 4);
    return crypto_crc32c(crc, p + MEMORY_RECORD_HEAD, payload);
}

size_t memory_record_begin(struct buf *b, sv key)
{
    size_t begin = b->n;
    pack_u64(b, 0); /* length and CRC: sealed later, as the version */
    pack_u64(b, 0);
    pack_sv(b, key);
    return begin;
}

void memory_record_seal(struct buf *b, size_t begin, uint64_t version)
{
    char *p = b->p + begin;
    size_t payload = b->n - begin - MEMORY_RECORD_HEAD;
    pack_u32_at(p, (uint32_t)payload);
    pack_u64_at(p + MEMORY_RECORD_HEAD, version);
    pack_u32_at(p + 4, record_crc(p, payload));
}

enum err memory_record_read(sv octets, struct memory_record *ret_record, size_t *ret_n)
{
    struct unpack u = unpack_of(octets);
    uint32_t length = unpack_u32(&u), crc = unpack_u32(&u);
    if (u.rc || length < RECORD_LEAST || length > MEMORY_RECORD_MAX ||
        length > octets.n - MEMORY_RECORD_HEAD || crc != record_crc(octets.p, length))
        return ERR_MORE;
    u = unpack_of((sv){octets.p + MEMORY_RECORD_HEAD, length});
    struct memory_record r = {.version = unpack_u64(&u), .key = unpack_sv(&u)};
    r.value = unpack_octets(&u, (size_t)(u.end - u.p));
    if (u.rc || !sv_present(r.key) || r.version == 0)
        return ERR_CORRUPT;
    *ret_record = r;
    *ret_n = MEMORY_RECORD_HEAD + length;
    return ERR_OK;
}

/* ---- logs ---- */

void memory_log_close(struct memory_log *log)
{
    disk_close(log->append);
    disk_close(log->sync);
    *log = (struct memory_log){0};
}

static enum err log_open(struct memory *m, uint64_t generation, unsigned worker,
                         struct memory_log *log)
{
    struct memory_path fresh, path;
    char header[MEMORY_HEADER];
    struct buf b;
    uint64_t size;
    memory_log_path(m, &fresh, generation, worker, true);
    memory_log_path(m, &path, generation, worker, false);
    buf_init(&b, header, sizeof header);
    memory_header_put(m, &b, false, generation, worker);
    sv piece = buf_sv(&b);
    TRY(disk_open(m->disk, (sv){fresh.text, fresh.n}, true, &log->append, &size));
    TRY(disk_append(log->append, &piece, 1));
    TRY(disk_sync(log->append));
    TRY(disk_rename(m->disk, (sv){fresh.text, fresh.n}, (sv){path.text, path.n}));
    return disk_open(m->disk, (sv){path.text, path.n}, false, &log->sync, &size);
}

enum err memory_logs_open(struct memory *m, uint64_t generation)
{
    enum err rc = ERR_OK;
    for (unsigned i = 0; i < m->n && !rc; i++)
        rc = log_open(m, generation, i, &m->worker[i].next);
    /* Before a record is promised its file must have its name for good. */
    if (!rc)
        rc = disk_sync_dir(m->disk, (sv){m->folder, m->folder_n});
    for (unsigned i = 0; i < m->n && rc; i++)
        memory_log_close(&m->worker[i].next);
    return rc;
}
