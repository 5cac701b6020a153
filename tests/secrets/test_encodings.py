"""A key that comes back in another encoding, or in part, is shown nowhere."""

from __future__ import annotations

import base64
import json

import pytest
from canary import BASIC, ENCODINGS, KEY, PASSWORD, USER, everything, files, in_pieces, leaks
from server import Answer, chunk, frames, refusal, usage, whole

from mixmagic.errors import MixmagicError

ECHOES = {name: f"You sent {encode(KEY)}, can I?" for name, encode in ENCODINGS.items()}


def cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize("name", ECHOES)
def test_not_in_an_answer_in_pieces_of_any_size(session, together, name):
    text = ECHOES[name]
    for size, field in ((1, "content"), (3, "reasoning"), (8, "content"), (len(text), "content")):
        together.plan = [in_pieces(*cut(text, size), field=field)]
        answer = session.ask("Hello", model="8x7b")
        assert leaks(*everything(answer)) == []
        shown = answer.text or answer.reasoning
        assert "[key]" in shown
        assert shown.startswith("You sent ")
        assert shown.endswith(", can I?")


@pytest.mark.parametrize("name", ECHOES)
def test_not_in_a_whole_answer_or_in_several(session, together, name):
    together.plan = [whole(ECHOES[name])]
    answer = session.ask("Hello", model="8x7b", stream=False)
    assert leaks(*everything(answer)) == []
    choices = [
        {
            "index": at,
            "message": {"role": "assistant", "content": ECHOES[name]},
            "finish_reason": "stop",
        }
        for at in range(2)
    ]
    body = json.dumps({"choices": choices, **usage(9, 9)}).encode()
    together.plan = [Answer([body], type="application/json")]
    answer = session.ask("Hello", model="8x7b", stream=False, n=2)
    assert leaks(*everything(answer), *map(repr, answer.others)) == []


def refusals(text: str) -> dict[str, Answer]:
    """Bodies with a text in each field that error messages are read from."""
    hi = frames(chunk("Hi"), done=False)
    return {
        "401": refusal(401, {"error": {"message": text}}),
        "plain": refusal(500, text.encode()),
        "list": refusal(403, {"detail": [{"msg": text, text: 1}]}),
        "code": refusal(429, {"error": {"message": "no", "code": text, "type": text}}),
        "redirect": Answer([b""], 307, {"location": f"http://127.0.0.1:9/?k={text}".strip()}),
        "stream": Answer([hi, frames({"error": {"message": text, "code": text}})]),
        "event": Answer([hi, b"event: error\ndata: %s\n\n" % json.dumps(text).encode()]),
        "no JSON": Answer([hi, f"data: {text}\n\n".encode()]),
        "finish": Answer([frames(chunk("Hi"), chunk("", text))]),
    }


@pytest.mark.parametrize("name", ECHOES)
def test_not_in_an_error_or_its_traceback(session, together, home, name):
    for place, answer in refusals(ECHOES[name]).items():
        if place == "redirect" and not ECHOES[name].isascii():
            continue  # no header is sent in it
        together.plan = [answer]
        try:
            shown = everything(session.ask("Hello", model="8x7b"))
        except MixmagicError as error:
            shown = [
                *error._render_traceback_(),
                repr(error),
                repr(vars(error)),
                str(error.partial),
            ]
        assert leaks(*shown) == [], place
    session.close()
    assert any(b"ledger.db" in each for each in files(home))
    assert leaks(*files(home)) == []


@pytest.mark.parametrize("name", ECHOES)
def test_not_in_a_listing_or_in_the_logs(session, together, caplog, name):
    text = ECHOES[name]
    entry = {"id": f"ours/{text}", "display_name": text, "type": [text], text: text}
    head = {"x-echo": text} if text.isascii() else {}
    together.plan = [Answer([json.dumps([entry]).encode()], 200, head, "application/json")]
    with caplog.at_level("DEBUG"):
        session.live_models("together")
    assert leaks(repr(session.catalog.models), caplog.text) == []
    assert "x-echo" in caplog.text or not head


@pytest.mark.parametrize("name", ECHOES)
def test_a_gateway_s_password_is_found_like_a_key(session, together, monkeypatch, name):
    monkeypatch.setenv("TOGETHER_BASE_URL", together.url.replace("//", f"//{USER}:{PASSWORD}@"))
    for echo in (ENCODINGS[name](PASSWORD), ENCODINGS[name](BASIC)):
        together.plan = [in_pieces(*cut(f"You sent {echo}.", 3))]
        answer = session.ask("Hello", model="8x7b")
        assert "[key]" in answer.text
        assert leaks(*everything(answer)) == []
        middle = len(echo) // 2
        assert echo[middle - 4 : middle + 4] not in answer.text


def test_the_rest_of_a_longer_base64_text_is_kept(session, together):
    """`{"user": …, "key": …}` in an error, as some gateways send it."""
    sent = json.dumps({"user": "me", "key": KEY, "n": 1}).encode()
    together.plan = [in_pieces(*cut(base64.b64encode(sent).decode(), 4))]
    head, _, tail = session.ask("Hello", model="8x7b").text.partition("[key]")
    assert base64.b64decode(head[: len(head) // 4 * 4]).startswith(b'{"user": "me", "key": ')
    assert base64.b64decode(tail[len(tail) % 4 :]).endswith(b'"n": 1}')


def test_a_key_that_the_provider_has_masked_is_unchanged(session, together):
    for mask in (f"{KEY[:4]}…{KEY[-4:]}", f"{KEY[:6]}***", f"***{KEY[-5:]}"):
        together.plan = [in_pieces(*cut(f"You sent {mask}.", 2))]
        assert session.ask("Hello", model="8x7b").text == f"You sent {mask}."
