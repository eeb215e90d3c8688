# SPDX-License-Identifier: MIT
"""TLS for tests: an authority with its certificates (made by openssl), and a raw SIP client over TLS."""
import hashlib
import itertools
import os
import pathlib
import secrets
import select
import socket
import ssl
import subprocess
import time

from . import sip


def openssl(*arguments, text=""):
    return subprocess.run(["openssl", *map(str, arguments)], input=text, capture_output=True, text=True,
                          check=True, timeout=30).stdout


class Authority:
    """A CA in a folder: .ca is its certificate; issue() makes a pair of files."""

    def __init__(self, folder, name="An authority of the tests"):
        self.folder = pathlib.Path(folder) / ("ca-" + secrets.token_hex(4))
        self.folder.mkdir(parents=True)
        self.ca, self.key = self.folder / "ca.pem", self.folder / "ca.key"
        self.serials = itertools.count(1)
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 30,
                "-subj", "/CN=" + name, "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", self.key, "-out", self.ca)

    def issue(self, *names, days=30):
        """(certificate, key), files; names as in a subjectAltName: DNS:example.test, IP:127.0.0.1"""
        number = next(self.serials)
        certificate, key = self.folder / ("%d.pem" % number), self.folder / ("%d.key" % number)
        request, extensions = self.folder / "request", self.folder / "extensions"
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                "/CN=tests %d" % number, "-keyout", key, "-out", request)
        extensions.write_text("subjectAltName=%s\nbasicConstraints=critical,CA:FALSE\n"
                              "extendedKeyUsage=serverAuth,clientAuth\n" % ",".join(names))
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.key, "-days", days,
                "-set_serial", secrets.randbits(62), "-extfile", extensions, "-out", certificate)
        return certificate, key


def replace(path, source):
    """The file becomes a copy of source at once, as `mv` does it."""
    path = pathlib.Path(path)
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(pathlib.Path(source).read_bytes())
    os.replace(beside, path)


def context(ca=None, pair=None, least=ssl.TLSVersion.TLSv1_2, most=ssl.TLSVersion.MAXIMUM_SUPPORTED):
    """What a client brings. ca: a file, whom it trusts (none: anybody); pair: its own certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version, made.maximum_version = least, most
    if ca:
        made.load_verify_locations(ca)
    else:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if pair:
        made.load_cert_chain(*pair)
    return made


def fingerprint(certificate):
    """Of a file in PEM (its first certificate), as a client sees it: SHA-256 in hexadecimal digits."""
    text = pathlib.Path(certificate).read_text()
    end = "-----END CERTIFICATE-----"
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN"):text.index(end)] + end)).hexdigest()


class TlsClient(sip.Client):
    """One user agent on one TLS connection; as sip.Client otherwise. name: what it asks for (SNI), and
    checks when the context trusts only some."""

    def __init__(self, port, user="alice", password="a-long-password", domain="example.test",
                 server="127.0.0.1", ip=None, tls=None, name=None, session=None):
        super().__init__(port, "tls", user, password, domain, server, ip)
        try:
            self.socket = (tls or context()).wrap_socket(
                self.socket, server_hostname=name or server, session=session)
        except BaseException:
            self.close()
            raise

    def fingerprint(self):
        return hashlib.sha256(self.socket.getpeercert(True)).hexdigest()

    def octets(self, timeout):
        """What comes next; b"" at the end of the connection, None when nothing came in time."""
        until = time.monotonic() + timeout
        self.socket.setblocking(False)
        try:
            while True:
                try:
                    return self.socket.recv(65536)
                except ssl.SSLWantReadError:
                    left = until - time.monotonic()
                    if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                        return None
                except OSError:
                    return b""
        finally:
            self.socket.settimeout(10)

    def receive(self, timeout=5):
        until = time.monotonic() + timeout
        while True:
            message, self.stream = sip.first_message(self.stream)
            if message:
                return message
            octets = self.octets(max(0.0, until - time.monotonic()))
            if not octets:
                return None
            self.stream += octets

    def is_closed(self, timeout=5):
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if self.octets(until - time.monotonic()) == b"":
                return True
        return False


def refuses(port, tls, server="127.0.0.1", name=None):
    """Why a handshake fails, or None when it succeeds and the server still listens half a second later.
    (With TLS 1.3 a server refuses our certificate after we are done.)"""
    try:
        with TlsClient(port, server=server, tls=tls, name=name) as client:
            return "closed" if client.is_closed(0.5) else None
    except OSError as why:  # ssl.SSLError is one
        return str(why)


class Server:
    """A TLS server on a free port that speaks SIP: it answers what comes with `status` and keeps it.
    with Server(certificate, key) as peer: ..."""

    def __init__(self, certificate, key, ip="127.0.0.1", ca=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        if ca:
            self.context.load_verify_locations(ca)
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.listener = socket.create_server((ip, 0), family=socket.AF_INET6 if ":" in ip else socket.AF_INET)
        self.ip, self.port = ip, self.listener.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self, timeout=10):
        """The next connection as a sip.Client, or the error of its handshake, or None: none came."""
        self.listener.settimeout(timeout)
        try:
            plain, _ = self.listener.accept()
        except OSError:
            return None
        plain.settimeout(timeout)
        try:
            return Accepted(self.context.wrap_socket(plain, server_side=True))
        except OSError as why:
            plain.close()
            return why


class Accepted(TlsClient):
    """A connection that came to us."""

    def __init__(self, connection):  # pylint: disable=super-init-not-called
        self.transport, self.user, self.password, self.domain = "tls", "peer", None, "peer.test"
        self.socket = connection
        host, self.port = connection.getsockname()[:2]
        self.host = "[%s]" % host if ":" in host else host
        self.stream, self.cseq, self.call_id = b"", itertools.count(1), secrets.token_hex(8)
