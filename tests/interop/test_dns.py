# SPDX-License-Identifier: MIT
"""Servers are found in a real DNS (RFC 3263), and the next one is tried within the transaction."""
import secrets
import socket
import threading
import time

import pytest

from support.dns import Dns
from support.server import Server, free_port
from support.sip import Call, Callee, Client, first_message

THERE = "elsewhere.test"
TTL = 12
T1 = 0.5
CONFIG = """\
dns: {servers: ["%s"]}
routes: [{when: {from: accounts}, to: uri}]
"""


class Patient(Client):
    """Waits longer for a final response than a server may be silent."""

    def final(self, timeout=30, method=None):
        return super().final(timeout, method)


class Answering(threading.Thread):
    """Takes one connection and says 200 to the request that comes on it."""

    def __init__(self, port=0):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", port))
        self.listener.settimeout(40)
        self.port = self.listener.getsockname()[1]
        self.request = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.join()
        self.listener.close()

    def run(self):
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(20)
            octets = b""
            while not self.request:
                octets += connection.recv(65536)
                self.request, _ = first_message(octets)
            lines = ["Via: " + v for v in self.request.all("via")]
            lines += ["%s: %s" % (name, self.request[name]) for name in ("from", "to", "call-id", "cseq")]
            connection.sendall("\r\n".join(
                ["SIP/2.0 200 OK", *lines, "Content-Length: 0", "", ""]).encode())


@pytest.fixture(scope="module")
def dns():
    with Dns({THERE: ""}, ttl=TTL, negative=1) as running:
        yield running


@pytest.fixture(scope="module")
def server(dns):
    with Server(CONFIG % dns.address) as running:
        running.add_user("alice")
        yield running
        assert running.is_alive(), "the server died: " + running.log()[-4000:]


@pytest.fixture
def alice(server):
    with Patient(server.port) as phone:
        yield phone


def call(caller, uri):
    """A whole call; (the final response to the INVITE, the seconds that it took)."""
    tag, call_id = secrets.token_hex(4), secrets.token_hex(8)
    begun = time.monotonic()
    answer = caller.ask("INVITE", uri, ["Contact: <%s>" % caller.contact()], tag=tag, call_id=call_id)
    took = time.monotonic() - begun
    assert answer is not None, "no final response"
    if answer.status == 200:
        standing = Call(caller, answer, uri, "<%s>;tag=%s" % (caller.aor(), tag))
        standing.ack()
        assert standing.bye().status == 200
    return answer, took


def heard(silent):
    """The datagrams that came to a socket since it was last asked."""
    got = []
    silent.setblocking(False)
    try:
        while True:
            got.append(silent.recv(65536))
    except BlockingIOError:
        return got


def branch(octets):
    return octets.split(b"branch=", 1)[1].split(b";")[0].split(b"\r\n")[0]


def test_the_third_server_answers_and_the_next_call_skips_the_dead(server, dns, alice):
    refusing = free_port(("127.0.0.1",))
    uri = "sip:carol@" + THERE
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent, \
            Client(server.port, user="carol") as third, Callee(third) as callee:
        silent.bind(("127.0.0.1", 0))
        dns.change(THERE, "\n".join([
            '@ NAPTR 10 10 "s" "SIP+D2T" "" _sip._tcp',
            '@ NAPTR 10 20 "s" "SIP+D2U" "" _sip._udp',
            "_sip._tcp SRV 10 1 %d one" % refusing,
            "_sip._udp SRV 20 1 %d two" % silent.getsockname()[1],
            "_sip._udp SRV 30 1 %d three" % third.port,
            "one A 127.0.0.1", "two A 127.0.0.1", "three A 127.0.0.1"]))
        begun = time.monotonic()
        answer, took = call(alice, uri)
        assert answer.status == 200
        assert 8 * T1 - 0.2 < took < 12 * T1, "the silent one was given %.1f s" % took
        asked = heard(silent)
        assert asked and asked[0].startswith(b"INVITE " + uri.encode()), "the second was not tried"
        invites = [r for r in callee.requests if r.method == "INVITE"]
        assert len(invites) == 1
        assert invites[0].uri == uri, "the URI is not rewritten by what the DNS says"
        assert branch(asked[0]) != branch(invites[0].octets), "a new server is a new transaction"
        heard(silent)
        # the dead are known
        answer, took = call(alice, uri)
        assert answer.status == 200 and took < 2 * T1, took
        assert not heard(silent), "the silent one was asked again"
        # and forgotten with what the DNS said of them: then the first, alive now, is the first
        with Answering(refusing) as first:
            while not first.request:
                assert time.monotonic() - begun < TTL + 10, "the first server never came back"
                assert alice.ask("MESSAGE", uri).status == 200
            assert time.monotonic() - begun > TTL - 2, "a dead server was asked before its time"


def test_naptr_chooses_tcp(dns, alice):
    with Answering() as there:
        dns.change(THERE, "\n".join([
            'tcp NAPTR 10 10 "s" "SIP+D2T" "" _sip._tcp.tcp',
            'tcp NAPTR 20 10 "s" "SIP+D2U" "" _sip._udp.tcp',
            "_sip._tcp.tcp SRV 1 1 %d host" % there.port,
            "host A 127.0.0.1"]))
        uri = "sip:carol@tcp." + THERE
        assert alice.ask("MESSAGE", uri).status == 200
    assert there.request.uri == uri
    assert there.request["via"].startswith("SIP/2.0/TCP ")


def test_a_name_that_the_dns_does_not_know_is_said_so(alice):
    answer = alice.ask("MESSAGE", "sip:carol@nowhere." + THERE)
    assert answer.status in (404, 480, 502, 503), answer


def test_a_dns_that_is_down_delays_nobody_for_long(server, dns, alice):
    dns.stop()
    try:
        begun = time.monotonic()
        answer = alice.ask("MESSAGE", "sip:carol@unheard." + THERE)
        assert answer.status >= 400
        assert time.monotonic() - begun < 15
        with Patient(server.port) as other:
            assert other.ask("OPTIONS", "sip:example.test").status == 200
    finally:
        dns.start()


def test_a_refused_datagram_is_noticed_whichever_worker_hears_of_it(server, dns, alice):
    """The kernel gives the ICMP error to any of the workers' sockets of one port."""
    with Client(server.port, user="carol") as there, Callee(there):
        for i in range(6):
            dns.change(THERE, "\n".join([
                "_sip._udp.u%d SRV 10 1 %d host" % (i, free_port(("127.0.0.1",))),
                "_sip._udp.u%d SRV 20 1 %d host" % (i, there.port), "host A 127.0.0.1"]))
            answer, took = call(alice, "sip:carol@u%d.%s" % (i, THERE))
            assert answer.status == 200 and took < 2 * T1, took
