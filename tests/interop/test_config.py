# SPDX-License-Identifier: MIT
"""Mistakes in the configuration are all named, with place and hint, and change nothing that runs."""
import contextlib
import json
import re
import signal
import socket
import subprocess
import time
import urllib.request

import pytest

from support import server as servers
from support.server import DOMAIN, Server, tandem
from support.sip import Callee, Client, place_call

MISTAKES = """\
domains: [example.test]
lissten: [udp:5060]
registrar: {expires: 120}
sip:
  t1: fast
workers: many
log:
  level: loud
"""
# line and column of what is wrong, and a word that helps
PLACES = [(2, 1, "listen"), (3, 22, "120s"), (5, 7, "ms"), (6, 10, ""), (8, 10, "info")]
PLACE = re.compile(r"^(.*?):(\d+):(\d+): (.+)$", re.M)


def errors(text, file):
    return [(int(line), int(column), rest) for name, line, column, rest in PLACE.findall(text)
            if name == str(file)]


@pytest.fixture
def mistaken(tmp_path):
    file = tmp_path / "wrong.yaml"
    file.write_text(MISTAKES)
    return file


def test_check_names_five_mistakes_with_place_and_hint(mistaken):
    ended = tandem("check", "--config", mistaken)
    assert ended.returncode == 1
    said = ended.stdout + ended.stderr
    found = errors(said, mistaken)
    assert [(line, column) for line, column, _ in found] == [(a, b) for a, b, _ in PLACES], said
    # A hint may stand on the line or below it, up to the next error.
    parts = PLACE.split(said)
    for index, (_, _, word) in enumerate(PLACES):
        block = "".join(parts[5 * index + 4:5 * index + 6])
        assert word in block, block


def test_serve_refuses_it(mistaken):
    ended = tandem("serve", "--config", mistaken)
    assert ended.returncode == 1
    assert len(errors(ended.stdout + ended.stderr, mistaken)) == 5, ended.stderr


def test_a_right_file_passes():
    with Server() as server:
        assert server.verb("check").returncode == 0


@pytest.mark.parametrize("text", ["domains: [example.test]\ndomains: [x.test]\n", "a: &x [*x]\n", "{",
                                  "domains: [a.test]\n---\ndomains: [b.test]\n", "- 1\n", "\tx: 1\n"])
def test_what_yaml_itself_refuses_has_a_place_too(tmp_path, text):
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    ended = tandem("check", "--config", file)
    assert ended.returncode == 1
    assert errors(ended.stdout + ended.stderr, file), ended.stdout + ended.stderr


def test_no_file_there(tmp_path):
    ended = tandem("check", "--config", tmp_path / "none.yaml")
    assert ended.returncode in (1, 3)
    assert "none.yaml" in ended.stdout + ended.stderr


@pytest.mark.parametrize("verb", [["status"], ["user", "list"], ["reload"], ["calls"], ["registrations"]])
def test_a_file_that_is_not_there_leads_to_no_server(tmp_path, verb):
    ended = tandem(*verb, "--config", tmp_path / "none.yaml")
    assert ended.returncode == 3
    assert "cannot read %s: no such file" % (tmp_path / "none.yaml") in ended.stderr


def test_a_refused_reload_leaves_the_server_as_it_was():
    with Server() as server:
        for user in ("alice", "bob"):
            server.add_user(user)
        right = server.file.read_text()
        with Client(server.port) as alice, Client(server.port, user="bob") as bob:
            assert bob.register().status == 200
            with Callee(bob):
                assert place_call(alice) == (200, 200)
                server.file.write_text(right + "lissten: 1\nworkers: many\n")
                refused = server.verb("reload")
                assert refused.returncode == 1
                assert len(errors(refused.stdout + refused.stderr, server.file)) == 2, refused
                seen = len(server.log().splitlines())
                server.process.send_signal(signal.SIGHUP)
                until = time.monotonic() + 5
                while len(server.log().splitlines()) == seen and time.monotonic() < until:
                    time.sleep(0.02)
                assert len(server.log().splitlines()) > seen, "SIGHUP is not answered in the log"
                assert place_call(alice) == (200, 200)
                server.file.write_text(right)
                assert server.verb("reload").returncode == 0
                assert place_call(alice) == (200, 200)


def test_a_changed_key_takes_effect_on_reload():
    with Server() as server:
        server.add_user("alice")
        with Client(server.port) as alice:
            answer = alice.register(expires=3600)
            assert answer.param("contact", "expires") == "3600"
            server.configure("registrar: {expires: 60s-10m}\n")
            assert server.verb("reload").returncode == 0
            assert alice.register(expires=3600).param("contact", "expires") == "600"
            assert alice.register(expires=10).status == 423


def test_what_waits_for_a_restart_is_said_every_time():
    with Server() as server:
        right = server.file.read_text()
        assert server.json("status")["needs_restart"] == []
        server.file.write_text(right + "workers: 7\n")
        for _ in range(2):
            done = server.verb("reload")
            assert done.returncode == 0 and "needs a restart: workers" in done.stdout, done.stdout
            assert server.json("status")["needs_restart"] == ["workers"]
        assert "workers" in [line.split()[1] for line in server.run("status").splitlines()
                             if line.startswith("needs_restart")]
        server.file.write_text(right)
        assert "needs a restart" not in server.run("reload")
        assert server.json("status")["needs_restart"] == []


@pytest.mark.parametrize("more", ["", "turn: {listen: [\"tcp:127.0.0.1:%d\"]}\n", "http", "socket"])
def test_a_start_that_fails_leaves_the_authority_and_the_way_back(more):
    """A file that nobody meant, with another domain: phones go on trusting the authority that there was."""
    with Server(doors=("tls",)) as server, socket.socket() as taken:
        right, first = server.file.read_text(), server.ca().read_text()
        kept = (server.folder / "data/config.last").read_bytes()
        assert server.stop() == 0
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        wrong = re.sub(r"(?m)^domains:.*$", "domains: [new.test]", right)
        if more == "http":
            wrong = wrong.replace("http: never", "http: \"127.0.0.1:%d\"" % port)
        elif more == "socket":
            wrong = wrong.replace("http: never", "http: never, socket: %s" % server.folder)
        elif more:
            wrong += more % port
        else:
            wrong = wrong.replace("listen: [", "listen: [\"tcp:127.0.0.1:%d\", " % port)
        server.file.write_text(wrong)
        server.spawn()
        assert server.process.wait(30) == 3
        server.process = None
        assert "start.failed" in server.log() and "tls.ca" not in server.log()
        assert server.ca().read_text() == first
        assert not (server.folder / "data/ca.pem.old").exists()
        assert (server.folder / "data/config.last").read_bytes() == kept


def test_accounts_of_a_domain_that_is_gone_are_said_and_can_be_removed():
    with Server() as server:
        right = server.file.read_text()
        server.file.write_text(re.sub(r"(?m)^domains:.*$", "domains: [example.test, old.test]", right))
        assert server.verb("reload").returncode == 0
        server.run("user", "add", "olga@old.test", "--password-stdin", text="a-long-password\n")
        server.file.write_text(right)
        assert "warning: 1 account cannot register" in server.run("reload")
        assert "accounts.stranded" in server.log()
        assert server.verb("user", "passwd", "olga@old.test", "--password-stdin",
                           text="another-password\n").returncode == 0
        assert server.verb("user", "remove", "olga@old.test").returncode == 0
        assert "warning" not in server.run("reload")
        assert "olga" not in server.run("user", "list")


def test_a_new_domain_makes_a_new_authority_and_says_so_before_and_after():
    with Server(doors=("tls",)) as server:
        right, first = server.file.read_text(), server.ca().read_text()
        server.file.write_text(re.sub(r"(?m)^domains:.*$", "domains: [example.test, new.test]", right))
        checked = server.verb("check")
        assert checked.returncode == 0 and "must trust the new one" in checked.stdout
        assert server.json("check")["new_authority"] is True
        assert server.ca().read_text() == first
        assert "must trust the new one" in server.run("reload")
        said = [e for e in server.log_events() if e.get("event") == "tls.ca"]
        assert [e.get("why") for e in said] == [None, "a name of ours is new"]
        assert server.ca().read_text() != first
        assert (server.folder / "data/ca.pem.old").read_text() == first
        assert "trust" not in server.run("check") + server.run("reload")
        server.file.write_text(right)
        for name in ("pem", "key", "names"):
            (server.folder / ("data/ca.%s.old" % name)).rename(server.folder / ("data/ca." + name))
        assert "trust" not in server.run("reload")
        assert server.run("cert", "ca") == first


def openssl(folder, name):
    """A certificate that signs itself, and its key."""
    cert, key = folder / (name + ".pem"), folder / (name + ".key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-keyout", key, "-out", cert, "-days", "30", "-subj", "/CN=" + name,
                    "-addext", "subjectAltName=DNS:" + DOMAIN], check=True, capture_output=True)
    return cert, key


@pytest.mark.parametrize("kind, weak", [(["rsa:1024"], True), (["rsa:2048"], False),
                                        (["ec", "-pkeyopt", "ec_paramgen_curve:prime192v1"], True)])
def test_a_short_key_is_a_finding(tmp_path, kind, weak):
    subprocess.run(["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-keyout", "k.key",
                    "-out", "k.pem", "-days", "30", "-subj", "/CN=k", "-addext",
                    "subjectAltName=DNS:" + DOMAIN], check=True, capture_output=True, cwd=tmp_path)
    file = tmp_path / "k.yaml"
    file.write_text("domains: [%s]\ntls: {certificate: k.pem, key: k.key}\n" % DOMAIN)
    checked = tandem("check", file)
    assert checked.returncode == 0
    assert ("the key of the certificate is so short" in checked.stdout) == weak, checked


def test_a_certificate_that_does_not_fit_changes_nothing(tmp_path):
    one, other = openssl(tmp_path, "one"), openssl(tmp_path, "other")
    tls = "tls: {certificate: %s, key: %s}\n"
    with Server(tls % one, doors=("tls",)) as server:
        before = server.json("status")["certificate"]
        assert server.verb("cert", "ca").returncode == 1
        server.configure(tls % (other[0], one[1]))
        for verb in (["check"], ["reload"]):
            refused = server.verb(*verb)
            assert refused.returncode == 1, refused
            found = errors(refused.stdout + refused.stderr, server.file)
            assert [line for line, _, _ in found] == [5], refused
            assert "tls.certificate: " in found[0][2] and "the key that belongs to it" in found[0][2]
            assert server.json("status")["certificate"] == before
        server.configure(tls % other)
        assert "changed: tls.certificate" in server.run("reload")
        after = server.json("status")["certificate"]
        assert after != before
        assert server.wait_log("tls.swapped")["fingerprint"] == after
        # The file changes, not the configuration.
        for path, now in zip(other, one):
            path.write_bytes(now.read_bytes())
        until = time.monotonic() + 15
        while server.json("status")["certificate"] != before and time.monotonic() < until:
            time.sleep(0.1)
        assert server.json("status")["certificate"] == before
        other[1].write_text("nothing")
        failed = server.wait_log("tls.reload.failed", timeout=15)
        assert "key" in failed["why"] and failed["file"] == str(other[1])
        assert server.json("status")["certificate"] == before


def test_routes_that_would_let_anybody_through_are_refused():
    with Server() as server:
        server.configure("routes:\n- {when: {user: \"9*\"}, to: uri}\n")
        refused = server.verb("reload")
        assert refused.returncode == 1
        found = errors(refused.stdout + refused.stderr, server.file)
        assert [(line, column) for line, column, _ in found] == [(6, 28)], refused
        assert "strangers" in found[0][2] and "when.from" in found[0][2]
        server.configure("routes:\n- {when: {user: \"9*\", from: accounts}, to: uri}\n")
        assert "changed: routes" in server.run("reload")


def test_without_a_file_the_door_that_is_taken_moves(tmp_path):
    """The others stay, unless somebody else on this machine has them."""
    taken = socket.socket()
    with contextlib.suppress(OSError):  # somebody else's: taken as well
        taken.bind(("127.0.0.1", 5443))
        taken.listen()
    homes = {"udp": 5060, "tcp": 5060, "tls": 5061, "wss": 5443, "ws": 5080}
    with Server() as server, contextlib.closing(taken):
        assert server.stop() == 0
        server.starts += 1
        with open(server.log_file(), "wb") as log:
            server.process = subprocess.Popen(
                [servers.TANDEM, "serve", "--set", "data=%s/data" % server.folder,
                 "--set", "control.http=never"], cwd=tmp_path, env=server.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        words = server.wait_log("ready", timeout=30)["listen"].split()
        ports = {w.split(":")[0]: int(w.rsplit(":", 1)[1]) for w in words}
        assert set(ports) == set(homes) and ports["udp"] == ports["tcp"]
        said = [json.loads(line) for line in server.log().splitlines() if '"port.moved"' in line]
        moved = {t: (e["from"], e["to"]) for e in said for t in e["transport"].split(",")}
        assert moved == {t: (homes[t], p) for t, p in ports.items() if p != homes[t]}
        assert len(said) == len({e["from"] for e in said})
        assert "wss" in moved and "tcp" not in [e["transport"] for e in said]
        assert not set(homes.values()) & {to for _, to in moved.values()}


def test_without_a_file_the_door_of_http_moves_and_is_shown(tmp_path):
    taken = socket.socket()
    with contextlib.suppress(OSError):  # somebody else's: taken as well
        taken.bind(("127.0.0.1", 8080))
        taken.listen()
    with Server() as server, contextlib.closing(taken):
        assert server.stop() == 0
        server.starts += 1
        with open(server.log_file(), "wb") as log:
            server.process = subprocess.Popen(
                [servers.TANDEM, "serve", "--set", "data=%s/data" % server.folder,
                 "--set", "listen=udp:127.0.0.1:%d" % server.port], cwd=tmp_path, env=server.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        server.wait_log("ready", timeout=30)
        (moved,) = [e for e in server.log_events() if e.get("event") == "port.moved"]
        assert moved["transport"] == "http" and moved["from"] == 8080
        assert server.json("status")["http"] == ["127.0.0.1:%d" % moved["to"]]
        shown = re.search(r"^http +(\S+)$", server.run("status"), re.M)[1]
        assert urllib.request.urlopen("http://%s/healthz" % shown).read() == b"ok\n"


def test_all_certificates_are_shown(tmp_path):
    one, other = openssl(tmp_path, "one"), openssl(tmp_path, "other")
    tls = "tls: {certificate: %s, key: %s, sni: [{certificate: %s, key: %s}]}\n"
    with Server(tls % (*one, *other), doors=("tls",)) as server:
        shown = server.json("cert", "show")
        assert shown["certificate"]["subject"] == "one"
        assert [c["subject"] for c in shown["sni"]] == ["other"]
        text = server.run("cert", "show")
        assert shown["sni"][0]["fingerprint"] in text
        assert shown["certificate"]["fingerprint"] in text


def test_the_page_names_no_loopback_to_who_is_elsewhere():
    with Server(doors=("ws",)) as server:
        url = "http://127.0.0.1:%d/" % server.ports["ws"]
        for fields, shown in (({}, True), ({"X-Forwarded-For": "192.0.2.7"}, False)):
            page = urllib.request.urlopen(urllib.request.Request(url, headers=fields)).read().decode()
            assert ("ws://127.0.0.1" in page) == shown, page


def test_routes_keep_their_zone_when_zones_change():
    """Zones change with a restart; a route means the zone of its name that is there."""
    listen = 'listen: [{bind: "udp:127.0.0.1:%d", zone: a}, {bind: "tcp:127.0.0.1:%d", zone: b}]\n'
    more = "zones: {%s}\nroutes:\n- {when: {zone: b, user: nobody}, reject: 499 Zone b}\n%s"
    with Server() as server:
        server.stop()

        def configure(zones, route=""):
            server.configure(more % (zones, route))
            text = re.sub(r"(?m)^listen:.*\n", lambda _: listen % (server.port, server.port),
                          server.file.read_text())
            server.file.write_text(text)

        def statuses():
            with Client(server.port) as udp, Client(server.port, "tcp") as tcp:
                return [c.ask("OPTIONS", "sip:nobody@" + DOMAIN, ["Contact: <%s>" % c.contact()],
                              to="sip:nobody@" + DOMAIN).status for c in (udp, tcp)]

        configure("a: {}, b: {}")
        server.start()
        server.add_user("alice")
        assert statuses() == [404, 499]
        configure("b: {}, a: {}")
        assert "needs a restart: zones" in server.run("reload")
        assert statuses() == [404, 499]
        # A zone that is not there yet: nothing comes from it.
        configure("c: {}, b: {}, a: {}", "- {when: {zone: c}, reject: 498}\n")
        assert server.verb("reload").returncode == 0
        assert statuses() == [404, 499]


def test_check_says_how_many_calls_the_media_ports_hold():
    said = tandem("check", "--set", "media.ports=20001-20010")
    assert said.returncode == 0
    assert "media.ports 20001-20010: 2 calls with sound" in said.stdout  # even pairs: 20002 to 20009
    assert "warning" not in said.stdout
    low, high = map(int, open("/proc/sys/net/ipv4/ip_local_port_range").read().split())
    said = tandem("check", "--set", "media.ports=%d-%d" % (low - 4, low + 3))
    assert "warning: media.ports: %d-%d are ports that the kernel" % (low, low + 3) in said.stdout
    media = json.loads(tandem("check", "--json", "--set", "media.ports=20000-29999").stdout)["media"]
    assert media == {"calls": 2500, "ephemeral_ports": low <= 29999 and high >= 20000}
    assert "media.ports" not in tandem("check", "--set", "media.mode=never").stdout
    assert "media.bandwidth" not in said.stdout
    assert "media.bandwidth: 12 calls of" in tandem("check", "--set", "media.bandwidth=1Mbit/s").stdout
    one = tandem("check", "--set", "media.bandwidth=100kbit/s", "--set", "media.ports=20000-20003").stdout
    assert "media.bandwidth: 1 call of" in one and ": 1 call with sound" in one
