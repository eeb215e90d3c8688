# SPDX-License-Identifier: MIT
"""A raw SIP client (RFC 3261) for tests: it sends what it is told to, right or wrong."""
import hashlib
import itertools
import re
import secrets
import select
import socket
import threading
import time

LONG = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length",
        "c": "content-type", "k": "supported", "s": "subject", "e": "content-encoding"}
HASHES = {"md5": hashlib.md5, "sha-256": hashlib.sha256}


class Message:
    """What arrived: start line, [(name in lower case, value)], body."""

    def __init__(self, octets):
        self.octets = octets
        head, _, self.body = octets.partition(b"\r\n\r\n")
        lines = re.sub(r"\r\n[ \t]+", " ", head.decode("utf-8", "replace")).split("\r\n")
        self.start = lines[0]
        self.headers = []
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            self.headers.append((LONG.get(name, name), value.strip()))
        words = self.start.split(" ", 2)
        self.is_response = words[0] == "SIP/2.0"
        self.status = int(words[1]) if self.is_response else 0
        self.reason = words[2] if self.is_response and len(words) > 2 else ""
        self.method = (self["cseq"].split() or [""])[-1] if self.is_response else words[0]
        self.uri = "" if self.is_response else words[1]

    def all(self, name):
        return [v for n, v in self.headers if n == name]

    def __getitem__(self, name):
        return next((v for n, v in self.headers if n == name), "")

    def __repr__(self):
        return "<%s>" % self.start

    def param(self, name, key):
        """A parameter of a header, "" when it is not there."""
        found = re.search(r';\s*%s\s*=\s*"?([^;,">\s]+)' % re.escape(key), self[name])
        return found[1] if found else ""


def first_message(octets):
    """(the first whole message of a stream or None, the rest)."""
    octets = octets.lstrip(b"\r\n")
    end = octets.find(b"\r\n\r\n")
    if end < 0:
        return None, octets
    length = re.search(rb"\r\n(?:content-length|l)[ \t]*:[ \t]*(\d+)", octets[:end], re.I)
    whole = end + 4 + (int(length[1]) if length else 0)
    if len(octets) < whole:
        return None, octets
    return Message(octets[:whole]), octets[whole:]


def challenge_fields(value):
    """realm, nonce, ... of a WWW-Authenticate or Proxy-Authenticate value."""
    return {k.lower(): q or t
            for k, q, t in re.findall(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,]+))', value.split(" ", 1)[1])}


class Credentials:
    """Answers one challenge again and again, with a rising nonce count (RFC 7616 section 3.4)."""

    def __init__(self, challenge, user, password):
        self.fields = challenge_fields(challenge)
        self.user = user
        self.algorithm = self.fields.get("algorithm", "MD5")
        self.hash = HASHES[self.algorithm.lower()]
        self.ha1 = self.digest("%s:%s:%s" % (user, self.fields["realm"], password))
        self.cnonce = secrets.token_hex(4)
        self.counts = itertools.count(1)

    def digest(self, text):
        return self.hash(text.encode()).hexdigest()

    def answer(self, method, uri, count=None):
        ha2 = self.digest("%s:%s" % (method, uri))
        nonce, f = self.fields["nonce"], self.fields
        text = 'Digest username="%s", realm="%s", nonce="%s", uri="%s", algorithm=%s' % (
            self.user, f["realm"], nonce, uri, self.algorithm)
        if "qop" in f:
            nc = "%08x" % (count or next(self.counts))
            text += ', qop=auth, nc=%s, cnonce="%s"' % (nc, self.cnonce)
            text += ', response="%s"' % self.digest(
                ":".join((self.ha1, nonce, nc, self.cnonce, "auth", ha2)))
        else:
            text += ', response="%s"' % self.digest(":".join((self.ha1, nonce, ha2)))
        if "opaque" in f:
            text += ', opaque="%s"' % f["opaque"]
        return text


class Client:
    """One user agent on one socket. with Client(server.port, "tcp") as phone: ..."""

    def __init__(self, port, transport="udp", user="alice", password="a-long-password",
                 domain="example.test", server="127.0.0.1", ip=None):
        self.transport, self.user, self.password, self.domain = transport, user, password, domain
        self.server = (server, port)
        self.family = socket.AF_INET6 if ":" in server else socket.AF_INET
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        self.socket = socket.socket(self.family, kind)
        self.socket.bind((ip or server, 0))
        self.socket.settimeout(10)
        self.socket.connect(self.server)
        host, self.port = self.socket.getsockname()[:2]
        self.host = "[%s]" % host if ":" in host else host
        self.stream = b""
        self.cseq = itertools.count(1)
        self.call_id = secrets.token_hex(8)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    # --- octets ----------------------------------------------------------------------------------
    def send(self, octets):
        self.socket.sendall(octets if isinstance(octets, bytes) else octets.encode())

    def receive(self, timeout=5):
        """The next message, or None: none came in time, or the connection ended."""
        until = time.monotonic() + timeout
        while True:
            if self.transport != "udp":
                message, self.stream = first_message(self.stream)
                if message:
                    return message
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return None
            try:
                octets = self.socket.recv(65536)
            except OSError:
                return None
            if self.transport == "udp":
                if octets.strip(b"\r\n\0"):
                    return Message(octets)
            elif not octets:
                return None
            else:
                self.stream += octets

    def is_closed(self, timeout=5):
        """True when the server ends the connection within the time; what it says before is dropped."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if select.select([self.socket], [], [], until - time.monotonic())[0]:
                try:
                    if not self.socket.recv(65536):
                        return True
                except OSError:
                    return True
        return False

    # --- messages --------------------------------------------------------------------------------
    def aor(self):
        return "sip:%s@%s" % (self.user, self.domain)

    def contact(self):
        return "sip:%s@%s:%d%s" % (self.user, self.host, self.port,
                                   "" if self.transport == "udp" else ";transport=" + self.transport)

    def via(self, branch=None):
        return "SIP/2.0/%s %s:%d;rport;branch=%s" % (
            self.transport.upper(), self.host, self.port, branch or "z9hG4bK" + secrets.token_hex(8))

    def request(self, method, uri, headers=(), body="", branch=None, to=None, frm=None, call_id=None,
                cseq=None, tag=None, cseq_method=None):
        """The octets of a request; headers are lines that follow the mandatory ones."""
        body = body.encode() if isinstance(body, str) else body
        lines = ["%s %s SIP/2.0" % (method, uri), "Via: " + self.via(branch), "Max-Forwards: 70",
                 "From: " + (frm or "<%s>;tag=%s" % (self.aor(), tag or secrets.token_hex(4))),
                 "To: " + (to or "<%s>" % uri),
                 "Call-ID: " + (call_id or self.call_id),
                 "CSeq: %d %s" % (cseq or next(self.cseq), cseq_method or method), *headers,
                 "Content-Length: %d" % len(body)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body

    def response(self, request, status, reason, headers=(), tag="callee", body=""):
        """The octets of a response to a request that came here (RFC 3261 section 8.2.6)."""
        to = request["to"]
        if ";tag=" not in to and status > 100:
            to += ";tag=" + tag
        lines = ["SIP/2.0 %d %s" % (status, reason)]
        lines += ["Via: " + v for v in request.all("via")]
        lines += ["Record-Route: " + v for v in request.all("record-route")]
        lines += ["From: " + request["from"], "To: " + to, "Call-ID: " + request["call-id"],
                  "CSeq: " + request["cseq"], *headers, "Content-Length: %d" % len(body)]
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()

    def final(self, timeout=5, method=None):
        """The next final response (to that method)."""
        until = time.monotonic() + timeout
        while True:
            message = self.receive(max(0.0, until - time.monotonic()))
            if message is None:
                return None
            if message.is_response and message.status >= 200 and method in (None, message.method):
                return message

    def ask(self, method, uri, headers=(), **how):
        """Send a request, with credentials when asked for them; the final response, ACKed if need be."""
        credentials = None
        how.setdefault("tag", secrets.token_hex(4))
        while True:
            branch, cseq = "z9hG4bK" + secrets.token_hex(8), next(self.cseq)
            proof = [credentials] if credentials else []
            self.send(self.request(method, uri, [*headers, *proof], branch=branch, cseq=cseq, **how))
            answer = self.final(method=method)
            if answer is None:
                return None
            if method == "INVITE" and answer.status >= 300:
                self.send(self.request("ACK", uri, branch=branch, cseq=cseq, to=answer["to"],
                                       **{k: v for k, v in how.items() if k in ("frm", "call_id", "tag")}))
            if credentials or answer.status not in (401, 407) or not self.password:
                return answer
            kind, asked = ("Authorization", "www-authenticate") if answer.status == 401 else (
                "Proxy-Authorization", "proxy-authenticate")
            answers = Credentials(answer[asked], self.user, self.password)
            credentials = "%s: %s" % (kind, answers.answer(method, uri))

    def register(self, contact=None, expires=300, **how):
        return self.ask("REGISTER", "sip:" + self.domain,
                        ["Contact: <%s>" % (contact or self.contact()), "Expires: %d" % expires],
                        to="<%s>" % self.aor(), **how)

    def forget_all(self):
        """Remove every binding of the account (RFC 3261 section 10.2.2)."""
        return self.ask("REGISTER", "sip:" + self.domain, ["Contact: *", "Expires: 0"],
                        to="<%s>" % self.aor())


class Call:
    """The caller's view of an INVITE that was answered 200: ACK and BYE along the route set."""

    def __init__(self, client, answer, uri, frm):
        self.client, self.answer, self.frm = client, answer, frm
        self.target = re.search(r"<([^>]*)>|^([^;]*)", answer["contact"])
        self.target = self.target[1] or self.target[2]
        self.routes = ["Route: " + v for v in reversed(answer.all("record-route"))]
        self.how = {"to": answer["to"], "frm": frm, "call_id": answer["call-id"]}

    def ack(self):
        self.client.send(self.client.request("ACK", self.target, self.routes,
                                             cseq=int(self.answer["cseq"].split()[0]), **self.how))

    def bye(self):
        return self.client.ask("BYE", self.target, self.routes, **self.how)


class Callee(threading.Thread):
    """Answers what comes to a client: rings, takes calls after `delay` seconds, ends them, says 200 to
    the rest. It keeps the requests that it saw, in order. with Callee(client) as callee: ..."""

    def __init__(self, client, status=200, reason="OK", delay=0.0):
        super().__init__(daemon=True)
        self.client, self.status, self.reason, self.delay = client, status, reason, delay
        self.requests, self.over = [], False

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.join()

    def run(self):
        while not self.over:
            request = self.client.receive(0.1)
            if request is None or request.is_response:
                continue
            self.requests.append(request)
            if request.method == "INVITE":
                self.answer(request)
            elif request.method != "ACK":
                self.client.send(self.client.response(request, 200, "OK"))

    def answer(self, invite):
        contact = ["Contact: <%s>" % self.client.contact()]
        self.client.send(self.client.response(invite, 180, "Ringing", contact))
        time.sleep(self.delay)
        self.client.send(self.client.response(invite, self.status, self.reason, contact))

    def methods(self):
        return [r.method for r in self.requests]


def place_call(caller, user="bob"):
    """A whole call: INVITE (with digest), ACK, BYE; (status of the INVITE, of the BYE)."""
    uri, tag = "sip:%s@%s" % (user, caller.domain), secrets.token_hex(4)
    call_id = secrets.token_hex(8)
    answer = caller.ask("INVITE", uri, ["Contact: <%s>" % caller.contact()], tag=tag, call_id=call_id)
    if answer is None or answer.status != 200:
        return (answer and answer.status, None)
    call = Call(caller, answer, uri, "<%s>;tag=%s" % (caller.aor(), tag))
    call.ack()
    bye = call.bye()
    return (200, bye and bye.status)
