"""The port itself: coming and going of modem and client, as with a USB stick."""

from __future__ import annotations

import asyncio
import fcntl
import os
import termios
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from otpsvc.gsm.emulator import EmulatedModem, Network
from tests.gsm.terminal import Terminal
from tests.waiting import until

Dial = Callable[[EmulatedModem], Awaitable[Terminal]]
PlugIn = Callable[..., Awaitable[EmulatedModem]]


def there(path: str) -> bool:
    return os.path.lexists(path)


def leads_to(path: str) -> str:
    return os.path.realpath(path)


async def test_the_path_is_private_and_leads_to_the_device(modem: EmulatedModem) -> None:
    assert leads_to(modem.path) == modem.tty
    assert modem.directory.stat().st_mode & 0o077 == 0


async def test_the_device_is_raw_from_the_start(modem: EmulatedModem) -> None:
    """A program that sets nothing must not have its own words echoed by the kernel."""
    port = os.open(modem.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        assert termios.tcgetattr(port)[3] & (termios.ECHO | termios.ICANON | termios.ISIG) == 0
    finally:
        os.close(port)


async def test_unplugging_ends_the_client_and_removes_the_path(modem: EmulatedModem, dial: Dial) -> None:
    terminal = await dial(modem)
    await terminal.ask("AT")

    await modem.unplug()
    await terminal.unplugged()
    assert not there(modem.path)
    assert modem.tty == ""
    with pytest.raises(OSError, match="Input/output"):
        terminal.type(b"AT\r")


async def test_plugged_in_again_it_started_anew(modem: EmulatedModem, dial: Dial, net: Network) -> None:
    terminal = await dial(modem)
    await terminal.ask("ATE0+CNMI=2,2,0,1,0")
    net.call(modem.number, "Kept", "+628999")
    path = modem.path

    await modem.unplug()
    await modem.unplug()
    await modem.plug()
    assert modem.path == path
    again = await dial(modem)
    assert await again.ask("AT+CNMI?") == "AT+CNMI?\n+CNMI: 2,1,0,0,0\nOK"


async def test_another_path(modem: EmulatedModem, dial: Dial) -> None:
    before = modem.path

    await modem.unplug()
    await modem.plug("ttyUSB3")
    assert modem.path != before
    assert modem.path.endswith("/ttyUSB3")
    assert not there(before)
    assert (await (await dial(modem)).ask("AT")).endswith("OK")


async def test_memories_and_the_sim_outlive_it(plug_in: PlugIn, dial: Dial, net: Network) -> None:
    modem = await plug_in(pin="1234", echo=False)
    terminal = await dial(modem)
    await terminal.ask("AT+CPIN=1234")
    await terminal.until(b"Call Ready\r\n")
    net.call(modem.number, "Kept", "+628999")
    await terminal.until(b"+CMTI: ")

    await modem.unplug()
    await modem.plug()
    again = await dial(modem)
    assert await again.ask("AT+CPIN?") == "+CPIN: SIM PIN\nOK"
    await again.ask("AT+CPIN=1234")
    assert "+CMGL: 1,0,," in await again.ask("AT+CMGL=4")


async def test_texts_wait_while_it_is_unplugged(modem: EmulatedModem, net: Network) -> None:
    await modem.unplug()
    net.call(modem.number, "Later", "+628999")
    assert len(modem.storage) == 0

    await modem.plug()
    assert len(modem.storage) == 1


async def test_one_client_after_another(modem: EmulatedModem, dial: Dial) -> None:
    for _ in range(3):
        terminal = await dial(modem)
        assert (await terminal.ask("AT")).endswith("OK")
        terminal.hang_up()
        await until(lambda: not modem.connected)


async def test_what_nobody_hears_is_lost(modem: EmulatedModem, dial: Dial) -> None:
    modem.say("+UNHEARD: 1")
    terminal = await dial(modem)
    await terminal.ask("AT")
    terminal.hang_up()
    await until(lambda: not modem.connected)
    modem.say("+UNHEARD: 2")

    again = await dial(modem)
    modem.say("+HEARD: 1")
    assert b"UNHEARD" not in await again.until(b"+HEARD: 1\r\n")


async def test_exclusive_use_ends_with_the_client(modem: EmulatedModem) -> None:
    """The last close of a real port ends TIOCEXCL; that of a pty's device does not."""
    async with Terminal(modem.path) as terminal:
        fcntl.ioctl(terminal.port, termios.TIOCEXCL)
        await terminal.ask("AT")
        assert exclusive(terminal.port)

    await until(lambda: not modem.connected)
    async with Terminal(modem.path) as terminal:
        assert not exclusive(terminal.port)
        assert (await terminal.ask("AT")).endswith("OK")


def exclusive(port: int) -> bool:
    # TIOCGEXCL: Python has no name for it.
    state = bytearray(4)
    fcntl.ioctl(port, 0x80045440, state)
    return any(state)


async def test_a_client_that_does_not_read_harms_nobody(modem: EmulatedModem, dial: Dial) -> None:
    terminal = await dial(modem)
    await terminal.ask("ATE0")
    asyncio.get_running_loop().remove_reader(terminal.port)

    for _ in range(4000):
        modem.say("+SOMETHING: that nobody reads, over and over again")
    asyncio.get_running_loop().add_reader(terminal.port, terminal._read)

    def answered() -> bool:
        terminal.type(b"AT+CSQ\r")
        return b"+CSQ: 20,99\r\n\r\nOK\r\n" in terminal.seen

    await until(answered)
    assert 4000 < len(terminal.seen) < 200_000


async def test_a_program_with_stricter_rights_may_use_a_directory_of_its_own(
    net: Network, tmp_path: Path
) -> None:
    async with EmulatedModem(net, directory=tmp_path, name="one") as modem:
        assert modem.path == str(tmp_path / "one")
    assert there(str(tmp_path))
    assert not there(modem.path)


async def test_two_modems_have_nothing_in_common(net: Network, plug_in: PlugIn) -> None:
    one, other = await plug_in(), await plug_in()

    for what in ("path", "number", "imei"):
        assert getattr(one, what) != getattr(other, what)
    assert one.sim.iccid != other.sim.iccid
    with pytest.raises(ValueError, match="this number"):
        await plug_in(number=one.number)
