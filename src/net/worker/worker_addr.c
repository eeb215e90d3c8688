/* SPDX-License-Identifier: MIT */
/* Between struct addr and the kernel: conversion, errors, bind; what this machine has. */
#include "worker/worker_priv.h"
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#define SOURCE_LIFE (2 * USEC_S)

enum err worker_err(int e)
{
    switch (e) {
    case 0:
        return ERR_OK;
    case EADDRINUSE:
    case EMFILE:
    case ENFILE:
        return ERR_BUSY;
    case EACCES:
    case EPERM:
        return ERR_DENIED;
    case EADDRNOTAVAIL:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EAFNOSUPPORT:
        return ERR_UNREACHABLE;
    case ECONNREFUSED:
        return ERR_REFUSED;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
        return ERR_CLOSED;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case ENOMEM:
    case ENOBUFS:
        return ERR_NOMEM;
    case EMSGSIZE:
        return ERR_TOOBIG;
    case ENOENT:
    case ENOTDIR:
        return ERR_NOTFOUND;
    default:
        return ERR_IO;
    }
}

socklen_t worker_sockaddr(const struct addr *a, struct sockaddr_storage *ret_sa)
{
    if (a->family == 4) {
        struct sockaddr_in *in = (struct sockaddr_in *)ret_sa;
        *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(a->port)};
        memcpy(&in->sin_addr, a->ip, 4);
        return sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_sa;
    *in6 = (struct sockaddr_in6){
        .sin6_family = AF_INET6, .sin6_port = htons(a->port), .sin6_scope_id = a->scope};
    memcpy(&in6->sin6_addr, a->ip, 16);
    return sizeof(*in6);
}

struct addr worker_addr(const struct sockaddr_storage *sa)
{
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
        return addr_from_ip((const uint8_t *)&in->sin_addr, 4, ntohs(in->sin_port));
    }
    if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
        struct addr a = addr_from_ip((const uint8_t *)&in6->sin6_addr, 16, ntohs(in6->sin6_port));
        if (a.family == 6)
            a.scope = in6->sin6_scope_id;
        return a;
    }
    return (struct addr){0};
}

struct addr worker_sockname(int fd)
{
    struct sockaddr_storage sa = {0};
    socklen_t n = sizeof(sa);
    if (getsockname(fd, (struct sockaddr *)&sa, &n) != 0)
        return (struct addr){0};
    return worker_addr(&sa);
}

enum err worker_socket(const struct addr *a, int type, int *ret_fd)
{
    int on = 1;
    if (a->family != 4 && a->family != 6)
        return ERR_UNREACHABLE;
    int fd = socket(a->family == 4 ? AF_INET : AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return worker_err(errno);
    /* One socket, one family: otherwise [::] would take IPv4 in its mapped form too. */
    if (a->family == 6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0) {
        close(fd);
        return ERR_IO;
    }
    *ret_fd = fd;
    return ERR_OK;
}

static bool overlaps(const struct bound *b, int type, const struct addr *at)
{
    return b->type == type && b->at.port == at->port && b->at.family == at->family &&
           (addr_equal_ip(&b->at, at) || addr_is_any(&b->at) || addr_is_any(at));
}

static void set_flags(int fd, const struct addr *at, unsigned flags)
{
    int on = 1;
    if (flags & SOCK_FREEBIND && at->family == 4)
        setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
    else if (flags & SOCK_FREEBIND)
        setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on));
}

/* Binds a socket that shares with nobody, and lets go again. */
static enum err probe(int type, const struct addr *at, unsigned flags)
{
    struct sockaddr_storage sa;
    int fd, on = 1;
    enum err rc = ERR_OK;
    socklen_t n = worker_sockaddr(at, &sa);
    TRY(worker_socket(at, type, &fd));
    if (type == SOCK_STREAM) /* past connections in TIME-WAIT are no owner; a listener still is */
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    set_flags(fd, at, flags);
    if (bind(fd, (struct sockaddr *)&sa, n) != 0)
        rc = worker_err(errno);
    close(fd);
    return rc;
}

static enum err bind_locked(struct worker_group *g, int fd, int type, const struct addr *at,
                            unsigned flags, struct bound **ret_bound)
{
    struct sockaddr_storage sa;
    struct bound *same = NULL;
    bool ours = false;
    int on = 1;
    socklen_t n = worker_sockaddr(at, &sa);

    LIST_EACH (b, &g->bound, struct bound, by_group) {
        ours |= overlaps(b, type, at);
        if (b->type == type && addr_equal(&b->at, at))
            same = b;
    }
    if (at->port != 0 && !ours)
        TRY(probe(type, at, flags));
    set_flags(fd, at, flags);
    if (type == SOCK_STREAM)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&sa, n) != 0)
        return worker_err(errno);
    if (!same) {
        same = MEM_NEW(struct bound);
        if (!same)
            return ERR_NOMEM;
        same->type = type;
        same->at = worker_sockname(fd);
        list_push(&g->bound, &same->by_group);
    }
    same->refs++;
    *ret_bound = same;
    return ERR_OK;
}

enum err worker_bind(struct worker_group *g, int fd, int type, const struct addr *at,
                     unsigned flags, struct bound **ret_bound)
{
    pthread_mutex_lock(&g->bound_lock);
    enum err rc = bind_locked(g, fd, type, at, flags, ret_bound);
    pthread_mutex_unlock(&g->bound_lock);
    return rc;
}

void worker_unbind(struct worker_group *g, struct bound *b)
{
    if (!b)
        return;
    pthread_mutex_lock(&g->bound_lock);
    if (--b->refs == 0) {
        list_unlink(&b->by_group);
        mem_free(b);
    }
    pthread_mutex_unlock(&g->bound_lock);
}

/* A connected datagram socket sends nothing, but has chosen its source. */
static enum err ask_kernel(const struct addr *to, struct addr *ret_local)
{
    enum { DISCARD = 9 };
    struct sockaddr_storage sa;
    struct addr any_port = *to;
    int fd;
    any_port.port = DISCARD; /* connect wants one; which is the same */
    TRY(worker_socket(to, SOCK_DGRAM, &fd));
    socklen_t n = worker_sockaddr(&any_port, &sa);
    bool ok = connect(fd, (struct sockaddr *)&sa, n) == 0;
    struct addr from = ok ? worker_sockname(fd) : (struct addr){0};
    close(fd);
    if (from.family == 0)
        return ERR_UNREACHABLE;
    from.port = 0;
    *ret_local = from;
    return ERR_OK;
}

/* Four system calls a message would be dear, so the answer is kept for a moment; two destinations
 * that share a place only ask more often. */
enum err worker_source_for(struct loop *l, const struct addr *to, struct addr *ret_local)
{
    struct worker *w = worker_of(l);
    unsigned place = to->scope;
    for (size_t i = 0; i < sizeof(to->ip); i++)
        place = place * 31 + to->ip[i];
    struct source *s = &w->source[place % SOURCES_KEPT];
    if (s->until <= l->now || !addr_equal_ip(&s->to, to)) {
        struct addr from;
        TRY(ask_kernel(to, &from));
        *s = (struct source){.to = *to, .from = from, .until = l->now + SOURCE_LIFE};
    }
    *ret_local = s->from;
    return ERR_OK;
}

static struct addr addr_of(const struct sockaddr *from)
{
    struct sockaddr_storage sa = {0};
    if (!from || (from->sa_family != AF_INET && from->sa_family != AF_INET6))
        return (struct addr){0};
    memcpy(&sa, from,
           from->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
    return worker_addr(&sa);
}

size_t worker_addresses(struct addr *ret_addrs, size_t max)
{
    struct ifaddrs *all;
    size_t n = 0;
    if (getifaddrs(&all) != 0)
        return 0;
    for (const struct ifaddrs *i = all; i && n < max; i = i->ifa_next) {
        struct addr a = addr_of(i->ifa_addr);
        bool known = a.family == 0 || !(i->ifa_flags & IFF_UP);
        for (size_t k = 0; k < n; k++)
            known |= addr_equal(&ret_addrs[k], &a);
        if (!known)
            ret_addrs[n++] = a;
    }
    freeifaddrs(all);
    return n;
}

/* The address with its host bits cleared. */
static struct addr_net net_of(const struct addr *a, const struct addr *mask)
{
    struct addr_net net = {.base = *a};
    net.base.port = 0;
    net.base.scope = 0;
    for (size_t i = 0; i < sizeof(a->ip); i++) {
        net.base.ip[i] &= mask->ip[i];
        net.bits = (uint8_t)(net.bits + __builtin_popcount(mask->ip[i]));
    }
    return net;
}

size_t worker_subnets(struct addr_net *ret_nets, size_t max)
{
    struct ifaddrs *all;
    size_t n = 0;
    if (getifaddrs(&all) != 0)
        return 0;
    for (const struct ifaddrs *i = all; i && n < max; i = i->ifa_next) {
        struct addr a = addr_of(i->ifa_addr), mask = addr_of(i->ifa_netmask);
        if (a.family == 0 || mask.family != a.family || !(i->ifa_flags & IFF_UP))
            continue;
        struct addr_net net = net_of(&a, &mask);
        bool known = false;
        for (size_t k = 0; k < n; k++)
            known |= ret_nets[k].bits == net.bits && addr_equal(&ret_nets[k].base, &net.base);
        if (!known)
            ret_nets[n++] = net;
    }
    freeifaddrs(all);
    return n;
}

/* Cores of one cpu.max ("max 100000", "150000 100000"), rounded up; LOOP_WORKERS_MAX when
 * unlimited. */
static unsigned quota_of(const char *path)
{
    char text[64];
    unsigned long long quota, period;
    unsigned cores = LOOP_WORKERS_MAX;
    FILE *f = fopen(path, "re");
    if (!f)
        return cores;
    if (fgets(text, sizeof(text), f) && sscanf(text, "%llu %llu", &quota, &period) == 2 &&
        period > 0 && quota < period * LOOP_WORKERS_MAX)
        cores = (unsigned)((quota + period - 1) / period);
    fclose(f);
    return cores;
}

/* The least that this process' cgroup (version 2) or one above it grants. */
static unsigned cgroup_cores(void)
{
    static const char root[] = "/sys/fs/cgroup", file[] = "/cpu.max";
    char line[2048], path[sizeof(root) + sizeof(line) + sizeof(file)];
    unsigned least = LOOP_WORKERS_MAX;
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f)
        return least;
    while (fgets(line, sizeof(line), f)) {
        if (strncmp(line, "0::/", 4) != 0)
            continue;
        line[strcspn(line, "\n")] = 0;
        size_t n = strlen(line);
        for (;;) {
            snprintf(path, sizeof(path), "%s%s%s", root, line + 3, file);
            unsigned here = quota_of(path);
            least = here < least ? here : least;
            while (n > 3 && line[n - 1] != '/')
                n--;
            if (n <= 3)
                break;
            line[--n] = 0;
        }
        break;
    }
    fclose(f);
    return least;
}

unsigned worker_cores(void)
{
    cpu_set_t set;
    unsigned cores = 1;
    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        cores = (unsigned)CPU_COUNT(&set);
    unsigned granted = cgroup_cores();
    cores = granted < cores ? granted : cores;
    return cores < 1 ? 1 : cores > LOOP_WORKERS_MAX ? LOOP_WORKERS_MAX : cores;
}
