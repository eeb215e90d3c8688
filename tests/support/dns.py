# SPDX-License-Identifier: MIT
"""A DNS server of the test's own: nsd, authoritative for zones in text, on a port of 127.0.0.1.

    with Dns({"example.org": "@ NAPTR 10 10 \"s\" \"SIP+D2U\" \"\" _sip._udp"}) as dns:
        Server("dns: {servers: [%s]}" % dns.address)

It needs no privileges: everything it has lies in a folder of its own, and it stays in the foreground. What is
outside its zones it refuses.
"""
import pathlib
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

from .server import free_port

NSD = shutil.which("nsd", path="/usr/sbin:/usr/local/sbin:/usr/bin:/bin") or "nsd"
SOA = 6
CONFIG = """\
server:
    ip-address: 127.0.0.1@{port}
    do-ip6: no
    server-count: 1
    username: ""
    chroot: ""
    zonesdir: "{folder}"
    database: ""
    pidfile: "{folder}/nsd.pid"
    xfrdir: "{folder}"
    xfrdfile: "{folder}/xfrd.state"
    zonelistfile: "{folder}/zone.list"
    rrl-ratelimit: 0
    verbosity: 1
remote-control:
    control-enable: no
"""
ZONE = 'zone:\n    name: "{name}"\n    zonefile: "{name}.zone"\n'
HEAD = """\
$ORIGIN {name}.
$TTL {ttl}
@ SOA ns hostmaster {serial} 3600 600 86400 {negative}
@ NS ns
ns A 127.0.0.1
"""


class Dns:
    """zones: {name: records}, in the form of a zone file, names without a last dot being inside it. `ttl` in
    seconds is that of records that have none, `negative` that of answers that there is nothing."""

    def __init__(self, zones, ttl=300, negative=300):
        self.ttl, self.negative = ttl, negative
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="nsd-"))
        self.port = free_port(("127.0.0.1",))
        self.address = "127.0.0.1:%d" % self.port
        self.serial = 0
        self.process = None
        self.names = list(zones)
        for name, records in zones.items():
            self.write(name, records)
        config = CONFIG.format(port=self.port, folder=self.folder)
        config += "".join(ZONE.format(name=name) for name in zones)
        (self.folder / "nsd.conf").write_text(config)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_):
        self.remove()

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([NSD, "-d", "-c", self.folder / "nsd.conf"], cwd=self.folder,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for name in self.names:
            self.wait(lambda name=name: self.serial_of(name) is not None)

    def stop(self):
        """Nobody answers any more; start() brings it back on the same port."""
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        return (self.folder / "log").read_text("utf-8", "replace")

    # --- zones -----------------------------------------------------------------------------------
    def write(self, name, records):
        self.serial += 1
        head = HEAD.format(name=name, ttl=self.ttl, serial=self.serial, negative=self.negative)
        (self.folder / (name + ".zone")).write_text(head + records + "\n")

    def change(self, name, records):
        """New records for a zone; they are served when this returns."""
        self.write(name, records)
        self.process.send_signal(signal.SIGHUP)
        self.wait(lambda: self.serial_of(name) == self.serial)

    def wait(self, condition, timeout=20):
        until = time.monotonic() + timeout
        while not condition():
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError("nsd does not serve this:\n" + self.log()[-2000:])
            time.sleep(0.02)

    def serial_of(self, name):
        """The serial number of the zone that is served; None: no answer, or no such zone."""
        ident = secrets.randbits(16)
        question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(0.2)
            asker.connect(("127.0.0.1", self.port))
            try:
                asker.send(struct.pack(">6H", ident, 0, 1, 0, 0, 0) + question + struct.pack(">2H", SOA, 1))
                answer = asker.recv(4096)
            except OSError:
                return None
        if len(answer) < 12 or struct.unpack(">H", answer[:2])[0] != ident or answer[3] & 15:
            return None
        # header, question; the answer's owner is a pointer (2), then type, class, TTL, length (10)
        at = skip_name(answer, skip_name(answer, 12 + len(question) + 4 + 2 + 10))
        return struct.unpack(">I", answer[at:at + 4])[0]


def skip_name(octets, at):
    while octets[at]:
        if octets[at] >= 0xc0:
            return at + 2
        at += 1 + octets[at]
    return at + 1
