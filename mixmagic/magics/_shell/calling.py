"""The call of a magic: its names, the code that calls it, and the use of its value."""

from __future__ import annotations

import ast
import sys
from collections.abc import Container
from types import FrameType
from typing import TYPE_CHECKING, Any

from IPython.core.inputtransformer2 import (
    EscapedCommand,
    HelpEnd,
    MagicAssign,
    TokenTransformBase,
)
from IPython.core.magic import MagicAlias, no_var_expand

if TYPE_CHECKING:
    from mixmagic.magics._shell.hooks import Hooks
    from mixmagic.sessions import Session
    from mixmagic.tasks.chats import Cell

_RUN = ("run_line_magic", "run_cell_magic")
_COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")


def add_transformers(hooks: Hooks, asking: Container[str], ours: Container[str]) -> None:
    """Let some magics ask in any line, and treat their aliases as the magics themselves.

    Args:
        hooks: Hooks in IPython's shell.
        asking: The names of the magics that ask a model.
        ours: The names of all our magics.
    """
    shell = hooks.shell
    for base in (EscapedCommand, MagicAssign):
        kind = type("Question", (_Question, base), {"asking": asking})
        hooks.append(shell.input_transformer_manager.token_transformers, kind)
    bare = type("BareQuestion", (_BareQuestion,), {"asking": asking})
    hooks.append(shell.input_transformer_manager.token_transformers, bare)
    hooks.append(shell.ast_transformers, _Statements(asking))

    def keep_braces(info: object = None) -> None:
        for kind, magics in shell.magics_manager.magics.items():
            for name, magic in magics.items():
                if isinstance(magic, MagicAlias) and meaning(name, kind) in ours:
                    no_var_expand(magic)

    hooks.on("pre_run_cell", keep_braces)


def number_cells(hooks: Hooks, session: Session) -> None:
    """Tell the session which cell runs: a cassette numbers equal requests in each of them."""
    shell = hooks.shell

    def begin(info: Any = None) -> None:
        cell = cell_id(shell)
        identity = None if cell is None else cell[0]
        session.player.begin_cell(str(getattr(info, "raw_cell", "")), identity)

    hooks.on("pre_run_cell", begin)
    if (result := shell.displayhook.exec_result) is not None:  # in the cell that loads us
        begin(result.info)


def cell_id(shell: Any) -> Cell | None:
    """Return the identity of the running cell, and of this run.

    It is `None` if the front end does not tell them: in a terminal, and under nbclient (also as
    used by nbconvert and papermill), in which each cell runs once.
    """
    from mixmagic.tasks.chats import Cell

    get_parent = getattr(shell, "get_parent", None)
    parent = get_parent() if get_parent is not None else None
    if not isinstance(parent, dict):
        return None
    metadata, header = parent.get("metadata"), parent.get("header")
    identity = metadata.get("cellId") if isinstance(metadata, dict) else None
    run = header.get("msg_id") if isinstance(header, dict) else None
    return Cell(identity, str(run)) if isinstance(identity, str) and identity else None


def scope() -> dict[str, Any]:
    """Return the local variables of the code that called the running magic.

    IPython itself offers them to line magics only, and not through aliases.
    """
    frame: FrameType | None = sys._getframe()  # noqa: SLF001  # as IPython does it
    while frame is not None and not (_of_ipython(frame) and frame.f_code.co_name in _RUN):
        frame = frame.f_back
    while frame is not None and _of_ipython(frame):
        frame = frame.f_back
    names: dict[str, Any] = {}
    while frame is not None:
        names = {**frame.f_locals, **names}
        # Before Python 3.12, a comprehension is a function of its own.
        frame = frame.f_back if frame.f_code.co_name in _COMPREHENSIONS else None
    return names


def _of_ipython(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith("IPython.")


def meaning(name: str, kind: str = "line") -> str:
    """Return the name of the magic that an alias stands for; other names unchanged."""
    from IPython import get_ipython

    shell = get_ipython()
    magics = shell.magics_manager.magics[kind] if shell is not None else {}
    passed = set()
    while name not in passed and isinstance(alias := magics.get(name), MagicAlias):
        passed.add(name)
        name = alias.magic_name
    return name


class _Question:
    """Lets `%mixtral What is this?` ask: IPython would take its `?` for a call for help.

    IPython's own transformers of magics come before the one of help, for the lines of our magics.
    That has no effect in the cell that loads the extension, which is transformed before it runs.
    """

    asking: Container[str]
    start_line: int
    start_col: int
    priority = HelpEnd.priority - 1

    def __init__(self, start: tuple[int, int]) -> None:
        super().__init__(start)  # type: ignore[call-arg]  # IPython's
        self._column, self.start_col = self.start_col, 0  # IPython sorts by it

    def transform(self, lines: list[str]) -> list[str]:
        self.start_col = self._column
        escape, blank, _ = lines[self.start_line][self.start_col :].partition(" ")
        if not (blank and escape.startswith("%") and meaning(escape[1:]) in self.asking):
            raise SyntaxError  # IPython goes on to the next transformer
        transformed: list[str] = super().transform(lines)  # type: ignore[misc]  # IPython's
        return transformed


class _BareQuestion(TokenTransformBase):
    """Lets `mixtral What is this?` ask, with automagic, in a cell of one line."""

    asking: Container[str]
    priority = HelpEnd.priority - 1

    @classmethod
    def find(cls, tokens_by_line: list[list[Any]]) -> _BareQuestion | None:
        first = next((line[0] for line in tokens_by_line if line), None)
        return cls(first.start) if first and meaning(first.string) in cls.asking else None

    def transform(self, lines: list[str]) -> list[str]:
        import builtins

        from IPython import get_ipython

        shell = get_ipython()
        name, _, prompt = "".join(lines).strip().partition(" ")
        shadowed = name in shell.user_ns or hasattr(builtins, name)
        if len(lines) > 1 or shadowed or not shell.automagic or not prompt.endswith("?"):
            raise SyntaxError  # IPython goes on to the next transformer
        return [f"get_ipython().run_line_magic({name!r}, {prompt!r})\n"]


class _Statements(ast.NodeTransformer):
    """Keeps IPython from displaying the value of a magic that is a statement: it has been shown.

    In `x = %mixtral …`, or in any other expression, the value is the answer.
    """

    def __init__(self, asking: Container[str]) -> None:
        self._asking = asking

    def visit_Module(self, module: ast.Module) -> ast.Module:  # ast's
        """Replace the values of such statements by `None`."""
        for statement in module.body:
            if isinstance(statement, ast.Expr) and self._asks(statement.value):
                value = statement.value
                nothing = ast.Tuple([value, ast.Constant(None)], ast.Load())
                replaced = ast.Subscript(nothing, ast.Constant(1), ast.Load())
                statement.value = ast.copy_location(replaced, value)
        return ast.fix_missing_locations(module)

    def _asks(self, value: ast.expr) -> bool:
        """Return True if an expression runs a magic that asks."""
        if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute)):
            return False
        if not value.args:
            return False
        name, method = value.args[0], value.func.attr
        if method not in _RUN or not isinstance(name, ast.Constant):
            return False
        return meaning(str(name.value), method.split("_")[1]) in self._asking
