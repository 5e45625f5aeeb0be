"""Reads docs/wire.md: what is given, what is asked, and the exact bytes that must come back."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Final, NamedTuple

PAGE: Final = Path(__file__).parents[2] / "docs" / "wire.md"
#: What stands for something that differs each time.
VARIABLES: Final = {
    "<gen>": r"[0-9a-f]{32}",
    "<id>": r"[A-Za-z0-9_-]{22}",
    "<time>": r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?\+00:00",
    "<token>": r"[A-Za-z0-9_-]{64}",
    "<request>": r"[0-9a-f]{16}",
    "<seconds>": r"[1-9][0-9]*",
    "<length>": r"[0-9]+",
    "<policy>": r"default-src 'none'; style-src 'sha256-[^']+'; script-src 'sha256-[^']+'; "
    r"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "<html>": r"(?s:<!doctype html>.*)",
}


class Request(NamedTuple):
    """`login` is `namespace:secret`, or `none`."""

    method: str
    target: str
    body: str
    headers: dict[str, str]
    login: str = "shop:planted-secret"

    def raw(self, form: str) -> bytes:
        """As bytes of HTTP/1.1. `form`: the content type of bodies that name none."""
        headers = {"host": "localhost", **self.headers}
        if self.login != "none":
            headers.setdefault("authorization", "Basic " + base64.b64encode(self.login.encode()).decode())
        if self.body:
            headers.setdefault("content-type", form)
        headers["content-length"] = str(len(self.body.encode()))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{self.method} {self.target} HTTP/1.1\r\n{lines}\r\n{self.body}".encode()


class Row(NamedTuple):
    """One case. `headers` are those beside or instead of the common ones; `none`: without it."""

    name: str
    given: str
    request: Request
    status: int
    headers: dict[str, str]
    body: str


def cells(line: str) -> list[str]:
    return [cell.strip().strip("`").strip() for cell in line.strip().strip("|").split(" | ")]


def table(text: str, title: str) -> list[list[str]]:
    """The rows of the table under a heading."""
    part = text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [cells(line) for line in lines[2:]]


def headers_of(cell: str) -> dict[str, str]:
    pairs = (one.partition(": ") for one in cell.split(" · ") if ": " in one)
    return {name.lower(): value for name, _, value in pairs}


def request_of(call: str, body: str, headers: str) -> Request:
    method, _, target = call.partition(" ")
    login = re.search(r"^as (\S+)", headers)
    more = headers_of(headers)
    return Request(method, target, body, more, login[1] if login else "shop:planted-secret")


def read_rows() -> list[Row]:
    rows = []
    for name, given, call, body, sent, status, headers, answer in table(PAGE.read_text(), "Cases"):
        request = request_of(call, body, sent)
        rows.append(Row(name, given, request, int(status), headers_of(headers), answer))
    return rows


def read_givens() -> dict[str, list[Request]]:
    givens: dict[str, list[Request]] = {"": []}
    for name, call, body, sent in table(PAGE.read_text(), "What is given"):
        before = givens.setdefault(name, [])
        before.append(request_of(call, body, sent))
    return givens


def common_headers() -> dict[str, str]:
    return {row[0]: row[1] for row in table(PAGE.read_text(), "Headers of every answer")}


def whole(body: str) -> str:
    """A body with its RECORD{…} written out: the record in one line, with these changes; OLD{…}: indented."""
    if body.startswith("OLD"):
        return json.dumps(json.loads(body.removeprefix("OLD")), indent=4, ensure_ascii=False)
    before, mark, rest = body.partition("RECORD")
    if not mark:
        return body
    changes, end = json.JSONDecoder().raw_decode(rest)
    record = json.loads(PAGE.read_text().split("```json\n", 1)[1].split("\n```", 1)[0])
    return before + json.dumps(record | changes, separators=(",", ":"), ensure_ascii=False) + rest[end:]


def pattern(text: str, *, passed: float = 0.0) -> re.Pattern[str]:
    """What matches the text, with anything of the right form in place of its variables.

    `passed`: seconds since what is given was made, by which its life may be shorter.
    """
    escaped = re.escape(text)
    for variable, form in VARIABLES.items():
        escaped = escaped.replace(re.escape(variable), form)
    return re.compile(re.sub(r'(?<="ttl":)[1-9]\d*', lambda life: _left(int(life[0]), passed), escaped))


def _left(life: int, passed: float) -> str:
    """What may be left of a life: the one number, where no second has passed."""
    least = max(0, life - int(passed))
    return "(" + "|".join(map(str, range(life, least - 1, -1))) + ")"
