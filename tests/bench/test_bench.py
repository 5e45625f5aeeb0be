"""The bench runs and says everything; how fast anything is, no test says."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.bench import processes

pytestmark = pytest.mark.skipif(not processes.available(), reason="needs /proc as Linux has it")


def bench(*arguments: str) -> str:
    command = [sys.executable, "-m", "tests.bench", "--quick", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=110).stdout


def test_every_row_is_printed() -> None:
    said = json.loads(bench("--json"))

    rows = {(row["route"], row["hash"], row["workers"]) for row in said["results"]["rows"]}
    routes = ("create", "create-alone", "wrong", "right", "status", "status-open")
    assert rows == {
        (route, hash, workers)
        for route in routes
        for hash in ("hmac-sha256", "argon2id")
        for workers in (1, 2)
    }
    assert all(row["rate"] > 0 and "besides" not in row["note"] for row in said["results"]["rows"])
    # Nine aims of figures, two for each of four routes, and two figures of the second service.
    assert len(said["aims"]) == 2 * 4 + 6 + 2


def test_tables_are_written_for_people() -> None:
    said = bench("--only", "status", "--workers", "1")

    assert "x yardstick" in said
    assert "status, yardsticks" in said
