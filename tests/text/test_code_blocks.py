"""The code blocks of an answer, against another reader of CommonMark."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mixmagic.text.code_blocks import CodeBlock, code_blocks, installs, main_block

_READER = MarkdownIt("commonmark")
# Without lines of text alone: where a paragraph goes on, we do not follow it.
_LINES = ["", "```", "```py", "~~~", "````", "   ```", "    ```", "  ~~~ sh x", "- ```", "1. ```x",
          "   ```", "    y", "> ```", "> - ```", "  - ```js", "      ```", "\t```", "* * *",
          "-   ```", "> ", "\ty"]  # fmt: skip


def read(markdown: str) -> tuple[CodeBlock, ...]:
    """Return the code blocks that markdown-it finds."""
    return tuple(
        CodeBlock((token.info.split() or [""])[0], token.content.removesuffix("\n"))
        for token in _READER.parse(markdown)
        if token.type == "fence"
    )


@settings(max_examples=500)
@given(st.lists(st.sampled_from(_LINES), min_size=1, max_size=6).map("\n".join))
def test_what_commonmark_calls_a_block_is_one(markdown):
    assert code_blocks(markdown) == read(markdown)


@pytest.mark.parametrize(
    ("markdown", "blocks"),
    [
        ("", []),
        ("x `y` z\n\n    indented", []),
        ("```python\nx = 1\n```", [("python", "x = 1")]),
        ("``` python title=a\nx\n\ny\n```\n", [("python", "x\n\ny")]),
        ("~~~\n```\nx\n```\n~~~", [("", "```\nx\n```")]),
        ("`````\n```\n````\n`````", [("", "```\n````")]),
        ("1. Step\n\n   ```sh\n   ls\n     -a\n   ```\n2. Then", [("sh", "ls\n  -a")]),
        ("10. Step\n\n    ```sh\n    ls\n    ```", [("sh", "ls")]),
        ("- a\n  - b\n    ```\n    c\n    ```", [("", "c")]),
        ("> ```\n> x\n> ```\nout", [("", "x")]),
        ("- ```\n  x\nout\n```\ny\n```", [("", "x"), ("", "y")]),
        ("```py\r\nx\r\n```\r\n", [("py", "x")]),
        ("Cut:\n```py\nx = [", [("py", "x = [")]),
        ("```py", [("py", "")]),
        ("```a`b\nx\n```", [("", "")]),
        ("```py\n\tx\n```", [("py", "\tx")]),
    ],
)
def test_blocks_of_answers(markdown, blocks):
    assert [(block.language, block.code) for block in code_blocks(markdown)] == blocks
    assert code_blocks(markdown) == read(markdown.replace("\r", ""))


@pytest.mark.parametrize(
    ("code", "source"),
    [
        ("x = 1", "x = 1"),
        ("x = '>>> '", "x = '>>> '"),
        (">>> x = 1\n>>> x\n1\n>>> y", "x = 1\nx\ny"),
        ("\n>>> x\n1", "x"),
        (
            ">>> for i in x:\n...     i\n...\n0\n\n>>> f(\n... )\nTraceback:\n    ...\nE",
            "for i in x:\n    i\n\nf(\n)",
        ),
    ],
)
def test_of_a_python_session_its_input_is_run(code, source):
    assert CodeBlock("pycon", code).source == source


@pytest.mark.parametrize(
    ("code", "alone"),
    [
        ("pip install x", True),
        ("# first\n%%bash\n\n$ pip3 -q install x\nsudo apt-get install -y y", True),
        ("!{sys.executable} -m pip install x", True),
        ("uv pip install x", True),
        ("%conda install x", True),
        ("pip install x\nimport x", False),
        ("pip list", False),
        ("installs(code)", False),
        ("", False),
        ("# nothing", False),
    ],
)
def test_what_only_installs(code, alone):
    assert installs(code) is alone


@pytest.mark.parametrize(
    ("blocks", "place"),
    [
        ([("py", "a"), ("py", "longer")], 0),
        (
            [("sh", "cd x"), ("py", "a"), ("py", "longer"), ("text", "the longest"), ("", "and 1")],
            2,
        ),
        ([("bash", "jq .name data.json"), ("json", '{"name": 1}')], 0),
        ([("sh", "find . -size +100M"), ("python", "for each in walk():\n    print(each)")], 0),
        ([("sh", "$ python3 x.py"), ("python", "print(1)")], 1),
        ([("python", "!pip install x"), ("python", "import x")], 1),
        ([("", "pip install x"), ("", "import x")], 1),
        ([("sh", "cd x\nls"), ("py", "a")], 0),
        ([("sh", "mkdir x\ncd x"), ("py", "a")], 1),
        ([("sh", "ls"), ("sh", "cd x\nls"), ("", "x")], 0),
        ([("sh", "pip install x"), ("sh", "pip install y")], 0),
    ],
)  # fmt: skip
def test_what_several_blocks_are_about(blocks, place):
    assert main_block([CodeBlock(*each) for each in blocks]) == place
