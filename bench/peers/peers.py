# SPDX-License-Identifier: MIT
"""The servers that are measured beside each other, and one run of load against one of them.

A server is a context manager; its figures are of all its processes together. Tandem runs with what is on by
default; `exempt` raises the limits of the loopback, which are consulted all the same. Kamailio runs with its
fastest allocator and keeps bindings in memory only. Both get the same load, from bench/load, at the same rate.
"""
import glob
import hashlib
import json
import os
import pathlib
import platform
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests"))
sys.dont_write_bytecode = True

from support import server as support  # noqa: E402
from support.tlsclient import Authority  # noqa: E402

LOAD = pathlib.Path(os.environ.get("TANDEM_LOAD", support.TANDEM.parent / "bench/load/load"))
FLOOR = LOAD.parents[1] / "floor/floor"
PASSWORD = "a-long-password"
CALLEE = "127.0.0.3"
TICK = 1e6 / os.sysconf("SC_CLK_TCK")
PINGED = ("OPTIONS sip:{0} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{1};branch=z9hG4bKping{2}\r\nMax-Forwards: 70\r\n"
          "From: <sip:ping@{0}>;tag=ping\r\nTo: <sip:{0}>\r\nCall-ID: ping{2}\r\nCSeq: 1 OPTIONS\r\n"
          "Content-Length: 0\r\n\r\n")


def user(n):
    return "u%06d" % n


def pin(cores=None):
    """What is started from now on runs on these cores; None: on all."""
    os.sched_setaffinity(0, cores if cores is not None else range(os.cpu_count()))


# --- what /proc says of a server ----------------------------------------------------------------------

def tree(root):
    """The process and all that descend from it."""
    children = {}
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            pid, rest = pathlib.Path(stat).read_text().split(" (", 1)
        except OSError:
            continue
        children.setdefault(int(rest.rsplit(")", 1)[1].split()[1]), []).append(int(pid))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu(pids):
    """{"user", "system"}: microseconds in ticks of the clock; "total": to the nanosecond."""
    sums = {"user": 0.0, "system": 0.0, "total": 0.0}
    for pid in pids:
        fields = pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()
        sums["user"] += int(fields[11]) * TICK
        sums["system"] += int(fields[12]) * TICK
        sums["total"] += sum(threads(pid).values())
    return sums


def threads(pid):
    """{thread: microseconds of CPU}"""
    return {int(f.split("/")[4]): int(pathlib.Path(f).read_text().split()[0]) / 1e3
            for f in glob.glob("/proc/%d/task/*/schedstat" % pid)}


def pss(pids):
    """KiB: a page that n processes share counts 1/n in each."""
    return sum(int(re.search(r"^Pss: +(\d+)", pathlib.Path("/proc/%d/smaps_rollup" % pid).read_text(), re.M)[1])
               for pid in pids)


# --- the servers --------------------------------------------------------------------------------------

class Tandem(support.Server):
    """The program is $TANDEM, else build/release/tandem."""
    name = "Tandem"

    def __init__(self, users, workers=2, login=False, redirect=False, tls=None, more=""):
        config = ("workers: %d\nsecurity:\n  authenticate: %s\n"
                  "  exempt: [{from: 127.0.0.0/8, connections: 20000, new_connections: 0/s}]\n" % (
                      workers, "all" if login else "register"))
        config += "routes: [{when: {method: INVITE}, redirect: local}]\n" if redirect else ""
        config += "tls: {certificate: %s, key: %s}\n" % tls if tls else ""
        super().__init__(config + more, doors=("tls",) if tls else ())
        self.users = users

    def __enter__(self):
        super().__enter__()
        file = self.folder / "users.csv"
        file.write_text("".join("%s@%s;%s\n" % (user(n), support.DOMAIN, PASSWORD) for n in range(self.users)))
        subprocess.run([support.TANDEM, "user", "import", file, "--socket", self.folder / "data/control.sock"],
                       check=True, capture_output=True, timeout=600)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)  # a second one does not wait for standing calls
        time.sleep(0.2)
        self.stop()
        self.remove()

    def pids(self):
        return tree(self.process.pid)

    @staticmethod
    def version():
        return subprocess.run([support.TANDEM, "version"], capture_output=True, text=True, check=True).stdout.strip()


class Kamailio:
    name = "Kamailio"

    def __init__(self, users, workers=2, login=False, redirect=False, tls=None):
        self.folder = tempfile.TemporaryDirectory(prefix="kamailio-")
        self.port = support.free_port(("127.0.0.1",))
        self.ports = {"udp": self.port, "tcp": self.port, "tls": support.free_port(("127.0.0.1",))}
        self.features = [w for w, on in (("TLS", tls), ("LOGIN", login), ("REDIRECT", redirect)) if on]
        folder = pathlib.Path(self.folder.name)
        text = (HERE / "kamailio.cfg").read_text()
        for word, value in {
                "DOMAIN": support.DOMAIN, "WORKERS": workers, "PORT": self.port, "TLS_PORT": self.ports["tls"],
                "FOLDER": folder, "MODULES": glob.glob("/usr/lib/*/kamailio/modules")[0],
                "CERTIFICATE": (tls or [""])[0], "KEY": (tls or ["", ""])[1]}.items():
            text = text.replace("{{%s}}" % word, str(value))
        (folder / "kamailio.cfg").write_text(text)
        (folder / "version").write_text("table_name(string) table_version(int)\nha1:2\n")
        with open(folder / "ha1", "w") as table:
            table.write("id(int) key_name(string) key_type(int) value_type(int) key_value(string) expires(int)\n")
            for n in range(users):
                secret = hashlib.md5(("%s:%s:%s" % (user(n), support.DOMAIN, PASSWORD)).encode()).hexdigest()
                table.write("%d:%s:0:0:%s:0\n" % (n + 1, user(n), secret))

    def __enter__(self):
        command = ["kamailio", "-DD", "-E", "-f", "kamailio.cfg", "-Y", ".", "-m", "2048", "-M", "16",
                   "-x", "tlsf", "-X", "tlsf"]
        for feature in self.features:
            command += ["-A", "WITH_" + feature]
        with open(self.folder.name + "/log", "wb") as log:
            self.process = subprocess.Popen(command, cwd=self.folder.name, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)
        try:
            self.wait_open()
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_open(self):
        """Until it answers OPTIONS."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(0.2)
            for turn in range(150):
                sock.sendto(PINGED.format(support.DOMAIN, sock.getsockname()[1], turn).encode(),
                            ("127.0.0.1", self.port))
                try:
                    sock.recv(4096)
                    return
                except OSError:
                    time.sleep(0.05)
        raise RuntimeError("Kamailio does not start:\n" + pathlib.Path(self.folder.name, "log").read_text()[-2000:])

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            for pid in tree(self.process.pid):
                os.kill(pid, signal.SIGKILL)
            self.process.wait()
        self.folder.cleanup()

    def pids(self):
        return tree(self.process.pid)

    @staticmethod
    def version():
        return subprocess.run(["kamailio", "-v"], capture_output=True, text=True,
                              check=True).stdout.split("\n")[0].split("version: ")[1].split(" (")[0]


class Floor:
    """No server: datagrams are received and sent as the load needs it, and nothing is understood. What that takes is
    the kernel's, below which no server gets that serves datagrams as they come."""
    name = "floor"

    def __init__(self, users, workers=2, login=False, redirect=False, tls=None):
        self.ports = {"udp": support.free_port(("127.0.0.1",))}
        self.command = [FLOOR, str(self.ports["udp"])] + ["redirect"] * redirect

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL)
        time.sleep(0.2)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def pids(self):
        return [self.process.pid]


# --- the load -----------------------------------------------------------------------------------------

def ports_of_callees():
    """The first of many, below those that the kernel gives away."""
    return random.randrange(20000, 32000, 256)


class Load:
    """One process of bench/load. `prepare`: users register first, and so many operations are not counted; it
    is ready when it has been made, and goes on with run(). It is killed when it takes far too long."""

    def __init__(self, server, kind, rate, count, users, prepare=None, transport="udp", callee=None, ports=1,
                 every=None, more=()):
        callee = callee or (support.free_port((CALLEE,)) if ports == 1 else ports_of_callees())
        command = [LOAD, kind, "--server", "127.0.0.1:%d" % server.ports[transport], "--rate", rate, "--count",
                   int(count), "--users", users, "--transport", transport, "--callee",
                   "%s:%d" % (CALLEE, callee), "--ports", ports, *more]
        command += ["--prepare", int(prepare)] if prepare is not None else []
        command += ["--every", every] if every else []
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.guard = threading.Timer(3 * count / rate + 3 * users / 1000 + 60, self.process.kill)
        self.guard.start()
        if prepare is not None and self.process.stdout.readline() != "ready\n":
            self.end()
            raise RuntimeError("the load did not get ready")

    def lines(self):
        """Its reports; the last is of all."""
        if not self.process.stdin.closed:
            self.process.stdin.write("\n")
            self.process.stdin.close()
        for line in self.process.stdout:
            yield json.loads(line)
        code = self.process.wait()
        self.guard.cancel()
        if code != 0:
            raise RuntimeError("the load ended with %d" % code)

    def run(self):
        return list(self.lines())[-1]

    def end(self):
        self.guard.cancel()
        self.process.kill()
        self.process.wait()


def measure(server, load, settle=1.0):
    """The report of a load that is ready, with the server's CPU: microseconds of one good operation."""
    time.sleep(0.5)
    pids = server.pids()
    before, shares = cpu(pids), threads(pids[0])
    told = load.run()
    time.sleep(settle)
    after = cpu(pids)
    good = max(1, told["good"])
    told.update({k: (after[k] - before[k]) / good for k in after})
    told["pss"] = pss(pids)
    told["threads"] = sorted((v - shares.get(t, 0) for t, v in threads(pids[0]).items()), reverse=True)
    return told


def highest(server, kind, users, rate, ports=64, seconds=3):
    """(rate, share of a core that the load had, why no higher one): the highest with under 0.1 % failures, to
    7 %. `rate` is where the search begins."""
    best, low, high, busy, why = 0, 0, None, 0.0, ""
    same = {"callee": ports_of_callees(), "ports": ports}
    if kind != "register":
        Load(server, kind, rate, 1, users, 0, **same).run()
    while high is None or high - low > 0.07 * high:
        told = Load(server, kind, rate, rate * seconds, users, **same).run()
        if told["failed"] <= 0.001 * rate * seconds and told["seconds"] < 1.1 * seconds + 0.5:
            best, low, busy = rate, rate, told["cpu"] / told["seconds"]
        else:
            high = rate
            why = "%d of %d: %s" % (told["failed"], rate * seconds, told["why"]) if told["failed"] else "behind"
            time.sleep(2)  # what was left of it
        rate = int(rate * 1.4) if high is None else int((low + high) / 2)
        if high is not None and high < 50:
            break
    return best, busy, why


def certificate(folder):
    return Authority(folder).issue("IP:127.0.0.1", "DNS:" + support.DOMAIN)


def machine():
    """What the figures are of."""
    name = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    return "%s, %d cores, Linux %s; %s, %s; load average %.1f" % (
        name[1] if name else platform.machine(), os.cpu_count(), platform.release().split("-")[0],
        Tandem.version(), Kamailio.version(), os.getloadavg()[0])
