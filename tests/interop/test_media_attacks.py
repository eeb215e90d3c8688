# SPDX-License-Identifier: MIT
"""Who does not belong to a call hears nothing of it, says nothing in it, and cannot end it; and nobody is made to hear
what he did not ask for. Every phone and every attacker here is two sockets: what arrives is counted."""
import contextlib
import hashlib
import hmac
import re
import secrets
import socket
import struct
import subprocess
import threading
import time
import zlib

import pytest

from support import media, nat
from support.media import Sound
from support.phone import Phone
from support.server import DOMAIN

PASSWORD = "a-long-password"
PORTS = 200
COOKIE = 0x2112A442
HELLO_VERIFY = 3


def free_ports(ip="127.0.0.1"):
    """The first of so many UDP ports that are free, outside of what the kernel hands out by itself."""
    for first in range(24000, 32000, PORTS):
        held = []
        try:
            for port in range(first, first + PORTS):
                probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                held.append(probe)
                probe.bind((ip, port))
            return first
        except OSError:
            continue
        finally:
            for probe in held:
                probe.close()
    raise RuntimeError("no free ports")


@pytest.fixture(scope="module")
def house():
    first = free_ports()
    with media.house("media: {mode: always, ports: %d-%d}\n" % (first, first + PORTS - 1)) as (server, alice, bob):
        server.add_users(["carol", "dora"], PASSWORD)
        server.media = range(first, first + PORTS)
        yield server, alice, bob
        assert server.is_alive(), "the server died: " + server.log()[-4000:]


@contextlib.contextmanager
def attackers(server, octets=None, together=1):
    """One on another address and one on the phones' own; spray(times) sends to every media port."""
    strangers = [Sound("127.0.0.9", 0xE9), Sound("127.0.0.1", 0xE1)]

    def spray(times=1):
        for _ in range(times):
            for stranger in strangers:
                for port in server.media:
                    for _ in range(together):
                        stranger.send(("127.0.0.1", port), octets)
                time.sleep(0.005)
    try:
        yield strangers, spray
    finally:
        for stranger in strangers:
            stranger.close()


def clean(*phones):
    for phone in phones:
        phone.sound.take()
        phone.sound.got.clear()
        phone.says, phone.more = None, ()


def test_who_sprays_all_ports_hears_nothing_and_says_nothing(house):
    server, alice, bob = house
    clean(alice, bob)
    with attackers(server, together=4) as (strangers, spray):  # as a sender would, one packet after the other
        def during():
            spray(4)
            media.talk((alice, bob), 0.3)
            for _ in range(5):
                spray()
                media.talk((alice, bob), 0.1)
            media.talk((alice, bob), 0.3)
        before = server.metric("tandem_media_foreign_packets_total")
        spray(2)
        answer, bye = media.call(alice, bob, during, before=lambda: spray(4))
        assert answer.status == 200 and bye.status == 200
        assert all(port in server.media for _, port in (alice.peer, bob.peer)), "no relay"
        heard = {"alice": alice.sound.marks(), "bob": bob.sound.marks()}
        assert set(heard["alice"]) == {0xB2} and set(heard["bob"]) == {0xA1}, heard
        assert heard["alice"][0xB2] > 30 and heard["bob"][0xA1] > 30, heard
        for stranger in strangers:
            stranger.take()
            assert not stranger.got, "%s was sent %d packets" % (stranger.ip, len(stranger.got))
        assert server.metric("tandem_media_foreign_packets_total") > before, "nobody noticed"


# --- DTLS ---------------------------------------------------------------------------------------------

def client_hello():
    """What OpenSSL begins a DTLS connection with."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind(("127.0.0.1", 0))
        ear.settimeout(10)
        client = subprocess.Popen(["openssl", "s_client", "-dtls1_2", "-use_srtp", "SRTP_AES128_CM_SHA1_80", "-connect",
                                   "127.0.0.1:%d" % ear.getsockname()[1]], stdin=subprocess.PIPE,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return ear.recv(4096)
        finally:
            client.kill()
            client.wait()
            client.stdin.close()


def test_forged_handshakes_do_not_kill_a_call(house):
    server, _, _ = house
    hello = client_hello()
    with contextlib.ExitStack() as stack:
        carol, dora = (stack.enter_context(Phone(user, PASSWORD, DOMAIN, server.proxy("udp"), hz=hz, mediaenc="dtls_srtp"))
                       for user, hz in (("carol", 440), ("dora", 1000)))
        strangers, spray = stack.enter_context(attackers(server, hello))
        assert carol.registers() and dora.registers()
        over = threading.Event()

        def go_on():
            while not over.is_set():
                spray()
                time.sleep(0.02)
        attack = threading.Thread(target=go_on)
        attack.start()
        try:
            carol.dial("sip:dora@" + DOMAIN)
            assert dora.rings()
            dora.answer()
            assert carol.talks() and dora.talks()
            time.sleep(3)
        finally:
            over.set()
            attack.join()
        carol.hang_up()
        assert carol.is_idle()
        for stranger in strangers:  # but for the question whether he is where he says (RFC 6347 section 4.2.1)
            stranger.take()
            wrong = [o for o, _ in stranger.got if o[0] != 22 or o[13] != HELLO_VERIFY or len(o) >= len(hello)]
            assert not wrong, "%s was sent %s" % (stranger.ip, wrong[0])
        assert carol.heard(1000) > 0.8 and dora.heard(440) > 0.8


# --- ICE ----------------------------------------------------------------------------------------------

def check(user, password=None, nominate=True):
    """A connectivity check (RFC 8445 section 7.2.2); without a password it is not signed."""
    def attribute(kind, value):
        return struct.pack("!HH", kind, len(value)) + value + b"\0" * (-len(value) % 4)
    body = attribute(0x0006, user.encode()) + attribute(0x0024, struct.pack("!I", 0x6E0001FF))
    body += attribute(0x802A, secrets.token_bytes(8)) + (attribute(0x0025, b"") if nominate else b"")
    number = secrets.token_bytes(12)

    def head(more):
        return struct.pack("!HHI", 1, len(body) + more, COOKIE) + number
    if password is not None:
        body += attribute(0x0008, hmac.new(password.encode(), head(24) + body, hashlib.sha1).digest())
    body += attribute(0x8028, struct.pack("!I", zlib.crc32(head(8) + body) ^ 0x5354554E))
    return head(0) + body


def is_success(octets):
    return octets[:2] == b"\x01\x01"


def test_checks_without_the_password_change_nothing(house):
    server, alice, bob = house
    clean(alice, bob)
    alice.more = ("a=ice-ufrag:al1c", "a=ice-pwd:" + "p" * 24, "a=ice-options:ice2", "a=rtcp-mux",
                  "a=candidate:1 1 UDP 2130706431 127.0.0.1 %d typ host" % alice.sound.port)
    ours = {}

    class Caller:
        """Keeps the answer's description."""
        def __init__(self):
            self.final = alice.final

        def __call__(self, *a, **k):
            answer = self.final(*a, **k)
            for name in ("ufrag", "pwd"):
                found = answer and re.search(rb"a=ice-%s:(\S+)" % name.encode(), answer.body)
                if found:
                    ours[name] = found[1].decode()
            return answer

    with attackers(server) as (strangers, _):
        def forged():
            user = ours["ufrag"] + ":al1c"
            return [check(user), check(user, "x" * 24), check(user, ""), check(user, "p" * 24),
                    check("al1c:" + ours["ufrag"], ours["pwd"])]

        def during():
            assert set(ours) == {"ufrag", "pwd"}, "no ICE in the answer"
            for octets in forged():  # before the real one
                for stranger in strangers:
                    stranger.send(alice.peer, octets)
            media.talk((bob,), 0.2)
            alice.sound.take()
            assert not alice.sound.got, "sound without a check"
            alice.sound.send(alice.peer, check("%s:al1c" % ours["ufrag"], ours["pwd"]))
            assert media.wait(lambda: alice.sound.take() or any(is_success(o) for o, _ in alice.sound.got), 3)
            media.talk((alice, bob), 0.3)
            for octets in forged():  # and after
                for stranger in strangers:
                    stranger.send(alice.peer, octets)
                    stranger.send(alice.peer)
                media.talk((alice, bob), 0.1)
            bob.sound.got.clear()
            alice.sound.got.clear()
            media.talk((alice, bob), 0.3)
        alice.final = Caller()
        try:
            answer, bye = media.call(alice, bob, during)
        finally:
            del alice.final
        assert answer.status == 200 and bye.status == 200
        assert set(alice.sound.marks()) == {0xB2} and alice.sound.marks()[0xB2] > 8
        assert set(bob.sound.marks()) == {0xA1} and bob.sound.marks()[0xA1] > 8
        for stranger in strangers:
            stranger.take()
            assert not [o for o, _ in stranger.got if is_success(o)], "a forged check was believed"
            assert not [o for o, _ in stranger.got if o[0] & 0xC0 == 0x80], "the attacker hears the call"


# --- descriptions that lie ------------------------------------------------------------------------------

LIES = ["169.254.169.254", "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "10.11.12.13", "192.168.7.7",
        "::", "::1", "::ffff:127.0.0.1", "ff02::1", "fe80::1"]


def test_nothing_is_sent_to_addresses_that_a_description_has_no_business_to_name():
    """In a namespace, where packets to anywhere have a way: a caller with a public address names others."""
    with nat.lab() as lab, contextlib.ExitStack() as stack:
        with lab.inside("srv"):
            server, alice, bob = stack.enter_context(media.house("media: {mode: always}\n", addresses=[nat.SERVER]))
            ear = stack.enter_context(nat.Wire())
            alice.close()
        with lab.inside("pub"):
            alice = stack.enter_context(media.RawPhone(server, "alice", 0xA1, nat.PUBLIC, nat.SERVER))
            bob = stack.enter_context(media.RawPhone(server, "bob", 0xB2, nat.PUBLIC, nat.SERVER))
            assert bob.register().status == 200
        answer, bye = media.call(alice, bob, lambda: media.talk((alice, bob), 0.3))
        assert bye and bye.status == 200 and 0xB2 in alice.sound.marks(), "the laboratory does not work"
        assert any(mark == 0xB2 for _, _, mark in ear.sounds()), "the wire is not heard"
        port = 40404
        for lie in LIES:
            alice.says = (lie, port)
            ear.sounds()
            answer, bye = media.call(alice, bob, lambda: media.talk((bob,), 0.15))
            assert answer.status in (200, 488), (lie, answer)
            sent = [(to, at) for to, at, mark in ear.sounds() if mark == 0xB2 and at != bob.peer[1]]
            assert not sent, "for c=%s: sent to %s" % (lie, sent)
        assert server.is_alive()
