/* SPDX-License-Identifier: MIT */
/* sqlite/sqlite.h: accounts, call records and remembered facts in one SQLite file.   layer: store
 *
 * Shape   all accounts are also kept in a sharded table in memory (about 200 octets each), so a
 *         look-up never waits and takes the same time for a user that exists and one that does
 *         not; changes are written by a helper thread, then put into the table.
 * File    tandem.db in the data folder, 0600, WAL; numbered migrations applied at open, never
 *         destructive; a file of a newer version is refused (ERR_UNSUPPORTED).
 * Promise a change that is done survives the death of the process; power loss may take the last
 *         ones, never the file. Records are written within a second.
 * Threads as store.h; the connection is used by one helper thread at a time.
 */
#ifndef SQLITE_SQLITE_H
#define SQLITE_SQLITE_H
#include "store/store.h"

struct sqlite_config {
    const char *path;  /* ":memory:" for tests and the simulation: nothing is written elsewhere */
    usec records_keep; /* older call records are removed daily; 0: kept for ever */
    uint8_t seed[16];
};
/* Errors: ERR_IO, ERR_DENIED, ERR_CORRUPT, ERR_UNSUPPORTED, ERR_NOMEM.
 *   reterr_why  static or library text for the log */
MUST_USE enum err sqlite_directory_open(const struct sqlite_config *c,
                                        struct store_directory **ret_dir, const char **reterr_why);

#endif
