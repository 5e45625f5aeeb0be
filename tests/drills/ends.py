"""Far ends for drills: misdeeds in turn, signatures, a proxy with an aim."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web
from standardwebhooks import Webhook

from otpsvc.stores.redis import RedisStore
from tests.far_ends.cut_proxy import CutProxy, Misdeed
from tests.far_ends.http_server import HttpServer, Post
from tests.far_ends.http_server import Misdeed as HttpMisdeed
from tests.far_ends.smtp_server import Mail

#: What signs webhooks and callbacks.
SIGNING: Final = "whsec_" + base64.b64encode(b"drill" * 6).decode()


class Hook(HttpServer):
    """Does the misdeeds of `plan` in turn, one a request, and `always` after them."""

    def __init__(self, *plan: HttpMisdeed, always: HttpMisdeed = "", retry_after: int = 2) -> None:
        super().__init__()
        self.plan = list(plan)
        self.always: HttpMisdeed = always
        self.retry_after = retry_after
        #: When each post came, by the monotonic clock.
        self.times: list[float] = []
        #: Called with every post before it is answered.
        self.on_post: Callable[[Post], None] = lambda _post: None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.times.append(time.monotonic())
        self.on_post(Post(request.method, request.path, request.headers, body))
        # Nothing waits from here to where it is looked at: the body was read.
        self.misdeed = self.plan.pop(0) if self.plan else self.always
        answer = await super()._handle(request)
        if answer.status == 429:
            answer.headers["Retry-After"] = str(self.retry_after)
        return answer

    @property
    def ids(self) -> list[str]:
        """The `webhook-id` of each post."""
        return [post.headers["webhook-id"] for post in self.posts]

    def of(self, to: str) -> list[Post]:
        """The posts for an address."""
        return [post for post in self.posts if post.json["data"].get("to") == to]


def verified(post: Post) -> Any:
    """The body of a post whose signature holds. Raises: WebhookVerificationError."""
    headers = {name.lower(): value for name, value in post.headers.items()}
    return Webhook(SIGNING).verify(post.body, headers)


def code_of(mail: Mail) -> str:
    """The code in a mail with the template `CODE …`."""
    part = mail.parsed.get_body(("plain",))
    assert part is not None
    words = part.get_content().split()
    return str(words[words.index("CODE") + 1])


class AimedProxy(CutProxy):
    """Misbehaves only at requests that hold one of our scripts, e.g. `check`; others pass."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        store = RedisStore("unix:///nowhere", fenced=False)
        self._shas = {name: script.sha1.encode() for name, script in store._scripts.items()}
        self._aim = b""

    def aim(self, script: str) -> None:
        self._aim = self._shas[script]

    def _due(self, *misdeeds: Misdeed) -> bool:
        if "refuses" not in misdeeds and self._aim and self._aim not in self.chunks[-1]:
            return False
        return super()._due(*misdeeds)
