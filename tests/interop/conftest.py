# SPDX-License-Identifier: MIT
import os
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import server as servers  # noqa: E402

USERS = ("alice", "bob", "carol")
PASSWORD = "a-long-password"


@pytest.fixture(scope="session")
def heavy():
    """True in ./dev heavy: full length instead of a sample."""
    return bool(os.environ.get("TANDEM_HEAVY"))


@pytest.fixture(scope="module")
def server():
    """A running server with the accounts alice (101), bob (102) and carol (103)."""
    with servers.Server() as running:
        for number, user in enumerate(USERS, 101):
            running.add_user(user, PASSWORD, "--number", str(number))
        yield running
        assert running.is_alive(), "the server died: " + running.log()[-4000:]


@pytest.fixture(autouse=True)
def deadline(heavy):
    """A test that hangs is a failure of that test, not of the run."""
    def late(*_):
        raise TimeoutError("the test took too long")
    signal.signal(signal.SIGALRM, late)
    signal.alarm(900 if heavy else 90)
    yield
    signal.alarm(0)
