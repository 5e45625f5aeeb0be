"""A service whose config is changed while it serves."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from otpsvc.app import Service
from otpsvc.channels.file import FileConfig
from otpsvc.config import Config
from otpsvc.credential import new_secret
from otpsvc.errors import ConfigError
from otpsvc.tenant import Secret, Texts
from otpsvc.ways import Outlet
from tests.app.rig import SIGNING, Start, client, create, hook, tenant
from tests.far_ends.http_server import HttpServer
from tests.waiting import PATIENCE, until


async def test_tenants_come_and_go(start: Start, config: Config) -> None:
    async with start(config) as service:
        assert (await create(service)).status_code == 200
        await service.reload(structs.replace(config, tenants={"bank": tenant("bank")}))

        assert (await create(service)).status_code == 401
        async with client(service, "bank") as bank:
            assert (await bank.get("/api/otp/nothing-1")).status_code == 404


async def test_a_secret_that_was_taken_out_ends_at_once(start: Start, config: Config) -> None:
    async with start(config) as service:
        assert (await create(service)).status_code == 200
        changed = tenant(secrets=(Secret(new_secret()[1]),))
        await service.reload(structs.replace(config, tenants={"shop": changed}))

        assert (await create(service, "user-0002")).status_code == 401


async def test_words_are_those_of_the_new_config(start: Start, config: Config, far: HttpServer) -> None:
    async with start(config) as service:
        await create(service)
        await until(lambda: len(far.posts) == 1)
        shop = tenant(templates=Texts(sms="NEW {{ code }}"))
        await service.reload(structs.replace(config, tenants={"shop": shop}))
        await create(service, "user-0002")
        await until(lambda: len(far.posts) == 2)

    assert [post.json["data"]["text"].startswith("NEW ") for post in far.posts] == [False, True]


async def test_channels_come_and_go(start: Start, config: Config, far: HttpServer) -> None:
    async with HttpServer() as other, start(config) as service:
        await service.reload(structs.replace(config, channels={"post": hook(other)}))

        assert (await create(service)).json()["code"] == "unknown_provider"
        assert (await create(service, provider="post")).status_code == 200
        await until(lambda: other.posts)
    assert not far.posts


async def test_what_is_on_its_way_ends_on_the_channel_it_began_on(
    start: Start, config: Config, far: HttpServer
) -> None:
    far.misdeed = "answers_200_late"
    async with HttpServer() as other, start(config) as service:
        await create(service)
        await asyncio.wait_for(far.arrived.wait(), PATIENCE)
        await service.reload(structs.replace(config, channels={"hook": hook(other)}))
        await create(service, "user-0002")
        await until(lambda: other.posts)
        far.release.set()

        async def sent() -> bool:
            async with client(service) as shop:
                answer = await shop.get("/api/otp/user-0001")
            return bool(answer.json()["data"]["message"]["state"] == "sent")

        await until(sent)
    assert (len(far.posts), len(other.posts)) == (1, 1)


async def test_a_channel_that_stays_as_it_is_keeps_its_lines(
    start: Start, config: Config, far: HttpServer
) -> None:
    async with HttpServer() as other, start(config) as service:
        await create(service)
        await until(lambda: far.posts)
        await service.reload(structs.replace(config, channels={**config.channels, "post": hook(other)}))
        await create(service, "user-0002")
        await until(lambda: len(far.posts) == 2)

    assert far.connects == 1


async def test_a_channel_whose_secret_lies_in_a_file_is_made_anew(
    start: Start, config: Config, far: HttpServer, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text(SIGNING)
    signed = structs.replace(config, channels={"hook": hook(far, secret_file=str(file))})
    new = "whsec_" + base64.b64encode(b"n" * 32).decode()
    async with start(signed) as service:
        file.write_text(new)
        await service.reload(signed)
        await create(service)
        post = await until(lambda: far.posts and far.posts[0])

    assert Webhook(new).verify(post.body, dict(post.headers))


async def test_a_config_that_cannot_be_used_changes_nothing(
    start: Start, config: Config, far: HttpServer, tmp_path: Path
) -> None:
    bad = FileConfig(type="file", path=str(tmp_path / "codes"))
    async with start(config) as service:
        with pytest.raises(ConfigError, match="allow_plaintext"):
            await service.reload(structs.replace(config, channels={"bad": bad}, tenants={}))

        assert service.config is config
        assert (await create(service)).status_code == 200
        await until(lambda: far.posts)


def challenges(*ends: HttpServer) -> set[str]:
    """Whose codes arrived."""
    return {str(post.json["data"]["challenge"]) for end in ends for post in end.posts}


async def test_no_request_is_lost_while_channels_change(
    start: Start, config: Config, far: HttpServer
) -> None:
    stop, states = asyncio.Event(), []

    async def ask(service: Service, who: int) -> None:
        at = 0
        while not stop.is_set():
            at += 1
            states.append((await create(service, f"user-{who}-{at}")).status_code)

    async with HttpServer() as other, start(config) as service:
        asking = [asyncio.create_task(ask(service, who)) for who in range(8)]
        for turn in range(10):
            await service.reload(structs.replace(config, channels={"hook": hook((far, other)[turn % 2])}))
            await asyncio.sleep(0.02)
        stop.set()
        await asyncio.gather(*asking)
        # Longer than a lease: a message may be claimed in the moment in which its courier stops.
        await until(lambda: len(challenges(far, other)) == len(states))

    assert set(states) == {200}
    assert other.posts


async def test_what_is_read_at_start_alone_is_named(start: Start, config: Config) -> None:
    async with start(config) as service:
        with capture_logs() as said:
            await service.reload(structs.replace(config, app=structs.replace(config.app, workers=3)))

    assert [line["settings"] for line in said if "settings" in line] == ["app.workers"]


async def test_a_new_courier_waits_for_places_that_were_kept_in_the_old_one() -> None:
    class Old:
        def lease(self, _tenant: str, _route: str) -> int:
            return 5000

        def give_back(self, _tenant: str, _route: str) -> None: ...

    outlet: Any = Outlet()
    outlet.courier = old = Old()
    assert outlet.lease("shop", "hook") == 5000

    changing = asyncio.create_task(outlet.change(Old()))
    await asyncio.sleep(0.01)
    assert not changing.done()
    assert outlet.lease("shop", "hook") == 0

    outlet.give_back("shop", "hook")
    assert await changing is old
    assert outlet.courier is not old
