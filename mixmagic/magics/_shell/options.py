"""The options of the magics that ask a model, and the question that they make with a prompt."""

from __future__ import annotations

import functools
import keyword
from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from mixmagic.commands._parser import Parser, add_parameters
from mixmagic.errors import BadArguments

if TYPE_CHECKING:
    from mixmagic.core.control import CachePolicy
    from mixmagic.core.values import Message, Part
    from mixmagic.display.formats import Format
    from mixmagic.sessions import Session
    from mixmagic.structured.schema import Schema
    from mixmagic.tasks.chats import Cell, Exchange

PARAMETERS = ("temperature", "max_tokens", "top_p", "seed", "stop", "n", "logprobs")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of all magics that ask a model; a magic may have only some of them.

    Each is named after its option, except `program`, which is `--as`.
    """

    system: str | None = None
    chat: str | None = None
    template: str | None = None
    raw: bool = False
    examples: str | None = None
    model: str | None = None
    task: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: list[str] | None = None
    n: int | None = None
    logprobs: bool | None = None
    out: str | None = None
    format: str | None = None
    schema: str | None = None
    insert: bool = False
    program: str | None = None
    no_stream: bool = False
    bg: bool = False
    budget: str | None = None
    cache: CachePolicy = "auto"
    dry_run: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """Return the options among the parsed arguments of a magic."""
        return cls(**{name.name: given[name.name] for name in fields(cls) if name.name in given})

    def merged(self, changed: Options) -> Options:
        """Return these options with those of `changed` that are given."""
        values = {item.name: (getattr(changed, item.name), item.default) for item in fields(self)}
        given = {name: value for name, (value, default) in values.items() if value != default}
        if given.keys() & {"format", "schema"}:  # one excludes the other
            given = {"format": None, "schema": None, **given}
        return replace(self, **given)

    @property
    def parameters(self) -> dict[str, Any]:
        """The sampling parameters that are set."""
        values = {name: getattr(self, name) for name in PARAMETERS}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def sends_nothing(self) -> bool:
        """True if the request is only shown."""
        return self.program is not None or self.dry_run


@dataclass(frozen=True, slots=True)
class Sent:
    """The prompt of a call as it was sent, and its place in a conversation.

    Attributes:
        content: The prompt, with the values of its expressions.
        params: The parameters that its template has set.
        cell: The cell that it was sent from; `None` for the running one.
        exchange: Its exchange in the conversation; `None` if it had no answer.
        examples: The examples before it.
    """

    content: str | tuple[Part, ...]
    params: Mapping[str, Any]
    cell: Cell | None = None
    exchange: Exchange | None = None
    examples: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and its options.

    Attributes:
        prompt: The text of the cell, or of the line behind its options.
        is_cell: True for a cell magic, False for a line.
        options: The options that all magics understand.
        own: The magic's own options, and anything that it keeps for `ModelMagics.note`.
        notes: Notes for the footer.
        sent: What is sent in place of `prompt`, if it was sent before.
    """

    prompt: str
    is_cell: bool = True
    options: Options = Options()
    own: Namespace = field(default_factory=Namespace)
    notes: tuple[str, ...] = ()
    sent: Sent | None = None

    @classmethod
    def parse(cls, parser: Parser, line: str, cell: str | None) -> Question:
        """Parse a magic's line, and take the prompt from the cell below it, if there is one.

        Raises:
            BadArguments: The line has a wrong option, or a key.
            HelpAsked: The line asks for help.
        """
        from mixmagic.commands._parser import refuse_keys

        words, rest = parser.leading(line)
        given = vars(parser.parse_args(words))
        if cell is not None and rest:
            refuse_keys(rest)
        if cell is not None and rest and not rest.startswith("#"):  # a comment
            raise BadArguments(
                f"{parser.prog} does not take {rest!r:.60} on its line.",
                f"The prompt goes below the {parser.prog} line; -m names a model.",
            )
        shared = {option.name for option in fields(Options)} & given.keys()
        return cls(
            rest if cell is None else cell,
            cell is not None,
            Options.of(given),
            Namespace(**{name: given[name] for name in given.keys() - shared}),
        )

    def with_options(self, **options: Any) -> Question:
        """Return the question with some options replaced."""
        return replace(self, options=replace(self.options, **options))


def check(options: Options, names: Mapping[str, Any]) -> tuple[Format, Schema | None]:
    """Check all options; return the format and the schema of the answer.

    It is called before any expression of the prompt is evaluated.

    Raises:
        BadArguments: An option is invalid.
    """
    from mixmagic.core import params
    from mixmagic.display.formats import FORMATS, format_named

    params.check(options.parameters)
    if options.task is not None:
        from mixmagic.catalog.selection import task_preset

        task_preset(options.task)
    if options.budget is not None:
        from mixmagic.core.money import parse_dollars

        parse_dollars(options.budget)
    if options.bg and options.insert and not options.sends_nothing:
        raise BadArguments(
            "--bg cannot put a new cell below: you may be working in another one by then.",
            "Leave out --bg; or leave out -i, and use the answer's .code_blocks.",
        )
    out, name, source = options.out, options.format, options.schema
    if options.program is not None:
        from mixmagic.tasks import export

        export.check_program(options.program)
        if out is not None or options.insert:
            raise BadArguments(
                "--as prints a program and sends nothing: there is no answer for -o or -i.",
                "Leave out --as, or -o and -i.",
            )
    if out is not None and (not out.isidentifier() or keyword.iskeyword(out)):
        raise BadArguments(f"-o cannot be {out!r}.", "It takes a variable's name.")
    form = format_named(name or "markdown")
    if source is None:
        return form, None
    from mixmagic.prompting.interpolate import similar_variables
    from mixmagic.structured.schema import Schema

    if name is not None:
        raise BadArguments("-f and --schema exclude each other.", "A schema's answer is JSON.")
    if source not in names:
        schemas = [other for other, value in names.items() if isinstance(value, (dict, type))]
        raise BadArguments(
            f"There is no variable {source!r:.60}.",
            f"{similar_variables(source, schemas)}--schema takes the name of a variable.",
        )
    # The schema brings its own instruction.
    return replace(FORMATS["json"], instruction=""), Schema.of(names[source], source)


def add_shared(parser: Parser) -> None:
    """Add the options that all magics that ask a model have."""
    add_parameters(parser, to="model")
    add = functools.partial(parser.add, to="answer")
    add("-o", "--out", metavar="VARIABLE", values=_variables, help="keep the Completion (.text,"
        " .usage, .cost, …) in a variable; or its value, with --format or --schema; or the answers"
        " of --each, also in a file (.csv, .jsonl, .parquet)")  # fmt: skip
    add("--as", dest="program", metavar="FORM", values=_programs, help="print the request as curl,"
        " python, together, openai or js code; nothing is sent")  # fmt: skip
    add("--bg", action="store_true", help="answer in the background: the kernel is free at"
        " once, .text and .value of -o wait (`%%mixmagic running` lists and stops)")  # fmt: skip
    add("--no-stream", action="store_true", help="ask for the whole answer at once")
    add = functools.partial(parser.add, to="cost")
    add("--budget", metavar="DOLLARS", help="refuse to run if it could cost more")
    add("--dry-run", action="store_true", help="show what it would cost; nothing is sent")
    one = parser.add_exclusive("cost")
    for name, policy, use in (
        ("--cache", "use", "use the stored answer, and store it, also without -t 0 or --seed"),
        ("--no-cache", "off", "neither use the stored answer nor store this one"),
        ("--refresh", "refresh", "ask again, and store the new answer in place of the old one"),
    ):
        parser.add(name, to=one, dest="cache", action="store_const", const=policy,
            default="auto", help=use)  # fmt: skip


def _programs(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    from mixmagic.tasks.export import programs

    return programs()


def _variables(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    from types import ModuleType

    data = (name for name, it in variables.items() if not (callable(it) or type(it) is ModuleType))
    return sorted(data)
