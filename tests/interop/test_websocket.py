# SPDX-License-Identifier: MIT
"""SIP over WebSocket (RFC 7118), as a client sees it that keeps to the rules, and one that does not."""
import secrets
import urllib.request

import pytest

from support import tlsclient, websocket
from support.server import DOMAIN, Server
from support.sip import Callee, Client, place_call
from support.websocket import WsClient, frame

PASSWORD = "a-long-password"
ORIGIN = "https://phone.example.test"


@pytest.fixture(scope="module")
def server():
    with Server("security: {trusted: [127.0.0.0/8]}\n", doors=("tls", "ws", "wss"), origins=[ORIGIN]) as running:
        running.add_users(["alice", "bob"])
        yield running
        assert running.is_alive(), "the server died: " + running.log()[-4000:]


def ws(server, user="alice", **how):
    return WsClient(server.ports["ws"], user, PASSWORD, **how)


def status_of(refused):
    return int(str(refused.value).split()[1])


def test_two_websockets_call_each_other_and_a_udp_phone(server):
    tls = tlsclient.context(server.ca())
    with WsClient(server.ports["wss"], "alice", PASSWORD, tls=tls) as alice, ws(server, "bob") as bob:
        assert alice.register().status == 200 and bob.register().status == 200
        transports = {c["transport"] for contacts in server.bindings().values() for c in contacts.values()}
        assert transports == {"ws", "wss"}
        with Callee(bob) as callee:
            assert place_call(alice) == (200, 200)
            with Client(server.port, user="alice") as plain:
                assert place_call(plain) == (200, 200)
            assert callee.methods().count("ACK") == 2
        assert alice.register(expires=0).status == 200 and bob.register(expires=0).status == 200


def test_the_upgrade_is_answered_as_the_rfc_says(server):
    key = "dGhlIHNhbXBsZSBub25jZQ=="  # the one of RFC 6455 section 1.3
    with ws(server, key=key, origin=ORIGIN) as client:
        head = client.answer.decode().lower()
        assert "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in head
        assert "sec-websocket-protocol: sip" in head
        assert "sec-websocket-extensions" not in head
    with ws(server, protocol="chat, sip") as client:
        assert b"sec-websocket-protocol: sip\r" in client.answer.lower() + b"\r"


@pytest.mark.parametrize("how, status", [
    ({"origin": "https://elsewhere.test"}, 403),
    ({"origin": ORIGIN + ".elsewhere.test"}, 403),
    ({"origin": "null"}, 403),
    ({"protocol": "chat"}, 400),
    ({"protocol": None}, 400),
    ({"key": "c2hvcnQ="}, 400),
], ids=["another origin", "an origin that begins alike", "no origin to speak of", "another protocol",
        "no protocol", "a short key"])
def test_upgrades_that_are_refused(server, how, status):
    with pytest.raises(WsClient.Refused) as refused:
        ws(server, **how)
    assert status_of(refused) == status


def test_another_version_is_told_which_there_is(server):
    with Client(server.ports["ws"], "ws") as client:
        client.send(websocket.upgrade("127.0.0.1").replace(b"Version: 13", b"Version: 12"))
        answer = client.socket.recv(4096)
        assert answer.startswith(b"HTTP/1.1 426 ") and b"sec-websocket-version: 13" in answer.lower()


def options(client):
    return client.request("OPTIONS", "sip:" + DOMAIN, ["Contact: <%s>" % client.contact()], to="<sip:%s>" % DOMAIN)


def test_messages_in_pieces_binary_and_between_pings(server):
    with ws(server) as client:
        octets = options(client)
        client.raw(frame(octets[:10], last=False) + frame(b"!", websocket.PING) +
                   frame(octets[10:20], websocket.CONTINUATION, last=False) +
                   frame(octets[20:], websocket.CONTINUATION))
        assert client.final().status == 200
        client.raw(frame(options(client), websocket.BINARY))
        assert client.final().status == 200
        octets = frame(options(client))
        for position in range(0, len(octets), 50):
            client.raw(octets[position:position + 50])
        assert client.final().status == 200
        client.raw(frame(b"\r\n\r\n"))  # RFC 5626's keep-alive does no harm
        client.send(options(client))
        assert client.final().status == 200


@pytest.mark.parametrize("octets, code", [
    (frame(b"OPTIONS", mask=None), 1002),
    (frame(b"OPTIONS", reserved=4), 1002),
    (frame(b"OPTIONS", kind=3), 1002),
    (frame(b"x" * 126, websocket.PING), 1002),
    (frame(b"x", websocket.PING, last=False), 1002),
    (frame(b"x", websocket.CONTINUATION), 1002),
    (frame(b"\xff\xfe not UTF-8"), 1007),
    (frame(b"")[:1] + b"\xff" + (2 ** 40).to_bytes(8, "big") + b"mask", 1009),
], ids=["unmasked", "a reserved bit", "an unknown kind", "a long ping", "a ping in pieces", "a piece of nothing",
        "not UTF-8", "a terabyte"])
def test_broken_frames_end_the_connection_with_the_right_code(server, octets, code):
    with ws(server) as client:
        client.raw(octets)
        assert client.receive(5) is None
        assert client.closed == code
        assert client.is_closed(5)


def test_a_message_that_is_no_sip_ends_or_is_ignored(server):
    with ws(server) as client:
        client.send(b"hello\r\n\r\n")
        client.receive(0.5)
    with ws(server) as client:
        client.send(options(client))
        assert client.final().status == 200


def test_a_close_is_answered(server):
    with ws(server) as client:
        client.raw(frame((1000).to_bytes(2, "big"), websocket.CLOSE))
        assert client.receive(5) is None
        assert client.closed == 1000 and client.is_closed(5)


def test_a_browser_is_told_where_it_is(server):
    for kind, tls in (("ws", None), ("wss", tlsclient.context(server.ca()))):
        url = "http%s://127.0.0.1:%d/" % ("s" if tls else "", server.ports[kind])
        with urllib.request.urlopen(url, timeout=5, context=tls) as page:
            assert page.status == 200
            text = page.read().decode()
            assert page.headers.get_content_type() == "text/html"
            assert "Tandem" in text


def test_what_one_says_another_does_not_hear(server):
    """Two clients with the same call identifiers, one connection each: answers go back where they belong."""
    with ws(server) as one, ws(server, "bob") as two:
        call_id, branch = secrets.token_hex(8), "z9hG4bK" + secrets.token_hex(8)
        for client in (one, two):
            client.send(client.request("OPTIONS", "sip:" + DOMAIN, to="<sip:%s>" % DOMAIN, branch=branch, call_id=call_id))
        for client in (one, two):
            assert client.final().status == 200
            assert client.receive(0.2) is None
