# SPDX-License-Identifier: MIT
"""The command line and the shapes of its --json, which others build on."""
import hashlib
import json
import re
import socket
import ssl
import subprocess

import pytest

from support import server as servers
from support.server import DOMAIN, Server, tandem
from support.sip import Call, Callee, Client, place_call

PASSWORD = "a-long-password"
RFC3339 = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")
VERBS = ["serve", "check", "config", "reload", "user", "status", "registrations", "cert", "calls",
         "version", "completion"]


# --- registrations, calls, status ------------------------------------------------------------------
def test_registrations(server):
    with Client(server.port, "tcp", "alice") as alice:
        agent = ["User-Agent: Tester 1.0"]
        answer = alice.ask("REGISTER", "sip:" + DOMAIN, ["Contact: <%s>;expires=300" % alice.contact(),
                                                        *agent], to="<%s>" % alice.aor())
        assert answer.status == 200
        rows = server.json("registrations")
        mine = [row for row in rows if row["account"] == "alice@" + DOMAIN]
        assert len(mine) == 1 and len(mine[0]["contacts"]) == 1
        contact = mine[0]["contacts"][0]
        assert contact["uri"] == alice.contact()
        assert contact["transport"].lower() == "tcp"
        assert contact["source"] == "127.0.0.1:%d" % alice.port
        assert 290 <= contact["expires"] <= 300
        assert contact["agent"] == "Tester 1.0"
        assert "alice" in server.run("registrations")
        assert alice.register(expires=0).status == 200
    assert not server.bindings().get("alice@" + DOMAIN)


def test_calls_while_one_stands(server):
    with Client(server.port, user="alice") as alice, Client(server.port, user="bob") as bob:
        assert bob.register().status == 200
        with Callee(bob):
            uri, frm = "sip:bob@" + DOMAIN, "<%s>;tag=c1" % alice.aor()
            answer = alice.ask("INVITE", uri, ["Contact: <%s>" % alice.contact()], tag="c1",
                               call_id="standing-call")
            assert answer.status == 200
            call = Call(alice, answer, uri, frm)
            call.ack()
            rows = server.json("calls")
            assert len(rows) == 1
            row = rows[0]
            assert row["call_id"] == "standing-call"
            assert "alice" in row["from"] and "bob" in row["to"]
            assert RFC3339.match(row["since"])
            assert isinstance(row["state"], str) and isinstance(row["legs"], list)
            assert isinstance(row["quality"], dict)
            assert re.search("standing-call  " + row["quality"]["media"] + r"\b", server.run("calls"))
            assert "MOS" not in server.run("calls"), "nobody knows how it sounds"
            assert call.bye().status == 200
        assert server.json("calls") == []
        assert bob.register(expires=0).status == 200


def test_calls_that_have_ended():
    with Server() as server:
        server.add_users(["alice", "bob"])
        assert server.json("calls", "--ended") == [] and server.run("calls", "--ended") == "no calls have ended\n"
        with Client(server.port, user="alice") as alice, Client(server.port, user="bob") as bob:
            assert bob.register().status == 200
            with Callee(bob):
                assert place_call(alice) == (200, 200)
            with Callee(bob, 486, "Out For Lunch"):
                assert place_call(alice)[0] == 486
        until = servers.time.monotonic() + 10
        while len(rows := server.json("calls", "--ended")) < 2:  # written within a second
            assert servers.time.monotonic() < until
            servers.time.sleep(0.1)
        assert [(row["status"], row["ended_by"], row["reason"]) for row in rows] == [
            (486, "", "Out For Lunch"), (200, "caller", "")]
        refused, taken = rows
        assert taken["state"] == "ended" and taken["legs"] == [] and taken["duration"] == 0
        assert (taken["from"], taken["to"]) == ("sip:alice@" + DOMAIN, "sip:bob@" + DOMAIN)
        assert taken["quality"]["media"] and "duration" not in refused and "answered" not in refused
        assert all(RFC3339.match(taken[name]) for name in ("since", "answered", "ended"))
        said = server.run("calls", "--ended").splitlines()
        assert [row["call_id"] in line for row, line in zip(rows, said)] == 2 * [True]
        assert re.search(r"  486 sip:alice@\S+ -> sip:bob@\S+  not answered: Out For Lunch  ", said[0])
        assert re.search(r"  200 sip:alice@\S+ -> sip:bob@\S+  0 s, ended by caller  ", said[1])
        assert server.json("calls", "--ended", "--last", "1") == rows[:1]
        assert server.json("calls") == []
        for wrong in (["--last", "1"], ["--ended", "--last", "0"], ["--ended", "--last", "1001"],
                      ["--ended", "--last", "few"], ["--ended", "--last", ""], ["--ended", "--last", "-1"]):
            assert server.verb("calls", *wrong).returncode == 2, wrong
        server.stop()
        assert server.json("calls", "--ended") == rows, "they are there without a server, too"


def test_status(server):
    status = server.json("status")
    assert isinstance(status, dict) and status
    assert server.run("status").strip()


FINGERPRINT = re.compile(r"^([0-9A-F]{2}:){31}[0-9A-F]{2}$")


def test_certificate_of_our_own():
    with Server(doors=("tls",)) as server:
        shown = server.json("cert", "show")
        certificate, ca = shown["certificate"], shown["ca"]
        assert FINGERPRINT.match(certificate["fingerprint"]) and FINGERPRINT.match(ca["fingerprint"])
        assert {DOMAIN, "127.0.0.1", "::1", "localhost"} <= set(certificate["names"])
        assert certificate["issuer"] == ca["subject"]
        assert RFC3339.match(certificate["expires"]) and RFC3339.match(ca["expires"])
        text = server.run("cert", "show")
        for value in (DOMAIN, certificate["fingerprint"], certificate["expires"], ca["fingerprint"]):
            assert value in text
        pem = server.run("cert", "ca")
        assert pem == (server.folder / "data/ca.pem").read_text()
        assert server.json("status")["certificate"] == certificate["fingerprint"]
        assert server.wait_log("tls.ca")["fingerprint"] == ca["fingerprint"]
        assert server.wait_log("tls.ready")["fingerprint"] == certificate["fingerprint"]
        with ssl.create_default_context(cadata=pem).wrap_socket(
                socket.create_connection(("127.0.0.1", server.ports["tls"])),
                server_hostname=DOMAIN) as trusting:
            octets = trusting.getpeercert(binary_form=True)
        assert hashlib.sha256(octets).hexdigest().upper() == certificate["fingerprint"].replace(":", "")
        # The next start has the same.
        assert server.stop() == 0
        server.start()
        assert server.json("cert", "show")["certificate"]["fingerprint"] == certificate["fingerprint"]
        assert server.run("cert", "ca") == pem
        assert "tls.ca" not in server.log()
        for wrong in ([], ["all"], ["show", "ca"], ["ca", "--json"]):
            assert server.verb("cert", *wrong).returncode == 2, wrong


def test_certificate_of_nobody(server):
    ended = server.verb("cert", "show")
    assert ended.returncode == 1 and "nothing listens with tls" in ended.stderr
    assert "certificate" not in server.json("status")
    assert not (server.folder / "data/ca.pem").exists()


def test_without_a_server_the_answer_is_3_and_names_the_socket(tmp_path):
    with Server() as server:
        server.stop()
        for verb in ("status", "registrations", "calls", "reload"):
            ended = server.verb(verb)
            assert ended.returncode == 3, verb
            assert "control.sock" in ended.stderr, ended.stderr


# --- user ------------------------------------------------------------------------------------------
def test_user_life(server):
    dave = "dave@" + DOMAIN

    def listed():
        return {"%s@%s" % (row["user"], row["domain"]) for row in server.json("user", "list")}

    assert server.add_user("dave", PASSWORD, "--number", "104") == PASSWORD
    assert dave in listed()
    shown = server.json("user", "show", dave)
    assert "104" in json.dumps(shown)
    assert PASSWORD not in json.dumps(shown) and "ha1" not in json.dumps(shown).lower()
    with Client(server.port, user="dave") as phone:
        assert phone.register().status == 200
    server.run("user", "passwd", dave, "--password-stdin", text="another-password\n")
    with Client(server.port, user="dave") as phone:
        assert phone.register().status in (401, 403), "the old password still works"
    with Client(server.port, user="dave", password="another-password") as phone:
        assert phone.register().status == 200, "the new password works at once"
    server.run("user", "remove", dave)
    assert dave not in listed()
    with Client(server.port, user="dave", password="another-password") as phone:
        assert phone.register().status in (401, 403), "a removed user still registers"
    assert not server.bindings().get(dave), "a removed user is still called"


def test_user_refusals(server):
    assert server.verb("user", "add", "alice@" + DOMAIN, "--password-stdin",
                       text=PASSWORD + "\n").returncode == 1
    assert server.verb("user", "add", "eve@" + DOMAIN, "--password-stdin", text="short\n").returncode == 1
    assert server.verb("user", "show", "nobody@" + DOMAIN).returncode == 1
    assert server.verb("user", "remove", "nobody@" + DOMAIN).returncode == 1
    assert server.verb("user", "add", "eve@elsewhere.test", "--password-stdin",
                       text=PASSWORD + "\n").returncode == 1
    assert "eve" not in server.run("user", "list")


# --- user, and no server runs ------------------------------------------------------------------------
class Bare:
    """A folder with no server, for verbs that open the data folder in it themselves."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {k: v for k, v in servers.os.environ.items() if not k.startswith("TANDEM_")}

    def verb(self, *arguments, text=""):
        return tandem(*arguments, text=text, cwd=self.folder, env=self.environment)

    def add(self, *arguments):
        return self.verb("user", "add", *arguments, "--password-stdin", text=PASSWORD + "\n")

    def listed(self, *arguments):
        ended = self.verb("user", "list", "--json", *arguments)
        return {"%s@%s" % (row["user"], row["domain"]) for row in json.loads(ended.stdout)}


def test_user_add_says_whom_it_made(tmp_path):
    bare = Bare(tmp_path)
    made = bare.add("alice", "--number", "101")
    assert made.returncode == 0, made.stderr
    alice = made.stdout.strip()
    assert alice.startswith("alice@") and bare.listed() == {alice}
    assert bare.add("bob").stdout.strip() == alice.replace("alice", "bob")
    again = bare.add("carol", "--number", "101")
    assert again.returncode == 1 and "the number 101 is there already: " + alice in again.stderr
    assert json.loads(bare.add("dave", "--json").stdout)["account"] == alice.replace("alice", "dave")


def test_an_account_is_not_made_of_a_domain_that_nobody_meant(tmp_path):
    """A configuration lies there and was not named, or the accounts that are there are of its domain."""
    (tmp_path / "tandem.yaml").write_text("domains: [%s]\n" % DOMAIN)
    bare, named = Bare(tmp_path), ("--config", "tandem.yaml")
    refused = bare.add("alice", "--number", "101")
    assert refused.returncode == 1 and refused.stdout == ""
    assert all(word in refused.stderr for word in ("tandem.yaml", "--config", "$TANDEM_CONFIG"))
    host = re.search(r"write NAME@(\S+)", refused.stderr)[1]
    assert bare.listed() == set()
    assert bare.add("alice", "--number", "101", *named).stdout == "alice@%s\n" % DOMAIN
    bare.environment["TANDEM_CONFIG"] = "tandem.yaml"
    assert bare.add("bob", "--number", "102").stdout == "bob@%s\n" % DOMAIN
    del bare.environment["TANDEM_CONFIG"]
    (tmp_path / "tandem.yaml").rename(tmp_path / "other.yaml")
    for verb in (["add", "carol"], ["passwd", "alice"], ["remove", "alice"]):
        text = PASSWORD + "\n" if verb[0] != "remove" else ""
        refused = bare.verb("user", *verb, *(["--password-stdin"] if text else []), text=text)
        assert refused.returncode == 1 and "are of %s" % DOMAIN in refused.stderr, refused
    assert bare.add("carol@" + host).stdout == "carol@%s\n" % host, "who says so means it"
    taken = bare.add("dave@" + host, "--number", "101")
    assert taken.returncode == 1 and "the number 101 is there already: alice@" + DOMAIN in taken.stderr
    assert bare.add("dave").stdout == "dave@%s\n" % host, "there are such accounts now"


def test_no_password_is_stored(server):
    for file in (server.folder / "data").rglob("*"):
        if file.is_file():
            assert PASSWORD.encode() not in file.read_bytes(), file


# --- what needs no server --------------------------------------------------------------------------
def test_version():
    assert re.search(r"\d+\.\d+\.\d+", tandem("version").stdout)
    assert re.search(r"\d+\.\d+\.\d+", json.dumps(json.loads(tandem("version", "--json").stdout)))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb):
    ended = tandem(verb, "--help")
    assert ended.returncode == 0 and verb in ended.stdout


def test_help_lists_every_verb_and_a_wrong_one_is_a_usage_error():
    said = tandem("--help")
    assert said.returncode == 0
    for verb in VERBS:
        assert re.search(r"\b%s\b" % verb, said.stdout), verb
    for wrong in (["frobnicate"], ["status", "--frobnicate"], ["user"], ["user", "add"]):
        assert tandem(*wrong).returncode == 2, wrong


def test_completion_is_a_script_that_a_shell_accepts():
    script = tandem("completion", "bash").stdout
    assert "registrations" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_config_defaults_are_a_configuration(tmp_path):
    defaults = tandem("config", "--defaults")
    assert defaults.returncode == 0
    file = tmp_path / "defaults.yaml"
    file.write_text(defaults.stdout)
    assert tandem("check", "--config", file).returncode == 0, "our own defaults are refused"


def test_config_schema_is_a_json_schema():
    schema = json.loads(tandem("config", "--schema").stdout)
    assert "$schema" in schema and "listen" in schema["properties"]


def test_config_prints_what_holds_and_where_from(server):
    said = server.run("config")
    assert DOMAIN in said and "tandem.yaml" in said


# --- start -----------------------------------------------------------------------------------------
def test_a_taken_port_is_an_error_that_names_the_holder():
    with Server() as server:
        other = Server(port=server.port)
        try:
            ended = subprocess.run([servers.TANDEM, "serve", "--config", other.file],
                                   capture_output=True, text=True, timeout=30)
            assert ended.returncode == 3
            assert str(server.port) in ended.stderr
            assert str(server.process.pid) in ended.stderr, ended.stderr
        finally:
            other.remove()


def test_one_data_folder_has_one_server():
    with Server() as server:
        other = Server()
        try:
            other.file.write_text(other.file.read_text().replace(str(other.folder), str(server.folder)))
            ended = subprocess.run([servers.TANDEM, "serve", "--config", other.file],
                                   capture_output=True, text=True, timeout=30)
            assert ended.returncode == 3, ended.stderr
        finally:
            other.remove()


def test_data_folder_is_private(server):
    assert (server.folder / "data").stat().st_mode & 0o077 == 0


# --- serve --demo ----------------------------------------------------------------------------------
PRINTED = re.compile(r"\b(alice|bob)\b.*?\b([a-zA-Z0-9]{3,5}(?:-[a-zA-Z0-9]{3,5}){2,})")


class Demo(Server):
    """serve --demo in an empty folder, with no configuration."""

    def spawn(self, *arguments):
        self.starts += 1
        self.output = self.folder / ("out.%d" % self.starts)
        with open(self.log_file(), "wb") as log, open(self.output, "wb") as output:
            self.process = subprocess.Popen([servers.TANDEM, "serve", "--demo"], cwd=self.folder,
                                            stdin=subprocess.DEVNULL, stdout=output, stderr=log,
                                            env=self.environment)

    def shown(self, word, timeout=20):
        """All of standard output, once it holds that word."""
        until = servers.time.monotonic() + timeout
        while word not in self.output.read_text():
            assert self.is_alive() and servers.time.monotonic() < until, self.log()
            servers.time.sleep(0.05)
        return self.output.read_text()

    def listens_at(self):
        """The port that it says a phone should use."""
        return int(re.search(r"server \S+:(\d+)", self.output.read_text())[1])


@pytest.fixture
def taken():
    """Someone has the port 5060: we, unless somebody else has it already."""
    holders = []
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        holder = socket.socket(socket.AF_INET, kind)
        try:
            holder.bind(("127.0.0.1", 5060))
            if kind == socket.SOCK_STREAM:
                holder.listen()
        except OSError:
            pass
        holders.append(holder)
    yield
    for holder in holders:
        holder.close()


def test_demo_shows_a_call_and_a_second_run_keeps_the_accounts(taken):
    with Demo() as demo:
        text = demo.shown("BYE")
        for word in ("alice", "101", "bob", "102", "INVITE", "180", "200", "ACK"):
            assert word in text, word
        assert "5060" in text + demo.log(), "the taken port is not mentioned"
        passwords = dict(PRINTED.findall(text))
        assert set(passwords) == {"alice", "bob"}, text
        for password in passwords.values():
            assert not set(password) & set("0O1lI"), "hard to type: " + password
        assert passwords["alice"] != passwords["bob"]
        port = demo.listens_at()
        assert port != 5060
        listens = dict(re.findall(r"(\w+):0\.0\.0\.0:(\d+)", demo.wait_log("ready")["listen"]))
        assert "With TLS: port %s." % listens["tls"] in text
        assert re.search(r"wss://\S+:%s " % listens["wss"], text) and "cert ca" in text
        with Client(port, user="alice", password=passwords["alice"], domain="127.0.0.1") as phone:
            assert phone.register().status == 200
            assert phone.register(expires=0).status == 200  # else no call is shown again
        assert demo.stop() == 0
        demo.start()
        again = demo.shown("BYE")
        assert not PRINTED.search(again), "passwords are printed once"
        with Client(demo.listens_at(), user="alice", password=passwords["alice"],
                    domain="127.0.0.1") as phone:
            assert phone.register().status == 200, "the second run lost the account"
