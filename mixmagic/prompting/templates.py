"""Personal prompts: Markdown files with a TOML head, used by name.

    +++
    description = "What a careful reviewer would say"
    system = "You review Python code. Be brief."
    task = "code"
    max_tokens = 600
    +++
    Review this code, the worst first:

    {{ cell }}

May be imported by `parts` and what stands above it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mixmagic.catalog.selection import task as known_task
from mixmagic.core import files
from mixmagic.core.params import check
from mixmagic.errors import BadArguments, StoreError, did_you_mean

_FENCE = "+++"
_ENDING = ".md"
# What a head may hold besides a call's parameters.
_TEXTS = ("description", "system", "task", "model")
# What `expressions` takes for one: not behind a backslash, not three braces in a row.
_CELL = re.compile(r"(?<![\\{])\{\{\s*cell\s*\}\}(?!\})")
# `cell` in an expression of any kind.
_USED = re.compile(r"(?<![\\{])\{\{(?!\{)(?:(?!\}\}).)*\bcell\b", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt with a place for the cell, and what its call carries.

    Attributes:
        name: The file's name, without its ending.
        body: The prompt. The cell stands where it says `{{ cell }}`; where it says nothing of the
            cell, behind it, after an empty line.
        description: What it is for.
        system: Instructions that stand before the prompt.
        task: The name of a task, as for `--task`.
        model: Whom to ask.
        params: `temperature`, `max_tokens`, …, checked.
    """

    name: str
    body: str
    description: str = ""
    system: str | None = None
    task: str | None = None
    model: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path, name: str) -> Template:
        """Read a template.

        Args:
            folder: Where the templates are.
            name: A file's name there, without its ending.

        Raises:
            BadArguments: There is no such template, or its head makes no sense.
            StoreError: Its file cannot be read.

        Example:
            >>> Template.load(settings.templates, "review").system
            'You review Python code. Be brief.'
        """
        found = _files(folder)
        if name not in found:  # so none is outside of the folder, whatever the name says
            raise BadArguments(
                f"There is no template {name!r:.80}.",
                f"{did_you_mean(name, found)}`%mixmagic templates` lists those in {folder}.",
            )
        path = found[name]
        try:
            text = files.read(path)
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise BadArguments(
                f"{path}, line {line}: this is no UTF-8.", "Save the file as UTF-8."
            ) from None
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{path} cannot be read: {files.reason(error)}.", "Check the file."
            ) from None
        head, body = _parts(path, text)
        texts, params = _checked(path, head)
        return cls(name, body, **texts, params=params)

    def prompt(self, cell: str, expand: Callable[[str], str] = str) -> str:
        """The prompt with the cell in its place, as data: nothing in it is expanded here.

        Args:
            cell: The cell's text, expanded if it is to be.
            expand: Expands the body's other expressions, in which `cell` is the cell's text;
                without it they stay as they are.

        Example:
            >>> Template("t", "Translate: {{ cell }}").prompt("{{ x }}")
            'Translate: {{ x }}'
        """
        body = self.body
        if not _USED.search(body):
            body = f"{body.rstrip()}\n\n{{{{ cell }}}}" if cell.strip() else body
        # Out of the way of `expand`, which may cut a long value short: a cell is never cut.
        place = f"cell{os.urandom(16).hex()}"
        return expand(_CELL.sub(place, body)).replace(place, cell).strip("\n")

    def under(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """A call's options over the template's own: those that are set win.

        Args:
            options: Of the call: `model`, `system`, `task`, parameters; `None` is not set.

        Example:
            >>> Template("t", "", model="8x22b").under({"model": None, "seed": 1})
            {'model': '8x22b', 'seed': 1}
        """
        own = {"system": self.system, "task": self.task, "model": self.model, **self.params}
        given = {name: value for name, value in options.items() if value is not None}
        return {name: value for name, value in own.items() if value is not None} | given


def templates(folder: Path) -> dict[str, Template | BadArguments | StoreError]:
    """The templates of a folder, by name; for a damaged one, what is wrong with it.

    Args:
        folder: It need not exist.

    Example:
        >>> list(templates(settings.templates))
        ['review']
    """
    found: dict[str, Template | BadArguments | StoreError] = {}
    for name in _files(folder):
        try:
            found[name] = Template.load(folder, name)
        except (BadArguments, StoreError) as error:
            found[name] = error
    return found


def _files(folder: Path) -> dict[str, Path]:
    """The folder's templates, by name."""
    paths = (path for path in folder.glob(f"*{_ENDING}") if not path.name.startswith("."))
    # Path's own look fails where it may not look: then reading says so.
    found = (path for path in sorted(paths) if not os.path.isdir(path))  # noqa: PTH112
    return {path.name.removesuffix(_ENDING): path for path in found}


def _parts(path: Path, text: str) -> tuple[str, str]:
    """A file's head and body; the head keeps the numbers of its lines."""
    lines = text.split("\n")
    if lines[0].rstrip() == "---":
        raise BadArguments(
            f"{path}, line 1: the head stands between lines of {_FENCE}, not ---.",
            "Write it as TOML between two lines of +++.",
        )
    if lines[0].rstrip() != _FENCE:
        return "", text
    for number, line in enumerate(lines[1:], 1):
        if line.rstrip() == _FENCE:
            return "\n".join(["", *lines[1:number]]), "\n".join(lines[number + 1 :])
    raise BadArguments(
        f"{path}, line 1: the head that begins here does not end.",
        f"Put a line of {_FENCE} behind it.",
    )


def _checked(path: Path, head: str) -> tuple[dict[str, str], dict[str, Any]]:
    """What a head says: its texts and its parameters."""
    try:
        table = files.toml(head)
    except ValueError as error:
        said, _, place = str(error).partition(" (at ")
        where = re.search(r"line (\d+)", place)
        line = where[1] if where else str(head.count("\n") + 1)
        raise BadArguments(
            f"{path}, line {line}: this is no TOML: {said}.",
            'A line of the head is like: description = "What it is for"',
        ) from None
    texts: dict[str, str] = {}
    params: dict[str, Any] = {}
    for name, value in table.items():
        try:
            if name not in _TEXTS:
                params |= _parameter(name, value)
            elif not isinstance(value, str):
                raise BadArguments(f"{name} cannot be {value!r:.80}.", "It takes a text.")
            elif name == "task":
                texts[name] = known_task(value).name
            else:
                texts[name] = value
        except BadArguments as error:
            line = _line(head, name)
            raise BadArguments(f"{path}, line {line}: {error.message}", error.hint) from None
    return texts, params


def _parameter(name: str, value: Any) -> dict[str, Any]:
    """One of a call's parameters, in its canonical form."""
    try:
        return check({name: value})
    except BadArguments:
        if meant := did_you_mean(name, _TEXTS):
            raise BadArguments(f"There is no {name!r} in a head.", meant) from None
        raise


def _line(head: str, name: str) -> int:
    """The number of the line on which a head speaks of `name`."""
    spoken = re.compile(rf"""\s*\[*\s*["']?{re.escape(name)}["']?\s*[\].=]""")
    lines = head.split("\n")
    return next((number for number, line in enumerate(lines, 1) if spoken.match(line)), 1)
