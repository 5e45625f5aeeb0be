"""`otpsvc feeders` beside a service that runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.far_ends.folder_feeder import Folder, installed
from tests.flows.serving_rig import HASH, ROOT, Served
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

#: What moves a terminal's cursor, or turns the direction of what follows.
EVIL = "\x1b[31m\x9b0m\r\u202eno such login\nbox  folder  box  connected"
TENANT = f'[tenants.box]\nsecret_hash = "{HASH}"\nscopes = ["sms"]\n'
COMMAND = '{"command": "send-sms", "data": {"msisdn": "+12025550123", "message": "hello"}}'


@pytest.fixture(autouse=True)
def _plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", installed(tmp_path / "site"))


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "otpsvc", "feeders", *words]
    config = ["--config", str(folder / "config.toml")]
    return subprocess.run(
        [*command, *config], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def told(folder: Path) -> str:
    """The table, once all was counted; else nothing."""
    said = run(folder)
    assert said.returncode == 0, said
    return (
        said.stdout if re.search(r" 0 +2 +1 +1 .*\n(.*\n)*other +folder +box +refused ", said.stdout) else ""
    )


async def test_feeders_are_listed_with_what_an_operator_wants_to_know(tmp_path: Path) -> None:
    well, bad = Folder(tmp_path / "well"), Folder(tmp_path / "bad")
    bad.say("refuse", EVIL)
    more = TENANT + well.table() + bad.table("other")
    async with Served(tmp_path / "s", more=more) as served:
        well.put("1", COMMAND)
        well.put("2", "no json")
        await until(lambda: well.answer("2"), served.log)

        table = await until(lambda: told(served.folder), served.log)
        heads, first, second, why = table.splitlines()
        assert heads.split() == [
            *("FEEDER", "TYPE", "TENANT", "STATE", "FOR"),
            *("LAG", "TAKEN", "REFUSED", "DEAD", "NODE"),
        ]
        assert re.match(r"box +folder +box +connected +\d+ (s|min) +0 +2 +1 +1 +\S+$", first)
        assert re.match(r"other +folder +box +refused +\d+ (s|min) +0 +0 +0 +\S+$", second)
        assert why.startswith("other: ")
        assert "no such login" in why
        assert table.replace("\n", "").isprintable()

        rows = [json.loads(line) for line in run(served.folder, "--json").stdout.splitlines()]
        assert [(row["name"], row["state"], row["lag"]) for row in rows] == [
            ("box", "connected", 0),
            ("other", "refused", None),
        ]
        assert (rows[0]["consumed"], rows[0]["refused"], rows[0]["dead_lettered"]) == (2, 1, 1)
        assert rows[1]["reason"] == EVIL
        assert rows[0]["node"] == rows[1]["node"]
        assert abs(rows[0]["told"] - rows[0]["since"]) < 300


async def test_no_feeder_at_all_is_said_and_is_no_failure(tmp_path: Path) -> None:
    async with Served(tmp_path / "bare") as served:
        said = run(served.folder)

    assert (said.returncode, said.stdout) == (0, "")
    assert said.stderr == "No process tells of a feeder: is one running whose config has [feeders]?\n"


def test_nothing_that_runs_is_said_in_one_line(tmp_path: Path) -> None:
    served = Served(tmp_path / "idle")

    said = run(served.folder)

    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == (
        f"Error: no otpsvc is running on {served.folder}/data: start it with `otpsvc serve`\n"
    )
