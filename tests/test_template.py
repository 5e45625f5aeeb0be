"""One template: what it may hold, how it helps who errs, and that nothing harmful comes out."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otpsvc.errors import BadRequest
from otpsvc.render import Templates, render
from otpsvc.template import FILTERS, TEMPLATE_MAX, VARIABLES, check, cleaned, compiled, written
from otpsvc.tenant import Texts

VALUES: dict[str, str | int] = {
    "code": "123456",
    "title": "Shop",
    "minutes": 5,
    "url": "https://otp.example/otp/shop/abc#x",
    "purpose": "authentication",
}


def refusal(template: str) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        check(template)
    return str(caught.value)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ code }}", "123456"),
        ("{{ title|upper }}/{{ title|lower }}/{{ title|title }}/{{ title|trim }}", "SHOP/shop/Shop/Shop"),
        ("{{ url|default('none', true) }}", "https://otp.example/otp/shop/abc#x"),
        ("{% if minutes >= 5 and not url == '' %}a{% elif code %}b{% else %}c{% endif %}", "a"),
        ("{{ 'a' if purpose == 'transaction' else 'b' }}", "b"),
        ("{{ 'a' if 1 < minutes <= 5 or code else 'b' }}", "a"),
        ("{% raw %}{{ code.x }}{% endraw %}", "{{ code.x }}"),
        ("{# a note #}x", "x"),
        ("a\r\nb\n", "a\nb"),
        ("{% if url %}\na\n{% endif %}\nb", "a\nb"),
        ("رمز \u2066{{ code }}\u2069", "رمز \u2066123456\u2069"),
    ],
)
def test_allowed(template: str, text: str) -> None:
    assert written(compiled(template), cleaned(VALUES), most=100) == text


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("{{ 'a'*10**9 }}", "arithmetic"),
        ("{{ 'a' * 1000000000 }}", "arithmetic"),
        ("{{ 10 ** 99999999 }}", "arithmetic"),
        ("{{ '%0999999999d' % 1 }}", "arithmetic"),
        ("{{ code + code }}", "arithmetic"),
        ("{{ code ~ code }}", "arithmetic"),
        ("{{ minutes / 0 }}", "arithmetic"),
        ("{{ -1 }}", "arithmetic"),
        ("{{ code.__class__.__mro__ }}", "attribute"),
        ("{{ code.format }}", "attribute"),
        ("{{ code['__class__'] }}", "index"),
        ("{{ code[0:3] }}", "index"),
        ("{{ code.upper() }}", "a call"),
        ("{{ range(10) }}", "a call"),
        ("{{ super() }}", "a call"),
        ("{{ [1, 2] }}", "`list`"),
        ("{{ (1, 2) }}", "`tuple`"),
        ("{{ {'a': 1} }}", "`dict`"),
        ("{{ 'a' in code }}", "`in`"),
        ("{{ code is defined }}", "a test"),
        ("{{ 'a' if code }}", "else"),
        ("{% for c in code %}{{ c }}{% endfor %}", "a loop"),
        ("{% macro m() %}{% endmacro %}", "`macro`"),
        ("{% call m() %}{% endcall %}", "a call"),
        ("{% set a = code %}", "set"),
        ("{% set a %}x{% endset %}", "set"),
        ("{% with a = code %}{% endwith %}", "`with`"),
        ("{% block a %}{% endblock %}", "`block`"),
        ("{% filter upper %}x{% endfilter %}", "filter block"),
        ("{% autoescape false %}{{ to }}{% endautoescape %}", "not allowed"),
        ("{% include 'subject.txt' %}", "`include`"),
        ("{% extends 'subject.txt' %}", "`extends`"),
        ("{% import 'x' as y %}", "`import`"),
        ("{% from 'x' import y %}", "an import"),
        ("{% do code %}", "unknown tag"),
        ("{% debug %}", "unknown tag"),
        ("{{ code|replace('1', 'x') }}", "'replace'"),
        ("{{ code|center(999999999) }}", "'center'"),
        ("{{ code|indent(999999999) }}", "'indent'"),
        ("{{ '%99999999d'|format(1) }}", "'format'"),
        ("{{ code|attr('__class__') }}", "'attr'"),
        ("{{ code|map('upper') }}", "'map'"),
        ("{{ code|safe }}", "'safe'"),
        ("{{ code|pprint }}", "'pprint'"),
        ("{{ code|trim('1') }}", "arguments of 'trim'"),
        ("{{ code|default(default_value=to) }}", "arguments of 'default'"),
        ("{{ code|default(*to) }}", "arguments of 'default'"),
        ("{{ code|default('a', true, 'b') }}", "two arguments"),
        ("{{ self }}", "no variable 'self'"),
        ("{{ cycler }}", "no variable 'cycler'"),
        ("{{ cdoe }}", "no variable 'cdoe'; there are code, id"),
        ("{% if minuts > 1 %}{% endif %}", "no variable 'minuts'"),
        ("{{ code > 1 }}", "only numbers"),
        ("{{ minutes < '5' }}", "only numbers"),
        ("{{ 1.5 }}", "number"),
        ("{{ 100000000000000000000 }}", "number"),
        ("{{ " + "9" * 5000 + " }}", "number too long"),
        ("{{ 'a\\nb' }}", "control character"),
        ("{{ '\\u202e' }}", "control character"),
        ("a\x00b", "control character"),
        ("a\rb", "control character"),
        ("a\u2028b", "control character"),
        ("x" * (TEMPLATE_MAX + 1), "longer than 8192"),
        ("{{ " + "(" * 3000 + " }}", "deeply nested"),
        ("{{ " + "not " * 2000 + "code }}", "deeply nested"),
        ("{{ code" + "|upper" * 1000 + " }}", "deeply nested"),
        ("{% if code %}" * 200 + "{% endif %}" * 200, "deeply nested"),
        ("{{ code", "line 1"),
        ("{% if code %}", "line 1"),
    ],
)
def test_refused(template: str, what: str) -> None:
    assert what in refusal(template)


def test_refusal_names_the_line() -> None:
    assert refusal("a\n\nb {{ code.x }}\n{{ to.y }}").endswith("line 3")
    assert refusal("\n\na\x00").endswith("line 3")
    assert refusal("a\r\n{{ code").endswith("line 2")


@pytest.mark.parametrize(
    ("template", "advice"),
    [
        ("Your code: {{ .OTP }}", ".OTP belongs to a Go template; write {{ code }}, line 1"),
        ("x\n{{ if .OTPURL }}y{{ end }}", ".OTPURL belongs to a Go template; write {{ url }}, line 2"),
        ("{{- .Namespace -}}", "write {{ title }}"),
        ('{{ printf "%s" .OTP }}', "write {{ code }}"),
        ("{{ .OTPTTL }}", "write {{ minutes }}"),
        ("{{ .ChannelName }}", "there are code, id"),
    ],
)
def test_go_template_gets_help(template: str, advice: str) -> None:
    assert advice in refusal(template)


def test_one_line_template_has_no_line_break_and_no_tab() -> None:
    check("{% if code %}\n{% endif %}{{ code }}\n", one_line=True)
    for template in ("a\nb", "a\tb", "{{ code }}\n{{ to }}"):
        with pytest.raises(ValueError, match=r"^a subject is one line"):
            check(template, one_line=True)


names = st.sampled_from([*VARIABLES, "self", "x", "range", "true", "none"])
pieces = st.one_of(
    names,
    st.sampled_from([*FILTERS, "replace", "safe", "join", "xmlattr"]).map("|{}".format),
    st.sampled_from(
        ["{{", "}}", "{%", "%}", "{#", "#}", "-%}", "{%-", "\n", "@", "#", "'a'", '"b"', "1", "1e9"]
    ),
    st.sampled_from(
        ["if", "elif", "else", "endif", "for", "in", "endfor", "set", "raw", "endraw", "is", "not"]
    ),
    st.sampled_from(
        ["and", "or", "==", "<", ">", "*", "**", "+", "%", "~", "|", ".", "(", ")", "[", "]", ","]
    ),
    st.text(max_size=3),
)


@given(st.lists(pieces, max_size=25).map(" ".join), st.dictionaries(names, st.text(max_size=20)))
@example("{{ code }} @ #", {"code": "1"})
def test_any_template_is_refused_or_written_without_harm(template: str, given_values: dict[str, str]) -> None:
    """Nothing but ValueError at start and BadRequest later; never a control character or a page's line."""
    try:
        templates = Templates(Texts(sms=template or "x", subject=template or "x"))
    except ValueError:
        return
    values = {name: value for name, value in given_values.items() if VARIABLES.get(name) == ""}
    try:
        message = render(templates, values, address_kind_name="any")
    except BadRequest:
        return

    assert "\n" not in message.subject
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]", message.subject + message.text)
    assert not re.match(r"@.*#", message.text.rpartition("\n")[2])
