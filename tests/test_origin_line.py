"""The last line of an SMS that binds its code to a web origin: ours alone to write."""

from __future__ import annotations

import pytest

from otpsvc.errors import BadRequest
from otpsvc.render import Templates, origin_line, render
from otpsvc.tenant import Texts

VALUES: dict[str, str | int] = {"code": "123456", "title": "Shop", "minutes": 5, "seconds": 300}


def sms(template: str, **values: str | int) -> str:
    return render(Templates(Texts(sms=template)), VALUES | values, address_kind_name="phone").text


def test_origin_line_has_one_blank_between_its_parts() -> None:
    assert origin_line("shop.example", "123456") == "@shop.example #123456"
    assert origin_line("shop.example", "CDF346", "otp.example") == "@shop.example #CDF346 @otp.example"


@pytest.mark.parametrize(
    ("host", "code", "embedded"),
    [
        ("", "123456", ""),
        ("shop.example\n", "123456", ""),
        ("shop .example", "123456", ""),
        ("Shop.example", "123456", ""),
        ("https://shop.example", "123456", ""),
        ("shop.example:8443", "123456", ""),
        ("192.168.0.1", "123456", ""),
        ("shop.example", "", ""),
        ("shop.example", "12 34", ""),
        ("shop.example", "123456\n", ""),
        ("shop.example", "١٢٣٤٥٦", ""),
        ("shop.example", "123456", "otp.example #1"),
    ],
)
def test_origin_line_refuses_what_could_break_it(host: str, code: str, embedded: str) -> None:
    with pytest.raises(ValueError, match="origin line"):
        origin_line(host, code, embedded)


@pytest.mark.parametrize(
    ("origins", "root_url", "last"),
    [
        (("https://shop.example",), "https://otp.example", "@shop.example #123456 @otp.example"),
        (("https://shop.example",), "https://shop.example/otp", "@shop.example #123456"),
        (("https://shop.example",), "http://localhost:9000", "@shop.example #123456"),
        (("https://Shop.example:8443",), "", "@shop.example #123456"),
        (("http://dev.example", "https://a.example", "https://b.example"), "", "@a.example #123456"),
    ],
)
def test_last_line_of_an_sms_binds_the_code(origins: tuple[str, ...], root_url: str, last: str) -> None:
    text = render(Templates(origins=origins, root_url=root_url), VALUES, address_kind_name="phone").text

    assert text.split("\n")[1:] == [last]


@pytest.mark.parametrize(
    "origins", [(), ("http://shop.example",), ("https://192.168.0.1",), ("https://[::1]",), ("https://[",)]
)
def test_no_line_without_an_https_host(origins: tuple[str, ...]) -> None:
    templates = Templates(origins=origins, root_url="https://otp.example")

    assert "@" not in render(templates, VALUES, address_kind_name="phone").text


def test_no_line_without_a_code_and_in_no_other_kind() -> None:
    templates = Templates(origins=("https://shop.example",))

    assert "@" not in render(templates, VALUES | {"code": ""}, address_kind_name="phone").text
    assert "@shop" not in render(templates, VALUES, address_kind_name="any").text
    assert "@shop" not in render(templates, VALUES, address_kind_name="email").text


@pytest.mark.parametrize(
    "template", ["x\n@evil.example #{{ code }}", "@evil.example #1", "x\n\n  @evil.example  #{{ code }}\n\n"]
)
def test_template_cannot_write_the_line(template: str) -> None:
    with pytest.raises(ValueError, match=r"^sms: The last line"):
        Templates(Texts(sms=template))


@pytest.mark.parametrize(
    ("template", "values"),
    [
        ("x\n{{ to }} #{{ code }}", {"to": "@evil.example"}),
        ("x\n{{ to }}", {"to": "@evil.example #123456"}),
        ("x\n{{ to }}", {"to": "\u2028\r\n @evil.example #123456"}),
        (
            "x\n{% if purpose == 'transaction' %}@evil.example #{{ code }}{% endif %}",
            {"purpose": "transaction"},
        ),
    ],
)
def test_values_cannot_write_the_line(template: str, values: dict[str, str | int]) -> None:
    with pytest.raises(BadRequest, match="The last line"):
        sms(template, **values)


def test_lines_that_only_look_a_little_like_it_pass() -> None:
    assert sms("@shop: {{ code }}") == "@shop: 123456"
    assert sms("Order #5 @ shop {{ code }}") == "Order #5 @ shop 123456"
