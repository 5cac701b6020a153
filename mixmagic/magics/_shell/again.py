"""`%mixtral again`: the last prompt once more, as it was sent, with other options."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mixmagic.errors import BadArguments
from mixmagic.magics._shell.options import Options, Question

if TYPE_CHECKING:
    from mixmagic.commands._parser import Parser

_WORD = "again"
# What belongs to one call: it is not asked for again.
_ONCE: dict[str, Any] = {"program": None, "dry_run": False, "cache": "auto"}


def changes(parser: Parser, asked: Question) -> Options | None:
    """Return the options of a line `again`, before and after the word; `None` for other prompts.

    Raises:
        BadArguments: Prose follows the options.
        HelpAsked: An option asks for help.

    Example:
        >>> changes(parser, Question("again -t 1", is_cell=False)).temperature
        1.0
    """
    word, _, rest = asked.prompt.strip().partition(" ")
    if asked.is_cell or word != _WORD:
        return None
    words, prose = parser.leading(rest)
    if prose and not words:
        return None  # a prompt that begins with the word
    options = Options.of(vars(parser.parse_args(words)))
    if prose:
        raise BadArguments(
            f"`{_WORD}` takes options alone, not {prose!r:.60}.",
            f"It sends the same prompt; one that begins with {_WORD!r} goes below %%mixtral.",
        )
    if options.template is not None or options.raw:
        raise BadArguments(
            f"`{_WORD}` sends the same prompt: it takes neither --template nor --raw.",
            "Run the cell itself once more, with the option.",
        )
    return asked.options.merged(options)


def question(last: Question | None, changed: Options, *, refresh: bool) -> Question:
    """Return the last question with other options.

    Args:
        last: The last question, with what was sent of it.
        changed: The options to change.
        refresh: True if the new answer takes the place of a stored one.

    Raises:
        BadArguments: Nothing has been asked.
    """
    if last is None:
        raise BadArguments(
            "There is no prompt to send again: none was sent in this session.",
            "Send one: `%mixtral What is a median?`, then `%mixtral again -t 1`.",
        )
    if changed.cache == "use":
        raise BadArguments(
            f"`{_WORD}` never shows a stored answer.", "Leave --cache out, or run the cell itself."
        )
    own = replace(last.options, **_ONCE)
    cache = changed.cache
    if cache == "auto":
        cache = "refresh" if refresh and last.options.cache != "off" else "off"
    options = replace(own.merged(changed), cache=cache)
    sent = last.sent
    if sent is not None:
        # What was sent is not evaluated anew, but a new system prompt is.
        options = replace(options, raw=changed.system is None)
        if options.chat != own.chat:
            sent = replace(sent, cell=None, exchange=None)
        if changed.examples is None:
            options = replace(options, examples=None)  # those that were sent
        else:
            sent = replace(sent, examples=())
    return replace(last, options=options, sent=sent)
