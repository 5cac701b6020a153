"""Equal questions have one key; whatever can change an answer gives another."""

from __future__ import annotations

import copy
import doctest
import hashlib
import io
import json
import os
import struct
import zlib
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixmagic.calls import identity
from mixmagic.calls.identity import cache_key, cassette_key, image_hash, normalized_url
from mixmagic.core.control import Control
from mixmagic.core.money import Budget, Price
from mixmagic.core.params import check
from mixmagic.core.values import Dialect, Image, Message, Model, Provider, Request, Text

URL = "https://api.acme.example/v1"
ACME = Provider("acme", "Acme", base_url=URL)
MODEL = Model("org/Model-1", ACME, aliases=("one",))
LOCAL = Provider("local", "here", backend="local")
HELLO = (Message("user", "Hello"),)
PIXEL = Image(b"\x89PNG", "image/png")


def keys(request: Request, url: str = URL) -> tuple[str, str]:
    return cache_key(request, url), cassette_key(request)


def question(text="Hello", model=MODEL, **params) -> Request:
    return Request(model, (Message("user", text),), params)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(max_size=5).filter("properties".__ne__), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
TEXTS = st.text(min_size=1, max_size=8)
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 2) | st.integers(0, 2),
        "max_tokens": st.integers(1, 10**9),
        "top_p": st.floats(0, 1),
        "seed": st.integers(0, 2**63),
        "stop": st.lists(TEXTS, max_size=3) | TEXTS,
        "n": st.integers(1, 5),
        "logprobs": st.booleans(),
        "top_logprobs": st.integers(0, 20),
        "presence_penalty": st.floats(-2, 2),
        "response_format": st.dictionaries(st.text(max_size=5), JSON, max_size=3),
        "extra_body": st.dictionaries(st.text(max_size=5), JSON, max_size=3),
    },
)
MESSAGES = st.lists(
    st.builds(
        Message,
        st.sampled_from(["system", "user", "assistant"]),
        st.text(max_size=9)
        | st.lists(
            st.builds(Text, st.text(max_size=5)) | st.builds(Image, st.binary(max_size=5)),
            max_size=3,
        ).map(tuple),
    ),
    max_size=4,
).map(tuple)
REQUESTS = st.builds(
    Request, st.just(MODEL), MESSAGES, PARAMS, st.booleans(), st.sampled_from(["", "one", "8x7b"])
)


def rewritten(value, data):
    """Draw another way to write a JSON value."""
    if isinstance(value, dict):
        names = data.draw(st.permutations(list(value)))
        return {name: rewritten(value[name], data) for name in names}
    if isinstance(value, list):
        items = [rewritten(item, data) for item in value]
        return tuple(items) if data.draw(st.booleans()) else items
    if isinstance(value, int) and not isinstance(value, bool):
        same = float(value) if abs(value) < 2**53 else value
        return data.draw(st.sampled_from([value, same, -0.0 if value == 0 else value]))
    if isinstance(value, float) and value.is_integer():
        return data.draw(st.sampled_from([value, int(value)]))
    return value


class TestOneKey:
    @settings(deadline=None)
    @given(REQUESTS, st.data())
    def test_however_it_is_written(self, request, data):
        params = rewritten(dict(request.params), data)
        if isinstance(params.get("stop"), str):
            params["stop"] = [params["stop"]]
        for name, default in (("n", 1), ("stop", []), ("extra_body", {}), ("seed", None)):
            if name not in params and data.draw(st.booleans()):
                params[name] = default
        same = replace(request, params=params)
        assert keys(same) == keys(request)

    @settings(deadline=None)
    @given(REQUESTS)
    def test_whatever_governs_the_call(self, request):
        control = Control(
            deadline=1.0, timeout=5, budget=Budget(Decimal(1)), notes=("note",), tag="cell",
            job="job", cache="refresh",
        )  # fmt: skip
        control.stop.set()
        others = (
            replace(request, control=control),
            replace(request, stream=not request.stream),
            request.again(),
            copy.copy(request),
        )
        assert {keys(other) for other in others} == {keys(request)}

    @settings(deadline=None)
    @given(PARAMS)
    def test_before_and_after_the_parameters_are_checked(self, params):
        params.pop("response_format", None)
        assert keys(question(**check(params))) == keys(question(**params))

    @settings(deadline=None)
    @given(REQUESTS)
    def test_after_a_round_trip_through_json(self, request):
        params = json.loads(json.dumps(request.params))
        assert keys(replace(request, params=params)) == keys(request)

    @pytest.mark.parametrize("zero", [0.0, -0.0, 0])
    def test_of_each_zero(self, session, zero):
        ask = session.request("Hi", model="8x7b", temperature=zero)
        assert keys(ask) == keys(session.request("Hi", model="8x7b", temperature=0))

    @pytest.mark.parametrize(
        ("params", "same"),
        [
            ({"temperature": 1e0}, {"temperature": 1}),
            ({"stop": "END"}, {"stop": ("END",)}),
            ({"stop": []}, {}),
            ({"stop": ()}, {}),
            ({"seed": None}, {}),
            ({"n": 1}, {}),
            ({"n": 1.0}, {}),
            ({"logprobs": False}, {}),
            ({"logprobs": False, "top_logprobs": 3}, {}),
            ({"logprobs": True}, {"top_logprobs": 1}),
            ({"extra_body": {}}, {}),
            ({"response_format": {}}, {}),
            ({"extra_body": {"a": {"b": 1, "c": 2}}}, {"extra_body": {"a": {"c": 2.0, "b": 1}}}),
            ({"extra_body": {1: 2}}, {"extra_body": {"1": 2}}),
        ],
    )
    def test_of_defaults_and_forms(self, params, same):
        assert keys(question(**params)) == keys(question(**same))

    def test_of_one_text_and_one_part(self):
        whole = Request(MODEL, (Message("user", (Text("Hello"),)),))
        assert keys(whole) == keys(question())

    def test_of_facts_of_the_catalog_that_change_no_answer(self):
        price = Price(Decimal(1), Decimal(2))
        provider = replace(ACME, label="Acme, Inc.", note="new", max_in_flight=64)
        row = replace(MODEL, provider=provider, aliases=("two",), context=9, price=price, note="x")
        assert keys(question(model=row)) == keys(question())


class TestAnotherKey:
    @settings(deadline=None)
    @given(REQUESTS, REQUESTS)
    def test_of_every_other_question(self, one, other):
        """Of two random questions, told apart by another canonical form than the code's."""
        same = canonical(one) == canonical(other)
        assert (cache_key(one, URL) == cache_key(other, URL)) == same
        named = same and (one.asked or "acme:org/Model-1") == (other.asked or "acme:org/Model-1")
        assert (cassette_key(one) == cassette_key(other)) == named

    DIFFERENT = (
        question(),
        question("Hello "),
        question("hello"),
        question("e\N{COMBINING ACUTE ACCENT}"),
        question("\N{LATIN SMALL LETTER E WITH ACUTE}"),
        question(""),
        Request(MODEL, (Message("assistant", "Hello"),)),
        Request(MODEL, (Message("system", "Hello"),)),
        Request(MODEL, (Message("user", "Hel"), Message("user", "lo"))),
        Request(MODEL, (Message("user", (Text("Hel"), Text("lo"))),)),
        Request(MODEL, (Message("user", (Text("Hello"), PIXEL)),)),
        Request(MODEL, (Message("user", (PIXEL, Text("Hello"))),)),
        Request(MODEL, (Message("user", (Text("Hello"), replace(PIXEL, data=b"\x89PNH"))),)),
        Request(MODEL, (Message("user", (Text("Hello"), replace(PIXEL, type="image/gif"))),)),
        Request(MODEL, ()),
        question(temperature=0),
        question(temperature=1),
        question(temperature=0.1),
        question(top_p=0),
        question(top_p=1),
        question(top_k=1),
        question(min_p=0),
        question(seed=0),
        question(seed=1),
        question(max_tokens=1),
        question(n=2),
        question(stop=["1"]),
        question(stop=["1", "2"]),
        question(stop=["2", "1"]),
        question(logprobs=True),
        question(logprobs=True, top_logprobs=0),
        question(presence_penalty=0),
        question(frequency_penalty=0),
        question(repetition_penalty=1),
        question(extra_body={"a": 0}),
        question(extra_body={"a": False}),
        question(extra_body={"a": "0"}),
        question(extra_body={"a": None}),
        question(extra_body={"a": []}),
        question(extra_body={"a": {}}),
        question(extra_body={"a": ""}),
        question(extra_body={"a": [1, 2]}),
        question(extra_body={"a": [2, 1]}),
        question(extra_body={"temperature": 0}),
        question(response_format={"type": "json_object"}),
        question(response_format={"properties": {"a": {}, "b": {}}}),
        question(response_format={"properties": {"b": {}, "a": {}}}),
        question(response_format={"properties": [["a", {}], ["b", {}]]}),
        question(response_format={"properties": {"": [["a", {}], ["b", {}]]}}),
        question(model=replace(MODEL, id="org/Model-2")),
        question(model=replace(MODEL, provider=Provider("other", "Other"))),
    )

    @pytest.mark.parametrize("key", [lambda request: cache_key(request, URL), cassette_key])
    def test_of_whatever_changes_an_answer(self, key):
        assert len({key(request) for request in self.DIFFERENT}) == len(self.DIFFERENT)

    def test_in_the_cache_of_what_the_catalog_adds(self):
        rows = [
            MODEL,
            replace(MODEL, provider=replace(ACME, dialect=Dialect(always={"safe_prompt": True}))),
            replace(MODEL, provider=replace(ACME, headers={"X-Version": "2"})),
            replace(MODEL, provider=replace(ACME, dialect=Dialect(refuses=("seed",)))),
            replace(MODEL, refuses=("stop",)),
            replace(MODEL, rename={"max_tokens": "limit"}),
            replace(MODEL, options={"n_ctx": 512}),
        ]
        assert len({cache_key(question(model=row), URL) for row in rows}) == len(rows)
        assert len({cassette_key(question(model=row)) for row in rows}) == 1


def canonical(request: Request) -> object:
    """Return a question in a form that is equal for equal ones, made apart from the code."""
    params = {name: value for name, value in request.params.items() if value not in (None, [], {})}
    if params.get("n") == 1:
        del params["n"]
    if isinstance(params.get("stop"), str):
        params["stop"] = [params["stop"]]
    top = params.pop("top_logprobs", None)
    if params.pop("logprobs", top is not None):
        params["top_logprobs"] = 1 if top is None else top
    messages = []
    for message in request.messages:
        content = message.content
        if isinstance(content, tuple) and len(content) == 1 and isinstance(content[0], Text):
            content = content[0].text
        messages.append((message.role, content))
    return messages, typed(params)


def typed(value: object) -> object:
    """Return a JSON value in which booleans differ from numbers."""
    if isinstance(value, dict):
        return {name: typed(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [typed(item) for item in value]
    return ("bool", value) if isinstance(value, bool) else value


class TestEndpoint:
    def test_counts_in_the_cache(self):
        assert cache_key(question(), URL) != cache_key(question(), "http://localhost:8080/v1")

    @pytest.mark.parametrize(
        ("url", "same"),
        [
            ("https://api.acme.example/v1/", True),
            ("https://api.acme.example:443/v1", True),
            ("HTTPS://API.acme.example/v1", True),
            ("https://me:secret@api.acme.example/v1", True),
            (" https://api.acme.example/v1\n", True),
            ("https://api.acme.example/v1#top", True),
            ("http://api.acme.example/v1", False),
            ("https://api.acme.example:8443/v1", False),
            ("https://api.acme.example/V1", False),
            ("https://api.acme.example/v2", False),
            ("https://api.acme.example", False),
            ("https://acme.example/v1", False),
            ("https://api.acme.example/v1?api-version=2", False),
        ],
    )
    def test_has_one_form(self, url, same):
        assert (cache_key(question(), url) == cache_key(question(), URL)) is same

    @pytest.mark.parametrize("url", ["", "nonsense", "http://", "http://[::1]:11434/v1", "//x:y/"])
    def test_of_any_form_is_one(self, url):
        assert normalized_url(normalized_url(url)) == normalized_url(url)


class TestLocalFile:
    @pytest.fixture
    def file(self, tmp_path) -> Path:
        file = tmp_path / "model.gguf"
        file.write_bytes(b"GGUF" + bytes(1000))
        return file

    def local(self, file, **params) -> Request:
        return question(model=Model(str(file), LOCAL), **params)

    def test_another_content_is_another_endpoint(self, file):
        before = cache_key(self.local(file), file)
        file.write_bytes(b"GGUF" + bytes(999) + b"x")
        os.utime(file, ns=(1, 1))
        assert cache_key(self.local(file), file) != before

    def test_its_path_does_not_count(self, file, tmp_path):
        other = tmp_path / "elsewhere" / "other.gguf"
        other.parent.mkdir()
        other.write_bytes(file.read_bytes())
        assert cache_key(self.local(other), other) == cache_key(self.local(file), file)

    def test_all_of_it_counts(self, file, monkeypatch):
        monkeypatch.setattr(identity, "_SAMPLE", 16)
        before = cache_key(self.local(file), file)
        data = file.read_bytes()
        for position in (15, 16, 500, 1003):
            file.write_bytes(data[:position] + b"x" + data[position + 1 :])
            os.utime(file, ns=(position, position))
            assert cache_key(self.local(file), file) != before

    def test_a_large_one_is_hashed_by_samples(self, file, monkeypatch):
        monkeypatch.setattr(identity, "_WHOLE_FILE", 100)
        monkeypatch.setattr(identity, "_SAMPLE", 16)
        before = cache_key(self.local(file), file)
        assert cache_key(self.local(file), file) == before
        data = bytearray(file.read_bytes())
        for position in (0, len(data) // 2, len(data) - 1):
            changed = data.copy()
            changed[position] ^= 1
            file.write_bytes(changed)
            os.utime(file, ns=(position, position))
            assert cache_key(self.local(file), file) != before

    def test_it_is_read_once(self, file, monkeypatch):
        cache_key(self.local(file), file)
        monkeypatch.setattr("builtins.open", None)
        cache_key(self.local(file, seed=1), file)

    @pytest.mark.parametrize(
        "path",
        ["/home/me/model.gguf", "models/model.gguf", "C:\\Users\\me\\model.gguf", "model.gguf"],
    )
    @pytest.mark.parametrize("asked", [True, False])
    def test_a_cassette_has_its_name_alone(self, path, asked):
        request = replace(self.local(path), asked=f"local:{path}" if asked else "")
        assert cassette_key(request) == cassette_key(self.local("model.gguf"))
        assert cassette_key(request) != cassette_key(self.local("other.gguf"))


def test_a_cassette_has_the_name_that_was_asked_for():
    """So that it replays on a machine whose keys, or whose catalog, choose another provider."""
    other = replace(MODEL, id="org/model-1-turbo", provider=Provider("other", "Other"))
    one, two = replace(question(), asked="8x7b"), replace(question(model=other), asked="8x7b")
    assert cassette_key(one) == cassette_key(two)
    assert cassette_key(one) != cassette_key(replace(question(), asked="acme:one"))
    assert cache_key(one, URL) != cache_key(two, URL)
    assert cache_key(one, URL) == cache_key(replace(one, asked="acme:one"), URL)


def test_keys_are_pinned():
    """Stores keep keys: a change of how they are made gives them another version."""
    request = Request(
        MODEL,
        (Message("system", "Be brief."), Message("user", "Grüße")),
        {"temperature": 0.5, "max_tokens": 10, "response_format": {"properties": {"b": 1, "a": 2}}},
        asked="one",
    )
    assert keys(request) == PINNED
    assert all(len(key) == 32 for key in keys(request))


PINNED = ("f31e87556f1495feeff1737621d655ef", "1525dc412d98aab786671e339644b9d8")


def test_examples_hold():
    assert doctest.testmod(identity).failed == 0


def png(level: int, color: str = "red", mode: str = "RGB") -> Image:
    written = io.BytesIO()
    drawn = PIL.Image.new("RGB", (64, 48), color)
    drawn.paste("blue", (3, 5, 60, 40))
    drawn.convert(mode).save(written, "PNG", compress_level=level)
    return Image(written.getvalue())


def test_the_compression_of_a_png_is_not_part_of_a_key():
    """Another version of zlib compresses the same figure into other bytes."""
    low, high = png(1), png(9)
    assert low != high
    keys = {cassette_key(Request(MODEL, (Message("user", (each,)),))) for each in (low, high)}
    assert len(keys) == 1


def test_the_pixels_of_a_png_are_part_of_a_key():
    images = [png(9), png(9, "green"), png(9, mode="L"), png(9, mode="RGBA"), png(9, mode="P")]
    damaged = [replace(png(9), data=png(9).data[:cut]) for cut in (8, 40, 100)]
    cut = replace(png(9), data=b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIDAT")
    keys = {
        cassette_key(Request(MODEL, (Message("user", (each,)),)))
        for each in (*images, *damaged, cut)
    }
    assert len(keys) == 9


def test_a_decompression_bomb_is_hashed_as_it_is():
    bomb = zlib.compress(bytes(64 << 20), 9)
    chunk = struct.pack(">I", len(bomb)) + b"IDAT" + bomb + bytes(4)
    image = Image(b"\x89PNG\r\n\x1a\n" + chunk)
    assert image_hash(image) == hashlib.blake2b(image.data, digest_size=16).hexdigest()
