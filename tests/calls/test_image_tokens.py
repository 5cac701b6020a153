"""Images are counted by the rules that providers publish, with the examples that they give."""

from __future__ import annotations

import io

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.calls.image_tokens import MOST, USUAL, image_tokens
from mixmagic.catalog import Catalog
from mixmagic.core.values import Image
from mixmagic.prompting.images import LONGEST_SIDE

SIDES = st.integers(1, LONGEST_SIDE)


def image(width: int, height: int) -> Image:
    written = io.BytesIO()
    PIL.Image.new("1", (width, height)).save(written, "PNG")
    return Image(written.getvalue())


@pytest.mark.parametrize(
    ("rule", "size", "tokens"),
    [
        ("tiles-85-170", (1024, 1024), 765),
        ("tiles-85-170", (1024, 2048), 1105),
        ("tiles-85-170", (128, 64), 255),
        ("tiles-85-170", (1000, 500), 425),
        ("tiles-2833-5667", (128, 64), 8500),
        ("patches-28", (1000, 1000), 1296),
        ("patches-28", (28, 29), 2),
        ("patches-32-1.62-1536", (1024, 1024), 1659),
        ("patches-32-1.62-1536", (4000, 1474), 2489),
        ("patches-32-2.46-1536", (128, 64), 20),
        ("crops-258", (384, 384), 258),
        ("crops-258", (960, 540), 6 * 258),
        ("fixed-1120", (30, 20), 1120),
    ],
)
def test_published_examples(rule, size, tokens):
    assert image_tokens(image(*size), rule).likely == tokens


RULES = ["tiles-85-170", "tiles-2833-5667", "patches-28", "patches-32-2.46-1536", "crops-258",
         "fixed-1120", None]  # fmt: skip


@given(SIDES, SIDES, st.sampled_from(RULES))
def test_the_most_is_never_less_than_likely_nor_more_than_the_most_of_any(width, height, rule):
    likely, most = image_tokens(image(width, height), rule)
    assert 0 < likely <= most <= MOST


@pytest.mark.parametrize(
    "rule", [None, "", "tile-85-170", "tiles", "tiles-1", "fixed-1-2-3", "x", "patches-0"]
)
def test_an_unknown_rule_is_bounded_by_the_most_of_any(rule):
    assert image_tokens(image(640, 480), rule) == (USUAL, MOST)


def test_an_image_that_claims_a_side_of_0_is_bounded_by_the_most_of_any():
    claims = Image(image(1, 1).data[:16] + bytes(8))
    assert claims.size == (0, 0)
    assert image_tokens(claims, "tiles-85-170") == (USUAL, MOST)


def test_an_image_without_a_size_is_bounded():
    assert image_tokens(Image(b"?"), "tiles-85-170") == (USUAL, MOST)


def test_every_rule_in_the_catalog_is_known():
    catalog = Catalog()
    for row in (*catalog.models, *catalog.providers.values()):
        if row.image_tokens is not None:
            assert image_tokens(image(640, 480), row.image_tokens).most < MOST, row


def test_a_narrow_image_of_gemini_is_bounded_as_if_its_crops_could_be_small():
    assert image_tokens(image(1000, 300), "crops-258") == (4 * 2 * 258, 5 * 2 * 258)
    assert image_tokens(image(1500, 10), "crops-258") == (6 * 258, MOST)
