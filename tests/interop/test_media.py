# SPDX-License-Identifier: MIT
"""Whoever calls whoever: both hear each other, and nothing was configured for it.

The kinds are phones as they come: sound in the clear, encrypted by keys of the description (optional or demanded), by
DTLS, with ICE, and a browser. Every phone plays a tone of its own; what was heard is looked for in recorded sound.
"""
import contextlib
import threading
import time

import pytest

from support import browser, media, tone
from support.phone import Phone
from support.server import DOMAIN, Server

PASSWORD = "a-long-password"
TALK = 2.5  # seconds of sound
PURE = 0.8  # the share of the tone in what was heard
KINDS = {
    "plain": {"codecs": ("opus/48000/2", "G722/16000/1", "PCMU/8000/1", "PCMA/8000/1")},
    "srtp": {"mediaenc": "srtp"},
    "srtp-mand": {"mediaenc": "srtp-mand"},
    "dtls": {"mediaenc": "dtls_srtp"},
    "ice": {"medianat": "ice"},
    "browser": None,
}
CODECS = {
    "opus": {"codecs": ("opus/48000/2",)},
    "g722": {"codecs": ("G722/16000/1",)},
    "pcmu": {"codecs": ("PCMU/8000/1",)},
    "pcma": {"codecs": ("PCMA/8000/1",)},
}
ANNOUNCED = 620  # Hz, in the file that is played


def uri(user):
    return "sip:%s@%s" % (user, DOMAIN)


@pytest.fixture(scope="module")
def pages():
    with browser.Pages() as served:
        yield served


@pytest.fixture(scope="module")
def house(pages, tmp_path_factory):
    """A server with nothing said of media, and accounts for a caller and a callee of each kind."""
    file = tmp_path_factory.mktemp("sounds") / "closed.wav"
    tone.write(file, ANNOUNCED, 2.5)
    routes = "routes: [{name: closed, when: {user: [closed]}, to: ['play:%s']}]\n" % file
    with Server(routes, doors=("wss",), origins=[pages.origin]) as server:
        server.add_users(["%s-%d" % (kind, n) for kind in [*KINDS, *CODECS] for n in (1, 2)], PASSWORD)
        yield server
        assert server.is_alive(), "the server died: " + server.log()[-4000:]


@contextlib.contextmanager
def phones(server, pages, ip, kinds):
    """{kind: (caller, callee)}, registered, each with a tone of its own."""
    with contextlib.ExitStack() as stack:
        chromium = stack.enter_context(browser.Chromium(pages, server.ca())) if "browser" in kinds else None
        tones = iter(range(300, 1500, 97))

        def phone(kind, number):
            user = "%s-%d" % (kind, number)
            if kind == "browser":
                return chromium.phone(user, PASSWORD, DOMAIN, server.socket("wss", ip), next(tones))
            return Phone(user, PASSWORD, DOMAIN, server.proxy("udp", ip), ip, next(tones), **{**KINDS, **CODECS}[kind])
        made = {kind: tuple(stack.enter_context(phone(kind, n)) for n in (1, 2)) for kind in kinds}
        for pair in made.values():
            for one in pair:
                assert one.registers(), "%s: %s" % (one.user, one.log()[-3000:])
        yield made


def call(caller, callee, to=None):
    """A whole call with sound; "" or what went wrong."""
    since = {phone: len(phone.events) for phone in (caller, callee)}
    logged = {phone: len(phone.log()) for phone in (caller, callee)}
    for phone in (caller, callee):
        phone.forget()
    caller.dial(to or uri(callee.user))
    if not callee.rings(since=since[callee]):
        return "it does not ring"
    callee.answer()
    if not caller.talks(since=since[caller]):
        return "the caller is not answered"
    if not callee.talks(since=since[callee]):
        return "the callee gets no ACK"
    since = {phone: len(phone.events) for phone in (caller, callee)}
    time.sleep(TALK)
    if caller.is_idle(0, since[caller]) or callee.is_idle(0, since[callee]):
        return "it ends by itself"
    caller.hang_up()
    if not (caller.is_idle(since=since[caller]) and callee.is_idle(since=since[callee])):
        return "it does not end"
    wrong = "".join("%s hears a stream that changes its name; " % phone.user for phone in (caller, callee)
                    if "SSRC changed" in phone.log()[logged[phone]:])
    for listener, talker in ((caller, callee), (callee, caller)):
        there, own = listener.heard(talker.hz), listener.heard(listener.hz)
        if there < PURE or own > 0.05:
            wrong += "%s hears %.2f of %s and %.2f of itself; " % (listener.user, there, talker.user, own)
    return wrong


def at_once(what, groups):
    """what(*group) of all of the groups of phones at the same time; {group: what went wrong}."""
    said = {}

    def one(group):
        try:
            said[group] = what(*group)
        except Exception as wrong:  # what a thread raises, nobody sees
            said[group] = repr(wrong)
        if said[group]:
            for phone in group:  # nothing of it may be in the way of the next
                with contextlib.suppress(RuntimeError):
                    phone.hang_up()
    threads = [threading.Thread(target=one, args=(group,)) for group in groups]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ["%s: %s\n%s" % (" calls ".join(p.user for p in group), text,
                            "\n----\n".join(p.log()[-1500:] for p in group))
            for group, text in said.items() if text]


def each_with_each(made):
    """Rounds in which every phone has one call, until every caller had every callee."""
    kinds, wrong = list(made), []
    for shift in range(len(kinds)):
        turned = kinds[shift:] + kinds[:shift]
        pairs = [(made[a][0], made[b][1]) for a, b in zip(kinds, turned)]
        wrong += at_once(call, pairs)
    return wrong


@pytest.mark.parametrize("ip, kinds", [("127.0.0.1", tuple(KINDS)),
                                       ("::1", ("plain", "srtp", "srtp-mand", "dtls", "browser"))])
def test_each_kind_hears_each(house, pages, ip, kinds):
    with phones(house, pages, ip, kinds) as made:
        wrong = each_with_each(made)
    assert not wrong, "\n".join(wrong)


def test_a_browser_restarts_its_ice(house, pages):
    with phones(house, pages, "127.0.0.1", ("browser", "plain")) as made:
        for tab, other, caller in ((made["browser"][0], made["plain"][1], True),
                                   (made["browser"][1], made["plain"][0], False)):
            a, b = (tab, other) if caller else (other, tab)
            since = len(a.events)
            a.dial(uri(b.user))
            assert b.rings()
            b.answer()
            assert a.talks(since=since) and tab.wait(lambda: tab.ice()[2] in ("connected", "completed"), 5)
            before = tab.ice()
            tab.forget()  # the other's middle second is one after it
            after = tab.restart_ice()
            assert after[0] != before[0] and after[1] != before[1], (before, after)
            assert tab.wait(lambda: tab.ice()[2] in ("connected", "completed"), 5), tab.ice()
            time.sleep(TALK)
            a.hang_up()
            assert b.is_idle()
            assert tab.heard(other.hz) > PURE and other.heard(tab.hz) > PURE


def test_who_has_no_codec_in_common_hears_each_other(house, pages):
    with phones(house, pages, "127.0.0.1", CODECS) as made:
        wrong = at_once(call, [(made[a][0], made[b][1]) for a, b in (("opus", "pcmu"), ("g722", "opus"),
                                                                    ("pcma", "g722"), ("pcmu", "pcma"))])
    assert not wrong, "\n".join(wrong)


def listen(phone, to, hz):
    """A call to a sound of the server's; "" or what went wrong. hz None: the call is ours to end."""
    since = len(phone.events)
    phone.forget()
    phone.dial("sip:%s@%s" % (to, DOMAIN))
    if not phone.talks(since=since):
        return "nobody answers"
    if not hz:
        time.sleep(TALK)
        phone.hang_up()
    if not phone.is_idle(since=since):
        return "it does not end"
    share = phone.heard(hz or phone.hz)
    return "" if share > PURE else "%.2f of the tone" % share


def test_an_echo_and_a_file_are_heard(house, pages):
    with phones(house, pages, "127.0.0.1", KINDS) as made:
        ones = [(pair[0],) for pair in made.values()]
        wrong = at_once(lambda phone: listen(phone, "*43", None), ones)
        wrong += at_once(lambda phone: listen(phone, "closed", ANNOUNCED), ones)
    assert not wrong, "\n".join(wrong)
    assert house.metric("tandem_media_sessions") == 0


# --- what is refused, and says why -------------------------------------------------------------------

@pytest.mark.parametrize("mode", ["auto", "always"])
def test_where_encryption_is_demanded_plain_sound_is_refused(mode):
    with media.house("media: {srtp: require, mode: %s}\n" % mode) as (server, alice, bob):
        answer, _ = media.call(alice, bob)
        assert answer.status == 488, answer
        assert answer["warning"].startswith("399 ") and "SRTP is required" in answer["warning"], answer.octets
        assert server.metric("tandem_media_sessions") == 0


def test_where_nothing_is_transcoded_no_codec_in_common_is_refused():
    with media.house("media: {transcode: never, mode: always}\n") as (server, alice, _):
        server.add_user("carol", PASSWORD)
        with Phone("carol", PASSWORD, DOMAIN, server.proxy("udp"), **CODECS["opus"]) as carol:
            assert carol.registers()
            answer, made = media.dial(alice, "carol")
            assert made is None and answer.status == 488, answer
            assert server.metric("tandem_media_sessions") == 0
