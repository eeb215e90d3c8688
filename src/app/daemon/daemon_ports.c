/* SPDX-License-Identifier: MIT */
/* Are the ports free, and who has them. Our own sockets share a port among workers (SO_REUSEPORT),
 * and would share it with another Tandem of the same user too: so it is asked first, by sockets
 * that share with nobody. */
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/daemon_priv.h"

enum { PORTS_TRIED = 200 };

/* 0, or the errno of a bind. */
static int try_bind(const struct addr *a, int type, bool freebind)
{
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } u = {0};
    socklen_t n;
    if (a->family == 6) {
        u.in6.sin6_family = AF_INET6;
        u.in6.sin6_port = htons(a->port);
        u.in6.sin6_scope_id = a->scope;
        memcpy(&u.in6.sin6_addr, a->ip, 16);
        n = sizeof(u.in6);
    } else {
        u.in.sin_family = AF_INET;
        u.in.sin_port = htons(a->port);
        memcpy(&u.in.sin_addr, a->ip, 4);
        n = sizeof(u.in);
    }
    int fd = socket(u.sa.sa_family, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int one = 1;
    if (a->family == 6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (freebind)
        setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one));
    if (type == SOCK_STREAM)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one,
                   sizeof(one)); /* TIME_WAIT of an earlier run */
    int rc = bind(fd, &u.sa, n) != 0 ? errno : 0;
    if (rc == 0 && type == SOCK_STREAM && listen(fd, 1) != 0)
        rc = errno;
    close(fd);
    return rc;
}

/* ---- who has it: /proc/net/… names the socket's inode, /proc/PID/fd/… the process ---- */

/* The address of a line, eight hexadecimal digits a word in the order of this machine, stands in
 * the
 * way of a: it is the same, or one of the two is every address. */
static bool in_the_way(const char *hex, bool six, const struct addr *a)
{
    uint32_t word[4] = {0};
    bool any = true;
    for (int i = 0; i < (six ? 4 : 1); i++) {
        char digits[9] = "";
        memcpy(digits, hex + 8 * i, strnlen(hex + 8 * i, 8));
        word[i] = (uint32_t)strtoul(digits, NULL, 16);
        any = any && word[i] == 0;
    }
    if (any || addr_is_any(a))
        return true;
    return six == (a->family == 6) && memcmp(word, a->ip, six ? 16 : 4) == 0;
}

static unsigned long socket_inode(const char *table, bool six, const struct addr *a)
{
    char path[64], line[512];
    struct buf b;
    buf_init(&b, path, sizeof(path));
    buf_printf(&b, "/proc/net/%s", table);
    buf_char(&b, '\0');
    FILE *f = fopen(path, "re");
    unsigned long found = 0;
    while (f && !found && fgets(line, sizeof(line), f)) {
        char local[33] = "";
        unsigned local_port, remote_port;
        unsigned long inode;
        if (sscanf(line, " %*d: %32[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%x %*x %*s %*s %*s %*s %*s %lu",
                   local, &local_port, &remote_port, &inode) == 4 &&
            strlen(local) == (six ? 32 : 8) && local_port == a->port && remote_port == 0 &&
            in_the_way(local, six, a))
            found = inode;
    }
    if (f)
        fclose(f);
    return found;
}

static bool has_inode(const char *pid, unsigned long inode)
{
    char path[320], link[64], want[64];
    struct buf b;
    buf_init(&b, want, sizeof(want));
    buf_printf(&b, "socket:[%lu]", inode);
    buf_char(&b, '\0');
    buf_init(&b, path, sizeof(path));
    buf_printf(&b, "/proc/%s/fd", pid);
    buf_char(&b, '\0');
    DIR *dir = opendir(path);
    bool found = false;
    for (struct dirent *e; dir && !found && (e = readdir(dir));) {
        buf_init(&b, path, sizeof(path));
        buf_printf(&b, "/proc/%s/fd/%s", pid, e->d_name);
        buf_char(&b, '\0');
        ssize_t n = b.rc ? -1 : readlink(path, link, sizeof(link) - 1);
        if (n > 0) {
            link[n] = '\0';
            found = strcmp(link, want) == 0;
        }
    }
    if (dir)
        closedir(dir);
    return found;
}

/* "name (process 123)", or "another process". */
static void put_holder(struct buf *b, bool udp, const struct addr *a)
{
    const char *tables[] = {udp ? "udp" : "tcp", udp ? "udp6" : "tcp6"};
    unsigned long inode = 0;
    for (int i = 0; i < 2 && !inode; i++)
        inode = socket_inode(tables[i], i == 1, a);
    DIR *dir = inode ? opendir("/proc") : NULL;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char path[300], name[64] = "";
        struct buf p;
        if (!isdigit((unsigned char)e->d_name[0]) || !has_inode(e->d_name, inode))
            continue;
        buf_init(&p, path, sizeof(path));
        buf_printf(&p, "/proc/%s/comm", e->d_name);
        buf_char(&p, '\0');
        FILE *f = fopen(path, "re");
        if (f && fgets(name, sizeof(name), f))
            name[strcspn(name, "\n")] = '\0';
        if (f)
            fclose(f);
        buf_printf(b, "%s (process %s)", name[0] ? name : "a process", e->d_name);
        closedir(dir);
        return;
    }
    if (dir)
        closedir(dir);
    buf_str(b, "another process");
}

static void put_transport(struct buf *b, enum sip_transport t)
{
    sv name = sip_transport_name(t);
    for (size_t i = 0; i < name.n; i++)
        buf_char(b, sv_lower(name.p[i]));
}

static int taken(enum sip_transport t, const struct addr *a, int error)
{
    char where[80], who[200], words[8];
    struct buf b, w, transport;
    buf_init(&b, where, sizeof(where));
    addr_print(&b, a);
    buf_init(&w, who, sizeof(who));
    buf_init(&transport, words, sizeof(words));
    put_transport(&transport, t);
    const char *hint = error == EADDRNOTAVAIL ? "no interface of this machine has this address"
                       : error == EACCES      ? "ports under 1024 need root"
                                              : NULL;
    if (error == EADDRINUSE) {
        put_holder(&w, t == SIP_T_UDP, a);
        LOG_ERROR("daemon", "start.failed", F_STR("what", "the port is taken"),
                  F_SV("transport", buf_sv(&transport)), F_SV("address", buf_sv(&b)),
                  F_SV("by", buf_sv(&w)), F_STR("error", strerror(error)));
    } else if (hint) {
        LOG_ERROR("daemon", "start.failed", F_STR("what", "the port cannot be opened"),
                  F_SV("transport", buf_sv(&transport)), F_SV("address", buf_sv(&b)),
                  F_STR("hint", hint), F_STR("error", strerror(error)));
    } else {
        LOG_ERROR("daemon", "start.failed", F_STR("what", "the port cannot be opened"),
                  F_SV("transport", buf_sv(&transport)), F_SV("address", buf_sv(&b)),
                  F_STR("error", strerror(error)));
    }
    return 3;
}

/* ---- doors ---- */

static int try_listener(const struct sip_listen *l)
{
    int type = l->transport == SIP_T_UDP ? SOCK_DGRAM : SOCK_STREAM;
    return l->bind.port ? try_bind(&l->bind, type, l->freebind) : 0;
}

/* A machine without IPv6 is no mistake of anybody's. */
static void drop_ipv6(struct sip_config *c)
{
    for (unsigned i = 0; i < c->listeners;) {
        struct sip_listen *l = &c->listen[i];
        int error = l->bind.family == 6 ? try_listener(l) : 0;
        if (error == EAFNOSUPPORT || error == EADDRNOTAVAIL)
            memmove(l, l + 1, (--c->listeners - i) * sizeof(*l));
        else
            i++;
    }
}

/* The ports as they were before any was moved, in the order of the listeners. The listeners of one
 * port are a door, such as UDP and TCP of 5060, and move together. */
struct doors {
    struct sip_config *c;
    uint16_t home[SIP_LISTENERS_MAX];
};

/* The next port that is no other door's, neither where that one was nor where it is: a phone that
 * speaks in clear to 5061 would be understood there. */
static uint16_t next_port(const struct doors *d, uint16_t port)
{
    bool ours;
    do {
        port++;
        ours = false;
        for (unsigned i = 0; i < d->c->listeners; i++)
            ours = ours || d->home[i] == port || d->c->listen[i].bind.port == port;
    } while (ours);
    return port;
}

static void say_moved(const struct doors *d, uint16_t from, uint16_t to)
{
    char mem[64];
    struct buf b;
    unsigned said = 0;
    buf_init(&b, mem, sizeof(mem));
    for (unsigned i = 0; i < d->c->listeners; i++) {
        enum sip_transport t = d->c->listen[i].transport;
        if (d->home[i] != from || (said & 1u << t))
            continue;
        buf_str(&b, said ? "," : "");
        put_transport(&b, t);
        said |= 1u << t;
    }
    LOG_WARN("daemon", "port.moved", F_SV("transport", buf_sv(&b)), F_INT("from", from),
             F_INT("to", to), F_STR("why", "the port is taken"));
}

/* Non-zero: exit code, said why. */
static int open_door(const struct doors *d, uint16_t home, unsigned tries)
{
    uint16_t port = home;
    for (unsigned t = 0;; t++) {
        int error = 0;
        for (unsigned i = 0; i < d->c->listeners && !error; i++) {
            struct sip_listen *l = &d->c->listen[i];
            if (d->home[i] != home)
                continue;
            l->bind.port = port;
            error = try_listener(l);
            if (error && (t + 1 >= tries || error != EADDRINUSE))
                return taken(l->transport, &l->bind, error);
        }
        if (!error)
            break;
        port = next_port(d, port);
    }
    if (port != home)
        say_moved(d, home, port);
    return 0;
}

int ports_check(struct daemon *d)
{
    struct sip_config *c = &d->config->settings->sip;
    bool move = !d->config->listen_given && !d->config->file.p;
    struct doors doors = {.c = c};
    if (!d->config->listen_given)
        drop_ipv6(c);
    for (unsigned i = 0; i < c->listeners; i++)
        doors.home[i] = c->listen[i].bind.port;
    for (unsigned i = 0; i < c->listeners; i++) {
        unsigned first = 0;
        while (doors.home[first] != doors.home[i])
            first++;
        int code = first == i ? open_door(&doors, doors.home[i], move ? PORTS_TRIED : 1) : 0;
        if (code)
            return code;
    }
    return 0;
}

int ports_check_turn(struct daemon *d)
{
    struct settings_turn *t = &d->config->settings->turn;
    for (unsigned i = 0; i < t->listeners;) {
        struct turnserver_listen *l = &t->listen[i];
        bool udp = l->transport == TURNSERVER_UDP;
        int error = l->bind.port ? try_bind(&l->bind, udp ? SOCK_DGRAM : SOCK_STREAM, false) : 0;
        bool no_ipv6 = l->bind.family == 6 && addr_is_any(&l->bind) &&
                       (error == EAFNOSUPPORT || error == EADDRNOTAVAIL);
        if (error && !no_ipv6)
            return taken(udp ? SIP_T_UDP : SIP_T_TCP, &l->bind, error);
        if (no_ipv6)
            memmove(l, l + 1, (--t->listeners - i) * sizeof(*l));
        else
            i++;
    }
    return 0;
}

int ports_check_http(struct addr *addr, bool move)
{
    uint16_t first = addr->port;
    for (unsigned t = 0;; t++) {
        int error = try_bind(addr, SOCK_STREAM, false);
        if (!error)
            break;
        if (!move || error != EADDRINUSE || t >= PORTS_TRIED)
            return taken(SIP_T_TCP, addr, error);
        addr->port = (uint16_t)(addr->port + 1);
    }
    if (addr->port != first)
        LOG_WARN("daemon", "port.moved", F_STR("transport", "http"), F_INT("from", first),
                 F_INT("to", addr->port), F_STR("why", "the port of control.http is taken"));
    return 0;
}
