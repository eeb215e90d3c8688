# SPDX-License-Identifier: MIT
"""Phones made of two sockets, SIP and RTP, and those who attack them: what arrives is known octet by octet."""
import contextlib
import random
import re
import select
import socket
import struct
import time

from .server import DOMAIN, Server
from .sip import Call, Callee, Client

PASSWORD = "a-long-password"
NAMES = {0: "PCMU", 8: "PCMA"}
FRAME = 160  # octets of 20 ms of G.711


def wait(condition, timeout):
    until = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def description(ip, port, codecs=(0,), more=()):
    family = "IP6" if ":" in ip else "IP4"
    lines = ["v=0", "o=- %d 1 IN %s %s" % (random.getrandbits(30), family, ip), "s=-", "c=IN %s %s" % (family, ip),
             "t=0 0", "m=audio %d RTP/AVP %s" % (port, " ".join(map(str, codecs))),
             *("a=rtpmap:%d %s/8000" % (pt, NAMES[pt]) for pt in codecs), *more]
    return "\r\n".join(lines) + "\r\n"


def told(text):
    """(address, port) of the audio line of a description."""
    text = text.decode() if isinstance(text, bytes) else text
    return re.search(r"^c=IN IP[46] (\S+)", text, re.M)[1], int(re.search(r"^m=audio (\d+)", text, re.M)[1])


class Sound:
    """One RTP socket. Its packets say whose they are: each octet of the sound is `mark`."""

    def __init__(self, ip, mark):
        self.socket = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((ip, 0))
        self.ip, self.port = self.socket.getsockname()[:2]
        self.mark, self.ssrc = mark, random.getrandbits(32)
        self.number, self.got = random.getrandbits(15), []

    def close(self):
        self.socket.close()

    def packet(self, pt=0):
        self.number = (self.number + 1) & 0xFFFF
        return struct.pack("!BBHII", 0x80, pt, self.number, self.number * FRAME, self.ssrc) + bytes([self.mark]) * FRAME

    def send(self, to, octets=None):
        with contextlib.suppress(OSError):  # an ICMP error of before
            self.socket.sendto(octets or self.packet(), to)

    def take(self, timeout=0.0):
        """What arrived is kept in .got as (octets, source)."""
        while select.select([self.socket], [], [], timeout)[0]:
            with contextlib.suppress(OSError):
                self.got.append(self.socket.recvfrom(65536))
            timeout = 0.0

    def marks(self):
        """{mark: packets of that} of what arrived."""
        self.take()
        counts = {}
        for octets, _ in self.got:
            if len(octets) == 12 + FRAME:
                counts[octets[-1]] = counts.get(octets[-1], 0) + 1
        return counts


class RawPhone(Client):
    """A SIP client with sound. It says that its sound is at `says` (default: where it is)."""

    def __init__(self, server, user, mark, ip=None, host="127.0.0.1", transport="udp"):
        super().__init__(server.port, transport, user=user, password=PASSWORD, server=host, ip=ip)
        self.sound = Sound(ip or host, mark)
        self.says, self.codecs, self.more, self.peer = None, (0,), (), None
        self.callee = None

    def close(self):
        self.sound.close()
        super().close()

    def description(self):
        ip, port = self.says or (self.sound.ip, self.sound.port)
        return description(ip, port, self.codecs, self.more)

    def methods(self):
        return self.callee.methods() if self.callee else []


class SoundCallee(Callee):
    """Answers an INVITE with a description; `before` is called between the offer and the answer."""

    def __init__(self, phone, before=None):
        super().__init__(phone)
        phone.callee, self.before = self, before

    def answer(self, invite):
        contact = ["Contact: <%s>" % self.client.contact()]
        self.client.send(self.client.response(invite, 180, "Ringing", contact))
        self.client.peer = told(invite.body)
        if self.before:
            self.before()
        self.client.send(self.client.response(invite, 200, "OK", [*contact, "Content-Type: application/sdp"],
                                              body=self.client.description()))


@contextlib.contextmanager
def house(more="", transport="udp", **how):
    """(server, alice, bob): bob registered, both raw."""
    with Server(more, **how) as server:
        server.add_users(["alice", "bob"], PASSWORD)
        host = server.addresses[0]
        with contextlib.ExitStack() as stack:
            alice, bob = (stack.enter_context(RawPhone(server, user, mark, host=host, transport=transport))
                          for user, mark in (("alice", 0xA1), ("bob", 0xB2)))
            assert bob.register().status == 200
            yield server, alice, bob


def dial(caller, user="bob"):
    """(the final response, the call or None): INVITE with a description, ACK."""
    uri, tag, call_id = "sip:%s@%s" % (user, DOMAIN), "%x" % random.getrandbits(32), "%x" % random.getrandbits(64)
    answer = caller.ask("INVITE", uri, ["Contact: <%s>" % caller.contact(), "Content-Type: application/sdp"],
                        tag=tag, call_id=call_id, body=caller.description())
    if answer is None or answer.status != 200:
        return answer, None
    caller.peer = told(answer.body)
    made = Call(caller, answer, uri, "<%s>;tag=%s" % (caller.aor(), tag))
    made.ack()
    return answer, made


def call(caller, callee, during=None, before=None):
    """A call from one to the other; during(): what is done while it stands. (final response of the INVITE, of the BYE)."""
    with SoundCallee(callee, before):
        answer, made = dial(caller, callee.user)
        if made is None:
            wait(lambda: {"BYE", "CANCEL"} & set(callee.methods()), 1)
            return answer, None
        if during:
            during()
        return answer, made.bye()


def talk(phones, seconds=0.5):
    """Each says something to where it was told to, every 20 ms."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for phone in phones:
            phone.sound.send(phone.peer)
        time.sleep(0.02)
        for phone in phones:
            phone.sound.take()
