"""Programs that others wrote for real modems drive the emulated one, unchanged."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from otpsvc.gsm.emulator import EmulatedModem, Network
from tests.waiting import until

# They pause for seconds between their commands.
pytestmark = pytest.mark.timeout(300)
LONG = 120.0
PlugIn = Callable[..., Awaitable[EmulatedModem]]
Need = Callable[[str], str]


def _environment(home: Path) -> dict[str, str]:
    """Nothing of whoever runs the tests: no own settings, no own language."""
    places = {name: str(home) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "TMPDIR")}
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", **places}


async def _run(home: Path, *command: str, typed: str = "") -> str:
    """What it printed. Fails when it does."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=_environment(home),
        cwd=home,
    )
    try:
        async with asyncio.timeout(LONG):
            printed, _ = await process.communicate(typed.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    words = printed.decode("utf-8", "replace")
    assert process.returncode == 0, words
    return words


@asynccontextmanager
async def _running(home: Path, *command: str) -> AsyncIterator[None]:
    """A daemon in the foreground, ended at the end, with all that it started."""
    with (home / "printed").open("wb") as printed:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            env=_environment(home),
            cwd=home,
            start_new_session=True,
        )
        try:
            yield
            assert process.returncode is None, (home / "printed").read_text(errors="replace")
        finally:
            if process.returncode is None:
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), LONG)
            except TimeoutError:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


async def _until_there(words: str, place: Path) -> None:
    """Wait until a file has them: this one, or one in this folder, where files come and go."""

    def read() -> str:
        with suppress(FileNotFoundError):
            return "".join(
                file.read_text("utf-8", "replace")
                for file in (place.iterdir() if place.is_dir() else [place])
                if file.is_file()
            )
        return ""

    await until(lambda: words in read(), read, patience=LONG)


# --- gammu


async def _gammu(need: Need, home: Path, modem: EmulatedModem, *command: str) -> str:
    config = home / f"gammurc-{modem.imei}"
    config.write_text(f"[gammu]\ndevice = {modem.path}\nconnection = at115200\n")
    return await _run(home, need("gammu"), "-c", str(config), *command)


async def _identifies(need: Need, home: Path, modem: EmulatedModem) -> None:
    printed = await _gammu(need, home, modem, "identify")

    assert modem.imei in printed
    assert modem.sim.imsi in printed


async def _sends(need: Need, home: Path, modem: EmulatedModem) -> None:
    long = "A longer text that ends in a sign of the extension table €. " * 4

    await _gammu(need, home, modem, "sendsms", "TEXT", "+628123456789", "-len", "400", "-text", long)

    (text,) = [text for text in modem.network.sent if text.modem == modem.number]
    assert (text.to, text.text, text.parts) == ("+628123456789", long, 2)


async def _sends_ucs2(need: Need, home: Path, modem: EmulatedModem) -> None:
    await _gammu(need, home, modem, "sendsms", "TEXT", "+628123456789", "-unicode", "-text", "код 一二")

    assert [text.text for text in modem.network.sent if text.modem == modem.number] == ["код 一二"]


async def _reads_and_empties_the_inbox(need: Need, home: Path, modem: EmulatedModem) -> None:
    modem.network.call(modem.number, "Greetings [to] you, ça va?", "+628999")
    modem.network.call(modem.number, "добрый день", "Operator")

    printed = await _gammu(need, home, modem, "getallsms")
    assert "Greetings [to] you" in printed
    assert '"+628999"' in printed
    assert "добрый день" in printed
    assert '"Operator"' in printed

    await _gammu(need, home, modem, "deleteallsms", "1")
    assert len(modem.storage) == 0


async def _asks_by_ussd(need: Need, home: Path, modem: EmulatedModem) -> None:
    assert "Balance: 10000" in await _gammu(need, home, modem, "getussd", "*123#")


async def _unlocks_with_the_pin(need: Need, home: Path, modem: EmulatedModem) -> None:
    assert "PIN" in await _gammu(need, home, modem, "getsecuritystatus")
    await _gammu(need, home, modem, "entersecuritycode", "PIN", "4321")
    assert modem.sim.unlocked
    assert modem.pin_wrong == 0


async def test_gammu_identifies_sends_reads_asks_and_unlocks(
    need: Need, tmp_path: Path, plug_in: PlugIn
) -> None:
    """All at once, each on its own modem: gammu takes 4 to 14 s for a single command."""
    async with asyncio.TaskGroup() as group:
        for drive in (_identifies, _sends, _sends_ucs2, _reads_and_empties_the_inbox, _asks_by_ussd):
            group.create_task(drive(need, tmp_path, await plug_in()))
        group.create_task(_unlocks_with_the_pin(need, tmp_path, await plug_in(pin="4321")))


# --- gammu-smsd


def _smsd_files(home: Path, modem: EmulatedModem) -> Path:
    for folder in ("inbox", "outbox", "sent", "error"):
        (home / folder).mkdir()
    config = home / "smsdrc"
    config.write_text(
        f"""\
[gammu]
device = {modem.path}
connection = at115200
[smsd]
service = files
logfile = {home}/log
debuglevel = 0
commtimeout = 1
loopsleep = 1
receivefrequency = 1
checksecurity = 0
deliveryreport = log
inboxpath = {home}/inbox/
outboxpath = {home}/outbox/
sentsmspath = {home}/sent/
errorsmspath = {home}/error/
""",
    )
    return config


async def test_gammu_smsd_sends_and_receives(
    need: Need, tmp_path: Path, plug_in: PlugIn, net: Network
) -> None:
    modem = await plug_in(ds=(0, 1))
    config = str(_smsd_files(tmp_path, modem))
    net.call(modem.number, "For the daemon", "+628999")
    order = need("gammu-smsd-inject"), "-c", config, "TEXT", "+628123456789", "-report", "-text", "From it"
    await _run(tmp_path, *order)

    async with _running(tmp_path, need("gammu-smsd"), "-c", config):
        await _until_there("For the daemon", tmp_path / "inbox")
        await net.arrived(1)
        await until(lambda: list((tmp_path / "sent").iterdir()), patience=LONG)
        # It deletes a text after it wrote it down.
        await until(lambda: len(modem.storage) == 0, patience=LONG)

    assert [(text.to, text.text) for text in net.sent] == [("+628123456789", "From it")]


# --- smstools


def _smstools_files(home: Path, modem: EmulatedModem) -> Path:
    for folder in ("outgoing", "checked", "incoming", "report", "sent", "failed"):
        (home / folder).mkdir()
    config = home / "smsd.conf"
    config.write_text(
        f"""\
devices = GSM1
terminal = yes
outgoing = {home}/outgoing
checked = {home}/checked
incoming = {home}/incoming
report = {home}/report
sent = {home}/sent
failed = {home}/failed
logfile = {home}/log
loglevel = 7
pidfile = {home}/pid
infofile = {home}/running
delaytime = 1
delaytime_mainprocess = 1
receive_before_send = no
autosplit = 3
[GSM1]
device = {modem.path}
incoming = yes
report = yes
init = AT+CNMI=2,1,0,2,0
regular_run_interval = 1
regular_run_cmd = AT+CUSD=1,"*123#",15
regular_run_statfile = {home}/ussd
""",
    )
    return config


async def test_smstools_sends_receives_and_asks(
    need: Need, tmp_path: Path, plug_in: PlugIn, net: Network
) -> None:
    # It looks for reports where it looks for texts.
    modem = await plug_in(report_memory="SM")
    config = str(_smstools_files(tmp_path, modem))
    net.call(modem.number, "For the daemon", "+628999")
    long = "A text in two parts. " * 12
    (tmp_path / "outgoing" / "one").write_text(f"To: 628123456789\nReport: yes\n\n{long}")

    async with _running(tmp_path, need("smsd"), "-c", config, "-t"):
        await net.arrived(1)
        await _until_there("For the daemon", tmp_path / "incoming")
        await _until_there("628123456789", tmp_path / "report")
        await _until_there("10000", tmp_path / "ussd")

    assert [(text.to, text.text, text.parts) for text in net.sent] == [("+628123456789", long.rstrip(), 2)]


# --- gnokii


async def _gnokii(need: Need, home: Path, modem: EmulatedModem, *command: str, typed: str = "") -> str:
    # It keeps 31 characters of a path: the device is shorter than the link.
    config = home / "gnokiirc"
    config.write_text(
        f"[global]\nport = {modem.tty}\nmodel = AT\nconnection = serial\nuse_locking = no\n"
        "[logging]\ndebug = off\nrlpdebug = off\nxdebug = off\n",
    )
    return await _run(home, need("gnokii"), "--config", str(config), *command, typed=typed)


async def test_gnokii_identifies(need: Need, tmp_path: Path, modem: EmulatedModem) -> None:
    assert modem.imei in await _gnokii(need, tmp_path, modem, "--identify")


async def test_gnokii_sends(need: Need, tmp_path: Path, modem: EmulatedModem, net: Network) -> None:
    await _gnokii(need, tmp_path, modem, "--sendsms", "+628123456789", typed="Hello, gnokii")

    assert [(text.to, text.text) for text in net.sent] == [("+628123456789", "Hello, gnokii")]


async def test_gnokii_reads_the_inbox(need: Need, tmp_path: Path, modem: EmulatedModem, net: Network) -> None:
    net.call(modem.number, "Read me, gnokii", "+628999")

    printed = await _gnokii(need, tmp_path, modem, "--getsms", "SM", "1")

    assert "Read me, gnokii" in printed
    assert "+628999" in printed
