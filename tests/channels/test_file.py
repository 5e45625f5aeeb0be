"""The file channel: plain text only by hand, whole lines, for its owner's eyes."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from otpsvc.channels.file import FileChannel, FileConfig
from otpsvc.errors import ConfigError, Refused, Unavailable
from tests.channels import ADDRESS, CODE, TEXT, ignore, message


def channel(path: Path, **table: Any) -> FileChannel:
    base = {"type": "file", "path": str(path), "allow_plaintext": True}
    return FileChannel(msgspec.convert(base | table, FileConfig), ignore, now=lambda: 1_800_000_000.5)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_line_per_message(tmp_path: Path) -> None:
    path = tmp_path / "codes"
    async with channel(path) as file:
        await file.send(message(text="two\nlines"))
        await file.send(message())

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["text"] for line in lines] == ["two\nlines", TEXT]
    assert lines[1] == {
        "id": message().id,
        "to": ADDRESS,
        "text": TEXT,
        "subject": "Your code",
        "code": CODE,
        "at": 1_800_000_000.5,
    }


def test_plain_text_must_be_allowed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="allow_plaintext: expected true"):
        channel(tmp_path / "codes", allow_plaintext=False)

    assert not (tmp_path / "codes").exists()


def test_a_path_is_needed() -> None:
    with pytest.raises(msgspec.ValidationError, match="path: expected"):
        msgspec.convert({"type": "file", "path": ""}, FileConfig)


async def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """Under any umask, and also when it was open to all before."""
    new, old = tmp_path / "new", tmp_path / "old"
    old.write_text("kept\n")
    old.chmod(0o644)
    before = os.umask(0)
    try:
        async with channel(new), channel(old) as file:
            await file.send(message())
    finally:
        os.umask(before)

    assert (mode(new), mode(old)) == (0o600, 0o600)
    assert old.read_text().startswith("kept\n{")


async def test_it_warns_at_open(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as lines:
        async with channel(tmp_path / "codes"):
            pass

    assert [(line["log_level"], line["path"]) for line in lines] == [("warning", str(tmp_path / "codes"))]


@pytest.mark.parametrize("trap", ["link", "pipe", "folder"])
async def test_what_is_no_file_is_not_written(tmp_path: Path, trap: str) -> None:
    """Somebody else could have chosen where the codes go."""
    path = tmp_path / "codes"
    match trap:
        case "link":
            path.symlink_to(tmp_path / "elsewhere")
        case "pipe":
            os.mkfifo(path)
            reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        case "folder":
            path.mkdir()
    async with channel(path) as file:
        with pytest.raises(Unavailable, match="cannot open the file"):
            await file.send(message())

    assert not (tmp_path / "elsewhere").exists()
    if trap == "pipe":
        os.close(reader)


async def test_a_folder_may_come_later(tmp_path: Path) -> None:
    path = tmp_path / "later" / "codes"
    async with channel(path) as file:
        with pytest.raises(Unavailable):
            await file.ping()
        path.parent.mkdir()
        await file.send(message())

    assert path.read_text().count("\n") == 1


async def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    """The kernel's limit on the size of a file stands for the disk."""
    import resource
    import signal

    path = tmp_path / "codes"
    async with channel(path) as file:
        await file.send(message())
        whole = path.read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, limits[1]))
        try:
            with pytest.raises(Unavailable):
                await file.send(message())
            after = path.read_bytes()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)

    assert after == whole


async def test_text_that_is_not_unicode_is_refused(tmp_path: Path) -> None:
    async with channel(tmp_path / "codes") as file:
        with pytest.raises(Refused):
            await file.send(message(text="\ud800"))
