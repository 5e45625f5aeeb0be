from __future__ import annotations

import array
import asyncio
import fcntl
import os
import pty
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from otpsvc.errors import LineLost
from otpsvc.gsm.port import WAITING_MOST, open_port
from tests.gsm.far_end import FarEnd
from tests.waiting import PATIENCE, until

#: asm-generic/ioctls.h; termios does not have it.
TIOCGEXCL = 0x80045440
BAUD = 115200


class Ear:
    def __init__(self) -> None:
        self.data = bytearray()
        self.losses: list[str] = []
        self.changed = asyncio.Event()

    def received(self, data: bytes) -> None:
        self.data += data
        self.changed.set()

    def lost(self, reason: str) -> None:
        self.losses.append(reason)
        self.changed.set()

    async def change(self) -> None:
        await until(self.changed.is_set)
        self.changed.clear()


def opened(path: str) -> int:
    """How often this process has it open. Whatever else it opens meanwhile does not count."""
    links = []
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208  a Path would be slower to no end
        with suppress(OSError):
            links.append(os.readlink(f"/proc/self/fd/{number}"))  # noqa: PTH115
    return sum(link.removesuffix(" (deleted)") == path for link in links)


async def left(path: str, count: int = 1) -> None:
    """Wait until it is open no more than `count` times, by the far end alone, and no thread opens it."""

    def settled() -> bool:
        return not any(thread.name == "gsm-open" for thread in threading.enumerate()) and (
            opened(path) == count
        )

    await until(settled, lambda: opened(path))


def is_exclusive(path: str) -> bool:
    port = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        flag = array.array("i", [0])
        fcntl.ioctl(port, TIOCGEXCL, flag)
        return bool(flag[0])
    finally:
        os.close(port)


@contextmanager
def nobody() -> Iterator[None]:
    """Root may do everything: be somebody else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_writes_and_reads(far: FarEnd) -> None:
    ear = Ear()
    line = await open_port(far.path, BAUD, ear)
    line.write(b"AT\r")
    await far.answer(b"AT", b"\0\xff\r\nOK\r\n")
    await ear.change()

    assert bytes(ear.data) == b"\0\xff\r\nOK\r\n"
    line.close()


async def test_missing(tmp_path: Path) -> None:
    with pytest.raises(LineLost, match=r"^not there$"):
        await open_port(str(tmp_path / "ttyUSB0"), BAUD, Ear())
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    with pytest.raises(LineLost, match=r"^not there$"):
        await open_port(str(tmp_path / "dangling"), BAUD, Ear())


async def test_no_serial_port(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    os.mkfifo(tmp_path / "fifo")

    for path in (tmp_path / "file", tmp_path / "fifo", tmp_path, "a\0b"):
        with pytest.raises(LineLost, match=r"^not a serial port$"):
            await open_port(str(path), BAUD, Ear())
        await left(str(path), 0)

    assert (tmp_path / "file").read_bytes() == b"kept"


async def test_a_speed_that_is_none(far: FarEnd) -> None:
    for baud in (-1, 10**30):
        with pytest.raises(LineLost):
            await open_port(far.path, baud, Ear())
    await left(far.path)


@pytest.mark.skipif(sys.platform != "linux", reason="modes of ptys")
async def test_forbidden(far: FarEnd) -> None:
    os.chmod(far.path, 0)  # noqa: PTH101
    with nobody(), pytest.raises(LineLost, match=r"^no permission$"):
        await open_port(far.path, BAUD, Ear())


async def test_in_use(far: FarEnd) -> None:
    line = await open_port(far.path, BAUD, Ear())

    with pytest.raises(LineLost, match=r"^in use by another program$"):
        await open_port(far.path, BAUD, Ear())

    await left(far.path, 2)
    line.close()
    (await open_port(far.path, BAUD, Ear())).close()


@pytest.mark.skipif(sys.platform != "linux", reason="TIOCGEXCL")
async def test_in_use_for_programs_that_know_no_flock_too(far: FarEnd) -> None:
    os.chmod(far.path, 0o666)  # noqa: PTH101
    line = await open_port(far.path, BAUD, Ear())
    assert is_exclusive(far.path) or os.geteuid() != 0
    with nobody(), pytest.raises(OSError, match="busy"):
        os.open(far.path, os.O_RDWR | os.O_NOCTTY)
    with nobody(), pytest.raises(LineLost, match=r"^in use by another program$"):
        await open_port(far.path, BAUD, Ear())

    line.close()

    assert not is_exclusive(far.path)
    with nobody():
        os.close(os.open(far.path, os.O_RDWR | os.O_NOCTTY))


async def test_what_is_closed_can_be_opened_at_once(far: FarEnd) -> None:
    for _ in range(50):
        line = await open_port(far.path, BAUD, Ear())
        line.close()
        line.close()
    await left(far.path)


async def test_unplugged(far: FarEnd) -> None:
    ear = Ear()
    line = await open_port(far.path, BAUD, ear)
    assert opened(far.path) == 2
    far.unplug()
    await ear.change()

    assert ear.losses == ["the port is gone"]
    with pytest.raises(LineLost):
        line.write(b"AT\r")
    line.close()
    await left(far.path, 0)
    assert ear.losses == ["the port is gone"]


async def test_unplugged_with_octets_on_their_way(far: FarEnd, caplog: pytest.LogCaptureFixture) -> None:
    far.stop_reading()
    ear = Ear()
    line = await open_port(far.path, BAUD, ear)
    line.write(b"x" * 60_000)
    await asyncio.sleep(0.05)
    far.unplug()
    await ear.change()

    assert ear.losses == ["the port is gone"]
    line.close()
    await left(far.path, 0)
    assert "xxxx" not in caplog.text


async def test_nothing_is_told_after_closing(far: FarEnd) -> None:
    ear = Ear()
    line = await open_port(far.path, BAUD, ear)
    far.say(b"RING\r\n")
    line.close()
    far.unplug()
    await asyncio.sleep(0.05)

    assert not ear.data
    assert not ear.losses
    with pytest.raises(LineLost):
        line.write(b"AT\r")


async def test_a_modem_that_takes_nothing_holds_up_nothing(far: FarEnd) -> None:
    """Neither memory, nor the loop, nor the closing."""
    far.stop_reading()
    line = await open_port(far.path, BAUD, Ear())

    async def write() -> None:
        for _ in range(1000):
            line.write(b"x" * 1024)
            await asyncio.sleep(0)

    with pytest.raises(LineLost, match="takes no data"):
        await write()
    assert line._transport.get_write_buffer_size() < WAITING_MOST + 2048  # type: ignore[attr-defined]

    line.close()

    await left(far.path)


async def test_a_full_device_is_told_and_waited_for(far: FarEnd) -> None:
    """pyserial's own write would turn round and round here, in the loop."""
    far.stop_reading()
    line = await open_port(far.path, BAUD, Ear())

    def fill() -> None:
        while True:
            line._port.write(b"x" * 1024)  # type: ignore[attr-defined]

    with pytest.raises(BlockingIOError):
        fill()
    line.close()


@pytest.mark.parametrize("moment", range(8))
async def test_cancelled_while_opening_leaves_nothing_open(far: FarEnd, moment: int) -> None:
    for _ in range(20):
        task = asyncio.create_task(open_port(far.path, BAUD, Ear()))
        for _ in range(moment):
            await asyncio.sleep(0.0002)
        task.cancel()
        done = (await asyncio.gather(task, return_exceptions=True))[0]
        if not isinstance(done, BaseException):
            done.close()
        await left(far.path)


async def test_cancelled_in_the_moment_it_is_open(far: FarEnd) -> None:
    task = asyncio.create_task(open_port(far.path, BAUD, Ear()))
    await asyncio.sleep(0)
    # The thread's outcome and the cancellation meet in one step of the loop.
    loop = asyncio.get_running_loop()
    while "_settle" not in repr(loop._ready):  # type: ignore[attr-defined]
        pass
    loop.call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    await left(far.path)


def test_the_loop_ends_while_it_opens() -> None:
    master, slave = pty.openpty()

    async def leave() -> None:
        asyncio.create_task(open_port(os.ttyname(slave), BAUD, Ear()))  # noqa: RUF006  it is to be left
        await asyncio.sleep(0)

    asyncio.run(leave())
    for thread in threading.enumerate():
        if thread.name == "gsm-open":
            thread.join(PATIENCE)
    assert opened(os.ttyname(slave)) == 1
    os.close(master)
    os.close(slave)
