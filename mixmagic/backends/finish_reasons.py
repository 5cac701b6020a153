"""Why an answer ended, in every provider's words, and in ours. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mixmagic.errors import one_line

_WORDS = {
    "": "null none nil undefined unspecified in_progress",
    "stop": """
        eos eos_token eos_token_found end_turn end_of_turn end_of_text endoftext im_end
        stop_sequence stop_token stop_word stop_words complete completed finish finished done end
        success normal
        """,
    "length": """
        max_tokens max_output_tokens max_completion_tokens max_new_tokens max_length
        max_tokens_reached model_length model_context_window_exceeded context_length
        context_length_exceeded context_window_exceeded token_limit length_limit
        length_limit_reached truncated
        """,
    "content_filter": """
        content_filtered content_filtering content_policy_violation safety sensitive blocked
        blocklist prohibited_content spii recitation image_safety moderation guardrail_intervened
        guardrails error_toxic violation
        """,
    "refusal": "refused",
    "tool_calls": "tool_call tool_use tool function_call unexpected_tool_call",
    "error": """
        errored failed failure abort aborted cancel cancelled canceled interrupted network_error
        server_error internal_error internal_server_error model_error engine_error upstream_error
        provider_error timeout timed_out insufficient_system_resource overloaded model_overloaded
        unavailable service_unavailable malformed_function_call
        """,
}
_ENDS = {word: end for end, words in _WORDS.items() for word in [end, *words.split()]}
FEEDBACK = ("promptFeedback", "prompt_feedback")  # Gemini's: why it refuses a prompt
_LONGEST = 80  # characters of a reason


def end(finish: Any) -> tuple[str, str]:
    """Return why an answer ended in our words and in the provider's; empty if it has not.

    Ours are `stop`, `length`, `content_filter`, `refusal`, `tool_calls`, and `error` if the answer
    is not whole; a word that is not known stays as it is.

    Example:
        >>> end("FinishReason.MAX_TOKENS")
        ('length', 'MAX_TOKENS')
    """
    if not isinstance(finish, str):
        return "", ""
    word = finish.strip().strip("<|>").rpartition("FinishReason.")[2].removeprefix("FINISH_REASON_")
    return _ENDS.get(word.lower().replace("-", "_").replace(" ", "_"), word), word


def blocked(frame: Mapping[str, Any]) -> str:
    """Return why the provider has refused the prompt, in Gemini's form; empty if it has not."""
    for name in FEEDBACK:
        feedback = frame.get(name)
        if isinstance(feedback, Mapping):
            reason = feedback.get("blockReason") or feedback.get("block_reason")
            if end(reason)[0]:
                return end(reason)[1]
    return ""


def filtered(choice: Mapping[str, Any], word: str) -> str:
    """Return what a filter ended an answer for: its categories, as Azure has them, or the word."""
    results = choice.get("content_filter_results")
    found = results.items() if isinstance(results, Mapping) else ()
    names = [name for name, each in found if isinstance(each, Mapping) and each.get("filtered")]
    return ", ".join(map(str, names)) or ("" if word == "content_filter" else word)


def note(reason: str) -> str:
    """Return a note on the reason that a provider gives; empty if it gives none."""
    return f"the provider's reason: {one_line(reason, _LONGEST)}" if reason else ""
