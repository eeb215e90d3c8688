# SPDX-License-Identifier: MIT
"""SIPp: registrations and calls at a rate, and what became of them."""
import csv
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

from .sip import Client

SCENARIOS = pathlib.Path(__file__).resolve().parent / "sipp"


def free_port(ip):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((ip, 0))
        return probe.getsockname()[1]


class Sipp:
    """One SIPp process: with Sipp("callee", server_port, ip="127.0.0.2", user="bob") as callee: ..."""

    def __init__(self, scenario, server_port, *arguments, ip="127.0.0.2", port=None, user="bob",
                 caller="alice", password="a-long-password", domain="example.test", transport="udp"):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sipp-"))
        self.transport = transport
        self.port = port or free_port(ip)
        authenticated = user if scenario == "register" else caller
        self.command = ["sipp", "127.0.0.1:%d" % server_port, "-sf", SCENARIOS / (scenario + ".xml"),
                        "-t", "u1" if transport == "udp" else "t1",
                        "-i", ip, "-p", str(self.port), "-s", user, "-key", "domain", domain,
                        "-key", "caller", caller, "-au", authenticated, "-ap", password,
                        "-nostdin", "-trace_err", "-error_file", self.folder / "errors",
                        "-trace_stat", "-stf", self.folder / "stat.csv", "-fd", "1", *arguments]
        self.process = None

    def __enter__(self):
        with open(self.folder / "screen", "wb") as screen:
            self.process = subprocess.Popen(self.command, cwd=self.folder, stdin=subprocess.DEVNULL,
                                            stdout=screen, stderr=screen)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait_open(self, timeout=5):
        """Until its port is bound: what a callee has to be before it is called."""
        until = time.monotonic() + timeout
        while time.monotonic() < until and self.process.poll() is None:
            with open("/proc/net/" + self.transport) as table:
                rows = [line.split() for line in table]
            # Over TCP it must listen (0A): what a process before it had there may still be ending.
            if any(row[1].endswith(":%04X" % self.port) and (self.transport == "udp" or row[3] == "0A")
                   for row in rows):
                return
            time.sleep(0.02)
        raise AssertionError("SIPp does not start: " + self.errors())

    def finish(self, timeout):
        """Wait for the end; {"calls", "failed", "repeats", "ms"}: the setup's mean time in ms."""
        code = self.process.wait(timeout)
        with open(self.folder / "stat.csv") as file:
            last = list(csv.DictReader(file, delimiter=";"))[-1]
        parts = last.get("ResponseTimesetup(C)", "00:00:00:000000").split(":")
        setup = (int(parts[0]) * 3600 + int(parts[1]) * 60 + int(parts[2])) * 1000 + int(parts[3]) / 1000
        return {"calls": int(last["SuccessfulCall(C)"]), "failed": int(last["FailedCall(C)"]),
                "repeats": int(last["Retransmissions(C)"]), "ms": setup, "code": code}

    def setups(self):
        """Seconds from each call's first INVITE to its 200: with "-trace_shortmsg", after the end. (SIPp's own
        clock for response times ticks every 4 ms.)"""
        began, took = {}, []
        for file in self.folder.glob("*shortmessages*"):
            for line in file.read_text("utf-8", "replace").splitlines():
                _, _, at, way, call, cseq, start = line.split("\t", 6)
                if way == "S" and start.startswith("INVITE "):
                    began.setdefault(call, float(at))
                elif way == "R" and start.startswith("SIP/2.0 200") and cseq.endswith("INVITE") and call in began:
                    took.append(float(at) - began.pop(call))
        return took

    def errors(self):
        return "".join(f.read_text("utf-8", "replace")[-3000:] for f in
                       (self.folder / "errors", self.folder / "screen") if f.exists())


def register(server_port, user="bob", ip="127.0.0.2", port=None, transport="udp"):
    """Register a port with SIPp; the port, free again for a callee."""
    with Sipp("register", server_port, "-m", "1", "-recv_timeout", "5000", ip=ip, port=port,
              user=user, transport=transport) as phone:
        result = phone.finish(20)
        assert result["code"] == 0, "no registration: " + phone.errors()
        return phone.port


CALLEE, CALLER = "127.0.0.2", "127.0.0.3"


def calls(server_port, rate, seconds, ports=(None, None), users=("alice", "bob"), trace=False, **how):
    """`rate` calls a second for so long, from alice to bob, who registers first and is forgotten at last
    (else the next run's calls would fork to a phone that is gone); the caller's result. With trace,
    "setups" is the list of seconds that each took.

    Runs with the same `ports` (callee's, caller's) meet the same workers of the server: the kernel
    chooses them by addresses and ports."""
    caller_user, user = users
    how.update(user=user, caller=caller_user)
    port = register(server_port, user, CALLEE, ports[0], how.get("transport", "udp"))
    total = rate * seconds
    more = ["-trace_shortmsg"] if trace else []
    with Sipp("callee", server_port, "-nd", ip=CALLEE, port=port, **how) as callee:
        callee.wait_open()
        with Sipp("caller", server_port, "-r", str(rate), "-m", str(total), "-l", str(rate * 20), "-d",
                  "200", "-recv_timeout", "20000", *more, ip=CALLER, port=ports[1], **how) as caller:
            result = caller.finish(seconds * 3 + 60)
            if trace:
                result["setups"] = caller.setups()
            if result["code"] != 0:
                result["errors"] = caller.errors()[:3000]
    with Client(server_port, user=user) as phone:
        assert phone.forget_all().status == 200
    return result
