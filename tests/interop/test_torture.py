# SPDX-License-Identifier: MIT
"""Every torture message against a running server: tests/torture, and the RFCs' own where they lie.

What the columns of the tables mean stands in tests/torture/README.md. How answers are seen: a
datagram is sent from a loopback address of its own and from the port that its topmost Via names, so
that the answer arrives both by the letter of RFC 3261 section 18.2.2 (source address, port of
sent-by) and by RFC 3581; messages whose topmost Via names a stream transport go by TCP. Silence is
shown by order: an OPTIONS follows from the same socket, and its answer comes alone.
"""
import csv
import itertools
import os
import pathlib
import re
import select
import socket
import time

import pytest

from support.server import ROOT, Server
from support.sip import Credentials, Message, first_message

OWN = ROOT / "tests/torture"
OTHERS = pathlib.Path(os.environ.get("TANDEM_TORTURE_DIR", ROOT.parent / "shared/torture"))
PASSWORD = "torture-needs-patience"
POLICY = {401, 403, 404, 405, 407, 480}
ANSWER = 5.0    # how long an answer that must come may take, seconds
SILENCE = 0.3   # how long a stream that has not sent all is watched
STRAY = 0.05    # what another worker says may arrive this much after the answer that followed


def table(path):
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


OWN_ROWS = table(OWN / "verdicts.tsv")
OTHER_ROWS = table(OTHERS / "verdicts.tsv")
ROLES = {row["file"]: row for row in table(OWN / "roles.tsv")}


class TortureServer(Server):
    """Serves the domains given, with accounts in the first of them."""

    def __init__(self, domains, users):
        self.domains, self.users = domains, users
        super().__init__()

    def start(self, *arguments):
        super().start(*arguments)
        for user in self.users:
            self.run("user", "add", "%s@%s" % (user, self.domains[0]), "--password-stdin",
                     text=PASSWORD + "\n")

    def configure(self, more=""):
        super().configure(more)
        text = self.file.read_text("utf-8")
        domains = "domains: [%s]" % ", ".join(self.domains)
        self.file.write_text(re.sub(r"(?m)^domains: .*$", domains, text))


# --- one message, one socket ---------------------------------------------------------------------
ADDRESSES = itertools.count(os.getpid() * 61 % 40000)


def own_address():
    """A loopback address that no other message of this run sends from."""
    n = next(ADDRESSES)
    return "127.%d.%d.%d" % (64 + n // 62500 % 128, n // 250 % 250, n % 250 + 1)


def top_via(octets):
    """(transport, port of sent-by) of the topmost Via; a broken one: ("UDP", 0)."""
    found = re.search(rb"(?im)^v(?:ia)?\s*:\s*SIP\s*/\s*[\d.]+\s*/\s*([\w-]+)\s+"
                      rb"(\[[^\]]*\]|[\w.-]+)(?:\s*:\s*(\d+))?", octets)
    if not found or int(found[3] or 0) > 65535:
        return "UDP", 0
    return found[1].decode().upper(), int(found[3] or 5060)


class Probe:
    """An OPTIONS of our own, told from all others by its Call-ID."""

    numbers = itertools.count(1)

    def __init__(self, domain, transport, port):
        n = next(self.numbers)
        self.call_id = "probe-%d-%d" % (os.getpid(), n)
        self.octets = (
            "OPTIONS sip:%s SIP/2.0\r\n"
            "Via: SIP/2.0/%s 127.0.0.1:%d;rport;branch=z9hG4bKprobe%d%d\r\n"
            "Max-Forwards: 70\r\nFrom: <sip:probe@quay.invalid>;tag=p\r\n"
            "To: <sip:%s>\r\nCall-ID: %s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
            % (domain, transport.upper(), port, os.getpid(), n, domain, self.call_id)).encode()


class Peer:
    """One source of messages; `answers` is all that came but the answers to probes."""

    def __init__(self, server, transport, port=0):
        self.server, self.transport = server, transport
        self.socket = socket.socket(socket.AF_INET,
                                    socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
        self.socket.bind((own_address(), port if transport == "udp" else 0))
        self.socket.settimeout(ANSWER)
        self.socket.connect(("127.0.0.1", server.port))
        self.port = self.socket.getsockname()[1]
        self.answers, self.stream, self.closed = [], b"", False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, octets):
        try:
            self.socket.sendall(octets)
        except OSError:
            self.closed = True

    def receive(self, timeout):
        """The next message; None: nothing in time, or the connection ended (`closed`)."""
        until = time.monotonic() + timeout
        while not self.closed:
            if self.transport == "tcp":
                message, self.stream = first_message(self.stream)
                if message:
                    return message
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return None
            try:
                octets = self.socket.recv(65536)
            except ConnectionError:
                octets = b""
            if self.transport == "tcp":
                self.stream += octets
                self.closed = not octets
                if self.closed:
                    return first_message(self.stream)[0]
            elif octets.startswith(b"SIP/"):
                return Message(octets)
            elif octets and octets.strip(b"\r\n"):
                raise AssertionError("the server sent a request: %r" % octets[:200])
        return None

    def collect(self, seconds):
        """Answers that come within the time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.closed:
            message = self.receive(left)
            if message:
                self.answers.append(message)

    def collect_final(self):
        """The next final answer, and what comes before it."""
        until = time.monotonic() + ANSWER
        while (left := until - time.monotonic()) > 0 and not self.closed:
            message = self.receive(left)
            if message:
                self.answers.append(message)
                if message.status >= 200:
                    return

    def probe(self, domain):
        """True when an OPTIONS on this socket is answered 200; what comes before it is kept."""
        probe = Probe(domain, self.transport, self.port)
        self.send(probe.octets)
        until = time.monotonic() + ANSWER
        while (left := until - time.monotonic()) > 0 and not self.closed:
            message = self.receive(left)
            if message and message["call-id"] == probe.call_id:
                assert message.status == 200, "the probe was answered %d" % message.status
                return True
            if message:
                self.answers.append(message)
        return False

    def finals(self):
        return [a.status for a in self.answers if a.status >= 200]


# --- what is sent --------------------------------------------------------------------------------
def for_stream(octets):
    """The same message with the transport of its topmost Via set to TCP, of the same length."""
    return octets.replace(b"/UDP", b"/TCP", 1) if top_via(octets)[0] == "UDP" else octets


def with_credentials(octets, answer, user):
    """The message once more, with credentials for that challenge and a branch of its own."""
    start, rest = octets.lstrip(b"\r\n").split(b"\r\n", 1)
    method, uri = start.decode().split(" ")[:2]
    name, asked = (("Authorization", "www-authenticate") if answer.status == 401 else
                   ("Proxy-Authorization", "proxy-authenticate"))
    proof = Credentials(answer[asked], user, PASSWORD).answer(method, uri)
    return (start + b"\r\n" + ("%s: %s\r\n" % (name, proof)).encode() +
            rest.replace(b"z9hG4bK", b"z9hG4bKlogin", 1))


def acknowledge(peer, octets, answer):
    """ACK for a final answer to an INVITE other than 2xx (RFC 3261 section 17.1.1.3)."""
    if answer.method != "INVITE" or answer.status < 300:
        return
    uri = octets.lstrip(b"\r\n").split(b" ")[1].decode("utf-8", "replace")
    via = re.split(r",\s*SIP\s*/", answer["via"])[0]
    peer.send(("ACK %s SIP/2.0\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s ACK\r\n"
               "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
               % (uri, via, answer["from"], answer["to"], answer["call-id"],
                  answer["cseq"].split()[0])).encode())


def wanted(text):
    """Column `udp` or `tcp` as a set of statuses and words."""
    words = set(text.split("|"))
    statuses = {int(w) for w in words if w.isdigit()}
    return statuses | (POLICY if "policy" in words else set()), words


def exchange(server, domain, octets, transport, expected, login="-", look=None):
    """Send the message and hold what comes against `expected`; the answer that counted, or None.
    look(answer): while the connection stands, since what was registered over it ends with it."""
    statuses, words = wanted(expected)
    port = top_via(octets)[1]
    with Peer(server, transport, port) as peer:
        peer.send(octets)
        if "wait" in words:
            peer.collect(SILENCE)
            assert set(peer.finals()) <= statuses, "answered %s before the end" % peer.answers
            return None
        if "400+close" in words:
            peer.collect_final()
            assert peer.finals()[:1] == [400]
            if 400 not in statuses:
                peer.collect(ANSWER)
                assert peer.closed, "the framing is lost, yet the connection stays"
            return None
        if not words & {"none", "any"}:
            peer.collect_final()
        alive = peer.probe(domain)
        if expected == "none":
            peer.collect(STRAY)
        if login != "-" and peer.finals()[:1] in ([401], [407]):
            challenge = next(a for a in peer.answers if a.status in (401, 407))
            acknowledge(peer, octets, challenge)
            peer.answers = []
            peer.send(with_credentials(octets, challenge, login))
            peer.collect_final()
        finals = peer.finals()
        if look and finals and finals[0] in statuses:
            look(next(a for a in peer.answers if a.status == finals[0]))
        if "any" in words:
            return peer.answers[0] if peer.answers else None
        if transport == "tcp" and peer.closed and not finals:
            assert "close" in words, "the connection ended without an answer"
            return None
        if not finals and "none" in words:
            assert alive or "close" in words or transport == "tcp", "the server does not answer"
            return None
        assert finals, "no answer; %s demanded" % expected
        assert set(finals) <= statuses, "answered %s; %s demanded" % (peer.answers, expected)
        if transport == "udp" or not peer.closed:
            assert alive or peer.probe(domain), "the server does not answer any more"
        answer = next(a for a in peer.answers if a.status >= 200)
        acknowledge(peer, octets, answer)
        return answer


def assert_serves(server, domain):
    """The server lives, and a stranger with an ordinary question gets its answer."""
    assert server.is_alive(), server.log()[-4000:]
    with Peer(server, "udp") as peer:
        assert peer.probe(domain), "the server does not answer any more"


# --- our own -------------------------------------------------------------------------------------
@pytest.fixture(scope="module", params=["udp", "tcp"])
def own(request):
    """A server for each transport: the same message twice would be a retransmission."""
    with TortureServer(["example.test"], ["mara", "nils", "oda"]) as server:
        yield server, request.param
        assert_serves(server, "example.test")


def tokens(value):
    return sorted(t.strip() for t in value.split(","))


# What an answer must say beside its status: file -> check(server, answer).
def unsupported(*names):
    def check(_, answer):
        assert tokens(answer["unsupported"]) == sorted(names)
    return check


def vias(count):
    def check(_, answer):
        values = [v for line in answer.all("via") for v in re.split(r",(?=\s*SIP\s*/)", line)]
        assert len(values) == count
    return check


def binding(present, absent):
    def check(server, _):
        uris = [uri for contacts in server.bindings().values() for uri in contacts]
        assert any(present in uri for uri in uris), uris
        assert not absent or not any(absent in uri for uri in uris), uris
    return check


CHECKS = {
    "require-unknown.sip": unsupported("warp-drive", "x-ray", "tea"),
    "proxy-require-unknown.sip": unsupported("ferry", "toll-gate"),
    "via-transports.sip": vias(7),
    "via-mixed-families.sip": vias(4),
    "long-values.sip": vias(31),
    "contact-parameter.sip": binding("4144550000@cp.invalid", "4144550000@cp.invalid;lantern"),
    "contact-uri-parameter.sip": binding("4144550001@cp.invalid;lantern", None),
    "contact-uri-header.sip": binding("mara@cp.invalid?Subject=deck%20two", None),
}


@pytest.mark.parametrize("row", OWN_ROWS, ids=[r["file"] for r in OWN_ROWS])
def test_own(own, row):
    server, transport = own
    octets = (OWN / row["file"]).read_bytes()
    expected = row["udp"]
    if transport == "tcp":
        if row["tcp"] == "-":
            return
        expected = row["udp"] if row["tcp"] == "=" else row["tcp"]
        octets = for_stream(octets)
    look = CHECKS.get(row["file"])
    answer = exchange(server, "example.test", octets, transport, expected, row["login"],
                      look and (lambda found: look(server, found)))
    if answer and row["kind"] == "request" and row["verdict"] == "valid":
        call_id = answer["call-id"].encode("utf-8", "replace")
        assert call_id and (call_id in octets or b"\xef\xbf\xbd" in call_id)
    assert server.is_alive()


def test_trailing_octets_are_no_message(own):
    """RFC 4475 section 3.1.1.8: noise in a datagram; in a stream the next request."""
    server, transport = own
    octets = (OWN / "trailing-octets.sip").read_bytes().replace(b"z9hG4bKtail", b"z9hG4bKagain")
    octets = for_stream(octets) if transport == "tcp" else octets
    with Peer(server, transport, top_via(octets)[1]) as peer:
        peer.send(octets)
        assert peer.probe("example.test")
        peer.collect(STRAY)
        second = [a for a in peer.answers if a["call-id"].startswith("trailing-octets.second")]
        assert len(second) == (transport == "tcp")


def test_every_file_has_its_line():
    assert {r["file"] for r in OWN_ROWS} == {p.name for p in OWN.glob("*.sip")}
    assert all(r["note"] for r in OWN_ROWS)


# --- the RFCs' own -------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def other():
    """Yields serve(octets): a server that has not seen a transaction of this branch and sent-by."""
    state = {"server": None, "seen": set()}

    def serve(octets):
        via = re.search(rb"(?im)^v(?:ia)?\s*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", octets)
        branch = re.sub(rb"\s", b"", via[1]) if via else b""
        if state["server"] is None or branch in state["seen"]:
            stop()
            state["seen"] = set()
            state["server"] = TortureServer(["example.com", "example.net", "example.org"],
                                            ["user", "watson"]).__enter__()
        state["seen"].add(branch)
        return state["server"]

    def stop():
        if state["server"]:
            assert_serves(state["server"], "example.com")
            state["server"].__exit__(None, None, None)
        state["server"] = None

    try:
        yield serve
    finally:
        stop()


def answers_of_role(other, row):
    octets = (OTHERS / row["file"]).read_bytes()
    server = other(octets)
    role = ROLES.get(row["file"], {"answers": "-", "login": "-", "uri": "-"})
    expected = row["server_response"] if role["answers"] == "-" else role["answers"]
    transport = "udp" if top_via(octets)[0] == "UDP" else "tcp"
    # A TLS or SCTP Via over plain TCP: the answer returns where the request came from all the same.
    exchange(server, "example.com", octets, transport, expected, role["login"])
    if role["uri"] != "-":
        present, _, absent = role["uri"].partition(" not ")
        binding(present, absent)(server, None)
    assert server.is_alive()


if OTHER_ROWS:  # an empty list of parameters would count as a skipped test
    @pytest.mark.parametrize("row", OTHER_ROWS, ids=[r["file"] for r in OTHER_ROWS])
    def test_other(other, row):
        answers_of_role(other, row)


def test_roles_are_of_the_table():
    if OTHER_ROWS:
        assert set(ROLES) <= {r["file"] for r in OTHER_ROWS}
    assert all(len(r["reason"]) > 20 for r in ROLES.values())
