# SPDX-License-Identifier: MIT
"""Phones in a browser: Chromium without a screen, JsSIP over WebSocket, driven from here.

with Chromium(ca=server.folder / "data/ca.pem") as browser:
    with browser.phone("alice", "secret", "example.test", "wss://127.0.0.1:5443") as alice: ...

JsSIP comes from npm (tests/browser/package-lock.json) into build/browser, once, and is made into one
script there. The browser is spoken to over two pipes (--remote-debugging-pipe: JSON, ended by NUL). It trusts no
certificate but those that end in `ca`; nothing is switched off for that.

What Chromium needs to behave here:
- the page comes over HTTP from 127.0.0.1: a file is no secure context, and has no Origin to show
- loopback addresses are no ICE candidates without --allow-loopback-in-peer-connection
- pages that nobody looks at are slowed down, unless it is told not to
"""
import contextlib
import fcntl
import functools
import hashlib
import http.server
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time

from . import tone

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tests/browser"
MADE = ROOT / "build/browser"
OPTIONS = """\
--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --no-default-browser-check
--disable-background-networking --disable-component-update --disable-sync --disable-extensions
--disable-breakpad --password-store=basic --mute-audio --remote-debugging-pipe
--disable-renderer-backgrounding --disable-background-timer-throttling
--disable-backgrounding-occluded-windows --autoplay-policy=no-user-gesture-required
--allow-loopback-in-peer-connection
--disable-features=WebRtcHideLocalIpsWithMdns,OptimizationHints,MediaRouter,Translate
""".split()


def command(*arguments, cwd=None, timeout=180, env=None):
    ended = subprocess.run([str(a) for a in arguments], cwd=cwd, timeout=timeout, capture_output=True,
                           text=True, stdin=subprocess.DEVNULL, env=env)
    if ended.returncode:
        raise RuntimeError("%s: exit %d\n%s%s" % (" ".join(map(str, arguments)), ended.returncode,
                                                  ended.stdout[-2000:], ended.stderr[-2000:]))
    return ended.stdout


@functools.cache
def bundle():
    """The folder with the page and its one script, made when something of it changed."""
    MADE.mkdir(parents=True, exist_ok=True)
    with open(MADE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        parts = [SOURCE / name for name in ("package.json", "package-lock.json", "phone.js", "page.html")]
        key = hashlib.sha256(b"".join(p.read_bytes() for p in parts)).hexdigest()
        done = MADE / "done"
        if not done.exists() or done.read_text() != key:
            for part in parts:
                shutil.copy(part, MADE / part.name)
            # No package's own scripts are run: what is needed of esbuild works without.
            command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=MADE)
            command("node_modules/.bin/esbuild", "phone.js", "--bundle", "--format=iife",
                    "--define:global=window", "--outfile=www/phone.js", cwd=MADE)
            shutil.copy(SOURCE / "page.html", MADE / "www/index.html")
            done.write_text(key)
    return MADE / "www"


class Pages(http.server.ThreadingHTTPServer):
    """Serves the page on 127.0.0.1; .origin is what a browser says where it comes from."""
    daemon_threads = True

    def __init__(self):
        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_):
                pass
        super().__init__(("127.0.0.1", 0), functools.partial(Quiet, directory=bundle()))
        self.origin = "http://127.0.0.1:%d" % self.server_port
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Chromium:
    """One browser with a profile of its own. pages: whose page its phones are; ca: a file in PEM."""

    def __init__(self, pages, ca=None):
        self.pages, self.ca = pages, ca
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="chromium-"))
        self.process = self.to = None
        self.ids = itertools.count(1)
        self.replies, self.sessions, self.changed = {}, {}, threading.Condition()

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
        if self.ca:
            store = self.folder / ".pki/nssdb"  # where Chromium looks for the user's authorities
            store.mkdir(parents=True)
            command("certutil", "-d", "sql:%s" % store, "-N", "--empty-password")
            command("certutil", "-d", "sql:%s" % store, "-A", "-n", "tandem", "-t", "C,,", "-i", self.ca)
        its_in, self.to = os.pipe()
        fro, its_out = os.pipe()

        def place():  # the browser reads descriptor 3 and writes 4
            spare_in, spare_out = os.dup(its_in), os.dup(its_out)
            os.dup2(spare_in, 3)
            os.dup2(spare_out, 4)
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["chromium", *OPTIONS, "--user-data-dir=%s" % (self.folder / "profile"), "about:blank"],
                env={**os.environ, "HOME": str(self.folder)}, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, preexec_fn=place, pass_fds=(3, 4), start_new_session=True)
        os.close(its_in)
        os.close(its_out)
        threading.Thread(target=self._read, args=(fro,), daemon=True).start()
        self.ask("Browser.getVersion", timeout=20)

    def stop(self):
        if self.process:
            try:
                self.ask("Browser.close", timeout=3)
                self.process.wait(5)
            except (OSError, RuntimeError, subprocess.TimeoutExpired):
                self.process.kill()
            self.process.wait()
            self.process = None
        if self.to is not None:
            os.close(self.to)
            self.to = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        return (self.folder / "log").read_text("utf-8", "replace")

    # --- the protocol of the developers' tools ------------------------------------------------------
    def _read(self, fro):
        octets = b""
        while True:
            more = os.read(fro, 65536)
            if not more:
                os.close(fro)
                return
            octets += more
            *whole, octets = octets.split(b"\0")
            for text in whole:
                said = json.loads(text)
                with self.changed:
                    if "id" in said:
                        self.replies[said["id"]] = said
                    elif said.get("sessionId") in self.sessions:
                        self.sessions[said["sessionId"]](said)
                    self.changed.notify_all()

    def ask(self, method, params=None, session=None, timeout=10):
        number = next(self.ids)
        message = {"id": number, "method": method, "params": params or {}}
        if session:
            message["sessionId"] = session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        with self.changed:
            if not self.changed.wait_for(lambda: number in self.replies, timeout):
                raise RuntimeError("Chromium does not answer %s: %s" % (method, self.log()[-2000:]))
            reply = self.replies.pop(number)
        if "error" in reply:
            raise RuntimeError("%s: %s" % (method, reply["error"]))
        return reply["result"]

    def phone(self, user, password, domain, socket, hz=440, servers=()):
        return BrowserPhone(self, user, password, domain, socket, hz, servers)


class BrowserPhone:
    """A page with a phone; its events are named as those of support.phone.Phone, and so are its verbs.
    servers: what JavaScript calls iceServers."""

    def __init__(self, browser, user, password, domain, socket, hz=440, servers=()):
        self.browser, self.user, self.password, self.servers = browser, user, password, list(servers)
        self.domain, self.socket, self.hz = domain, socket, hz
        self.events, self.console, self.changed = [], [], browser.changed
        self.target = self.session = None

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
        self.target = self.browser.ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        self.session = self.browser.ask("Target.attachToTarget", {
            "targetId": self.target, "flatten": True})["sessionId"]
        self.browser.sessions[self.session] = self._take
        for method in ("Page.enable", "Runtime.enable", "Log.enable"):
            self.ask(method)
        self.ask("Runtime.addBinding", {"name": "tell"})
        self.ask("Page.navigate", {"url": self.browser.pages.origin + "/"})
        until = time.monotonic() + 10
        while not self.evaluate("Boolean(window.phone)"):
            assert time.monotonic() < until, "the page does not load: " + self.log()
            time.sleep(0.02)
        self.evaluate("phone.start(%s)" % json.dumps({
            "socket": self.socket, "user": self.user, "password": self.password, "domain": self.domain,
            "hz": self.hz, "servers": self.servers}))

    def stop(self):
        if self.target:
            try:
                if self.registers(0):
                    self.evaluate("phone.stop()")
                    self.wait(lambda: not self.evaluate("phone.isRegistered()"), 3)
                self.browser.ask("Target.closeTarget", {"targetId": self.target})
            except (OSError, RuntimeError):
                pass  # the browser is gone already
            self.target = None

    def ask(self, method, params=None):
        return self.browser.ask(method, params, self.session)

    def evaluate(self, expression):
        result = self.ask("Runtime.evaluate", {"expression": expression, "awaitPromise": True,
                                               "returnByValue": True})
        if "exceptionDetails" in result:
            raise RuntimeError("%s: %s" % (expression, json.dumps(result["exceptionDetails"])[:2000]))
        return result["result"].get("value")

    def _take(self, said):
        """Called with the lock held."""
        if said["method"] == "Runtime.bindingCalled":
            self.events.append(json.loads(said["params"]["payload"]))
        elif said["method"] in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            self.console.append(json.dumps(said["params"])[:500])

    def log(self):
        came = []
        if self.target:
            with contextlib.suppress(OSError, RuntimeError):
                came = self.evaluate("phone.came()")
        return "\n".join([*map(str, self.events), *self.console, *came])

    def wait(self, condition, timeout):
        until = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True

    # --- what a person does with a phone -----------------------------------------------------------
    def dial(self, uri):
        self.evaluate("phone.dial(%s)" % json.dumps(uri))

    def answer(self):
        self.evaluate("phone.answer()")

    def hang_up(self):
        self.evaluate("phone.hangUp()")

    def restart_ice(self):
        """Our credentials, the server's, and the state of the way, after both have changed."""
        since = len(self.events)
        self.evaluate("phone.restart()")
        assert self.event("RESTARTED", since=since), self.log()
        return self.ice()

    def ice(self):
        return self.evaluate("phone.ice()")

    def event(self, kind, timeout=8, since=0):
        def found():
            return next((e for e in self.events[since:] if e["type"] == kind), None)
        with self.changed:
            self.changed.wait_for(found, timeout)
            return found()

    def rings(self, timeout=8, since=0):
        return self.event("CALL_INCOMING", timeout, since) is not None

    def talks(self, timeout=8, since=0):
        return self.event("CALL_ESTABLISHED", timeout, since) is not None

    def is_idle(self, timeout=8, since=0):
        return self.event("CALL_CLOSED", timeout, since) is not None

    def forget(self):
        self.evaluate("phone.forget()")

    def heard(self, hz):
        """The share of the tone in what the last call brought here; only after that call."""
        recorded = self.evaluate("phone.recorded()")
        return tone.best_half_second([v / 32768 for v in recorded["values"]], recorded["rate"], hz)

    def registers(self, timeout=8):
        return self.wait(lambda: self.evaluate("phone.isRegistered()"), timeout)
