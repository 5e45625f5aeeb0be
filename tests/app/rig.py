"""What the tests of a whole service share: a tenant, a channel, one request."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from typing import Any

import httpx

from otpsvc.app import Service
from otpsvc.channels.webhook import WebhookConfig
from otpsvc.credential import new_secret
from otpsvc.tenant import Limits, Secret, Tenant
from tests.far_ends.http_server import HttpServer

SECRET, HASH = new_secret()
SIGNING = "whsec_" + base64.b64encode(b"s" * 32).decode()
OPEN = Limits(enabled=False)
INDEX = b"i" * 32


def tenant(name: str = "shop", **more: Any) -> Tenant:
    return Tenant(name=name, **{"secrets": (Secret(HASH),), "limits": OPEN, **more})


def hook(far: HttpServer, **more: Any) -> WebhookConfig:
    return WebhookConfig(type="webhook", url=far.url, **more)


Start = Callable[..., Any]


def client(service: Service, name: str = "shop", secret: str = SECRET) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=service.api)
    return httpx.AsyncClient(transport=transport, base_url="http://otp", auth=(name, secret))


async def create(service: Service, id: str = "user-0001", **more: Any) -> httpx.Response:
    fields = {"provider": "hook", "to": "+12025550123", **more}
    async with client(service) as shop:
        return await shop.put(f"/api/otp/{id}", data=fields)


async def until(happened: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.005)
    return found


def code_of(far: HttpServer) -> str:
    return str(far.posts[-1].json["data"]["code"])
