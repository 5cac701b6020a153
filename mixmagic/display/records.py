"""Rows of a report for other programs: comma-separated values, and pandas DataFrames."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixmagic.core import files
from mixmagic.core.extras import install
from mixmagic.errors import MissingPackage, StoreError

if TYPE_CHECKING:
    import pandas as pd


def csv_text(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    path: str | os.PathLike[str] | None = None,
) -> str:
    r"""Return comma-separated values with a header; replace a file by them, if one is given.

    Decimals are written exactly, and `None` as nothing.

    Raises:
        StoreError: The file cannot be written; an earlier one stays as it was.

    Example:
        >>> csv_text(["model", "cost"], [["8x7b", Decimal("0.60")]])
        'model,cost\n8x7b,0.60\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(f"{cell:f}" if isinstance(cell, Decimal) else cell for cell in row)
    if path is not None:
        _write_file(Path(path), text.getvalue())
    return text.getvalue()


def frame(columns: Sequence[str], rows: Iterable[Sequence[Any]], days: str = "") -> pd.DataFrame:
    """Return a DataFrame; the column `days` becomes timestamps, if there is one.

    Raises:
        MissingPackage: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise missing_package("A DataFrame", "pandas") from None
    made = pd.DataFrame(rows, columns=list(columns))
    if days in made:
        made[days] = pd.to_datetime(made[days])
    return made


def missing_package(feature: str, package: str) -> MissingPackage:
    """Return the error for a package of the extra `data` that is not installed."""
    return MissingPackage(
        f"{feature} needs {package}, which is not installed.", f"Run {install('data')}."
    )


def _write_file(path: Path, text: str) -> None:
    """Replace a file atomically."""
    try:
        files.write(path, text, newline="")
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror}.",
            "Check the folder, its permissions and the disk's free space.",
        ) from None
