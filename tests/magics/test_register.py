"""Loading and unloading the extension, in a shell without a kernel."""

from __future__ import annotations

import subprocess
import sys

import pytest
from server import Answer
from server import together as answer

SCRIPT = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
transformers = shell.input_transformer_manager.token_transformers
def is_ours(item):
    owner = type(item) if hasattr(type(item), "__module__") and not callable(item) else item
    return (getattr(owner, "__module__", "") or "").startswith("mixmagic")
ours = lambda: [
    *(each for kind in shell.events.callbacks.values() for each in kind if is_ours(each)),
    *(each for each in shell.Completer.custom_matchers if is_ours(each)),
    *(each for each in shell.magics_manager.registry.values() if is_ours(each)),
    *(each for each in shell.configurables if type(each).__module__.startswith("mixmagic")),
    *(each for each in shell.ast_transformers if type(each).__module__.startswith("mixmagic")),
    *(each for each in transformers if each.__module__.startswith("mixmagic")),
    *(name for kind in shell.magics_manager.magics.values() for name in kind
      if "mix" in name or name == "translate"),
]
for line in ("load_ext mixmagic", "reload_ext mixmagic", "reload_ext mixmagic"):
    shell.run_line_magic(*line.split())
{body}
"""


def shell(body):
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(body=body)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_unloading_leaves_nothing_behind():
    said = shell(
        'print(len(ours())); shell.run_line_magic("unload_ext", "mixmagic"); print(ours())'
    )
    assert said.split() == ["23", "[]"]


@pytest.mark.parametrize(
    ("cell", "prompt"),
    [
        ("%mixtral What is it?", "What is it?"),
        ("%mixtral --max-tokens 5 Is it?  ", "Is it?"),
        ("x = 1\n%mixtral Is {x} it??", "Is {x} it??"),
        ("%%mixtral\nWhat?\n%mixtral Who?\n", "What?\n%mixtral Who?\n"),
    ],
)
def test_a_question_mark_at_the_end_is_part_of_the_prompt(together, cell, prompt):
    """IPython would take it for a call for help, and ask nothing."""
    together.plan = [Answer(answer("It is."))]
    shell(f"shell.run_cell({cell!r})")
    assert together.received[0].body["messages"] == [{"role": "user", "content": prompt}]


def test_help_is_still_help(together):
    together.plan = [Answer(answer("no"))]
    said = shell('shell.run_cell("%mixtral?"); shell.run_cell("%%mixtral?")')
    assert said.count("--max-tokens N") == 2
    assert together.received == []
