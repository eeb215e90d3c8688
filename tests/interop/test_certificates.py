# SPDX-License-Identifier: MIT
"""TLS: certificates that change under open connections, who is let in, and whom Tandem itself believes."""
import concurrent.futures
import contextlib
import pathlib
import re
import secrets
import shutil
import ssl
import time

import pytest

from support import tlsclient
from support.server import DOMAIN, Server
from support.sip import Call, Callee, Client
from support.tlsclient import Authority, TlsClient, refuses

PASSWORD = "a-long-password"
HERE = ("DNS:" + DOMAIN, "IP:127.0.0.1", "IP:::1")
CROWD, CALLS = 200, 5  # connections; calls up between some of them
SOON = 10.0  # seconds within which a replaced file must be seen
TRUSTED = "security: {trusted: [127.0.0.0/8]}\n"  # 200 connections from one address are more than a stranger may have


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@contextlib.contextmanager
def tls_server(pair, more="", tls="", users=("alice", "bob"), trusted=TRUSTED):
    """A server with copies of that pair, at server.folder/cert.pem and key.pem."""
    server = Server(doors=("tls",))
    for path, name in zip(pair, ("cert.pem", "key.pem")):
        shutil.copy(path, server.folder / name)
    server.configure("tls: {certificate: %s/cert.pem, key: %s/key.pem%s}\n%s%s" % (
        server.folder, server.folder, tls, trusted, more))
    with server:
        server.add_users(users, PASSWORD)
        yield server
        assert server.is_alive(), "the server died: " + server.log()[-4000:]


def options(client):
    """The status of an OPTIONS to the server, or None."""
    answer = client.ask("OPTIONS", "sip:" + DOMAIN, ["Contact: <%s>" % client.contact()], to="<sip:%s>" % DOMAIN)
    return answer and answer.status


def shown(server, tls, name=None):
    """The fingerprint that a new connection sees."""
    with TlsClient(server.ports["tls"], tls=tls, name=name) as client:
        return client.fingerprint()


def shows(server, tls, certificate, timeout=SOON):
    """New connections see that certificate before the time is up."""
    wanted, until = tlsclient.fingerprint(certificate), time.monotonic() + timeout
    while shown(server, tls) != wanted:
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


# --- replaced under load ---------------------------------------------------------------------------
class Standing:
    """A call that is up, on two connections of the crowd."""

    def __init__(self, caller, callee):
        self.caller = caller
        self.frm = "<%s>;tag=%s" % (caller.aor(), secrets.token_hex(4))
        self.uri = "sip:%s@%s" % (callee.user, DOMAIN)
        self.contact = ["Contact: <%s>" % caller.contact()]
        answer = caller.ask("INVITE", self.uri, self.contact, frm=self.frm,
                            call_id=secrets.token_hex(8))
        assert answer.status == 200, answer
        self.call = Call(caller, answer, self.uri, self.frm)
        self.call.ack()

    def reinvites(self):
        answer = self.caller.ask("INVITE", self.call.target, [*self.call.routes, *self.contact], **self.call.how)
        if answer is None or answer.status != 200:
            return False
        self.call.answer = answer
        self.call.ack()
        return True

    def ends(self):
        answer = self.call.bye()
        return answer is not None and answer.status == 200


def test_certificates_are_replaced_under_open_connections(authority):
    old, new, third, fourth = (authority.issue(*HERE) for _ in range(4))
    tls = tlsclient.context(authority.ca)
    callers, callees = (["%s%d" % (word, n) for n in range(CALLS)] for word in ("caller", "callee"))
    others = ["other%d" % (n % 20) for n in range(CROWD - 2 * CALLS)]  # at most 10 contacts each
    with tls_server(old, users=sorted({*callers, *callees, *others})) as server, \
            contextlib.ExitStack() as stack:
        port, certificate, key = server.ports["tls"], server.folder / "cert.pem", server.folder / "key.pem"
        crowd = [stack.enter_context(TlsClient(port, user, PASSWORD, tls=tls))
                 for user in [*callers, *callees, *others]]
        assert len(crowd) == CROWD
        for client in crowd:
            assert client.register().status == 200
        answering = [stack.enter_context(Callee(c)) for c in crowd[CALLS:2 * CALLS]]
        calls = [Standing(a, b) for a, b in zip(crowd[:CALLS], crowd[CALLS:])]
        listeners = [c for c in crowd if not any(c is a.client for a in answering)]

        def nothing_dropped():
            assert all(options(client) == 200 for client in listeners)
            assert all(call.reinvites() for call in calls)
            assert {c.fingerprint() for c in crowd} == {tlsclient.fingerprint(old[0])}

        # As `mv` does it, one file after the other: for a moment they do not belong together.
        tlsclient.replace(certificate, new[0])
        tlsclient.replace(key, new[1])
        assert shows(server, tls, new[0]), "the new certificate is not served"
        nothing_dropped()

        # As a careless script does it: written in place, the key first.
        key.write_bytes(pathlib.Path(third[1]).read_bytes())
        time.sleep(1.5)
        certificate.write_bytes(b"")
        certificate.write_bytes(pathlib.Path(third[0]).read_bytes())
        assert shows(server, tls, third[0]), "the third certificate is not served"
        nothing_dropped()

        # A certificate without its key is not served, and said.
        before = len(server.log_events())
        tlsclient.replace(certificate, fourth[0])
        until = time.monotonic() + SOON
        while not warned(server.log_events()[before:]):
            assert time.monotonic() < until, "nothing is logged: " + server.log()[-2000:]
            assert shown(server, tls) == tlsclient.fingerprint(third[0])
            time.sleep(0.1)
        assert shown(server, tls) == tlsclient.fingerprint(third[0])
        certificate.write_text("no certificate at all\n")
        assert not shows(server, tls, fourth[0], 1.5)
        tlsclient.replace(certificate, fourth[0])
        tlsclient.replace(key, fourth[1])
        assert shows(server, tls, fourth[0]), "what was mended is not served"
        nothing_dropped()

        assert all(call.ends() for call in calls)
        for callee in answering:
            assert callee.methods().count("BYE") == 1
            assert callee.methods().count("INVITE") == 4
        assert server.json("calls") == []


def warned(events):
    """A line that says that there is something wrong with the certificate or its key."""
    return [e for e in events if e.get("level") in ("warn", "warning", "error")
            and re.search("certificate|tls", " ".join(map(str, e.values())), re.I)]


def test_a_session_goes_on_over_a_swap(authority):
    """Tickets: a client that comes back is spared the certificate, even when that was replaced."""
    old, new = (authority.issue(*HERE) for _ in range(2))
    with tls_server(old) as server:
        def visit(tls, session=None):
            with TlsClient(server.ports["tls"], tls=tls, session=session) as client:
                assert options(client) == 200  # and what the server sent after the handshake was read
                return client.socket.session_reused, client.socket.session
        clients = [tlsclient.context(authority.ca, most=most)
                   for most in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)]
        sessions = []
        for tls in clients:
            reused, session = visit(tls)
            assert not reused
            reused, session = visit(tls, session)
            assert reused
            sessions.append(session)
        tlsclient.replace(server.folder / "cert.pem", new[0])
        tlsclient.replace(server.folder / "key.pem", new[1])
        assert shows(server, tlsclient.context(authority.ca), new[0])
        for tls, session in zip(clients, sessions):
            assert visit(tls, session)[0], "the swap forgot the tickets"


# --- whom a client meets ------------------------------------------------------------------------------
def test_the_first_start_makes_an_authority():
    """Nobody gave a certificate: there is one that clients can verify, by a file and by its fingerprint."""
    with Server(doors=("tls",)) as server:
        tls = tlsclient.context(server.ca())
        for name, ip in ((DOMAIN, "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("::1", "::1")):
            with TlsClient(server.ports["tls"], server=ip, tls=tls, name=name) as client:
                assert options(client) == 200
                leaf = client.fingerprint()
        digits = [tlsclient.fingerprint(server.ca()), leaf]
        said = server.log().upper().replace(":", "")
        assert any(d.upper() in said for d in digits), "no fingerprint is printed"
        keys = [f for f in (server.folder / "data").rglob("*") if f.is_file() and b"PRIVATE KEY" in f.read_bytes()]
        assert keys and all(f.stat().st_mode & 0o077 == 0 for f in keys), keys
        assert server.stop() == 0
        server.start()
        with TlsClient(server.ports["tls"], tls=tls) as client:  # kept over a restart
            assert client.fingerprint() == leaf


def test_the_certificate_is_chosen_by_the_name_that_is_asked_for(authority):
    one, two = authority.issue(*HERE), authority.issue("DNS:other.test", "DNS:*.wild.test")
    tls = tlsclient.context()
    with tls_server(one, tls=", sni: [{certificate: %s, key: %s}]" % two) as server:
        for name, pair in ((DOMAIN, one), ("other.test", two), ("OTHER.test", two), ("127.0.0.1", one),
                           ("unknown.test", one)):
            assert shown(server, tls, name) == tlsclient.fingerprint(pair[0]), name


def old_tls(version, authority):
    """A client that speaks that version and no other; OpenSSL must be told to allow it."""
    made = tlsclient.context(authority.ca, least=version, most=version)
    made.set_ciphers("ALL:@SECLEVEL=0")
    return made


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_old_versions_are_refused(authority):
    pair = authority.issue(*HERE)
    with tls_server(pair) as server:
        port = server.ports["tls"]
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            assert "alert" in refuses(port, old_tls(version, authority)), version
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            assert refuses(port, tlsclient.context(authority.ca, least=version, most=version)) is None, version
    with tls_server(pair, tls=', minimum: "1.3"') as server:
        port = server.ports["tls"]
        assert "alert" in refuses(port, old_tls(ssl.TLSVersion.TLSv1_2, authority))
        assert refuses(port, tlsclient.context(authority.ca)) is None


# --- whom the server meets ------------------------------------------------------------------------------
def test_clients_must_show_a_certificate(authority, tmp_path):
    known = authority.issue("URI:sip:peer.test", "DNS:peer.test")
    unknown = Authority(tmp_path).issue("URI:sip:peer.test", "DNS:peer.test")
    pair = authority.issue(*HERE)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        def client(own=None, version=version):
            return tlsclient.context(authority.ca, own, version, version)
        with tls_server(pair, tls=", clients: required, ca: %s" % authority.ca) as server:
            port = server.ports["tls"]
            assert refuses(port, client()), "no certificate, and yet served"
            assert refuses(port, client(unknown)), "anybody's certificate will do"
            assert refuses(port, client(known)) is None
        with tls_server(pair, tls=", clients: optional, ca: %s" % authority.ca) as server:
            port = server.ports["tls"]
            assert refuses(port, client()) is None
            assert refuses(port, client(known)) is None


def test_a_certificate_is_an_identity(authority, tmp_path):
    """A route for tls:peer.test is for whoever proved to be that, and for nobody who only says so."""
    peer, other = (authority.issue("URI:sip:" + name, "DNS:" + name) for name in ("peer.test", "notpeer.test"))
    forged = Authority(tmp_path).issue("URI:sip:peer.test", "DNS:peer.test")
    routes = "routes: [{name: peer, when: {from: \"tls:peer.test\"}, reject: 480 Known Peer}]\n"
    with tls_server(authority.issue(*HERE), routes, ", clients: optional, ca: %s" % authority.ca) as server:
        def status(own):
            tls = tlsclient.context(authority.ca, own)
            with TlsClient(server.ports["tls"], "someone", None, "peer.test", tls=tls) as client:
                answer = client.ask("INVITE", "sip:alice@" + DOMAIN, ["Contact: <%s>" % client.contact()])
                return answer and answer.status
        assert status(peer) == 480
        assert status(other) not in (None, 480)
        assert status(None) not in (None, 480)
        with contextlib.suppress(OSError):  # refused in the handshake, or taken as a stranger
            assert status(forged) != 480


# --- whom Tandem connects to --------------------------------------------------------------------------
def meets(peer, reached):
    """The peer's part: it refuses the call that reaches it; one that must not does not."""
    came = peer.accept()
    assert came is not None, "no connection was made"
    if reached:
        assert isinstance(came, TlsClient), came
        with came:
            invite = came.receive()
            assert invite.method == "INVITE" and invite.uri.startswith("sip:outside@")
            came.send(came.response(invite, 486, "Busy Here"))
            assert came.receive().method == "ACK"
    elif isinstance(came, TlsClient):
        with came:
            assert came.receive(1) is None, "it was given a request"


@pytest.mark.parametrize("names, trusted, reached", [
    (("IP:127.0.0.1",), True, True),
    (("IP:127.0.0.2", "DNS:other.test"), True, False),
    (("IP:127.0.0.1",), False, False),
], ids=["its name", "another's name", "an unknown authority"])
def test_a_next_hop_must_be_who_it_is_said_to_be(authority, tmp_path, names, trusted, reached):
    issuer = authority if trusted else Authority(tmp_path)
    with tlsclient.Server(*issuer.issue(*names)) as peer:
        routes = 'routes: [{name: out, when: {from: accounts, user: "out*"}, to: "sip:outside@127.0.0.1:%d;transport=tls"}]\n' % (
            peer.port)
        with tls_server(authority.issue(*HERE), routes, ", ca: %s" % authority.ca) as server, \
                Client(server.port) as alice:
            assert alice.register().status == 200
            with concurrent.futures.ThreadPoolExecutor(1) as aside:
                answer = aside.submit(alice.ask, "INVITE", "sip:outside@" + DOMAIN,
                                      ["Contact: <%s>" % alice.contact()])
                meets(peer, reached)
                answer = answer.result(20)
            assert answer is not None, "the caller hears nothing"
            assert answer.status == 486 if reached else answer.status >= 400 and answer.status != 486, answer
