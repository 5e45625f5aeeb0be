"""What a page's visitor may do, held to the token: also when the challenge changes under the open page."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlsplit

import pytest

from otpsvc.errors import BadRequest, CheckRefused, NotFound
from otpsvc.view import View
from otpsvc.visit import Visit, Visits
from tests.flows.conftest import NewNode
from tests.flows.rig import Node, Outlet, tenant
from tests.waiting import stays, until

HERE = "198.51.100.7"


def visit_of(node: Node, made: View) -> tuple[Visits, Visit]:
    visits = Visits(node.verifier, lambda: node.tenants)
    token = parse_qs(urlsplit(made.url).query)["t"][0]
    return visits, visits.admit("shop", made.id, token)


async def test_an_open_page_guesses_at_its_own_generation_alone(new_node: NewNode) -> None:
    node = await new_node()
    visits, visit = visit_of(node, await node.create(otp="246810"))
    await node.create(to="ben@home.example", otp="135791")

    with pytest.raises(CheckRefused):
        await visits.check(visit, "135791", address=HERE, nonce="1")
    assert (await node.read()).attempts == 0


async def test_an_open_page_sends_nothing_of_another_generation(new_node: NewNode) -> None:
    outlet = Outlet()
    node = await new_node(mail=outlet)
    visits, visit = visit_of(node, await node.create())
    await node.create(to="ben@home.example")
    await node.settled()
    # That of the first address too, if it left at all.
    await until(lambda: node.courier.in_flight == 0)
    sent = len(outlet.taken)

    with pytest.raises(NotFound):
        await visits.resend(visit, address=HERE, nonce="1")
    with pytest.raises(NotFound):
        await visits.direct(visit, "mail", "eve@home.example", address=HERE, nonce="2")
    await stays(lambda: len(outlet.taken) == sent)


async def test_a_page_cannot_turn_the_tenants_address_into_another(new_node: NewNode) -> None:
    node = await new_node()
    visits, visit = visit_of(node, await node.create())

    with pytest.raises(BadRequest):
        await visits.direct(visit, "mail", "eve@home.example", address=HERE, nonce="1")
    assert (await node.read()).to == "anna@home.example"


async def test_a_repeated_answer_makes_the_receipt_live_no_longer(new_node: NewNode) -> None:
    node = await new_node()
    visits, visit = visit_of(node, await node.create(otp="246810"))
    first = await visits.check(visit, "246810", address=HERE, nonce="1")
    await asyncio.sleep(1.1)
    again = await visits.check(visit, "246810", address=HERE, nonce="1")

    assert first.receipt
    assert first.receipt == again.receipt


async def test_without_a_nonce_every_form_counts(new_node: NewNode) -> None:
    node = await new_node()
    visits, visit = visit_of(node, await node.create(otp="246810"))
    for _ in range(2):
        with pytest.raises(CheckRefused):
            await visits.check(visit, "000000", address=HERE, nonce="")

    assert (await node.read()).attempts == 2


async def test_a_tenant_that_is_gone_opens_no_page(new_node: NewNode) -> None:
    node = await new_node(tenant(open_view=True))
    made = await node.create()
    visits, visit = visit_of(node, made)
    token = parse_qs(urlsplit(made.url).query)["t"][0]
    node.tenants.clear()

    assert visit.right == "view"
    with pytest.raises(NotFound):
        visits.admit("shop", made.id, token)
    with pytest.raises(NotFound):
        visits.admit("shop", made.id, "")
