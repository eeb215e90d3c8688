/* SPDX-License-Identifier: MIT */
#include "support/program.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "crypto/crypto.h"
#include "log/log.h"
#include "sim/sim.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

void program_count(struct result *r, const char *what, uint64_t n)
{
    for (unsigned i = 0; i < COUNTS_MAX; i++) {
        if (!r->count[i].what || strcmp(r->count[i].what, what) == 0) {
            r->count[i].what = what;
            r->count[i].n += n;
            return;
        }
    }
}

static void add(struct result *to, const struct result *r)
{
    to->events += r->events;
    for (unsigned i = 0; i < COUNTS_MAX && r->count[i].what; i++)
        program_count(to, r->count[i].what, r->count[i].n);
}

static void on_line(sv line, void *arg)
{
    const struct program *p = arg;
    if (p->trace)
        printf(SV_FMT "\n", SV_ARG(line));
    if (p->on_line)
        p->on_line(p->on_line_arg, line.p, line.n);
}

void program_tap(const struct program *p, struct sim *s)
{
    if (p->trace || p->on_line)
        sim_trace(s, on_line, (void *)p);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- one seed ---- */

struct text {
    char *p;
    size_t n, cap, compared;
    bool differs;
};

static void keep_line(void *arg, const char *line, size_t n)
{
    struct text *t = arg;
    if (t->n + n + 1 > t->cap) {
        t->cap = 2 * (t->n + n + 1);
        t->p = realloc(t->p, t->cap);
        if (!t->p)
            abort();
    }
    memcpy(t->p + t->n, line, n);
    t->p[t->n + n] = '\n';
    t->n += n + 1;
}

static void compare_line(void *arg, const char *line, size_t n)
{
    struct text *t = arg;
    if (t->compared + n + 1 > t->n || memcmp(t->p + t->compared, line, n) != 0 ||
        t->p[t->compared + n] != '\n') {
        if (!t->differs)
            printf("FAILED: the second trace differs at octet %zu: %.*s\n", t->compared, (int)n,
                   line);
        t->differs = true;
    }
    t->compared += n + 1;
}

/* The same seed again must give the same trace, byte for byte. */
static bool run_twice(struct program *p, uint64_t seed, program_run *run, struct result *sum)
{
    struct text t = {0};
    struct result first, second;
    p->on_line = keep_line;
    p->on_line_arg = &t;
    bool ok = run(p, seed, &first);
    p->on_line = compare_line;
    ok = run(p, seed, &second) && ok;
    p->on_line = NULL;
    if (t.compared != t.n || first.hash != second.hash) {
        printf("FAILED: seed %llu gives two traces: %016llx and %016llx\n",
               (unsigned long long)seed, (unsigned long long)first.hash,
               (unsigned long long)second.hash);
        t.differs = true;
    }
    program_count(sum, "octets of trace compared", t.n);
    free(t.p);
    add(sum, &first);
    add(sum, &second);
    return ok && !t.differs;
}

/* ---- many ---- */

struct share {
    struct result sum;
    uint64_t failed;
    bool complete;
};

static void run_share(struct program *p, const struct program_part *part, uint64_t first,
                      uint64_t last, unsigned step, program_run *run, struct share *s)
{
    for (uint64_t seed = first; seed <= last; seed += step) {
        struct result r = {0};
        bool ok;
        if (part->twice) {
            ok = run_twice(p, seed, run, &s->sum);
        } else {
            ok = run(p, seed, &r);
            add(&s->sum, &r);
        }
        if (!ok && ++s->failed >= 5)
            break;
    }
    s->complete = true;
}

/* What a child found comes back over a pipe, whose other end closes when it dies. */
static void run_child(struct program *p, const struct program_part *part, uint64_t first,
                      uint64_t last, program_run *run, int fd)
{
    struct share s = {0};
    run_share(p, part, first, last, PROGRAM_PROCESSES, run, &s);
    fflush(stdout);
    ssize_t n = write(fd, &s, sizeof(s));
    _exit(n == (ssize_t)sizeof(s) ? 0 : 1);
}

static bool run_forked(struct program *p, const struct program_part *part, uint64_t first,
                       uint64_t last, program_run *run, struct share *sum)
{
    int fds[PROGRAM_PROCESSES][2];
    pid_t pid[PROGRAM_PROCESSES];
    fflush(stdout);
    for (unsigned i = 0; i < PROGRAM_PROCESSES; i++) {
        if (pipe(fds[i]) || (pid[i] = fork()) < 0)
            return false;
        if (pid[i] == 0)
            run_child(p, part, first + i, last, run, fds[i][1]);
        close(fds[i][1]);
    }
    bool ok = true;
    for (unsigned i = 0; i < PROGRAM_PROCESSES; i++) {
        struct share s = {0};
        int status = 0;
        bool whole = read(fds[i][0], &s, sizeof(s)) == (ssize_t)sizeof(s) && s.complete;
        close(fds[i][0]);
        waitpid(pid[i], &status, 0);
        if (!whole) {
            printf("FAILED: the process with every second seed from %llu died (status %d)\n",
                   (unsigned long long)(first + i), status);
            ok = false;
            continue;
        }
        add(&sum->sum, &s.sum);
        sum->failed += s.failed;
    }
    return ok && sum->failed == 0;
}

static bool run_part(struct program *p, const struct program_part *part, uint64_t first,
                     uint64_t last, bool fork_it, program_run *run)
{
    struct share s = {0};
    double began = now();
    bool ok;
    snprintf(p->replay, sizeof(p->replay), "--part %u --calls %u", p->part, p->calls);
    if (fork_it && last > first) {
        ok = run_forked(p, part, first, last, run, &s);
    } else {
        run_share(p, part, first, last, 1, run, &s);
        ok = s.failed == 0;
    }
    printf("%-34s seeds %llu-%llu: %s in %.1f s; %llu events", part->what,
           (unsigned long long)first, (unsigned long long)last, ok ? "passed" : "FAILED",
           now() - began, (unsigned long long)s.sum.events);
    for (unsigned i = 0; i < COUNTS_MAX && s.sum.count[i].what; i++)
        printf(", %llu %s", (unsigned long long)s.sum.count[i].n, s.sum.count[i].what);
    printf("\n");
    fflush(stdout);
    return ok;
}

static int usage(const char *name)
{
    fprintf(stderr, "usage: %s [--seeds A[-B]] [--part N] [--calls N] [--trace] [--log]\n", name);
    return 2;
}

static void no_log(sv line, void *arg)
{
    (void)line;
    (void)arg;
}

int program_main(int argc, char **argv, const struct program_part *parts, size_t n,
                 program_run *run)
{
    struct program p = {.name = argv[0]};
    unsigned long long a = 0, b = 0;
    unsigned calls = 0, part = 0;
    bool log = false;
    for (int i = 1; i < argc; i++) {
        const char *v = i + 1 < argc ? argv[i + 1] : "";
        int got = 0;
        if (strcmp(argv[i], "--trace") == 0)
            p.trace = true;
        else if (strcmp(argv[i], "--log") == 0)
            log = true;
        else if (strcmp(argv[i], "--seeds") == 0 && (got = sscanf(v, "%llu-%llu", &a, &b)) > 0)
            b = got == 1 ? a : b, i++;
        else if (strcmp(argv[i], "--calls") == 0 && sscanf(v, "%u", &calls) == 1)
            i++;
        else if (strcmp(argv[i], "--part") == 0 && sscanf(v, "%u", &part) == 1 && part < n)
            i++;
        else
            return usage(argv[0]);
    }
    if (crypto_start())
        return 3;
    if (!log)
        log_sink(no_log, NULL);
    bool ok = true;
    for (size_t i = a ? part : 0; i < (a ? part + 1 : n); i++) {
        const struct program_part *x = &parts[i];
        unsigned seeds = SANITIZED && x->sanitized_seeds ? x->sanitized_seeds : x->seeds;
        uint64_t first = a ? a : x->first ? x->first : 1;
        p.part = (unsigned)i;
        p.calls = calls ? calls : SANITIZED && x->sanitized_calls ? x->sanitized_calls : x->calls;
        ok = run_part(&p, x, first, a ? b : first + seeds - 1, !p.trace, run) && ok;
    }
    return ok ? 0 : 1;
}
