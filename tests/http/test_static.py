"""`/static/…`: the widget, as browsers and caches ask for it."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

from tests.http.door import Door

WIDGET = Path(__file__).parents[2] / "js" / "otp.js"


def versioned() -> str:
    return f"/static/otp.{hashlib.sha256(WIDGET.read_bytes()).hexdigest()[:8]}.js"


async def test_the_widget_is_served_as_it_is(plain_door: Door) -> None:
    for path in ("/static/otp.js", versioned()):
        answer = await plain_door.ask("GET", path, auth="")

        assert (answer.status, answer.body) == (200, WIDGET.read_bytes())
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_its_versioned_name_may_be_kept_for_ever(plain_door: Door) -> None:
    plain = await plain_door.ask("GET", "/static/otp.js", auth="")
    fixed = await plain_door.ask("GET", versioned(), auth="")

    assert plain.headers["cache-control"] == "public, max-age=3600"
    assert fixed.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_who_has_it_need_not_load_it_again(plain_door: Door) -> None:
    first = await plain_door.ask("GET", "/static/otp.js", auth="")
    again = await plain_door.ask(
        "GET", "/static/otp.js", auth="", headers={"if-none-match": first.headers["etag"]}
    )

    assert (again.status, again.body) == (304, b"")


async def test_it_is_packed_for_who_takes_it(plain_door: Door) -> None:
    answer = await plain_door.ask("GET", "/static/otp.js", auth="", headers={"accept-encoding": "gzip, br"})

    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.body) == WIDGET.read_bytes()
    assert len(answer.body) < 6000


async def test_nothing_else_lies_there(plain_door: Door) -> None:
    for name in ("otp.tpl", "..%2fREADME.md", "%2e%2e/README.md", "otp.00000000.js", "test", ""):
        assert (await plain_door.ask("GET", f"/static/{name}", auth="")).status == 404, name


async def test_the_module_and_its_types_are_there(plain_door: Door) -> None:
    module = await plain_door.ask("GET", "/static/otp.mjs", auth="")
    types = await plain_door.ask("GET", "/static/otp.d.ts", auth="")

    assert b"./otp.js" in module.body
    assert b"OTPGateway" in types.body
