"""The AT side of a modem: characters in, lines out, one command line at a time (ITU-T V.250, 5).

A command is a function that returns its information lines, or a generator that yields
what it waits for: seconds, or `Body` for what is typed at a prompt. A generator that
yields a function ends without an answer, and the function is run.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Generator, Iterable
from typing import TypeAlias

from msgspec import Struct

from otpsvc.gsm.emulator.answer import Format
from otpsvc.gsm.emulator.parse import Call, calls
from otpsvc.gsm.emulator.quirks import Quirks
from otpsvc.gsm.emulator.sim import Refusal

CTRL_Z = 0x1A


class Body(Struct, frozen=True):
    """Wait for the body of a text; `prompt` is shown. `begun`: its first character is enough."""

    prompt: bytes
    begun: bool = False


Lines: TypeAlias = Iterable[str]
Wait: TypeAlias = float | Body | Callable[[], None]
Steps: TypeAlias = Generator[Wait, bytes | None, Lines]
Handle: TypeAlias = Callable[[Call], Lines | Steps]


class Dialogue:
    """`write` takes what goes to the client, `handle` runs one command."""

    def __init__(self, write: Callable[[bytes], None], handle: Handle, quirks: Quirks) -> None:
        self._write = write
        self._handle = handle
        self._quirks = quirks
        self._random = random.Random(quirks.seed)
        self.format = Format(worded=quirks.worded)
        self._last = ""
        self._input = bytearray()
        self._held: list[str] = []
        self._calls: list[Call] = []
        self._steps: Steps | None = None
        self._body: Body | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.final = "OK"

    @property
    def busy(self) -> bool:
        return self._steps is not None

    @property
    def running(self) -> bool:
        """A command runs and waits for time to pass, not for what is typed."""
        return self._timer is not None

    def reset(self) -> None:
        """Forget what runs and what was typed; nothing is answered."""
        self._stop()
        self._input.clear()
        self._held.clear()
        self.format = Format(echo=self._quirks.echo, worded=self._quirks.worded)

    def _stop(self) -> None:
        steps, self._steps = self._steps, None
        self._body = None
        self._calls = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if steps is not None:
            steps.close()

    # --- in

    def received(self, data: bytes) -> None:
        """What the client wrote."""
        if self.busy and self._body is None and self._quirks.busy != "queued":
            if self._quirks.busy == "abort":
                self._stop()
                self._finish()
            return
        self._input += data
        self._pump()

    def _pump(self) -> None:
        while self._input:
            if self._body is not None:
                if not self._take_body(self._body):
                    return
            elif self.busy:
                if self._quirks.busy != "queued":
                    self._input.clear()
                return
            elif not self._take_line():
                return

    def _take_line(self) -> bool:
        """Run a command line, if there is a whole one."""
        end = self._input.find(b"\r")
        if end < 0:
            return False
        raw = bytes(self._input[: end + 1])
        del self._input[: end + 1]
        if self.format.echo:
            self._write(raw.lstrip(b"\n\x1a\x1b"))
        self._run(_typed(raw))
        return True

    def _take_body(self, body: Body) -> bool:
        """Take the body up to its end, if that came."""
        if body.begun:
            self._input.clear()
            self._body = None
            self._step(b"")
            return True
        end = min((at for at in map(self._input.find, (b"\x1a", b"\x1b")) if at >= 0), default=-1)
        if end < 0:
            return False
        typed, last = bytes(self._input[:end]), self._input[end]
        del self._input[: end + 1]
        if self.format.echo:
            self._write(typed)
        self._body = None
        self._step(typed if last == CTRL_Z else None)
        return True

    # --- running

    def _run(self, line: str) -> None:
        line = line.strip()
        if line.upper() == "A/":
            line = self._last
        start = line.upper().find("AT")
        if start < 0:
            return
        self._last = line[start:]
        try:
            self._calls = list(calls(line[start + 2 :]))
        except ValueError:
            self._refuse(Refusal())
            return
        self._steps = self._line()
        self._step(None)

    def _line(self) -> Steps:
        """All commands of a line, one after the other."""
        if self._quirks.delay:
            yield self._quirks.delay
        for call in self._calls:
            outcome = self._handle(call)
            lines = (yield from outcome) if isinstance(outcome, Generator) else outcome
            for line in lines:
                self._chatter()
                self.say(line)
        return ()

    def _step(self, value: bytes | None) -> None:
        self._timer = None
        steps = self._steps
        if steps is None:
            return
        try:
            wait = steps.send(value)
        except StopIteration:
            self._steps = None
            self._finish()
        except Refusal as refusal:
            self._steps = None
            self._refuse(refusal)
        except (ValueError, IndexError):
            self._steps = None
            self._refuse(Refusal())
        else:
            self._await(wait)

    def _await(self, wait: Wait) -> None:
        if isinstance(wait, Body):
            self._body = wait
            self.show(wait.prompt)
        elif callable(wait):
            self._stop()
            wait()
            self.flush()
        else:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(wait, self._resume)

    def _resume(self) -> None:
        self._step(None)
        self._pump()

    # --- out

    def _finish(self) -> None:
        final, self.final = self.final, "OK"
        if final:
            self._chatter()
            self._write(self.format.result(final))
        self.flush()

    def _refuse(self, refusal: Refusal) -> None:
        self.final = "OK"
        self._chatter()
        self._write(self.format.result(self.format.error(refusal)))
        self.flush()

    def show(self, prompt: bytes) -> None:
        """A prompt; nothing, if it was shown before."""
        if not prompt:
            return
        self._chatter()
        self._write(prompt)
        if self._quirks.urc_at_prompt:
            self._write(b"\r\n^RSSI:11\r\n")

    def say(self, line: str) -> None:
        """An information line, or a pair of lines."""
        self._write(self.format.information(line))

    def unsolicited(self, line: str) -> None:
        """A line that nobody asked for; at a prompt it waits."""
        if self._quirks.mute:
            return
        if self._body is not None:
            self._held.append(line)
        else:
            self._write(f"\r\n{line}\r\n".encode("latin-1", "replace"))

    def flush(self) -> None:
        """Write what waited for the end of a prompt."""
        held, self._held = self._held, []
        for line in held:
            self.unsolicited(line)

    def _chatter(self) -> None:
        quirks = self._quirks
        if quirks.noise and self._random.random() < quirks.noise:
            self._write(f"\r\n{self._random.choice(quirks.chatter)}\r\n".encode("latin-1"))
        if quirks.garbage and self._random.random() < quirks.garbage:
            self.litter()

    def litter(self) -> None:
        """Line noise: octets that end no line and show no prompt."""
        octets = self._random.choices([n for n in range(256) if n not in b"\r\n>"], k=20)
        self._write(b"\r\n" + bytes(octets) + b"\r\n")


def _typed(raw: bytes) -> str:
    """A command line after its editing (V.250, 5.2.1 and 5.2.2)."""
    if b"\b" not in raw:
        return raw.decode("latin-1").strip("\r\n\x00\x1a\x1b ")
    line: list[str] = []
    for letter in raw.decode("latin-1"):
        if letter == "\b":
            del line[-1:]
        else:
            line.append(letter)
    return "".join(line).strip("\r\n\x00\x1a\x1b ")
