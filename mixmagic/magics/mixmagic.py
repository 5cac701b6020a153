"""`%mixmagic`: the commands in a notebook, and `%config Mixmagic`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from traitlets import Unicode

if TYPE_CHECKING:  # imported when a command runs: `%load_ext` stays light
    from mixmagic.magics._shell.hooks import Hooks
    from mixmagic.sessions import Session


class ModelName(Unicode):  # type: ignore[type-arg]  # Colab's traitlets has no generics
    """A trait whose value is the session's model."""

    def get(self, obj: Any, cls: Any = None) -> str:
        return str(obj.session.model)

    def set(self, obj: Any, value: Any) -> None:
        from mixmagic.commands.use import full_name

        obj.session.model = full_name(obj.session, str(self.validate(obj, value)))


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
        from mixmagic.core.terminal import write

        write(f"{text}\n")


@magics_class
class Mixmagic(Magics):
    """The `%mixmagic` of one session; `%config Mixmagic` shows its settings."""

    model = ModelName(help="The default model.").tag(config=True)

    def __init__(self, shell: InteractiveShell, session: Session, hooks: Hooks) -> None:
        self.session = session
        super().__init__(shell)  # the profile's configuration sets the model
        if "model" in self.config.get("Mixmagic", {}):
            session.player.profile_model = session.model

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
            _ = self.session.notebook  # it may have been renamed, and the settings may have changed
            run(self.session, out)
        except HelpAsked as help_asked:
            out.print(str(help_asked))
        except KeyboardInterrupt:
            raise Stopped from None  # one line, wherever it was
