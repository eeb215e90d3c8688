/* SPDX-License-Identifier: MIT */
/* program.h: what the simulation programs share: options, seeds over two processes, replay.
 *
 *   NAME                                  all its parts
 *   NAME --seeds A[-B] [--calls N] [--trace] [--part N]   these seeds of one part, in this process
 */
#ifndef SIM_SUPPORT_PROGRAM_H
#define SIM_SUPPORT_PROGRAM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim;

enum { COUNTS_MAX = 12, PROGRAM_PROCESSES = 2 };

struct program {
    const char *name;
    unsigned part;  /* of the table given to program_main */
    unsigned calls; /* size of a scenario */
    bool trace;
    char replay[64];                                        /* options besides the seed */
    void (*on_line)(void *arg, const char *line, size_t n); /* of the trace; may be NULL */
    void *on_line_arg;
};

struct result {
    uint64_t hash, events; /* of the trace */
    struct {
        const char *what;
        uint64_t n;
    } count[COUNTS_MAX];
};

struct program_part {
    const char *what;
    unsigned calls, sanitized_calls; /* 0: as the other build */
    uint64_t first;                  /* seed; 0: 1 */
    unsigned seeds, sanitized_seeds;
    bool twice; /* each seed runs twice: the traces must be equal, line by line */
};

/* One scenario. False: it failed, and has said so. */
typedef bool program_run(const struct program *p, uint64_t seed, struct result *ret);

int program_main(int argc, char **argv, const struct program_part *parts, size_t n,
                 program_run *run);
/* The simulation's trace goes to the program too. */
void program_tap(const struct program *p, struct sim *s);
void program_count(struct result *r, const char *what, uint64_t n);

#endif
