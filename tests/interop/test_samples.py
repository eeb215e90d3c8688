# SPDX-License-Identifier: MIT
"""The sample configurations of packaging/samples: each passes the check without a finding, starts
as it is but for ports and folders, and has the accounts that it names."""
import json
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


@pytest.mark.parametrize("sample", SAMPLES, ids=[s.stem for s in SAMPLES])
def test_it_starts(sample):
    with SampleServer(sample) as server:
        done = subprocess.run([TANDEM, "user", "list", "--json", "--socket", server.folder / "control.sock"],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        accounts = {a["user"]: (a["origin"], a["numbers"]) for a in json.loads(done.stdout)}
    expected = {"laptop": {"alice": ("file", ["101"]), "bob": ("file", ["102"])},
                "office": {"lobby": ("file", ["190", "+41445550190"])}}
    assert accounts == expected[sample.stem]
