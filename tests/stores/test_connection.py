from __future__ import annotations

import asyncio
import ssl
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio.connection
import trustme

from otpsvc.errors import StoreUnavailable
from otpsvc.stores.connection import OPEN, Connector, Line
from otpsvc.stores.url import read_url
from otpsvc.stores.wire import Script, StoreError
from tests.far_ends.valkey import ValkeyServer, free_port, programs
from tests.stores.callers import COUNT, PATIENT, patient
from tests.waiting import PATIENCE, until

PASSWORD = "hunter2 /@:?"
QUOTED = "hunter2%20%2F%40%3A%3F"


@pytest.fixture(scope="module")
def locked() -> Iterator[ValkeyServer]:
    """A server with a password, on a port and a socket."""
    with ValkeyServer(
        f'requirepass "{PASSWORD}"', f'user shop on ">{PASSWORD}" ~* &* +@all', port=free_port()
    ) as running:
        yield running


LATE = "the store did not answer in time"


def to(url: str, **more: Any) -> Connector:
    """A connector that a busy machine does not bring to its limits."""
    return Connector(url, timeout=PATIENT, **more)


async def told(connector: Connector) -> str:
    """What a caller reads when no connection comes about."""
    with pytest.raises(StoreUnavailable) as caught:
        await connector.open()
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


async def works(connector: Connector) -> bool:
    line = await connector.open()
    answers = await line.ask(("PING",), ("CLIENT", "GETNAME"))
    await line.close()
    return answers == [b"PONG", b"otpsvc"]


@pytest.mark.parametrize(
    "url",
    [
        "redis://:{password}@127.0.0.1:{port}/1",
        "redis://shop:{password}@127.0.0.1:{port}",
        "redis://localhost:{port}?username=shop&password={password}&db=1",
        "unix://{path}?password={password}&db=1",
    ],
)
async def test_it_connects_and_logs_in(locked: ValkeyServer, url: str) -> None:
    assert await works(to(url.format(password=QUOTED, port=locked.port, path=locked.path)))


@pytest.mark.parametrize("login", ["", ":wrong@", "mallory:hunter2@"])
async def test_a_refused_login_says_so(locked: ValkeyServer, login: str) -> None:
    assert await told(to(f"redis://{login}127.0.0.1:{locked.port}")) == "the store refused the login"


async def test_nobody_there_says_so() -> None:
    assert await told(to(f"redis://127.0.0.1:{free_port()}")) == "the store refused the connection"
    assert await told(to("unix:///nowhere/s")) == "the store refused the connection"


async def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    writers = []
    silent = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with asyncio.timeout(PATIENCE):
        assert await told(Connector(f"redis://127.0.0.1:{port}")) == LATE
    silent.close()
    for writer in writers:
        writer.close()


async def test_who_has_more_time_waits_for_a_server_that_stalls() -> None:
    with ValkeyServer() as server:
        server.pause()
        opening = asyncio.ensure_future(to(server.url).open())
        await asyncio.sleep(2 * OPEN)
        assert not opening.done()
        server.resume()
        await (await opening).close()


async def test_every_connection_knows_its_server_and_its_scripts() -> None:
    with ValkeyServer() as server:
        connector = to(server.url, scripts=[COUNT])
        run_ids = []
        for _ in range(2):
            line = await connector.open()
            run_ids.append(line.run_id)
            assert await line.ask(("EVALSHA", COUNT.sha1, 1, "n")) == [1]
            assert line.run_id == server.ask("INFO", "server")["run_id"].encode()
            await line.close()
            server.restart()
        assert run_ids[0] != run_ids[1]


async def test_a_script_that_does_not_compile_is_named() -> None:
    with ValkeyServer() as server:
        connector = to(server.url, scripts=[COUNT, Script("crooked", "return return")])
        with pytest.raises(StoreError, match="ERR to crooked"):
            await connector.open()


@pytest.mark.parametrize("uvloop", [False, True])
async def test_detach_leaves_redis_py_without_the_socket(locked: ValkeyServer, uvloop: bool) -> None:
    # A new redis-py may keep its streams elsewhere: this is the test that says so.
    async def detached() -> None:
        line = await to(f"unix://{locked.path}?password={QUOTED}").open()
        connection = line._connection
        assert isinstance(connection, redis.asyncio.connection.AbstractConnection)
        assert connection.is_connected
        transport, _ = line.detach()
        assert not connection.is_connected
        assert not transport.is_closing()
        transport.abort()
        await asyncio.sleep(0)

    if uvloop:
        import uvloop as other

        await asyncio.to_thread(other.run, detached())
    else:
        await detached()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A server that speaks TLS alone and wants a client certificate; Debian's Redis can."""
    if "redis" not in programs():
        pytest.skip("no redis-server here, and the embedded one has no TLS")
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca")
    trustme.CA().cert_pem.write_to_path(folder / "other-ca")
    for name in ("localhost", "client"):
        issued = authority.issue_cert(name)
        issued.private_key_and_cert_chain_pem.write_to_path(folder / name)
    port = free_port()
    settings = (
        f"tls-port {port}",
        f"tls-cert-file {folder}/localhost",
        f"tls-key-file {folder}/localhost",
        f"tls-ca-cert-file {folder}/ca",
    )
    with ValkeyServer(*settings, program=programs()["redis"]):
        yield port, folder


async def test_tls_with_a_client_certificate(tls: tuple[int, Path]) -> None:
    port, folder = tls
    client = f"ssl_certfile={folder}/client&ssl_keyfile={folder}/client"

    assert await works(to(f"rediss://localhost:{port}?ssl_ca_certs={folder}/ca&{client}"))
    batcher = patient(f"rediss://localhost:{port}?ssl_ca_certs={folder}/ca&{client}")
    assert await asyncio.gather(*(batcher.call("ECHO", n) for n in range(100))) == [
        b"%d" % n for n in range(100)
    ]
    await batcher.close()


@pytest.mark.parametrize(
    "wrong",
    [
        "localhost:{port}?ssl_ca_certs={folder}/other-ca&{client}",
        "127.0.0.1:{port}?ssl_ca_certs={folder}/ca&{client}",
        "localhost:{port}?{client}",
    ],
)
async def test_tls_with_a_stranger_fails(tls: tuple[int, Path], wrong: str) -> None:
    port, folder = tls
    client = f"ssl_certfile={folder}/client&ssl_keyfile={folder}/client"
    connector = to("rediss://" + wrong.format(port=port, folder=folder, client=client))

    assert await told(connector) == "the TLS handshake with the store failed"


async def test_tls_without_the_client_certificate_fails(tls: tuple[int, Path]) -> None:
    port, folder = tls
    assert await told(to(f"rediss://localhost:{port}?ssl_ca_certs={folder}/ca"))


def test_plain_text_is_never_a_fallback(tls: tuple[int, Path]) -> None:
    port, folder = tls
    made = read_url(f"rediss://localhost:{port}?ssl_ca_certs={folder}/ca")
    connection: Any = redis.asyncio.connection.SSLConnection(host="localhost", port=port, **made.options)
    assert connection.ssl_context.get().verify_mode is ssl.CERT_REQUIRED
    assert connection.ssl_context.get().check_hostname


async def test_sentinel_names_the_master_and_the_next_one_after_a_failover() -> None:
    ports: set[int] = set()
    while len(ports) < 4:
        ports.add(free_port())
    first, second, third, dead = ports
    watch = (
        f"sentinel monitor shop 127.0.0.1 {first} 1",
        # Until it is to happen, nobody takes a master that is only slow for dead.
        "sentinel down-after-milliseconds shop 60000",
        "sentinel failover-timeout shop 1000",
    )
    with (
        ValkeyServer(port=first) as master,
        ValkeyServer(f"replicaof 127.0.0.1 {first}", port=second) as replica,
    ):

        async def linked() -> bool:
            return bool(replica.ask("INFO", "replication")["master_link_status"] == "up")

        await until(linked)
        with ValkeyServer(*watch, port=third, sentinel=True) as sentinel:
            batcher = patient(f"redis+sentinel://127.0.0.1:{dead},127.0.0.1:{third}/shop")
            await batcher.call("PING")
            assert batcher.run_id == run_id(master)

            async def known() -> bool:
                return bool(sentinel.ask("SENTINEL", "REPLICAS", "shop"))

            async def writes() -> bool:
                try:
                    return bool(await batcher.call("SET", "a", "b"))
                except StoreUnavailable:
                    return False

            await until(known)
            sentinel.ask("SENTINEL", "SET", "shop", "down-after-milliseconds", 200)
            master.kill()
            await until(writes)
            assert batcher.run_id == run_id(replica)
            await batcher.close()


def run_id(server: ValkeyServer) -> bytes:
    return str(server.ask("INFO", "server")["run_id"]).encode()


@pytest.fixture
async def sentinel_that_knows() -> AsyncIterator[Any]:
    """A sentinel that always names the port it is told; 0: it knows no master."""
    servers = []

    async def named(port: int) -> int:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1000)
            known = b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(port)), port)
            writer.write(known if port else b"*-1\r\n")
            await writer.drain()
            writer.close()

        servers.append(await asyncio.start_server(answer, "127.0.0.1", 0))
        return int(servers[-1].sockets[0].getsockname()[1])

    yield named
    for server in servers:
        server.close()


async def test_a_sentinel_that_names_a_replica_is_not_believed(sentinel_that_knows: Any) -> None:
    with ValkeyServer("replicaof 127.0.0.1 1", port=free_port()) as replica:
        sentinel = await sentinel_that_knows(replica.port)
        assert await told(to(f"redis+sentinel://127.0.0.1:{sentinel}/shop")) == "the store is a replica"


async def test_the_sentinel_that_answered_is_asked_first_next_time(sentinel_that_knows: Any) -> None:
    asked = []

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(writer)
        writer.close()

    ill = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    with ValkeyServer(port=free_port()) as master:
        well = await sentinel_that_knows(master.port)
        port = ill.sockets[0].getsockname()[1]
        connector = to(f"redis+sentinel://127.0.0.1:{port},127.0.0.1:{well}/shop")
        assert await works(connector)
        assert await works(connector)
    assert len(asked) == 1
    ill.close()


async def test_no_sentinel_that_knows_says_so(sentinel_that_knows: Any) -> None:
    sentinel = await sentinel_that_knows(0)
    connector = to(f"redis+sentinel://127.0.0.1:{sentinel},127.0.0.1:{free_port()}/shop")
    assert await told(connector) == "no sentinel knows the master"


def test_a_line_that_was_never_connected_may_be_closed() -> None:
    asyncio.run(Line(redis.asyncio.connection.Connection()).close())
