"""Write a request as a program: `--as curl|python|together|openai|js`. Nothing is sent.

A program reads the images of a request from files: see `image_files`.

Each program is a template in `programs/`. Its file name says its `--as` name and its language
(`curl.sh.txt`); a line `== stream`, `== whole` or `== always` tells when the lines below it are
used; `%name` is replaced by what the method `name` of the language's class returns; a line with
nothing but empty values is left out. To add a program: one template.
"""

from __future__ import annotations

import base64
import functools
import json
import pprint
import re
import shlex
import string
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from mixmagic.backends.wire import encode
from mixmagic.calls.identity import image_hash
from mixmagic.core import files
from mixmagic.core.sealed import sealed
from mixmagic.core.servers import needs_key
from mixmagic.core.values import Image, Part, Provider, Request, Text
from mixmagic.errors import BadArguments, StoreError, did_you_mean
from mixmagic.keys.headers import key_header, pieces, variables
from mixmagic.keys.urls import base_url, join, redact_query

# Keyword arguments of both official packages; others go into `extra_body`.
_KEYWORDS = {
    "model", "messages", "temperature", "top_p", "max_tokens", "stop", "seed", "n",
    "presence_penalty", "frequency_penalty", "response_format", "stream",
}  # fmt: skip
_READ_IMAGE = """
import base64


def image(name):
    with open(name, "rb") as file:
        return base64.b64encode(file.read()).decode()
"""
# JavaScript's numbers are exact up to here.
_MOST_EXACT = 2**53


@functools.cache
def programs() -> Mapping[str, Path]:
    """Return the templates by the names that `--as` takes."""
    folder = Path(__file__).with_name("programs")
    return {path.name.partition(".")[0]: path for path in sorted(folder.glob("*.txt"))}


def check_program(name: str) -> None:
    """Raise `BadArguments` if there is no program of this name."""
    if name not in programs():
        raise BadArguments(
            f"There is no program {name!r:.40}.",
            f"{did_you_mean(name, programs())}--as takes {', '.join(programs())}.",
        )


def program(request: Request, name: str) -> str:
    """Return a program that sends a request.

    Args:
        request: The request.
        name: `curl`, `python` (httpx), `together` or `openai` (their packages), or `js`.

    Returns:
        The code. It reads `image_files` from the working folder, and the key from the provider's
        own environment variable: it never contains one. Several answers are not streamed, since
        their pieces would come mixed. For the embedded model, which has no server, it is Python in
        any case.

    Raises:
        BadArguments: There is no such program, it cannot send this request, or the URL has a
            password.

    Example:
        >>> print(program(session.request("Hi", model="8x7b"), "curl"))
    """
    check_program(name)
    provider = request.model.provider
    if provider.backend == "local":
        return _embedded_program(request)
    with sealed():
        url = _public_url(provider)
    request, images = _with_tokens(request)
    body = encode(request)
    if body.get("n") not in (None, 1):
        body = encode(replace(request, stream=False))
    path = programs()[name]
    values = _LANGUAGES[path.suffixes[0]](url, provider, body, images)
    section = "stream" if body.get("stream") else "whole"
    return _fill(path.read_text(encoding="utf-8"), section, values)


def image_files(request: Request) -> dict[str, bytes]:
    """Return the files that a request's programs read, by their names: its images.

    Example:
        >>> list(image_files(session.request(["What is this?", fig])))
        ['image-9f2c41ab.png']
    """
    return {_file_name(image): image.data for m in request.messages for image in m.images}


def write_images(request: Request) -> None:
    """Write the images that a request's programs read into the working folder.

    Raises:
        StoreError: A file cannot be written.
    """
    for name, data in image_files(request).items():
        try:
            Path(name).write_bytes(data)
        except OSError as error:
            raise StoreError(
                f"{name}, which the program reads, cannot be written: {files.reason(error)}.",
                "Choose a working folder that you can write to (`%cd`).",
            ) from None


def _file_name(image: Image) -> str:
    return f"image-{image_hash(image)[:8]}.{image.type.rpartition('/')[2]}"


def _with_tokens(request: Request) -> tuple[Request, Mapping[str, str]]:
    """Return a request with a short token for the data of each image, and the tokens' files."""
    images: dict[str, str] = {}

    def without_data(part: Part) -> Part:
        if isinstance(part, Text):
            return part
        data = bytes.fromhex(image_hash(part)) + b"image"  # 21 bytes: Base64 without padding
        images[base64.b64encode(data).decode()] = _file_name(part)
        return replace(part, data=data)

    messages = tuple(
        message
        if isinstance(message.content, str)
        else replace(message, content=tuple(map(without_data, message.content)))
        for message in request.messages
    )
    return replace(request, messages=messages), images


class _Template(string.Template):
    delimiter = "%"


def _fill(template: str, section: str, values: _Values) -> str:
    """Return the lines of the section and of all sections, with their values."""
    lines, current = [], "always"
    for line in template.splitlines():
        if line.startswith("== "):
            current = line.removeprefix("== ")
        elif current in ("always", section):
            names = _Template(line).get_identifiers()
            filled = _Template(line).substitute({name: getattr(values, name)() for name in names})
            if filled.strip() or not names:
                lines.append(filled)
    return "\n".join(lines).strip("\n")


def _public_url(provider: Provider) -> str:
    """Return the provider's URL; raise `BadArguments` if it has a password."""
    url = base_url(provider)
    parts = urllib.parse.urlsplit(url)
    if "@" in parts.netloc or redact_query(url) != url:
        raise BadArguments(
            f"The URL in {provider.url_env or 'the catalog'} has a password, which cannot be part"
            " of a program.",
            "Remove it from the URL; a key belongs into"
            f" {provider.key_env or 'an environment variable'}.",
        )
    return url


@dataclass(frozen=True, slots=True)
class _Values:
    """The values for templates in one language.

    Attributes:
        base_url: Of the provider.
        provider: Its key and headers.
        request: The body of the request.
        files: The names of image files, by the tokens that stand for their data in Base64.
    """

    base_url: str
    provider: Provider
    request: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)

    comment: ClassVar[str] = "#"

    @property
    def full_url(self) -> str:
        return join(self.base_url, "chat/completions")

    def reads(self) -> str:
        """Return a comment on the files that the program reads."""
        names = " and ".join(dict.fromkeys(self.files.values()))
        return f"{self.comment} It reads {names}, here in this folder." if names else ""


class _Shell(_Values):
    """Values in POSIX shells."""

    def url(self) -> str:
        return shlex.quote(self.full_url)

    def headers(self) -> str:
        """Return options of curl, one a line; that of an optional key is left out without it."""
        provider, name = self.provider, self.provider.key_env
        header, scheme = key_header(provider)
        key = f'-H "{header}: {scheme}${name}"'
        options = [key if needs_key(provider) else f"${{{name}:+{key}}}"] if name else []
        options += [f'-H "{each}: {_in_quotes(text)}"' for each, text in provider.headers.items()]
        return "\n".join(f"  {option} \\" for option in options)

    def body(self) -> str:
        # JSON has no line that could end the here-document; an interactive shell may expand `!`.
        body = json.dumps(self.request, ensure_ascii=False, indent=2)
        body = _printable(body).replace("!", "\\u0021")
        if not self.files:
            return body
        # The shell reads the files: nothing else in the here-document may mean anything to it.
        body = body.replace("$", "\\u0024").replace("`", "\\u0060").replace("\\", "\\\\")
        for token, name in self.files.items():
            body = body.replace(token, f"$(base64 < {name} | tr -d '\\n')")
        return body

    def end(self) -> str:
        """Return the end of the here-document, in which quotes keep the shell from expanding it."""
        return "END_OF_REQUEST" if self.files else "'END_OF_REQUEST'"


class _Python(_Values):
    """Values in Python, for httpx and for the official packages, which have one design."""

    def images(self) -> str:
        """Return the function that reads an image."""
        return _READ_IMAGE if self.files else ""

    def _assigned(self, name: str, value: Any) -> str:
        """Return a statement in which the images are read from their files."""
        code = _assignment(name, value)
        for token, file in self.files.items():
            code = code.replace(f"{token}'", f"' + image({file!r})")
        return code

    def import_os(self) -> str:
        return "import os" if self.provider.key_env or variables(self.provider) else ""

    def url(self) -> str:
        return repr(self.full_url)

    def headers(self) -> str:
        """Return the statements that set `headers`."""
        name, (header, scheme) = self.provider.key_env, key_header(self.provider)
        if name and needs_key(self.provider):
            lines = [f'headers = {{"{header}": f"{scheme}{{os.environ[{name!r}]}}"}}']
        elif name:
            lines = [
                f'key = os.environ.get("{name}")',
                f'headers = {{"{header}": f"{scheme}{{key}}"}} if key else {{}}',
            ]
        else:
            lines = ["headers = {}"]
        if self.provider.headers:
            lines.append(f"headers |= {_python_dict(self.provider.headers)}")
        return "\n".join(lines)

    def body(self) -> str:
        return self._assigned("body", self.request)

    def client(self) -> str:
        return self._client(self.base_url)

    def unversioned_client(self) -> str:
        """Return arguments for Together's client, whose paths begin with the version."""
        base, mark, query = self.base_url.partition("?")
        if not base.endswith("/v1"):
            raise BadArguments(
                f"Together's package cannot use {self.base_url}: it calls /v1/chat/completions.",
                "Use --as openai or --as python.",
            )
        return self._client(f"{base.removesuffix('/v1')}{mark}{query}")

    def arguments(self) -> str:
        return self._assigned("body", self._arguments())

    def extra(self) -> str:
        extra = self._extra()
        return _assignment("extra", extra) if extra else ""

    def extra_argument(self) -> str:
        return ", extra_body=extra" if self._extra() else ""

    def _client(self, url: str) -> str:
        provider, name = self.provider, self.provider.key_env
        header, scheme = key_header(provider)
        if name and not scheme:
            raise BadArguments(
                f"The package sends the key as Authorization, but {provider.label} expects it as"
                f" {header}.",
                "Use --as curl or --as python.",
            )
        # The client requires a key, even for a server that does not.
        key = repr("none")
        if name:
            required = needs_key(provider)
            key = f'os.environ["{name}"]' if required else f'os.environ.get("{name}", "none")'
        base, _, query = url.partition("?")
        arguments = f"api_key={key}, base_url={base!r}"
        if query:
            arguments += f", default_query={dict(urllib.parse.parse_qsl(query))!r}"
        if provider.headers:
            arguments += f", default_headers={_python_dict(provider.headers)}"
        return arguments

    def _arguments(self) -> Mapping[str, Any]:
        # The packages leave out None, while `extra_body` sends null.
        return {
            key: value
            for key, value in self.request.items()
            if key in _KEYWORDS and value is not None
        }

    def _extra(self) -> Mapping[str, Any]:
        arguments = self._arguments()
        return {key: value for key, value in self.request.items() if key not in arguments}


class _JavaScript(_Values):
    """Values in JavaScript, for Node.js 18 and later, also inside of a page's script element."""

    comment: ClassVar[str] = "//"

    def url(self) -> str:
        return _js_string(self.full_url)

    def headers(self) -> str:
        """Return the entries of an object."""
        provider, name = self.provider, self.provider.key_env
        header, scheme = key_header(provider)
        key = f"process.env.{name}"
        entry = f"{header if header.isalpha() else _js_string(header)}: `{scheme}${{{key}}}`"
        if not needs_key(provider):
            entry = f"...({key} && {{ {entry} }})"
        entries = ['"Content-Type": "application/json"', *([entry] if name else [])]
        for own, text in provider.headers.items():
            parts = [
                f"process.env.{part}" if is_variable else _js_string(part)
                for part, is_variable in pieces(text)
            ]
            entries.append(f"{_js_string(own)}: {' + '.join(parts)}")
        return ", ".join(entries)

    def body(self) -> str:
        """Return a JSON text as an expression: an object, if that gives the same text."""
        written = _printable(json.dumps(self.request, ensure_ascii=False, indent=2))
        code = f"JSON.stringify({_script_safe(written)})"
        if "__proto__" in written or not _is_exact(self.request):
            code = _js_string(json.dumps(self.request, ensure_ascii=False))
        for token, name in self.files.items():
            read = f'require("fs").readFileSync("{name}", "base64")'
            code = code.replace(token, f'" + {read} + "').replace(' + ""', "")
        return code


_LANGUAGES: Mapping[str, type[_Shell | _Python | _JavaScript]] = {
    ".sh": _Shell,
    ".py": _Python,
    ".js": _JavaScript,
}


def _in_quotes(text: str) -> str:
    """Return a header's value for double quotes in a shell."""
    return "".join(
        f"${{{part}}}" if is_variable else re.sub(r'(["\\$`])', r"\\\1", part)
        for part, is_variable in pieces(text)
    )


def _python_dict(headers: Mapping[str, str]) -> str:
    """Return headers as a Python dict."""
    items = []
    for name, text in headers.items():
        parts = (
            f"os.environ[{part!r}]" if is_variable else repr(part)
            for part, is_variable in pieces(text)
        )
        items.append(f"{name!r}: {' + '.join(parts)}")
    return f"{{{', '.join(items)}}}"


def _js_string(text: str) -> str:
    """Return a JavaScript string literal."""
    return _script_safe(_printable(json.dumps(text, ensure_ascii=False)))


def _printable(written: str) -> str:
    """Return JSON without control characters, which a terminal would obey."""
    return re.sub(r"[\x7f-\x9f]", lambda match: f"\\u{ord(match[0]):04x}", written)


def _script_safe(code: str) -> str:
    """Return JavaScript whose strings cannot end a page's script element, or begin a comment."""
    return re.sub(r"<(?=[/!]|script)", r"\\u003c", code, flags=re.IGNORECASE)


def _is_exact(value: Any) -> bool:
    """Return True if JavaScript represents all numbers in a value exactly."""
    if isinstance(value, Mapping):
        return all(map(_is_exact, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_exact, value))
    return not (isinstance(value, int) and abs(value) > _MOST_EXACT)


def _embedded_program(request: Request) -> str:
    """Return Python code that uses the embedded model."""
    options = {"model": request.model.name, **request.params}
    messages = [{"role": m.role, "content": m.described} for m in request.messages]
    several = (
        "answer = mixmagic.ask(messages, **options)",
        'print(answer, *answer.others, sep="\\n")',
    )
    return "\n".join(
        [
            "# The embedded model has no server to send this to: mixmagic runs it.",
            "import mixmagic",
            "",
            _assignment("messages", messages),
            _assignment("options", options),
            *(several if "n" in options else ["print(mixmagic.ask(messages, **options))"]),
        ]
    )


def _assignment(name: str, value: Any) -> str:
    """Return a Python statement over several readable lines."""
    return f"{name} = {pprint.pformat(value, indent=1, width=88, sort_dicts=False)}"
