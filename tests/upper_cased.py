"""Judge a translation by a model that upper-cases: read by markdown-it-py, without our scanner."""

from __future__ import annotations

import itertools
import re
from collections import Counter

from markdown_it import MarkdownIt

from mixmagic.tasks.translation.code import assemble_code, code_segments
from mixmagic.tasks.translation.segments import assemble, markdown_segments

# Words of a text that may stay as they are: formulas, and whatever is not letters and punctuation.
_FORMULA = re.compile(
    r"\$\$.*?\$\$|\$[^$]+\$|\\\[.*?\\\]|\\\(.*?\\\)|\\begin\{.*?\\end\{[a-z*]+\}|\{\{.*?\}\}|\{%.*?%\}"
    r"|\{[^{}]*\}|\[\^?@?[^\[\]]*@[^\[\]]*\]|\[\^[^\]]+\]|\{[a-z:]+\}`[^`]*`",
    re.DOTALL,
)
_MAY_STAY = re.compile(
    r"[^\s]*(?:[/\\@{}_$%|<>^~]|\w\.\w|\w\(\)|(?<!\w):[a-z+][\w+-]*:|^\W*--?\w|^\W*#|^%)[^\s]*"
)
_WORD = re.compile(r"[^\W\d_]{2,}")


def loud(source, cut=markdown_segments):
    """Return a document as translated by a model that upper-cases what it is given."""
    found = cut(source)
    assert assemble(source, found, [segment.text for segment in found]) == source
    return assemble(source, found, raised(found))


def loud_code(source, *, comments=True, strings=True):
    """Return a cell of code as translated by such a model."""
    found = code_segments(source, comments=comments, strings=strings)
    assert assemble_code(source, found, [segment.text for segment in found]) == (source, [])
    translated, refused = assemble_code(source, found, raised(found))
    assert refused == []
    return translated


def raised(segments):
    """Return the answers of such a model, restored."""
    assert all(first.end <= second.start for first, second in itertools.pairwise(segments))
    answers = []
    for segment in segments:
        masked = segment.mask()
        same = masked.restore(masked.text)
        assert (same.text, same.faults) == (segment.text, ())
        restored = masked.restore(masked.text.upper())
        assert restored.faults == ()
        answers.append(restored.text)
    return answers


def judge(source, translated):
    """Return what is wrong, and how many words were raised and stayed."""
    wrong = []
    counts = Counter()
    if source.casefold() != translated.casefold():
        wrong.append(("other characters", "", ""))
    if source.startswith("---\n"):  # front matter
        source, translated = (text.split("\n---\n", 1)[1] for text in (source, translated))
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    parser.validateLink = lambda url: True
    before, after = parser.parse(source), parser.parse(translated)
    if [(t.type, t.tag, t.map, t.level) for t in before] != [
        (t.type, t.tag, t.map, t.level) for t in after
    ]:
        return [*wrong, ("blocks", "", "")], counts
    for one, other in zip(before, after, strict=True):
        if one.type != "inline":
            if one.type != "html_block" and (one.content, one.info) != (other.content, other.info):
                wrong.append((one.type, one.content, other.content))
            if one.type == "html_block" and (tags(one.content) != tags(other.content)):
                wrong.append((one.type, one.content, other.content))
            continue
        first, second = flat(one.children), flat(other.children)
        if re.search(r"\.__\w+__\(\)", one.content):
            continue  # a method's name, which Markdown would read as bold
        if [token[0] for token in first] != [token[0] for token in second]:
            wrong.append(("inline", one.content, other.content))
            continue
        for (kind, text), (_kind, raised) in zip(first, second, strict=True):
            if kind != "text" and text != raised:
                wrong.append((kind, text, raised))
            elif kind == "text":
                wrong += words(text, raised, counts)
    return wrong, counts


def tags(content):
    """Return the tags and comments of HTML."""
    return re.findall(r"<!--.*?-->|<[^>]*>", content, re.DOTALL)


def flat(children):
    """Return the inline tokens that matter, with neighboring texts as one."""
    tokens = []
    in_code = 0
    for token in children:
        if token.type == "html_inline" and re.match(r"</?(?:code|kbd|samp|var)\b", token.content):
            in_code += -1 if token.content[1] == "/" else 1
        if in_code and token.type == "text":
            tokens.append(("code", token.content))
            continue
        if token.type == "image":
            tokens += [("image", token.attrs["src"]), *flat(token.children), ("end", "")]
        elif token.type in ("text", "text_special", "softbreak"):
            text = "\n" if token.type == "softbreak" else token.content
            if tokens and tokens[-1][0] == "text":
                text = tokens.pop()[1] + text
            tokens.append(("text", text))
        else:
            tokens.append((token.type, token.content or token.attrs.get("href", "")))
    return tokens


def words(text, raised, counts):
    """Yield words of a text that should have been raised."""
    counts["all"] += len(_WORD.findall(text))
    formulas = [match.span() for match in _FORMULA.finditer(text)]
    for token in re.finditer(r"\S+", text):
        other = raised[token.start() : token.end()]
        stays = _MAY_STAY.fullmatch(token[0]) or any(
            start <= token.start() < end or start < token.end() <= end for start, end in formulas
        )
        if stays:
            counts["may stay"] += len(_WORD.findall(token[0]))
        elif any(word != word.upper() for word in _WORD.findall(other)) and len(text) == len(
            raised
        ):
            yield ("word", token[0], text)
