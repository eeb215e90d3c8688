# SPDX-License-Identifier: MIT
"""A TURN client for tests, written from the RFCs and sharing no code with the server: RFC 8656, RFC 6062, the
long-term credentials of RFC 8489 with either algorithm. One object is one 5-tuple; calls wait for their answer.

    login = credentials(server, "alice")
    with Client(("127.0.0.1", port), "udp", login["username"], login["password"]) as client:
        client.allocate()
"""
import contextlib
import hashlib
import hmac
import http.client
import ipaddress
import json
import os
import socket
import ssl
import struct
import threading
import zlib

COOKIE = 0x2112A442
REQUEST, INDICATION, SUCCESS, ERROR = range(4)
BINDING, ALLOCATE, REFRESH, SEND, DATA_INDICATION, PERMISSION, CHANNEL_BIND = 1, 3, 4, 6, 7, 8, 9
CONNECT, CONNECTION_BIND, CONNECTION_ATTEMPT = 10, 11, 12
USERNAME, INTEGRITY, ERROR_CODE, UNKNOWN, CHANNEL, LIFETIME = 0x06, 0x08, 0x09, 0x0A, 0x0C, 0x0D
PEER, DATA, REALM, NONCE, RELAYED, FAMILY, EVEN_PORT = 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18
TRANSPORT, DONT_FRAGMENT, INTEGRITY_SHA256, ALGORITHM = 0x19, 0x1A, 0x1C, 0x1D
MAPPED, TOKEN, CONNECTION_ID, ADDITIONAL_FAMILY, ALGORITHMS = 0x20, 0x22, 0x2A, 0x8000, 0x8002
FINGERPRINT = 0x8028
UDP, TCP = 17, 6


class Refused(Exception):
    """An error response; .code says which."""
    def __init__(self, code, message):
        super().__init__("%d %s" % (code, message.reason))
        self.code, self.message = code, message


class Message:
    def __init__(self, method, kind, transaction=None):
        self.method, self.kind = method, kind
        self.transaction = transaction or os.urandom(12)
        self.attributes = []
        self.reason = ""

    def add(self, number, value=b""):
        self.attributes.append((number, value))
        return self

    def get(self, number):
        return next((value for n, value in self.attributes if n == number), None)

    def all(self, number):
        return [value for n, value in self.attributes if n == number]

    def header(self, length):
        kind = (self.kind & 1) << 4 | (self.kind & 2) << 7
        method = (self.method & 0xF) | (self.method & 0x70) << 1 | (self.method & 0xF80) << 2
        return struct.pack("!HHI", method | kind, length, COOKIE) + self.transaction

    def octets(self, key=None, sha256=False, fingerprint=False):
        body = b"".join(struct.pack("!HH", n, len(v)) + v + bytes(-len(v) % 4)
                        for n, v in self.attributes)
        if key:
            number, digest, length = ((INTEGRITY_SHA256, hashlib.sha256, 32) if sha256
                                      else (INTEGRITY, hashlib.sha1, 20))
            mac = hmac.new(key, self.header(len(body) + 4 + length) + body, digest).digest()
            body += struct.pack("!HH", number, length) + mac
        if fingerprint:
            crc = zlib.crc32(self.header(len(body) + 8) + body) ^ 0x5354554E
            body += struct.pack("!HHI", FINGERPRINT, 4, crc)
        return self.header(len(body)) + body

    def xor(self, number):
        """The address of an XOR-…-ADDRESS; None: there is none."""
        value = self.get(number)
        return value and unxor(value, self.transaction)


def parse(octets):
    kind, length, cookie = struct.unpack("!HHI", octets[:8])
    assert cookie == COOKIE and length == len(octets) - 20, "not STUN"
    m = Message((kind & 0xF) | (kind & 0xE0) >> 1 | (kind & 0x3E00) >> 2,
                (kind >> 4 & 1) | (kind >> 7 & 2), octets[8:20])
    at = 20
    while at < len(octets):
        number, n = struct.unpack("!HH", octets[at:at + 4])
        m.attributes.append((number, octets[at + 4:at + 4 + n]))
        at += 4 + (n + 3) // 4 * 4
    return m


def mask(value, transaction):
    key = struct.pack("!I", COOKIE) + transaction
    return bytes(a ^ b for a, b in zip(value, key))


def xor(address, transaction):
    ip, port = ipaddress.ip_address(address[0]), address[1]
    return (struct.pack("!BBH", 0, 1 if ip.version == 4 else 2, port ^ COOKIE >> 16)
            + mask(ip.packed, transaction))


def unxor(value, transaction):
    port = struct.unpack("!H", value[2:4])[0] ^ COOKIE >> 16
    return str(ipaddress.ip_address(mask(value[4:], transaction))), port


def integrity_holds(octets, key):
    """The integrity attribute of a message is there and right."""
    at = 20
    while at < len(octets):
        number, n = struct.unpack("!HH", octets[at:at + 4])
        if number in (INTEGRITY, INTEGRITY_SHA256):
            digest = hashlib.sha1 if number == INTEGRITY else hashlib.sha256
            head = octets[:2] + struct.pack("!H", at + 4 + n - 20) + octets[4:at]
            return hmac.compare_digest(hmac.new(key, head, digest).digest(), octets[at + 4:at + 4 + n])
        at += 4 + (n + 3) // 4 * 4
    return False


# --- what the control API gives ----------------------------------------------------------------------
class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self.path)


def ask(server, body):
    """POST /api/v1/turn: (status, answer)."""
    with contextlib.closing(Unix(server.folder / "data/control.sock")) as connection:
        connection.request("POST", "/api/v1/turn", json.dumps(body),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def credentials(server, account, **more):
    status, answer = ask(server, {"account": account, **more})
    assert status == 200, answer
    return answer


# --- the client --------------------------------------------------------------------------------------
class Client:
    def __init__(self, address, transport, username, password, sha256=True, ca=None, local=None):
        self.address, self.transport = address, transport
        self.username, self.password, self.sha256 = username, password, sha256
        self.realm = self.nonce = self.key = None
        self.buffer = b""
        self.data = []       # (peer, octets) that came while something else was awaited
        self.attempts = []   # ConnectionAttempt indications
        self.algorithms = None
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        if transport == "udp":
            self.socket = socket.socket(family, socket.SOCK_DGRAM)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, timeout=10, source_address=local)
        self.socket.settimeout(5)
        if transport == "tls":
            context = ssl.create_default_context(cafile=ca)
            self.socket = context.wrap_socket(self.socket, server_hostname=address[0])
        self.channels = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    # --- octets ---
    def send_octets(self, octets):
        if self.transport == "udp":
            self.socket.send(octets)
        else:
            self.socket.sendall(octets + bytes(-len(octets) % 4))

    def more(self):
        octets = self.socket.recv(65536)
        if not octets:
            raise EOFError("the server closed the connection")
        return octets

    def receive(self):
        """One message, as it came (ChannelData without padding)."""
        if self.transport == "udp":
            return self.socket.recv(65536)
        while len(self.buffer) < 4:
            self.buffer += self.more()
        channel = self.buffer[0] & 0xC0 == 0x40
        n = struct.unpack("!H", self.buffer[2:4])[0] + (4 if channel else 20)
        whole = (n + 3) // 4 * 4
        while len(self.buffer) < whole:
            self.buffer += self.more()
        message, self.buffer = self.buffer[:n], self.buffer[whole:]
        return message

    # --- requests ---
    def sign(self, message):
        if not self.nonce:
            return message.octets()
        message.add(USERNAME, self.username.encode()).add(REALM, self.realm).add(NONCE, self.nonce)
        if self.sha256 and self.algorithms:
            message.add(ALGORITHMS, self.algorithms).add(ALGORITHM, struct.pack("!HH", 2, 0))
        return message.octets(self.key, self.sha256 and bool(self.algorithms))

    def challenged(self, answer):
        self.realm, self.nonce = answer.get(REALM), answer.get(NONCE)
        self.algorithms = answer.get(ALGORITHMS)
        digest = hashlib.sha256 if self.sha256 and self.algorithms else hashlib.md5
        self.key = digest(b":".join((self.username.encode(), self.realm,
                                     self.password.encode()))).digest()

    def exchange(self, message):
        """Send it, signed when we can; its answer. What comes besides is kept."""
        self.send_octets(self.sign(message))
        while True:
            octets = self.receive()
            if octets[0] & 0xC0 == 0x40:
                self.take_channel(octets)
                continue
            answer = parse(octets)
            if answer.kind == INDICATION:
                self.take_indication(answer)
            elif answer.transaction == message.transaction:
                break
        if answer.kind == SUCCESS and self.nonce:
            assert integrity_holds(octets, self.key), "the answer is not signed as it should be"
        if answer.kind == ERROR:
            value = answer.get(ERROR_CODE)
            answer.reason = value[4:].decode()
            raise Refused(value[2] * 100 + value[3], answer)
        return answer

    def request(self, method, *attributes):
        """The answer, after a challenge has been met. Raises Refused. An attribute is (number, value); the value of a
        peer is its address."""
        for _ in range(3):
            message = Message(method, REQUEST)
            for number, value in attributes:
                message.add(number, xor(value, message.transaction) if number == PEER else value)
            had = self.nonce
            try:
                return self.exchange(message)
            except Refused as refused:
                if refused.code not in (401, 438) or (refused.code == 401 and had):
                    raise
                self.challenged(refused.message)
        raise AssertionError("challenged again and again")

    def allocate(self, *attributes, transport=UDP):
        answer = self.request(ALLOCATE, (TRANSPORT, struct.pack("!Bxxx", transport)), *attributes)
        self.relayed = answer.xor(RELAYED)
        self.mapped = answer.xor(MAPPED)
        self.lifetime = struct.unpack("!I", answer.get(LIFETIME))[0]
        return answer

    def refresh(self, seconds):
        answer = self.request(REFRESH, (LIFETIME, struct.pack("!I", seconds)))
        return struct.unpack("!I", answer.get(LIFETIME))[0]

    def permit(self, *peers):
        return self.request(PERMISSION, *((PEER, peer) for peer in peers))

    def bind(self, channel, peer):
        self.request(CHANNEL_BIND, (CHANNEL, struct.pack("!Hxx", channel)), (PEER, peer))
        self.channels[channel] = peer

    # --- data ---
    def send(self, peer, octets):
        """By a Send indication."""
        m = Message(SEND, INDICATION)
        self.send_octets(m.add(PEER, xor(peer, m.transaction)).add(DATA, octets).octets())

    def send_channel(self, channel, octets):
        self.send_octets(struct.pack("!HH", channel, len(octets)) + octets)

    def take_channel(self, octets):
        channel, n = struct.unpack("!HH", octets[:4])
        self.data.append((self.channels[channel], octets[4:4 + n], channel))

    def take_indication(self, m):
        if m.method == CONNECTION_ATTEMPT:
            self.attempts.append(m)
        elif m.method == DATA_INDICATION and m.get(DATA) is not None:
            self.data.append((m.xor(PEER), m.get(DATA), None))

    def wait_data(self):
        """(peer, octets, channel or None) that comes next."""
        while not self.data:
            octets = self.receive()
            if octets[0] & 0xC0 == 0x40:
                self.take_channel(octets)
            else:
                self.take_indication(parse(octets))
        return self.data.pop(0)

    def wait_attempt(self):
        while not self.attempts:
            self.take_indication(parse(self.receive()))
        return self.attempts.pop(0)

    def nothing_comes(self, seconds=0.3):
        self.socket.settimeout(seconds)
        try:
            self.data.append(("nobody", self.receive(), None))
        except (TimeoutError, socket.timeout):
            pass
        finally:
            self.socket.settimeout(5)
        return not self.data


class Echo:
    """A peer that sends back what it gets: .address, .seen [(source, octets)]."""

    def __init__(self, address="127.0.0.1", port=0):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        self.socket.settimeout(0.1)
        self.address = self.socket.getsockname()[:2]
        self.seen = []
        self.end = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.end.is_set():
            try:
                octets, source = self.socket.recvfrom(65536)
            except (TimeoutError, socket.timeout):
                continue
            self.seen.append((source[:2], octets))
            self.socket.sendto(octets, source)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()
        self.socket.close()
