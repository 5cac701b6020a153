"""Which cassette a session uses: the environment's, else that of the notebook's own line.

While one is in use, the user's own names of models count only for what is not recorded, so that a
notebook replays on every machine; for defaults, see `defaults`.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mixmagic.calls.scopes import Scopes
from mixmagic.core import lazy
from mixmagic.errors import BadArguments, UnknownModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from mixmagic.catalog import Catalog
    from mixmagic.core.settings import Settings
    from mixmagic.core.values import Model
    from mixmagic.layers.replay import Tape

_ENDING = ".cassette.jsonl"
_OFF = "off"
# The variable that passes the notebook's line on to worker processes.
_INHERITED = "MIXMAGIC_CASSETTE_LINE"


class Line(NamedTuple):
    """The notebook's own line: `%mixmagic cassette FILE --mode MODE`."""

    file: str = ""
    mode: str = ""
    paced: bool = False

    @classmethod
    def inherited(cls) -> Line | None:
        """Return the line of the process that started this one, if it has one."""
        values = os.environ.get(_INHERITED, "").split("\n")
        return cls(values[0], values[1], bool(values[2])) if len(values) == 3 else None


class Player:
    """The cassettes of one session.

    Attributes:
        line: The notebook's own line, as it was run last; `None` if there is none.

    Example:
        >>> session.player.use("lesson.cassette.jsonl")
        >>> session.ask("Name three colors.").origin
        'cassette'
    """

    def __init__(self) -> None:
        self.line = Line.inherited()
        self._tapes: dict[object, Tape] = {}
        self._scopes = Scopes()

    def use(self, file: str = "", mode: str = "", *, paced: bool = False) -> None:
        """Use a cassette; the environment's settings win.

        Args:
            file: Its path, from the notebook's folder; empty for the one beside the notebook.
            mode: `none` or `once`; empty for `none`.
            paced: True to replay streams as slowly as they were recorded.
        """
        self.line = Line(file, mode, paced)
        self._tapes.clear()

    def pass_on(self) -> None:
        """Let the processes that this one starts use the notebook's cassette, too."""
        if self.line is not None:
            file, mode, paced = self.line
            os.environ[_INHERITED] = "\n".join([file, mode, "paced" * paced])

    def stop(self) -> None:
        """Use none, unless the environment names one."""
        self.line = None
        os.environ.pop(_INHERITED, None)

    def in_use(self, settings: Settings) -> bool:
        """Return True if calls are replayed or recorded."""
        if settings.cassette_mode == _OFF:
            return False
        return bool(self.line is not None or settings.cassette or settings.cassette_mode)

    def replays_alone(self, settings: Settings) -> bool:
        """Return True if no call is made: no key is needed."""
        tape = self.tape(settings)
        return tape is not None and tape.mode == "none"

    def tape(self, settings: Settings) -> Tape | None:
        """Return the cassette in use; `None` if there is none.

        Raises:
            BadArguments: The mode is not valid, or the file is not known.
        """
        if not self.in_use(settings):
            return None
        line = self.line or Line()
        path = cassette_path(settings, settings.cassette or line.file)
        mode = settings.cassette_mode or line.mode or "none"
        key = (path, mode, line.paced, settings.notebook)

        def make() -> Tape:
            from mixmagic.layers.replay import MODES, Tape
            from mixmagic.store.cassette import Cassette

            if mode not in MODES:
                raise BadArguments(
                    f"A cassette has no mode {mode!r:.40}.",
                    f"Modes are {', '.join(MODES)}; `off` uses no cassette.",
                )
            notebook = Path(settings.notebook).name if settings.notebook else ""
            inside = path.is_relative_to(settings.folder)
            file = path.relative_to(settings.folder).as_posix() if inside else path.name
            return Tape(Cassette(path), mode, self._scopes, line.paced, notebook, file)

        return lazy.get_or_make(self._tapes, key, make)

    def begin_cell(self, source: str, identity: object = None) -> None:
        """Begin a cell: equal requests are numbered within it.

        Args:
            source: Its source.
            identity: Its identity in the front end, if that is known.
        """
        name = hashlib.blake2b(source.strip().encode(errors="replace"), digest_size=4).hexdigest()
        self._scopes.begin_cell(name, identity)

    @property
    def scope(self) -> str:
        """The running cell, for `Control.scope`."""
        return self._scopes.current

    def resolve(self, name: str, catalog: Catalog, settings: Callable[[], Settings]) -> Model:
        """Return the model that a name means; of the user's own names, the recorded one.

        The settings are looked at only then: it takes as long as all the rest of a request.

        Raises:
            UnknownModel: No row has this name, and no recording.
        """
        try:
            own = catalog.own_alias(name) is not None
            model = None if own else catalog.resolve(name)
        except UnknownModel:
            if (model := self._recorded(name, catalog, settings())) is None:
                raise
        return model or self._recorded(name, catalog, settings()) or catalog.resolve(name)

    def _recorded(self, name: str, catalog: Catalog, settings: Settings) -> Model | None:
        """Return the model of a recording in the cassette in use that asked for a name."""
        if (tape := self.tape(settings)) is None:
            return None
        from mixmagic.layers.replay import asked_model

        return asked_model(tape, name.strip(), catalog)


def cassette_path(settings: Settings, file: str = "") -> Path:
    """Return the path of a cassette.

    Args:
        settings: They know the notebook and its folder.
        file: As it is named, from the notebook's folder; empty for the one beside the notebook.

    Raises:
        BadArguments: No file is named, and the notebook is not known.

    Example:
        >>> cassette_path(settings)
        PosixPath('/home/ada/lesson.cassette.jsonl')
    """
    if not file:
        if settings.notebook is None:
            raise BadArguments(
                "No cassette is named, and this front end does not name the notebook.",
                "Write `%mixmagic cassette FILE`, or set MIXMAGIC_CASSETTE to the file.",
            )
        file = beside(Path(settings.notebook))
    return below(settings.folder, file)


def beside(notebook: Path) -> str:
    """Return the name of the cassette beside a notebook."""
    return f"{notebook.stem}{_ENDING}"


def below(folder: Path, file: str) -> Path:
    """Return the path of a file that is named from a folder, or from the user's home by `~`."""
    try:
        return folder / Path(file).expanduser()
    except RuntimeError:  # there is no such user
        return folder / file
