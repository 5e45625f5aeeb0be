"""The WebSocket feeder with each of the three server generations."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from otpsvc.errors import BrokerRefused
from otpsvc.feeders.wsbroker import WsBrokerFeeder
from otpsvc.feeders.wsbroker_frame import is_noise, probe
from otpsvc.feeders.wsbroker_line import Line
from tests.channels import Authority
from tests.far_ends.ws_broker import Dialect, WsBroker
from tests.feeders.lent import FakeLent
from tests.feeders.ws_rig import command, config, consuming, feeder, patient, session, wrapped
from tests.waiting import until

DIALECTS: list[Dialect] = ["2020", "php", "java"]


@pytest.fixture(params=DIALECTS)
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[WsBroker]:
    async with WsBroker(request.param) as server:
        yield server


async def test_commands_arrive_in_order_as_they_were_sent(broker: WsBroker) -> None:
    lent = FakeLent()
    sent = [wrapped(broker, command(number)) for number in range(50)]

    async with consuming(broker, lent):
        await broker.publish("sms", *sent)
        await until(lambda: len(lent.intake.frames) == 50)

    assert lent.intake.bodies == [one.encode() for one in sent]
    assert all(frame.shared and not frame.again and not frame.id for frame in lent.intake.frames)
    assert lent.tally.ups == 1
    assert lent.tally.losses == []


async def test_the_handshake_says_who_we_are_and_what_we_want(broker: WsBroker) -> None:
    async with consuming(broker, FakeLent(), place="a b&c"):
        [client] = broker.clients
        header = client.header

    assert client.path.endswith("=a%20b%26c&keep=a%20b")
    assert "Authorization: Basic Z2F0ZTpww6Rzc3dvcmQ6d2l0aC1jb2xvbg==," in header
    assert header.endswith("User-Agent: otpsvc")
    assert "Sec-WebSocket-Extensions" not in header


@pytest.mark.parametrize("dialect", ["2020", "php"])
async def test_binary_frames_are_read_as_text_is(dialect: Dialect) -> None:
    lent = FakeLent()
    async with WsBroker(dialect) as broker, consuming(broker, lent):
        await broker.publish("sms", wrapped(broker, command(1)).encode(), wrapped(broker, command(2)))
        await until(lambda: len(lent.intake.frames) == 2)

        assert lent.intake.bodies == [wrapped(broker, command(number)).encode() for number in (1, 2)]


async def test_a_2020_server_is_asked_for_the_channel_of_the_url() -> None:
    async with WsBroker("2020") as broker, consuming(broker, FakeLent(), place="otp"):
        [client] = broker.clients

        assert json.loads(client.said[0]) == {"command": "receive-message", "channel": "otp", "data": []}


async def test_a_2020_server_is_asked_for_sms_by_a_url_without_a_channel() -> None:
    lent = FakeLent()
    async with WsBroker("2020") as broker, session(WsBrokerFeeder("ws", config(broker.url), lent.lent)):
        await until(lambda: broker.receiving)

        assert broker.receiving[0].place == "sms"


async def test_what_a_2020_server_kept_is_fetched() -> None:
    lent = FakeLent()
    async with WsBroker("2020") as broker:
        await broker.publish("sms", wrapped(broker, command(1), command(2)))
        await until(lambda: len(broker.kept) == 2)
        async with consuming(broker, lent):
            await until(lambda: lent.intake.frames)

    said = json.loads(lent.intake.bodies[0])
    assert [row["data"]["id"] for row in said["data"]] == ["1", "2"]


async def test_a_greeting_that_comes_late_counts() -> None:
    lent = FakeLent()
    async with WsBroker("2020") as broker:
        broker.misdeed = "greets_late"
        async with session(feeder(broker, lent)):
            await until(lambda: lent.tally.ups)
            broker.misdeed = ""
            await until(lambda: broker.receiving)
            await broker.publish("sms", wrapped(broker, command(1)))
            await until(lambda: lent.intake.frames)

    assert lent.tally.ups == 1


async def test_a_rejecting_greeting_is_a_refusal() -> None:
    lent = FakeLent()
    async with WsBroker("2020") as broker:
        async with patient(broker, lent, password="wrong") as made:
            with pytest.raises(BrokerRefused, match="rejected the login"):
                await made.session()
        await until(lambda: not broker.clients)

    assert broker.connects == 1
    assert lent.tally.ups == 0


@pytest.mark.parametrize("dialect", ["php", "java"])
async def test_a_server_that_closes_the_line_on_a_wrong_login_is_not_hammered(dialect: Dialect) -> None:
    lent = FakeLent()
    async with WsBroker(dialect) as broker, patient(broker, lent, password="wrong") as made:
        with pytest.raises(BrokerRefused, match="refused the login"):
            await made.session()

    assert broker.connects == 1
    assert lent.tally.ups == 0


async def test_a_publisher_cannot_end_the_line_with_a_rejection() -> None:
    """Only the first frame greets: everybody may publish at a broker of 2021."""
    lent = FakeLent()
    async with WsBroker("java") as broker, consuming(broker, lent):
        await broker.publish("sms", command(1), '{"command":"connect","response_code":"01"}', command(2))
        await until(lambda: len(lent.intake.frames) == 2)

        assert lent.intake.bodies == [command(1).encode(), command(2).encode()]
        assert broker.connects == 2


async def test_frames_that_say_nothing_are_not_handed_on(broker: WsBroker) -> None:
    lent = FakeLent()
    frames = [
        '{"command": "ping"}',
        "",
        probe().decode(),
        '{"command":"receive-message","channel":"sms","data":[]}',
        '{"command":"connect","response_code":"00","data":[{"time_stamp":"2026"}]}',
        '{"command":"send-sms","response_code":"0000","data":{"modemID":"1"}}',
        '{"command":"send-message","channel":"sms","data":[{"command":"echo","response_code":"0000"}]}',
    ]
    async with consuming(broker, lent):
        [client] = broker.clients
        for frame in [*frames, command(1)]:
            await client.line.send(frame)
        await until(lambda: lent.intake.frames)

    assert lent.intake.bodies == [command(1).encode()]


async def test_pings_are_known_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker of 2021 hands those of one node to the others, as messages."""
    sent: list[Any] = []

    async def ping(_: Line, data: Any = None) -> asyncio.Future[float]:
        sent.append(data)
        return asyncio.get_running_loop().create_future()

    monkeypatch.setattr(Line, "ping", ping)
    async with WsBroker("php") as server, consuming(server, FakeLent(), ping=0.01):
        await until(lambda: len(sent) >= 2)

    assert all(is_noise(data) for data in sent)
    assert len(set(sent)) == len(sent)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_tls_with_a_certificate_that_is_trusted(dialect: Dialect, tmp_path: Path) -> None:
    authority, lent = Authority(tmp_path), FakeLent()
    async with (
        WsBroker(dialect, tls=authority.server) as broker,
        consuming(broker, lent, ca_file=authority.ca_file),
    ):
        await broker.receiving[0].line.send(command(1))
        await until(lambda: lent.intake.frames)


async def test_tls_with_a_certificate_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    ours, theirs = Authority(tmp_path), Authority(tmp_path / "other")
    async with WsBroker("php", tls=theirs.server) as broker:
        for ca_file in (ours.ca_file, ""):
            async with patient(broker, FakeLent(), ca_file=ca_file) as made:
                with pytest.raises(BrokerRefused, match=r"certificate.*ca_file"):
                    await made.session()

    assert broker.connects == 0


async def test_tls_with_a_certificate_for_another_name(tmp_path: Path) -> None:
    ca, ca_file = trustme.CA(), tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(ca_file)
    other = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("other.example").configure_cert(other)
    async with (
        WsBroker("php", tls=other) as broker,
        patient(broker, FakeLent(), ca_file=str(ca_file)) as made,
    ):
        with pytest.raises(BrokerRefused, match=r"certificate.*the host in url"):
            await made.session()

    assert broker.connects == 0
