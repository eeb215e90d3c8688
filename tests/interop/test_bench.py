# SPDX-License-Identifier: MIT
"""What measures: the gate of instructions says no when it must, and the load generator tells the truth."""
import importlib.machinery
import importlib.util
import json
import subprocess

import pytest

from support.server import ROOT, TANDEM, Server, free_port

LOAD = TANDEM.parent / "bench/load/load"
OURS = ("fl=(1) /x/src/sip/txn/txn.c\nfn=(1) txn_new\n12 30\ncfn=(2) malloc\ncalls=7 0\n13 70\n"
        "cfn=(3) 0x00a74f0\ncalls=2 0\n13 20\n")
STUB = "fl=(2) ???\nfn=(3)\n0 4\ncfn=(2)\ncalls=5 0\n0 16\n"
RECORDED = "ob=(2) /usr/lib/libsqlite3.so.0\nfl=(4) ???\nfn=(5) sqlite3Malloc\n0 4\ncfn=(2)\ncalls=9 0\n0 16\n"
SIMULATED = "fl=(3) /x/src/net/sim/sim.c\nfn=(4) sim_send\n12 30\ncfn=(2)\ncalls=100 0\n13 70\ncfn=(3)\ncalls=3 0\n1 2\n"


def gate():
    path = str(ROOT / "bench/instructions/run")
    loader = importlib.machinery.SourceFileLoader("instructions", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("instructions", loader))
    loader.exec_module(module)
    return module


def test_gate_refuses_more():
    judge = gate().judge
    assert judge("call", (1049, 2.0), (1000, 2.0))[1] is False
    assert judge("call", (1051, 2.0), (1000, 2.0))[1] is True
    assert judge("call", (1000, 2.1), (1000, 2.0))[1] is True
    assert judge("call", (1000, 2.0), None)[1] is True
    words, failed = judge("call", (900, 2.0), (1000, 2.0))
    assert "--update" in words and not failed


def test_gate_counts_the_servers_allocations(tmp_path):
    """Through the linker's stub too, and not those of the simulation, nor those of the helper threads."""
    out = tmp_path / "callgrind.out"
    out.write_text(OURS + STUB + RECORDED + SIMULATED)
    assert list(gate().allocations(out)) == [("txn_new", 7), ("txn_new", 2)]


def test_gate_knows_whose_instructions(tmp_path):
    """What a called function costs is not its caller's; functions of other files may be inlined."""
    out = tmp_path / "callgrind.out"
    out.write_text("ob=(1) /usr/lib/libx.so.3\nfl=(1) ???\nfn=(1) f\n0 5\nob=(2) /b/tandem\n" + OURS.replace("(1)", "(2)") +
                   "fi=(3) /x/src/base/str/buf.h\n+1 8\nfe=(2)\n* 1\n")
    assert dict(gate().costs(out)) == {"libx": 5, "sip/txn": 31, "base/str": 8}


def load(port, callee, kind, *arguments):
    run = subprocess.run([LOAD, kind, "--server", "127.0.0.1:%d" % port, "--users", "20", "--callee",
                          "127.0.0.3:%d" % callee, "--rate", "100", "--count", "20", *arguments],
                         capture_output=True, text=True, input="\n", timeout=60)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture(name="server")
def one_server():
    with Server("security: {trusted: [127.0.0.0/8]}\n", doors=("tls",)) as server:
        server.add_users(["u%06d" % n for n in range(20)])
        yield server


def test_load_reports_failures(server):
    told = load(server.port, free_port(["127.0.0.3"]), "call")
    assert (told["good"], told["failed"]) == (0, 20), told
    assert told["why"] == "SIP/2.0 480 Temporarily Unavailable"


@pytest.mark.parametrize("kind", ["options", "register", "message", "call"])
def test_load_succeeds(server, kind):
    how = () if kind == "register" else ("--prepare", "5")
    told = load(server.port, free_port(["127.0.0.3"]), kind, *how)
    assert (told["good"], told["failed"], told["resent"]) == (20, 0, 0), told["why"]
    assert 0 < told["p50"] <= told["p99"]


@pytest.mark.parametrize("transport, more", [("tcp", ()), ("tcp", ["--fresh"]), ("tls", ()), ("tls", ["--fresh"])])
def test_load_succeeds_on_connections(server, transport, more):
    told = load(server.ports[transport], free_port(["127.0.0.3"]), "call", "--prepare", "5", "--transport",
                transport, *more)
    assert (told["good"], told["failed"], told["resent"]) == (20, 0, 0), told["why"]
