"""The same request as a program of its own: `--as curl|python|together|openai|js`. Nothing is sent.

What such a program sends is what `backends.wire` encodes; the key comes from its environment.
"""

from __future__ import annotations

import json
import pprint
import re
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mixmagic.backends.wire import encode
from mixmagic.core.sealed import sealed
from mixmagic.core.values import Provider, Request
from mixmagic.errors import BadArguments, did_you_mean
from mixmagic.keys.headers import key_header, pieces, variables
from mixmagic.keys.urls import base_url, join, shown

# What both official packages take by name, in the same way; they add the rest as it is.
_NAMED = {
    "model", "messages", "temperature", "top_p", "max_tokens", "stop", "seed", "n",
    "presence_penalty", "frequency_penalty", "response_format", "stream",
}  # fmt: skip
# JavaScript's numbers are exact up to here.
_MOST_EXACT = 2**53
_HEREDOC = "END_OF_REQUEST"
_PATH = "chat/completions"


def check(form: str) -> None:
    """See that there is such a form.

    Raises:
        BadArguments: There is none.
    """
    if form not in PROGRAMS:
        raise BadArguments(
            f"There is no program {form!r:.40}.",
            f"{did_you_mean(form, PROGRAMS)}--as takes {', '.join(PROGRAMS)}.",
        )


def program(request: Request, form: str) -> str:
    """A request as code that sends it.

    Args:
        request: What would be sent.
        form: `curl`, `python` (httpx), `together` or `openai` (their packages), or `js`.

    Returns:
        The code. It reads the key from the provider's own environment variable; it never holds
        one. Several answers are not streamed: their pieces come mixed. For the embedded model,
        which has no server, it is Python whatever the form.

    Raises:
        BadArguments: There is no such form, it cannot send this, or the URL holds a password.

    Example:
        >>> print(program(session.request("Hi", model="8x7b"), "curl"))
    """
    check(form)
    provider = request.model.provider
    if provider.backend == "local":
        return _embedded(request)
    with sealed():
        url = _public_url(provider)
    body = encode(request)
    if body.get("n") not in (None, 1):
        body = encode(replace(request, stream=False))
    return PROGRAMS[form](url, provider, body)


def _public_url(provider: Provider) -> str:
    """Return the provider's URL, if it holds no password."""
    url = base_url(provider)
    parts = urllib.parse.urlsplit(url)
    if "@" in parts.netloc or shown(url) != url:
        raise BadArguments(
            f"The URL in {provider.url_env or 'the catalog'} holds a password, which no program"
            " shall show.",
            f"Take it out of the URL; a key belongs into {provider.key_env or 'the environment'}.",
        )
    return url


def _curl(url: str, provider: Provider, body: Mapping[str, Any]) -> str:
    """A command for a POSIX shell."""
    import shlex

    name = provider.key_env
    header = f'-H "{"{}: {}".format(*key_header(provider))}${name}"'
    if name and not provider.key_required:
        header = f"${{{name}:+{header}}}"  # no header where there is no key
    lines = [
        f"curl -sS -N {shlex.quote(join(url, _PATH))} \\",
        "  -H 'Content-Type: application/json' \\",
        *([f"  {header} \\"] if name else []),
        *(f'  -H "{each}: {_in_shell(text)}" \\' for each, text in provider.headers.items()),
        f"  --data-binary @- <<'{_HEREDOC}'",
        # JSON's own escapes leave no line that could end it; an interactive shell may replace `!`.
        _shown(json.dumps(body, ensure_ascii=False, indent=2)).replace("!", "\\u0021"),
        _HEREDOC,
    ]
    return "\n".join(lines)


def _python(url: str, provider: Provider, body: Mapping[str, Any]) -> str:
    """Python with httpx."""
    name, (header, scheme) = provider.key_env, key_header(provider)
    if name and provider.key_required:
        headers = [f'headers = {{"{header}": f"{scheme}{{os.environ[{name!r}]}}"}}']
    elif name:
        headers = [
            f'key = os.environ.get("{name}")',
            f'headers = {{"{header}": f"{scheme}{{key}}"}} if key else {{}}',
        ]
    else:
        headers = ["headers = {}"]
    if provider.headers:
        headers.append(f"headers |= {_in_python(provider.headers)}")
    streamed = [
        'with httpx.stream("POST", url, json=body, headers=headers, timeout=180) as response:',
        "    if response.is_error:",
        "        raise SystemExit(response.read().decode())",
        "    for line in response.iter_lines():",
        '        if line.startswith("data: ") and line != "data: [DONE]":',
        '            for choice in json.loads(line[len("data: ") :]).get("choices", []):',
        '                print(choice["delta"].get("content") or "", end="", flush=True)',
    ]
    whole = [
        "response = httpx.post(url, json=body, headers=headers, timeout=180)",
        "if response.is_error:",
        "    raise SystemExit(response.text)",
        'for choice in response.json()["choices"]:',
        '    print(choice["message"]["content"])',
    ]
    lines = [
        *(["import json"] if body.get("stream") else []),
        "import os",
        "",
        "import httpx",
        "",
        f"url = {join(url, _PATH)!r}",
        *headers,
        _assigned("body", body),
        *(streamed if body.get("stream") else whole),
    ]
    needed = name or variables(provider)
    return "\n".join(lines if needed else [line for line in lines if line != "import os"])


def _together(url: str, provider: Provider, body: Mapping[str, Any]) -> str:
    """Python with Together's package, whose paths begin with the version."""
    base, mark, query = url.partition("?")
    if not base.endswith("/v1"):
        raise BadArguments(
            f"Together's package cannot reach {url}: it asks for /v1/chat/completions.",
            "Take --as openai or --as python.",
        )
    url = f"{base.removesuffix('/v1')}{mark}{query}"
    return _package("together", "Together", url, provider, body)


def _openai(url: str, provider: Provider, body: Mapping[str, Any]) -> str:
    """Python with OpenAI's package."""
    return _package("openai", "OpenAI", url, provider, body)


def _package(
    package: str, client: str, url: str, provider: Provider, body: Mapping[str, Any]
) -> str:
    """Python with one of the two packages, which have one design."""
    name, (header, scheme) = provider.key_env, key_header(provider)
    if name and not scheme:
        raise BadArguments(
            f"The package sends the key as Authorization, and {provider.label} wants it as"
            f" {header}.",
            "Take --as curl or --as python.",
        )
    base, _, query = url.partition("?")
    asked = f"base_url={base!r}"
    if query:
        asked += f", default_query={dict(urllib.parse.parse_qsl(query))!r}"
    if provider.headers:
        asked += f", default_headers={_in_python(provider.headers)}"
    # A client is not made without a key, also for a server that takes none.
    key = f'os.environ["{name}"]' if provider.key_required else f'os.environ.get("{name}", "none")'
    # A value that is not there is left out by them, where we would send null.
    named = {key: value for key, value in body.items() if key in _NAMED and value is not None}
    extra = {key: value for key, value in body.items() if key not in named}
    streamed = [
        "for chunk in answer:",
        "    for choice in chunk.choices:",
        '        print(choice.delta.content or "", end="", flush=True)',
    ]
    whole = ["for choice in answer.choices:", "    print(choice.message.content)"]
    lines = [
        "import os",
        "",
        f"from {package} import {client}",
        "",
        f"client = {client}(api_key={key if name else repr('none')}, {asked})",
        _assigned("body", named),
        *([_assigned("extra", extra)] if extra else []),
        f"answer = client.chat.completions.create(**body{', extra_body=extra' if extra else ''})",
        *(streamed if body.get("stream") else whole),
    ]
    return "\n".join(lines if name or variables(provider) else lines[2:])


def _js(url: str, provider: Provider, body: Mapping[str, Any]) -> str:
    """JavaScript for Node.js 18 and later, also inside a page's script element."""
    name, (header, scheme) = provider.key_env, key_header(provider)
    key = f"process.env.{name}"
    authorization = f"{header if header.isalpha() else _text(header)}: `{scheme}${{{key}}}`"
    if name and not provider.key_required:
        authorization = f"...({key} && {{ {authorization} }})"
    headers = '"Content-Type": "application/json"' + (f", {authorization}" if name else "")
    for each, text in provider.headers.items():
        value = " + ".join(
            f"process.env.{piece}" if is_name else _text(piece) for piece, is_name in pieces(text)
        )
        headers += f", {_text(each)}: {value}"
    streamed = [
        '  let rest = "";',
        "  const decoder = new TextDecoder();",
        "  for await (const bytes of response.body) {",
        '    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\\n");',
        "    rest = lines.pop();",
        "    for (const line of lines) {",
        '      if (!line.startsWith("data: ") || line.startsWith("data: [DONE]")) continue;',
        "      for (const choice of JSON.parse(line.slice(6)).choices ?? [])",
        '        process.stdout.write(choice.delta.content ?? "");',
        "    }",
        "  }",
    ]
    whole = [
        "  for (const choice of (await response.json()).choices)",
        "    console.log(choice.message.content);",
    ]
    lines = [
        f"const body = {_literal(body)};",
        "(async () => {",
        f"  const response = await fetch({_text(join(url, _PATH))}, {{",
        '    method: "POST",',
        f"    headers: {{ {headers} }},",
        "    body,",
        "  });",
        "  if (!response.ok) throw new Error(await response.text());",
        *(streamed if body.get("stream") else whole),
        "})();",
    ]
    return "\n".join(lines)


def _in_shell(text: str) -> str:
    """A header's value between double quotes in a shell."""
    return "".join(
        f"${{{piece}}}" if is_name else re.sub(r'(["\\$`])', r"\\\1", piece)
        for piece, is_name in pieces(text)
    )


def _in_python(headers: Mapping[str, str]) -> str:
    """Headers as a Python dict."""
    items = []
    for name, text in headers.items():
        values = (f"os.environ[{each!r}]" if named else repr(each) for each, named in pieces(text))
        items.append(f"{name!r}: {' + '.join(values)}")
    return f"{{{', '.join(items)}}}"


def _literal(body: Mapping[str, Any]) -> str:
    """A JSON text as a JavaScript expression: an object's, where that says the same."""
    written = _shown(json.dumps(body, ensure_ascii=False, indent=2))
    if "__proto__" in written or not _exact(body):
        return _text(json.dumps(body, ensure_ascii=False))
    return f"JSON.stringify({_script_safe(written)})"


def _text(text: str) -> str:
    """A text as a JavaScript string."""
    return _script_safe(_shown(json.dumps(text, ensure_ascii=False)))


def _shown(written: str) -> str:
    """JSON without what a terminal would obey."""
    return re.sub(r"[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", written)


def _script_safe(code: str) -> str:
    """JavaScript whose strings neither end a page's script element nor begin a comment in it."""
    return re.sub(r"<(?=[/!]|script)", r"\\u003c", code, flags=re.IGNORECASE)


def _exact(value: Any) -> bool:
    """Whether all of a value's numbers are the same in JavaScript."""
    if isinstance(value, Mapping):
        return all(map(_exact, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_exact, value))
    return not (isinstance(value, int) and abs(value) > _MOST_EXACT)


def _embedded(request: Request) -> str:
    """The embedded model in Python."""
    named = {"model": request.model.name, **request.params}
    messages = [{"role": m.role, "content": m.text} for m in request.messages]
    several = [
        "answer = mixmagic.ask(messages, **options)",
        'print(answer, *answer.others, sep="\\n")',
    ]
    lines = [
        "# The embedded model has no server to send this to: mixmagic asks it from Python.",
        "import mixmagic",
        "",
        _assigned("messages", messages),
        _assigned("options", named),
        *(several if "n" in named else ["print(mixmagic.ask(messages, **options))"]),
    ]
    return "\n".join(lines)


def _assigned(name: str, value: Any) -> str:
    """A Python value, in lines that a person can read, given a name."""
    written = pprint.pformat(value, indent=1, width=88, sort_dicts=False)
    return f"{name} = {written}"


PROGRAMS: Mapping[str, Callable[[str, Provider, Mapping[str, Any]], str]] = {
    "curl": _curl,
    "python": _python,
    "together": _together,
    "openai": _openai,
    "js": _js,
}
