"""The URLs of a provider's API, and their redaction."""

from __future__ import annotations

import pytest
from server import Answer, refusal
from server import together as pieces

from mixmagic.errors import MixmagicError, ProviderError, UnknownModel

SECRET = "canary-0123456789"
VERSION = "api-version=2024-10-21"
CHAT = "chat/completions"


@pytest.fixture
def at(server, monkeypatch):
    """Set the URL to a path of the server's."""

    def at(path: str, variable: str = "OPENAI_BASE_URL"):
        monkeypatch.setenv(variable, server.url.removesuffix("/v1") + path)
        server.plan = [Answer(pieces("ok"))]
        return server

    monkeypatch.setenv("OPENAI_API_KEY", "canary-key-4711")
    return at


def asked(session, server, model="openai:m") -> list[str]:
    """Return the paths that are requested for one answer."""
    before = len(server.received)
    assert session.ask("Hi", model=model).text == "ok"
    return [each.path for each in server.received[before:]]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1", f"/v1/{CHAT}"),
        ("/v1/", f"/v1/{CHAT}"),
        ("", f"/v1/{CHAT}"),
        ("/", f"/v1/{CHAT}"),
        ("/inference", f"/inference/{CHAT}"),
        ("/serving-endpoints", f"/serving-endpoints/{CHAT}"),
        ("/serving-endpoints/", f"/serving-endpoints/{CHAT}"),
        ("/gateway/acme/openai", f"/gateway/acme/openai/{CHAT}"),
        ("/openai/deployments/g", f"/openai/deployments/g/{CHAT}"),
        (f"/openai/deployments/g?{VERSION}", f"/openai/deployments/g/{CHAT}?{VERSION}"),
        (f"/openai/deployments/g/?{VERSION}", f"/openai/deployments/g/{CHAT}?{VERSION}"),
        (f"/v1?{VERSION}", f"/v1/{CHAT}?{VERSION}"),
        (f"/v1?{VERSION}&x=a/b", f"/v1/{CHAT}?{VERSION}&x=a/b"),
        (f"?{VERSION}", f"/v1/{CHAT}?{VERSION}"),
        (f"/v1/{CHAT}", f"/v1/{CHAT}"),
        (f"/v1/{CHAT}/", f"/v1/{CHAT}"),
        (f"/inference/{CHAT}", f"/inference/{CHAT}"),
        (f"/openai/deployments/g/{CHAT}?{VERSION}", f"/openai/deployments/g/{CHAT}?{VERSION}"),
        ("/v1/completions", f"/v1/{CHAT}"),
        ("/v1/models", f"/v1/{CHAT}"),
        (f"/{CHAT}", f"/{CHAT}"),
        ("/v1#top", f"/v1/{CHAT}"),
    ],
)
def test_a_path_is_used_as_is_and_a_query_is_kept(session, at, path, expected):
    assert asked(session, at(path), "openai:m") == [expected]


@pytest.mark.parametrize("path", ["/inference", f"/x?{VERSION}", f"/v1/{CHAT}"])
def test_the_catalog_s_url_is_treated_like_the_variable_s(session, at, home, path):
    server = at("")
    folder = home / "config" / "catalog"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(
        f'name = "mine"\nbase_url = "{server.url.removesuffix("/v1")}{path}"\nkey_required = false'
    )
    head, _, query = path.partition("?")
    expected = f"{head.removesuffix(f'/{CHAT}')}/{CHAT}{f'?{query}' * bool(query)}"
    assert asked(session, server, "mine:m") == [expected]


@pytest.mark.parametrize("path", ["", f"?{VERSION}"])
def test_a_bare_host_may_have_its_api_at_its_root(session, at, path):
    """Perplexity's is there."""
    server = at(path)

    def reply(received):
        return Answer(pieces("ok")) if received.path[:4] != "/v1/" else refusal(404, b"Not Found")

    server.plan = [reply]
    assert asked(session, server) == [f"/v1/{CHAT}{path}", f"/{CHAT}{path}"]
    assert asked(session, server) == [f"/{CHAT}{path}"]  # it is known by now
    rows = session.ledger.database.rows("SELECT * FROM calls")
    assert [row["status"] for row in rows] == ["ok", "ok"]


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "The model `m` does not exist", "code": "model_not_found"}},
        {"error": "model 'm' not found, try pulling it first"},
        {"error": {"message": "No deployment m", "code": 404}},
    ],
)
def test_an_unknown_model_is_not_looked_for_at_another_url(session, at, body):
    server = at("")
    server.plan = [refusal(404, body)]
    with pytest.raises(UnknownModel):
        session.ask("Hi", model="openai:m")
    assert len(server.received) == 1


@pytest.mark.parametrize("path", ["", "/", "/v1", "/inference", f"/v1?{VERSION}"])
@pytest.mark.parametrize("body", [b"", b"<html>", {"detail": "Not Found"}, b"404 page not found"])
def test_a_404_names_the_url(session, at, path, body):
    server = at(path)
    server.plan = [refusal(404, body)]
    with pytest.raises(UnknownModel) as caught:
        session.ask("Hi", model="openai:m")
    first = server.received[0].path
    assert f"{server.url.removesuffix('/v1')}{first}" in caught.value.message
    assert "OPENAI_BASE_URL" in caught.value.hint


@pytest.mark.parametrize(
    ("user", "query"),
    [
        ("", f"?{VERSION}&key={SECRET}"),
        ("", f"?subscription-key={SECRET}"),
        ("", f"?code={SECRET}"),
        ("", f"?team={SECRET}"),
        ("", f"?{SECRET}"),
        (f"me:{SECRET}@", ""),
        (f"{SECRET}@", f"?{VERSION}"),
    ],
)
def test_a_404_names_no_secret_of_the_url(session, server, monkeypatch, user, query):
    host = server.url.removesuffix("/v1").replace("://", f"://{user}")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{host}/path{query}")
    server.plan = [refusal(404, b"")]
    with pytest.raises(UnknownModel) as caught:
        session.ask("Hi", model="openai:m")
    assert f"/path/{CHAT}" in caught.value.message
    assert SECRET not in f"{caught.value.message} {caught.value.hint} {caught.value.body}"
    if VERSION in query:
        assert VERSION in caught.value.message


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/inference", "/inference/models"),
        (f"/openai?{VERSION}", f"/openai/models?{VERSION}"),
        (f"/v1/{CHAT}", "/v1/models"),
        ("/v1/models", "/v1/models"),
        ("", "/v1/models"),
    ],
)
def test_models_are_listed_at_the_same_base_url(session, at, path, expected):
    server = at(path)
    server.plan = [refusal(200, {"data": [{"id": "m"}]})]
    assert [row.id for row in session.live_models("openai")] == ["m"]
    assert [each.path for each in server.received] == [expected]


def test_models_of_a_bare_host_may_be_listed_at_its_root(session, at):
    server = at("")
    server.plan = [refusal(404, b""), refusal(200, ["m"])]
    assert [row.id for row in session.live_models("openai")] == ["m"]
    assert [each.path for each in server.received] == ["/v1/models", "/models"]


def test_the_error_of_a_missing_list_names_the_url(session, at):
    server = at("/inference")
    server.plan = [refusal(404, b"")]
    with pytest.raises(ProviderError) as caught:
        session.live_models("openai")
    assert "/inference/models" in caught.value.message


def test_if_both_urls_are_refused_the_first_error_is_raised(session, at):
    server = at("")
    server.plan = [refusal(404, b"<title>nothing here</title>"), refusal(405, b"")]
    with pytest.raises(MixmagicError, match=f"/v1/{CHAT}"):
        session.ask("Hi", model="openai:m")
