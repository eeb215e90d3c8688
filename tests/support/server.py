# SPDX-License-Identifier: MIT
"""A Tandem of the test's own: free ports, an own data folder, a configuration file.

The program is $TANDEM, else build/release/tandem.
"""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time

from . import turn

ROOT = pathlib.Path(__file__).resolve().parents[2]
TANDEM = pathlib.Path(os.environ.get("TANDEM", ROOT / "build/release/tandem")).resolve()
SANITIZED = bool(os.environ.get("TANDEM_SANITIZED"))
DOMAIN = "example.test"
CONFIG = """\
domains: [{domain}]
listen: [{listen}]
data: {folder}/data
control: {{http: never}}
{more}"""


def free_port(addresses=("127.0.0.1", "::1")):
    """A port that is free for UDP and TCP on each of the addresses."""
    while True:
        sockets = []
        try:
            port = 0
            for address in addresses:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    probe = socket.socket(family, kind)
                    sockets.append(probe)
                    probe.bind((address, port))
                    port = probe.getsockname()[1]
            return port
        except OSError:
            continue
        finally:
            for probe in sockets:
                probe.close()


def bracketed(address):
    return "[%s]" % address if ":" in address else address


class Server:
    """with Server() as server: ... ; `more` is YAML that follows the common configuration, `environment`
    what the process is told besides. UDP and TCP are at .port; `doors` are more transports (tls, ws, wss), at
    .ports[transport]; `origins` whose pages may open a WebSocket; `addresses`: where it listens."""

    def __init__(self, more="", port=None, environment=(), doors=(), origins=(),
                 addresses=("127.0.0.1", "::1")):
        self.addresses = addresses
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("TANDEM_")}
        self.environment.update(environment)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tandem-"))
        self.port = port or free_port(addresses)
        self.ports = {"udp": self.port, "tcp": self.port}
        for door in doors:
            self.ports[door] = free_port(addresses)
        self.origins = origins
        self.file = self.folder / "tandem.yaml"
        self.configure(more)
        self.process = None
        self.starts = 0

    def configure(self, more=""):
        listen = ", ".join(self.listener(transport, address, port)
                           for address in map(bracketed, self.addresses)
                           for transport, port in self.ports.items())
        self.file.write_text(CONFIG.format(domain=DOMAIN, listen=listen, folder=self.folder, more=more))

    def listener(self, transport, address, port):
        bind = '"%s:%s:%d"' % (transport, address, port)
        if self.origins and transport in ("ws", "wss"):
            return "{bind: %s, origins: [%s]}" % (bind, ", ".join('"%s"' % o for o in self.origins))
        return bind

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, kind, *_):
        try:
            code = self.stop()
        finally:
            if kind:
                print("the server's log:\n" + self.log()[-4000:])
            self.remove()
        if not kind:
            assert code == 0, "the server ended with %s" % code

    def remove(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- the process -----------------------------------------------------------------------------
    def spawn(self, *arguments):
        """Start `serve` without waiting; what it logs is this start's log."""
        self.starts += 1
        with open(self.log_file(), "wb") as log:
            self.process = subprocess.Popen([TANDEM, "serve", "--config", self.file, *arguments],
                                            cwd=self.folder, env=self.environment,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self, *arguments):
        self.spawn(*arguments)
        self.wait_log("ready", timeout=30)

    def stop(self):
        """SIGTERM; the exit code."""
        if not self.process:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "no end within 15 s of SIGTERM"
        finally:
            self.process = None

    def kill(self):
        """As the machine's out-of-memory killer would: kill -9."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def memory(self, kind="Pss"):
        """KiB of proportional set size: what the process has for itself of the machine's memory; or of another
        kind, such as Private_Dirty, which does not depend on how many others run the same program.
        0 of a sanitized one, whose own bookkeeping is most of it."""
        if SANITIZED:
            return 0
        for line in pathlib.Path("/proc/%d/smaps_rollup" % self.process.pid).read_text().splitlines():
            if line.startswith(kind + ":"):
                return int(line.split()[1])
        raise RuntimeError("no " + kind)

    def heap(self):
        """KiB of the C library's heap that were written to: what libraries have, and our smaller tables. 0 of a
        sanitized one."""
        if SANITIZED:
            return 0
        maps = pathlib.Path("/proc/%d/smaps" % self.process.pid).read_text()
        found = re.search(r"\[heap\]$.*?^Private_Dirty: +(\d+)", maps, re.M | re.S)
        return int(found[1])

    def metric(self, name):
        """The sum of what the metrics say of that name, over all labels."""
        with contextlib.closing(turn.Unix(self.folder / "data/control.sock")) as connection:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        return sum(float(row.split()[-1]) for row in text.splitlines() if row.startswith(name))

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    # --- its log ---------------------------------------------------------------------------------
    def log_file(self):
        return self.folder / ("log.%d" % self.starts)

    def log(self):
        return self.log_file().read_text("utf-8", "replace") if self.log_file().exists() else ""

    def log_events(self):
        events = []
        for line in self.log().splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                pass
        return events

    def wait_log(self, event, timeout=10):
        """The first line of the log with that event, once it is there."""
        until = time.monotonic() + timeout
        while True:
            dead = not self.is_alive()
            for line in self.log_events():
                if line.get("event") == event:
                    return line
            if dead or time.monotonic() > until:
                raise AssertionError("no event %s; the log: %s" % (event, self.log()[-4000:]))
            time.sleep(0.02)

    # --- its command line --------------------------------------------------------------------------
    def run(self, *arguments, text="", code=0):
        """Run a verb with our configuration; its output. code None: any exit code will do."""
        ended = self.verb(*arguments, text=text)
        if code is not None and ended.returncode != code:
            raise AssertionError("tandem %s: exit %d\n%s%s" % (
                " ".join(map(str, arguments)), ended.returncode, ended.stdout, ended.stderr))
        return ended.stdout

    def verb(self, *arguments, text=""):
        return tandem(*arguments, "--config", self.file, text=text, cwd=self.folder)

    def json(self, *arguments):
        return json.loads(self.run(*arguments, "--json"))

    def add_user(self, user, password="a-long-password", *arguments):
        self.run("user", "add", "%s@%s" % (user, DOMAIN), "--password-stdin", *arguments,
                 text=password + "\n")
        return password

    def add_users(self, users, password="a-long-password"):
        """Many at once."""
        file = self.folder / "users.csv"
        file.write_text("".join("%s@%s;%s\n" % (user, DOMAIN, password) for user in users))
        self.run("user", "import", file)
        return password

    def bindings(self):
        """{account: {contact URI: the contact}} of `tandem registrations --json`."""
        return {row["account"]: {c["uri"]: c for c in row["contacts"]}
                for row in self.json("registrations")}

    def records(self, columns):
        """These columns of each call record that is written."""
        with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % (self.folder / "data/tandem.db"), uri=True)) as db:
            return db.execute("SELECT %s FROM record ORDER BY id" % columns).fetchall()

    def proxy(self, transport, ip="127.0.0.1"):
        """The URI that a phone has as its outbound proxy."""
        host = "[%s]" % ip if ":" in ip else ip
        return "sip:%s:%d;transport=%s" % (host, self.ports[transport], transport)

    def socket(self, transport, ip="127.0.0.1"):
        """The URL that a phone in a browser has, transport: ws or wss."""
        return "%s://%s:%d" % (transport, "[%s]" % ip if ":" in ip else ip, self.ports[transport])

    def ca(self):
        """The file of the authority that Tandem made for itself."""
        return self.folder / "data/ca.pem"


def tandem(*arguments, text="", cwd=None, env=None):
    """Any verb, without a server."""
    return subprocess.run([TANDEM, *arguments], input=text, capture_output=True, text=True, cwd=cwd,
                          timeout=60, env=env)
