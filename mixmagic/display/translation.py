"""Translations: their progress, their results with what is wrong in them, and a dry run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mixmagic.calls.completion import muted_html
from mixmagic.core.money import format_dollars
from mixmagic.errors import counted, one_line
from mixmagic.tasks.bulk.status import sentence
from mixmagic.text.escape import as_text, plain
from mixmagic.text.sanitize import sanitize
from mixmagic.text.table import Table

if TYPE_CHECKING:
    from mixmagic.core.values import Request
    from mixmagic.display.bundles import Bundle
    from mixmagic.sessions import Session
    from mixmagic.tasks.translation.documents import Origin
    from mixmagic.tasks.translation.fault import Fault
    from mixmagic.tasks.translation.form import Style
    from mixmagic.tasks.translation.translate import Report, Translation

_FAULTS = 10  # faults that are shown
_LONGER = 1.3  # tokens of a translation for each of the source
_SOURCE = 40  # characters of a text that is named
_KEPT: tuple[Origin, ...] = ("memory", "person")  # origins that cost nothing


def run(translation: Translation) -> Any:
    """Ask what is missing, and show the result in place of the progress; return it.

    Args:
        translation: The translation, which has not begun.

    Raises:
        Stopped: Ctrl-C; what was received is kept, and the same call goes on.
        Unfinished: The job paused before all of a text or a file was translated.
        MixmagicError: Nothing can be asked, or an error ended it.

    Example:
        >>> run(session.translation("Good morning", to="fr"))
        'Bonjour'
    """
    result: Any = None

    def ending() -> Bundle:
        nonlocal result
        result = translation.finish()
        return bundle(translation, result)

    if translation.job is None:
        from IPython.display import display

        display(ending(), raw=True)
    else:
        from mixmagic.display import jobs

        jobs.follow(translation.job, ending=ending)
    return result


def bundle(translation: Translation, result: Any) -> Bundle:
    """Return the result of a translation for display: of a file or a column, a summary."""
    report = translation.report()
    faults = [f"⚠ {line}" for line in fault_lines(report)]
    footer = footer_line(translation, report)
    if not isinstance(result, str):
        first, *others = summary(translation, report)
        lines = [first, *(f"⚠ {line}" for line in others)]
        html = "".join(f"<div>{as_text(plain(line), starts_line=False)}</div>" for line in lines)
        text = "\n".join([*map(plain, lines), plain(footer)])
        return {"text/html": html + muted_html(plain(footer)), "text/plain": text}
    below = "".join(
        f'<div style="font-size: 90%">{as_text(plain(line), starts_line=False)}</div>'
        for line in faults
    )
    below += muted_html(plain(footer))
    text = "\n".join([plain(str(result)).rstrip("\n"), "", *map(plain, faults), plain(footer)])
    return {"text/markdown": f"{sanitize(str(result)).rstrip()}\n\n{below}", "text/plain": text}


def languages(style: Style) -> str:
    """Return the languages of a translation.

    Example:
        >>> languages(translation.style)
        'English → French'
    """
    return f"{style.source.name if style.source else ''} → {style.to.name}".lstrip()


def footer_line(translation: Translation, report: Report) -> str:
    """Return the languages, the model, the calls and the cost of a translation in one line.

    Example:
        >>> footer_line(translation, translation.report())
        'English → French · 8x7b · 2 calls · $0.00021'
    """
    job = translation.job
    parts = [languages(report.style)]
    if job is not None:
        parts.append(job.model)
        parts.append(counted(report.calls, "call"))
        progress = job.progress
        if progress.unpriced:
            parts.append("price unknown")
        elif report.calls:
            parts.append(format_dollars(report.cost) if report.cost else "free")
        parts += [f"{progress.reused:,} answered before"] * bool(progress.reused)
    parts += list(_kept(report))
    if not report.style.to.first_class:
        parts.append(f"that it is {report.style.to.name} is not checked")
    return " · ".join(parts)


def summary(translation: Translation, report: Report) -> list[str]:
    """Return the result of a translation in a line, and its faults, a line each.

    Example:
        >>> summary(translation, translation.report())
        ['lesson.fr.ipynb: 42 cells, 3 from memory, 1 with a fault', 'cell 7: The number 3 is …']
    """
    document = translation.document
    name = document.name if translation.out is None else translation.out.name
    is_notebook = document.path is not None and document.path.suffix == ".ipynb"
    texts = sum(report.origins.values())
    parts = [counted(len(document.pieces), "cell") if is_notebook else counted(texts, "text")]
    if parts[0] == name:  # of a list
        parts = []
    parts += list(_kept(report))
    places = {place for place, _ in report.faults}
    if places:
        parts.append(f"{len(places) if is_notebook else len(report.faults):,} with a fault")
    if report.origins.get("unasked"):
        parts.append(f"{report.origins['unasked']:,} not asked yet")
    lines = [": ".join(filter(None, [name, ", ".join(parts)])), *fault_lines(report)]
    if (job := translation.job) is not None and job.state == "paused":
        lines.append(sentence(job.progress, job.state, job.reason))
    return lines


def fault_lines(report: Report) -> list[str]:
    """Return the faults of a translation, each with its place, and what is not consistent.

    Example:
        >>> fault_lines(translation.report())
        ['cell 7: The number 1,250 is missing.']
    """
    lines = [_fault_line(place, fault) for place, fault in report.faults]
    lines += [
        f"“{one_line(each.source, _SOURCE)}” has several translations:"
        f" {', '.join(f'“{one_line(text, _SOURCE)}”' for text in each.translations)}."
        for each in report.inconsistent
    ]
    more = len(lines) - _FAULTS
    return [*lines[:_FAULTS], *([f"… and {counted(more, 'other')}"] * (more > 0))]


def plan_table(session: Session, translation: Translation) -> Table:
    """Return the segments, calls, tokens and cost of a translation that is not made.

    Raises:
        StoreError: The ledger, or the journal, cannot be read.
    """
    from mixmagic.display.job_plan import cost_rows, read_plan

    report = translation.report()
    texts = sum(report.origins.values())
    none = report.origins.get("source", 0)
    segments = [f"{texts:,}", *_kept(report), *([f"{none:,} without words"] * bool(none))]
    rows = [["languages", languages(report.style)], ["segments", ", ".join(segments)]]
    notes = ["Nothing was sent."]
    if translation.job is None:
        rows.append(["calls", "none"])
    else:
        from mixmagic.calls.tokens import estimate

        def expected(request: Request) -> int:
            return math.ceil(_LONGER * estimate(request.messages[-1].text))

        plan = read_plan(session, translation.job, expected)
        rows += [["model", plan.model], *cost_rows(plan)]
        if plan.most:
            notes.insert(0, "A translation with a fault is asked for once more, at the same cost.")
    return Table(["dry run", "estimate"], rows, "\n".join(notes))


def _kept(report: Report) -> Iterator[str]:
    if kept := sum(report.origins.get(origin, 0) for origin in _KEPT):
        yield f"{kept:,} from memory"


def _fault_line(place: str, fault: Fault) -> str:
    return f"{place}: {fault.message}" if place else fault.message
