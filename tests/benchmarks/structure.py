"""Measure the structure of a checkout: `python tests/benchmarks/structure.py [ROOT …] [-v]`.

Several roots make one table, a column each: the way to compare before and after. Everything is read
from the syntax tree of `ROOT/mixmagic/**/*.py`, so that any commit can be measured:

    git worktree add /tmp/before d2c1934
    python tests/benchmarks/structure.py /tmp/before .
"""

import argparse
import ast
import io
import re
import statistics
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGE = "mixmagic"
LOCKS = {"lazy.lock", "forks.lock", "lock"}  # the lock around imports, however it is imported
LOADS = {"forks.load", "lazy.load"}  # imports written as calls
LONG = 40  # lines of a function, without its docstring
PUBLIC = {"_exit", "_replace", "_asdict", "_fields", "_make"}  # documented despite the underscore
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass
class Module:
    """One file: its name, its text and its tree."""

    name: str
    is_package: bool
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text)

    @cached_property
    def lines(self) -> int:
        """Lines, empty ones too."""
        return len(self.text.splitlines())

    def functions(self) -> Iterator[FUNCTIONS]:
        """Yield all functions and methods."""
        return (node for node in ast.walk(self.tree) if isinstance(node, FUNCTIONS))

    def line_kinds(self) -> tuple[int, int, int]:
        """Return the number of lines of code, of docstrings and of comments alone."""
        docstrings = set()
        for node in ast.walk(self.tree):
            documented = isinstance(node, DEFINITIONS | ast.Module)
            if documented and ast.get_docstring(node, clean=False) is not None:
                string = node.body[0]
                docstrings |= set(range(string.lineno, string.end_lineno + 1))
        code, comments = set(), set()
        skipped = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
        skipped |= {tokenize.ENCODING, tokenize.ENDMARKER}
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT:
                comments.add(token.start[0])
            elif token.type not in skipped:
                code |= set(range(token.start[0], token.end[0] + 1))
        return len(code - docstrings), len(docstrings), len(comments - code)


class Tree:
    """All modules of one checkout."""

    def __init__(self, root: Path):
        """Read `root/mixmagic`."""
        self.modules: dict[str, Module] = {}
        for path in sorted((root / PACKAGE).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            self.modules[name] = Module(name, is_package, path.read_text(encoding="utf-8"))

    def imports(self, module: Module, *, at_import: bool = False) -> set[str]:
        """Return the project's modules that `module` imports.

        Args:
            module: The importer.
            at_import: Only what is imported when the module is, not what its functions import.
        """
        found = set()
        for node in _outside_functions(module.tree) if at_import else ast.walk(module.tree):
            for name in _imported(node, module):
                target = name
                while target and target not in self.modules:
                    target = target.rpartition(".")[0]
                if target and target != module.name:
                    found.add(target)
        return found

    def with_one_importer(self) -> dict[str, str]:
        """Return the modules (no packages) that exactly one other imports, and which that is."""
        importers: dict[str, set[str]] = defaultdict(set)
        for module in self.modules.values():
            for target in self.imports(module):
                importers[target].add(module.name)
        return {
            name: next(iter(importers[name]))
            for name, module in self.modules.items()
            if not module.is_package and len(importers[name]) == 1
        }

    def names_in_three(self) -> dict[str, list[str]]:
        """Return the names that three or more modules define at their top level."""
        places: dict[str, set[str]] = defaultdict(set)
        for module in self.modules.values():
            for node in module.tree.body:
                if isinstance(node, DEFINITIONS):
                    places[node.name.lstrip("_")].add(module.name)
        return {name: sorted(found) for name, found in places.items() if len(found) > 2}

    def lazy_imports(self) -> list[str]:
        """Return the imports inside functions, and those written as calls."""
        found = []
        for module in self.modules.values():
            inside = {
                node
                for function in module.functions()
                for node in ast.walk(function)
                if isinstance(node, ast.Import | ast.ImportFrom)
            }
            loads = [
                node
                for node in ast.walk(module.tree)
                if isinstance(node, ast.Call) and ast.unparse(node.func) in LOADS
            ]
            found += [f"{module.name}:{node.lineno}" for node in (*inside, *loads)]
        return sorted(found)

    def lock_sites(self) -> list[str]:
        """Return where the lock around imports is taken."""
        return [
            f"{module.name}:{item.context_expr.lineno}"
            for module in self.modules.values()
            for node in ast.walk(module.tree)
            if isinstance(node, ast.With)
            for item in node.items
            if ast.unparse(item.context_expr) in LOCKS
        ]

    def long_functions(self) -> list[str]:
        """Return the functions longer than `LONG` lines."""
        return [
            f"{module.name}.{node.name} {_length(node)}"
            for module in self.modules.values()
            for node in module.functions()
            if _length(node) > LONG
        ]

    def foreign_privates(self) -> list[str]:
        """Return private attributes of other packages: no module of ours defines such a name."""
        ours = {name for module in self.modules.values() for name in _defined(module.tree)}
        found = []
        for module in self.modules.values():
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Attribute):
                    name, line = node.attr, node.lineno
                elif _is_attribute_call(node):
                    name, line = node.args[1].value, node.lineno
                else:
                    continue
                if re.match(r"_(?!_)", name) and name not in ours | PUBLIC:
                    found.append(f"{module.name}:{line} {name}")
        return found

    def cycles(self) -> list[str]:
        """Return the groups of modules that import each other when they are imported."""
        graph = {
            name: self.imports(module, at_import=True) for name, module in self.modules.items()
        }
        reached = {name: _reachable(graph, name) for name in graph}
        groups = {
            frozenset(other for other in reached[name] if name in reached[other])
            for name in graph
            if name in reached[name]
        }
        return [" ".join(sorted(group)) for group in groups]


def _length(function: FUNCTIONS) -> int:
    docstring = ast.get_docstring(function, clean=False)
    lines = function.end_lineno - function.lineno + 1
    return lines - (docstring.count("\n") + 1 if docstring is not None else 0)


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        checks_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not isinstance(child, FUNCTIONS) and not checks_types:
            yield child
            yield from _outside_functions(child)


def _imported(node: ast.AST, module: Module) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parts = module.name.split(".")
            above = parts[: len(parts) - node.level + module.is_package]
            base = ".".join([*above, *([node.module] if node.module else [])])
        return [f"{base}.{alias.name}" for alias in node.names]
    is_load = isinstance(node, ast.Call) and ast.unparse(node.func) in LOADS
    if is_load and node.args and isinstance(node.args[0], ast.Constant):
        return [node.args[0].value]
    return []


def _defined(tree: ast.Module) -> Iterator[str]:
    """Yield all names that a module gives to something, attributes and slots too."""
    for node in ast.walk(tree):
        if isinstance(node, DEFINITIONS):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in ("self", "cls") and isinstance(node.ctx, ast.Store):
                yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).rpartition(".")[2]


def _is_attribute_call(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("getattr", "setattr", "hasattr")
        and len(node.args) > 1
        and isinstance(node.args[1], ast.Constant)
        and isinstance(node.args[1].value, str)
    )


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += graph[name]
    return reached


def measures(tree: Tree) -> dict[str, tuple[str, list[str]]]:
    """Return each measure's figure and what it is made of."""
    modules = tree.modules.values()
    sizes = sorted(((module.lines, module.name) for module in modules), reverse=True)
    kinds = [
        sum(column) for column in zip(*(module.line_kinds() for module in modules), strict=True)
    ]
    functions = sum(1 for module in modules for _ in module.functions())
    classes = sum(
        isinstance(node, ast.ClassDef) for module in modules for node in ast.walk(module.tree)
    )
    packages = Counter(name.split(".")[1] if name.count(".") else PACKAGE for name in tree.modules)
    lists = {
        "modules with one importer": [
            f"{name} <- {importer}" for name, importer in tree.with_one_importer().items()
        ],
        "names in three or more modules": [
            f"{name}: {' '.join(places)}" for name, places in sorted(tree.names_in_three().items())
        ],
        "lazy imports": tree.lazy_imports(),
        "import lock sites": tree.lock_sites(),
        f"functions over {LONG} lines": tree.long_functions(),
        "private attributes of others": tree.foreign_privates(),
        "import cycles": tree.cycles(),
    }
    return {
        "files": (str(len(sizes)), [f"{name} {count}" for name, count in packages.items()]),
        "median / largest file": (
            f"{statistics.median(size for size, _ in sizes):.0f} / {sizes[0][0]}",
            [f"{name} {size}" for size, name in sizes[:9]],
        ),
        "lines": (f"{sum(size for size, _ in sizes):,}", []),
        "code / docstring / comment": (" / ".join(f"{count:,}" for count in kinds), []),
        "classes / functions": (f"{classes} / {functions}", []),
        **{title: (str(len(entries)), entries) for title, entries in lists.items()},
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = Path(__file__).parents[2]
    parser.add_argument("roots", nargs="*", type=Path, default=[here], metavar="ROOT")
    parser.add_argument("-v", action="store_true", dest="verbose", help="list what is counted")
    options = parser.parse_args()
    columns = [measures(Tree(root)) for root in options.roots]
    for title in columns[0]:
        print(f"{title:32}" + "".join(f"{column[title][0]:>26}" for column in columns))
        for column in columns if options.verbose else ():
            print("".join(f"    {line}\n" for line in column[title][1]))


if __name__ == "__main__":
    main()
