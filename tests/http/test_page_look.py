"""Pages as bytes: the policy that allows them, a tenant's look, and how small they are packed."""

from __future__ import annotations

import gzip
import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from otpsvc.http.pages import stage as page_stage
from otpsvc.http.pages.scene import Kind
from otpsvc.http.pages.stage import HEADS_MAX, SCRIPTS, Stage, contrast, readable, text_on
from otpsvc.render import web_folder
from otpsvc.tenant import PageLook, Tenant
from tests.http.page_shown import KINDS, LANGUAGES, LOGO, SHOP, Document, scene


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize("page", [PageLook(), PageLook(accent="#ffcc00", logo=LOGO)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_policy_allows_exactly_what_is_there(stage: Stage, kind: Kind, page: PageLook) -> None:
    body, policy = stage.show(scene(kind, tenant=structs.replace(SHOP, page=page)))

    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    inline = re.findall(rb"<(?:style|script type=\"module\")>(.*?)</(?:style|script)>", body, re.DOTALL)
    style, script = (f"'sha256-{b64encode(sha256(text).digest()).decode()}'" for text in inline)
    images: Mapping[str, str] = {"img-src": "data:"} if page.logo else {}
    assert rules == {
        "default-src": "'none'",
        "style-src": style,
        "script-src": script,
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        **images,
    }


def test_only_the_tenants_origins_may_frame_and_are_told(stage: Stage) -> None:
    page, policy = stage.show(scene("done", framed=True, receipt="the-receipt"))
    alone, closed = stage.show(scene("done"))

    assert policy.endswith("frame-ancestors https://shop.example https://b.example")
    assert Document(page).all("main")[0]["data-origins"] == "https://shop.example https://b.example"
    assert Document(page).all("main")[0]["data-receipt"] == "the-receipt"
    assert closed.endswith("frame-ancestors 'none'")
    assert b"data-origins=" not in alone
    assert stage.show(scene(framed=True, tenant=Tenant(name="shop")))[1].endswith("frame-ancestors 'none'")


# --- looks -----------------------------------------------------------------


@given(st.integers(0, 0xFFFFFF))
def test_any_accent_can_be_read(number: int) -> None:
    accent = f"#{number:06x}"

    assert contrast(text_on(accent), accent) >= 4.5
    for card in page_stage._CARDS:
        assert contrast(readable(accent, card), card) >= 4.5


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_the_cards_are_those_of_the_style() -> None:
    style = (web_folder() / "pages" / "page.css").read_text()

    assert set(re.findall(r"--card: (#\w{6});", style)) == set(page_stage._CARDS)


def test_a_tenant_has_its_own_look(stage: Stage) -> None:
    tenant = structs.replace(SHOP, page=PageLook(accent="#ffcc00", logo=LOGO))

    body = stage.show(scene(tenant=tenant))[0].decode()

    assert "--accent:#ffcc00;--on-accent:#000000;" in body
    assert f'--logo:url("{LOGO}")' in body
    assert '<p class="logo" role="img" aria-label="Northwind"' in body


@pytest.mark.parametrize(
    "page",
    [
        PageLook(accent="red;}*{display:none", logo='data:image/png,x");}*{x:url("y'),
        PageLook(accent="#fffffff", logo="https://evil.example/a.png"),
        PageLook(accent="#fff", logo="data:text/html,<script>"),
    ],
)
def test_a_look_that_is_none_is_left_out(stage: Stage, page: PageLook) -> None:
    plain = stage.show(scene())

    assert stage.show(scene(tenant=structs.replace(SHOP, page=page))) == plain


# --- bytes -----------------------------------------------------------------


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_packed_pages_are_the_same_and_small(stage: Stage, kind: Kind, locale: str) -> None:
    full = scene(kind, locale, error="Something that went wrong.", framed=True)

    packed, policy = stage.packed(full)

    assert (gzip.decompress(packed), policy) == stage.show(full)
    assert stage.packed(full) == (packed, policy)
    assert len(packed) < 9_000


def test_looks_are_kept_in_bounds() -> None:
    stage = Stage()

    for number in range(HEADS_MAX + 10):
        look = PageLook(accent=f"#{number:06x}")
        stage.packed(scene("gone", tenant=structs.replace(SHOP, page=look)))

    assert stage._head.cache_info().currsize == HEADS_MAX


@pytest.mark.parametrize(("name", "comment"), [("page.css", "/*"), *((name, "//") for name in SCRIPTS)])
def test_squeezing_changes_no_meaning(name: str, comment: str) -> None:
    """Only blanks around lines and whole comment lines go: no string or comment spans lines."""
    source = (web_folder() / "pages" / name).read_text()
    lines = [line.strip() for line in source.splitlines()]

    for line in lines:
        assert line.count("/*") == line.count("*/")
        assert line.count("`") % 2 == 0
        assert not line.endswith("\\")
        if line.startswith("/*"):
            assert line.index("*/") == len(line) - 2
    kept = [line for line in lines if line and not line.startswith(comment)]
    assert page_stage.squeezed(source, comment).split("\n") == kept
    assert "</" not in page_stage.squeezed(source, comment)
    assert "<!--" not in source
