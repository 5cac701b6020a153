"""`%mixmagic`: choose a model, list models, see what was spent, find what is wrong."""

from __future__ import annotations

import getpass
import inspect
from typing import Any

from IPython.core.error import StdinNotImplementedError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.display import display
from traitlets import TraitError, Unicode, default, observe, validate

from mixmagic import errors
from mixmagic.commands._parser import SAVED, Parser, refuse_keys
from mixmagic.core.terminal import write
from mixmagic.errors import BadArguments, MixmagicError, Stopped, did_you_mean
from mixmagic.sessions import Session


class UnknownModel(errors.UnknownModel, TraitError):
    """Refuses a trait's value so that traitlets puts the old one back."""


@magics_class
class Mixmagic(Magics):
    """The `%mixmagic` of one session; `%config Mixmagic` shows its settings."""

    model = Unicode(help="The model that is asked where none is named.").tag(config=True)

    def __init__(self, shell: InteractiveShell, session: Session) -> None:
        self._session = session
        super().__init__(shell)

    @default("model")
    def _default_model(self) -> str:
        return self._session.model

    @validate("model")
    def _known_model(self, proposal: Any) -> str:
        """Refuse a model that cannot be named, wherever the name comes from."""
        name: str = proposal["value"]
        try:
            first, *others = self._session.catalog.serving(name)
            return name.strip() if others else first.name
        except errors.UnknownModel as error:
            raise UnknownModel(error.message, error.hint) from None

    @observe("model")
    def _use_model(self, change: Any) -> None:
        self._session.model = change["new"]

    @no_var_expand
    @line_magic
    def mixmagic(self, line: str) -> None:
        """Choose a model, list models, see what was spent, find what is wrong.

        %mixmagic use MODEL                    ask MODEL by default, in this session
        %mixmagic models [PROVIDER] [--live]   the models that can be named, with their prices;
                                               --live asks the providers themselves;
                                               --for "long documents" says which suit
        %mixmagic spend                        what this session has cost; or --today, --month,
                                               --all; --by model, day, notebook or status;
                                               --elsewhere compares other providers' prices;
                                               --resolve [NUMBER DOLLARS] settles lost calls
        %mixmagic budget [DOLLARS|off]         what may be spent at most in this session, --per day,
                                               --per month or in this --notebook; and what is left
        %mixmagic prices [MODEL]               the same model's prices, provider by provider
        %mixmagic chats [show|forget|save …]   the conversations that `%%mixtral -c NAME` continues
        %mixmagic templates                    your templates, for `%%mixtral --template NAME`
        %mixmagic login PROVIDER               ask for an API key, try it, and keep it in the
                                               system's keyring; logout takes it out
        %mixmagic doctor                       check that everything is in place
        """
        refuse_keys(line)
        name, *words = line.split() or [""]
        if not {"-h", "--help"}.isdisjoint([name, *words]):
            print(inspect.cleandoc(Mixmagic.mixmagic.__doc__ or ""))
            return
        commands = {
            "use": self._use,
            "models": self._models,
            "spend": self._spend,
            "budget": self._budget,
            "prices": self._prices,
            "chats": self._chats,
            "templates": self._templates,
            "login": self._login,
            "logout": self._logout,
            "doctor": self._doctor,
        }
        if name not in commands:
            meant = did_you_mean(name, commands)
            raise BadArguments(
                f"%mixmagic has no command {name!r}." if name else "%mixmagic needs a command.",
                f"{meant}Commands are {', '.join(commands)}; `%mixmagic?` says what they do.",
            )
        _ = self._session.notebook  # it may have been renamed, and the settings may have changed
        try:
            commands[name](words)
        except KeyboardInterrupt:
            raise Stopped from None  # one line, wherever it was

    def _use(self, words: list[str]) -> None:
        """Change the session's model."""
        parser = Parser("%mixmagic use")
        parser.add_argument("model")
        self.model = parser.parse_args(words).model
        self._session.model = self.model  # the setting may have changed it since
        selection = self._session.select()
        model = selection.model
        about = " · ".join(filter(None, (model.provider.label, selection.reason, model.about)))
        write(
            f"This session now asks {model.name} ({about}).\n"
            f'To keep it for every session, put model = "{self.model}" into config.toml'
            " (`%mixmagic doctor` says where).\n"
        )

    def _models(self, words: list[str]) -> None:
        """Show the models that can be named."""
        from mixmagic.display.prices import models_table

        parser = Parser("%mixmagic models")
        parser.add_argument("provider", nargs="?")
        parser.add_argument("--live", action="store_true")
        parser.add_argument("--for", dest="wanted", nargs="+", metavar="WHAT")
        options = parser.parse_args(words)
        if options.wanted:
            from mixmagic.commands.models import suited

            display(suited(self._session, options.wanted))
            return
        caption = ""
        if options.live and options.provider:
            rows = self._session.live_models(options.provider)
        else:
            if options.live:
                caption = " · ".join(
                    filter(None, map(self._asked, self._session.catalog.providers))
                )
            rows = self._session.models(options.provider)
        try:
            default_model = self._session.select().model
        except MixmagicError:
            default_model = None
        display(models_table(rows, default_model, caption))

    def _asked(self, provider: str) -> str:
        """Merge a provider's own list; what came of it, in a few words."""
        try:
            return f"{provider}: {len(self._session.live_models(provider))} models"
        except MixmagicError as error:
            return f"{provider}: {error.message}"

    def _spend(self, words: list[str]) -> None:
        """Show what calls have cost."""
        from mixmagic.commands.spend import show

        show(self._session, self.shell, words)

    def _budget(self, words: list[str]) -> None:
        """Set what may be spent, and show what is left."""
        from mixmagic.commands.budget import budget

        display(budget(self._session, words))

    def _prices(self, words: list[str]) -> None:
        """Show what others ask for the same model."""
        from mixmagic.commands.prices import prices

        display(prices(self._session, words))

    def _chats(self, words: list[str]) -> None:
        """Show, forget or save conversations."""
        from mixmagic.commands.chats import chats

        shown = chats(self._session.chats, words)
        write(f"{shown}\n") if isinstance(shown, str) else display(shown)

    def _templates(self, words: list[str]) -> None:
        """Show the user's templates."""
        from mixmagic.commands.templates import templates

        display(templates(self._session.settings.templates, words))

    def _login(self, words: list[str]) -> None:
        """Ask for a key, check it with the provider, and keep it."""
        from mixmagic.keys.redact import Secret
        from mixmagic.tasks.login import keyed, login

        if len(words) > 1:
            raise BadArguments(SAVED, "Type `%mixmagic login PROVIDER` alone: it asks for the key.")
        parser = Parser("%mixmagic login")
        parser.add_argument("provider")
        name = parser.parse_args(words).provider
        if name not in self._session.catalog.providers:  # but perhaps a key: not repeated
            providers = ", ".join(self._session.catalog.providers)
            raise BadArguments("There is no such provider.", f"Providers are {providers}.")
        provider = keyed(self._session.provider(name))
        try:
            prompt = f"API key of {provider.label} (not shown, not saved here): "
            key = Secret(getpass.getpass(prompt))
        except (StdinNotImplementedError, EOFError):
            raise BadArguments(
                "There is nobody here to ask for a key.",
                f"Set {provider.key_env} in the environment, or in a file .env beside the"
                " notebook.",
            ) from None
        kept = login(self._session.backends, provider, key)
        self._session.available.forget()
        if kept.checked:
            said = f"accepts the key ({kept.models} models); the system's keyring has it"
        else:
            said = (
                f"lists {kept.models} models without telling whether the key is right: the"
                " system's keyring has it, and the first call will tell"
            )
        write(f"{provider.label} {said}.\n")

    def _logout(self, words: list[str]) -> None:
        """Take a key out of the keyring."""
        from mixmagic.tasks.login import logout

        parser = Parser("%mixmagic logout")
        parser.add_argument("provider")
        provider = self._session.provider(parser.parse_args(words).provider)
        logout(self._session.backends, provider)
        self._session.available.forget()
        write(f"The system's keyring has no key of {provider.label} any more.\n")

    def _doctor(self, words: list[str]) -> None:
        """Show what is in place and what is not."""
        from mixmagic.display.doctor import doctor_table, front_end

        Parser("%mixmagic doctor").parse_args(words)
        display(doctor_table([*self._session.doctor(), front_end(self.shell)]))
