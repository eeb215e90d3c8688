# SPDX-License-Identifier: MIT
"""How many relayed calls one account may have: phones that ring together are one of them."""
from support import media, sipp

REFUSED = 'tandem_limit_refusals_total{limit="media_quota"}'


def refusals(server):
    return [event for event in server.log_events() if event.get("event") == "media.refused"]


def nothing_left(server):
    return media.wait(lambda: server.metric("tandem_media_sessions") == 0 and server.metric("tandem_calls ") == 0, 5)


def test_a_forked_call_counts_once_and_is_given_back():
    with media.house("media: {mode: always, quota: 1}\n") as (server, alice, bob):
        assert bob.forget_all().status == 200
        ports = [sipp.register(server.port, "bob", sipp.CALLEE) for _ in range(2)]
        each = ["-m", "2", "-recv_timeout", "20000"]
        with sipp.Sipp("callee", server.port, "-nd", *each, ip=sipp.CALLEE, port=ports[0]) as answers, \
                sipp.Sipp("ringing", server.port, "-nd", *each, ip=sipp.CALLEE, port=ports[1]) as rings:
            answers.wait_open()
            rings.wait_open()
            for more in (1, 2):
                answer, made = media.dial(alice)
                assert made is not None, answer
                assert media.wait(lambda: server.metric("tandem_media_sessions") == 1, 5), rings.errors()
                assert server.metric(REFUSED) == more - 1
                second, none = media.dial(alice)
                assert none is None and second.status == 403, second
                assert "as many relayed calls as it may" in second["warning"]
                assert server.metric(REFUSED) == more
                assert made.bye().status == 200
                assert nothing_left(server)
            for phone in (answers, rings):  # both rang, twice and no more
                result = phone.finish(20)
                assert (result["calls"], result["failed"], result["code"]) == (2, 0, 0), (result, phone.errors())
        assert [event["status"] for event in refusals(server)] == [403, 403]


def test_who_gives_up_reads_487_though_one_phone_could_not_ring():
    with media.house("media: {quota: 1}\n") as (server, alice, bob):
        held = []
        for _ in range(2):  # an echo has half of a call's ports
            answer, made = media.dial(alice, "*43")
            assert made is not None, answer
            held.append(made)
        # one phone of bob's speaks ICE, and needs us for who does not; the other is as the caller's
        assert bob.forget_all().status == 200
        ice = ["Contact: <%s>;+sip.ice" % bob.contact(), "Expires: 300"]
        assert bob.ask("REGISTER", "sip:" + media.DOMAIN, ice, to="<%s>" % bob.aor()).status == 200
        port = sipp.register(server.port, "bob", sipp.CALLEE)
        each = ["-m", "1", "-recv_timeout", "20000"]
        with sipp.Sipp("ringing", server.port, "-nd", *each, ip=sipp.CALLEE, port=port) as rings:
            rings.wait_open()
            with sipp.Sipp("impatient", server.port, "-nd", *each, ip=sipp.CALLER) as caller:
                for phone in (caller, rings):
                    result = phone.finish(30)
                    assert (result["calls"], result["failed"], result["code"]) == (1, 0, 0), (result, phone.errors())
        assert server.metric(REFUSED) == 1  # of the one phone
        assert not refusals(server)  # the call was not refused
        assert media.wait(lambda: (487,) in server.records("status"), 5), server.records("status")
        for made in held:
            assert made.bye().status == 200
        assert nothing_left(server)
