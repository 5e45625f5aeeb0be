"""What a config file becomes, and what it is warned of."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest

from otpsvc.channel import ChannelConfig
from otpsvc.config import Listen, Redis, load
from otpsvc.tenant import Codes, Limits, Rate, Secret, Texts
from tests.config_place import MAIL, PLANTED, SHOP, WHSEC, FileConfig, MailConfig, Place, channel_types


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# What is read


def test_a_small_file_is_enough(place: Place) -> None:
    config = place.load(SHOP + MAIL)

    assert config.app.listen == (Listen("127.0.0.1", 9000),)
    assert config.app.admin_listen == Listen("127.0.0.1", 9001)
    assert config.redis == Redis()
    assert config.tenants["shop"].secrets == (Secret("otpsvc1$x"),)
    assert config.tenants["shop"].codes == Codes()
    assert config.tenants["shop"].limits == Limits()
    assert config.channels == {"mail": MailConfig(type="mail", host="mx.example")}
    assert config.routes == {}
    assert config.warnings == ()


def test_a_full_file(place: Place) -> None:
    place.file("text.txt", "Your code: {{ code }}\n")
    config = place.load(f"""
[app]
listen = ["0.0.0.0:80", "[::1]:9000", "unix:run/api.sock"]
admin_listen = ""
root_url = "https://otp.example/base/"
data_dir = "/var/lib/otpsvc"
workers = 4
trusted_proxies = ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "unix"]
log = "console"
log_level = "debug"
[redis]
url = "rediss://:{PLANTED}@store.example:6380/1"
durability = "managed"
[codes]
length = 8
ttl = 120
[limits]
waits = 10
destination = ["5/10m", "8/1h"]
client = []
sends = "100/60"
[tenants.shop]
title = "The Shop"
secret_hash = ["otpsvc1$a", "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA"]
scopes = ["otp", "sms", "blocks:global"]
country = "ID"
locale = "pt-BR"
channels = ["mail", "both"]
origins = ["https://shop.example", "http://localhost:8080"]
require_receipt = false
callback_url = "https://shop.example/otp"
callback_secret = "{WHSEC}"
[tenants.shop.codes]
length = 10
[tenants.shop.limits]
waits = [1, 2]
wrong_checks = "7/2h"
[tenants.shop.templates]
subject = "Code"
text_file = "text.txt"
[tenants.bank]
secret_hash = "otpsvc1$b"
[channels.mail]
type = "mail"
host = "mx.example"
idle = 5
headers = {{ "X-From" = "otp" }}
[channels.second]
type = "mail"
host = "mx2.example"
[routes]
both = ["mail", "second"]
""")

    app, shop, bank = config.app, config.tenants["shop"], config.tenants["bank"]
    unix = Listen(path=str(place.folder / "run/api.sock"))
    assert app.listen == (Listen("0.0.0.0", 80), Listen("::1", 9000), unix)
    assert [str(one) for one in app.listen] == [
        "0.0.0.0:80",
        "[::1]:9000",
        f"unix:{place.folder}/run/api.sock",
    ]
    assert app.admin_listen is None
    assert app.root_url == "https://otp.example/base"
    assert app.data_dir == Path("/var/lib/otpsvc")
    assert app.keyring == Path("/var/lib/otpsvc/keyring.toml")
    assert app.trusted_proxies == ("10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "unix")
    assert (app.workers, app.log, app.log_level, app.tls) == (4, "console", "debug", None)
    assert config.redis.url == f"rediss://:{PLANTED}@store.example:6380/1"
    assert [secret.plain for secret in shop.secrets] == [False, False]
    assert shop.scopes == {"otp", "sms", "blocks:global"}
    assert (shop.title, shop.country, shop.locale) == ("The Shop", "ID", "pt-BR")
    assert shop.require_receipt is False
    assert shop.callback_secret == WHSEC
    assert shop.templates == Texts(subject="Code", text="Your code: {{ code }}")
    assert config.routes == {"both": ("mail", "second")}
    assert config.channels["mail"] == MailConfig(
        type="mail", host="mx.example", idle=5.0, headers={"X-From": "otp"}
    )
    # A tenant's own keys go before the defaults of the file, key by key.
    assert shop.codes == Codes(length=10, ttl=120)
    assert bank.codes == Codes(length=8, ttl=120)
    assert shop.limits.waits == (1, 2)
    assert shop.limits.wrong_checks == Rate(7, 7200)
    assert shop.limits.destination == bank.limits.destination == (Rate(5, 600), Rate(8, 3600))
    assert bank.limits.waits == (10,)
    assert bank.limits.client == ()
    assert bank.limits.sends == Rate(100, 60)


def test_relative_paths_start_at_the_folder_of_the_file(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.file("conf/otpsvc.toml", '[app]\ndata_dir = "data"\n' + SHOP + MAIL + 'ca_file = "ca.pem"\n')
    place.file("conf/ca.pem", "PEM")
    place.file("conf/secret", "otpsvc1$from-file\n")
    monkeypatch.chdir(place.folder)

    environ = {
        "OTPSVC_TENANTS__SHOP__SECRET_FILE": "secret",
        "OTPSVC_CHANNELS__LOG__TYPE": "file",
        "OTPSVC_CHANNELS__LOG__PATH": "codes.jsonl",
        "OTPSVC_APP__KEYRING": "keys/ring.toml",
    }
    config = load(Path("conf/otpsvc.toml"), channel_types=channel_types, environ=environ)

    conf = place.folder / "conf"
    assert config.app.data_dir == conf / "data"
    assert config.app.keyring == conf / "keys/ring.toml"
    mail, log = config.channels["mail"], config.channels["log"]
    assert isinstance(mail, MailConfig)
    assert mail.ca_file == str(conf / "ca.pem")
    assert isinstance(log, FileConfig)
    assert log.path == str(conf / "codes.jsonl")
    assert Secret("otpsvc1$from-file") in config.tenants["shop"].secrets


def test_several_secrets_are_valid_at_once(place: Place) -> None:
    place.file("one", f"{PLANTED}-1\nthe second line is not read\n")
    place.file("two", "$argon2id$two")
    config = place.load(f"""
[tenants.shop]
secret_hash = "otpsvc1$x"
secret_file = ["one", "two"]
secret = ["{PLANTED}-2", "{PLANTED}-3"]
""")

    assert config.tenants["shop"].secrets == (
        Secret("otpsvc1$x"),
        Secret(f"{PLANTED}-1", plain=True),
        Secret("$argon2id$two"),
        Secret(f"{PLANTED}-2", plain=True),
        Secret(f"{PLANTED}-3", plain=True),
    )


def test_a_callback_secret_comes_from_a_file(place: Place) -> None:
    place.file("whsec", WHSEC + "\n")
    text = SHOP + 'callback_url = "http://127.0.0.1:8000/"\ncallback_secret_file = "whsec"\n'

    assert place.load(text).tenants["shop"].callback_secret == WHSEC


# Warnings


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("[limits]\nenabled = false", "limits.enabled: the guards against floods and guessing are off"),
        ("[tenants.shop.limits]\nenabled = false",
         "tenants.shop.limits.enabled: the guards against floods and guessing are off"),
        ('[redis]\ndurability = "none"\nurl = "redis://h"',
         "redis.durability: after a crash of the store used codes may be valid again"),
        ('[redis]\ndurability = "everysec"',
         "redis.durability: has no effect without redis.url: the embedded store always writes"),
        ('[app]\nadmin_listen = "0.0.0.0:9001"',
         "app.admin_listen: other machines can read metrics and health"),
        ('[app]\nroot_url = "http://otp.example"',
         "app.root_url: not https: codes that are typed on the pages travel in clear text"),
        ('[app]\ntrusted_proxies = ["0.0.0.0/0"]',
         "app.trusted_proxies: everybody can choose the address that guards count"),
        (f'[tenants.shop]\nsecret = "{PLANTED}"',
         ("tenants.shop.secret: stands in the file in clear text; better secret_hash or secret_file "
         "or the environment")),
        ("[tenants.shop]\nopen_view = true",
         "tenants.shop.open_view: whoever knows or guesses an id can open its page"),
        ((f'[tenants.shop]\ncallback_secret = "{WHSEC}"\ncallback_url = "http://a.example"\n'
         "callback_insecure = true\n"),
         "tenants.shop.callback_insecure: callbacks travel in clear text"),
        ('[channels.log]\ntype = "file"\npath = "x"',
         "channels.log: codes are written to a file in clear text; for development and tests alone"),
        ('[channels.a]\ntype = "mail"\nhost = "h"\ninsecure = true',
         "channels.a.insecure: codes may travel in clear text"),
        ('[channels.a]\ntype = "mail"\nhost = "h"\ntls = "none"',
         "channels.a.tls: codes travel in clear text"),
        (f'[channels.a]\ntype = "mail"\nhost = "h"\npassword = "{PLANTED}"',
         "channels.a.password: stands in the file in clear text; better password_file or the environment"),
    ],
)  # fmt: skip
def test_what_lowers_the_guard_is_warned_of(place: Place, text: str, warning: str) -> None:
    environ = {"OTPSVC_TENANTS__SHOP__SECRET_HASH": "otpsvc1$x"}

    warnings = place.load(MAIL + text, environ).warnings

    assert warning in warnings
    assert PLANTED not in str(warnings)


def test_a_file_without_tenants_and_channels_loads_with_warnings(place: Place) -> None:
    assert place.load("").warnings == (
        "channels: there is none: nothing can be sent",
        "tenants: there is none: nobody can ask for a code",
    )


def test_proxies_are_networks(place: Place) -> None:
    config = place.load(SHOP + MAIL + '[app]\ntrusted_proxies = ["10.0.0.1", "::1"]')

    assert [ip_network(proxy).num_addresses for proxy in config.app.trusted_proxies] == [1, 1]


def test_the_check_of_channels_sees_whole_paths(place: Place) -> None:
    seen: list[ChannelConfig] = []
    place.file("ca.pem", "PEM")
    check: Callable[[ChannelConfig], None] = seen.append

    place.load(SHOP + MAIL + 'ca_file = "ca.pem"', check_channel=check)

    assert [getattr(config, "ca_file", "") for config in seen] == [str(place.folder / "ca.pem")]
