"""TLS: trusted and untrusted certificates, and a handshake that hangs."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import subprocess
import threading
import time

import pytest
import trustme
from patience import soon, stopped_after
from programs import required
from server import Answer, Server, together

from mixmagic.errors import BadArguments, ConnectTimedOut, MixmagicError, Unavailable
from mixmagic.sessions import Session
from mixmagic.tasks.login import login

KEY = "canary-key-4711"


pytestmark = pytest.mark.usefixtures("surroundings")


@pytest.fixture
def behind(monkeypatch):
    """A provider with any certificate."""
    servers = []

    def start(certificate: trustme.LeafCert) -> Server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        servers.append(Server(context))
        servers[0].plan = [Answer(together("Hi"))]
        monkeypatch.setenv("TOGETHER_BASE_URL", servers[0].url)
        return servers[0]

    yield start
    for each in servers:
        each.close()


def refused(session: Session, server: Server) -> str:
    """Return the error of a call that sends no request, even if it is repeated."""
    for _ in range(2):
        with pytest.raises(MixmagicError) as caught:
            session.ask("Hello", model="8x7b")
        assert type(caught.value) is Unavailable
        assert not caught.value.retryable
        assert not caught.value.sent
    lines = caught.value._render_traceback_()
    assert len(lines) == 2
    assert "certificate" in lines[0]
    assert "is not trusted" in lines[0]
    assert "ca_file" in lines[1]
    assert "MIXMAGIC_CA_FILE" in lines[1]
    assert server.received == [], "the key, too, was not sent"
    return lines[0]


def test_the_environment_names_an_authority_s_file(session, secure, authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))
    assert session.ask("Hello", model="8x7b").text == "Hi"


def test_the_environment_names_a_folder_of_authorities(
    session, secure, authority, monkeypatch, tmp_path
):
    command = [required("openssl"), "x509", "-hash", "-noout", "-in", str(authority.pem)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    digest = ran.stdout.strip()
    (tmp_path / f"{digest}.0").write_bytes(authority.pem.read_bytes())
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert session.ask("Hello", model="8x7b").text == "Hi"


@pytest.mark.parametrize("where", ["environment", "config.toml", "config.toml from home"])
def test_the_settings_name_an_authority(  # noqa: PLR0917  # fixtures
    session, secure, authority, monkeypatch, home, where
):
    if where == "environment":
        monkeypatch.setenv("MIXMAGIC_CA_FILE", str(authority.pem))
    else:
        path = authority.pem
        if where == "config.toml from home":
            monkeypatch.setenv("HOME", str(path.parent))
            path = f"~/{path.name}"
        (home / "config").mkdir()
        (home / "config" / "config.toml").write_text(f'ca_file = "{path}"\n')
    assert session.ask("Hello", model="8x7b").text == "Hi"
    [sent] = secure.received
    assert sent.headers["authorization"] == f"Bearer {KEY}"


def test_a_private_authority_does_not_replace_the_usual_ones(
    session, secure, authority, monkeypatch
):
    monkeypatch.setenv("MIXMAGIC_CA_FILE", str(authority.pem))
    session.ask("Hello", model="8x7b")
    trusted = session.backends._made["http"].transport.trusted
    assert trusted.cert_store_stats()["x509_ca"] > 50
    assert trusted.verify_mode == ssl.CERT_REQUIRED
    assert trusted.check_hostname
    assert trusted.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_an_unknown_authority_is_refused(session, secure):
    refused(session, secure)


def test_another_private_authority_does_not_help(session, secure, monkeypatch, tmp_path):
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    monkeypatch.setenv("MIXMAGIC_CA_FILE", str(other))
    refused(session, secure)


def test_a_certificate_for_another_host_is_refused(session, behind, authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))
    said = refused(session, behind(authority.issue_cert("api.example")))
    assert "IP address mismatch" in said


def test_a_certificate_that_has_expired_is_refused(session, behind, authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    said = refused(session, behind(authority.issue_cert("127.0.0.1", not_after=past)))
    assert "expired" in said


def test_a_self_signed_certificate_is_refused(session, behind, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [required("openssl"), "req", "-x509", "-nodes", "-newkey", "ec",
               "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=127.0.0.1",
               "-addext", "subjectAltName=IP:127.0.0.1",
               "-keyout", str(key), "-out", str(certificate)]  # fmt: skip
    subprocess.run(command, capture_output=True, check=True, timeout=120)

    class Leaf:
        @staticmethod
        def configure_cert(context: ssl.SSLContext) -> None:
            context.load_cert_chain(certificate, key)

    assert "self-signed" in refused(session, behind(Leaf()))


@pytest.mark.parametrize("switch", ["PYTHONHTTPSVERIFY", "CURL_INSECURE", "MIXMAGIC_VERIFY"])
def test_no_switch_of_the_environment_turns_the_check_off(session, secure, monkeypatch, switch):
    monkeypatch.setenv(switch, "0")
    refused(session, secure)


def test_listings_logins_and_the_doctor_check_it_too(session, secure):
    with pytest.raises(Unavailable, match="is not trusted"):
        session.live_models("together")
    kept = login(session.backends, session.catalog.provider("together"), KEY, in_keyring=False)
    assert "is not trusted" in kept.problem
    assert not kept.checked
    [check] = [each for each in session.doctor() if each.name == "Together AI"]
    assert check.ok is False
    assert "ca_file" in check.detail
    assert secure.received == []


@pytest.mark.parametrize("how", ["missing", "empty", "no certificate", "folder"])
@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "MIXMAGIC_CA_FILE"])
def test_an_invalid_ca_file_is_an_error_of_two_lines(  # noqa: PLR0917  # fixtures
    session, secure, monkeypatch, tmp_path, name, how
):
    path = tmp_path / "ca.pem"
    if how == "folder":
        path.mkdir()
    elif how != "missing":
        path.write_text("" if how == "empty" else "-----BEGIN nothing-----\n")
    monkeypatch.setenv(name, str(path))
    with pytest.raises(MixmagicError) as caught:
        session.ask("Hello", model="8x7b")
    assert type(caught.value) is BadArguments
    assert "SSL_CERT_FILE" in caught.value.hint
    assert "ca_file" in caught.value.hint
    assert secure.received == []


def test_a_server_without_tls_is_not_called_without_it(session, monkeypatch):
    said = bytearray()

    def answer() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(ConnectionError):
            said.extend(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            while more := connection.recv(65536):
                said.extend(more)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        monkeypatch.setenv("TOGETHER_BASE_URL", f"https://127.0.0.1:{listener.getsockname()[1]}/v1")
        with pytest.raises(Unavailable) as caught:
            session.ask("Hello", model="8x7b")
        thread.join(10)
    assert not caught.value.sent
    assert said.startswith(b"\x16\x03"), "a handshake"
    assert KEY.encode() not in said
    assert b"POST" not in said


@pytest.fixture
def silent(monkeypatch):
    """A server that accepts connections and never answers, not even the TLS handshake."""
    listener = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("TOGETHER_BASE_URL", f"https://127.0.0.1:{listener.getsockname()[1]}/v1")
    taken: list[socket.socket] = []
    ended = threading.Event()

    def accept() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        taken.append(connection)
        while connection.recv(65536):
            pass
        ended.set()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield taken, ended
    listener.close()
    for each in taken:
        each.close()


def test_a_stop_while_the_handshake_hangs(session, silent):
    taken, ended = silent
    assert stopped_after(session, lambda: taken) < soon(500)
    assert ended.wait(5), "the server sees it, too"


def test_a_handshake_that_hangs_is_a_connection_timeout(silent, monkeypatch):
    monkeypatch.setenv("MIXMAGIC_CONNECT_TIMEOUT", "0.3")
    session = Session()
    started = time.monotonic()
    with pytest.raises(ConnectTimedOut, match=r"no connection within 0\.3 s"):
        session.ask("Hello", model="8x7b")
    assert time.monotonic() - started < soon(3)
    session.close()
