"""`%mixmagic`: the commands in a notebook, and `%config Mixmagic`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from traitlets import Any as Any_
from traitlets import Float, Int, TraitError, Unicode

if TYPE_CHECKING:  # imported when a command runs: `%load_ext` stays light
    from mixmagic.magics._shell.hooks import Hooks
    from mixmagic.sessions import Session


class _Default:
    """A trait whose value is a default of the session's calls; `None` takes it back."""

    def get(self: Any, obj: Any, cls: Any = None) -> Any:
        return {"model": obj.session.model, **obj.session.defaults()}.get(self.name)

    def set(self: Any, obj: Any, value: Any) -> None:
        from mixmagic.commands.set import checked
        from mixmagic.errors import BadArguments, MixmagicError, one_line

        try:
            value = self._validate(obj, value)
            value = None if value is None else checked(obj.session, self.name, value)
        except (MixmagicError, TraitError) as error:
            hint = error.hint if isinstance(error, MixmagicError) else ""
            if obj.in_profile:
                raise BadArguments(
                    f"c.Mixmagic.{self.name} of the IPython profile: {one_line(error.args[0])}",
                    hint or f"It takes: {one_line(self.help)}",
                ) from None
            # IPython logs the message alone.
            raise TraitError(f"{error.args[0]} {hint}".rstrip()) from None
        obj.session.set_default(self.name, value, by_profile=obj.in_profile)


class _Text(_Default, Unicode):  # type: ignore[type-arg]  # Colab's traitlets has no generics
    """A text."""


class _Number(_Default, Float):  # type: ignore[type-arg]
    """A number."""


class _Whole(_Default, Int):  # type: ignore[type-arg]
    """A whole number."""


class _Texts(_Default, Any_):
    """A text, or a list of texts."""


class _Notebook:
    """Shows a command's results as outputs of the cell."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.live = getattr(shell, "kernel", None) is not None
        self._handle: Any = None

    def show(self, value: object) -> None:
        from IPython.display import display

        self._handle = display(value, display_id=self.live or None)

    def replace(self, value: object) -> None:
        self._handle.update(value)

    def print(self, text: str) -> None:
        from mixmagic.core.terminal import wrapped

        self.write(wrapped(text))

    def write(self, text: str) -> None:
        from mixmagic.core.terminal import write

        write(f"{text}\n")


@magics_class
class Mixmagic(Magics):
    """The `%mixmagic` of one session; `%config Mixmagic` shows its settings."""

    model = _Text(None, allow_none=True, help="The default model.").tag(config=True)
    system = _Text(None, allow_none=True, help="The system prompt.").tag(config=True)
    temperature = _Number(None, allow_none=True, help="Randomness, 0 to 2.").tag(config=True)
    max_tokens = _Whole(None, allow_none=True, help="Tokens of an answer.").tag(config=True)
    top_p = _Number(None, allow_none=True, help="As for --top-p.").tag(config=True)
    seed = _Whole(None, allow_none=True, help="As for --seed.").tag(config=True)
    stop = _Texts(None, help="A text, or a list: as for --stop.").tag(config=True)
    format = _Text(None, allow_none=True, help="As for --format.").tag(config=True)

    def __init__(self, shell: InteractiveShell, session: Session, hooks: Hooks) -> None:
        self.session, self.in_profile = session, True
        super().__init__(shell)  # the profile's configuration sets the defaults
        self.in_profile = False

    @no_var_expand
    @line_magic
    def mixmagic(self, line: str) -> None:
        """Run a command: `%mixmagic` lists them, `%mixmagic NAME -h` shows the options of one."""
        from mixmagic import commands
        from mixmagic.commands._parser import HelpAsked, refuse_keys, split
        from mixmagic.errors import Stopped

        refuse_keys(line)
        out = _Notebook(self.shell)
        try:
            run = commands.parse(split(line), "notebook")
            if line.strip():  # the overview is shown also if a file of settings is damaged
                _ = self.session.notebook  # renamed, perhaps, and the settings may have changed
            run(self.session, out)
        except HelpAsked as help_asked:
            out.print(str(help_asked))
        except KeyboardInterrupt:
            raise Stopped from None  # one line, wherever it was
