"""The base of the magics that ask a model."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ClassVar

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics

if TYPE_CHECKING:  # imported when a cell runs: `%load_ext` stays light
    from mixmagic.calls.completion import Completion
    from mixmagic.commands._parser import Parser
    from mixmagic.magics._shell.failures import Failures
    from mixmagic.magics._shell.hooks import Hooks
    from mixmagic.magics._shell.options import Question
    from mixmagic.sessions import Session


class ModelMagics(Magics):
    """A magic that asks a model: it parses its line, builds a request, and shows the answer.

    A subclass has a magic, a method called `name`, that returns `self.answer(line, cell)`. It may
    override `add_options`, `question` and `note`.

    Args:
        shell: IPython's shell.
        session: The session that asks.
        hooks: Hooks in the shell, for subclasses; removed when the extension is unloaded.

    Attributes:
        failures: The errors of the shell's cells; set when the magic is registered.
        name: The magic's name.
        manual: The text between usage and options in its help.
        words: Words with a meaning at the beginning of a line, for tab completion.
        last: The last question, as it was sent; `None` if there is none.

    Example:
        >>> @magics_class
        ... class Shout(ModelMagics):
        ...     name = "shout"
        ...
        ...     @no_var_expand
        ...     @line_cell_magic
        ...     def shout(self, line, cell=None):
        ...         return self.answer(line, cell)
        ...
        ...     def question(self, asked):
        ...         return replace(asked, prompt=asked.prompt.upper())
    """

    failures: Failures
    name: ClassVar[str]
    manual: ClassVar[str] = ""
    words: ClassVar[tuple[str, ...]] = ()

    def __init__(self, shell: InteractiveShell, session: Session, hooks: Hooks) -> None:
        super().__init__(shell)
        self.session = session
        self.last: Question | None = None

    def __init_subclass__(cls) -> None:
        # IPython shows this for `%magic?` instead of the docstring.
        vars(cls)[cls.name].getdoc = lambda: cls.parser().format_help()

    @classmethod
    @functools.cache
    def parser(cls) -> Parser:
        """Return the parser of the magic's line, whose help is its manual."""
        from mixmagic.commands._parser import Parser
        from mixmagic.magics._shell.options import add_shared

        prog = f"%%{cls.name}"
        usage = "%(prog)s [options], then the prompt below; or %(prog)s [options] PROMPT"
        parser = Parser(prog, cls.manual, usage, groups=("prompt", "model", "answer", "cost"))
        add_shared(parser)
        cls.add_options(parser)
        return parser

    @classmethod
    def add_options(cls, parser: Parser) -> None:
        """Add the magic's own options."""

    def question(self, asked: Question) -> Question:
        """Return the question for the model, given the one that the user typed."""
        return asked

    def note(self, asked: Question, completion: Completion) -> str:
        """Process a complete answer; return a note for its footer, or nothing."""
        return ""

    def answer(self, line: str, cell: str | None) -> Any:
        """Run the magic; return the `Completion`, or the plan or program that is shown instead.

        Raises:
            MixmagicError: The line is invalid, or the call failed.
            Stopped: Ctrl-C.
        """
        from mixmagic.magics._shell import answer

        return answer.run_magic(self, line, cell)
