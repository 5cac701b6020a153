"""Prompt templates: Markdown files with a TOML head, used by name.

+++
description = "What a careful reviewer would say"
system = "You review Python code. Be brief."
task = "code"
max_tokens = 600
+++
Review this code, the worst first:

{{ cell }}
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mixmagic.catalog.selection import task_preset
from mixmagic.core import files
from mixmagic.core.params import check
from mixmagic.errors import BadArguments, StoreError, did_you_mean

_HEAD_MARK = "+++"
_ENDING = ".md"
# Keys of a head that are not parameters of a call.
_TEXTS = ("description", "system", "task", "model")
# `{{ cell }}` as `expressions` reads it: not escaped, not three braces in a row.
_CELL = re.compile(r"(?<![\\{])\{\{\s*cell\s*\}\}(?!\})")
# `cell` in any expression.
_USED = re.compile(r"(?<![\\{])\{\{(?!\{)(?:(?!\}\}).)*\bcell\b", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt with a place for the cell, and options of its call.

    Attributes:
        name: The file's name, without its ending.
        body: The prompt. The cell replaces `{{ cell }}`; a body without `cell` is followed by an
            empty line and the cell.
        description: Its purpose, for people.
        system: The system prompt.
        task: The name of a task, as for `--task`.
        model: The model to use.
        params: `temperature`, `max_tokens`, …, validated.
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
            BadArguments: There is no such template, or its head is invalid.
            StoreError: Its file cannot be read.

        Example:
            >>> Template.load(settings.templates, "review").system
            'You review Python code. Be brief.'
        """
        found = _files(folder)
        if name not in found:  # also keeps names such as `../x` inside of the folder
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
                f"{path}, line {line}: this is not valid UTF-8.", "Save the file as UTF-8."
            ) from None
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{path} cannot be read: {files.reason(error)}.", "Check the file."
            ) from None
        head, body = _split_head(path, text)
        texts, params = _validated(path, head)
        return cls(name, body, **texts, params=params)

    def prompt(self, cell: str, expand: Callable[[str], str] = str) -> str:
        """Return the prompt with the cell in its place, as data: nothing in it is expanded here.

        Args:
            cell: The cell's text, already expanded if wanted.
            expand: Expands the body's other expressions, in which `cell` is the cell's text;
                by default they stay as they are.

        Example:
            >>> Template("t", "Translate: {{ cell }}").prompt("{{ x }}")
            'Translate: {{ x }}'
        """
        body = self.body
        if not _USED.search(body):
            body = f"{body.rstrip()}\n\n{{{{ cell }}}}" if cell.strip() else body
        # A placeholder, since `expand` may cut long values: a cell is never cut.
        placeholder = f"cell{os.urandom(16).hex()}"
        return expand(_CELL.sub(placeholder, body)).replace(placeholder, cell).strip("\n")


def templates(folder: Path) -> dict[str, Template | BadArguments | StoreError]:
    """Return the templates of a folder by name; an invalid one is represented by its error.

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
    """Return the folder's templates, by name."""
    paths = (path for path in folder.glob(f"*{_ENDING}") if not path.name.startswith("."))
    # `Path.is_dir` raises if permission is denied; here reading the file reports that.
    found = (path for path in sorted(paths) if not os.path.isdir(path))  # noqa: PTH112
    return {path.name.removesuffix(_ENDING): path for path in found}


def _split_head(path: Path, text: str) -> tuple[str, str]:
    """Return a file's head and body; the head keeps its line numbers."""
    lines = text.split("\n")
    if lines[0].rstrip() == "---":
        raise BadArguments(
            f"{path}, line 1: a head is enclosed in lines of {_HEAD_MARK}, not ---.",
            "Write it as TOML between two lines of +++.",
        )
    if lines[0].rstrip() != _HEAD_MARK:
        return "", text
    for number, line in enumerate(lines[1:], 1):
        if line.rstrip() == _HEAD_MARK:
            return "\n".join(["", *lines[1:number]]), "\n".join(lines[number + 1 :])
    raise BadArguments(
        f"{path}, line 1: the head that begins here does not end.",
        f"Add a line of {_HEAD_MARK} after it.",
    )


def _validated(path: Path, head: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Return a head's texts and its parameters."""
    try:
        table = files.toml(head)
    except ValueError as error:
        message, _, position = str(error).partition(" (at ")
        number = re.search(r"line (\d+)", position)
        line = number[1] if number else str(head.count("\n") + 1)
        raise BadArguments(
            f"{path}, line {line}: this is not valid TOML: {message}.",
            'A line of the head looks like this: description = "What it is for"',
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
                texts[name] = task_preset(value).name
            else:
                texts[name] = value
        except BadArguments as error:
            line = _line(head, name)
            raise BadArguments(f"{path}, line {line}: {error.message}", error.hint) from None
    return texts, params


def _parameter(name: str, value: Any) -> dict[str, Any]:
    """Return one of a call's parameters, in its canonical form."""
    try:
        return check({name: value})
    except BadArguments:
        if hint := did_you_mean(name, _TEXTS):
            raise BadArguments(f"A head cannot have {name!r}.", hint) from None
        raise


def _line(head: str, name: str) -> int:
    """Return the number of the line on which a head sets `name`."""
    setting = re.compile(rf"""\s*\[*\s*["']?{re.escape(name)}["']?\s*[\].=]""")
    lines = head.split("\n")
    return next((number for number, line in enumerate(lines, 1) if setting.match(line)), 1)
