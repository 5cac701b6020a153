"""One user's work in one process: settings, stores, and the order of the layers.

Not `session.py`: the import system would replace `mixmagic.session()` with that module.
May import `tasks` and everything below them.
"""

from __future__ import annotations

import os
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from mixmagic.core import lazy
from mixmagic.core.keywords import Parameters, listed
from mixmagic.core.lazy import cached
from mixmagic.errors import counted
from mixmagic.tasks.defaults import Defaults, chosen_by

if TYPE_CHECKING:  # imported at the first call: `%load_ext` stays light
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from mixmagic.calls.completion import Completion
    from mixmagic.calls.events import Event
    from mixmagic.calls.interrupts import Calls, Running
    from mixmagic.calls.tokens import Count
    from mixmagic.core.money import Dollars, Per
    from mixmagic.core.params import Prompt
    from mixmagic.core.settings import Settings
    from mixmagic.core.values import Delta, Model, Request, Stream
    from mixmagic.store.cache import AnswerCache
    from mixmagic.store.jobs import Journal
    from mixmagic.store.ledger.budgets import Balance, Limit
    from mixmagic.store.ledger.ledger import Ledger
    from mixmagic.tasks.bulk.job import Job
    from mixmagic.tasks.bulk.options import OnError, Repeats
    from mixmagic.tasks.bulk.resume import Jobs
    from mixmagic.tasks.chats import Chats
    from mixmagic.tasks.doctor import Check
    from mixmagic.tasks.history import History
    from mixmagic.tasks.plan import Plan
    from mixmagic.tasks.translation.documents import Outputs
    from mixmagic.tasks.translation.translate import Translation

# Settings for which neither connections nor keys are looked at again: budgets, and cassettes.
_LIGHT_SETTINGS = ("budget_session", "budget_day", "budget_month", "budget_floor",
                   "cassette", "cassette_mode")  # fmt: skip


class Session(Defaults):
    """Calls models, and keeps account of the cost.

    A process has one: `mixmagic.session()`. Everything may be used from any thread. Settings,
    catalog, ledger and backends are made at their first use.

    Args:
        settings: Folders and defaults; read from the settings file and the environment if `None`.
        of_process: True for the one session that the process shares with its workers.

    Example:
        >>> session = mixmagic.session()
        >>> session.ask("Name three colors.", model="local").text
    """

    def __init__(self, settings: Settings | None = None, *, of_process: bool = False) -> None:
        super().__init__(settings)
        self._of_process = of_process
        _sessions.add(self)

    def __repr__(self) -> str:
        """Return the model, and the calls, cost and budget so far.

        It opens no ledger, waits for nothing and never raises.
        """
        try:
            return f"<Session: {', '.join([self.model, *self._so_far()])}>"
        except Exception:  # noqa: BLE001  # such as a settings file that is not valid
            return "<Session>"

    def _so_far(self) -> Iterator[str]:
        """Yield the calls and what they have cost."""
        if (ledger := self.__dict__.get("ledger")) is None:
            yield "no calls yet"
            return
        money, spend = lazy.load("mixmagic.core.money"), lazy.load("mixmagic.store.ledger.spend")
        spent, limit = spend.total(ledger.spent(timeout=0.0)), ledger.budgets.session
        yield counted(spent.calls, "call")
        cost = "at least " * bool(spent.unpriced) + money.format_dollars(spent.cost)
        yield cost if limit is None else f"{cost} of {money.format_limit(limit)}"
        if running := len(self.running):
            yield f"{running:,} under way"

    @cached
    def stream(self) -> Stream:
        """Ask a model: a function from `Request` to an iterator of `Delta`.

        Close the iterator (`contextlib.closing`) if you may leave it early.
        """
        from mixmagic.layers import stack
        from mixmagic.layers.cache import cache
        from mixmagic.layers.fit import fit
        from mixmagic.layers.meter import meter
        from mixmagic.layers.notes import notes
        from mixmagic.layers.remember import remember
        from mixmagic.layers.replay import replay
        from mixmagic.layers.resolve import resolve
        from mixmagic.layers.retry import retry
        from mixmagic.layers.throttle import throttle

        settings = self.settings
        place = self._place(settings)
        # Outermost first.
        layers = [
            remember(self.history.add),
            notes(settings),
            replay(lambda: self.player.tape(settings), self.catalog, self.backends.access.redact),
            resolve(self.catalog, self.available, self.backends.access.require),
            cache(self.cache, self.backends.endpoint, self.calls),
            fit(),
            meter(self.ledger, None if place is None else place.text, self.calls),
            retry(settings),
            throttle(),
        ]
        return stack(layers, self._send)

    def _send(self, request: Request) -> Generator[Delta, None, None]:
        return self.backends.open(request.model.provider)(request)

    @listed
    def request(
        self, prompt: Prompt, *, stream: bool = True, **params: Unpack[Parameters]
    ) -> Request:
        """Return a checked request for `stream`; it is the same on every machine.

        Args:
            prompt: A text; a list of texts and images; or a conversation: `Message`s or dicts with
                `role` and `content`, a text or parts.
            stream: True if the answer should be streamed.
            **params: `model`, `system`, `temperature`, `max_tokens`, …: see `Parameters`.

        Raises:
            BadArguments: The prompt is empty, or a parameter is invalid.
            UnknownModel: No catalog row has this name.
        """
        settings = self.settings  # they may have changed, and the notebook may have been renamed
        self._follow(settings)
        task, defaults = params.get("task"), self._defaults(settings)
        chosen = defaults.get("model") if params.get("model") is None else params["model"]
        request: Request = lazy.load("mixmagic.tasks.question").question(
            prompt,
            self.catalog,
            lambda tokens: self._name(chosen, task, tokens),
            defaults=defaults,
            stream=stream,
            params=params,
            resolve=self.named,
            chosen_by=chosen_by(chosen, task),
        )
        return request

    @listed
    def ask(self, prompt: Prompt, **params: Unpack[Parameters]) -> Completion:
        """Ask a model and wait for the whole answer.

        Args:
            prompt: As for `request`.
            **params: As for `request`.

        Returns:
            The answer, with its tokens and its cost.

        Raises:
            MixmagicError: The call failed; the message is followed by a hint.
            Stopped: Ctrl-C, or `request.control.stop`; its `completion` is what was received.

        Example:
            >>> session.ask("Name three colors.", model="local", temperature=0).text
        """
        request = self.request(prompt, **params)  # first: it sees that settings have changed
        running = lazy.load("mixmagic.calls.running")
        completion: Completion = running.run(self.stream, request, self.calls)
        return completion

    @listed
    def map(
        self,
        rows: Any,
        prompt: str,
        *,
        out: str | os.PathLike[str] | None = None,
        name: str = "",
        in_flight: int = 64,
        repeats: Repeats = "once",
        on_error: OnError = "keep",
        background: bool = False,
        variables: Mapping[str, Any] | None = None,
        **params: Unpack[Parameters],
    ) -> Job:
        """Ask a prompt about each row of a table; return the job, which has begun.

        Args:
            rows: A Series or DataFrame of pandas or polars, a Table of pyarrow, the path of a file
                (`.csv`, `.tsv`, `.jsonl`, `.parquet`), or an iterable of texts or dicts.
            prompt: The prompt, with the rows' columns as expressions: `Classify: {{ text }}`.
            out: A file (`.parquet`, `.csv`, `.tsv`, `.jsonl`) that the rows are written to at the
                end, with their results, or a folder that gets parts as rows are over. Neither the
                rows of a file nor the results are then kept in memory.
            name: The job's name; made of the prompt if empty.
            in_flight: Calls at the same time.
            repeats: `once` asks equal rows once, `ask` asks each of them.
            on_error: `keep` goes on after a row that fails, `raise` stops.
            background: True if an interrupt must not stop it.
            variables: Other names that the prompt's expressions may use.
            **params: As for `request`; `budget` is what the job may cost in all its runs, and
                `schema` may also be a pydantic model, a dataclass or a TypedDict.

        Raises:
            BadArguments: The rows cannot be read, or the prompt names no column.
            MixmagicError: No row can be asked.

        Example:
            >>> session.map(["Great!", "Bad."], "Positive? {{ text }}", model="local").result()
        """
        job = self.jobs.prepare(
            rows,
            prompt,
            out=out,
            name=name,
            in_flight=in_flight,
            repeats=repeats,
            on_error=on_error,
            background=background,
            variables=variables,
            params=dict(params),
        )
        job.start()
        return job

    @listed
    def translation(
        self,
        source: Any,
        *,
        to: str,
        source_language: str = "",
        tone: str = "",
        glossary: str | os.PathLike[str] = "",
        out: str | os.PathLike[str] | None = None,
        columns: Sequence[str] = (),
        comments: bool = False,
        strings: bool = False,
        outputs: Outputs = "keep",
        in_flight: int = 64,
        **params: Unpack[Parameters],
    ) -> Translation:
        """Return a translation that has not begun: see `mixmagic.translate`.

        Example:
            >>> translation = session.translation("Good morning", to="fr", model="8x7b")
            >>> translation.job.start()
            >>> translation.finish()
        """
        from mixmagic.tasks.translation.documents import Reading
        from mixmagic.tasks.translation.translate import Translation, Wishes

        columns = (columns,) if isinstance(columns, str) else tuple(columns)
        reading = Reading(columns, comments=comments, strings=strings, outputs=outputs)
        wishes = Wishes(to, source_language, tone, glossary, out, reading, in_flight)
        return Translation(self, source, wishes, params, self.settings.glossaries)

    def count(
        self, prompt: Prompt, *, model: str | None = None, system: str | None = None
    ) -> Count:
        """Count the tokens of a prompt with the model's chat template; nothing is sent.

        An embedded model is loaded for it. The arguments are those of `request`.

        Returns:
            `tokens`, and True as `exact` if the model's own tokenizer counted; else `most` is the
            upper bound of an estimate.

        Example:
            >>> session.count("Hello", model="local")
            Count(tokens=31, most=31, exact=True)
        """
        return self._counted(self.resolved(self.request(prompt, model=model, system=system)))

    def _counted(self, request: Request) -> Count:
        """Return the tokens of a prompt: while a cassette is in use, the same on every machine."""
        if self.player.in_use(self.settings):
            count: Count = lazy.load("mixmagic.calls.tokens").estimated(
                request.messages, request.model
            )
            return count
        return self.backends.count(request.messages, request.model)

    def plan(self, request: Request) -> Plan:
        """Return the tokens and cost of a call; nothing is sent.

        Raises:
            ContextTooLong: The prompt does not fit into the model's context.
            StoreError: The ledger, or the budgets, cannot be read.

        Example:
            >>> session.plan(session.request("Hi", model="8x7b")).worst_case.cost
        """
        from mixmagic.tasks.plan import plan

        request = self.resolved(request)
        prompt = self._counted(request)
        balances = self.ledger.balances(self.notebook, request.control.budget)
        answers = self.ledger.answers(request.model)
        return plan(request, prompt, balances, *answers, floor=self.settings.budget_floor)

    @property
    def running(self) -> list[Running]:
        """The calls under way, each with its `request`, its answer so far, and `stop()`.

        Example:
            >>> for call in session.running:
            ...     call.stop()
        """
        return list(self.calls)

    def subscribe(self, subscriber: Callable[[Event], object]) -> Callable[[], None]:
        """Call a function with each event of this session's calls, on a thread of its own.

        Events are `begin`, `progress` (at most 20 a second for each call) and `end` of a call, and
        `money`: what is spent or reserved has changed. A slow function, or one that raises, neither
        slows nor breaks a call. A forked child has no subscribers.

        Returns:
            A function that ends the subscription.

        Example:
            >>> unsubscribe = session.subscribe(lambda event: events.append(event.kind))
            >>> unsubscribe()
        """
        return self.calls.events.subscribe(subscriber)

    @property
    def stopped(self) -> list[Completion]:
        """The partial answers of the calls that were stopped last, in one cell or at once."""
        return list(self.calls.stopped)

    def budget(self, limit: Dollars | None, *, per: Per = "session") -> None:
        """Set a spending limit, or remove it: see `mixmagic.budget`."""
        from mixmagic.core.money import parse_dollars

        self.ledger.set_limit(per, None if limit is None else parse_dollars(limit), self.notebook)

    def budgets(self) -> list[Balance]:
        """Return the balances of the budgets that are set, the session's first.

        Raises:
            StoreError: The ledger, or the budgets, cannot be read.
        """
        return self.ledger.balances(self.notebook)

    def limits(self) -> list[Limit]:
        """Return the limits that apply to a call now, the narrowest first; the ledger is not read.

        Raises:
            StoreError: The budgets cannot be read.
        """
        from mixmagic.store.ledger.spend import day

        return self.ledger.budgets.limits(self.notebook, day())

    def live_models(self, provider: str) -> list[Model]:
        """Ask a provider for its models; return them, completed from the catalog.

        Afterwards the catalog knows these models and their prices too.

        Raises:
            BadArguments: There is no such provider.
            MixmagicError: The request failed.
        """
        asked = self.catalog.provider(provider)
        return self.catalog.merge(asked, self.backends.models(asked))

    def doctor(self) -> list[Check]:
        """Check what an answer needs, one line each; providers that are set up are asked."""
        from mixmagic.tasks.doctor import examine

        parts = self.settings, self.catalog, self.backends, self.ledger.database, self.cache
        return list(examine(*parts, answering=self.answering))

    @cached
    def id(self) -> str:
        """This session's id in the ledger."""
        from mixmagic.store.ledger.processes import session_id

        return session_id() if self._of_process else os.urandom(8).hex()

    def _outdated(self, before: Settings, after: Settings) -> list[Any]:
        """Forget the parts whose settings have changed; return those that must be closed."""
        from mixmagic.core.settings import DEFAULTS

        self._forget(before, after)
        if (catalog := self.__dict__.get("catalog")) is not None:
            catalog.own_aliases = after.aliases
        if (cache := self.__dict__.get("cache")) is not None:
            cache.follow(before, after)
        seen = {name: getattr(after, name) for name in (*DEFAULTS, "live", "beside", "aliases")}
        before = replace(before, **seen)
        if before == after:
            return []
        stale = ["stream"]
        ledger = self.__dict__.get("ledger")
        if ledger is not None:
            ledger.budgets.settings, ledger.floor = after.budgets, after.budget_floor
        if replace(before, **{name: getattr(after, name) for name in _LIGHT_SETTINGS}) != after:
            stale += ["backends", "available"]
        stale += ["cache"] * (before.cache_dir != after.cache_dir)
        if (before.config_dir, before.data_dir) != (after.config_dir, after.data_dir):
            stale += ["catalog", "ledger", "journal", "jobs"]
        parts = [self.__dict__.pop(name, None) for name in stale]
        closing = [part for part in parts if hasattr(part, "close")]
        return [] if list(self.calls) else closing  # calls under way go on with their own

    def _renamed(self, before: str, after: str) -> None:
        self.ledger.rename_notebook(before, after)  # a ledger is made only if it is needed

    def _moved(self) -> None:
        self.__dict__.pop("stream", None)

    @cached
    def ledger(self) -> Ledger:
        """The spend record."""
        from mixmagic.store.ledger.ledger import Ledger

        return Ledger(
            self.settings.data_dir, self.id, self.settings.budgets, self.settings.budget_floor
        )

    @cached
    def cache(self) -> AnswerCache:
        """The stored answers."""
        from mixmagic.store.cache import AnswerCache

        return AnswerCache.of(self.settings)

    @cached
    def journal(self) -> Journal:
        """The answers of jobs over many rows."""
        from mixmagic.store.jobs import Journal

        return Journal(self.settings.data_dir)

    @cached
    def jobs(self) -> Jobs:
        """The last jobs over many rows that were begun here."""
        from mixmagic.tasks.bulk.resume import Jobs

        return Jobs(self, lambda: self.player.in_use(self.settings), self._redact)

    @cached
    def calls(self) -> Calls:
        """The calls under way."""
        from mixmagic.calls.interrupts import Calls

        return Calls()

    @cached
    def history(self) -> History:
        """The last prompts and answers."""
        from mixmagic.tasks.history import History

        return History(self._redact)

    def _redact(self, value: Any) -> Any:
        return self.backends.access.redact(value)  # of the backends as they are then

    @cached
    def chats(self) -> Chats:
        """The conversations that cells continue by name."""
        from mixmagic.tasks.chats import Chats

        return Chats()

    def close(self) -> None:
        """Release connections, threads and memory. The session can still be used."""
        for name in ("backends", "ledger", "cache", "journal"):
            if (part := self.__dict__.get(name)) is not None:
                part.close()

    def _start_over(self) -> None:
        """Start over in a forked child, which has its parent's sockets and locks, but no threads.

        What the parent made is kept, not freed: freeing it would wait for those threads.
        """
        made = [
            self.__dict__.pop(name, None) for name in ("backends", "stream", "available", "calls")
        ]
        _of_the_parent.append(made)


_sessions: weakref.WeakSet[Session] = weakref.WeakSet()
_of_the_parent: list[object] = []
_of_process: dict[str, Session] = {}


def session() -> Session:
    """Return the session of this process.

    Workers that multiprocessing or loky starts share its budget, and what they spend is the
    session's.
    """
    return lazy.get_or_make(_of_process, "session", lambda: Session(of_process=True))


def _after_fork() -> None:
    """Let every session of a forked child start over."""
    for made in list(_sessions):
        made._start_over()  # noqa: SLF001  # of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
