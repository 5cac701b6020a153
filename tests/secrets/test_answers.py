"""A key that a model repeats is not in the answer, wherever the answer is split."""

from __future__ import annotations

import json

import pytest
from canary import BASIC, KEY, PASSWORD, USER, everything, files, in_pieces, leaks
from server import Answer, chunk, frames, refusal, whole

from mixmagic.errors import StreamBroken, Unavailable
from mixmagic.sessions import Session

SAYS, SHOWN = f"You sent {KEY}, can I?", "You sent [key], can I?"


def test_a_key_is_not_in_an_answer_split_anywhere(session, together):
    for cut in range(len(SAYS)):
        together.plan = [in_pieces(SAYS[:cut], SAYS[cut:])]
        answer = session.ask("Hello", model="8x7b")
        assert answer.text == SHOWN, cut
        assert leaks(*everything(answer)) == []


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("field", ["content", "reasoning", "reasoning_content"])
def test_a_key_is_not_in_the_pieces_of_text_or_reasoning(session, together, field, size):
    pieces = [SAYS[at : at + size] for at in range(0, len(SAYS), size)]
    together.plan = [in_pieces(*pieces, field=field)]
    deltas = list(session.stream(session.request("Hello", model="8x7b")))
    assert leaks(repr(deltas)) == []
    shown = [delta.text if field == "content" else delta.reasoning for delta in deltas]
    assert "".join(shown) == SHOWN


def test_a_key_s_bytes_may_come_in_any_network_chunks(session, together):
    raw = b"".join(in_pieces(SAYS).steps)
    together.plan = [Answer([raw[at : at + 1] for at in range(len(raw))])]
    assert session.ask("Hello", model="8x7b").text == SHOWN


@pytest.mark.parametrize("stream", [True, False])
def test_a_key_is_not_in_a_whole_answer(session, together, stream):
    together.plan = [whole(SAYS)]
    answer = session.ask("Hello", model="8x7b", stream=stream)
    assert answer.text == SHOWN
    assert leaks(*everything(answer)) == []


def test_a_key_escaped_in_json_is_found(session, together):
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in KEY)
    raw = b'data: {"choices": [{"delta": {"content": "%s"}}]}\n\n' % escaped.encode()
    together.plan = [Answer([raw, frames(chunk("", "stop"))])]
    assert session.ask("Hello", model="8x7b").text == "[key]"


def test_text_that_only_begins_like_a_key_is_shown(session, together):
    together.plan = [in_pieces("It ends in cana", "ry")]
    assert session.ask("Hello", model="8x7b").text == "It ends in canary"
    together.plan = [in_pieces("canary", "canary", KEY, "-key", "canary-")]
    assert session.ask("Hello", model="8x7b").text == "canarycanary[key]-keycanary-"


def test_an_answer_that_ends_within_the_key_shows_less_than_half_of_it(session, together):
    """Truncated at its token limit, or by a broken connection."""
    for end in range(1, len(KEY)):
        shown = KEY[:end] if end < len(KEY) / 2 else "[key]"
        together.plan = [in_pieces("It is ", KEY[:end])]
        assert session.ask("Hello", model="8x7b").text == f"It is {shown}"


@pytest.mark.parametrize("stream", [True, False])
def test_a_key_is_not_in_the_finish_reason(session, together, stream):
    frame = {"choices": [{"delta": {"content": "Hi"}, "finish_reason": KEY}]}
    body = json.dumps({"choices": [{"message": {"content": "Hi"}, "finish_reason": KEY}]})
    together.plan = [
        Answer([frames(frame)]) if stream else Answer([body.encode()], type="application/json")
    ]
    answer = session.ask("Hello", model="8x7b", stream=stream)
    assert answer.text == "Hi"
    assert leaks(*everything(answer)) == []


def test_a_key_in_any_other_field_of_a_frame_is_shown_nowhere(session, together, home):
    """Names, counts and headers that some servers fill freely."""
    frame = chunk("Hi", None, model=KEY, system_fingerprint=KEY, service_tier=KEY)
    frame["choices"][0] |= {"logprobs": {KEY: KEY}, "stop_reason": KEY}
    end = chunk("", "stop", usage={"prompt_tokens": KEY, "completion_tokens": 2, KEY: 1})
    head = {"x-request-id": KEY, "x-ratelimit-limit": KEY, "server": f"Bearer {KEY}"}
    together.plan = [Answer([frames(frame, end)], 200, head)]
    deltas = list(session.stream(session.request("Hello", model="8x7b")))
    assert "".join(delta.text for delta in deltas) == "Hi"
    assert leaks(repr(deltas)) == []
    assert leaks(*everything(session.ask("Hello", model="8x7b"))) == []
    session.close()
    assert leaks(*files(home)) == []


def with_probabilities(*texts):
    """Return the frames of an answer, each of one token with its probability."""
    made = [chunk(text, None) for text in texts]
    for frame, text in zip(made, texts, strict=True):
        top = [{"token": text, "logprob": -0.5}, {"token": KEY, "logprob": -1}]
        token = {"token": text, "logprob": -0.5, "top_logprobs": top}
        frame["choices"][0]["logprobs"] = {"content": [token]}
    return Answer([frames(*made, chunk("", "stop"))])


@pytest.mark.parametrize("size", [1, 3, 8, 100])
def test_a_key_is_not_in_the_tokens_with_probabilities(session, together, size):
    parts = [KEY[at : at + size] for at in range(0, len(KEY), size)]
    texts = ["It", " is ", *parts, " now", "!"]
    together.plan = [with_probabilities(*texts)]
    answer = session.ask("Hello", model="8x7b", logprobs=True)
    assert answer.text == "It is [key] now!"
    assert [each.logprob for each in answer.logprobs] == [-0.5] * len(texts)
    spelled = "".join(each.token for each in answer.logprobs)
    assert spelled.startswith("It is ")
    assert len(spelled) < len("It is ") + 4
    tops = [other.token for each in answer.logprobs for other in each.top]
    assert leaks(spelled, repr(answer.logprobs), *tops) == []


def test_tokens_without_a_key_are_all_there_even_if_they_begin_one(session, together):
    texts = ["It", " is ", KEY[:3], KEY[1:3], "", " x"]
    together.plan = [with_probabilities(*texts)]
    answer = session.ask("Hello", model="8x7b", logprobs=True)
    assert [each.token for each in answer.logprobs] == texts


@pytest.mark.parametrize("echo", [BASIC, PASSWORD, f"{USER}:{PASSWORD}"])
def test_a_gateway_s_password_is_not_in_an_answer(session, together, monkeypatch, echo):
    url = together.url.replace("://", f"://{USER}:{PASSWORD}@")
    monkeypatch.setenv("TOGETHER_BASE_URL", url)
    together.plan = [in_pieces(*f"You sent {echo}.")]
    answer = session.ask("Hello", model="8x7b")
    assert leaks(*everything(answer)) == []
    assert "[key]" in answer.text


def test_keys_in_a_listing_are_not_in_the_catalog(session, together):
    entry = {"id": f"ours/{KEY}", "display_name": KEY, "type": KEY, "pricing": {"input": KEY}}
    together.plan = [Answer([json.dumps([entry]).encode()], type="application/json")]
    [row] = session.live_models("together")
    assert row.id == "ours/[key]"
    assert leaks(repr(session.catalog.models)) == []


def test_a_rotated_key_stays_secret(session, together, monkeypatch):
    together.plan = [whole("Hi"), whole(f"{KEY} and another-key-1")]
    session.ask("Hello", model="8x7b")
    monkeypatch.setenv("TOGETHER_API_KEY", "another-key-1")
    assert session.ask("Hello", model="8x7b").text == "[key] and [key]"


def test_a_key_with_the_beginning_of_another_is_hidden_too(session, together, monkeypatch):
    """Three keys, as after rotations that only added characters."""
    together.plan = [whole("Hi")]
    for more in ("", "-more", "-more-of-it"):
        monkeypatch.setenv("TOGETHER_API_KEY", KEY + more)
        session.ask("Hello", model="8x7b")
    together.plan = [refusal(500, {"error": f"no {KEY}-more-of-it, {KEY}-more, {KEY}!"})]
    with pytest.raises(Unavailable, match=r"no \[key\], \[key\], \[key\]!"):
        session.ask("Hello", model="8x7b")
    together.plan = [in_pieces(*f"{KEY}-more-of-it, {KEY}-more, {KEY}-mo, {KEY}-more-o.")]
    answer = session.ask("Hello", model="8x7b")
    assert answer.text == "[key], [key], [key], [key]."


@pytest.mark.parametrize("key", ["a", "abc", "e"])
def test_a_short_key_does_not_change_ordinary_text(session, together, monkeypatch, key):
    """Local servers accept any word as a key. Such a word is not a secret."""
    monkeypatch.setenv("TOGETHER_API_KEY", key)
    text = "abc: a cab, an eel"
    together.plan = [in_pieces(*text)]
    assert session.ask("Hello", model="8x7b").text == text
    together.plan = [refusal(500, {"error": text})]
    with pytest.raises(Unavailable, match=text):
        session.ask("Hello", model="8x7b")


WORDS = ["test", "EMPTY", "none", "dummy", "ollama", "not-needed", "lm-studio", "password", "key1"]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("field", ["content", "reasoning"])
def test_a_word_used_as_a_key_stays_in_an_answer(session, together, monkeypatch, word, field):
    """The usual setup of vLLM, LM Studio and Ollama."""
    monkeypatch.setenv("TOGETHER_API_KEY", word)
    text = f"This is a {word}, and {word}s are many."
    together.plan = [in_pieces(*text, field=field)]
    answer = session.ask("Hello", model="8x7b")
    assert (answer.text or answer.reasoning) == text


@pytest.mark.parametrize(
    ("user", "stays"),
    [("admin", "The admin left."), ("admin:password", "The password of admin, a password."),
     ("admin:pass%2Fword", "Pass the pass/word."), ("administrator:x", "An administrator.")],
)  # fmt: skip
def test_a_word_used_as_a_proxy_s_password_stays_in_an_answer(
    home, together, monkeypatch, user, stays
):
    monkeypatch.setenv("HTTPS_PROXY", f"http://{user}@127.0.0.1:9")
    together.plan = [in_pieces(*stays)]
    session = Session()
    assert session.ask("Hello", model="8x7b").text == stays
    session.close()


@pytest.mark.parametrize(
    "key", ["hb3dkfg1", "1bqdefgh", "qhfkzmbtwrcydjlp", "904817263554", "a-b_c-d.e5"]
)
def test_a_value_that_looks_like_a_secret_is_redacted_from_an_answer(
    session, together, monkeypatch, key
):
    monkeypatch.setenv("TOGETHER_API_KEY", key)
    together.plan = [in_pieces(*f"You sent {key}.")]
    assert session.ask("Hello", model="8x7b").text == "You sent [key]."


def test_a_key_that_is_a_word_changes_no_models_name_and_no_finish_reason(
    session, together, monkeypatch
):
    """A listed model is used by its listed name."""
    monkeypatch.setenv("TOGETHER_API_KEY", "stop")
    together.plan = [Answer([b'[{"id": "stop-gap"}]'], type="application/json")]
    assert [row.id for row in session.live_models("together")] == ["stop-gap"]
    together.plan = [Answer([frames(chunk("Hi"), chunk("", "stop"))])]
    assert session.ask("Hello", model="8x7b").finish == "stop"


def test_an_error_stays_an_error_if_the_key_is_a_protocol_s_word(session, together, monkeypatch):
    monkeypatch.setenv("TOGETHER_API_KEY", "error")
    together.plan = [Answer([frames({"error": {"message": "why"}})])]
    with pytest.raises(StreamBroken, match="why"):
        session.ask("Hello", model="8x7b")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PASSWORD_STORE_DIR=/home/jovyan/.password-store", "See /home/jovyan/.local/share."),
        ("DB_PASSWORD_FILE=/run/secrets/db_password", "Mount it at /run/secrets/db_user."),
        ("APP_SECRET_NAME=billing-database-login", "The billing-database is down."),
    ],
)
def test_the_location_of_a_secret_is_not_a_secret(session, together, monkeypatch, variable, text):
    monkeypatch.setenv(*variable.split("="))
    together.plan = [in_pieces(*text)]
    assert session.ask("Hello", model="8x7b").text == text


@pytest.mark.parametrize("unseen", ["\0", "\x1b[0m", "\x08", "\x9b", "\r"])
def test_characters_dropped_before_display_do_not_hide_a_key(session, together, unseen):
    together.plan = [in_pieces(*f"It is {unseen.join(KEY)}.")]
    answer = session.ask("Hello", model="8x7b")
    assert leaks(*everything(answer)) == []
    assert "[key]" in answer.text


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-32"])
def test_a_page_in_a_wider_coding_shows_no_key(session, together, coding):
    together.plan = [refusal(500, f"Bad key {KEY}".encode(coding))]
    with pytest.raises(Unavailable) as caught:
        session.ask("Hello", model="8x7b")
    assert "[key]" in caught.value.message
    assert leaks("".join(filter(str.isprintable, caught.value.message.replace(" ", "")))) == []
