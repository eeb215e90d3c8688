# SPDX-License-Identifier: MIT
"""REGISTERs as fast as one process can, and an account of what was promised.

Each binding (one contact of one account) is refreshed or removed again and again, one request in flight at
a time. IN_FLIGHT bindings of an account are busy at a time and the others rest: those are what a kill -9
must not touch, and the last of them was answered a moment before. `state` is what the last 200 promised: True (bound), False (removed),
None (nothing, or a request is unanswered, so either may hold).
"""
import random
import re
import select
import socket
import time

from . import sip

CALL_ID = re.compile(rb"\r\n(?:Call-ID|i)[ \t]*:[ \t]*(\S+)", re.I)
CSEQ = re.compile(rb"\r\nCSeq[ \t]*:[ \t]*(\d+)", re.I)
CHALLENGE = re.compile(rb"\r\nWWW-Authenticate[ \t]*:[ \t]*([^\r]+)", re.I)
REQUEST = """\
REGISTER sip:{domain} SIP/2.0\r
Via: SIP/2.0/UDP {host}:{port};rport;branch=z9hG4bK{call_id}.{cseq}\r
Max-Forwards: 70\r
From: <sip:{user}@{domain}>;tag={call_id}\r
To: <sip:{user}@{domain}>\r
Call-ID: {call_id}\r
CSeq: {cseq} REGISTER\r
Contact: <{contact}>\r
Expires: {expires}\r
{proof}Content-Length: 0\r
\r
"""
IN_FLIGHT = 2
PATIENCE = 0.5  # seconds until a request is sent again: T1


class Binding:
    def __init__(self, account, number):
        self.account = account
        self.contact = "sip:%s@%s:%d" % (account.user, account.host, 20000 + number)
        self.call_id = "%s-%d-%08x" % (account.user, number, random.getrandbits(32))
        self.cseq = 0
        self.state = False
        self.wanted = None  # what the request in flight asks for
        self.octets = b""
        self.sent_at = 0.0

    def ask(self, wanted):
        self.wanted, self.cseq = wanted, self.cseq + 1
        account = self.account
        uri = "sip:" + account.domain
        proof = ""
        if account.credentials:
            proof = "Authorization: %s\r\n" % account.credentials.answer("REGISTER", uri)
        self.octets = REQUEST.format(
            domain=account.domain, host=account.host, port=account.port, user=account.user,
            call_id=self.call_id, cseq=self.cseq, contact=self.contact,
            expires=3600 if wanted else 0, proof=proof).encode()
        self.state = None
        self.send()

    def send(self):
        self.sent_at = time.monotonic()
        try:
            self.account.socket.send(self.octets)
        except OSError:
            pass  # the server died: nobody listens


class Account:
    """One account on one socket, from a source address of its own."""

    def __init__(self, user, password, domain, server_port, number, bindings):
        self.user, self.password, self.domain = user, password, domain
        self.host = "127.0.1.%d" % (number + 1)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((self.host, 0))
        self.socket.connect(("127.0.0.1", server_port))
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]
        self.credentials = None
        self.bindings = {b.call_id: b for b in (Binding(self, n) for n in range(bindings))}

    def take(self):
        """Read what is there; the number of 200s."""
        granted = 0
        while True:
            try:
                octets = self.socket.recv(65536)
            except OSError:
                return granted  # no more, or connection refused: the server is gone
            status = int(octets[8:11])
            call_id, cseq = CALL_ID.search(octets), CSEQ.search(octets)
            binding = self.bindings.get(call_id[1].decode()) if call_id else None
            if status < 200 or binding is None or binding.wanted is None:
                continue
            if int(cseq[1]) != binding.cseq:
                continue  # the answer to a repetition
            if status == 200:
                binding.state, binding.wanted = binding.wanted, None
                granted += 1
            elif status == 401:
                challenge = CHALLENGE.search(octets)[1].decode()
                current = self.credentials.fields["nonce"].encode() if self.credentials else b""
                if current in binding.octets:  # else the nonce was renewed since that request
                    self.credentials = sip.Credentials(challenge, self.user, self.password)
                binding.ask(binding.wanted)
            else:
                raise AssertionError("REGISTER got %s" % octets[:400].decode("utf-8", "replace"))


class Load:
    def __init__(self, server_port, users, password, domain="example.test", bindings=8, seed=1):
        self.random = random.Random(seed)
        self.accounts = [Account(user, password, domain, server_port, n, bindings)
                         for n, user in enumerate(users)]

    def close(self):
        for account in self.accounts:
            account.socket.close()

    def each(self):
        return (b for account in self.accounts for b in account.bindings.values())

    def choose(self, binding):
        """Half of those that are bound are removed next; what is not is bound."""
        return not binding.state or self.random.random() < 0.5

    def run(self, seconds, then, moment=lambda: True, patience=10):
        """Load for so long and on until moment() is true (or patience ends), call then() with requests
        still in flight, and read what had been answered before; the rate of 200s a second."""
        granted, began = 0, time.monotonic()
        for account in self.accounts:
            for binding in self.random.sample(list(account.bindings.values()), IN_FLIGHT):
                binding.ask(self.choose(binding))
        by_socket = {a.socket: a for a in self.accounts}
        swept = began
        while True:
            now = time.monotonic()
            if now - began >= seconds and (moment() or now - began >= seconds + patience):
                break
            for ready in select.select(list(by_socket), [], [], 0.05)[0]:
                account = by_socket[ready]
                count = account.take()
                granted += count
                resting = [b for b in account.bindings.values() if b.wanted is None]
                for binding in self.random.sample(resting, count):
                    binding.ask(self.choose(binding))
            if now - swept > PATIENCE / 4:
                swept = now
                for binding in self.each():
                    if binding.wanted is not None and now - binding.sent_at > PATIENCE:
                        binding.send()
        elapsed = time.monotonic() - began
        then()
        for account in self.accounts:
            granted += account.take()
        for binding in self.each():
            binding.wanted = None
        return granted / elapsed

    def broken_promises(self, bindings):
        """What {account: {uri: ...}} holds against what was answered 200: a list of lines."""
        wrong = []
        for binding in self.each():
            account = binding.account
            there = binding.contact in bindings.get("%s@%s" % (account.user, account.domain), {})
            if binding.state is not None and there != binding.state:
                wrong.append("%s: %s" % (binding.contact, "lost" if binding.state else "came back"))
            binding.state = there
        return wrong
