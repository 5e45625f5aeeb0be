"""`OTPSVC_SECTION__KEY`: what the environment sets, and what is said of bad names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.config import App, Config, Listen, load, problems
from otpsvc.errors import ConfigError
from otpsvc.tenant import Rate, Secret
from tests.config_place import MAIL, PLANTED, SHOP, MailConfig, Place, channel_types


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def from_environment(**environ: str) -> Config:
    return load(None, channel_types=channel_types, environ=environ)


# The environment


def test_the_environment_goes_before_the_file(place: Place) -> None:
    text = '[app]\nlisten = "127.0.0.1:1"\n' + SHOP.replace("shop", "My-Shop") + MAIL
    config = place.load(
        text,
        {
            "OTPSVC_APP__LISTEN": '["127.0.0.1:2", "unix:/x"]',
            "OTPSVC_APP__ADMIN_LISTEN": "",
            "OTPSVC_APP__WORKERS": "3",
            "OTPSVC_LIMITS__ENABLED": "false",
            "OTPSVC_LIMITS__DESTINATION": "1/1h",
            "OTPSVC_LIMITS__WAITS": "[1, 2]",
            "OTPSVC_TENANTS__MY_SHOP__SECRET": "1234567890",
            "OTPSVC_TENANTS__MY_SHOP__CODES__LENGTH": "7",
            "OTPSVC_TENANTS__MY_SHOP__REQUIRE_RECEIPT": "true",
            "OTPSVC_TENANTS__BANK": '{secret_hash = "otpsvc1$b"}',
            "OTPSVC_CHANNELS__MAIL__PORT": "2525",
            "OTPSVC_CHANNELS__MAIL__IDLE": "5",
            "OTPSVC_CHANNELS__MAIL__PASSWORD": "[1]",
            "OTPSVC_ROUTES__BOTH": '["mail"]',
            "otpsvc_app__workers": "9",
            "PATH": "/bin",
        },
    )

    assert config.app == App(
        listen=(Listen("127.0.0.1", 2), Listen(path="/x")),
        admin_listen=None,
        workers=3,
        data_dir=place.folder / "data",
        keyring=place.folder / "data/keyring.toml",
    )
    shop = config.tenants["My-Shop"]
    assert shop.secrets == (Secret("otpsvc1$x"), Secret("1234567890", plain=True))
    assert shop.codes.length == 7
    assert shop.require_receipt is True
    assert (shop.limits.enabled, shop.limits.waits, shop.limits.destination) == (
        False,
        (1, 2),
        (Rate(1, 3600),),
    )
    assert list(config.tenants) == ["My-Shop", "bank"]
    mail = config.channels["mail"]
    assert isinstance(mail, MailConfig)
    assert (mail.port, mail.idle, mail.password) == (2525, 5.0, "[1]")
    assert config.routes == {"both": ("mail",)}
    # Secrets of the environment stand in no file.
    assert config.warnings == ("limits.enabled: the guards against floods and guessing are off",)


def test_the_environment_alone_is_a_config() -> None:
    config = from_environment(
        OTPSVC_TENANTS__SHOP__SECRET=PLANTED,
        OTPSVC_CHANNELS__MAIL__HOST="mx.example",
        OTPSVC_CHANNELS__MAIL__TYPE="mail",
    )

    assert config.tenants["shop"].secrets == (Secret(PLANTED, plain=True),)
    assert config.channels == {"mail": MailConfig(type="mail", host="mx.example")}
    assert config.app.data_dir == Path.cwd() / "data"


def test_the_environment_alone_must_name_a_tenant() -> None:
    with pytest.raises(ConfigError) as caught:
        from_environment(OTPSVC_APP__WORKERS="2")

    assert (
        str(caught.value) == "environment: tenants: expected at least one tenant (or a config file), got none"
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("OTPSVC_APP__WORKERS", "many", 'expected an integer from 1 to 256, got "many"'),
        ("OTPSVC_APP__WORKERS", "", 'expected an integer from 1 to 256, got ""'),
        ("OTPSVC_APP__WORKERS", "1\nx = 2", 'expected an integer from 1 to 256, got "1\\nx = 2"'),
        ("OTPSVC_APP__WORKER", "2", 'expected a known key (did you mean "workers"?)'),
        ("OTPSVC_APP__TLS__CERTS", "2", 'expected a known key (did you mean "cert"?)'),
        ("OTPSVC_AP__WORKERS", "2", 'expected a known key (did you mean "app"?)'),
        ("OTPSVC_APP__WORKERS__MORE", "2", 'expected nothing below "app.workers"'),
        ("OTPSVC_LIMITS__SENDS__COUNT", "2", 'expected nothing below "limits.sends"'),
        ("OTPSVC_TENANTS__SHOP__SECRET__X", "2", 'expected nothing below "tenants.shop.secret"'),
        ("OTPSVC_APP__", "2",
         ("expected one of admin_listen, data_dir, keyring, listen, log, log_level, root_url, tls, "
         "trusted_proxies, workers")),
        ("OTPSVC_TENANTS____SECRET", "2", "expected a name between underscores"),
        ("OTPSVC_TENANTS__SHOP__SECRET", "short",
         "expected a secret of at least 8 characters, got a string of 5 characters"),
        ("OTPSVC_TENANTS__SHOP__OPEN_VIEW", "yes", 'expected true or false, got "yes"'),
        ("OTPSVC_CHANNELS__MAIL__PORT", "70000", "expected an integer from 1 to 65535, got 70000"),
        ("OTPSVC_CHANNELS__MAIL__PRT", "25", 'expected a known key (did you mean "port"?)'),
        ("OTPSVC_CHANNELS__TWIN__TYPE", "mail", 'expected one name, but it fits "t-win" and "T-WIN"'),
        ("OTPSVC_CHANNELS__MAIL__HOST", "\udcff", "expected UTF-8 text"),
        ("OTPSVC_CODES__LENGTH", "[" * 20_000, 'expected an integer from 6 to 10, got "' + "[" * 60 + '…"'),
    ],
)  # fmt: skip
def test_bad_variables_are_named(place: Place, name: str, value: str, message: str) -> None:
    twins = MAIL.replace("mail]", "t-win]") + MAIL.replace("mail]", "T-WIN]")
    name = name.replace("TWIN", "T_WIN")

    assert place.wrong(SHOP + MAIL + twins, {name: value}) == [f"environment: {name}: {message}"]


def test_a_variable_below_a_value_that_is_no_table(place: Place) -> None:
    found = place.wrong("app = 1", {"OTPSVC_APP__WORKERS": "2"})

    assert found == [
        'environment: OTPSVC_APP__WORKERS: expected a key, but "app" is no table',
        "FILE: app: expected a table, got 1",
    ]


def test_variables_of_others_are_left_alone(place: Place) -> None:
    """Kubernetes makes OTPSVC_PORT and the like for a service that is called otpsvc."""
    environ = {"OTPSVC_PORT": "tcp://10.0.0.1:80", "OTPSVC_CONFIG": "x", "OTPSVC_APP_WORKERS": "2"}

    config = place.load(SHOP + MAIL, environ)

    assert config.app.workers == 1
    assert config.warnings == (
        "OTPSVC_APP_WORKERS: not read; write OTPSVC_APP__WORKERS (two underscores after the section)",
    )


NAMES = st.lists(
    st.sampled_from(["APP", "LISTEN", "TENANTS", "SHOP", "SECRET", "CHANNELS", "MAIL", "TYPE", "PORT",
                     "LIMITS",
                     "WAITS", "ROUTES", "TLS", "CERT", "", "_", "X"]),
    min_size=1,
    max_size=5,
)  # fmt: skip
RAW = st.one_of(st.sampled_from(["1", "[1]", "{a = 1}", "mail", "true", "1/1h", "x\0"]), st.text(max_size=10))


@given(st.dictionaries(NAMES.map("__".join), RAW, max_size=5))
def test_no_environment_breaks_the_reading(environ: dict[str, str]) -> None:
    variables = {f"OTPSVC_{name}": value for name, value in environ.items()}

    found = problems(None, channel_types=channel_types, environ=variables)

    assert all(isinstance(one, ConfigError) for one in found)
