"""A prompt with images goes to a model that sees them, or is refused before money is reserved."""

from __future__ import annotations

import PIL.Image
import pytest
from server import Answer
from server import together as words

from mixmagic.errors import ImagesUnsupported, UnknownModel
from mixmagic.sessions import Session

RED = PIL.Image.new("RGB", (40, 30), "red")
CATALOG = """
name = "{name}"
base_url = "{url}"
key_env = "{name}_KEY"
{head}

[[models]]
id = "blind"
images = false
aliases = ["both"]

[[models]]
id = "seeing"
images = true
aliases = ["sees"]
price = {{ input = 1, output = {price} }}

[[models]]
id = "untold"
"""


@pytest.fixture
def catalog(home, server, monkeypatch):
    """Two providers with models that see images, that see none, and of which it is unknown."""
    folder = home / "config" / "catalog"
    folder.mkdir(parents=True)
    for name, price, head in (("acme", 9, "rank = -2"), ("bolt", 2, "images = true\nrank = -1")):
        text = CATALOG.format(name=name, url=server.url, price=price, head=head)
        if name == "bolt":
            text = text.replace('id = "blind"\nimages = false', 'id = "other"\nimages = true')
        (folder / f"{name}.toml").write_text(text)
    server.plan = [Answer(words("A square."))]
    return server


def test_a_model_that_sees_none_is_refused_and_the_hint_names_those_that_do(
    session, catalog, monkeypatch
):
    monkeypatch.setenv("acme_KEY", "canary-key-4711")
    monkeypatch.setenv("bolt_KEY", "canary-key-4712")
    with pytest.raises(ImagesUnsupported) as caught:
        session.ask(["What?", RED], model="acme:blind")
    assert caught.value.message == "acme:both does not see images."
    assert caught.value.hint.startswith(
        "Use a model that sees images: -m bolt:sees or -m acme:sees"
    )
    assert catalog.received == []
    for name in ("bolt:sees", "acme:sees"):
        assert session.ask(["What?", RED], model=name).text == "A square."


@pytest.mark.parametrize("name", ["local", "8x7b", "together:8x7b"])
def test_without_a_key_the_name_is_as_asked_and_the_hint_says_which_keys_to_set(
    session, catalog, name
):
    with pytest.raises(ImagesUnsupported) as caught:
        session.ask([RED], model=name)
    assert caught.value.message == f"{name} does not see images."
    assert caught.value.hint == (
        "Models that see images need a key: set acme_KEY for -m acme:sees or bolt_KEY for"
        " -m bolt:sees, or run `%mixmagic login acme`."
    )
    assert catalog.received == []


def test_a_plan_is_refused_as_the_call_would_be(session, catalog, monkeypatch):
    monkeypatch.setenv("acme_KEY", "canary-key-4711")
    with pytest.raises(ImagesUnsupported):
        session.plan(session.request([RED], model="acme:blind"))
    assert session.plan(session.request(["Hi"], model="acme:blind")).prompt.tokens < 20


def test_an_unknown_model_is_tried_and_the_footer_says_that_it_is_unknown(
    session, catalog, monkeypatch
):
    monkeypatch.setenv("acme_KEY", "canary-key-4711")
    answer = session.ask(["What?", RED], model="acme:untold")
    assert "it is not known if acme:untold sees images" in answer.notes
    assert "1 image (40×30)" in answer.notes
    assert not session.ask("What?", model="acme:untold").notes


def test_of_the_providers_of_a_name_one_that_sees_is_chosen(session, catalog, monkeypatch):
    monkeypatch.setenv("acme_KEY", "canary-key-4711")
    monkeypatch.setenv("bolt_KEY", "canary-key-4712")
    assert session.ask("What?", model="both").model.id == "blind"
    assert session.ask(["What?", RED], model="both").model.id == "other"


def test_an_unknown_name_is_still_unknown(session, catalog):
    with pytest.raises(UnknownModel):
        session.request([RED], model="acme-sees")


def test_a_recorded_answer_needs_no_model_that_sees(session, catalog, monkeypatch, tmp_path):
    """Below replay: the recording answers on a machine without any key."""
    monkeypatch.setenv("acme_KEY", "canary-key-4711")
    monkeypatch.setenv("MIXMAGIC_CASSETTE", str(tmp_path / "a.cassette.jsonl"))
    monkeypatch.setenv("MIXMAGIC_CASSETTE_MODE", "once")
    first = session.ask(["What?", RED], model="acme:sees")
    monkeypatch.delenv("acme_KEY")
    monkeypatch.setenv("MIXMAGIC_CASSETTE_MODE", "none")
    elsewhere = Session()
    again = elsewhere.ask(["What?", PIL.Image.new("RGB", (40, 30), "red")], model="acme:sees")
    assert (again.text, again.origin) == (first.text, "cassette")
    assert len(catalog.received) == 1
