/* SPDX-License-Identifier: MIT */
/* parse: one loop for every parser.
 *
 *   parse_NAME [--messages FOLDER] check | (parse|edit) COUNT | time (parse|edit) COUNT | calls (parse|edit)
 *
 * check prints what was read of each message, and of each edited one. parse and edit go COUNT times
 * through the mix, and only those are collected under callgrind --collect-atstart=no: its total
 * divided by COUNT is the instructions a message. time prints the nanoseconds a message, calls the
 * calls to the allocator a message (under LD_PRELOAD of parse_calls.so).
 *
 * The mix is every message equally often, in an order that the branch predictor does not learn. */
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "../collect.h"
#include "parse.h"

enum { MESSAGES = 64, MIX = 1024, FILE_MAX = 65536 };

struct message {
    char name[64];
    char *p;
    size_t n;
};

static struct message messages[MESSAGES];
static unsigned count;
static uint16_t mix[MIX];
static char out[PARSE_OUT];
static volatile uint64_t sink; /* what was read is used */

static void stop(const char *what, const char *which)
{
    fprintf(stderr, "parse_%s: %s: %s\n", parser.name, what, which);
    exit(1);
}

/* ---- the messages ---- */

static void load(const char *folder, const char *name)
{
    char path[512];
    struct message *m = &messages[count];
    if (count == MESSAGES)
        stop("too many messages", folder);
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    m->p = calloc(1, FILE_MAX + PARSE_SLACK);
    if (!f || !m->p)
        stop("cannot open", path);
    m->n = fread(m->p, 1, FILE_MAX, f);
    fclose(f);
    snprintf(m->name, sizeof(m->name), "%.*s", (int)strcspn(name, "."), name);
    count++;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct message *)a)->name, ((const struct message *)b)->name);
}

static void load_all(const char *folder)
{
    DIR *d = opendir(folder);
    if (!d)
        stop("cannot open", folder);
    for (const struct dirent *e; (e = readdir(d));)
        if (strstr(e->d_name, ".sip"))
            load(folder, e->d_name);
    closedir(d);
    if (!count)
        stop("no messages in", folder);
    qsort(messages, count, sizeof(messages[0]), by_name);
}

static void shuffle(void)
{
    uint32_t random = 20261;
    for (unsigned i = 0; i < MIX; i++)
        mix[i] = (uint16_t)(i % count);
    for (unsigned i = MIX - 1; i > 0; i--) {
        random = random * 1103515245u + 12345u;
        unsigned k = (random >> 12) % (i + 1);
        uint16_t other = mix[i];
        mix[i] = mix[k];
        mix[k] = other;
    }
}

/* ---- what is measured ---- */

static void parse_mix(long n)
{
    for (long i = 0; i < n; i++) {
        const struct message *m = &messages[mix[i % MIX]];
        struct reading r;
        if (!parser.read(m->p, m->n, &r))
            stop("refuses", m->name);
        sink += (uint64_t)(r.vias + r.cseq + r.content_length) + r.from_tag.n + r.via_branch.n;
        parser.drop();
    }
}

static void edit_mix(long n)
{
    for (long i = 0; i < n; i++) {
        const struct message *m = &messages[mix[i % MIX]];
        size_t written = parser.edit(m->p, m->n, out);
        if (!written)
            stop("cannot edit", m->name);
        sink += written;
    }
}

typedef void run_fn(long n);

static run_fn *run_of(const char *name)
{
    if (strcmp(name, "parse") == 0)
        return parse_mix;
    return strcmp(name, "edit") == 0 && parser.edit ? edit_mix : NULL;
}

static void collect(run_fn *run, long n)
{
    run(MIX);
    CALLGRIND_TOGGLE_COLLECT;
    run(n);
    CALLGRIND_TOGGLE_COLLECT;
}

static void measure_time(run_fn *run, long n)
{
    struct timespec from, to;
    run(MIX);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    run(n);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
    printf("%.1f\n", ns / (double)n);
}

static void measure_calls(run_fn *run)
{
    const uint64_t *calls = dlsym(RTLD_DEFAULT, "parse_calls");
    if (!calls)
        stop("not loaded", "parse_calls.so");
    run(MIX);
    uint64_t before = *calls;
    run((long)count * 32);
    printf("%.2f\n", (double)(*calls - before) / (count * 32.0));
}

/* ---- do all read the same? ---- */

static void print_reading(const char *what, const char *name, const char *p, size_t n)
{
    struct reading r;
    if (!parser.read(p, n, &r)) {
        printf("%s %s refused\n", what, name);
        return;
    }
    const struct {
        const char *name;
        struct text text;
    } texts[] = {{"method", r.method},           {"uri-user", r.uri_user},
                 {"uri-host", r.uri_host},       {"via-host", r.via_host},
                 {"via-branch", r.via_branch},   {"from-tag", r.from_tag},
                 {"to-tag", r.to_tag},           {"call-id", r.call_id},
                 {"cseq-method", r.cseq_method}, {"contact-host", r.contact_host},
                 {"route-host", r.route_host}};
    printf("%s %s", what, name);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        printf(" %s=%.*s", texts[i].name, (int)texts[i].text.n,
               texts[i].text.n ? texts[i].text.p : "");
    printf(
        " status=%d vias=%d cseq=%d contacts=%d routes=%d max-forwards=%d expires=%d length=%d\n",
        (int)r.status, (int)r.vias, (int)r.cseq, (int)r.contacts, (int)r.routes,
        (int)r.max_forwards, (int)r.expires, (int)r.content_length);
    parser.drop();
}

static void check(void)
{
    static char copy[PARSE_OUT + PARSE_SLACK];
    for (unsigned i = 0; i < count; i++) {
        const struct message *m = &messages[i];
        print_reading("parse", m->name, m->p, m->n);
        size_t n = parser.edit ? parser.edit(m->p, m->n, out) : 0;
        memcpy(copy, out, n);
        memset(copy + n, 0, PARSE_SLACK);
        if (parser.edit)
            print_reading("edit", m->name, copy, n);
    }
}

static int usage(void)
{
    fprintf(stderr,
            "usage: parse_%s [--messages FOLDER] check | (parse|edit) COUNT | time "
            "(parse|edit) COUNT | calls (parse|edit)\n",
            parser.name);
    return 2;
}

int main(int argc, char **argv)
{
    const char *folder = PARSE_MESSAGES;
    if (argc > 2 && strcmp(argv[1], "--messages") == 0) {
        folder = argv[2];
        argc -= 2;
        argv += 2;
    }
    if (argc < 2)
        return usage();
    const char *verb = argv[1];
    bool timed = strcmp(verb, "time") == 0, calls = strcmp(verb, "calls") == 0;
    run_fn *run = run_of(timed || calls ? argc > 2 ? argv[2] : "" : verb);
    const char *number = timed ? argc > 3 ? argv[3] : "" : argc > 2 ? argv[2] : "";
    long n = strtol(number, NULL, 10);
    load_all(folder);
    shuffle();
    if (!parser.start())
        stop("does not start", "");
    if (strcmp(verb, "check") == 0)
        check();
    else if (run && calls)
        measure_calls(run);
    else if (run && n > 0 && timed)
        measure_time(run, n);
    else if (run && n > 0)
        collect(run, n);
    else
        return usage();
    return 0;
}
