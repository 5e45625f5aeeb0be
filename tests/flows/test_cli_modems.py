"""The commands about modems, as real processes beside a service that runs; the modems live in the test."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, encode_basic_auth
from msgspec import Struct

from otpsvc import keyring_file
from otpsvc.address import ANY
from otpsvc.gsm.emulator import EmulatedModem, Menu, Network
from otpsvc.lines import Answered, Line
from otpsvc.stores.desk import Desk
from otpsvc.stores.redis import RedisStore
from tests.far_ends.valkey import ValkeyServer
from tests.flows.serving_rig import HASH, ROOT, SECRET, Served, share_keyring
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the modems are ptys")

NUMBER = "+6281234567890"
#: What moves a terminal's cursor, colours it, or turns the direction of what follows.
EVIL = "\x1b[31m\x9b0m\r\x07\u202e"
NAMES = ["sim.desk", "sim.rack", "dumb.one", "spare.desk"]
HEADS = ["MODEM", "STATE", "FOR", "IMEI", "SIM", "OPERATOR", "SIGNAL", "TODAY", "QUOTA", "NODE"]
CHANNELS = """
[channels.sim]
type = "gsm"
country = "ID"
[channels.sim.modems.desk]
device = "{desk}"
[channels.sim.modems.rack]
device = "{rack}"
quota = ["200/day", "4000/month"]
[channels.dumb]
type = "gsm"
country = "ID"
timeouts = {{ result = 2.0, late_result = 3.0 }}
report_wait = 1.0
[channels.dumb.modems.one]
device = "{dumb}"
[channels.spare]
type = "gsm"
[channels.spare.modems.desk]
device = "/dev/serial/by-id/not-there"
[tenants.guard]
secret_hash = "{secret}"
scopes = ["blocks:global"]
"""


class Ended(Struct):
    """What a command came to."""

    status: int
    out: str
    err: str


async def begin(folder: Path, *words: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "otpsvc", *words, "--config", str(folder / "config.toml")),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def end_of(process: Process) -> Ended:
    out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def refused(folder: Path, *words: str) -> str:
    """The one line that a command says when it cannot; else nothing may be printed."""
    ended = await end_of(await begin(folder, *words))
    assert (ended.status, ended.out) == (1, ""), ended
    assert re.fullmatch(r"Error: .+\n", ended.err), ended
    return ended.err.removeprefix("Error: ").rstrip()


class Rig:
    """Modems on one network, the service that has them, and the commands beside it.

    `dumb` is for answers that do not come: its channel does not wait for them as long as others.
    """

    def __init__(
        self, folder: Path, net: Network, desk: EmulatedModem, rack: EmulatedModem, dumb: EmulatedModem
    ) -> None:
        self.net, self.desk, self.rack, self.dumb, self.folder = net, desk, rack, dumb, folder
        self.more = CHANNELS.format(desk=desk.path, rack=rack.path, dumb=dumb.path, secret=HASH)
        self.served = Served(folder, more=self.more)

    async def listed(self, folder: Path, *words: str) -> str:
        """The line of `modems --json` with these words, once it is there."""
        said = ""

        async def found() -> str:
            nonlocal said
            said = (await self.ok("modems", "--json", folder=folder)).out
            return next((line for line in said.splitlines() if all(word in line for word in words)), "")

        return str(await until(found, lambda: f"{words} in {said} {self.served.log()}"))

    async def ready(self, folder: Path | None = None) -> None:
        for modem in (self.desk, self.rack, self.dumb):
            words = f'"number":"{modem.number}"', '"state":"ready"', '"operator":"EMULATED"', '"signal":-73'
            await self.listed(folder or self.folder, *words)

    async def ok(self, *words: str, folder: Path | None = None) -> Ended:
        """What a command says that succeeds."""
        ended = await end_of(await begin(folder or self.folder, *words))
        assert ended.status == 0, ended
        return ended

    async def refused(self, *words: str) -> str:
        return await refused(self.folder, *words)


@pytest.fixture(scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """One service for all tests of this file: each leaves the modems as they were."""
    net = Network(latency=0.0)
    menu = Menu("1 Balance\n2 Bye", {"1": "Credit: 12000"})
    codes: dict[str, str | Menu] = {
        "*123#": "Balance: 10000",
        "*888#": menu,
        "*666#": f"Your balance is low {EVIL}\nand words",
    }
    async with (
        EmulatedModem(net, ussd=codes, dialect="ucs2", ussd_dcs=72) as desk,
        EmulatedModem(net) as rack,
        EmulatedModem(net) as dumb,
    ):
        rig = Rig(tmp_path_factory.mktemp("cli") / "s", net, desk, rack, dumb)
        async with rig.served:
            await rig.ready()
            yield rig
        assert "exception" not in rig.served.log()


@pytest.fixture
def idle(tmp_path: Path) -> Path:
    """The folder of a service that does not run."""
    rows = CHANNELS.format(desk="/dev/ttyUSB0", rack="/dev/ttyUSB1", dumb="/dev/ttyUSB2", secret=HASH)
    return Served(tmp_path / "idle", more=rows).folder


# The list


async def test_modems_are_listed_with_what_an_operator_wants_to_know(rig: Rig) -> None:
    said = await rig.ok("modems")

    heads, *rows, why = said.out.splitlines()
    desk, rack, dumb, spare = sorted(rows, key=lambda row: NAMES.index(row.split()[0]))
    assert heads.split() == HEADS
    assert dumb.startswith("dumb.one ")
    assert re.match(rf"sim\.desk  +(ready|sending) +\d+ (s|min) +{rig.desk.imei} +8962\d+ +", desk)
    assert "-73 dBm" in desk
    assert re.search(r" \d+ +\d+/200 day, \d+/4000 month +\S+$", rack)
    assert spare.startswith("spare.desk  absent")
    assert why == "spare.desk: not there (/dev/serial/by-id/not-there)"
    assert said.err == ""


async def test_json_has_everything_that_is_known(rig: Rig) -> None:
    rack = json.loads(await rig.listed(rig.folder, '"name":"rack"', '"state":"ready"'))

    assert (rack["channel"], rack["state"], rack["number"]) == ("sim", "ready", rig.rack.number)
    assert rack["port"] == rig.rack.path
    assert rack["imei"] == rig.rack.imei
    assert rack["used"]["day"][1] == 200
    assert rack["node"]


@pytest.mark.parametrize(
    "words", [["modems"], ["ussd", "desk", "*123#"], ["send", "sim", NUMBER], ["modem-trace", "desk"]]
)
async def test_nothing_that_runs_is_said_in_one_line(idle: Path, words: list[str]) -> None:
    said = await refused(idle, *words)

    assert said == f"no otpsvc is running on {idle}/data: start it with `otpsvc serve`"


async def test_no_modem_at_all_is_said_and_is_no_failure(tmp_path: Path) -> None:
    async with Served(tmp_path / "bare") as served:
        said = await end_of(await begin(served.folder, "modems"))

    assert (said.status, said.out) == (0, "")
    assert said.err == "No process tells of a modem: is one running with a channel of the type gsm?\n"


COMMANDS = [["ussd", "{}", "*123#"], ["send", "sim", NUMBER, "--modem", "{}"], ["modem-trace", "{}"]]


@pytest.mark.parametrize("words", COMMANDS)
async def test_unknown_modem_is_said_with_where_to_look(rig: Rig, words: list[str]) -> None:
    said = await rig.refused(*(word.format("attic") for word in words))

    assert said == "There is no such modem. `otpsvc modems` lists them."


@pytest.mark.parametrize("words", [COMMANDS[0], COMMANDS[2]])
async def test_name_of_two_modems_needs_its_channel(rig: Rig, words: list[str]) -> None:
    said = await rig.refused(*(word.format("desk") for word in words))

    assert said.startswith("Several modems have this name: put the channel's before it.")


# USSD


@pytest.mark.parametrize("of", ["name", "imei", "number"])
async def test_ussd_prints_the_answer_of_the_network(rig: Rig, of: str) -> None:
    name = {"name": "sim.desk", "imei": rig.desk.imei, "number": rig.desk.number}[of]

    said = await rig.ok("ussd", name, "*123#")

    assert (said.out, said.err) == ("Balance: 10000\n", "")


async def test_ussd_session_goes_on_with_a_reply(rig: Rig) -> None:
    asked = await rig.ok("ussd", "sim.desk", "*888#")
    replied = await rig.ok("ussd", "--reply", "sim.desk", "1")

    assert asked.out == "1 Balance\n2 Bye\n"
    assert asked.err == "(the network waits for a reply: otpsvc ussd --reply sim.desk ANSWER)\n"
    assert (replied.out, replied.err) == ("Credit: 12000\n", "")


@pytest.mark.parametrize("code", ["**21*+6281200000#", "##002#", "*33*0000#", "**04*1234*5678*5678#"])
async def test_code_that_forwards_bars_or_changes_a_pin_never_reaches_the_modem(rig: Rig, code: str) -> None:
    before = rig.desk.asked_for("+CUSD=")

    assert "never sent" in await rig.refused("ussd", "sim.desk", code)
    assert "never sent" in await rig.refused("ussd", "--reply", "sim.desk", code)
    assert rig.desk.asked_for("+CUSD=") == before


@pytest.mark.parametrize("code", ["balance", '*1#"', "*1#;+CFUN=0", "*1#\r"])
async def test_what_is_no_code_is_refused(rig: Rig, code: str) -> None:
    assert (await rig.refused("ussd", "sim.desk", code)).startswith("Not a USSD code: expected 1 to 40")


async def test_code_that_the_network_does_not_know_is_no_success(rig: Rig) -> None:
    assert await rig.refused("ussd", "sim.desk", "*999#") == "the network does not know this code"


async def test_control_characters_of_the_network_do_no_harm(rig: Rig) -> None:
    said = await rig.ok("ussd", "sim.desk", "*666#")

    first, second = said.out.splitlines()
    assert first == "Your balance is low �[31m�0m���"
    assert second == "and words"


class Hostile:
    """An owner of a modem whose network has terminal controls, and a row of ours, in its name."""

    address = ANY

    async def lines(self) -> list[Line]:
        name = f"Evil{EVIL}\nsim.fake  ready\U000e0041"
        return [Line(name="m1", channel="", state="hung", reason=name, operator=name, imei=name, port=name)]

    async def ussd(self, name: str, code: str, *, reply: bool, operator: bool) -> Answered:
        raise NotImplementedError

    async def send_by(self, name: str, to: str, text: str) -> str:
        raise NotImplementedError

    async def trace(self, name: str, seconds: float) -> AsyncIterator[str]:
        yield f"line{EVIL}"


async def test_modem_cannot_forge_a_row_nor_move_the_cursor(tmp_path: Path) -> None:
    """Whatever the library lets through."""
    with ValkeyServer() as server:
        told = Served(tmp_path / "s", store=server.url)
        told.command("keys", "create")
        keyring = keyring_file.load(told.folder / "data" / "keyring.toml")
        store = RedisStore(server.url, fenced=False, timeout=30.0)
        async with Desk(store, keyring, lambda: {"sms": Hostile()}, node="here") as desk:
            await desk.tell()
            ran = [
                await end_of(await begin(told.folder, *words))
                for words in (["modems"], ["modems", "--json"], ["modem-trace", "m1", "--seconds", "1"])
            ]
        await store.close()

    assert [len(said.out.splitlines()) for said in ran] == [3, 1, 1], ran
    assert all(said.out.replace("\n", "").isprintable() for said in ran)
    assert json.loads(ran[1].out)["operator"] == f"Evil{EVIL}\nsim.fake  ready\U000e0041"


# Sending


async def test_send_goes_by_the_modem_that_is_named(rig: Rig) -> None:
    before = len(rig.net.sent)
    for modem, name in ((rig.desk, "desk"), (rig.rack, "rack")):
        said = await rig.ok("send", "sim", NUMBER, "--modem", name, "--text", f"hello by {name}")
        assert re.fullmatch(rf"sim: sent as {name}:\d+, 1 part\n", said.out)
        assert (rig.net.sent[-1].to, rig.net.sent[-1].text) == (NUMBER, f"hello by {name}")
        assert rig.net.sent[-1].modem == modem.number
    assert len(rig.net.sent) == before + 2


async def test_send_without_a_modem_takes_any_of_the_channel(rig: Rig) -> None:
    said = await rig.ok("send", "sim", "0812-3456-7890", "--text", "x" * 200)

    assert re.fullmatch(r"sim: sent as (desk|rack):\d+,\d+, 2 parts\n", said.out)
    assert (rig.net.sent[-1].to, rig.net.sent[-1].text) == (NUMBER, "x" * 200)


async def test_send_says_what_the_network_refuses_and_what_nobody_knows(rig: Rig) -> None:
    rig.net.refused["+6281299999999"] = "CMS 1"
    refusal = await rig.refused("send", "sim", "+6281299999999", "--modem", "rack")
    rig.dumb.fail_next("silent", "silent")
    doubt = await rig.refused("send", "dumb", NUMBER)
    await rig.ready()

    assert refusal == "Refused: AT+CMGS: +CMS ERROR 1."
    assert doubt == "uncertain: no answer after the text, twice"


@pytest.mark.parametrize("number", ["12", "ann@shop.example", "+62 call me"])
async def test_what_is_no_number_is_refused(rig: Rig, number: str) -> None:
    assert "phone number" in await rig.refused("send", "sim", number)


async def test_blocked_number_gets_nothing(rig: Rig) -> None:
    """However it is written, and by whatever channel."""
    blocked, before = "+6281277777777", len(rig.net.sent)
    url = f"http://127.0.0.1:{rig.served.port}"
    login = {"Authorization": encode_basic_auth("guard", SECRET)}
    async with (
        ClientSession(url, headers=login) as guard,
        guard.put(f"/api/blocks/{blocked}", json={"everywhere": True}) as answer,
    ):
        assert answer.status == 200, await answer.text()

    for written in (blocked, "+62 812 7777 7777", "0812 7777 7777"):
        assert "it is blocked" in await rig.refused("send", "sim", written, "--modem", "rack")
    assert "it is blocked" in await rig.refused("send", "log", blocked)
    assert len(rig.net.sent) == before
    assert blocked not in [one["to"] for one in rig.served.codes()]


# The trace


async def test_trace_tells_the_dialogue_and_no_secret(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    tracing = await begin(rig.folder, "modem-trace", rig.rack.imei, "--seconds", "120", "--output", str(path))
    assert tracing.stderr
    listening = await tracing.stderr.readline()

    async def traced() -> bool:
        await rig.ok("send", "sim", NUMBER, "--modem", "rack", "--text", "secret words 4711")
        return "+CMGS: " in path.read_text()

    await until(traced, rig.served.log)
    tracing.send_signal(signal.SIGINT)
    ended = await end_of(tracing)

    trace = path.read_text()
    assert listening.decode() == "listening to sim.rack for 120 s; Ctrl-C ends it\n"
    assert (ended.status, ended.out, ended.err.strip()) == (0, "", "")
    assert re.search(r"^> AT\+CMGS=\d+$", trace, re.MULTILINE)
    assert re.search(r"^> \[pdu \d+ octets\]$", trace, re.MULTILINE)
    assert re.search(r"^< \+CMGS: \d+$", trace, re.MULTILINE)
    for secret in ("4711", NUMBER[1:], rig.net.parts[-1].submit.encoded()[0][-12:], rig.rack.number[1:]):
        assert secret not in trace
    assert path.stat().st_mode & 0o777 == 0o600


async def test_trace_never_goes_over_a_file(rig: Rig, tmp_path: Path) -> None:
    kept, link = tmp_path / "kept", tmp_path / "link"
    kept.write_text("mine")
    link.symlink_to(tmp_path / "elsewhere")

    for path in (kept, link):
        said = await rig.refused("modem-trace", "rack", "--seconds", "1", "--output", str(path))
        assert said == f"{path}: File exists"
    assert kept.read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


async def test_trace_of_no_modem_leaves_no_file(rig: Rig, tmp_path: Path) -> None:
    await rig.refused("modem-trace", "attic", "--output", str(tmp_path / "trace"))

    assert not (tmp_path / "trace").exists()


async def test_trace_to_the_terminal_ends_by_itself(rig: Rig) -> None:
    said = await rig.ok("modem-trace", "rack", "--seconds", "1")

    assert said.err == "listening to sim.rack for 1 s; Ctrl-C ends it\n"


# Processes of their own


async def test_commands_reach_the_delivering_process_from_a_third_one(tmp_path: Path) -> None:
    """The API there, delivery here, the commands elsewhere: one store is all they share."""
    net = Network(latency=0.0)
    async with EmulatedModem(net) as desk, EmulatedModem(net) as rack, EmulatedModem(net) as dumb:
        with ValkeyServer(persistence="always") as store:
            rig = Rig(tmp_path / "unused", net, desk, rack, dumb)
            roles = [
                Served(tmp_path / role, "--only", role, store=store.url, more=rig.more)
                for role in ("api", "delivery")
            ]
            third = Served(tmp_path / "third", store=store.url, more=rig.more)
            share_keyring(*roles, third)
            async with roles[0], roles[1]:
                await rig.ready(third.folder)
                answer = await rig.ok("ussd", "sim.rack", "*123#", folder=third.folder)
                await rig.ok("send", "sim", NUMBER, "--modem", "rack", folder=third.folder)

    assert answer.out == "Balance: 10000\n"
    assert [one.modem for one in net.sent] == [rack.number]
