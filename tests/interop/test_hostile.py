# SPDX-License-Identifier: MIT
"""Slow, broken and greedy TCP clients get a clear error or a closed connection; others notice nothing."""
import contextlib
import socket
import time

import pytest

from support import media
from support.server import DOMAIN, SANITIZED
from support.sip import Call, Callee, Client, Credentials, place_call

PASSWORD = "a-long-password"
PROMPT = 3.0 if SANITIZED else 1.0  # seconds that a good client's registration and call may take while others misbehave


def good_client_is_served(server):
    """Registers, calls, hangs up; the seconds that it took."""
    began = time.monotonic()
    with Client(server.port, "tcp") as alice, Client(server.port, "tcp", "bob") as bob:
        assert alice.register().status == 200
        assert bob.register().status == 200
        with Callee(bob):
            assert place_call(alice) == (200, 200)
            took = time.monotonic() - began
        assert bob.register(expires=0).status == 200
        assert alice.register(expires=0).status == 200
    return took


def crowd(server, count, host=20):
    """Connections from several addresses, so that no limit on one source is what is tested."""
    return [Client(server.port, "tcp", ip="127.0.%d.%d" % (host, 1 + n // 5)) for n in range(count)]


@contextlib.contextmanager
def closing(clients):
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


def options(client):
    return client.request("OPTIONS", "sip:" + DOMAIN, ["Contact: <%s>" % client.contact()])


def test_half_a_message_costs_others_nothing(server):
    with closing(crowd(server, 50)) as clients:
        halves = []
        for client in clients:
            octets = options(client)
            client.send(octets[:len(octets) // 2])
            halves.append(octets[len(octets) // 2:])
        assert good_client_is_served(server) < PROMPT
        for client, half in zip(clients[::10], halves[::10]):  # the other half makes it whole
            client.send(half)
            assert client.final() is not None
    assert good_client_is_served(server) < PROMPT


def test_a_byte_at_a_time_succeeds(server):
    with Client(server.port, "tcp") as client:
        client.send(client.request("REGISTER", "sip:" + DOMAIN, to="<%s>" % client.aor()))
        challenge = client.final()
        assert challenge.status == 401
        proof = Credentials(challenge["www-authenticate"], "alice", PASSWORD)
        octets = client.request("REGISTER", "sip:" + DOMAIN, [
            "Contact: <%s>" % client.contact(),
            "Authorization: " + proof.answer("REGISTER", "sip:" + DOMAIN)], to="<%s>" % client.aor())
        for position in range(len(octets)):
            client.send(octets[position:position + 1])
            if position % 100 == 0:
                time.sleep(0.001)  # let the server read in between
        assert client.final().status == 200
        assert client.register(expires=0).status == 200


def test_two_messages_in_one_segment_are_two_messages(server):
    with Client(server.port, "tcp") as client:
        client.send(b"\r\n" + options(client) + b"\r\n\r\n" + options(client))
        assert client.final() and client.final()


def is_refused(client, timeout=5):
    """A clear error (a 4xx or 5xx) or the end of the connection."""
    answer = client.final(timeout)
    return 400 <= answer.status < 600 if answer else client.is_closed(0.2)


@pytest.mark.parametrize("kind", ["one header", "many headers", "no end of the start line",
                                  "a long folded header"])
def test_64_kib_of_header_is_refused(server, kind):
    with Client(server.port, "tcp") as client:
        filler = {"one header": "X-Long: " + "x" * 70000 + "\r\n",
                  "many headers": "".join("X-%d: y\r\n" % n for n in range(9000)),
                  "no end of the start line": "",
                  "a long folded header": "Subject: a" + "\r\n b" * 20000 + "\r\n"}[kind]
        octets = options(client)
        if kind == "no end of the start line":
            octets = b"OPTIONS sip:" + b"a" * 70000
        else:
            octets = octets.replace(b"Content-Length", filler.encode() + b"Content-Length")
        try:
            client.send(octets)
        except OSError:
            pass  # closed while we were still sending
        assert is_refused(client)
    assert good_client_is_served(server) < PROMPT


def test_a_header_without_an_end_is_not_kept_for_ever(server):
    before = server.memory()
    with closing(crowd(server, 40, 21)) as clients:
        for client in clients:
            with contextlib.suppress(OSError):
                client.send(options(client)[:-4] + b"\r\nX-Long: ")
                for _ in range(40):
                    client.send(b"x" * 4096)
        assert all(is_refused(client) for client in clients)
        # 40 clients offered 6 MiB; none may be charged more than a message may hold.
        assert server.memory() - before < 40 * 80 + 1024
    assert good_client_is_served(server) < PROMPT


@pytest.mark.parametrize("octets", [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    b"\x00" * 3000,
    b"OPTIONS sip:example.test SIP/2.0\r\nContent-Length: -1\r\n\r\n",
    b"OPTIONS sip:example.test SIP/2.0\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"OPTIONS sip:example.test SIP/7.0\r\nContent-Length: 0\r\n\r\n",
], ids=["http", "tls", "zeros", "negative length", "huge length", "another version"])
def test_what_is_not_sip_ends_or_is_answered(server, octets):
    with Client(server.port, "tcp") as client:
        client.send(octets + b"\r\n\r\n")
        client.socket.settimeout(1)
        assert is_refused(client, 2)
    assert good_client_is_served(server) < PROMPT


def test_no_length_on_a_stream_is_refused_or_read_as_empty(server):
    """RFC 3261 section 18.3: over a stream the Content-Length must be there."""
    with Client(server.port, "tcp") as client:
        client.send(options(client).replace(b"Content-Length: 0\r\n", b""))
        assert is_refused(client)


def test_a_body_that_does_not_come_is_waited_for_alone(server):
    with closing(crowd(server, 20, 22)) as clients:
        for client in clients:
            client.send(options(client).replace(b"Content-Length: 0", b"Content-Length: 60000"))
        assert good_client_is_served(server) < PROMPT


def test_many_idle_connections(server):
    with closing(crowd(server, 150, 23)):
        assert good_client_is_served(server) < PROMPT
        with Client(server.port, "udp") as client:
            assert client.register().status == 200
            assert client.register(expires=0).status == 200
    assert good_client_is_served(server) < PROMPT


def test_a_client_that_never_reads_is_dropped_not_waited_for(server):
    with Client(server.port, "tcp", ip="127.0.24.1") as deaf:
        deaf.socket.settimeout(0.5)
        with contextlib.suppress(OSError):
            for _ in range(20000):
                deaf.send(options(deaf))
        assert good_client_is_served(server) < PROMPT
    assert server.is_alive()


def test_connections_that_come_and_go(server):
    before = server.memory()
    for _ in range(10):
        with closing(crowd(server, 50, 25)) as clients:
            for client in clients[::2]:
                client.send(b"OPTIONS ")
    assert good_client_is_served(server) < PROMPT
    assert server.memory() - before < 4096


def test_a_peer_that_is_gone_is_noticed(server):
    """TCP keep-alives end a connection whose peer is gone, also one that a registration keeps."""
    with socket.create_connection(("127.0.0.1", server.port)) as phone:
        phone.sendall(b"\r\n\r\n")
        assert phone.recv(16) == b"\r\n"
        time.sleep(0.5)  # our answer's acknowledgment has its timer first
        ours, theirs = "0100007F:%04X" % server.port, "0100007F:%04X" % phone.getsockname()[1]
        lines = [line.split() for line in open("/proc/net/tcp", encoding="ascii")]
        timers = [x[5].split(":") for x in lines if x[1:3] == [ours, theirs]]
    assert len(timers) == 1 and timers[0][0] == "02", timers  # proc(5): keep-alive
    assert 0 < int(timers[0][1], 16) <= 60 * 100


@pytest.mark.parametrize("call_id, tag", [(2048, 8), (20, 2048), (2049, 8), (20, 2049), (40000, 8), (20, 33000)])
def test_a_call_that_the_books_cannot_hold_does_not_begin(call_id, tag):
    fits, uri = max(call_id, tag) <= 2048, "sip:bob@" + DOMAIN
    with media.house("media: {mode: always}\n", "tcp") as (server, alice, bob), media.SoundCallee(bob):
        answer = alice.ask("INVITE", uri, ["Contact: <%s>" % alice.contact(), "Content-Type: application/sdp"],
                           tag="t" * tag, call_id="x" * call_id, body=alice.description())
        if not fits:
            assert (answer.status, "Too Long" in answer.start) == (400, True)
            assert "INVITE" not in bob.methods()
            return
        assert answer.status == 200
        call = Call(alice, answer, uri, "<%s>;tag=%s" % (alice.aor(), "t" * tag))
        call.ack()
        assert len(server.json("calls")) == 1 and server.metric("tandem_media_sessions") == 1
        assert call.bye().status == 200
        assert media.wait(lambda: (200,) in server.records("status"), 5)
