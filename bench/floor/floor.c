/* SPDX-License-Identifier: MIT */
/* floor.c: what the kernel alone takes of a load over UDP. It understands nothing: each datagram is received and
 * sent as a server would have to, between recvmmsg and sendmmsg with as little as can be done. No server that
 * sends the same datagrams one by one as they come can cost less; how far it is from here is its own work.
 *
 * A request that is for us is answered with its own octets behind another first line; a challenge is given once; a
 * response goes to its topmost Via; another request to the address in its Request-URI or, when that names the
 * domain, to the last contact that was registered. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 64, ROOM = 4096 };

static struct {
    char in[BATCH][ROOM], out[BATCH][ROOM];
    struct sockaddr_in from[BATCH], to[BATCH];
    struct iovec got[BATCH], give[BATCH];
    struct mmsghdr rx[BATCH], tx[BATCH];
} now;
static struct sockaddr_in contact; /* the last one registered */
static const char
    *redirected; /* the first line of what INVITE gets instead; NULL: it is passed on */

/* "<ip>[:port]" behind the first `what` in text. 0: nothing like it. */
static int address(const char *text, const char *what, struct sockaddr_in *ret)
{
    char ip[16] = "";
    unsigned port = 5060;
    const char *at = strstr(text, what);
    if (!at || sscanf(at + strlen(what), "%15[0-9.]:%u", ip, &port) < 1)
        return 0;
    ret->sin_family = AF_INET;
    ret->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, ip, &ret->sin_addr) == 1;
}

static size_t answer(const char *in, size_t n, char *out, const char *line)
{
    const char *rest = strstr(in, "\r\n");
    size_t head = strlen(line), skip = rest ? (size_t)(rest - in) + 2 : n;
    memcpy(out, line, head);
    memcpy(out + head, in + skip, n - skip);
    return head + n - skip;
}

/* The octets that follow from the datagram, in out, and where they go; 0: none. */
static size_t turn(const char *in, size_t n, const struct sockaddr_in *from, char *out,
                   struct sockaddr_in *to)
{
    static const char challenge[] = "SIP/2.0 401 Unauthorized\r\n"
                                    "WWW-Authenticate: Digest realm=\"example.test\", "
                                    "nonce=\"floor\", algorithm=MD5, qop=\"auth\"\r\n";
    static const char ok[] = "SIP/2.0 200 OK\r\n";
    *to = *from;
    if (memcmp(in, "OPTIONS ", 8) == 0)
        return answer(in, n, out, ok);
    if (memcmp(in, "REGISTER ", 9) == 0) {
        const char *line = strstr(in, "\r\nContact: ");
        const char *uri = line ? strstr(line, "@") : NULL;
        if (!strstr(in, "\r\nAuthorization: "))
            return answer(in, n, out, challenge);
        if (uri)
            address(uri, "@", &contact);
        return answer(in, n, out, ok);
    }
    if (memcmp(in, "INVITE ", 7) == 0 && redirected)
        return answer(in, n, out, redirected);
    if (memcmp(in, "ACK ", 4) == 0 && redirected)
        return 0;
    int known = memcmp(in, "SIP/2.0 ", 8) == 0 ? address(in, "Via: SIP/2.0/UDP ", to) : 0;
    if (!known && memcmp(in, "SIP/2.0 ", 8) != 0) {
        *to = contact;
        address(in, "@", to);
    }
    memcpy(out, in, n);
    return n;
}

static void serve(int fd)
{
    for (int i = 0; i < BATCH; i++) {
        now.got[i] = (struct iovec){now.in[i], ROOM - 512};
        now.rx[i].msg_hdr = (struct msghdr){.msg_name = &now.from[i],
                                            .msg_namelen = sizeof(now.from[i]),
                                            .msg_iov = &now.got[i],
                                            .msg_iovlen = 1};
    }
    int n = recvmmsg(fd, now.rx, BATCH, MSG_DONTWAIT, NULL), send = 0;
    for (int i = 0; i < n; i++) {
        now.in[i][now.rx[i].msg_len] = '\0';
        size_t size =
            turn(now.in[i], now.rx[i].msg_len, &now.from[i], now.out[send], &now.to[send]);
        if (size == 0)
            continue;
        now.give[send] = (struct iovec){now.out[send], size};
        now.tx[send].msg_hdr = (struct msghdr){.msg_name = &now.to[send],
                                               .msg_namelen = sizeof(now.to[send]),
                                               .msg_iov = &now.give[send],
                                               .msg_iovlen = 1};
        send++;
    }
    for (int sent = 0, k; sent < send; sent += k)
        if ((k = sendmmsg(fd, now.tx + sent, (unsigned)(send - sent), 0)) <= 0)
            k = 1; /* lost, as datagrams may be */
}

int main(int argc, char **argv)
{
    struct sockaddr_in own = {.sin_family = AF_INET};
    struct epoll_event ev = {.events = EPOLLIN};
    int fd = socket(AF_INET, SOCK_DGRAM, 0), poll = epoll_create1(0);
    char *end = NULL;
    unsigned long port = argc < 2 ? 0 : strtoul(argv[1], &end, 10);
    if (port == 0 || port > 65535 || *end) {
        fprintf(stderr, "usage: floor PORT [redirect]    on 127.0.0.1; until it is killed\n");
        return 2;
    }
    own.sin_port = htons((uint16_t)port);
    inet_pton(AF_INET, "127.0.0.1", &own.sin_addr);
    if (argc > 2)
        redirected = "SIP/2.0 302 Moved Temporarily\r\nContact: <sip:b@127.0.0.3:5070>\r\n";
    if (fd < 0 || poll < 0 || bind(fd, (struct sockaddr *)&own, sizeof(own)) ||
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &ev)) {
        perror("floor");
        return 1;
    }
    for (;;)
        if (epoll_wait(poll, &ev, 1, -1) > 0)
            serve(fd);
}
