"""Random documents, translated by scripted models: identity, upper case, and longer texts."""

from __future__ import annotations

import random
import re

import pytest
from markdown_it import MarkdownIt
from markdown_texts import document
from upper_cased import loud

from mixmagic.tasks.translation.segments import assemble, markdown_segments, text_segments

# What a model may write that begins a block at the beginning of a line.
_NASTY = ["-", "+", "1.", "#", ">", "=", "---", "===", ":", "|", "2)", "##", "***", "•", "<div>"]
# CommonMark reads a heading or an item here, and MyST, Python-Markdown or people do not.
_DIFFERENT = re.compile(r"^[ \t>]*(?:\+\+\+|%|\[\^|!!!|[-+*]\s*$|:::)", re.MULTILINE)


def blocks(text):
    """Return the blocks of a document, without their lines."""
    parser = MarkdownIt("commonmark").enable("table")
    return [(token.type, token.tag, token.level) for token in parser.parse(text)]


def lines(text):
    """Return the blocks of a document, with their lines."""
    parser = MarkdownIt("commonmark").enable("table")
    return [(token.type, token.tag, token.level, token.map) for token in parser.parse(text)]


def longer(text, choose):
    """Return a translation with more words than the source, some of them at bad places."""
    words = text.split(" ")
    for _ in range(choose.randint(1, 5)):
        words.insert(choose.randint(0, len(words)), choose.choice([*_NASTY, "mot", "deux mots"]))
    return " ".join(words)


def check(seed):
    source = document(seed)
    for cut in (markdown_segments, text_segments):
        assert loud(source, cut).casefold() == source.casefold()
    assert lines(loud(source)) == lines(source)
    if _DIFFERENT.search(source.replace("\r", "\n").lstrip("\ufeff")):
        return
    choose = random.Random(seed)
    found = markdown_segments(source)
    answers = []
    for segment in found:
        masked = segment.mask()
        restored = masked.restore(longer(masked.text, choose))
        assert restored.faults == ()
        answers.append(restored.text)
    translated = assemble(source, found, answers)
    assert blocks(translated) == blocks(source)


@pytest.mark.parametrize("seed", range(0, 300, 50))
def test_random_documents(seed):
    for each in range(seed, seed + 50):
        check(each)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 9000, 500))
def test_many_random_documents(seed):
    for each in range(seed, seed + 500):
        check(each)
