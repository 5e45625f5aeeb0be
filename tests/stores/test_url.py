from __future__ import annotations

import pytest

from otpsvc.errors import ConfigError
from otpsvc.stores.connection import Connector
from otpsvc.stores.url import read_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://x:hunter2@y", "begins with redis://"),
        ("redis://h/one", "whole number"),
        ("redis://h:hunter2", "host:port"),
        ("redis://h?retry=hunter2", "query parameters among"),
        ("redis://:a?hunter2@h", "query parameters among"),
        ("redis://:hunter2@[::1", "well-formed"),
        ("redis://:hunter2@[hunter2]:1", "well-formed"),
        ("redis://shop@h", "password beside"),
        ("redis://h?ssl_check_hostname=false", "rediss://"),
        ("redis://h?sentinel_password=hunter2", "sentinel URL"),
        ("rediss://h?ssl_ca_certs=/nowhere", "existing file"),
        ("rediss://h?ssl_check_hostname=no", "true or false"),
        ("unix://host/path", "absolute path"),
        ("redis+sentinel://h:26379", "service's name"),
    ],
)
def test_a_wrong_url_names_what_is_wrong_and_is_not_repeated(url: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        Connector(url)
    assert caught.value.key == "redis.url"
    assert "hunter2" not in str(caught.value)


def test_a_sentinel_url_names_several_and_has_two_logins() -> None:
    target = read_url("rediss+sentinel://u:p%40@a,[::1]:7,c:8/shop/3?sentinel_password=q")

    assert target.sentinels == [("a", 26379), ("::1", 7), ("c", 8)]
    assert (target.service, target.tls) == ("shop", True)
    assert target.options == {"username": "u", "password": "p@", "db": 3}
    assert target.sentinel_login == {"password": "q"}
    assert "p@" not in repr(target)
