/* SPDX-License-Identifier: MIT */
/* load.c: the program. It keeps the pace, counts, and prints one JSON object when all is done, with
 * --every one for each interval too. Times in it are microseconds. Exit status 0 also when
 * operations failed: the report says so. */
#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include "load.h"

static const char usage[] =
    "usage: load KIND --server IP:PORT --rate R --count N [OPTION...]\n"
    "  KIND                options register call message redirect\n"
    "  --rate R            operations a second, evenly spaced\n"
    "  --count N           operations\n"
    "  --transport T       udp (the default), tcp or tls; registrations are over UDP always\n"
    "  --fresh             a new connection for each operation\n"
    "  --caller IP         (127.0.0.2)\n"
    "  --callee IP:PORT    the contact that is registered; connections come from there "
    "(127.0.0.3:5070)\n"
    "  --ports N           so many sockets of the callers and of the callees (1)\n"
    "  --users N           u000000 and so on, half of them call the other half (2000)\n"
    "  --first-user N      u000000 is left out, and so many after it (0)\n"
    "  --domain D          (example.test)    --password P    of all users (a-long-password)\n"
    "  --answer MS         from 180 to 200 (20)    --hold MS    from ACK to BYE (200)\n"
    "  --stand             calls are left standing\n"
    "  --prepare N         first the users register and N operations are not counted; then "
    "`ready`\n"
    "                      is printed, and a line of standard input starts the rest\n"
    "  --every S           a line every S seconds\n";

enum { BURST = 64, REGISTERING = 1500 /* a second */ };

struct plan plan = {.rate = 100, .count = 100, .users = 2000, .ports = 1};
struct counters counters;

static struct samples {
    uint32_t *us10; /* tenths of microseconds */
    size_t n, cap, told;
} samples;

void die(const char *what)
{
    fprintf(stderr, "load: %s: %m\n", what);
    exit(1);
}

void load_sample(uint64_t took)
{
    if (samples.n == samples.cap) {
        samples.cap = samples.cap ? 2 * samples.cap : 65536;
        samples.us10 = realloc(samples.us10, samples.cap * sizeof(*samples.us10));
        if (!samples.us10)
            die("memory");
    }
    samples.us10[samples.n++] = (uint32_t)(took / 100);
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double seconds_of_cpu(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* What happened since the samples that were told last; they are sorted, which nobody minds. */
static void report(double seconds, const struct counters *before, bool last)
{
    uint32_t *s = samples.us10 + samples.told;
    size_t n = samples.n - samples.told;
    uint32_t good = counters.good - before->good;
    qsort(s, n, sizeof(*s), compare);
    printf("{\"last\": %s, \"good\": %u, \"failed\": %u, \"resent\": %u, \"repeated\": %u, "
           "\"seconds\": %.3f, \"rate\": %.1f, \"cpu\": %.3f, \"p50\": %.1f, \"p99\": %.1f, "
           "\"worst\": %.1f, \"why\": \"%s\"}\n",
           last ? "true" : "false", good, counters.failed - before->failed,
           counters.resent - before->resent, counters.repeated - before->repeated, seconds,
           good / seconds, seconds_of_cpu(), n ? s[n / 2] / 10.0 : 0.0,
           n ? s[n * 99 / 100] / 10.0 : 0.0, n ? s[n - 1] / 10.0 : 0.0,
           counters.why ? counters.why : "");
    fflush(stdout);
    samples.told = last ? 0 : samples.n;
}

/* The operations `begun` to `end`. */
static void run(uint32_t begun, uint32_t end, double rate, unsigned every)
{
    struct counters before = counters;
    const double step = 1e9 / rate;
    const uint32_t first = begun;
    uint64_t start = now(), told = start;
    while (begun < end || talk_under_way() > 0) {
        uint64_t at = now(), next = talk_due(at);
        for (int burst = 0; begun < end; burst++) {
            uint64_t due = start + (uint64_t)(step * (begun - first));
            if (due > at) {
                next = due < next ? due : next;
                break;
            }
            if (burst == BURST || !talk_begin(begun + 1)) {
                next = at;
                break;
            }
            begun++;
        }
        if (every && at - told >= every * SECOND) {
            report((double)(at - told) / 1e9, &before, false);
            told = at;
            before = counters;
        }
        ways_wait(next);
    }
}

/* Everybody registers, and the first operations find out what is found out once. */
static void get_ready(uint32_t warm)
{
    enum kind kind = plan.kind;
    plan.kind = REGISTER;
    run(0, kind == OPTIONS ? 0 : plan.users, REGISTERING, 0);
    if (counters.failed) {
        fprintf(stderr, "load: registration: %s\n", counters.why);
        exit(1);
    }
    plan.kind = kind;
    run(plan.users, plan.users + warm, plan.rate, 0);
    counters = (struct counters){0};
    samples.n = samples.told = 0;
    puts("ready");
    fflush(stdout);
    for (int c = 0; c != '\n' && c != EOF;)
        c = getchar();
}

static struct sockaddr_in address(const char *text)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    char ip[INET_ADDRSTRLEN];
    const char *colon = strchr(text, ':');
    snprintf(ip, sizeof(ip), "%.*s", colon ? (int)(colon - text) : (int)strlen(text), text);
    if (inet_pton(AF_INET, ip, &a.sin_addr) != 1)
        die(text);
    a.sin_port = htons(colon ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0);
    return a;
}

static int one_of(const char *word, const char *const *words, const char *what)
{
    for (int i = 0; words[i]; i++)
        if (strcasecmp(word, words[i]) == 0)
            return i;
    fprintf(stderr, "load: no %s '%s'\n%s", what, word, usage);
    exit(2);
}

static const char *const kinds[] = {"options", "register", "call", "message", "redirect", NULL};
static const char *const names[] = {"udp", "tcp", "tls", NULL};

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"server", 1, 0, 's'},     {"rate", 1, 0, 'r'},    {"count", 1, 0, 'n'},
        {"transport", 1, 0, 't'},  {"fresh", 0, 0, 'f'},   {"caller", 1, 0, 'a'},
        {"callee", 1, 0, 'b'},     {"ports", 1, 0, 'p'},   {"users", 1, 0, 'u'},
        {"first-user", 1, 0, 'F'}, {"domain", 1, 0, 'd'},  {"answer", 1, 0, 'A'},
        {"hold", 1, 0, 'H'},       {"prepare", 1, 0, 'P'}, {"stand", 0, 0, 'S'},
        {"password", 1, 0, 'w'},   {"every", 1, 0, 'e'},   {0}};
    unsigned every = 0;
    bool prepare = false;
    uint32_t warm = 0;
    plan.domain = "example.test";
    plan.password = "a-long-password";
    plan.caller = address("127.0.0.2").sin_addr;
    plan.callee = address("127.0.0.3:5070");
    plan.answer = 20 * MS;
    plan.hold = 200 * MS;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case 's':
            plan.server = address(optarg);
            break;
        case 'r':
            plan.rate = strtod(optarg, NULL);
            break;
        case 'n':
            plan.count = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 't':
            plan.transport = (enum transport)one_of(optarg, names, "transport");
            break;
        case 'f':
            plan.fresh = true;
            break;
        case 'a':
            plan.caller = address(optarg).sin_addr;
            break;
        case 'b':
            plan.callee = address(optarg);
            break;
        case 'p':
            plan.ports = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'u':
            plan.users = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'F':
            plan.first_user = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'd':
            plan.domain = optarg;
            break;
        case 'w':
            plan.password = optarg;
            break;
        case 'A':
            plan.answer = strtoul(optarg, NULL, 10) * MS;
            break;
        case 'H':
            plan.hold = strtoul(optarg, NULL, 10) * MS;
            break;
        case 'P':
            prepare = true;
            warm = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'S':
            plan.stand = true;
            break;
        case 'e':
            every = (unsigned)strtoul(optarg, NULL, 10);
            break;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind != argc - 1 || plan.server.sin_port == 0 || !(plan.rate > 0) || plan.count == 0 ||
        plan.users < 2 || plan.ports == 0 || plan.ports > WAYS_MAX) {
        fputs(usage, stderr);
        return 2;
    }
    plan.kind = (enum kind)one_of(argv[optind], kinds, "kind");
    ways_open(prepare || plan.kind == REGISTER || (plan.kind >= CALL && plan.kind <= MESSAGE));
    talk_start();
    if (prepare)
        get_ready(warm);
    const struct counters none = counters;
    uint64_t start = now();
    uint32_t first = prepare ? plan.users + warm : 0;
    run(first, first + plan.count, plan.rate, every);
    samples.told = 0;
    report((double)(now() - start) / 1e9, &none, true);
    return 0;
}
