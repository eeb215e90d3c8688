# SPDX-License-Identifier: MIT
"""A baresip 1.0 phone without a terminal: one process, one account, driven over its ctrl_tcp module.

What baresip needs to behave on a loopback address, each found the hard way:
- net_interface takes an address; with the name of the loopback interface it takes another one
- ausine makes 48 kHz stereo, and nothing else
- standard input stays open: its end ends baresip
- events of before the control connection are gone: state is asked for, not waited for
- baresip 1.0 does not verify whom it speaks TLS with, so OpenSSL's own configuration must ask for it
"""
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

from . import tone

MODULE_FOLDERS = ["/usr/lib/baresip/modules", "/usr/lib/x86_64-linux-gnu/baresip/modules",
                  "/usr/lib/aarch64-linux-gnu/baresip/modules"]
CONFIG = """\
poll_method epoll
sip_listen {sip}
net_interface {ip}
net_prefer_ipv6 {six}
call_local_timeout 60
call_max_calls 4
audio_path {folder}
audio_source ausine,{tone}
audio_player aubridge,ear
audio_alert aubridge,bell
ausrc_srate 48000
ausrc_channels 2
auplay_channels 1
audio_buffer 20-160
jitter_buffer_delay 1-10
rtp_timeout 0
ringback_disabled yes
menu_bell no
snd_path {folder}
ctrl_tcp_listen {control}
module_path {modules}
module g711.so
module ausine.so
module aubridge.so
module sndfile.so
module_tmp uuid.so
module_app account.so
module_app menu.so
module_app debug_cmd.so
module_app ctrl_tcp.so
{more}"""

OPENSSL = """\
openssl_conf = all
[all]
ssl_conf = parts
[parts]
system_default = here
[here]
VerifyMode = Peer
"""


def free_port(ip, kind=socket.SOCK_STREAM):
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, kind) as probe:
        probe.bind((ip, 0))
        return probe.getsockname()[1]


def free_pair(ip):
    """A port that is free for UDP and TCP, and the next for TCP: baresip takes that for TLS."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    while True:
        port = free_port(ip, socket.SOCK_DGRAM)
        try:
            for kind, number in ((socket.SOCK_STREAM, port), (socket.SOCK_STREAM, port + 1)):
                with socket.socket(family, kind) as probe:
                    probe.bind((ip, number))
            return port
        except (OSError, OverflowError):
            continue


def join(ip, port):
    return "[%s]:%d" % (ip, port) if ":" in ip else "%s:%d" % (ip, port)


class Phone:
    """with Phone("alice", "secret", "example.test", "sip:127.0.0.1:5060;transport=tcp") as alice: ...

    proxy None: no server, no registration; another phone dials self.address().
    ca: a file in PEM; what a TLS server shows must end in it (without, nothing is verified).
    browsers: it offers and answers encrypted sound as browsers do (DTLS-SRTP, without ICE).
    mediaenc, medianat: baresip's own words, such as srtp-mand, and ice; codecs: its own words too, such as
    opus/48000/2; without, G.711 of both kinds.
    """

    def __init__(self, user, password="", domain="", proxy=None, ip="127.0.0.1", hz=440, ca=None,
                 browsers=False, mediaenc=None, medianat=None, codecs=()):
        self.user, self.password, self.domain, self.proxy = user, password, domain, proxy
        self.ip, self.hz, self.ca = ip, hz, ca
        self.mediaenc, self.medianat, self.codecs = mediaenc or (browsers and "dtls_srtp"), medianat, codecs
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="phone-"))
        self.events, self.replies, self.changed = [], {}, threading.Condition()
        self.process = self.control = None
        self.token = 0

    def address(self):
        return "sip:%s@%s" % (self.user, join(self.ip, self.port))

    # --- life ------------------------------------------------------------------------------------
    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        modules = next((f for f in MODULE_FOLDERS if pathlib.Path(f).is_dir()), MODULE_FOLDERS[0])
        self.port = free_pair(self.ip)
        control = free_port("127.0.0.1")
        more, environment = "", dict(os.environ)
        if self.ca:
            more += "sip_cafile %s\n" % self.ca
            (self.folder / "openssl.cnf").write_text(OPENSSL)
            environment["OPENSSL_CONF"] = str(self.folder / "openssl.cnf")
        if self.mediaenc == "dtls_srtp":
            more += "rtcp_mux yes\n"
        wanted = {"srtp", "dtls_srtp"} if self.mediaenc else set()
        wanted |= {self.medianat} if self.medianat else set()
        wanted |= {codec.split("/")[0].lower() for codec in self.codecs} & {"opus", "g722"}
        more += "".join("module %s.so\n" % module for module in sorted(wanted))
        (self.folder / "config").write_text(CONFIG.format(
            more=more,
            sip=join(self.ip, self.port), ip=self.ip, six="yes" if ":" in self.ip else "no",
            folder=self.folder, tone=self.hz, control=join("127.0.0.1", control), modules=modules))
        account = "<sip:%s@%s>;answermode=manual" % (self.user, self.domain or join(self.ip, self.port))
        for name, value in (("mediaenc", self.mediaenc), ("medianat", self.medianat),
                            ("audio_codecs", ",".join(self.codecs))):
            account += ";%s=%s" % (name, value) if value else ""
        if self.proxy:
            account += ';auth_user=%s;auth_pass=%s;outbound="%s";regint=300' % (
                self.user, self.password, self.proxy)
        else:
            account += ";regint=0"
        (self.folder / "accounts").write_text(account + "\n")
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(["baresip", "-f", self.folder, "-s", "-v"],
                                            env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log)
        until = time.monotonic() + 30  # the key that it makes first takes seconds of a busy machine
        while self.control is None:
            try:
                self.control = socket.create_connection(("127.0.0.1", control), 1)
            except OSError:
                if time.monotonic() > until or self.process.poll() is not None:
                    raise RuntimeError("baresip does not start: " + self.log()[-2000:]) from None
                time.sleep(0.05)
        self.control.settimeout(None)
        threading.Thread(target=self._read, args=(self.control,), daemon=True).start()

    def stop(self):
        if self.process:
            if self.process.poll() is None:
                try:
                    self._send("quit", "")
                    self.process.wait(3)
                except (OSError, AttributeError, subprocess.TimeoutExpired):
                    self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process = None
        if self.control:
            self.control.close()
            self.control = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        return (self.folder / "log").read_text("utf-8", "replace")

    # --- the control channel: netstrings of JSON --------------------------------------------------
    def _read(self, control):
        octets = b""
        while True:
            try:
                more = control.recv(65536)
            except OSError:
                return
            if not more:
                return
            octets += more
            while True:
                head = re.match(rb"(\d+):", octets)
                if not head or len(octets) < head.end() + int(head[1]) + 1:
                    break
                end = head.end() + int(head[1])
                self._take(octets[head.end():end].decode("utf-8", "replace"))
                octets = octets[end + 1:]

    def _take(self, text):
        try:
            said = json.loads(text)
        except ValueError:
            return
        with self.changed:
            if said.get("response"):
                self.replies[said.get("token")] = said
            else:
                self.events.append(said)
            self.changed.notify_all()

    def _send(self, command, params):
        self.token += 1
        text = json.dumps({"command": command, "params": params, "token": str(self.token)}).encode()
        self.control.sendall(b"%d:%s," % (len(text), text))
        return str(self.token)

    def command(self, command, params=""):
        token = self._send(command, params)
        with self.changed:
            if not self.changed.wait_for(lambda: token in self.replies, 5):
                raise RuntimeError("baresip does not answer " + command)
            return self.replies.pop(token).get("data", "")

    # --- what a person does with a phone -----------------------------------------------------------
    def dial(self, uri):
        self.command("dial", uri)

    def answer(self):
        self.command("accept")

    def hang_up(self):
        self.command("hangup")

    def event(self, kind, timeout=8, since=0):
        """The first event of that type after the first `since` events, or None."""
        def found():
            return next((e for e in self.events[since:] if e.get("type") == kind), None)
        with self.changed:
            self.changed.wait_for(found, timeout)
            return found()

    def rings(self, timeout=8, since=0):
        return self.event("CALL_INCOMING", timeout, since) is not None

    def talks(self, timeout=8, since=0):
        return self.event("CALL_ESTABLISHED", timeout, since) is not None

    def is_idle(self, timeout=8, since=0):
        """True when the call ended: by either side, a refusal or a CANCEL."""
        return self.event("CALL_CLOSED", timeout, since) is not None

    def registers(self, timeout=8):
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            lines = [x for x in self.command("reginfo").splitlines() if "@" in x]
            if lines and "OK" in lines[0]:
                return True
            time.sleep(0.05)
        return False

    def forget(self):
        """What was recorded before is not what is heard from now on."""
        for file in self.folder.glob("*.wav"):
            file.unlink()

    def heard(self, hz):
        """The share of the tone in what the last call brought here; only after that call."""
        until = time.monotonic() + 3
        while time.monotonic() < until:
            files = sorted(self.folder.glob("*dec.wav"), key=lambda f: f.stat().st_mtime)
            if files and files[-1].stat().st_size > 8000:
                return tone.heard(files[-1], hz)
            time.sleep(0.05)
        return 0.0
