"""The bench runs and says everything; how fast anything is, no test says."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable

import msgspec
import pytest

from tests.bench import processes
from tests.bench.table import Results, aims, written

pytestmark = pytest.mark.skipif(not processes.available(), reason="needs /proc as Linux has it")


async def bench(*arguments: str) -> Results:
    """Beside the loop: what else lives in it must not seem dead meanwhile."""
    command = [sys.executable, "-m", "tests.bench", "--quick", "--json", *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    said, _ = await process.communicate()
    assert process.returncode == 0
    return msgspec.convert(msgspec.json.decode(said)["results"], Results)


# It starts thirty processes: seconds on an idle machine, minutes on a busy one.
@pytest.mark.timeout(900)
async def test_every_row_is_printed(need: Callable[[str], str]) -> None:
    need("rabbitmq-server")
    need("mosquitto")
    results = await bench()

    routes = ("create", "create-alone", "wrong", "right", "status", "status-open", "page")
    assert {(row.route, row.hash, row.workers) for row in results.rows} == {
        (route, hash, workers)
        for route in routes
        for hash in ("hmac-sha256", "argon2id")
        for workers in (1, 2)
    }
    assert all(row.rate > 0 and "besides" not in row.note for row in results.rows)
    # Two for each of four routes; figures, of the second service, of modems, of feeders.
    assert len(aims(results)) == 2 * 4 + 6 + 2 + 6 + 6
    text = written(results)
    assert all(figure.name in text for figure in results.figures)
    assert "status-open, yardsticks" in text
