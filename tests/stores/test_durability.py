"""Which stores are taken, and which of them are safe (D9)."""

from __future__ import annotations

import pytest

from otpsvc.errors import ConfigError
from otpsvc.stores.connection import Wanted, check_durability
from tests.far_ends.valkey import Persistence, ValkeyServer
from tests.stores.callers import patient


async def checked(server: ValkeyServer, wanted: Wanted, query: str = "", **more: bool) -> bool:
    batcher = patient(server.url + query)
    try:
        return await check_durability(batcher.call, wanted, **more)
    finally:
        await batcher.close()


@pytest.mark.parametrize(
    ("persistence", "wanted", "safe"),
    [
        ("always", "always", True),
        ("always", "everysec", True),
        ("always", "managed", True),
        ("everysec", "everysec", False),
        ("everysec", "managed", False),
        ("snapshots", "none", False),
        ("none", "none", False),
    ],
)
async def test_durability_that_is_enough(persistence: Persistence, wanted: Wanted, safe: bool) -> None:
    with ValkeyServer(persistence=persistence) as server:
        assert await checked(server, wanted) is safe
        assert not await checked(server, wanted, fails_over=True)


@pytest.mark.parametrize(
    ("persistence", "wanted", "got"),
    [
        ("everysec", "always", "appendonly yes, appendfsync everysec"),
        ("snapshots", "always", "appendonly no, appendfsync everysec"),
        ("snapshots", "everysec", "appendonly no, appendfsync everysec"),
    ],
)
async def test_durability_that_is_too_little_says_what_to_change(
    persistence: Persistence, wanted: Wanted, got: str
) -> None:
    with ValkeyServer(persistence=persistence) as server, pytest.raises(ConfigError) as caught:
        await checked(server, wanted)
    assert caught.value.key == "redis.durability"
    assert caught.value.got == got
    assert f"CONFIG SET appendfsync {wanted}" in str(caught.value)


@pytest.mark.parametrize("wanted", ["always", "everysec", "managed", "none"])
async def test_a_store_that_evicts_is_refused(wanted: Wanted) -> None:
    with ValkeyServer("maxmemory-policy allkeys-lru", persistence="always") as server:
        with pytest.raises(ConfigError, match="noeviction, got allkeys-lru"):
            await checked(server, wanted)
        server.ask("ACL", "SETUSER", "shop", "on", ">x", "~*", "+@all", "-config")
        if wanted in ("managed", "none"):
            with pytest.raises(ConfigError, match="noeviction, got allkeys-lru"):
                await checked(server, wanted, "?username=shop&password=x")


@pytest.mark.parametrize("refused", ["-config", "-config -info"])
async def test_where_config_is_refused_nothing_is_safe(refused: str) -> None:
    with ValkeyServer(persistence="always") as server:
        server.ask("ACL", "SETUSER", "shop", "on", ">x", "~*", "+@all", *refused.split())
        login = "?username=shop&password=x"
        with pytest.raises(ConfigError, match='"managed"'):
            await checked(server, "always", login)
        if refused == "-config":
            assert not await checked(server, "managed", login)
            assert not await checked(server, "none", login)
