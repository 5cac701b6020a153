"""Tokens of an image, by the rule that a model's provider has published.

A row of the catalog, or its provider, names the rule (`image_tokens`): a family, and its numbers.
May import `values` and the packages below it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

from mixmagic.core.values import Image

# Tokens of an image if no rule is known: as most providers count one of about a million pixels.
USUAL = 1_100
# The most that any provider is known to count: gpt-4o-mini, for eight tiles.
MOST = 2_833 + 8 * 5_667

_RULE = re.compile(r"(tiles|patches|fixed|crops)((?:-[0-9]+(?:\.[0-9]+)?)*)")


class ImageTokens(NamedTuple):
    """Tokens of one image.

    Attributes:
        likely: By the rule.
        most: The most that it can be, however the provider resizes and rounds.
    """

    likely: int
    most: int


def image_tokens(image: Image, rule: str | None) -> ImageTokens:
    """Return the tokens of an image.

    Args:
        image: The image.
        rule: `tiles-BASE-EACH`, `patches-SIZE`, `patches-SIZE-FACTOR-MOST`, `crops-EACH` or
            `fixed-N`; another one, or `None`, stands for a provider without a known rule.

    Example:
        >>> image_tokens(image, "tiles-85-170")  # of 1024×1024 pixels
        ImageTokens(likely=765, most=765)
    """
    found = _RULE.fullmatch(rule or "")
    if found is None or image.size is None:
        return ImageTokens(USUAL, MOST)
    numbers = tuple(map(float, found[2].split("-")[1:]))
    try:
        return _FAMILIES[found[1]](*image.size, *numbers)
    except (TypeError, ZeroDivisionError):  # too few numbers, or too many; a side of 0
        return ImageTokens(USUAL, MOST)


def _tiles(width: int, height: int, base: float, each: float) -> ImageTokens:
    """Count tiles of 512×512, after the image is scaled into 2048×2048 and to a side of 768.

    OpenAI's GPT-4o family: platform.openai.com/docs/guides/images-vision, as quoted by
    doc.agentscope.io/_modules/agentscope/token/_openai_token_counter.html, which enlarges small
    images, too; bills show that OpenAI does not (community.openai.com/t/1262691). Read 2026-11-30.
    """

    def count(*, enlarge: bool) -> int:
        scale = min(2_048 / max(width, height), 1)
        shorter = min(width, height) * scale
        if enlarge or shorter > 768:
            scale *= 768 / shorter
            scale = min(scale, 2_048 / max(width, height))
        tiles = math.ceil(round(width * scale) / 512) * math.ceil(round(height * scale) / 512)
        return math.ceil(base + each * max(tiles, 1))

    return ImageTokens(count(enlarge=False), count(enlarge=True))


def _patches(
    width: int, height: int, size: float, factor: float = 1, most: float = math.inf
) -> ImageTokens:
    """Count patches of `size`×`size` pixels, at most so many, times a factor.

    Claude (28): platform.claude.com/docs/en/build-with-claude/vision, read 2026-11-30; models
    before Opus 4.7 scale an image down to 1,568 of them. GPT-4.1 mini (32, 1.62, 1,536): OpenAI's
    guide to images, as stored at openai-hd4n6.mintlify.app/docs/guides/images, read 2026-11-30;
    bills show all 1,536 for a larger image (community.openai.com/t/1281361).
    """
    patches = min(math.ceil(width / size) * math.ceil(height / size), most)
    tokens = math.ceil(patches * factor)
    return ImageTokens(tokens, tokens)


def _crops(width: int, height: int, each: float) -> ImageTokens:
    """Count crops, of about two thirds of the shorter side; an image of at most 384 pixels is one.

    Gemini before version 3: ai.google.dev/gemini-api/docs/image-understanding, "Token calculation",
    read 2026-11-30 in stored copies of several versions. All give the side of a crop as "roughly"
    `floor(min(width, height) / 1.5)`, and 960×540 pixels as an example of six. The oldest, of
    Gemini 1.5, adds that the side is from 256 to 768, without which a narrow image would be
    hundreds of crops: this is the likely count, and the most is by the smaller side of the two.
    """
    if max(width, height) <= 384:
        return ImageTokens(math.ceil(each), math.ceil(each))

    def count(side: float) -> int:
        return math.ceil(each) * math.ceil(width / side) * math.ceil(height / side)

    rough = max(min(width, height) // 1.5, 1)
    return ImageTokens(count(min(max(rough, 256), 768)), min(count(min(rough, 256)), MOST))


def _fixed(width: int, height: int, tokens: float) -> ImageTokens:
    """Count every image alike.

    Gemini 3: docs.cloud.google.com/vertex-ai/docs/generative-ai/image/image-captioning, "default
    resolution tokens", read 2026-11-30.
    """
    return ImageTokens(math.ceil(tokens), math.ceil(tokens))


_FAMILIES: dict[str, Callable[..., ImageTokens]] = {
    "tiles": _tiles,
    "patches": _patches,
    "crops": _crops,
    "fixed": _fixed,
}
