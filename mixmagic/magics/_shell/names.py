"""How a magic is called: by which names, from which function, and what becomes of its value."""

from __future__ import annotations

import ast
import sys
from types import FrameType
from typing import Any

from IPython.core.inputtransformer2 import (
    EscapedCommand,
    HelpEnd,
    MagicAssign,
    TokenTransformBase,
)
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import MagicAlias, no_var_expand

_NAME = "mixtral"
_OURS = (_NAME, "mixmagic")
_RUN = ("run_line_magic", "run_cell_magic")
_COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")


def install(shell: InteractiveShell) -> None:
    """Read `%mixtral` before IPython does, and its aliases as it is read itself."""
    transformers = shell.input_transformer_manager.token_transformers
    transformers += [Question, AssignedQuestion, BareQuestion]
    shell.ast_transformers.append(Statements())

    def own_aliases(info: object = None) -> None:
        for kind, magics in shell.magics_manager.magics.items():
            for name, magic in magics.items():
                if isinstance(magic, MagicAlias) and meaning(name, kind) in _OURS:
                    no_var_expand(magic)

    shell.events.register("pre_run_cell", own_aliases)


def scope() -> dict[str, Any]:
    """Return the local names of the code that calls the magic under way.

    IPython tells a line magic the names of the function that calls it, but a cell magic those of
    the notebook; and an alias none.
    """
    frame: FrameType | None = sys._getframe()  # noqa: SLF001  # as IPython finds them itself
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
    """Return the name of the magic that an alias stands for; other names as they are."""
    from IPython import get_ipython

    shell = get_ipython()
    magics = shell.magics_manager.magics[kind] if shell is not None else {}
    passed = set()
    while name not in passed and isinstance(alias := magics.get(name), MagicAlias):
        passed.add(name)
        name = alias.magic_name
    return name


def _asks(name: str, kind: str = "line") -> bool:
    """Return True if a magic's name is `mixtral`, or an alias of it."""
    return meaning(name, kind) == _NAME


class _First:
    """Lets `%mixtral What is this?` ask: IPython takes a last question mark for a call for help.

    So IPython's own transformers of magics come before that of help, if a line is this magic's.
    Not in the cell that loads the extension: of `%mixtral What is X?` its code has `X` alone then.
    """

    start_line: int
    start_col: int
    priority = HelpEnd.priority - 1

    def __init__(self, start: tuple[int, int]) -> None:
        super().__init__(start)  # type: ignore[call-arg]  # IPython's
        self._at, self.start_col = self.start_col, 0  # by which IPython sorts them

    def transform(self, lines: list[str]) -> list[str]:
        self.start_col = self._at
        escape, blank, _ = lines[self.start_line][self.start_col :].partition(" ")
        if not (blank and escape.startswith("%") and _asks(escape[1:])):
            raise SyntaxError  # IPython goes on to the next transformer
        transformed: list[str] = super().transform(lines)  # type: ignore[misc]  # IPython's
        return transformed


class Question(_First, EscapedCommand):
    """`%mixtral What is this?`."""


class AssignedQuestion(_First, MagicAssign):
    """`x = %mixtral What is this?`."""


class BareQuestion(TokenTransformBase):
    """`mixtral What is this?`: automagic, which is for cells of one line."""

    priority = HelpEnd.priority - 1

    @classmethod
    def find(cls, tokens_by_line: list[list[Any]]) -> BareQuestion | None:
        first = next((line[0] for line in tokens_by_line if line), None)
        return cls(first.start) if first and _asks(first.string) else None

    def transform(self, lines: list[str]) -> list[str]:
        import builtins

        from IPython import get_ipython

        shell = get_ipython()
        name, _, prompt = "".join(lines).strip().partition(" ")
        shadowed = name in shell.user_ns or hasattr(builtins, name)
        if len(lines) > 1 or shadowed or not shell.automagic or not prompt.endswith("?"):
            raise SyntaxError  # IPython goes on to the next transformer
        return [f"get_ipython().run_line_magic({name!r}, {prompt!r})\n"]


class Statements(ast.NodeTransformer):
    """Leaves the value of a magic that is a statement of its own unshown: the magic has shown it.

    `x = %mixtral …` has the value, and so has whatever else calls it in an expression.
    """

    def visit_Module(self, module: ast.Module) -> ast.Module:  # ast's
        """Take the values of those statements away."""
        for statement in module.body:
            if isinstance(statement, ast.Expr) and _is_call(statement.value):
                value = statement.value
                nothing = ast.Tuple([value, ast.Constant(None)], ast.Load())
                made = ast.Subscript(nothing, ast.Constant(1), ast.Load())
                statement.value = ast.copy_location(made, value)
        return ast.fix_missing_locations(module)


def _is_call(value: ast.expr) -> bool:
    """Return True if an expression runs the magic."""
    if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.args):
        return False
    name, method = value.args[0], value.func.attr
    if method not in _RUN or not isinstance(name, ast.Constant):
        return False
    return _asks(str(name.value), method.split("_")[1])
