#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Mutated messages against a running server: it lives, goes on answering, its memory stays bounded.

    tests/support/mutate.py --count 1000000 --seed 7    start $TANDEM, send them, say what was found
    tests/support/mutate.py --seed 7 --show 4711        print one child, to be sent again by hand

The parents are tests/torture/*.sip and the ordinary messages below. Child n of a seed is always the
same octets, but for the credentials that every fourth gets, so that the registrar and the proxy see
some too.
"""
import argparse
import collections
import itertools
import os
import pathlib
import random
import re
import select
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.server import DOMAIN, ROOT, Server  # noqa: E402
from support.sip import Credentials, Message  # noqa: E402

PASSWORD = "mutants-need-patience"
USERS = ("mara", "nils")
BATCH = 50           # datagrams between two questions whether the server is there
PATIENCE = 20.0      # seconds that it may take to answer such a question (sanitizers are slow)
STREAM_EVERY = 10    # each tenth batch goes by streams
GROWTH_MAX = 384     # MiB: what transactions that live for 64*T1 may hold at full speed
SETTLED_AFTER = 90   # seconds after which memory must have stopped growing
SETTLED_GROWTH = 48  # MiB

SDP = ("v=0\r\no=mara 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
       "m=audio 40000 RTP/AVP 0 8 96\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n")


def message(start, cseq, *headers, body="", to="<sip:nils@example.test>"):
    via = "Via: SIP/2.0/UDP 127.0.0.1:5999;rport;branch=z9hG4bKordinary"
    lines = [start, via + cseq.replace(" ", ""), "Max-Forwards: 70",
             'From: "Mara" <sip:mara@example.test>;tag=ord1', "To: " + to,
             "Call-ID: ordinary-1@127.0.0.1", "CSeq: " + cseq, *headers,
             "Content-Length: %d" % len(body)]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def ordinary():
    """What a day at a registrar and proxy looks like."""
    contact = "Contact: <sip:mara@127.0.0.1:5999>"
    sdp = "Content-Type: application/sdp"
    mara, inside = "<sip:mara@example.test>", "<sip:nils@example.test>;tag=ord2"
    uri = "sip:nils@example.test SIP/2.0"
    registrar = "REGISTER sip:example.test SIP/2.0"
    recorded = "Record-Route: <sip:127.0.0.1;lr>"
    return [
        message(registrar, "1 REGISTER", contact + ";expires=300;q=0.5",
                "Supported: path, outbound", "User-Agent: Buoy/1.0 (test)", to=mara),
        message(registrar, "2 REGISTER", "Contact: *", "Expires: 0", to=mara),
        message(registrar, "3 REGISTER", to=mara),
        message("INVITE " + uri, "4 INVITE", contact, sdp, "Allow: INVITE, ACK, CANCEL, BYE",
                "Supported: 100rel, timer", "Session-Expires: 1800", body=SDP),
        message("ACK " + uri, "4 ACK", to=inside),
        message("CANCEL " + uri, "4 CANCEL"),
        message("INVITE " + uri, "5 INVITE", contact, sdp, "Route: <sip:example.test;lr>",
                body=SDP, to=inside),
        message("BYE sip:nils@127.0.0.1:5998 SIP/2.0", "6 BYE",
                "Route: <sip:127.0.0.1;lr>, <sip:other.test;lr>", to=inside),
        message("OPTIONS sip:example.test SIP/2.0", "7 OPTIONS", "Accept: application/sdp"),
        message("OPTIONS " + uri, "8 OPTIONS"),
        message("MESSAGE " + uri, "9 MESSAGE", "Content-Type: text/plain", body="ahoy"),
        message("SUBSCRIBE " + uri, "10 SUBSCRIBE", contact, "Event: presence", "Expires: 3600"),
        message("REFER " + uri, "11 REFER", contact,
                "Refer-To: <sip:mara@example.test?Replaces=a%3Bto-tag%3Db>"),
        message("PRACK " + uri, "12 PRACK", "RAck: 1 4 INVITE", to=inside),
        message("SIP/2.0 100 Trying", "4 INVITE"),
        message("SIP/2.0 180 Ringing", "4 INVITE", contact, recorded, to=inside),
        message("SIP/2.0 200 OK", "4 INVITE", contact, sdp, recorded, body=SDP, to=inside),
        message("SIP/2.0 302 Moved", "4 INVITE",
                "Contact: <sip:x@127.0.0.1:5997>;q=0.3, <sip:y@127.0.0.1>", to=inside),
        message("SIP/2.0 401 Unauthorized", "1 REGISTER",
                'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"', to=inside),
        message("SIP/2.0 503 Busy", "4 INVITE", "Retry-After: 30 (later);duration=60", to=inside),
    ]


# --- children ------------------------------------------------------------------------------------
PIECES = [b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\r\n ", b"\t", b" ", b",", b";", b":",
          b'"', b"\\", b"<", b">", b"@", b"%", b"%00", b"%0d%0a", b"=", b"?", b"[", b"]", b"[::]",
          b"*", b"(", b")", b"\x7f", b"\xff\xfe", b"\xc3\x28", b";lr", b";rport", b";tag=",
          b";branch=", b"sip:", b"sips:", b"tel:", b"SIP/2.0", b"z9hG4bK", b"255.255.255.255",
          b"0.0.0.0", b"127.0.0.1", b"[2001:db8:::1]", b"${x}", b"%n%s", b"' OR 1=1--"]
NUMBERS = [b"0", b"-1", b"1", b"255", b"256", b"65535", b"65536", b"2147483647", b"2147483648",
           b"4294967295", b"4294967296", b"9223372036854775808", b"18446744073709551616", b"+5",
           b"0x10", b"00000000000000000001", b"1e9", b"9" * 60, b"", b" 5 5"]
NAMES = [b"Via", b"v", b"From", b"f", b"To", b"t", b"Call-ID", b"i", b"CSeq", b"Max-Forwards",
         b"Contact", b"m", b"Route", b"Record-Route", b"Content-Length", b"l", b"Content-Type",
         b"Expires", b"Require", b"Proxy-Require", b"Authorization", b"Proxy-Authorization",
         b"Supported", b"Path", b"Event", b"X-Unknown", b"qnrl"]
DIGITS = re.compile(rb"\d+")


def span(rng, data):
    at = rng.randrange(len(data) + 1)
    return at, min(len(data), at + int(rng.paretovariate(0.7)))


def flip(rng, data, _):
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1:]


def octet(rng, data, _):
    at = rng.randrange(len(data))
    return data[:at] + bytes([rng.randrange(256)]) + data[at + 1:]


def truncate(rng, data, _):
    return data[:rng.randrange(1, len(data) + 1)]


def remove(rng, data, _):
    a, b = span(rng, data)
    return data[:a] + data[b:]


def repeat(rng, data, _):
    a, b = span(rng, data)
    return data[:b] + data[a:b] * rng.choice((1, 1, 2, 5, 40)) + data[b:]


def insert(rng, data, _):
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(PIECES) * rng.choice((1, 1, 1, 2, 100)) + data[at:]


def inflate(rng, data, _):
    found = list(DIGITS.finditer(data))
    if not found:
        return data
    number = rng.choice(found)
    return data[:number.start()] + rng.choice(NUMBERS) + data[number.end():]


def lines_of(data):
    head, blank, body = data.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), blank + body


def swap_lines(rng, data, _):
    lines, rest = lines_of(data)
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return b"\r\n".join(lines) + rest


def double_line(rng, data, _):
    lines, rest = lines_of(data)
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    return b"\r\n".join(lines) + rest


def drop_line(rng, data, _):
    lines, rest = lines_of(data)
    del lines[rng.randrange(len(lines))]
    return b"\r\n".join(lines) + rest


def rename(rng, data, _):
    lines, rest = lines_of(data)
    at = rng.randrange(len(lines))
    _, colon, value = lines[at].partition(b":")
    lines[at] = rng.choice(NAMES) + colon + value
    return b"\r\n".join(lines) + rest


def fold(rng, data, _):
    blanks = [m.start() for m in re.finditer(rb" ", data)]
    if not blanks:
        return data
    at = rng.choice(blanks)
    return data[:at] + rng.choice((b"\r\n ", b"\r\n\t\t", b"\n ", b"\r ", b"  ")) + data[at + 1:]


def splice(rng, data, parents):
    other = rng.choice(parents)
    return data[:rng.randrange(len(data) + 1)] + other[rng.randrange(len(other)):]


def line_from(rng, data, parents):
    lines, rest = lines_of(data)
    lines.insert(rng.randrange(1, len(lines) + 1), rng.choice(lines_of(rng.choice(parents))[0]))
    return b"\r\n".join(lines) + rest


def case(rng, data, _):
    a, b = span(rng, data)
    return data[:a] + data[a:b].swapcase() + data[b:]


WAYS = (flip, flip, octet, truncate, remove, repeat, insert, insert, inflate, inflate, swap_lines,
        double_line, drop_line, rename, fold, splice, line_from, line_from, case)


class Mutator:
    def __init__(self, seed):
        everyday = ordinary()
        torture = [p.read_bytes() for p in sorted((ROOT / "tests/torture").glob("*.sip"))]
        self.parents = [p for p in torture + everyday if p]
        self.everyday = everyday
        self.seed = seed

    def child(self, n):
        rng = random.Random(self.seed << 40 | n)
        # Ordinary messages get further into the server, so half of the children are theirs.
        data = rng.choice(self.everyday if n % 2 else self.parents)
        if rng.random() < 0.5:  # a transaction of its own
            data = data.replace(b"z9hG4bK", b"z9hG4bK%x" % rng.getrandbits(40), 1)
        for _ in range(min(8, int(rng.paretovariate(1.0)))):
            data = (rng.choice(WAYS)(rng, data, self.parents) or b"\0")[:65000]
        return data


# --- the attack ----------------------------------------------------------------------------------
class Attack:
    def __init__(self, server, seed, rate=0.0):
        self.server, self.rate = server, rate
        self.mutator = Mutator(seed)
        self.addresses = itertools.count(seed * 7919 % 60000)
        self.probes = itertools.count(1)
        self.credentials = {}
        self.answers = collections.Counter()
        self.sent = 0

    def address(self):
        """Limits for one source must not shield the server: each batch comes from another."""
        n = next(self.addresses)
        return "127.%d.%d.%d" % (128 + n // 62500 % 64, n // 250 % 250, n % 250 + 1)

    def connect(self, kind):
        peer = socket.socket(socket.AF_INET, kind)
        peer.bind((self.address(), 0))
        peer.settimeout(PATIENCE)
        peer.connect(("127.0.0.1", self.server.port))
        return peer

    def probe(self, peer):
        """Ask until answered; what else arrives is counted and dropped."""
        call_id = b"mutate-%d-%d" % (os.getpid(), next(self.probes))
        domain = DOMAIN.encode()
        question = (b"OPTIONS sip:%s SIP/2.0\r\n"
                    b"Via: SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\n"
                    b"From: <sip:p@quay.invalid>;tag=p\r\nTo: <sip:%s>\r\nCall-ID: %s\r\n"
                    b"CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
                    % (domain, call_id, domain, call_id))
        until = time.monotonic() + PATIENCE
        again = 0.0
        while (now := time.monotonic()) < until and self.server.is_alive():
            if now >= again:
                self.try_send(peer, question)
                again = now + 0.5
            if not select.select([peer], [], [], 0.1)[0]:
                continue
            try:
                octets = peer.recv(65536)
            except ConnectionError:
                continue
            if call_id in octets:
                return
            if octets.startswith(b"SIP/2.0 "):
                self.answers[octets[8:11].decode("ascii", "replace")] += 1
        raise AssertionError("no answer after child %d of seed %d\n%s" % (
            self.sent, self.mutator.seed, self.server.log()[-4000:]))

    @staticmethod
    def try_send(peer, octets):
        try:
            peer.sendall(octets)
        except OSError:
            pass  # what an earlier answer's ICMP, or the end of a connection, has to say

    def log_in(self, peer):
        """Credentials for all that follows, as long as the nonce lives."""
        for user in USERS:
            n = next(self.probes)
            self.try_send(peer, (
                "REGISTER sip:{1} SIP/2.0\r\n"
                "Via: SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bKlogin{2}\r\n"
                "Max-Forwards: 70\r\nFrom: <sip:{0}@{1}>;tag=l\r\nTo: <sip:{0}@{1}>\r\n"
                "Call-ID: login-{2}\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n"
            ).format(user, DOMAIN, n).encode())
            until = time.monotonic() + 5
            while time.monotonic() < until:
                if select.select([peer], [], [], 0.2)[0]:
                    answer = Message(peer.recv(65536))
                    if answer.status == 401 and answer["call-id"].startswith("login-"):
                        asked = answer["www-authenticate"]
                        self.credentials[user] = Credentials(asked, user, PASSWORD)
                        break

    def with_proof(self, data, n):
        start, line, rest = data.partition(b"\r\n")
        words = start.split(b" ")
        answers = self.credentials.get(USERS[n // 4 % len(USERS)])
        if not line or len(words) < 3 or words[0].startswith(b"SIP/") or not answers:
            return data
        proof = answers.answer(words[0].decode("latin-1"), words[1].decode("latin-1"))
        name = "Authorization" if words[0] == b"REGISTER" else "Proxy-Authorization"
        return (start + line + ("%s: %s\r\n" % (name, proof)).encode("latin-1") + rest)[:65000]

    def children(self, first, count):
        for n in range(first, first + count):
            data = self.mutator.child(n)
            yield self.with_proof(data, n) if n % 4 == 1 else data

    def datagrams(self, first, count):
        with self.connect(socket.SOCK_DGRAM) as peer:
            if first // BATCH % 20 == 0:
                self.log_in(peer)
            for data in self.children(first, count):
                self.try_send(peer, data)
            self.sent = first + count
            self.probe(peer)

    def streams(self, first, count):
        """Three children a connection, in uneven pieces; then the half-close that ends it."""
        rng = random.Random(first)
        for at in range(first, first + count, 3):
            with self.connect(socket.SOCK_STREAM) as peer:
                octets = b"".join(self.children(at, min(3, first + count - at)))
                while octets:
                    n = rng.choice((1, 10, 100, 1000, 100000))
                    self.try_send(peer, octets[:n])
                    octets = octets[n:]
                try:
                    peer.shutdown(socket.SHUT_WR)
                    while select.select([peer], [], [], 0.005)[0] and peer.recv(65536):
                        pass
                except OSError:
                    pass
        self.sent = first + count
        with self.connect(socket.SOCK_DGRAM) as peer:
            self.probe(peer)

    def run(self, count, tell=None):
        """All children 0..count-1. Raises AssertionError when the server dies, hangs, or grows."""
        begun = time.monotonic()
        least = most = self.server.memory()
        settled = None
        for number, first in enumerate(range(0, count, BATCH)):
            n = min(BATCH, count - first)
            by_stream = number % STREAM_EVERY == STREAM_EVERY - 1
            (self.streams if by_stream else self.datagrams)(first, n)
            now = time.monotonic() - begun
            if number % 20 == 0:
                most = max(most, self.server.memory())
                if settled is None and now > SETTLED_AFTER:
                    settled = most
                if tell:
                    rate = (first + n) / max(now, 0.01)
                    tell("%d of %d, %.0f/s, %d MiB" % (first + n, count, rate, most >> 10))
            if self.rate:
                time.sleep(max(0.0, (first + n) / self.rate - now))
        most = max(most, self.server.memory())
        grown = "memory grew from %d to %d KiB"
        assert most - least < GROWTH_MAX << 10, grown % (least, most)
        assert settled is None or most - settled < SETTLED_GROWTH << 10, grown % (settled, most)
        return {"sent": count, "seconds": round(time.monotonic() - begun, 1),
                "answers": dict(self.answers.most_common()), "KiB at start": least,
                "KiB at most": most}


def mutate(count, seed, rate=0.0, tell=None):
    """Start a server, attack it, end it in good order (a sanitizer's report is an exit code)."""
    # A quarantine of freed memory is the sanitizer's, not the server's.
    os.environ.setdefault("ASAN_OPTIONS", "quarantine_size_mb=16:malloc_context_size=8")
    with Server() as server:
        for user in USERS:
            server.add_user(user, PASSWORD)
        found = Attack(server, seed, rate).run(count, tell)
        assert "Sanitizer" not in server.log(), server.log()[-4000:]
        return found


def main():
    options = argparse.ArgumentParser(description=__doc__,
                                      formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=20000, metavar="N",
                         help="children to send (20000)")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--rate", type=float, default=0,
                         help="at most so many a second; 0: as they are answered")
    options.add_argument("--show", type=int, metavar="N", help="print child N and end")
    given = options.parse_args()
    if given.show is not None:
        sys.stdout.buffer.write(Mutator(given.seed).child(given.show))
        return 0

    def tell(text):
        print("\r" + text + "   ", end="", file=sys.stderr, flush=True)

    print(mutate(given.count, given.seed, given.rate, tell if sys.stderr.isatty() else None))
    return 0


if __name__ == "__main__":
    sys.exit(main())
