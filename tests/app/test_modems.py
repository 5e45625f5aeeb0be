"""The whole service over emulated modems: codes and raw texts out, reports and texts in, errands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs

from otpsvc.app import Service
from otpsvc.channels.gsm import GsmChannel
from otpsvc.channels.gsm_config import GsmConfig, ModemTable
from otpsvc.config import Config
from otpsvc.errors import BadRequest, ConfigError, NotFound
from otpsvc.gsm.emulator import EmulatedModem, Network
from otpsvc.keyring import Keyring
from otpsvc.lines import Line
from otpsvc.stores.errand import Errands
from tests.app.rig import Start, client, tenant
from tests.gsm.fleet import TIMEOUTS
from tests.waiting import stays, until

TO = "+6281234567890"
OTHER = "+6281234567891"
ALL = frozenset({"otp", "sms", "inbox", "modems", "ussd", "blocks:global"})


class Site:
    """A network, its modems and a config whose channel `sms` has them."""

    def __init__(self, config: Config, stack: AsyncExitStack) -> None:
        self.net = Network(latency=0.005)
        self._stack = stack
        self._config = config
        self.modems: list[EmulatedModem] = []

    async def plug_in(self, **options: Any) -> EmulatedModem:
        modem = EmulatedModem(self.net, **options)
        self.modems.append(await self._stack.enter_async_context(modem))
        return self.modems[-1]

    def tables(self) -> dict[str, ModemTable]:
        return {f"m{at}": ModemTable(device=str(one.link)) for at, one in enumerate(self.modems, 1)}

    def config(self, **more: Any) -> Config:
        usual: dict[str, Any] = {"type": "gsm", "inbox": "shop", "ussd": ("*123#",), "timeouts": TIMEOUTS}
        return structs.replace(
            self._config,
            channels={"sms": GsmConfig(**{**usual, "modems": self.tables(), **more})},
            tenants={"shop": tenant(scopes=ALL, country="ID"), "other": tenant("other", scopes=ALL)},
        )


@pytest.fixture
async def site(config: Config) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield Site(config, stack)


async def ask(service: Service, method: str, path: str, *, who: str = "shop", **more: Any) -> httpx.Response:
    async with client(service, who) as shop:
        return await shop.request(method, path, **more)


async def put(service: Service, id: str = "user-0001", to: str = TO) -> httpx.Response:
    return await ask(service, "PUT", f"/api/otp/{id}", data={"provider": "sms", "to": to})


async def message_state(service: Service, id: str = "user-0001") -> dict[str, Any]:
    found: dict[str, Any] = (await ask(service, "GET", f"/api/otp/{id}")).json()["data"]["message"]
    return found


async def raw_state(service: Service, id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await ask(service, "GET", f"/api/messages/{id}")).json()["data"]
    return found


async def becomes(state: str, look: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def is_so() -> bool:
        found.update(await look())
        return bool(found["state"] == state)

    await until(is_so, lambda: str(found))
    return found


async def listed(errands: Errands, *, ready: int) -> list[Line]:
    lines: list[Line] = []

    async def so_many() -> bool:
        lines[:] = await errands.lines()
        return bool(lines) and sum(line.ready for line in lines) == ready

    await until(so_many, lambda: str(lines))
    return lines


def _modem(service: Service, name: str) -> Any:
    channel = service._ways.channels["sms"]
    assert isinstance(channel, GsmChannel)
    assert channel._pool
    return channel._pool.modem(name)


async def test_a_code_goes_by_a_modem_and_its_report_makes_it_delivered(site: Site, start: Start) -> None:
    await site.plug_in()
    async with start(site.config()) as service:
        assert (await put(service)).status_code == 200
        await site.net.arrived(1)
        [text] = site.net.sent
        assert text.to == TO

        found = await becomes("delivered", lambda: message_state(service))
        assert found["uncertain"] == 0

        code = next(word.strip(".") for word in text.text.split() if word.strip(".").isdigit())
        checked = await ask(service, "POST", "/api/otp/user-0001", data={"otp": code})
        assert checked.status_code == 200


async def test_its_validity_is_what_remains_of_the_code_s_life(site: Site, start: Start) -> None:
    await site.plug_in()
    async with start(site.config()) as service:
        await put(service)
        await site.net.arrived(1)

        assert site.net.sent[0].validity == 300


async def test_a_report_that_it_failed_makes_the_message_failed(site: Site, start: Start) -> None:
    await site.plug_in()
    site.net.status[TO] = (0x46,)
    async with start(site.config()) as service:
        await put(service)
        found = await becomes("failed", lambda: message_state(service))

        assert found["reason"] == "not delivered"


async def test_a_long_raw_text_arrives_whole_and_its_parts_are_told(site: Site, start: Start) -> None:
    await site.plug_in()
    async with start(site.config()) as service:
        words = "Halo dunia 🙂 €" * 20
        answer = await ask(service, "POST", "/api/messages", json={"to": "081234567890", "text": words})
        assert answer.status_code == 202
        await site.net.arrived(1)
        assert (site.net.sent[0].to, site.net.sent[0].text) == (TO, words)

        found = await becomes("delivered", lambda: raw_state(service, answer.json()["data"]["id"]))
        assert found["parts"] == site.net.sent[0].parts > 1


async def test_a_blocked_number_gets_nothing_whatever_way_it_is_asked(site: Site, start: Start) -> None:
    await site.plug_in()
    async with start(site.config()) as service:
        assert (await ask(service, "PUT", f"/api/blocks/{TO}")).status_code == 200

        refused = await put(service)
        assert (refused.status_code, refused.json()["code"]) == (400, "blocked")
        refused = await ask(service, "POST", "/api/messages", json={"to": "081234567890", "text": "x"})
        assert (refused.status_code, refused.json()["code"]) == (400, "blocked")
        old = {"command": "send-sms", "data": {"msisdn": "6281234567890", "message": "x"}}
        answer = (await ask(service, "POST", "/api/sms", json=old)).json()
        assert (answer["response_code"], answer["data"]["status"]) == ("1102", "blocked")
        # Of another tenant's list nobody is bound.
        assert (
            await ask(service, "POST", "/api/messages", who="other", json={"to": TO, "text": "y"})
        ).is_success
        await site.net.arrived(1)

        assert (await ask(service, "DELETE", f"/api/blocks/{TO}")).status_code == 200
        assert (await put(service)).status_code == 200
        await site.net.arrived(2)
        assert [text.text == "y" for text in site.net.sent] == [True, False]


async def test_what_everybody_s_list_has_gets_nothing_from_any_tenant(site: Site, start: Start) -> None:
    await site.plug_in()
    async with start(site.config()) as service:
        await ask(service, "PUT", f"/api/blocks/{TO}", params={"everywhere": "true"})
        for who in ("shop", "other"):
            refused = await ask(service, "POST", "/api/messages", who=who, json={"to": TO, "text": "x"})
            assert refused.json()["code"] == "blocked"
        assert (await put(service)).json()["code"] == "blocked"


@pytest.mark.parametrize("everywhere", [False, True])
async def test_a_number_that_is_blocked_while_it_waits_gets_nothing(
    site: Site, start: Start, everywhere: bool
) -> None:
    modem = await site.plug_in()
    await modem.unplug()
    async with start(site.config(patience=0.2)) as service:
        await put(service)
        raw = await ask(service, "POST", "/api/messages", json={"to": TO, "text": "x"})
        await ask(service, "PUT", f"/api/blocks/{TO}", params={"everywhere": str(everywhere).lower()})
        await modem.plug()
        found = await becomes("failed", lambda: message_state(service))
        assert found["reason"] == "blocked"
        found = await becomes("failed", lambda: raw_state(service, raw.json()["data"]["id"]))
        assert found["reason"] == "blocked"
        assert site.net.parts == []


async def test_a_text_that_came_in_is_kept_for_its_tenant_and_deleted_from_the_sim(
    site: Site, start: Start
) -> None:
    modem = await site.plug_in()
    async with start(site.config()) as service:
        site.net.call(modem.number, "Apa kabar? " * 30, OTHER)

        async def kept() -> list[dict[str, Any]]:
            return list((await ask(service, "GET", "/api/inbox")).json()["data"]["texts"])

        [text] = await until(kept)
        assert (text["sender"], text["text"], text["modem"]) == (OTHER, "Apa kabar? " * 30, "m1")
        assert (await ask(service, "GET", "/api/inbox", who="other")).json()["data"]["texts"] == []
        await until(lambda: not len(modem.storage))


async def test_another_process_lists_modems_and_asks_by_ussd(
    site: Site, start: Start, keyring: Keyring
) -> None:
    modem = await site.plug_in()
    async with start(site.config(), "delivery") as owner, start(site.config(), "api") as api:
        errands = Errands(api.store, keyring)
        [line] = await listed(errands, ready=1)
        assert (line.name, line.channel, line.imei) == ("m1", "sms", modem.imei)

        shown = (await ask(api, "GET", "/api/modems")).json()["data"]
        assert shown[0]["name"] == "m1"
        answer = await ask(api, "POST", "/api/modems/m1/ussd", json={"code": "*123#"})
        assert answer.status_code == 200
        assert answer.json()["data"]["text"]
        refused = await ask(api, "POST", "/api/modems/m1/ussd", json={"code": "*100#"})
        assert refused.json()["code"] == "ussd_not_allowed"
        with pytest.raises(BadRequest):
            await errands.ussd("m1", "*21*081234567890#", operator=True)
        with pytest.raises(NotFound):
            await errands.ussd("m9", "*123#")
        assert owner is not api


async def test_an_operator_sends_by_a_modem_of_another_process(
    site: Site, start: Start, keyring: Keyring
) -> None:
    await site.plug_in()
    second = await site.plug_in()
    async with start(site.config(), "delivery"), start(site.config(), "api") as api:
        errands = Errands(api.store, keyring)
        await listed(errands, ready=2)
        said = await errands.send("sms", "m2", TO, "by hand")
        assert said.startswith("sent as m2:")
        assert [(text.text, text.modem) for text in site.net.sent] == [("by hand", second.number)]

        await ask(api, "PUT", f"/api/blocks/{TO}", params={"everywhere": "true"})
        with pytest.raises(BadRequest, match="blocked"):
            await errands.send("sms", "m2", TO, "again")


async def test_a_trace_shows_the_dialogue_without_texts_and_numbers(
    site: Site, start: Start, keyring: Keyring
) -> None:
    await site.plug_in()
    async with start(site.config()) as service:
        errands = Errands(service.store, keyring)
        await listed(errands, ready=1)
        seen: list[str] = []

        async def listen() -> None:
            async for text in errands.trace("m1", 60.0):
                seen.append(text)  # noqa: PERF401 - it is read meanwhile

        listening = asyncio.create_task(listen())
        await until(lambda: _modem(service, "m1")._life.at.trace)
        await ask(service, "POST", "/api/messages", json={"to": TO, "text": "a secret of two"})
        # From its command to its result.
        await until(lambda: any("+CMGS: " in text for text in seen), lambda: str(seen))
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        whole = "\n".join(seen)
        assert "AT+CMGS=" in whole
        assert "secret" not in whole
        assert TO.strip("+") not in whole


async def test_a_reload_adds_a_modem_and_keeps_the_line_of_the_other(
    site: Site, start: Start, keyring: Keyring
) -> None:
    first = await site.plug_in()
    async with start(site.config()) as service:
        errands = Errands(service.store, keyring)
        await listed(errands, ready=1)
        begun = first.asked_for("+CGMI")
        await site.plug_in()
        await service.reload(site.config())
        await listed(errands, ready=2)
        assert first.asked_for("+CGMI") == begun

        tables = {name: structs.replace(table, paused=True) for name, table in site.tables().items()}
        await service.reload(site.config(modems=tables))
        lines = await listed(errands, ready=0)
        assert {line.state for line in lines} == {"disabled"}


async def test_a_used_up_quota_is_told_and_nothing_is_sent(site: Site, start: Start) -> None:
    await site.plug_in()
    async with start(site.config(quota=("1/month",), patience=0.2)) as service:
        first = await ask(service, "POST", "/api/messages", json={"to": TO, "text": "one"})
        await becomes("delivered", lambda: raw_state(service, first.json()["data"]["id"]))
        second = await ask(service, "POST", "/api/messages", json={"to": TO, "text": "two", "ttl": 30})
        found = await becomes("failed", lambda: raw_state(service, second.json()["data"]["id"]))
        assert found["reason"] == "quota"
        assert [text.text for text in site.net.sent] == ["one"]


async def test_another_host_s_modems_are_left_to_it(site: Site, start: Start) -> None:
    modem = await site.plug_in()
    async with start(site.config(host="elsewhere.example")) as service:
        await put(service)
        await stays(lambda: not modem.connected, seconds=1.5)
        assert (await message_state(service))["state"] == "queued"


async def test_a_second_process_with_the_same_ports_takes_nothing_from_the_first(
    site: Site, start: Start, keyring: Keyring
) -> None:
    await site.plug_in()
    async with start(site.config()) as first:
        await listed(Errands(first.store, keyring), ready=1)
        async with start(site.config()) as second:
            await until(lambda: second._ways.channels["sms"].elsewhere)
            # Each of its own calls, too.
            for at in range(4):
                answer = await ask(second, "POST", "/api/messages", json={"to": TO, "text": f"text {at}"})
                look = partial(raw_state, first, answer.json()["data"]["id"])
                found = await becomes("delivered", look)
                assert (found["uncertain"], found["tries"]) == (0, 1)
            assert (await put(second)).status_code == 200
            await becomes("delivered", lambda: message_state(second))
            [line] = await listed(Errands(second.store, keyring), ready=1)
            assert line.name == "m1"


async def test_a_reload_that_is_refused_leaves_the_modems_as_they_were(
    site: Site, start: Start, keyring: Keyring
) -> None:
    """The config of one channel was taken over before that of another is refused."""
    modem = await site.plug_in()

    class Refusing(GsmChannel):
        async def change(self, config: GsmConfig) -> None:
            raise ConfigError("", "modems", "something else")

    def paused(config: Config) -> Config:
        tables = {name: structs.replace(table, paused=True) for name, table in site.tables().items()}
        return structs.replace(
            config,
            channels={name: structs.replace(one, modems=tables) for name, one in config.channels.items()},
        )

    spare = structs.replace(site.config().channels["sms"], host="elsewhere.example")
    both = structs.replace(site.config(), channels={"sms": site.config().channels["sms"], "zz": spare})
    async with start(both) as service:
        await listed(Errands(service.store, keyring), ready=1)
        service._ways.channels["zz"].__class__ = Refusing
        before = service.config
        changed = paused(both)
        ways = type(service._ways)(
            service._ways.channels, service._ways.routes, dict(changed.channels.items())
        )
        with pytest.raises(ConfigError):
            await ways.open(but=service._ways)
        assert service.config is before
        assert service._ways.channels["sms"].config == both.channels["sms"]
        answer = await ask(service, "POST", "/api/messages", json={"to": TO, "text": "x", "channel": "sms"})
        await becomes("delivered", lambda: raw_state(service, answer.json()["data"]["id"]))
        assert modem.connected


async def test_a_pin_that_was_changed_in_its_file_is_read_by_a_reload(
    site: Site, start: Start, tmp_path: Path, keyring: Keyring
) -> None:
    modem = await site.plug_in(pin="7391")
    file = tmp_path / "pin"
    file.write_text("1111")
    tables = {"m1": structs.replace(site.tables()["m1"], pin_file=str(file))}
    async with start(site.config(modems=tables)) as service:
        errands = Errands(service.store, keyring)

        async def wants_a_pin() -> bool:
            return [line.state for line in await errands.lines()] == ["pin"]

        await until(wants_a_pin)
        # Somebody has put the SIM into a phone and given it its PIN there.
        modem.sim.tries = 3
        file.write_text("7391")
        await service.reload(site.config(modems=tables))
        await listed(errands, ready=1)
    assert modem.pin_wrong == 1


async def test_how_much_is_sent_at_a_time_follows_a_reload(site: Site, start: Start) -> None:
    await site.plug_in()
    async with start(site.config(concurrency=1)) as service:
        before = service._outlet.courier
        await service.reload(site.config(concurrency=8))
        assert service._outlet.courier is not before
        assert (await put(service)).is_success
        await becomes("delivered", lambda: message_state(service))


async def test_a_host_that_gets_the_modems_by_a_reload_opens_them(site: Site, start: Start) -> None:
    await site.plug_in()
    async with start(site.config(host="elsewhere.example")) as service:
        await put(service)
        await service.reload(site.config())
        await becomes("delivered", lambda: message_state(service))


async def test_a_route_that_a_reload_adds_carries_texts(site: Site, start: Start) -> None:
    await site.plug_in()
    async with start(site.config()) as service:
        await service.reload(structs.replace(site.config(), routes={"all": ("sms",)}))
        answer = await ask(service, "POST", "/api/messages", json={"to": TO, "text": "x", "channel": "all"})
        assert answer.status_code == 202, answer.text
        found = await becomes("delivered", lambda: raw_state(service, answer.json()["data"]["id"]))
        assert found["route"] == "all"
