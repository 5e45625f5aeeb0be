"""Opens connections to the store, and reads how safely the store keeps what it was told.

redis-py connects, logs in and speaks TLS. It never retries (SECURITY 21), and
its errors, which quote arguments, end here (SECURITY 22).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Literal

import redis.exceptions
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from otpsvc.errors import ConfigError, StoreUnavailable
from otpsvc.stores.url import Address, Target, read_url
from otpsvc.stores.wire import PASSING, ErrorReply, Script, StoreError

__all__ = ["Ask", "Connector", "Line", "Script", "Wanted", "check_durability"]

#: Seconds for all of it: sentinels, TLS, login, scripts. Below the 0.9 s of a call.
OPEN: Final = 0.8
#: Parts of that: for one socket to connect, and for one answer while logging in.
CONNECT: Final = 0.5
#: And that one sentinel may take, so that a dead one leaves time for the next.
SENTINEL: Final = 0.25

Wanted = Literal["always", "everysec", "managed", "none"]
#: `Batcher.call`, or anything like it.
Ask = Callable[..., Awaitable[Any]]


class Line:
    """One physical connection, logged in, scripts loaded. `run_id` names the life of its server (D9)."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.run_id = b""

    async def connect(self) -> None:
        """Raises: redis-py's errors, OSError, TimeoutError."""
        await self._connection.connect()

    async def ask(self, *commands: tuple[bytes | str | int, ...]) -> list[Any]:
        """Send commands together; what the store refused comes back as `ErrorReply` in its place."""
        await self._connection.send_packed_command(self._connection.pack_commands(commands))
        return [await self._answer() for _ in commands]

    async def _answer(self) -> Any:
        try:
            return await self._connection.read_response()
        except redis.exceptions.ResponseError as error:
            return _refusal(error)

    async def read(self, timeout: float) -> Any:
        """The next answer; None when nothing came for `timeout` seconds.

        Raises: StoreUnavailable.
        """
        try:
            return await self._connection.read_response(timeout=timeout)
        except (redis.exceptions.RedisError, OSError) as error:
            raise _masked(error) from None

    async def send(self, *command: bytes | str | int) -> None:
        """Send one command without waiting for its answer.

        Raises: StoreUnavailable.
        """
        try:
            await self._connection.send_packed_command(self._connection.pack_command(*command))
        except (redis.exceptions.RedisError, OSError) as error:
            raise _masked(error) from None

    def detach(self) -> tuple[asyncio.Transport, object]:
        """Take the socket out of redis-py: the transport, and what must be kept as long as it.

        The one place that knows where redis-py keeps its streams.
        """
        connection = self._connection
        writer = connection._writer  # noqa: SLF001 - redis-py has no public way
        connection._writer = connection._reader = None  # noqa: SLF001
        return writer.transport, writer

    async def close(self) -> None:
        """Hang up; safe to call twice."""
        await self._connection.disconnect(nowait=True)


class Connector:
    """Knows where the store is; `open` makes one new connection.

    `scripts` are loaded on every new connection. `fails_over` is True when the
    server behind the URL may change (sentinel), which no setting of one server
    makes durable.
    """

    def __init__(self, url: str, *, scripts: Iterable[Script] = (), timeout: float = OPEN) -> None:
        """`timeout`: seconds for all of `open`. Raises: ConfigError (which never repeats the URL)."""
        self._target = read_url(url)
        self._timeout = timeout
        self._scripts = tuple(scripts)
        self.fails_over = bool(self._target.sentinels)

    async def open(self) -> Line:
        """One connection, logged in, `run_id` read and scripts loaded.

        Raises: StoreUnavailable (StoreError when a script does not compile).
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._open()
        except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
            raise _masked(error) from None

    async def _open(self) -> Line:
        line = await self._connected(await self._address())
        try:
            await self._greet(line)
        except BaseException:
            await line.close()
            raise
        return line

    async def _connected(self, address: Address | None, **options: object) -> Line:
        limit = self._timeout * CONNECT
        limits = {"socket_timeout": limit, "socket_connect_timeout": limit}
        line = Line(_make(self._target, address, {**limits, **options}))
        try:
            await line.connect()
        except BaseException:
            await line.close()
            raise
        return line

    async def _greet(self, line: Line) -> None:
        loads = [("SCRIPT", "LOAD", script.source) for script in self._scripts]
        _, server, replication, *loaded = await line.ask(
            ("CLIENT", "SETNAME", "otpsvc"), ("INFO", "server"), ("INFO", "replication"), *loads
        )
        line.run_id = _info(server).get("run_id", "").encode()
        # A sentinel may still name the old master. (Sentinel client guidelines, step 3)
        if self.fails_over and _info(replication).get("role") != "master":
            raise StoreUnavailable(PASSING["READONLY"])
        for script, answer in zip(self._scripts, loaded, strict=True):
            if isinstance(answer, ErrorReply):
                raise answer.as_error(script.name)

    async def _address(self) -> Address | None:
        """Where to connect; with sentinels: what the first says that knows. None: a unix socket."""
        sentinels = self._target.sentinels
        if not sentinels:
            return self._target.address
        for place, sentinel in enumerate(sentinels):
            if master := await self._ask_sentinel(sentinel):
                # The next connection asks the one that answered first.
                sentinels.insert(0, sentinels.pop(place))
                return master
        raise StoreUnavailable("no sentinel knows the master")

    async def _ask_sentinel(self, sentinel: Address) -> Address | None:
        login = {"username": None, "password": None, "db": 0, **self._target.sentinel_login}
        question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._target.service)
        try:
            async with asyncio.timeout(self._timeout * SENTINEL):
                line = await self._connected(sentinel, **login)
                try:
                    [answer] = await line.ask(question)
                finally:
                    await line.close()
        except (redis.exceptions.RedisError, OSError, TimeoutError):
            return None
        return (answer[0].decode(), int(answer[1])) if isinstance(answer, list) else None


def _make(target: Target, address: Address | None, more: dict[str, object]) -> Any:
    options: dict[str, Any] = {
        # RESP2: nothing is ever pushed, so answers can be counted off.
        "protocol": 2,
        "decode_responses": False,
        "retry": Retry(NoBackoff(), 0),
        # No CLIENT SETINFO: two round trips less.
        "driver_info": None,
        **target.options,
        **more,
    }
    if address is None:
        return UnixDomainSocketConnection(path=target.path, **options)
    kind = SSLConnection if target.tls else Connection
    return kind(host=address[0], port=address[1], **options)


def _refusal(error: redis.exceptions.ResponseError) -> ErrorReply:
    # redis-py cuts the words that it knows off the text.
    return ErrorReply(f"{error.status_code} {error}" if error.status_code else str(error))


def _masked(error: Exception) -> StoreUnavailable:
    """What a caller is told of an error while connecting: a fixed phrase, never the error's text."""
    if isinstance(error, redis.exceptions.AuthenticationError):
        return StoreUnavailable("the store refused the login")
    if isinstance(error, redis.exceptions.BusyLoadingError):
        return StoreUnavailable(PASSING["LOADING"])
    if isinstance(error, redis.exceptions.ResponseError):
        return _refusal(error).as_error("login")
    if isinstance(error, redis.exceptions.TimeoutError | TimeoutError):
        return StoreUnavailable("the store did not answer in time")
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, ssl.SSLError):
            return StoreUnavailable("the TLS handshake with the store failed")
        if isinstance(inner, ConnectionRefusedError | FileNotFoundError):
            return StoreUnavailable("the store refused the connection")
        inner = inner.__cause__ or inner.__context__
    return StoreUnavailable("the connection to the store was lost")


def _info(answer: object) -> dict[str, str]:
    """The fields of an INFO answer; none when it was refused."""
    if not isinstance(answer, bytes):
        return {}
    lines = (line.partition(":") for line in answer.decode("utf-8", "replace").splitlines())
    return {key: value for key, colon, value in lines if colon}


async def check_durability(ask: Ask, wanted: Wanted, *, fails_over: bool = False) -> bool:
    """Whether nothing that the store acknowledged is ever lost or revived (D9).

    True only for `appendonly yes` with `appendfsync always` on a server that
    does not fail over. False: challenges carry the server's run id.
    Raises: ConfigError when the store keeps less than `wanted`, or evicts keys; StoreUnavailable.
    """
    config = await _settings(ask, wanted)
    if (policy := config["maxmemory-policy"]) not in ("noeviction", ""):
        raise ConfigError("redis", "redis.url", "a store with maxmemory-policy noeviction", policy)
    if wanted in ("always", "everysec"):
        _require(config, wanted)
    return config["appendonly"] == "yes" and config["appendfsync"] == "always" and not fails_over


def _require(config: dict[str, str], wanted: str) -> None:
    enough = ("always",) if wanted == "always" else ("everysec", "always")
    if config["appendonly"] == "yes" and config["appendfsync"] in enough:
        return
    raise ConfigError(
        "redis",
        "redis.durability",
        f'a store with appendonly yes and appendfsync {" or ".join(enough)} for "{wanted}"'
        f" (in its config file, or CONFIG SET appendonly yes, CONFIG SET appendfsync {wanted})",
        f"appendonly {config['appendonly']}, appendfsync {config['appendfsync']}",
    )


async def _settings(ask: Ask, wanted: Wanted) -> dict[str, str]:
    """Three settings by CONFIG GET; where that is refused, what INFO tells. Unknown: empty."""
    names = ("appendonly", "appendfsync", "maxmemory-policy")
    try:
        # One by one: CONFIG GET takes several names since Redis 7.
        return {name: (await ask("CONFIG", "GET", name, repeatable=True))[1].decode() for name in names}
    except (StoreError, IndexError):
        if wanted in ("always", "everysec"):
            expected = f'"managed" or "none" where CONFIG GET is refused, or CONFIG allowed for "{wanted}"'
            raise ConfigError("redis", "redis.durability", expected, wanted) from None
    persistence = _info(await ask("INFO", "persistence", repeatable=True))
    memory = _info(await ask("INFO", "memory", repeatable=True))
    return {
        "appendonly": {"1": "yes", "0": "no"}.get(persistence.get("aof_enabled", ""), ""),
        "appendfsync": "",
        "maxmemory-policy": memory.get("maxmemory_policy", ""),
    }
