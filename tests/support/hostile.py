# SPDX-License-Identifier: MIT
"""Thousands of connections that mean no good, from many addresses; what is thrown out comes back.

with Mob({"tcp": 5060, "tls": 5061, "ws": 5080, "wss": 5443}, 5000, host=100) as mob:
    mob.counts()        {"open": connections that stand, "thrown": how often one was ended by the server, "by": …}

One connection is a generator of what it does: it yields seconds to wait, or "in" to wait until there is something
to read; its end is a connection that just stays. The processes run when nobody else wants to, for in the
world they would not use the server's processors.
"""
import heapq
import itertools
import json
import os
import pathlib
import select
import socket
import ssl
import subprocess
import sys
import threading
import time

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import tlsclient, websocket  # noqa: E402

PER_ADDRESS = 10
ARRIVALS = 400  # new connections a second and process, at most
AGAIN = 4.0  # seconds until one that was thrown out comes back
DOMAIN = "example.test"
REQUEST = """\
{method} sip:{domain} SIP/2.0\r
Via: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKh{n}\r
Max-Forwards: 70\r
From: <sip:mob{n}@{domain}>;tag=m{n}\r
To: <sip:mob{n}@{domain}>\r
Call-ID: mob{n}-{stamp}\r
CSeq: 1 {method}\r
Contact: <sip:mob{n}@127.0.0.1:9>\r
Content-Length: {length}\r
\r
"""
numbers = itertools.count(1)


def request(method, length=0):
    return REQUEST.format(method=method, domain=DOMAIN, n=next(numbers), stamp=time.monotonic_ns(),
                          length=length).encode()


def hello():
    """A whole ClientHello."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tlsclient.context().wrap_bio(into, out, server_hostname=DOMAIN)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


# --- what one of them does --------------------------------------------------------------------------------
def silent(_):
    yield 3600


def half_a_hello(link):
    link.send(hello()[:100])
    yield 3600


def hello_in_drops(link):
    for octet in hello():
        link.send(bytes([octet]))
        yield 1


def hello_and_no_more(link):
    """The server signs, and nobody reads it."""
    link.send(hello())
    yield 3600


def no_tls_at_all(link):
    link.send(os.urandom(300))
    yield 3600


def slow_header(link):
    for octet in itertools.cycle(request("OPTIONS")[:-4] + b"\r\nX-More: " + b"x" * 4000):
        link.send(bytes([octet]))
        yield 1


def endless_header(link):
    link.send(request("OPTIONS")[:-4] + b"\r\nX-More: ")
    while True:
        link.send(b"x" * 300)
        yield 1


def endless_body(link):
    link.send(request("OPTIONS", 60000))
    while True:
        link.send(b"x")
        yield 1


def enormous_body(link):
    link.send(request("INVITE", 2 ** 31))
    while True:
        link.send(b"x" * 1000)
        yield 1


def never_reads(link):
    while True:
        link.send(b"".join(request("OPTIONS") for _ in range(3)))
        yield 1


def guesses_and_never_reads(link):
    while True:
        link.send(b"".join(request("REGISTER") for _ in range(2)))
        yield 1


def slow_upgrade(link):
    for octet in itertools.cycle(websocket.upgrade("127.0.0.1")[:-2] + b"X-More: " + b"x" * 4000):
        link.send(bytes([octet]))
        yield 1


def half_an_upgrade(link):
    link.send(websocket.upgrade("127.0.0.1")[:-2])
    yield 3600


def pings(link):
    """Pongs are to be sent, and nobody reads them."""
    link.send(websocket.upgrade("127.0.0.1"))
    yield "in"
    while True:
        link.send(websocket.frame(b"p" * 125, websocket.PING) * 20)
        yield 1


def pieces(link):
    """A message that never ends, one octet a frame."""
    link.send(websocket.upgrade("127.0.0.1"))
    yield "in"
    link.send(websocket.frame(b"O", last=False))
    while True:
        link.send(websocket.frame(b"x", websocket.CONTINUATION, last=False))
        yield 1


def enormous_message(link):
    link.send(websocket.upgrade("127.0.0.1"))
    yield "in"
    link.send(websocket.frame(b"")[:1] + b"\xff" + (2 ** 40).to_bytes(8, "big") + b"mask")
    while True:
        link.send(b"x" * 500)
        yield 1


def behind_tls(deed):
    """The same, with a handshake before it."""
    def do(link):
        link.secure()
        while not link.shake():
            yield "in"
        yield from deed(link)
    do.__name__ = deed.__name__ + "_behind_tls"
    return do


DEEDS = [("tls", silent), ("tls", half_a_hello), ("tls", hello_in_drops), ("tls", hello_and_no_more),
         ("tls", no_tls_at_all), ("tls", behind_tls(slow_header)), ("tls", behind_tls(never_reads)),
         ("tcp", silent), ("tcp", slow_header), ("tcp", endless_header), ("tcp", endless_body),
         ("tcp", enormous_body), ("tcp", never_reads), ("tcp", guesses_and_never_reads),
         ("ws", slow_upgrade), ("ws", half_an_upgrade), ("ws", pings), ("ws", pieces), ("ws", enormous_message),
         ("wss", hello_and_no_more), ("wss", behind_tls(slow_upgrade)), ("wss", behind_tls(pings))]


# --- the side of the test ------------------------------------------------------------------------------------
class Mob:
    def __init__(self, ports, count, host, processes=2):
        self.orders = [{"ports": ports, "count": (count + n) // processes, "host": host + n}
                       for n in range(processes)]
        self.processes, self.last, self.changed = [], {}, threading.Condition()
        self.count = count

    def __enter__(self):
        for order in self.orders:
            process = subprocess.Popen([sys.executable, "-B", __file__, json.dumps(order)], text=True,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            self.processes.append(process)
            threading.Thread(target=self._read, args=(process,), daemon=True).start()
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()

    def _read(self, process):
        for line in process.stdout:
            with self.changed:
                self.last[process.pid] = json.loads(line)
                self.changed.notify_all()

    def counts(self):
        with self.changed:
            total = {"begun": 0, "open": 0, "thrown": 0, "refused": 0, "by": {}}
            for said in self.last.values():
                for name in ("begun", "open", "thrown", "refused"):
                    total[name] += said[name]
                for name, number in said["by"].items():
                    total["by"][name] = total["by"].get(name, 0) + number
            return total

    def wait_begun(self, timeout=60):
        """Until each connection was made once, whether it still stands or not."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.counts()["begun"] >= self.count, timeout), self.counts()
            assert all(p.poll() is None for p in self.processes), "a process of the mob ended"


# --- the side of the mob ----------------------------------------------------------------------------------------
class Link:
    """One connection of theirs; send() drops what does not fit, for it does not matter."""
    __slots__ = ("deed", "socket", "number", "serial", "waits_in")

    def __init__(self, deed, port, address, number):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        self.socket.bind((address, 0))
        self.socket.setblocking(False)
        self.number, self.serial, self.waits_in = number, next(numbers), False
        try:
            self.socket.connect(("127.0.0.1", port))
        except BlockingIOError:
            pass
        self.deed = deed(self)

    def send(self, octets):
        try:
            self.socket.send(octets)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass

    def secure(self):
        context = Gang.tls
        self.socket = context.wrap_socket(self.socket, do_handshake_on_connect=False, server_hostname=DOMAIN)

    def shake(self):
        try:
            self.socket.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False


class Gang:
    """The connections of one process."""
    tls = tlsclient.context()

    def __init__(self, order):
        self.ports, self.count, self.host = order["ports"], order["count"], order["host"]
        deeds = [(port, deed) for port, deed in DEEDS if port in self.ports]
        self.deeds = [deeds[n % len(deeds)] for n in range(self.count)]
        self.links = {}
        self.poll = select.epoll()
        # (when, whose, which of its connections): to go on with it; 0: to come (again)
        self.wake = [(0.0, n, 0) for n in range(self.count)]
        self.open = {}
        self.begun = self.thrown = self.refused = 0
        self.by = {}

    def come(self, number, now):
        kind, deed = self.deeds[number]
        place = number // PER_ADDRESS
        address = "127.%d.%d.%d" % (self.host, place // 250, 1 + place % 250)
        try:
            link = Link(deed, self.ports[kind], address, number)
        except OSError:
            self.refused += 1
            heapq.heappush(self.wake, (now + AGAIN, number, 0))
            return
        self.open[number] = link
        self.links[link.socket.fileno()] = link
        # Established first: a deed begins when it can be written.
        self.poll.register(link.socket.fileno(), select.EPOLLOUT | select.EPOLLRDHUP)

    def go(self, link, now):
        try:
            wish = next(link.deed)
        except StopIteration:
            wish = 3600
        except OSError:
            self.gone(link, now)
            return
        link.waits_in = wish == "in"
        self.poll.modify(link.socket.fileno(), select.EPOLLRDHUP | (select.EPOLLIN if link.waits_in else 0))
        if not link.waits_in:
            heapq.heappush(self.wake, (now + wish, link.number, link.serial))

    def gone(self, link, now):
        descriptor = link.socket.fileno()
        if self.links.pop(descriptor, None):
            self.poll.unregister(descriptor)
        link.socket.close()
        if self.open.get(link.number) is link:
            del self.open[link.number]
            self.thrown += 1
            name = self.deeds[link.number][1].__name__
            self.by[name] = self.by.get(name, 0) + 1
            heapq.heappush(self.wake, (now + AGAIN, link.number, 0))

    def run(self):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        report = time.monotonic()
        allowance, before = 0.0, report
        came = set()
        while True:
            now = time.monotonic()
            allowance = min(ARRIVALS / 10, allowance + (now - before) * ARRIVALS)
            before = now
            later = []
            while self.wake and self.wake[0][0] <= now:
                _, number, serial = heapq.heappop(self.wake)
                if serial:
                    link = self.open.get(number)
                    if link and link.serial == serial:
                        self.go(link, now)
                elif allowance >= 1:
                    allowance -= 1
                    if number not in came:
                        came.add(number)
                        self.begun += 1
                    self.come(number, now)
                else:
                    later.append((now + 0.02, number, 0))
            for item in later:
                heapq.heappush(self.wake, item)
            pause = min(0.25, max(0.001, self.wake[0][0] - now)) if self.wake else 0.25
            for descriptor, events in self.poll.poll(pause):
                link = self.links.get(descriptor)
                if link is None:
                    continue
                if events & (select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
                    self.gone(link, now)
                elif events & (select.EPOLLOUT | select.EPOLLIN):
                    self.go(link, now)
            if now - report > 0.5:
                report = now
                print(json.dumps({"begun": self.begun, "open": len(self.open), "thrown": self.thrown,
                                  "refused": self.refused, "by": self.by}), flush=True)


if __name__ == "__main__":
    Gang(json.loads(sys.argv[1])).run()
