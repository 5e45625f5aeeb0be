"""What is said when a config cannot be used: file, key, what was expected and what came."""

from __future__ import annotations

from pathlib import Path

import pytest

from otpsvc.config import load
from otpsvc.errors import ConfigError
from tests.config_place import MAIL, PLANTED, SHOP, WHSEC, Place, channel_types


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# What is refused

A_HASH = 'a hash that starts with "otpsvc1$" or "$argon2id$"'
A_RATE = 'a rate such as "5/10m" (count/window; s, m, h or d)'
A_LISTENER = 'an address such as "127.0.0.1:9000", "[::1]:9000" or "unix:/path" (port 1-65535)'
A_NETWORK = 'a network such as "10.0.0.0/8" (no bits set behind the mask), an address, or "unix"'
A_CALLBACK = "an https URL (http only for this machine, or with callback_insecure = true)"
AN_ORIGIN = 'an origin such as "https://shop.example" (lower case, no path; http only for localhost)'
A_ROOT = "an http(s) URL without user, query and fragment"
A_STORE = "a URL such as redis://, rediss://, unix:// or redis+sentinel:// (empty: the embedded store)"

BAD_TABLES = [
    # sections and keys
    ("app = 1", "app: expected a table, got 1"),
    ("[aps]", 'aps: expected a known key (did you mean "app"?)'),
    ("[zzz]", "zzz: expected one of app, channels, codes, feeders, limits, redis, relay, routes, tenants"),
    ("[app]\nlisten_on = 1", 'app.listen_on: expected a known key (did you mean "listen"?)'),
    ('[app]\n"\\u001b[31m" = 1',
     ('app."\\u001b[31m": expected one of admin_listen, data_dir, keyring, listen, '
     "log, log_level, root_url, tls, trusted_proxies, workers")),
    ("tenants = []", "tenants: expected a table, got a list of 0"),
    ("[tenants]\nshop = 1", "tenants.shop: expected a table, got 1"),
    # types and bounds
    ("[app]\nworkers = 0", "app.workers: expected an integer from 1 to 256, got 0"),
    ('[app]\nworkers = "2"', 'app.workers: expected an integer from 1 to 256, got "2"'),
    ("[app]\nworkers = 2.0", "app.workers: expected an integer from 1 to 256, got 2.0"),
    ("[app]\nworkers = true", "app.workers: expected an integer from 1 to 256, got true"),
    ("[app]\nworkers = 2020-01-01", "app.workers: expected an integer from 1 to 256, got a date or time"),
    ("[app]\nworkers = 0x" + "f" * 5000,
     "app.workers: expected an integer from 1 to 256, got an integer of more than 20 digits"),
    ("[app]\nroot_url = 1", "app.root_url: expected a string, got 1"),
    ('[app]\nlog = "text"', 'app.log: expected "console" or "json", got "text"'),
    ('[app]\nlog = ["json"]', 'app.log: expected "console" or "json", got a list of 1'),
    ("[limits]\nenabled = 1", "limits.enabled: expected true or false, got 1"),
    # app
    ('[app]\nlisten = "9000"', f'app.listen: expected {A_LISTENER}, got "9000"'),
    ('[app]\nlisten = ["127.0.0.1:80", "::1:80"]', f'app.listen[1]: expected {A_LISTENER}, got "::1:80"'),
    ('[app]\nlisten = ":80"', f'app.listen: expected {A_LISTENER}, got ":80"'),
    ('[app]\nlisten = "localhost:65536"', f'app.listen: expected {A_LISTENER}, got "localhost:65536"'),
    ("[app]\nlisten = {}", f"app.listen: expected {A_LISTENER}, got a table"),
    ("[app]\nlisten = []", "app.listen: expected at least one address, got none"),
    ('[app]\nlisten = ["a:1", "a:1"]', "app.listen: expected different addresses, got one of them twice"),
    ('[app]\nadmin_listen = "127.0.0.1:9000"',
     'app.admin_listen: expected an address that is not in app.listen, got "127.0.0.1:9000"'),
    ('[app]\nroot_url = "ftp://x"', f'app.root_url: expected {A_ROOT}, got "ftp://x"'),
    ('[app]\nroot_url = "otp.example"', f"app.root_url: expected {A_ROOT}, got a string of 11 characters"),
    ('[app]\nroot_url = "http://x/?a=b"', f'app.root_url: expected {A_ROOT}, got "http://x/…"'),
    ('[app]\nroot_url = "http://x/#a"', f'app.root_url: expected {A_ROOT}, got "http://x/…"'),
    ('[app]\ntrusted_proxies = ["10.0.0.1/8"]',
     f'app.trusted_proxies: expected {A_NETWORK}, got "10.0.0.1/8"'),
    ('[app]\ntrusted_proxies = ["unix", "lan"]', f'app.trusted_proxies[1]: expected {A_NETWORK}, got "lan"'),
    ('[app.tls]\ncert = "c"', "app.tls.key: expected a path, got nothing"),
    ('[app.tls]\ncert = "no.pem"\nkey = "otpsvc.toml"',
     'app.tls.cert: expected an existing file, got "no.pem"'),
    ('[app]\ndata_dir = "a\\u0000b"', 'app.data_dir: expected a path, got "a\\u0000b"'),
    # redis
    ('[redis]\nurl = "localhost:6379"', f"redis.url: expected {A_STORE}, got a string of 14 characters"),
    ('[redis]\nurl = "redis://h:99999"', f'redis.url: expected {A_STORE}, got "redis://h:99999"'),
    ('[redis]\nurl = "unix://"', f'redis.url: expected {A_STORE}, got "unix://"'),
    ('[redis]\ndurability = "no"',
     'redis.durability: expected "always" or "everysec" or "managed" or "none", got "no"'),
    # codes and limits
    ("[codes]\nlength = 5", "codes.length: expected an integer from 6 to 10, got 5"),
    ("[codes]\nttl = 86401", "codes.ttl: expected an integer from 1 to 86400, got 86401"),
    ("[codes]\nmax_sends = 0", "codes.max_sends: expected an integer from 1 to 20, got 0"),
    ("[codes]\nmax_attempts = 11",
     "codes.max_attempts: expected an integer of at most max_attempts_cap (10), got 11"),
    (SHOP + "[tenants.shop.codes]\nmax_attempts_cap = 3",
     "tenants.shop.codes.max_attempts: expected an integer of at most max_attempts_cap (3), got 5"),
    (SHOP + "[tenants.shop.codes]\nlength = 11",
     "tenants.shop.codes.length: expected an integer from 6 to 10, got 11"),
    ('[limits]\nsends = "5"', f'limits.sends: expected {A_RATE}, got "5"'),
    ('[limits]\nsends = "0/1h"', f'limits.sends: expected {A_RATE}, got "0/1h"'),
    ('[limits]\nsends = "5/0s"', f'limits.sends: expected {A_RATE}, got "5/0s"'),
    ('[limits]\nsends = "5/1w"', f'limits.sends: expected {A_RATE}, got "5/1w"'),
    ('[limits]\nsends = ["5/1h"]', f"limits.sends: expected {A_RATE}, got a list of 1"),
    ("[limits]\nsends = {count = 1, window = 2}", f"limits.sends: expected {A_RATE}, got a table"),
    ('[limits]\nclient = ["1/1s", "x"]', f'limits.client[1]: expected {A_RATE}, got "x"'),
    ("[limits]\nwaits = []", "limits.waits: expected at least one number of seconds (0: no wait), got none"),
    ("[limits]\nwaits = [1, -1]", "limits.waits[1]: expected seconds from 0 to 86400, got -1"),
    ("[limits]\nwaits = [1, 1.5]", "limits.waits[1]: expected an integer, got 1.5"),
    ("[limits]\nwait = 1", 'limits.wait: expected a known key (did you mean "waits"?)'),
    # tenants
    ("[tenants.shop]",
     "tenants.shop: expected at least one of secret_hash, secret_file and secret, got none"),
    ("[tenants.shop]\nsecret = []",
     "tenants.shop: expected at least one of secret_hash, secret_file and secret, got none"),
    ('[tenants.shop]\nsecret_hash = "abc"',
     f"tenants.shop.secret_hash: expected {A_HASH}, got a string of 3 characters"),
    ('[tenants.shop]\nsecret_hash = ["otpsvc1$x", "otpsvc1$x y"]',
     f"tenants.shop.secret_hash[1]: expected {A_HASH}, got a string of 11 characters"),
    ('[tenants.shop]\nsecret = "1234567"',
     "tenants.shop.secret: expected a secret of at least 8 characters, got a string of 7 characters"),
    ("[tenants.shop]\nsecret = 12345678",
     "tenants.shop.secret: expected a string, got an integer"),
    ('[tenants.shop]\nsecret_file = "none"',
     "tenants.shop.secret_file: expected an existing file, got a string of 4 characters"),
    (SHOP.replace("shop", '"the shop"'),
     'tenants."the shop": expected a name of 1 to 64 letters, digits, - and _'),
    (SHOP + 'country = "UK"',
     'tenants.shop.country: expected two upper-case letters (ISO 3166-1), such as "ID", got "UK"'),
    (SHOP + 'country = "id"',
     'tenants.shop.country: expected two upper-case letters (ISO 3166-1), such as "ID", got "id"'),
    (SHOP + 'locale = "../en"',
     'tenants.shop.locale: expected a locale such as "en" or "pt-BR", got "../en"'),
    (SHOP + 'channels = ["mail", "fax"]\n' + MAIL,
     'tenants.shop.channels[1]: expected a channel or route (mail), got "fax"'),
    (SHOP + 'channels = "fax"',
     'tenants.shop.channels: expected a channel or route (there are none), got "fax"'),
    (SHOP + 'origins = ["https://shop.example/"]',
     f'tenants.shop.origins: expected {AN_ORIGIN}, got "https://shop.example/"'),
    (SHOP + 'callback_url = "https://shop.example/"',
     "tenants.shop.callback_secret: expected a secret to sign with, beside callback_url, got nothing"),
    (SHOP + f'callback_url = "http://shop.example/"\ncallback_secret = "{WHSEC}"',
     f'tenants.shop.callback_url: expected {A_CALLBACK}, got "http://shop.example/"'),
    (SHOP + 'callback_secret = "whsec_c2hvcnQ="',
     ('tenants.shop.callback_secret: expected "whsec_" and the base64 of 24 to 64 bytes, '
     "got a string of 14 characters")),
    (SHOP + f'callback_secret = "{WHSEC}"\ncallback_secret_file = "x"',
     "tenants.shop.callback_secret_file: expected either callback_secret or callback_secret_file, got both"),
    (SHOP + '[tenants.shop.templates]\ntext = "a"\ntext_file = "b"',
     "tenants.shop.templates.text_file: expected either text or text_file, got both"),
    (SHOP + '[tenants.shop.templates]\nhtml_file = "no.html"',
     'tenants.shop.templates.html_file: expected an existing file, got "no.html"'),
    (SHOP + '[tenants.shop.templates]\nbody = "b"',
     ("tenants.shop.templates.body: expected one of html, html_file, sms, sms_file, subject, subject_file, "
     "text, text_file")),
    # channels and routes
    ("[channels]\nmail = 1", "channels.mail: expected a table, got 1"),
    ("[channels.mail]", 'channels.mail.type: expected a type of channel such as "smtp", got nothing'),
    ("[channels.mail]\ntype = 1", 'channels.mail.type: expected a type of channel such as "smtp", got 1'),
    ('[channels.mail]\ntype = "fax"', 'channels.mail.type: expected a known type of channel, got "fax"'),
    ('[channels.mail]\ntype = "mail"', "channels.mail.host: expected a string, got nothing"),
    (MAIL + "port = 0", "channels.mail.port: expected an integer from 1 to 65535, got 0"),
    (MAIL + "prt = 25", 'channels.mail.prt: expected a known key (did you mean "port"?)'),
    (MAIL + "idle = 0", "channels.mail.idle: expected a number above 0, got 0"),
    (MAIL + "idle = nan", "channels.mail.idle: expected a number above 0, got nan"),
    (MAIL + "idle = inf", "channels.mail.idle: expected a number above 0, got inf"),
    (MAIL + "headers = {a = 1}", "channels.mail.headers.a: expected a string, got 1"),
    (MAIL + "timeout = 0", "channels.mail.timeout: expected a number from 0.1 to 600, got 0.0"),
    (MAIL + "retries = -1", "channels.mail.retries: expected a number from 0 to 100, got -1"),
    (MAIL + "concurrency = 0", "channels.mail.concurrency: expected a number from 1 to 10000, got 0"),
    (MAIL + 'ca_file = "ca.pem"', 'channels.mail.ca_file: expected an existing file, got "ca.pem"'),
    (MAIL.replace("mx.example", "bad") + f'password = "{PLANTED}"',
     "channels.mail.host: expected a good host, not with …"),
    # A secret of few letters stands in every sentence.
    (MAIL.replace("mx.example", "bad") + 'password = "o"',
     "channels.mail.host: expected a good host, not with o"),
    (MAIL.replace("mx.example", "worse"), "channels.mail: expected something else"),
    # Of a key that the table does not say.
    (MAIL + 'subject = "off"', "channels.mail.idle: expected less"),
    (MAIL.replace("channels.mail", "channels.'m/l'"),
     'channels."m/l": expected a name of 1 to 64 letters, digits, - and _'),
    (MAIL + '[routes]\nmail = ["mail"]', "routes.mail: expected a name that no channel has"),
    (MAIL + '[routes]\nsms = ["mail", "fax"]', 'routes.sms[1]: expected a channel (mail), got "fax"'),
    (MAIL + "[routes]\nsms = []", "routes.sms: expected one channel or more, each once"),
    (MAIL + '[routes]\nsms = ["mail", "mail"]', "routes.sms: expected one channel or more, each once"),
    ("[routes]\nsms = 5", "routes.sms: expected a string, got 5"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD_TABLES)
def test_refusals_name_file_key_expected_and_got(place: Place, text: str, message: str) -> None:
    assert place.wrong(text) == [f"FILE: {message}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = ", "FILE: expected valid TOML, got Invalid value (at end of document)"),
        ("[app]\nworkers = = 2", "FILE: expected valid TOML, got Invalid value (at line 2, column 11)"),
        (b"[app]\n# \xff\n", "FILE: expected UTF-8 text, got other bytes in line 2"),
        ("a = " + "9" * 5000, "FILE: expected valid TOML, got an integer of more than 4300 digits"),
        ("a = " + "[" * 20_000, "FILE: expected valid TOML, got values nested too deeply"),
    ],
)
def test_what_is_no_toml_is_refused_with_its_place(place: Place, text: str | bytes, message: str) -> None:
    assert place.wrong(text) == [message]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "no.toml", channel_types=channel_types, environ={})

    assert str(caught.value) == f"{tmp_path}/no.toml: expected a readable file, got No such file or directory"


def test_all_problems_of_a_file_are_told_and_load_raises_the_first(place: Place) -> None:
    text = '[app]\nworkers = 0\nlog = "x"\n[tenants.shop]\nsecret = "short"\n' + MAIL + "port = 0\nfax = 1\n"

    found = place.wrong(text)

    assert [line.split(": ")[1] for line in found] == [
        "app.workers",
        "app.log",
        "channels.mail.fax",
        "channels.mail.port",
        "tenants.shop.secret",
    ]
    with pytest.raises(ConfigError) as caught:
        place.load(text)
    assert caught.value.key == "app.workers"
    assert (caught.value.file, caught.value.got) == (str(place.path), "0")


def test_defaults_that_are_wrong_are_told_once(place: Place) -> None:
    assert len(place.wrong("[codes]\nmax_attempts = 50\n[limits]\nwaits = -1\n" + SHOP)) == 2
