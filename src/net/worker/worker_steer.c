/* SPDX-License-Identifier: MIT */
/* worker/worker_steer.c: the kernel gives a datagram to the worker that it names.
 *
 * The workers' sockets of one address are a reuseport group; which of them a datagram goes to is said by
 * its ports, unless a program of the group says otherwise (socket(7), SO_ATTACH_REUSEPORT_CBPF). Such a
 * program has no loops, so each place where a name may stand has its own four instructions. It names a
 * place in the group: workers open their sockets in their order, and should that ever not hold, a
 * datagram comes to another worker, which hands it over as ever. */
#include <linux/bpf_common.h>
#include <linux/filter.h>
#include <sys/socket.h>
#include <unistd.h>
#include "worker/worker_priv.h"

enum {
    STEPS_MAX = BPF_MAXINSNS,
    CHUNK =
        60, /* places between two looks at the length: a read beyond the end would mean worker 0 */
    WORD = 4,
};
/* What no group has a socket for: the kernel then chooses by the ports. */
static const uint32_t nobody = UINT32_MAX;

struct program {
    struct sock_filter *step;
    size_t n;
    bool full;
};

static size_t put(struct program *p, uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
    if (p->n == STEPS_MAX)
        p->full = true;
    else
        p->step[p->n++] = (struct sock_filter){code, yes, no, k};
    return p->n - 1;
}

static uint32_t word(const char *text)
{
    const uint8_t *o = (const uint8_t *)text;
    return (uint32_t)o[0] << 24 | (uint32_t)o[1] << 16 | (uint32_t)o[2] << 8 | o[3];
}

static void put_nobody(struct program *p)
{
    put(p, BPF_RET | BPF_K, nobody, 0, 0);
}

/* Up to the end of the rule, which goes where `starts` does not. */
static void put_starts(struct program *p, const struct udp_steer *r)
{
    size_t words = strlen(r->starts) / WORD;
    put(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, 0);
    for (size_t i = 0; i < words; i++) /* the words that follow, and the jump past the rule */
        put(p, BPF_JMP | BPF_JEQ | BPF_K, word(r->starts + i * WORD), (uint8_t)(words - i), 0);
}

/* From here X is the place of a first word of `before`: the rest of it, and the name. */
static void put_name(struct program *p, const char *before)
{
    size_t n = strlen(before);
    for (size_t i = WORD; i < n; i++) {
        put(p, BPF_LD | BPF_B | BPF_IND, (uint32_t)i, 0, 0);
        put(p, BPF_JMP | BPF_JEQ | BPF_K, (uint8_t)before[i], 1, 0);
        put_nobody(p);
    }
    put(p, BPF_LD | BPF_B | BPF_IND, (uint32_t)n, 0, 0);
    put(p, BPF_ALU | BPF_SUB | BPF_K, UDP_STEER_FIRST, 0, 0); /* below it: too high for any group */
    put(p, BPF_RET | BPF_A, 0, 0, 0);
}

static void put_rule(struct program *p, const struct udp_steer *r)
{
    put_starts(p, r);
    size_t past = put(p, BPF_JMP | BPF_JA, 0, 0, 0), begin = p->n;
    for (unsigned at = r->first; at <= r->last; at++) {
        if ((at - r->first) % CHUNK == 0) {
            put(p, BPF_LD | BPF_W | BPF_LEN, 0, 0, 0);
            put(p, BPF_JMP | BPF_JGE | BPF_K, at + CHUNK + UDP_STEER_BEFORE, 1, 0);
            put_nobody(p);
        }
        put(p, BPF_LD | BPF_W | BPF_ABS, at, 0, 0);
        put(p, BPF_JMP | BPF_JEQ | BPF_K, word(r->before), 0, 2);
        put(p, BPF_LDX | BPF_W | BPF_IMM, at, 0, 0);
        put(p, BPF_JMP | BPF_JA, 0, 0, 0);
    }
    size_t none = put(p, BPF_JMP | BPF_JA, 0, 0, 0);
    for (size_t i = begin; i < none; i++)
        if (p->step[i].code == (BPF_JMP | BPF_JA))
            p->step[i].k = (uint32_t)(none - i);
    put_name(p, r->before);
    p->step[none].k = (uint32_t)(p->n - none - 1);
    p->step[past].k = (uint32_t)(p->n - past - 1);
}

static bool attach(int fd, struct program *p, const struct udp_steer *rules, size_t n)
{
    p->n = 0;
    put(p, BPF_LD | BPF_W | BPF_LEN, 0, 0, 0);
    put(p, BPF_JMP | BPF_JGE | BPF_K, WORD, 1, 0);
    put_nobody(p);
    for (size_t i = 0; i < n && !p->full; i++)
        put_rule(p, &rules[i]);
    put_nobody(p);
    struct sock_fprog program = {(unsigned short)p->n, p->step};
    return !p->full &&
           setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) == 0;
}

void worker_steer(int fd, const struct udp_steer *rules, size_t n)
{
    struct program p = {.step = mem_alloc(STEPS_MAX * sizeof(*p.step))};
    if (!p.step)
        return; /* the kernel goes on to choose by the ports */
    /* net.core.optmem_max bounds the program (20 KiB before Linux 6.8): then with fewer rules. */
    while (n > 0 && !attach(fd, &p, rules, n))
        n--;
    mem_free(p.step);
}
