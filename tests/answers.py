"""A question to a priced model, and the answer to it."""

from __future__ import annotations

from decimal import Decimal

from mixmagic.calls.completion import Completion
from mixmagic.core.money import Price, Usage
from mixmagic.core.values import Message, Model, Provider, Request

ACME = Provider("acme", "Acme")
MODEL = Model("org/Model-1", ACME, ("one",), price=Price(Decimal("0.60"), Decimal("1.20")))
REQUEST = Request(MODEL, (Message("user", "Hello"),))
ANSWER = Completion(
    text="Hi there.",
    usage=Usage(1234, 56),
    cost=Decimal("0.0008076"),
    finish="stop",
    request=REQUEST,
    elapsed=3.0,
    ttft=0.5,
)
