"""`%%translate` and `%translate`: translate a text, a variable or a file."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_cell_magic, magics_class, no_var_expand

from mixmagic.magics._shell.model_magics import ModelMagics

if TYPE_CHECKING:  # imported when a cell runs: `%load_ext` stays light
    from argparse import Namespace

    from mixmagic.commands._parser import Parser
    from mixmagic.sessions import Session

# The beginning of an option behind an expression.
_BEHIND = re.compile(r"\s(?=[-\u2010-\u2015\u2212]{1,2}[A-Za-z])")


@magics_class
class Translate(ModelMagics):
    """The `%%translate` of one session."""

    name = "translate"
    manual = """\
Translate the cell, and check that only its language has changed.

    %%translate --to fr
    The mean of `x` is $\\bar{x}$.

In one line: `%translate EXPRESSION --to de` translates a variable (a text, a list, a Series, a
DataFrame) or a file: `%translate lesson.ipynb --to fr` writes lesson.fr.ipynb. With `-o NAME`, or
as `x = %translate …`, the translation is kept.

Code, formulas, links, placeholders, numbers and structure stay as they are. A translation in which
they do not, that is in the wrong language, or that leaves something out, is asked for once more;
what is then still wrong with it is named below it, and in its `.faults`.
"""

    @no_var_expand
    @line_cell_magic
    def translate(self, line: str, cell: str | None = None) -> Any:
        """Translate a text, a variable or a file: `%%translate?` is the manual."""
        from mixmagic.commands._parser import HelpAsked
        from mixmagic.core.terminal import wrapped, write

        try:
            return self._translated(line, cell)
        except HelpAsked as help_asked:
            write(f"{wrapped(str(help_asked))}\n")
            return None

    @classmethod
    @functools.cache
    def parser(cls) -> Parser:
        """Return the parser of the magic's line, whose help is its manual."""
        from mixmagic.commands import _translation
        from mixmagic.commands._parser import Parser

        usage = "%%translate --to LANGUAGE [options], then the text below; or %%translate"
        usage += " EXPRESSION --to LANGUAGE [options]"
        parser = Parser("%%translate", cls.manual, usage.replace("%", "%%"))
        parser.add("source", metavar="EXPRESSION", nargs="?", values=_sources, help="a variable, an"
            " expression or a file: .ipynb, .md, .txt, .po, .csv")  # fmt: skip
        _translation.add_options(parser)
        parser.add("-o", "--out", metavar="NAME", help="keep the translation in a variable; of a"
            " file, the file to write")  # fmt: skip
        return parser

    def _translated(self, line: str, cell: str | None) -> Any:
        """Translate; return the translation, or the plan that is shown instead."""
        from IPython.display import display

        from mixmagic.commands import _translation
        from mixmagic.display import translation as shown
        from mixmagic.magics._shell.answer import keep

        options, source = self._parsed(line, cell)
        out = options.out
        is_file = out is not None and any(sign in out for sign in "./\\")
        if out is not None and not is_file and not out.isidentifier():
            from mixmagic.errors import BadArguments

            raise BadArguments(f"-o cannot be {out!r:.60}.", "It takes a variable's name.")
        translation = _translation.translation(
            self.session, source, options, out if is_file else None
        )
        if options.dry_run:
            plan = shown.plan_table(self.session, translation)
            display(plan)
            return plan
        result = shown.run(translation)
        keep(self.shell, None if is_file else out, result, result)
        if out is None and not isinstance(result, str) and translation.document.path is None:
            display(result)
        return result

    def _parsed(self, line: str, cell: str | None) -> tuple[Namespace, Any]:
        """Return the options of a line, and what is translated.

        Raises:
            BadArguments: The line is not valid, or there is no such variable or file.
            HelpAsked: The line asks for help.
        """
        from mixmagic.commands._parser import HelpAsked, refuse_keys
        from mixmagic.errors import BadArguments

        refuse_keys(line)
        parser = self.parser()
        words, rest = parser.leading(line)
        expression, behind = _split(rest)
        more, wrong = parser.leading(behind)
        if wrong and not wrong.startswith("#"):
            raise BadArguments(
                f"{parser.prog} does not take {wrong!r:.60}.",
                "The expression goes first, then the options: `%translate text --to fr`.",
            )
        options = parser.parse_args([*words, *more])
        if cell is None:
            if not expression:
                raise HelpAsked(parser.format_help().rstrip())
            return options, self._value(expression)
        if expression and not expression.startswith("#"):
            raise BadArguments(
                f"{parser.prog} does not take {expression!r:.60} on its line.",
                f"The text goes below the {parser.prog} line; `%translate` takes an expression.",
            )
        if not cell.strip():
            raise BadArguments("There is nothing to translate.", "The text goes into the cell.")
        return options, cell

    def _value(self, expression: str) -> Any:
        """Return the value of an expression, or the file that it names.

        Raises:
            BadArguments: There is no such variable or file.
        """
        from pathlib import Path

        from mixmagic.errors import BadArguments
        from mixmagic.magics._shell import calling
        from mixmagic.prompting.interpolate import similar_variables
        from mixmagic.tasks.translation.documents import KINDS

        names = {**(self.shell.user_ns if self.shell else {}), **calling.scope()}
        path = expression.strip("\"'")
        if path.lower().endswith(KINDS) and expression not in names:
            return Path(path)
        try:
            return eval(expression, names)  # noqa: S307  # the user's own code
        except (SyntaxError, NameError):
            near = similar_variables(expression, names) if expression.isidentifier() else ""
            raise BadArguments(
                f"{expression!r:.60} is neither a variable nor a file.",
                f"{near}A text goes into quotes, or below `%%translate --to LANGUAGE`.",
            ) from None


def _split(line: str) -> tuple[str, str]:
    """Split a line into an expression and the options behind it.

    Example:
        >>> _split('df["a - b"] --to fr')
        ('df["a - b"]', '--to fr')
    """
    for match in _BEHIND.finditer(line):
        before = line[: match.start()]
        if before.count('"') % 2 == 0 and before.count("'") % 2 == 0:
            return before.strip(), line[match.end() :]
    return line.strip(), ""


def _sources(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    """Return the variables that can be translated, then the files."""
    from mixmagic.commands import _translation
    from mixmagic.magics._shell.each import rank

    texts = [name for name, value in variables.items() if isinstance(value, str)]
    rows = [name for name, value in variables.items() if 0 < rank(value) < 3]
    return [*sorted([*texts, *rows]), *_translation.sources()]
