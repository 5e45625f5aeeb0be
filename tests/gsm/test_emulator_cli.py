"""`python -m otpsvc.gsm.emulator`, as a person starts it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gsm.terminal import Terminal
from tests.waiting import PATIENCE


class Started:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self, holding: str = "") -> str:
        """The next line that holds these words."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while line := (await self.process.stdout.readline()).decode():
                if holding in line:
                    return line.rstrip("\n")
        pytest.fail(f"no line with {holding!r}")

    def type(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)

    async def end(self, number: int = signal.SIGINT) -> int:
        """The exit status; `number` 0: it ends by itself."""
        if number and self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode


def is_device(path: str) -> bool:
    return Path(path).is_char_device()


def is_there(path: str) -> bool:
    """Also the directory that was made for it."""
    return Path(path).is_symlink() or Path(path).parent.exists()


async def start(*arguments: str) -> Started:
    return Started(
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "otpsvc.gsm.emulator",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        ),
    )


@pytest.fixture
async def started(tmp_path: Path) -> AsyncIterator[Started]:
    program = await start("--count", "2", "--latency", "0", "--directory", str(tmp_path))
    yield program
    await program.end()


async def test_it_prints_paths_and_what_arrives(started: Started, tmp_path: Path) -> None:
    assert (await started.line()).startswith(f"{tmp_path}/modem1  number +62811")
    await started.line("Ctrl-C")
    async with Terminal(str(tmp_path / "modem2")) as terminal:
        assert "+CMGS: 1" in await terminal.hand("+62812", "Your code is\n123456")

    # A person asked for it; but what came may not steer the terminal.
    assert (await started.line("->")).endswith("-> +62812: Your code is\N{REPLACEMENT CHARACTER}123456")


async def test_a_typed_line_is_a_text_that_comes_in(started: Started, tmp_path: Path) -> None:
    await started.line("Ctrl-C")
    async with Terminal(str(tmp_path / "modem1")) as terminal:
        await terminal.ask("AT")
        started.type(b"3 Nobody\n")
        await started.line("Type the number")
        started.type(b"1 Hello in there\n")
        await terminal.until(b'+CMTI: "SM",1\r\n')
        await terminal.ask("AT+CMGF=1")
        assert "\nHello in there\n" in await terminal.ask("AT+CMGR=1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_ends_and_takes_its_paths_along(number: int) -> None:
    program = await start("--pin", "1234")
    path = (await program.line("number")).split()[0]
    await program.line("Ctrl-C")
    assert is_device(path)

    assert await program.end(number) == 0
    assert not is_device(path)
    assert not is_there(path)


@pytest.mark.parametrize(
    "wrong",
    [("--count", "0"), ("--count", "100"), ("--directory", "/nowhere/at/all"), ("--reports", "maybe")],
)
async def test_wrong_options(wrong: tuple[str, str]) -> None:
    program = await start(*wrong)

    assert wrong[0] in await program.line("error:")
    assert await program.end(0) == 2
