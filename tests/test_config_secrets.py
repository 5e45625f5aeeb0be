"""No refusal and no config shows a secret, whatever stands in the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.config_place import MAIL, PLANTED, SHOP, WHSEC, Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# Secrets

LEAKS = [
    f'[tenants.shop]\nsecret = "{PLANTED[:7]}"',
    f'[tenants.shop]\nsecret_hash = "{PLANTED}"',
    f'[tenants.shop]\nsecret_file = "{PLANTED}"',
    f'[tenants.shop]\nsecret = [["{PLANTED}"]]',
    f'[tenants.shop]\nsecret = {{"x" = "{PLANTED}"}}',
    SHOP + f'callback_secret = "{PLANTED}"',
    SHOP + f'callback_secret_file = "{PLANTED}"',
    SHOP + f'callback_url = "https://u:{PLANTED}@shop.example"\ncallback_secret = "{WHSEC}"',
    SHOP + f'callback_url = "https:/u:{PLANTED}@shop.example"\ncallback_secret = "{WHSEC}"',
    SHOP + f'callback_url = "http://shop.example/{PLANTED}"\ncallback_secret = "{WHSEC}"',
    SHOP + f'callback_url = "http://shop.example?t={PLANTED}"\ncallback_secret = "{WHSEC}"',
    SHOP + f'secert = "{PLANTED}"',
    f'[redis]\nurl = "http://:{PLANTED}@h"',
    f'[redis]\nurl = "redis://:{PLANTED}"',
    f'[redis]\nurl = "redis://:a/{PLANTED}?x@h:x"',
    f'[redis]\nurl = "{PLANTED}@h"',
    f'[redis]\nurl = ["redis://:{PLANTED}@h"]',
    f'[redis]\nurl = "redis://:{PLANTED}@h"\ndurability = "x"',
    f'[redis]\nurl = "redis://:{PLANTED}\nx = 1',
    MAIL + f'password = ["{PLANTED}"]',
    MAIL + f'password_file = "{PLANTED}"',
    MAIL + f'url = 1\npassword = "{PLANTED}"',
    MAIL.replace("mx.example", "bad") + f'password = "{PLANTED}"',
]


@pytest.mark.parametrize("text", LEAKS)
def test_no_refusal_shows_a_secret(place: Place, text: str) -> None:
    found = place.wrong(text)

    assert found
    assert PLANTED[:7] not in "".join(found)


def test_numbers_under_secret_keys_are_not_shown(place: Place) -> None:
    redis = '[redis]\nurl = "redis://u:8675309"\n'
    found = place.wrong(SHOP + "secret = 8675309\n" + MAIL + "password = 8675309\n" + redis)

    assert len(found) == 3
    assert "8675" not in "".join(found)


def test_a_config_shows_no_secret(place: Place) -> None:
    config = place.load(
        f'[tenants.shop]\nsecret = "{PLANTED}"\n[redis]\nurl = "redis://:{PLANTED}@h"\n'
        + MAIL
        + f'password = "{PLANTED}"\n'
    )

    shown = f"{config!r} {config} {config.redis!r} {config.tenants!r} {config.warnings}"
    assert PLANTED not in shown


# Whatever comes, a list of problems or a config comes out

VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.floats(), st.sampled_from([PLANTED, f"http://:{PLANTED}@h"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["secret", "type", "x"]), inner, max_size=2),
    ),
    max_leaves=4,
)
SENSITIVE = st.sampled_from(
    ["redis.url", "tenants.shop.secret", "tenants.shop.secret_hash", "tenants.shop.secret_file",
     "tenants.shop.callback_secret", "tenants.shop.callback_url", "channels.mail.password",
     "channels.mail.url"]
)  # fmt: skip


def toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(value)


@given(key=SENSITIVE, value=VALUES)
def test_no_value_breaks_the_reading_or_shows_itself(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    place = Place(tmp_path_factory.getbasetemp())

    found = place.wrong(f'{key} = {toml(value)}\nchannels.mail.type = "mail"\nchannels.mail.host = "h"\n')

    assert PLANTED not in "".join(found)
