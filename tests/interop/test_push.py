# SPDX-License-Identifier: MIT
"""A phone that sleeps is woken by a webhook and then rings (RFC 8599)."""
import hashlib
import hmac
import http.server
import json
import re
import secrets
import threading
import time

from support.server import Server
from support.sip import Call, Callee, Client, Credentials

SECRET = "a-secret-for-the-push-provider"
PUSH = "pn-provider=acme;pn-param=org.example.phone;pn-prid=%s"
INSTANCE = '+sip.instance="<urn:uuid:00000000-0000-1000-8000-00000000%04x>"'


class Provider(http.server.ThreadingHTTPServer):
    """The operator's push provider: keeps what it is told, and says it to `wake`."""

    def __init__(self, status=202):
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.calls, self.wake = status, [], None

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def key(self):
        return "push: {url: \"http://127.0.0.1:%d/wake\", secret: \"file:%%s\", hold: 5s}\n" % self.server_address[1]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls.append((self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if self.server.wake:
            threading.Thread(target=self.server.wake, daemon=True).start()

    def log_message(self, *_):
        pass


def start(provider, folder):
    secret = folder / "push-secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    return Server(provider.key() % secret)


class Sleeper:
    """bob's phone on TCP: it registers, and lets go of its connection."""

    def __init__(self, server, number=1, outbound=True):
        self.server, self.number, self.outbound = server, number, outbound
        self.prid = secrets.token_hex(6)
        self.client = None

    def register(self):
        self.client = Client(self.server.port, "tcp", user="bob")
        contact = "<%s;%s>" % (self.client.contact(), PUSH % self.prid)
        if self.outbound:
            contact += ";reg-id=1;" + INSTANCE % self.number
        answer = self.client.ask("REGISTER", "sip:example.test",
                                 ["Contact: " + contact, "Expires: 600", "Supported: outbound, path"],
                                 to="<sip:bob@example.test>")
        assert answer.status == 200, answer
        return answer

    def sleep(self):
        self.client.close()
        time.sleep(0.3)


def call_bob(alice, timeout=10):
    uri, tag, call_id = "sip:bob@example.test", secrets.token_hex(4), secrets.token_hex(8)
    answer = alice.ask("INVITE", uri, ["Contact: <%s>" % alice.contact()], tag=tag, call_id=call_id)
    return answer, Call(alice, answer, uri, "<%s>;tag=%s" % (alice.aor(), tag)) if answer and answer.status == 200 else None


def test_a_sleeping_phone_is_woken_and_rings(tmp_path):
    with Provider() as provider, start(provider, tmp_path) as server:
        server.add_users(["alice", "bob"])
        phone = Sleeper(server)
        assert re.search(r'pns=|sip\.pns', phone.register()["feature-caps"])
        phone.sleep()
        done = threading.Event()
        callees = []

        def wake():
            phone.register()
            callee = Callee(phone.client)
            callees.append(callee)
            callee.start()
            done.set()

        provider.wake = wake
        with Client(server.port, user="alice") as alice:
            began = time.monotonic()
            answer, call = call_bob(alice)
            assert answer.status == 200, answer
            call.ack()
            assert call.bye().status == 200
            assert time.monotonic() - began < 3
        assert done.is_set()
        callees[0].over = True
        callees[0].join()
        assert callees[0].methods() == ["INVITE", "ACK", "BYE"]

        assert len(provider.calls) == 1
        path, headers, body = provider.calls[0]
        told = json.loads(body)
        assert path == "/wake" and headers["Content-Type"] == "application/json"
        assert told["event"] == "wake" and told["account"] == "bob@example.test"
        assert (told["provider"], told["param"], told["prid"]) == ("acme", "org.example.phone", phone.prid)
        assert told["method"] == "INVITE" and told["from"] == "sip:alice@example.test"
        seconds, signature = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", headers["Tandem-Signature"]).groups()
        assert abs(int(seconds) - time.time()) < 60
        right = hmac.new(SECRET.encode(), seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(signature, right)


def test_a_phone_that_sleeps_on_is_not_available(tmp_path):
    with Provider() as provider, start(provider, tmp_path) as server:
        server.add_users(["alice", "bob"])
        phone = Sleeper(server)
        phone.register()
        phone.sleep()
        with Client(server.port, user="alice") as alice:
            alice.socket.settimeout(20)
            began = time.monotonic()
            uri = "sip:bob@example.test"
            first = alice.request("MESSAGE", uri)
            alice.send(first)
            challenge = alice.final(5)
            assert challenge.status == 407
            proof = Credentials(challenge["proxy-authenticate"], "alice", alice.password)
            alice.send(alice.request("MESSAGE", uri, ["Proxy-Authorization: " + proof.answer("MESSAGE", uri)]))
            answer = alice.final(15)
            assert answer.status == 480
            assert 4 < time.monotonic() - began < 8  # push.hold
        assert len(provider.calls) == 1


def test_a_provider_that_refuses_is_logged_and_the_rest_goes_on(tmp_path):
    with Provider(status=500) as provider, start(provider, tmp_path) as server:
        server.add_users(["alice", "bob"])
        phone = Sleeper(server)
        phone.register()
        phone.sleep()
        provider.wake = phone.register  # it wakes up all the same
        with Client(server.port, user="alice") as alice, Client(server.port, user="bob") as desk:
            assert desk.register().status == 200
            with Callee(desk) as callee:
                answer, call = call_bob(alice)
                assert answer.status == 200
                call.ack()
                assert call.bye().status == 200
            assert "INVITE" in callee.methods()
        assert server.wait_log("push.failed")


def test_a_phone_with_its_connection_up_is_not_woken(tmp_path):
    with Provider() as provider, start(provider, tmp_path) as server:
        server.add_users(["alice", "bob"])
        phone = Sleeper(server)
        phone.register()
        with Client(server.port, user="alice") as alice, Callee(phone.client) as callee:
            answer, call = call_bob(alice)
            assert answer.status == 200
            call.ack()
            assert call.bye().status == 200
        assert "INVITE" in callee.methods()
        assert provider.calls == []
