"""Show which models answered a notebook: dates, parameters, tokens, dollars.

It reads the notebook's cassette; nothing is run. A prompt is named by the first digits of its
hash, the key of its line in the cassette.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mixmagic.commands import Out, _notebooks
from mixmagic.commands._parser import Parser
from mixmagic.core import files
from mixmagic.errors import StoreError, counted
from mixmagic.tasks import notebooks

if TYPE_CHECKING:
    from mixmagic.catalog import Catalog
    from mixmagic.sessions import Session
    from mixmagic.store.recording import Recording

ONLY_IN = "shell"
_COLUMNS = ["model", "recorded", "parameters", "prompt", "in>", "out>", "cost>", "source"]
# Characters of a value of a parameter, and digits of a hash.
_VALUE, _DIGITS = 20, 8


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    return _notebooks.add_arguments(Parser(prog, __doc__))


def run(session: Session, options: Namespace, out: Out) -> None:
    """Show the table, or write it to a file."""
    from mixmagic.commands.record import cost_of
    from mixmagic.core.money import exact_sum, format_column, format_dollars
    from mixmagic.store.cassette import Cassette
    from mixmagic.text.table import Table

    notebook = notebooks.read(options.notebook)
    cassette = Cassette(_notebooks.cassette_of(notebook, options.notebook, options.cassette))
    if not cassette.exists:
        raise StoreError(
            f"There is no cassette {cassette.name}.",
            f"Record it: `mixmagic record {files.typed(options.notebook)}`.",
        )
    recordings = list(cassette.recordings())
    costs = [cost_of(recording) for recording in recordings]
    rows = [
        [*_row(recording, session.catalog), cost, _provenance(recording)]
        for recording, cost in zip(recordings, format_column(costs), strict=True)
    ]
    tokens_in, tokens_out = (
        sum(int(_usage(recording).get(name, 0)) for recording in recordings)
        for name in ("prompt_tokens", "completion_tokens")
    )
    total = format_dollars(exact_sum([cost for cost in costs if cost is not None]))
    caption = f"{cassette.name}: replaying it costs nothing"
    if any(costs):
        caption += f", and saves {total}"
    if unknown := sum(cost is None for cost in costs):
        caption += f", and what {unknown} of unknown cost would"
    if damaged := cassette.damaged:
        caption += f"\ndamaged: line {', '.join(map(str, damaged))}"
    count = counted(len(rows), "call")
    foot = [count, "", "", "", f"{tokens_in:,}", f"{tokens_out:,}", total, ""]
    out.show(Table(_COLUMNS, rows, caption, foot if rows else ()))


def _row(recording: Recording, catalog: Catalog) -> list[str]:
    """Return the cells of a call, up to its tokens."""
    model = recording.model or recording.request["model"]
    usage = _usage(recording)
    return [
        catalog.short_name(f"{model['provider']}:{model['id']}"),
        str(recording.recorded.get("date", ""))[:10],
        _parameters(recording.request.get("params", {})),
        recording.key[:_DIGITS],
        f"{usage.get('prompt_tokens', 0):,}" if usage else "",
        f"{usage.get('completion_tokens', 0):,}" if usage else "",
    ]


def _parameters(params: Mapping[str, Any]) -> str:
    """Return parameters in one line; of a schema, its name alone."""
    parts = []
    for name, value in params.items():
        shown = "…" if isinstance(value, dict) else str(value)
        parts.append(f"{name}={shown[:_VALUE]}")
    return ", ".join(parts)


def _usage(recording: Recording) -> Mapping[str, Any]:
    answer = recording.answer or (recording.error or {}).get("partial") or {}
    usage: Mapping[str, Any] = answer.get("usage", {})
    return usage


def _provenance(recording: Recording) -> str:
    """Return where an answer came from when it was recorded, or its error."""
    if recording.error is not None:
        return str(recording.error.get("type", "error"))
    return "cached" if recording.answer and recording.answer.get("origin") == "cache" else "live"
