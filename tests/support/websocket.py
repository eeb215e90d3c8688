# SPDX-License-Identifier: MIT
"""WebSocket (RFC 6455) for tests, the client's side: frames right and wrong, and a raw SIP client over it (RFC 7118)."""
import base64
import hashlib
import os
import select
import ssl
import time

from . import sip, tlsclient

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def upgrade(host, path="/", origin=None, protocol="sip", key=None, more=()):
    """The octets of a request to upgrade."""
    key = key or base64.b64encode(os.urandom(16)).decode()
    lines = ["GET %s HTTP/1.1" % path, "Host: " + host, "Upgrade: websocket", "Connection: Upgrade",
             "Sec-WebSocket-Key: " + key, "Sec-WebSocket-Version: 13"]
    if protocol:
        lines.append("Sec-WebSocket-Protocol: " + protocol)
    if origin:
        lines.append("Origin: " + origin)
    return ("\r\n".join([*lines, *more]) + "\r\n\r\n").encode()


def accept_of(key):
    """What a server answers to a key (RFC 6455 section 4.2.2)."""
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


def frame(payload, kind=TEXT, last=True, mask=b"\x37\xfa\x21\x3d", reserved=0):
    """One frame; mask None: unmasked, which a client must not send."""
    head = bytes([(0x80 if last else 0) | reserved << 4 | kind])
    masked = 0 if mask is None else 0x80
    size = len(payload)
    if size < 126:
        head += bytes([masked | size])
    elif size < 65536:
        head += bytes([masked | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([masked | 127]) + size.to_bytes(8, "big")
    if mask is None:
        return head + payload
    wide = int.from_bytes(mask * (size // 4 + 1), "big") >> 8 * (4 - size % 4)
    return head + mask + (int.from_bytes(payload, "big") ^ wide).to_bytes(size, "big")


def first_frame(octets):
    """((kind, last, payload) or None when it is not whole, the rest); a server's frames are unmasked."""
    if len(octets) < 2:
        return None, octets
    size, start = octets[1] & 127, 2
    if octets[1] & 128:
        raise ValueError("a server that masks")
    if size >= 126:
        start = 4 if size == 126 else 10
        size = int.from_bytes(octets[2:start], "big")
    if len(octets) < start or len(octets) < start + size:
        return None, octets
    return (octets[0] & 15, bool(octets[0] & 128), octets[start:start + size]), octets[start + size:]


class WsClient(tlsclient.TlsClient):
    """One user agent on one WebSocket, ws or (tls: a context) wss; as sip.Client otherwise. It answers pings.
    .answer is the server's answer to the upgrade, of which a status other than 101 raises Refused."""

    class Refused(Exception):
        pass

    def __init__(self, port, user="alice", password="a-long-password", domain="example.test",
                 server="127.0.0.1", ip=None, tls=None, name=None, **how):
        if tls:
            super().__init__(port, user, password, domain, server, ip, tls, name)
        else:
            sip.Client.__init__(self, port, "ws", user, password, domain, server, ip)
        self.transport = "wss" if tls else "ws"
        self.frames, self.pieces, self.pings, self.closed = b"", b"", 0, None
        host = "%s:%d" % ("[%s]" % server if ":" in server else server, port)
        self.socket.sendall(upgrade(host, **how))
        head = b""
        while b"\r\n\r\n" not in head:
            octets = self.octets(10)
            if not octets:
                break
            head += octets
        self.answer, _, self.frames = head.partition(b"\r\n\r\n")
        if not self.answer.startswith(b"HTTP/1.1 101 "):
            self.close()
            raise WsClient.Refused(self.answer.decode("utf-8", "replace"))

    def octets(self, timeout):
        if isinstance(self.socket, ssl.SSLSocket):
            return super().octets(timeout)
        if not select.select([self.socket], [], [], timeout)[0]:
            return None
        try:
            return self.socket.recv(65536)
        except OSError:
            return b""

    def contact(self):
        """As browsers have it: a host that is nobody's (RFC 7118 section 5)."""
        return "sip:%s@%d.invalid;transport=ws" % (self.user, self.port)

    def via(self, branch=None):
        return "SIP/2.0/%s %d.invalid;branch=%s" % (
            self.transport.upper(), self.port, branch or "z9hG4bK" + os.urandom(8).hex())

    def send(self, octets):
        super().send(frame(octets if isinstance(octets, bytes) else octets.encode(), mask=os.urandom(4)))

    def raw(self, octets):
        """Octets that are no frame, or several, or a broken one."""
        super().send(octets)

    def receive(self, timeout=5):
        until = time.monotonic() + timeout
        while True:
            got, self.frames = first_frame(self.frames)
            if got is None:
                octets = self.octets(max(0.0, until - time.monotonic()))
                if not octets:
                    return None
                self.frames += octets
                continue
            kind, last, payload = got
            if kind == PING:
                self.pings += 1
                super().send(frame(payload, PONG))
            elif kind == CLOSE:
                self.closed = int.from_bytes(payload[:2], "big") if payload else 1005
                return None
            elif kind in (CONTINUATION, TEXT, BINARY):
                self.pieces += payload
                if last:
                    whole, self.pieces = self.pieces, b""
                    if whole.strip(b"\r\n"):
                        return sip.Message(whole)
