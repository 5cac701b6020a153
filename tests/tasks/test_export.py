"""`--as`: each program is run for real, and what it sends is what we would have sent."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import replace

import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import required
from server import Answer, frames, refusal, together, whole

from mixmagic.backends import wire
from mixmagic.core.values import Image, Message, Model, Provider, Request, Text
from mixmagic.errors import BadArguments, StoreError
from mixmagic.structured.openai_strict import response_format
from mixmagic.tasks.export import program, programs, write_images

NASTY = (
    'It\'s "x" `ls` $HOME ${HOME} $(id) !! !x \\ \\n \\u0041 %s {y} {{z}}\n\r\n\tEND_OF_REQUEST\n'
    "</script><!-- <script> 世界 🙂 \u2028 \u2029 \u202e \x00\x1b[31m \x7f\n'''\n\"\"\"\n;#//*/"
)
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}, "__proto__": {"type": "null"}}}
FORM = response_format(SCHEMA)
EVERYTHING = {
    "temperature": 0.7, "top_p": 1.0, "top_k": 3, "min_p": 0.05, "seed": 2**63, "max_tokens": 7,
    "stop": ["END", NASTY], "presence_penalty": -2, "frequency_penalty": 1.5,
    "repetition_penalty": 1.1, "response_format": FORM,
    "extra_body": {"logit_bias": {"42": -100}, "user": None, NASTY: [True, None]},
}  # fmt: skip
BIDDEN = {
    "curl": ["bash"],
    "python": [sys.executable],
    "together": [sys.executable],
    "openai": [sys.executable],
    "js": ["node"],
}
FORMS = list(BIDDEN)


def run(form, code, folder, **env):
    """Run a program from a file, as a person would."""
    command = BIDDEN[form]
    for name in ["curl", "bash"] if form == "curl" else command[:1]:
        required(name)
    file = folder / {"curl": "ask.sh", "js": "ask.js"}.get(form, "ask.py")
    file.write_text(code, encoding="utf-8", newline="")
    return subprocess.run(
        [*command, str(file)],
        env={**os.environ, "PYTHONWARNINGS": "ignore", **env},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


@pytest.fixture
def provider(server, monkeypatch):
    """The scripted server as a provider with a required key."""
    monkeypatch.setenv("ACME_BASE_URL", server.url)
    monkeypatch.setenv("ACME_API_KEY", "canary-key-4711")
    server.plan = [
        lambda got: Answer(together("Hi", " 🙂")) if got.body.get("stream") else whole("Hi 🙂")
    ]
    return Provider("acme", "Acme", url_env="ACME_BASE_URL", key_env="ACME_API_KEY")


def asking(provider, text="Hello", *, stream=True, **params):
    return Request(Model("org/Model-1", provider), (Message("user", text),), params, stream=stream)


def test_every_program_is_tested():
    assert list(programs()) == sorted(FORMS)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_it_sends_what_we_would_send_and_prints_the_answer(
    form, stream, provider, server, tmp_path
):
    request = asking(provider, NASTY, stream=stream, **EVERYTHING)
    code = program(request, form)
    assert "canary" not in code
    ran = run(form, code, tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Hi" in ran.stdout
    assert "🙂" in ran.stdout or form == "curl"
    (received,) = server.received
    assert received.body == json.loads(json.dumps(wire.encode(request)))
    assert received.path == "/v1/chat/completions"
    assert received.headers["authorization"] == "Bearer canary-key-4711"


def picture(color: str, kind: str) -> Image:
    written = io.BytesIO()
    PIL.Image.new("RGB", (40, 30), color).save(written, kind)
    return Image(written.getvalue(), f"image/{kind.lower()}")


@pytest.mark.parametrize("params", [{}, {"seed": 2**63}, {"n": 2}])
@pytest.mark.parametrize("form", FORMS)
def test_it_reads_images_from_files(form, params, provider, server, tmp_path):
    """No Base64 in the program, and what it sends is what we would have sent."""
    red, blue = picture("red", "PNG"), picture("blue", "JPEG")
    request = asking(provider, (Text(NASTY), red, blue, red, Text(NASTY)), **params)
    code = program(request, form)
    assert "iVBOR" not in code
    assert "/9j/" not in code
    with contextlib.chdir(tmp_path):
        write_images(request)
    names = [path.name for path in tmp_path.glob("image-*")]
    assert len(names) == 2
    assert all(name in code for name in names)
    with contextlib.chdir(tmp_path):
        ran = run(form, code, tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    (received,) = server.received
    sent = wire.encode(replace(request, stream=params.get("n") is None))
    assert received.body == json.loads(json.dumps(sent))


def test_the_images_of_a_program_need_a_folder_that_can_be_written(provider, monkeypatch):
    request = asking(provider, (picture("red", "PNG"),))
    monkeypatch.chdir("/proc/self")
    with pytest.raises(StoreError, match="which the program reads"):
        write_images(request)


@pytest.mark.parametrize("params", [{}, {"seed": 2**63}])
def test_javascript_can_stand_in_a_page(params, provider):
    code = program(asking(provider, f"{NASTY}</SCRIPT>", **params), "js").lower()
    assert not [each for each in ("</script", "<script", "<!--") if each in code]


@pytest.mark.parametrize("form", FORMS)
def test_a_simple_request(form, provider, server, tmp_path):
    request = asking(provider, temperature=0)
    ran = run(form, program(request, form), tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert server.received[0].body == wire.encode(request)


@pytest.mark.parametrize("params", [{"n": 2}, {"extra_body": {"n": 2}}])
@pytest.mark.parametrize("form", FORMS)
def test_several_answers_are_printed_one_after_the_other(form, params, provider, server, tmp_path):
    def two(got):
        texts = [["The ", "sky."], ["Once ", "upon."]]
        if got.body.get("stream"):
            pieces = [(n, texts[n][k]) for k in (0, 1) for n in (0, 1)]
            sent = [{"choices": [{"index": n, "delta": {"content": t}}]} for n, t in pieces]
            return Answer([frames(*sent)])
        said = [{"index": n, "message": {"content": "".join(texts[n])}} for n in (0, 1)]
        return Answer([json.dumps({"choices": said}).encode()], type="application/json")

    server.plan = [two]
    ran = run(form, program(asking(provider, **params), form), tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert server.received[0].body["n"] == 2
    assert "The sky." in ran.stdout.partition("Once upon.")[0]
    assert form == "curl" or ran.stdout == "The sky.\nOnce upon.\n"


@pytest.mark.parametrize("form", ["curl", "python", "js"])
def test_an_optional_key_may_be_unset(form, provider, server, tmp_path, monkeypatch):
    request = asking(replace(provider, key_required=False))
    code = program(request, form)
    assert run(form, code, tmp_path).returncode == 0
    assert server.received[-1].headers["authorization"] == "Bearer canary-key-4711"
    monkeypatch.delenv("ACME_API_KEY")
    assert run(form, code, tmp_path).returncode == 0
    assert "authorization" not in server.received[-1].headers
    assert (
        program(asking(replace(provider, key_env="", key_required=False)), form).count("KEY") == 0
    )


@pytest.mark.parametrize("form", ["together", "openai"])
def test_the_packages_get_a_dummy_key_if_none_is_needed(
    form, provider, server, tmp_path, monkeypatch
):
    monkeypatch.delenv("ACME_API_KEY")
    request = asking(replace(provider, key_required=False))
    assert run(form, program(request, form), tmp_path).returncode == 0
    assert server.received[-1].headers["authorization"] == "Bearer none"


@pytest.mark.parametrize("form", FORMS)
def test_an_error_of_the_provider_is_shown(form, provider, server, tmp_path):
    server.plan = [refusal(400, {"error": {"message": "no such thing"}})]
    ran = run(form, program(asking(provider), form), tmp_path)
    assert "no such thing" in ran.stdout + ran.stderr
    assert ran.returncode != 0 or form == "curl"


@pytest.mark.parametrize("form", FORMS)
def test_the_providers_of_the_catalog(form, session):
    for name in ("together:8x7b", "mistral:8x7b", "fireworks:8x7b", "openrouter:8x7b"):
        request = session.request("Hi", model=name, seed=7)
        code = program(request, form)
        url = request.model.provider.base_url
        assert (url.removesuffix("/v1") if form == "together" else url) in code
        assert request.model.provider.key_env in code
        assert ("random_seed" in code) == (name == "mistral:8x7b")


def test_history_expansion_changes_nothing(provider, server, tmp_path):
    """In an interactive shell, an exclamation mark can expand to an earlier line."""
    request = asking(provider, "Hello! !x !! 'a!' \"!b\"")
    code = program(request, "curl")
    assert "!" not in code
    assert run("curl", code, tmp_path).returncode == 0
    assert server.received[0].body == wire.encode(request)


@pytest.mark.parametrize(
    "params", [{"response_format": FORM}, {"seed": 2**63}, {"seed": 2**53 + 1}]
)
def test_javascript_sends_the_exact_values(params, provider, server, tmp_path):
    """A key `__proto__` would be no key there, and a large number another one."""
    request = asking(provider, **params)
    ran = run("js", program(request, "js"), tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert server.received[0].body == wire.encode(request)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "url", ["https://me:canary-key-4711@host/v1", "https://host/v1?key=canary-key-4711/v1"]
)
def test_a_password_in_the_url_is_not_shown(form, url, provider, monkeypatch):
    monkeypatch.setenv("ACME_BASE_URL", url)
    with pytest.raises(BadArguments) as caught:
        program(asking(provider), form)
    assert "canary" not in f"{caught.value} {caught.value.hint}"
    assert "ACME_BASE_URL" in caught.value.message


@pytest.mark.parametrize("form", FORMS)
def test_it_sends_the_headers_and_the_query_of_the_catalog(
    form, provider, server, tmp_path, monkeypatch
):
    monkeypatch.setenv("ACME_BASE_URL", f"{server.url}?api-version=2024-10-21")
    monkeypatch.setenv("ACME_ORG", "canary-org-4711")
    literal = '$5 "or" `less` \\ \' é'.replace("é", "e")
    headers = {"X-Org": "Team ${ACME_ORG}!", "HTTP-Referer": literal}
    code = program(asking(replace(provider, headers=headers)), form)
    assert "canary" not in code
    ran = run(form, code, tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    (received,) = server.received
    assert received.path == "/v1/chat/completions?api-version=2024-10-21"
    assert received.headers["x-org"] == "Team canary-org-4711!"
    assert received.headers["http-referer"] == literal
    assert received.headers["authorization"] == "Bearer canary-key-4711"


@pytest.mark.parametrize("form", ["curl", "python", "js"])
@pytest.mark.parametrize("is_needed", [True, False])
def test_it_sends_the_key_in_its_header(form, is_needed, provider, server, tmp_path):
    named = replace(provider, key_header="api-key", key_required=is_needed)
    ran = run(form, program(asking(named), form), tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    (received,) = server.received
    assert received.headers["api-key"] == "canary-key-4711"
    assert "authorization" not in received.headers


@pytest.mark.parametrize("form", ["together", "openai"])
def test_the_packages_send_no_key_in_another_header(form, provider):
    with pytest.raises(BadArguments, match="api-key") as caught:
        program(asking(replace(provider, key_header="api-key")), form)
    assert "--as python" in caught.value.hint


def test_together_s_package_needs_its_path(provider, monkeypatch):
    monkeypatch.setenv("ACME_BASE_URL", "https://host/api/v4")
    with pytest.raises(BadArguments, match="cannot use https://host/api/v4"):
        program(asking(provider), "together")
    assert "https://host/api/v4" in program(asking(provider), "openai")


def test_an_unknown_program_suggests_the_nearest(provider):
    with pytest.raises(BadArguments, match="no program 'pyhton'") as caught:
        program(asking(provider), "pyhton")
    assert caught.value.hint == (
        "Did you mean python? --as takes curl, js, openai, python, together."
    )


@pytest.mark.parametrize("form", FORMS)
def test_the_embedded_model_has_no_server_but_python(form, session, tmp_path):
    request = session.request(
        NASTY, model="local", temperature=0, max_tokens=3, system="Be 'brief'"
    )
    code = program(request, form)
    assert code.startswith("# The embedded model has no server")
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(code).body
        if isinstance(node, ast.Assign)
    }
    again = session.request(values["messages"], **values["options"])
    assert again == request


def test_the_embedded_model_s_program_runs(session, tmp_path):
    code = program(session.request("Hello", model="local", temperature=0, max_tokens=8), "python")
    ran = run("python", code, tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (
        ran.stdout.strip() == session.ask("Hello", model="local", temperature=0, max_tokens=8).text
    )


def test_the_embedded_model_s_program_prints_several_answers(session, tmp_path):
    options = {"model": "local", "temperature": 0, "max_tokens": 4, "n": 2}
    ran = run("python", program(session.request("Hello", **options), "python"), tmp_path)
    answer = session.ask("Hello", **options)
    assert ran.stdout == f"{answer.text}\n{answer.others[0]}\n"


TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.text("'\"\\$`!\n\r</>{}#;🙂 eE")


@given(text=TEXTS, number=st.integers(-(2**70), 2**70))
@settings(max_examples=200, deadline=None)
def test_python_represents_any_text(text, number):
    provider = Provider("acme", "Acme", base_url="https://host/v1", key_env="ACME_API_KEY")
    request = asking(provider, text, extra_body={"x": {text: [text, number]}})
    for form in ("python", "together", "openai"):
        said = {
            node.targets[0].id: node.value
            for node in ast.parse(program(request, form)).body
            if isinstance(node, ast.Assign) and node.targets[0].id in ("body", "extra")
        }
        body = {k: v for each in said.values() for k, v in ast.literal_eval(each).items()}
        assert body == wire.encode(request)


@given(texts=st.lists(TEXTS, min_size=50, max_size=50), number=st.integers(-(2**70), 2**70))
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@pytest.mark.parametrize("form", ["curl", "js"])
def test_shell_and_javascript_represent_any_text(form, texts, number, tmp_path_factory):
    """The program's last step, sending, is replaced by printing: many texts in one process."""
    provider = Provider("acme", "Acme", base_url="https://host/v1", key_env="ACME_API_KEY")
    params = {"extra_body": {"x": [{text: text} for text in texts], "number": number % 2**60}}
    request = asking(provider, "".join(texts), **params)
    code = program(request, form)
    if form == "curl":
        code = f"curl() {{ cat; }}\n{code}"
    else:
        code = f"{code.partition('(async')[0]}process.stdout.write(body);"
        assert "</script" not in code.lower()
        assert "<!--" not in code
    ran = run(form, code, tmp_path_factory.mktemp("any"))
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == wire.encode(request)
