# SPDX-License-Identifier: MIT
"""Thousands of idle clients: each one connection over TCP, TLS or WebSocket, each registered.

with Crowd("wss", port, users, password, 9000, host=10) as crowd:
    crowd.connect()                the connections stand, nothing was said on them but what the transport needs
    crowd.register()               each is registered, as one of the users, in turn
    ...                            they read, answer pings, and are called: a call gets 180, then 486
    crowd.rung(user)               when an INVITE came to that user, time.monotonic(), or None

The clients live in processes of their own, for the limit on descriptors and for the cores; each process is
one loop over epoll. Source addresses are 127.<host>.x.y, PER_ADDRESS connections each.
"""
import json
import pathlib
import secrets
import select
import socket
import ssl
import subprocess
import sys
import threading
import time

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import sip, tlsclient, websocket  # noqa: E402

PER_ADDRESS = 150
IN_FLIGHT = 24  # of a process: connections that are being made, or registrations without an answer
REGISTER = """\
REGISTER sip:{domain} SIP/2.0\r
Via: SIP/2.0/{transport} {host}:{port};rport;branch=z9hG4bK{call_id}{cseq}\r
Max-Forwards: 70\r
From: <sip:{user}@{domain}>;tag={call_id}\r
To: <sip:{user}@{domain}>\r
Call-ID: {call_id}\r
CSeq: {cseq} REGISTER\r
Contact: <{contact}>\r
Expires: 3600\r
{proof}Content-Length: 0\r
\r
"""
ANSWER = """\
SIP/2.0 {status}\r
{vias}\r
From: {frm}\r
To: {to}{tag}\r
Call-ID: {call_id}\r
CSeq: {cseq}\r
Content-Length: 0\r
\r
"""


# --- the side of the test ------------------------------------------------------------------------------
class Crowd:
    def __init__(self, kind, port, users, password, count, host, processes=2, ca=None,
                 domain="example.test"):
        self.count = count
        self.shares = [(count + n) // processes for n in range(processes)]
        self.orders = [{"kind": kind, "port": port, "users": users[n::processes] or users, "domain": domain,
                        "password": password, "count": share, "host": host + n, "ca": ca and str(ca)}
                       for n, share in enumerate(self.shares)]
        self.processes, self.said, self.changed = [], [], threading.Condition()

    def __enter__(self):
        for order in self.orders:
            process = subprocess.Popen([sys.executable, "-B", __file__, json.dumps(order)], text=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.processes.append(process)
            threading.Thread(target=self._read, args=(process,), daemon=True).start()
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
            process.stdin.close()

    def _read(self, process):
        for line in process.stdout:
            with self.changed:
                self.said.append(json.loads(line))
                self.changed.notify_all()
        with self.changed:
            self.said.append({"event": "wrong", "why": "a process of the crowd ended"})
            self.changed.notify_all()

    def _all(self, order, event, timeout):
        """Tell each process, wait until each has done it; the seconds that it took."""
        began = time.monotonic()
        for process in self.processes:
            process.stdin.write(order + "\n")
            process.stdin.flush()
        with self.changed:
            def done():
                wrong = [s for s in self.said if s["event"] == "wrong"]
                assert not wrong, wrong[:3]
                return sum(s["event"] == event for s in self.said) == len(self.processes)
            assert self.changed.wait_for(done, timeout), "%s: not all in %d s" % (order, timeout)
        return time.monotonic() - began

    def connect(self, timeout=600):
        return self._all("connect", "connected", timeout)

    def register(self, timeout=600):
        return self._all("register", "registered", timeout)

    def lost(self):
        """How many connections ended that should stand."""
        with self.changed:
            return sum(s["event"] == "lost" for s in self.said)

    def rung(self, user, timeout=5, since=0.0):
        with self.changed:
            def found():
                return next((s["at"] for s in self.said if s["event"] == "invite" and s["user"] == user
                             and s["at"] > since), None)
            self.changed.wait_for(found, timeout)
            return found()

def seconds_to_ring(caller, user, crowd):
    """From a caller's INVITE (without credentials at first) to its arrival at a client of the crowd."""
    uri, call_id = "sip:%s@%s" % (user, caller.domain), secrets.token_hex(8)
    began = time.monotonic()
    answer = caller.ask("INVITE", uri, ["Contact: <%s>" % caller.contact()], call_id=call_id)
    assert answer is not None and answer.status == 486, answer
    at = crowd.rung(user, since=began)
    assert at is not None, "%s was not called" % user
    return at - began


# --- the side of the clients ---------------------------------------------------------------------------
def say(**what):
    print(json.dumps(what), flush=True)


class Member:
    """One client. step() is called when its connection can be read."""
    __slots__ = ("crew", "user", "socket", "state", "octets", "pieces", "credentials", "cseq", "name")

    def __init__(self, crew, number):
        self.crew, self.user = crew, crew.users[number % len(crew.users)]
        self.octets = self.pieces = b""
        self.credentials, self.cseq, self.name = None, 0, "%s-%d" % (crew.seed, number)
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: ports are per connection
        address = number // PER_ADDRESS
        self.socket.bind(("127.%d.%d.%d" % (crew.host, address // 250, 1 + address % 250), 0))
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", crew.port))
        self.socket.setblocking(False)
        if crew.tls:
            self.socket = crew.tls.wrap_socket(self.socket, do_handshake_on_connect=False,
                                               server_hostname="127.0.0.1")
        self.state = "tls" if crew.tls else "open"
        if crew.tls:
            self.handshake()
        else:
            self.opened()

    def handshake(self):
        try:
            self.socket.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.opened()

    def opened(self):
        if self.crew.is_websocket:
            self.state = "upgrade"
            self.socket.send(websocket.upgrade("127.0.0.1:%d" % self.crew.port))
        else:
            self.state = "idle"
            self.crew.one_done()

    def step(self):
        """False: the connection ended."""
        if self.state == "tls":
            self.handshake()
            if self.state == "tls":
                return True
        while True:
            try:
                more = self.socket.recv(16384)
            except (ssl.SSLWantReadError, BlockingIOError):
                return True
            if not more:
                return False
            self.octets += more
            if self.state == "upgrade":
                head, end, rest = self.octets.partition(b"\r\n\r\n")
                if not end:
                    continue
                if not head.startswith(b"HTTP/1.1 101 "):
                    raise ValueError(head.decode("utf-8", "replace"))
                self.octets, self.state = rest, "idle"
                self.crew.one_done()
            for message in self.messages():
                self.take(message)

    def messages(self):
        while True:
            if not self.crew.is_websocket:
                message, self.octets = sip.first_message(self.octets)
            else:
                message = self.message_of_frames()
            if message is None:
                return
            yield message

    def message_of_frames(self):
        while True:
            got, self.octets = websocket.first_frame(self.octets)
            if got is None:
                return None
            kind, last, payload = got
            if kind == websocket.PING:
                self.socket.send(websocket.frame(payload, websocket.PONG))
            elif kind == websocket.CLOSE:
                raise ValueError("the server closes: %r" % payload)
            else:
                self.pieces += payload
                if last:
                    whole, self.pieces = self.pieces, b""
                    if whole.strip(b"\r\n"):
                        return sip.Message(whole)

    def send(self, text):
        octets = text.encode()
        self.socket.send(websocket.frame(octets) if self.crew.is_websocket else octets)

    def register(self):
        crew = self.crew
        self.state, self.cseq = "asks", self.cseq + 1
        host, port = self.socket.getsockname()
        if crew.is_websocket:
            host = "%s.invalid" % self.name
            contact = "sip:%s@%s;transport=ws" % (self.user, host)
        else:
            contact = "sip:%s@%s:%d;transport=%s" % (self.user, host, port, crew.kind)
        proof = ""
        if self.credentials:
            proof = "Authorization: %s\r\n" % self.credentials.answer("REGISTER", "sip:" + crew.domain)
        self.send(REGISTER.format(domain=crew.domain, transport=crew.kind.upper(), host=host, port=port,
                                  call_id=self.name, cseq=self.cseq, user=self.user, contact=contact,
                                  proof=proof))

    def take(self, message):
        if not message.is_response:
            if message.method == "INVITE":
                say(event="invite", user=self.user, at=time.monotonic())
                self.reply(message, "180 Ringing")
                self.reply(message, "486 Busy Here")
            elif message.method != "ACK":
                self.reply(message, "200 OK")
        elif self.state == "asks" and message.status == 401 and not self.credentials:
            self.credentials = sip.Credentials(message["www-authenticate"], self.user, self.crew.password)
            self.register()
        elif self.state == "asks" and message.status == 200:
            self.state, self.credentials = "registered", None
            self.crew.one_done()
        elif self.state == "asks" and message.status >= 200:
            raise ValueError("REGISTER of %s: %s" % (self.user, message.start))

    def reply(self, request, status):
        self.send(ANSWER.format(status=status, vias="\r\n".join("Via: " + v for v in request.all("via")),
                                frm=request["from"], to=request["to"], tag=";tag=" + self.name,
                                call_id=request["call-id"], cseq=request["cseq"]))


class Crew:
    """The members of one process."""

    def __init__(self, order):
        self.kind, self.port, self.users = order["kind"], order["port"], order["users"]
        self.domain, self.password = order["domain"], order["password"]
        self.count, self.host = order["count"], order["host"]
        self.is_websocket = self.kind in ("ws", "wss")
        self.tls = tlsclient.context(order["ca"]) if self.kind in ("tls", "wss") else None
        self.seed = "%d-%d" % (self.host, time.time_ns() // 1000)
        self.members, self.by_descriptor = [], {}
        self.poll = select.epoll()
        self.poll.register(sys.stdin, select.EPOLLIN)
        self.job = None  # "connect" or "register"
        self.begun = self.done = 0

    def one_done(self):
        self.done += 1

    def begin(self):
        """Go on with the job, so that IN_FLIGHT are under way."""
        while self.job and self.begun < self.count and self.begun - self.done < IN_FLIGHT:
            self.begun += 1
            if self.job == "register":
                self.members[self.begun - 1].register()
                continue
            member = Member(self, self.begun - 1)
            self.members.append(member)
            self.by_descriptor[member.socket.fileno()] = member
            self.poll.register(member.socket, select.EPOLLIN)
        if self.job and self.done == self.count:
            say(event="connected" if self.job == "connect" else "registered")
            self.job = None

    def run(self):
        while True:
            for descriptor, _ in self.poll.poll():
                if descriptor == sys.stdin.fileno():
                    self.job = sys.stdin.readline().strip()
                    if not self.job:
                        return
                    self.begun = self.done = 0
                    continue
                member = self.by_descriptor[descriptor]
                why = ""
                try:
                    if member.step():
                        continue
                except (OSError, ValueError) as error:
                    why = str(error)
                self.poll.unregister(descriptor)
                say(event="lost" if self.job is None else "wrong", user=member.user, why=why or "closed")
            self.begin()


if __name__ == "__main__":
    try:
        Crew(json.loads(sys.argv[1])).run()
    except (OSError, ValueError) as error:
        say(event="wrong", why=repr(error))
