"""Headers of a catalog file: variables in them, and their redaction."""

from __future__ import annotations

import traceback
from contextlib import closing

import pytest
from server import Answer, refusal
from server import together as pieces

from mixmagic.errors import BadArguments, MissingKey, MixmagicError
from mixmagic.sessions import Session

KEY, ORGANIZATION = "canary-key-0123456789", "canary-org-9876543210"


@pytest.fixture
def ask(server, home, monkeypatch):
    """Ask a provider whose catalog file has these lines; return the received request."""
    folder = home / "config" / "catalog"
    folder.mkdir(parents=True)
    for name in ("ACME_KEY", "ACME_ORG", "ACME_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def ask(lines: str, *answers, live: bool = False):
        (folder / "acme.toml").write_text(f'name = "acme"\nbase_url = "{server.url}"\n{lines}\n')
        server.plan = list(answers) or [Answer(pieces("ok"))]
        with closing(Session()) as session:
            if live:
                session.live_models("acme")
            else:
                assert session.ask("Hi", model="acme:m").text == "ok"
        return server.received[-1].headers

    return ask


def shown(error: MixmagicError) -> str:
    """Return all texts of an error that may be shown."""
    return "".join([*error._render_traceback_(), repr(error), *traceback.format_exception(error)])


@pytest.mark.parametrize(
    ("line", "header"),
    [
        ('key_header = "api-key"', ("api-key", KEY)),
        ('key_header = "Ocp-Apim-Subscription-Key"', ("ocp-apim-subscription-key", KEY)),
        ('key_header = "X-Goog-Api-Key"', ("x-goog-api-key", KEY)),
        ('key_header = "Authorization"', ("authorization", f"Bearer {KEY}")),
        ("", ("authorization", f"Bearer {KEY}")),
    ],
)
@pytest.mark.parametrize("live", [False, True])
def test_the_key_goes_into_the_header_that_is_named(ask, monkeypatch, line, header, live):
    name, value = header
    monkeypatch.setenv("ACME_KEY", KEY)
    answers = [refusal(200, [])] if live else []
    received = ask(f'key_env = "ACME_KEY"\n{line}', *answers, live=live)
    assert received[name] == value
    assert ("authorization" in received) == (name == "authorization")


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("$ACME_ORG", ORGANIZATION),
        ("${ACME_ORG}", ORGANIZATION),
        ("Basic ${ACME_ORG}==", f"Basic {ORGANIZATION}=="),
        ("$ACME_ORG/$ACME_ORG", f"{ORGANIZATION}/{ORGANIZATION}"),
        ("https://example.com/notebook", "https://example.com/notebook"),
        ("costs 5$ a day", "costs 5$ a day"),
    ],
)
def test_a_variable_stands_for_its_value(ask, monkeypatch, text, sent):
    monkeypatch.setenv("ACME_ORG", ORGANIZATION)
    assert ask(f'headers = {{ "X-Org" = "{text}" }}')["x-org"] == sent


def test_a_variable_of_the_file_beside_the_notebook_counts(ask, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"ACME_ORG={ORGANIZATION}\n")
    assert ask('headers = { "X-Org" = "$ACME_ORG" }')["x-org"] == ORGANIZATION


def test_key_and_headers_go_together(ask, monkeypatch):
    monkeypatch.setenv("ACME_KEY", KEY)
    monkeypatch.setenv("ACME_TOKEN", ORGANIZATION)
    received = ask(
        'key_env = "ACME_KEY"\n[headers]\n"HTTP-Referer" = "https://example.com"\n'
        '"x-portkey-api-key" = "$ACME_TOKEN"'
    )
    assert received["authorization"] == f"Bearer {KEY}"
    assert received["http-referer"] == "https://example.com"
    assert received["x-portkey-api-key"] == ORGANIZATION


def test_the_file_s_authorization_header_overrides_the_key_s(ask, monkeypatch):
    monkeypatch.setenv("ACME_KEY", KEY)
    received = ask('key_env = "ACME_KEY"\nheaders = { Authorization = "Api-Key $ACME_KEY" }')
    assert received["authorization"] == f"Api-Key {KEY}"


@pytest.mark.parametrize("text", ["$ACME_ORG", "${ACME_ORG}", "Basic $ACME_ORG", "a $ACME_ORG b"])
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_variable_that_is_not_set_is_an_error_in_two_lines(ask, server, monkeypatch, text, value):
    if value is not None:
        monkeypatch.setenv("ACME_ORG", value)
    with pytest.raises(MissingKey) as caught:
        ask(f'headers = {{ "X-Org" = "{text}" }}')
    assert "ACME_ORG" in caught.value.message
    assert "X-Org" in caught.value.message
    assert "ACME_ORG" in caught.value.hint
    assert len(caught.value._render_traceback_()) == 2
    assert not server.received


@pytest.mark.parametrize("value", ["a\nb", "gr\u00fc\u00df", "a\x00b"[:1] + "\x7f"])
def test_a_value_that_is_not_valid_in_a_header_is_an_error(ask, server, monkeypatch, value):
    monkeypatch.setenv("ACME_ORG", f"{ORGANIZATION}{value}")
    with pytest.raises(MissingKey, match="ACME_ORG") as caught:
        ask('headers = { "X-Org" = "$ACME_ORG" }')
    assert ORGANIZATION not in shown(caught.value)
    assert not server.received


@pytest.mark.parametrize(
    "headers",
    [
        '"X-Org" = "$ACME_ORG"',
        'Authorization = "Basic ${ACME_ORG}"',
        f'"X-Acme-Api-Key" = "{ORGANIZATION}"',
        f'Authorization = "Basic {ORGANIZATION}"',
        f'Cookie = "{ORGANIZATION}"',
    ],
)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 503])
def test_a_secret_that_a_server_echoes_is_not_shown(ask, monkeypatch, headers, status):
    monkeypatch.setenv("ACME_ORG", ORGANIZATION)
    echo = refusal(status, {"error": {"message": f"You sent {ORGANIZATION}, which is wrong"}})
    with pytest.raises(MixmagicError) as caught:
        ask(f"headers = {{ {headers} }}", echo)
    assert "which is wrong" in caught.value.message
    assert ORGANIZATION not in shown(caught.value)
    assert ORGANIZATION not in str(caught.value.body)


def test_a_variable_of_a_header_is_a_secret_before_any_call(ask, monkeypatch):
    ask("key_required = false")
    monkeypatch.setenv("ACME_ORG", ORGANIZATION)
    with closing(Session()) as session:
        assert session.backends.access.redact(f"It is {ORGANIZATION}") == f"It is {ORGANIZATION}"
    ask('headers = { "X-Org" = "$ACME_ORG" }')
    with closing(Session()) as session:
        assert session.backends.access.redact(f"It is {ORGANIZATION}") == "It is [key]"


def test_a_secret_in_an_answer_is_not_shown(ask, monkeypatch):
    monkeypatch.setenv("ACME_ORG", ORGANIZATION)
    with pytest.raises(AssertionError) as caught:  # the text is another one
        ask('headers = { "X-Org" = "$ACME_ORG" }', Answer(pieces("It is ", ORGANIZATION)))
    assert ORGANIZATION not in str(caught.value)
    assert "[key]" in str(caught.value)


@pytest.mark.parametrize(
    "lines",
    [
        'headers = { "Host" = "example.com" }',
        'headers = { "Content-Length" = "1" }',
        'headers = { "Transfer-Encoding" = "chunked" }',
        'headers = { "two words" = "x" }',
        'headers = { "X" = "a\\r\\nY: b" }',
        'headers = { "X" = "" }',
        'headers = { "X" = 5 }',
        'headers = { "X" = "a", "x" = "b" }',
        'headers = "X: a"',
        'key_header = "a b"',
        'key_header = "Host"',
        "key_header = 5",
    ],
)
def test_invalid_headers_are_refused_with_the_file_s_name(ask, lines):
    with pytest.raises(BadArguments, match=r"acme\.toml"):
        ask(lines)


def test_a_provider_whose_variables_are_set_is_set_up(ask, monkeypatch):
    lines = 'headers = { "X-Org" = "$ACME_ORG" }\n[[models]]\nid = "m"\naliases = ["mine"]'
    monkeypatch.setenv("ACME_ORG", ORGANIZATION)
    ask(lines)
    with closing(Session()) as session:
        provider = session.catalog.providers["acme"]
        assert session.available(provider)
        monkeypatch.delenv("ACME_ORG")
        assert not session.available(provider)
