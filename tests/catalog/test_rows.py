"""The figures of the package's rows are those of their sources."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest
from genai_prices.data import providers

from mixmagic.catalog import Catalog

CATALOG = Catalog()
ROWS = [row for row in CATALOG._index.rows if row.price and "genai-prices" in row.price.source]
VERSION = "genai-prices 0.2.3"


def listed(row):
    """The package's entry of a model."""
    return genai_prices.calc_price(
        genai_prices.Usage(input_tokens=0, output_tokens=0),
        row.id,
        provider_id=row.provider.genai_prices,
        genai_request_timestamp=datetime(2026, 11, 30, 3, tzinfo=UTC),  # DeepSeek's peak
    )


def dollars(price) -> tuple:
    return price.input, price.output, price.cached, price.cache_write


def highest(price) -> Decimal | None:
    return max([price.base, *(t.price for t in price.tiers)]) if hasattr(price, "tiers") else price


@pytest.mark.parametrize(
    "provider", [p for p in CATALOG.providers.values() if p.genai_prices], ids=lambda p: p.name
)
def test_the_package_has_the_providers_that_our_files_name(provider):
    assert provider.genai_prices in {each.id for each in providers}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_package_has_the_models_that_our_files_name(row):
    assert listed(row).model.id


@pytest.mark.skipif(genai_prices.__version__ != "0.2.3", reason="the figures are 0.2.3's")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_prices_and_contexts_are_the_package_s(row):
    entry = listed(row)
    if row.status == "retired":  # its last price
        return
    price = entry.model_price
    assert row.price.source.startswith(VERSION)
    parts = (
        price.input_mtok,
        price.output_mtok,
        price.cache_read_mtok,
        price.cache_write_mtok,
    )
    steps = {tier.start for part in parts for tier in getattr(part, "tiers", ())}
    assert dollars(row.price) == tuple(getattr(part, "base", part) for part in parts)
    assert {row.price.above} - {None} == steps
    if steps:
        assert dollars(row.price.long) == tuple(map(highest, parts))
    if "context: genai-prices" in row.source:
        assert row.context == entry.model.context_window


def test_every_row_says_where_its_figures_come_from():
    for row in CATALOG._index.rows:
        assert row.source, row.name
        assert row.checked, row.name
        capable = (row.images, row.schema, row.thinking) != (None, None, None)
        known = re.search(r"capabilities|the model's card", row.source)
        assert known or row.provider.schema is not None or not capable, row.name
        assert row.answer is None or "longest answer: " in row.source, row.name
        assert row.answer is None or row.answer < row.context, row.name


@pytest.mark.parametrize("alias", ["8x7b", "8x22b", "disco"])
def test_what_nobody_serves_says_so(alias):
    for row in CATALOG.serving(alias):
        if row.status != "available":
            assert row.note, row.name


def test_a_row_that_sees_no_images_says_who_says_so():
    for row in CATALOG._index.rows:
        if row.images is False and row.provider.images is None:
            said = re.search(r"no images: \S+|capabilities( and longest answer)?: \S+", row.source)
            assert said, row.name
    assert CATALOG.resolve("disco").images is None  # nobody says so
