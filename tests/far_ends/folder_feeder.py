"""A feeder as another package would bring it: commands are files of a folder, misdeeds too.

*.json   a command; its file is removed once it was taken, `*.answer` is written
refuse   the login is refused, with the words of the file
crash    the session ends with an exception that nobody expects
late/    commands that come when the feeder drains
log      what it did, one line each
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from otpsvc.errors import BrokerRefused, ConfigError
from otpsvc.feeder import Feeder, FeederConfig, Frame, Lent


class FolderConfig(FeederConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    folder: str


class FolderFeeder(Feeder):
    Config = FolderConfig
    config: FolderConfig

    def __init__(self, name: str, config: FolderConfig, lent: Lent) -> None:
        super().__init__(name, config, lent)
        if (self.folder / "broken").exists():
            raise ConfigError("", f"feeders.{name}", "a folder that is not broken")

    @property
    def folder(self) -> Path:
        return Path(self.config.folder)

    def note(self, words: str) -> None:
        with (self.folder / "log").open("a") as log:
            log.write(f"{words} {os.getpid()}\n")

    async def __aenter__(self) -> Self:
        self.note("open")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.note("close")

    async def session(self) -> None:
        if (self.folder / "refuse").exists():
            raise BrokerRefused(read(self.folder / "refuse").decode())
        self.note("session")
        self.lent.tally.up()
        while True:
            waiting = self.commands(self.folder)
            self.lent.tally.lag(len(waiting))
            for path in waiting:
                await self.take(path)
            if (self.folder / "crash").exists():
                raise KeyError((self.folder / "crash").read_text())
            await asyncio.sleep(0.02)

    @staticmethod
    def commands(folder: Path) -> list[Path]:
        return sorted(folder.glob("*.json"))

    async def take(self, path: Path) -> None:
        taken = await self.lent.intake.take(Frame(body=read(path), asked=True))
        if taken.refused:
            self.lent.tally.dead_lettered(taken.refused)
        end(path, taken.answer)

    async def drain(self) -> None:
        self.note("drain")
        for path in self.commands(self.folder / "late"):
            await self.take(path)


def read(path: Path) -> bytes:
    return path.read_bytes()


def end(path: Path, answer: bytes) -> None:
    path.with_suffix(".answer").write_bytes(answer)
    path.unlink()


def installed(site: Path) -> str:
    """Makes the entry point as pip would, in this folder; the PYTHONPATH that shows it."""
    info = site / "folder_feeder-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: folder-feeder\nVersion: 1.0\n")
    place = f"{__name__}:{FolderFeeder.__name__}"
    (info / "entry_points.txt").write_text(f"[otpsvc.feeders]\nfolder = {place}\n")
    return f"{site}{os.pathsep}{Path(__file__).parents[2]}"


class Folder:
    """The far side: writes commands, reads what became of them."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True)
        (path / "late").mkdir()
        self.path = path

    def table(self, name: str = "box", **more: str) -> str:
        rows = {"type": "folder", "tenant": "box", "channel": "log", "folder": str(self.path), **more}
        return f"[feeders.{name}]\n" + "".join(f'{key} = "{value}"\n' for key, value in rows.items())

    def put(self, name: str, body: str, *, late: bool = False) -> None:
        """Whole or not at all."""
        folder = self.path / "late" if late else self.path
        (folder / f"{name}.part").write_text(body)
        (folder / f"{name}.part").rename(folder / f"{name}.json")

    def answer(self, name: str) -> str:
        path = self.path / f"{name}.answer"
        # Written before the command goes.
        return path.read_text() if path.exists() and not (self.path / f"{name}.json").exists() else ""

    def say(self, misdeed: str, words: str = "") -> None:
        """Whole or not at all."""
        (self.path / f"{misdeed}.part").write_bytes(words.encode())
        (self.path / f"{misdeed}.part").rename(self.path / misdeed)

    def behave(self) -> None:
        for misdeed in ("refuse", "crash", "broken"):
            (self.path / misdeed).unlink(missing_ok=True)

    def did(self) -> Iterator[tuple[str, int]]:
        """Each thing it did, and the process that did it."""
        path = self.path / "log"
        for line in path.read_text().splitlines() if path.exists() else ():
            word, _, pid = line.partition(" ")
            yield word, int(pid)

    def times(self, word: str) -> int:
        return [done for done, _ in self.did()].count(word)
