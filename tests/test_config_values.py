"""Values that are written as one word: rates, listeners, origins."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.config import Listen
from otpsvc.config.values import read_listen, read_origin, read_rate
from otpsvc.tenant import Rate

# Values


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.sampled_from(["", "s", "m", "h", "d"]))
def test_rates_read_as_written(count: int, window: int, unit: str) -> None:
    seconds = window * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[unit]
    if seconds > 10**9:
        with pytest.raises(ValueError):  # noqa: PT011
            read_rate(f"{count}/{window}{unit}")
    else:
        assert read_rate(f"{count}/{window}{unit}") == Rate(count, seconds)


@given(
    st.one_of(
        st.ip_addresses().map(str), st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
    ),
    st.integers(1, 65_535),
)
def test_listeners_read_what_they_show(host: str, port: int) -> None:
    listen = Listen(host, port)

    assert read_listen(str(listen)) == listen


@given(st.text())
def test_no_text_breaks_the_readers_of_values(text: str) -> None:
    for read in (read_rate, read_listen, read_origin):
        with contextlib.suppress(ValueError):
            read(text)


@pytest.mark.parametrize(
    "origin",
    ["https://shop.example", "https://shop.example:8443", "http://localhost", "http://127.0.0.1:8080",
     "http://[::1]:8080", "https://xn--bcher-kva.example"],
)  # fmt: skip
def test_origins_that_browsers_say(origin: str) -> None:
    assert read_origin(origin) == origin


@pytest.mark.parametrize(
    "origin",
    ["", "*", "null", "shop.example", "https://Shop.example", "HTTPS://shop.example", "https://shop.example/",
     "https://shop.example:443", "http://localhost:80", "http://shop.example", "https://shop.example?x",
     "https://u@shop.example", "https://shop.example#", "https://shop.example:", "https://bücher.example",
     "https://a b", "https://", "https://shop.example:99999", "ftp://localhost", "https://a\\b",
     "https://*.shop.example:x"],
)  # fmt: skip
def test_origins_that_no_browser_says(origin: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        read_origin(origin)
