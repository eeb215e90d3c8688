# SPDX-License-Identifier: MIT
"""The sample configurations of packaging/samples: each passes the check without a finding, starts as
it is written on a bare machine, and has the accounts that it names."""
import json
import os
import shutil
import subprocess

import pytest

from support.server import ROOT, TANDEM, Server

SAMPLES = sorted((ROOT / "packaging/samples").glob("*.yaml"))


class SampleServer(Server):
    """Serves a copy of the sample in a folder of its own, at a free port of the loopback."""

    def __init__(self, sample):
        self.sample = sample
        super().__init__()

    def configure(self, more=""):
        self.file.write_text(self.sample.read_text("utf-8"))

    def spawn(self, *arguments):
        settings = {"listen": "udp:127.0.0.1:%d" % self.port, "data": self.folder / "data",
                    "control.socket": self.folder / "control.sock", "control.http": "never"}
        for key, value in settings.items():
            arguments += ("--set", "%s=%s" % (key, value))
        super().spawn(*arguments)


def test_there_are_samples():
    assert {s.stem for s in SAMPLES} == {"laptop", "office"}


@pytest.mark.parametrize("sample", SAMPLES, ids=[s.stem for s in SAMPLES])
def test_check_finds_nothing(sample):
    done = subprocess.run([TANDEM, "check", "--strict", "--json", sample], capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert (done.returncode, report["problems"]) == (0, []), done.stdout + done.stderr


# A machine of its own: nothing in /run and /var/lib, no network but the loopback.
BARE = """
mount -t tmpfs none /run && mount -t tmpfs none /var/lib && ip link set lo up || exit 77
"$1" serve --config "$2" 2>log & server=$!
until grep -q '"event":"ready"' log; do kill -0 $server 2>/dev/null || { cat log; exit 1; }; done
"$1" user list --json --config "$2"; code=$?
kill $server; wait $server || { cat log; exit 1; }
exit $code
"""


def check_accounts(sample, listed):
    accounts = {a["user"]: (a["origin"], a["numbers"]) for a in json.loads(listed)}
    expected = {"laptop": {"alice": ("file", ["101"]), "bob": ("file", ["102"])},
                "office": {"lobby": ("file", ["190", "+41445550190"])}}
    assert accounts == expected[sample.stem]


AWAY = ["unshare", "--mount", "--net"] + ([] if os.geteuid() == 0 else ["--map-root-user"])


def has_namespaces():
    """A place of our own can be made here, with /run and /var/lib empty. Not so in a bare chroot."""
    return shutil.which("unshare") is not None and subprocess.run(
        AWAY + ["mount", "-t", "tmpfs", "none", "/run"], capture_output=True).returncode == 0


if has_namespaces():
    @pytest.mark.parametrize("sample", SAMPLES, ids=[s.stem for s in SAMPLES])
    def test_it_starts_as_it_is_written(sample, tmp_path):
        done = subprocess.run(AWAY + ["sh", "-c", BARE, "sh", TANDEM, sample], cwd=tmp_path,
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        check_accounts(sample, done.stdout)


@pytest.mark.parametrize("sample", SAMPLES, ids=[s.stem for s in SAMPLES])
def test_it_starts_elsewhere_too(sample):
    with SampleServer(sample) as server:
        done = subprocess.run([TANDEM, "user", "list", "--json", "--socket", server.folder / "control.sock"],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        check_accounts(sample, done.stdout)
