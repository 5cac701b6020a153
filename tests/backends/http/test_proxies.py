"""Proxies from the usual environment variables: requests, secrets and stops."""

from __future__ import annotations

import socket
import ssl
import sys

import pytest
import trustme
from canary import BASIC, PASSWORD, USER, leaks
from patience import stopped_after
from proxies import Proxy
from server import Answer, together, whole

from mixmagic.errors import BadArguments, MixmagicError, Stopped, Unavailable
from mixmagic.sessions import Session

KEY = "canary-key-4711"
CREDENTIALS = f"{USER}:{PASSWORD}"


@pytest.fixture(autouse=True)
def trusted(surroundings, monkeypatch, authority):
    """The private authority is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))


@pytest.fixture
def plain(server, monkeypatch):
    """A provider that is reached by http."""
    monkeypatch.setenv("TOGETHER_BASE_URL", server.url)
    server.plan = [Answer(together("Hi"))]
    return server


@pytest.fixture
def start():
    """Start proxies."""
    proxies = []

    def start(**options) -> Proxy:
        proxies.append(Proxy(**options))
        return proxies[-1]

    yield start
    for proxy in proxies:
        proxy.close()


def fails(session: Session, kind: type[MixmagicError]) -> MixmagicError:
    with pytest.raises(MixmagicError) as caught:
        session.ask("Hello", model="8x7b")
    assert type(caught.value) is kind, caught.value
    lines = caught.value._render_traceback_()
    assert len(lines) == 2
    assert leaks(*lines) == []
    return caught.value


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("credentials", ["", CREDENTIALS, f"{USER}%40home:{PASSWORD}%2F%20x"])
def test_https_goes_through_connect_and_the_proxy_sees_no_key(  # noqa: PLR0917  # fixtures
    session, secure, start, monkeypatch, name, credentials
):
    proxy = start()
    monkeypatch.setenv(name, proxy.url(credentials))
    assert session.ask("Hello", model="8x7b").text == "Hi"
    assert session.ask("Hello", model="8x7b").text == "Hi"
    [asked] = proxy.received
    assert asked.method == "CONNECT"
    assert secure.url == f"https://{asked.target}/v1"
    sent = credentials.replace("%40", "@").replace("%2F", "/").replace("%20", " ")
    assert asked.credentials == sent
    assert KEY.encode() not in bytes(asked.tunnelled), "all of it is encrypted"
    assert [each.headers["authorization"] for each in secure.received] == [f"Bearer {KEY}"] * 2
    assert "proxy-authorization" not in secure.received[0].headers


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_http_goes_through_the_proxy_as_a_whole_url(session, plain, start, monkeypatch, name):
    proxy = start()
    monkeypatch.setenv(name, proxy.url(CREDENTIALS))
    assert session.ask("Hello", model="8x7b").text == "Hi"
    [asked] = proxy.received
    assert (asked.method, asked.target) == ("POST", f"{plain.url}/chat/completions")
    assert asked.credentials == CREDENTIALS
    assert "proxy-authorization" not in plain.received[0].headers


def test_listings_and_the_doctor_go_the_same_way(session, secure, start, monkeypatch):
    proxy = start()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url())
    secure.plan = [Answer([b'[{"id": "a"}]'], type="application/json")]
    assert [row.id for row in session.live_models("together")] == ["a"]
    assert [each.method for each in proxy.received] == ["CONNECT"]


@pytest.mark.parametrize("value", ["127.0.0.1", "example.com,127.0.0.1", "*"])
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_hosts_in_no_proxy_are_reached_directly(  # noqa: PLR0917  # fixtures
    session, secure, start, monkeypatch, name, value
):
    proxy = start()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url())
    monkeypatch.setenv(name, value)
    assert session.ask("Hello", model="8x7b").text == "Hi"
    assert proxy.received == []


def test_a_proxy_without_a_scheme_is_an_http_proxy(session, secure, start, monkeypatch):
    proxy = start()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url(CREDENTIALS).removeprefix("http://"))
    assert session.ask("Hello", model="8x7b").text == "Hi"
    assert proxy.received[0].credentials == CREDENTIALS


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_refuses_a_connect_is_reported_without_its_echo(
    session, secure, start, monkeypatch, status
):
    proxy = start(refuse=status, echo=True)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url(CREDENTIALS))
    error = fails(session, Unavailable)
    assert str(status) in error.message
    assert "proxy" in error.hint
    assert secure.received == [], "nothing was sent"
    assert not error.sent
    assert proxy.received[0].credentials == CREDENTIALS


@pytest.mark.parametrize("status", [407, 502])
def test_an_echo_of_a_proxy_that_refuses_plain_http_is_not_shown(
    session, plain, start, monkeypatch, status
):
    proxy = start(refuse=status, echo=True)
    monkeypatch.setenv("HTTP_PROXY", proxy.url(CREDENTIALS))
    with pytest.raises(MixmagicError, match=str(status)) as caught:
        session.ask("Hello", model="8x7b")
    assert leaks(*caught.value._render_traceback_()) == []
    assert plain.received == []


def test_an_unreachable_proxy_is_a_connection_error_and_is_retried(secure, monkeypatch, home):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://{CREDENTIALS}@127.0.0.1:{port}")
    monkeypatch.setenv("MIXMAGIC_MAX_RETRIES", "1")
    session = Session()
    request = session.request("Hello", model="8x7b")
    said = []
    with pytest.raises(Unavailable) as caught:
        said.extend(session.stream(request))
    assert any("next try" in delta.progress for delta in said)
    assert leaks(*caught.value._render_traceback_()) == []
    assert "proxy" in caught.value.hint
    assert secure.received == []
    session.close()


def test_a_proxy_that_comes_back_serves_the_retry(secure, start, monkeypatch):
    proxy = start(refuse=502)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url())
    monkeypatch.setenv("MIXMAGIC_MAX_RETRIES", "3")
    session = Session()
    for delta in session.stream(session.request("Hello", model="8x7b")):
        if delta.progress:
            proxy._refuse = 0
    assert len(proxy.received) == 2
    assert len(secure.received) == 1
    session.close()


@pytest.mark.parametrize(
    "url",
    [f"ftp://{CREDENTIALS}@127.0.0.1:9", f"http://{CREDENTIALS}@127.0.0.1:port",
     f"http://{USER}:{PASSWORD}/x@127.0.0.1:9", f"socks5://{CREDENTIALS}@127.0.0.1:9",
     f"http://{CREDENTIALS}\x01@127.0.0.1:9"],
)  # fmt: skip
def test_an_invalid_proxy_setting_is_an_error_of_two_lines(session, secure, monkeypatch, url):
    if url.startswith("socks5"):
        monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("HTTPS_PROXY", url)
    fails(session, BadArguments)
    assert secure.received == []


def test_a_proxy_setting_that_is_not_a_url_is_not_blamed_on_the_provider(
    session, secure, monkeypatch
):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:port")
    error = fails(session, BadArguments)
    assert "proxy" in error.message
    assert "HTTPS_PROXY" in error.hint


def test_a_stop_while_the_proxy_is_silent(session, secure, start, monkeypatch):
    proxy = start(hang=True)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url(CREDENTIALS))
    assert stopped_after(session, lambda: proxy.received) < 500
    secure.wait(lambda: proxy.received[0].closed_at)
    assert secure.received == []


def test_a_stop_while_the_answer_comes_through_the_proxy(session, secure, start, monkeypatch):
    proxy = start()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url())
    secure.plan = [Answer([together("Hi")[0], "hang"])]
    request = session.request("Hello", model="8x7b")

    def call() -> None:
        for delta in session.stream(request):
            if delta.text:
                request.control.stop.set()

    with pytest.raises(Stopped):
        call()
    secure.wait(lambda: proxy.received[0].closed_at)
    secure.plan = [whole("Hi")]
    assert session.ask("Hello", model="8x7b").text == "Hi"


def test_a_proxy_that_speaks_tls_itself_is_checked_like_a_provider(
    session, secure, start, authority, monkeypatch
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    proxy = start(tls=context)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url(CREDENTIALS))
    assert session.ask("Hello", model="8x7b").text == "Hi"
    assert proxy.received[0].credentials == CREDENTIALS
    assert BASIC not in repr(secure.received)


def test_the_ca_file_of_the_settings_is_used_for_a_tls_proxy(
    session, secure, start, authority, monkeypatch
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    monkeypatch.setenv("HTTPS_PROXY", start(tls=context).url())
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("MIXMAGIC_CA_FILE", str(authority.pem))
    assert session.ask("Hello", model="8x7b").text == "Hi"


def test_a_proxy_s_certificate_by_an_unknown_authority_is_refused(
    session, secure, start, monkeypatch
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    proxy = start(tls=context)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url(CREDENTIALS))
    assert "not trusted" in fails(session, Unavailable).message
    assert proxy.received == [], "not even its credentials were sent"


SEEN = "the key travels unencrypted through the proxy 127.0.0.1"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    "exempt",
    ["", "example.com", "localhost", "127.0.0.1", "*", "127.0.0.1:1", "127.0.0.1:{port}",
     "10.0.0.0/8", "127.0.0.0/8", "http://127.0.0.1", "https://127.0.0.1", ".0.0.1",
     "example.com, 127.0.0.1"],
)  # fmt: skip
def test_a_warning_names_a_proxy_only_if_it_can_read_the_key(  # noqa: PLR0917  # fixtures
    session, plain, start, monkeypatch, name, exempt
):
    """By httpx's rules: the note matches what the proxy and the server received."""
    proxy = start()
    monkeypatch.setenv(name, proxy.url(CREDENTIALS))
    monkeypatch.setenv("NO_PROXY", exempt.format(port=plain.url.rpartition(":")[2][:-3]))
    answer = session.ask("Hello", model="8x7b")
    assert plain.received[0].headers["authorization"] == f"Bearer {KEY}"
    assert answer.notes == ((SEEN,) if proxy.received else ())
    assert [each.headers["authorization"] for each in proxy.received] in ([], [f"Bearer {KEY}"])


def test_a_proxy_is_named_until_no_proxy_exempts_the_server(session, plain, start, monkeypatch):
    proxy = start()
    monkeypatch.setenv("HTTP_PROXY", proxy.url())
    assert session.ask("Hello", model="8x7b").notes == (SEEN,)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert Session().ask("Hello", model="8x7b").notes == ()
    assert len(proxy.received) == 1


def test_a_proxy_for_other_calls_is_not_named(session, plain, start, monkeypatch):
    proxy = start()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url())
    assert session.ask("Hello", model="8x7b").notes == ()
    assert proxy.received == []


def test_a_proxy_that_only_passes_on_encrypted_data_is_not_named(
    session, secure, start, monkeypatch
):
    proxy = start()
    for name in ("HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url())
    assert session.ask("Hello", model="8x7b").notes == ()
    assert [each.method for each in proxy.received] == ["CONNECT"]


def test_a_tls_proxy_that_can_read_the_key_is_named(session, plain, start, monkeypatch, authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    proxy = start(tls=context)
    monkeypatch.setenv("HTTP_PROXY", proxy.url())
    assert session.ask("Hello", model="8x7b").notes == (SEEN,)
    assert proxy.received[0].headers["authorization"] == f"Bearer {KEY}"


def test_the_named_proxy_is_the_one_that_connections_use(session, plain, start, monkeypatch):
    """The environment may change later: it is read at the first call."""
    proxy = start()

    def sent() -> int:
        return sum(asked.passed.count(b"POST http://") for asked in proxy.received)

    monkeypatch.setenv("HTTP_PROXY", proxy.url())
    assert session.ask("Hello", model="8x7b").notes == (SEEN,)
    monkeypatch.delenv("HTTP_PROXY")
    assert session.ask("Hello", model="8x7b").notes == (SEEN,)
    assert sent() == 2
    session.close()
    assert session.ask("Hello", model="8x7b").notes == ()
    assert sent() == 2


@pytest.mark.parametrize("key", ["not-needed", "EMPTY", ""])
def test_a_placeholder_key_causes_no_warning(session, plain, start, monkeypatch, key):
    proxy = start()
    monkeypatch.setenv("HTTP_PROXY", proxy.url())
    monkeypatch.setenv("OPENAI_BASE_URL", plain.url)
    monkeypatch.setenv("OPENAI_API_KEY", key)
    assert session.ask("Hello", model="openai:m").notes == ()
    assert len(proxy.received) == 1
