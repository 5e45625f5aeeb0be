"""What the tests of a whole service share: a tenant, a channel, one request."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import httpx

from otpsvc.app import Service
from otpsvc.channels.webhook import WebhookConfig
from otpsvc.credential import new_secret
from otpsvc.tenant import Codes, Limits, Secret, Tenant
from tests.far_ends.http_server import HttpServer
from tests.waiting import PATIENCE

SECRET, HASH = new_secret()
SIGNING = "whsec_" + base64.b64encode(b"s" * 32).decode()
OPEN = Limits(enabled=False)
INDEX = b"i" * 32


def tenant(name: str = "shop", **more: Any) -> Tenant:
    # Long codes: a short one may stand in a figure or an id by chance.
    usual = {"secrets": (Secret(HASH),), "limits": OPEN, "codes": Codes(length=10)}
    return Tenant(name=name, **{**usual, **more})


def hook(far: HttpServer, **more: Any) -> WebhookConfig:
    return WebhookConfig(**{"type": "webhook", "url": far.url, "timeout": PATIENCE, **more})


Start = Callable[..., Any]


def client(service: Service, name: str = "shop", secret: str = SECRET) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=service.api)
    return httpx.AsyncClient(transport=transport, base_url="http://otp", auth=(name, secret))


async def create(service: Service, id: str = "user-0001", **more: Any) -> httpx.Response:
    fields = {"provider": "hook", "to": "+12025550123", **more}
    async with client(service) as shop:
        return await shop.put(f"/api/otp/{id}", data=fields)


def code_of(far: HttpServer) -> str:
    return str(far.posts[-1].json["data"]["code"])
