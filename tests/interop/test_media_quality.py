# SPDX-License-Identifier: MIT
"""What Tandem says of a call's sound is what happened to it: a wire loses and delays, and knows what it did.

Real phones, one of them behind the wire, plain and encrypted at the same time: calm, then a twentieth of the packets lost
and delays of 40 ms plus or minus 40, then calm again.
"""
import contextlib
import json
import re
import sqlite3
import time
import urllib.parse

import pytest

from support import badwire, turn
from support.media import wait
from support.phone import Phone
from support.server import DOMAIN, Server

PASSWORD = "a-long-password"
LOSS, JITTER = 0.05, 0.040
KINDS = {"plain": {}, "sdes": {"mediaenc": "srtp-mand"}}
HZ = 8000  # the clock of what the phones speak
CALM = 7
INTERVAL = 5
NEAR = 0.10  # how close figures have to be


def quality(server):
    """{kind: its call's figures} of `tandem calls --json`."""
    return {call["from"].split(":")[1].split("-")[0]: call["quality"] for call in server.json("calls")}


def get(server, path):
    """(status, JSON) of the control API."""
    with contextlib.closing(turn.Unix(server.folder / "data/control.sock")) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def records(server, n):
    """{kind: (the record's media, who ended the call)} once n of them are written."""
    def rows():
        with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % (server.folder / "data/tandem.db"), uri=True)) as db:
            return db.execute("SELECT from_uri, media, ended_by FROM record").fetchall()
    assert wait(lambda: len(rows()) >= n, 5), "no records"
    return {row[0].split(":")[1].split("-")[0]: (json.loads(row[1]), row[2]) for row in rows()}


def close(told, real, slack=0.0):
    return abs(told - real) <= NEAR * real + slack


def mos_after(server, way, seconds, intervals=1):
    """{kind: MOS of the last intervals of the way that this side hears, their mean}, after so long."""
    told = []
    time.sleep(seconds - (intervals - 1) * INTERVAL)
    for i in range(intervals):
        time.sleep(INTERVAL if i else 0)
        told.append({kind: q["lines"][0][way]["interval"]["mos"] for kind, q in quality(server).items()})
    return {kind: sum(one[kind] for one in told) / intervals for kind in KINDS}


@contextlib.contextmanager
def world():
    with badwire.lab() as wire, wire.inside("srv"):
        with Server("media: {mode: always}\n", addresses=[badwire.SERVER, badwire.OTHER]) as server:
            server.add_users(["%s-%s" % (kind, end) for kind in KINDS for end in ("near", "far")], PASSWORD)
            with contextlib.ExitStack() as stack:
                yield wire, server, {kind: pair(stack, wire, server, kind) for kind in KINDS}


def pair(stack, wire, server, kind):
    """(near, far): two phones of a kind, registered."""
    made = []
    for end, own, ours in (("near", badwire.NEAR, badwire.SERVER), ("far", badwire.FAR, badwire.OTHER)):
        with wire.inside(end):
            phone = Phone("%s-%s" % (kind, end), PASSWORD, DOMAIN, server.proxy("udp", ours), own, **KINDS[kind])
            stack.callback(phone.stop)
            phone.start()
        assert phone.registers(), phone.log()[-2000:]
        made.append(phone)
    return made


def begin(near, far):
    near.dial("sip:%s@%s" % (far.user, DOMAIN))
    assert far.rings(), near.log()[-2000:]
    far.answer()
    assert near.talks() and far.talks(), near.log()[-2000:]


def port_of(figures):
    """Of the near phone's sound, as the server knows it."""
    return int(figures["lines"][0]["callee"]["address"].rsplit(":", 1)[1])


def wrong_with(kind, figures, wire, port, over=None):
    """Where the figures of a call do not say what the wire did to the source of the near phone that has this port, and to the
    one that it hears; []: nowhere. What a figure is of are the source's first packets, as many as it says. over: when it was
    hung up; the report that says so comes before or behind the end."""
    wrong, line = [], figures["lines"][0]

    def judge(what, told, notes, slack, *jitters):
        lost = badwire.lost(notes)
        if not close(told["lost"], lost, slack) or (jitters and not any(close(told["jitter"], j) for j in jitters)):
            wrong.append("%s: %s %s; the wire lost %d, jitter %s" % (kind, what, told, lost, jitters))
    # from the near phone to us, counted here
    here = line["callee"]["received"]
    notes = wire.told(0, port)[:here["packets"] + here["lost"]]
    judge("received", here, notes, 1, badwire.jitter(notes, HZ)[0])
    # from us to the near phone, as it says
    told = line["caller"]
    notes = wire.told(1, port)[:told["packets"]]
    reports = wire.reports(port + 1)
    judge("the caller is told", told, notes, 2, badwire.reported_jitter(notes, HZ, reports),
          badwire.reported_jitter(notes, HZ, [at for at in reports if at <= (over or at)]))
    # through us to the far phone, as it says: nothing else is lost
    far = line["callee"]
    judge("the callee is told", far, wire.told(0, port)[:far["packets"]], 2)
    if not (told["reported"] and far["reported"]):
        wrong.append("%s: a phone reports nothing: %s" % (kind, line))
    return wrong


def test_figures_are_what_the_wire_did(heavy):
    with world() as (wire, server, phones):
        for near, far in phones.values():
            begin(near, far)
        calm = mos_after(server, "callee", CALM)
        wire.set(LOSS, JITTER)
        # of 250 packets a twentieth are 5 to 20: of four times as many, hardly so few that it is not heard
        bad = mos_after(server, "callee", 60 if heavy else 24, 4)
        during = server.metric("tandem_media_lost_packets_total")
        wire.set()
        again = mos_after(server, "callee", 2 * CALM)
        figures, wrong = quality(server), []
        shown = re.findall(r"  relay  MOS caller [1-4]\.\d, callee [1-4]\.\d$", server.run("calls"), re.M)
        assert len(shown) == len(KINDS), shown
        for kind in KINDS:
            if not (calm[kind] > 4.2 and bad[kind] < calm[kind] - 0.3 and again[kind] > calm[kind] - 0.1):
                wrong.append("%s: MOS %.2f, %.2f on a bad wire, then %.2f" % (kind, calm[kind], bad[kind], again[kind]))
            wrong += wrong_with(kind, figures[kind], wire, port_of(figures[kind]))
            assert figures[kind]["callee"]["worst_mos"] < 4.0
        over = time.monotonic()
        for near, far in phones.values():
            near.hang_up()
            assert near.is_idle() and far.is_idle()
        kept, all_lost = records(server, len(KINDS)), badwire.lost(wire.told(0))
        for kind, (media, ended_by) in kept.items():
            wrong += wrong_with(kind + ", the record", media, wire, port_of(figures[kind]), over)
            assert ended_by == "caller" and media["media"] == "relay" and media["why"], media
            assert media["lines"][0]["callee"]["received"]["keys"] == {"plain": "plain", "sdes": "sdes"}[kind]
        counted = server.metric("tandem_media_lost_packets_total")
        if not (0 < during and close(counted, all_lost, 2)):
            wrong.append("the counter says %d, then %d; the wire lost %d" % (during, counted, all_lost))
        assert server.metric("tandem_call_mos_count") == 2 * len(KINDS)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("mode, says", [("never", "media.mode is never"), ("auto", "direct: ")])
def test_what_is_not_ours_is_not_told(mode, says):
    """A call whose sound goes directly has a record that says so, and no figures."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server("media: {mode: %s}\n" % mode))
        server.add_users(["plain-near", "plain-far"], PASSWORD)
        near, far = (stack.enter_context(Phone("plain-" + end, PASSWORD, DOMAIN, server.proxy("udp")))
                     for end in ("near", "far"))
        assert near.registers() and far.registers()
        begin(near, far)
        said, row = quality(server)["plain"], server.json("calls")[0]
        assert get(server, "/api/v1/calls/" + urllib.parse.quote(row["call_id"], safe="")) == (200, row)
        assert get(server, "/api/v1/calls/" + row["call_id"] + "x")[0] == 404
        far.hang_up()
        assert near.is_idle()
        media, ended_by = records(server, 1)["plain"]
    assert said == media and media["media"] == "direct" and media["why"][0].startswith(says), media
    assert "lines" not in media and ended_by == "callee"
