"""`%mixtral fix`: what it asks, and the fixed cell in the answer."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from mixmagic.magics._shell.options import Options, Question

if TYPE_CHECKING:
    from mixmagic.commands._parser import Parser

INSTRUCTIONS = (
    "A notebook cell has failed. Say in a few sentences what went wrong and why. Then give the"
    " whole fixed cell in one code block, its magics included, changed no more than needed."
)
# Compiled when they are used: `%load_ext` stays light.
_SHELL = r"%%(?:bash|sh|script|cmd)\b"
_WORDS = r"\d+\.\d+|\w+|[^\w\s]"
_FIX = r"fix\s*(?:$|:\s*(.*))"


def with_options_behind(parser: Parser, asked: Question) -> Question:
    """Return a question whose options behind the word `fix` are among its options.

    Raises:
        BadArguments: One of the options is invalid.
        HelpAsked: An option asks for help.

    Example:
        >>> with_options_behind(parser, Question("fix -m local", is_cell=False)).options.model
        'local'
    """
    word, _, rest = asked.prompt.partition(" ")
    words, prose = parser.leading(rest) if word == "fix" else ([], "")
    if asked.is_cell or not words or prose:
        return asked
    options = asked.options.merged(Options.of(vars(parser.parse_args(words))))
    return replace(asked, prompt=word, options=options)


def wish(prompt: str) -> str | None:
    """Return what follows `fix:`, or an empty string for plain `fix`; `None` for other prompts.

    Example:
        >>> wish("fix: without pandas")
        'without pandas'
    """
    match = re.match(_FIX, prompt, re.DOTALL)
    return (match[1] or "") if match else None


def fixed(sources: list[str], cell: str) -> list[str]:
    r"""Return the fixed cell among the sources of an answer, in a list, or an empty list.

    It is the source in the language of the cell that failed that is most like it without being the
    same. Others are output, or install packages.

    Args:
        sources: The sources of an answer's code, as `insert.code_cells` returns them.
        cell: The cell that failed.

    Example:
        >>> fixed(["1 / 1", "1.0", "%%bash\npip install numpy"], "1 / 0")
        ['1 / 1']
    """
    import difflib

    from mixmagic.text.code_blocks import installs

    shell = bool(re.match(_SHELL, cell))
    same_language = [source for source in sources if bool(re.match(_SHELL, source)) is shell]
    programs = [source for source in same_language if installs(cell) or not installs(source)]
    changed = [source for source in programs if source.strip() != cell.strip()] or programs
    # By the words in both, which takes linear time.
    matcher = difflib.SequenceMatcher(None, b=re.findall(_WORDS, cell), autojunk=False)

    def likeness(source: str) -> float:
        matcher.set_seq1(re.findall(_WORDS, source))
        return matcher.quick_ratio()

    return [max(changed, key=likeness)] if changed else []
