"""Names become models: tasks by the guide, shared aliases at the cheapest provider with a key."""

from __future__ import annotations

import pytest
from command_lines import shown

from mixmagic.catalog import Catalog
from mixmagic.catalog.selection import (
    GUIDE,
    TASKS,
    name_for_task,
    select,
    suited,
    task_preset,
)
from mixmagic.errors import BadArguments, UnknownModel

pytestmark = pytest.mark.usefixtures("own_prices")


@pytest.fixture
def read(tmp_path):
    """A catalog with a user's files."""

    def read(*texts: str) -> Catalog:
        for number, text in enumerate(texts):
            (tmp_path / f"{number}.toml").write_text(text)
        return Catalog(tmp_path)

    return read


def for_task(name: str, tokens: int, *keys: str, catalog: Catalog | None = None):
    """The model for a task, given providers with a key; and the reasons for it."""
    catalog = catalog or Catalog()
    model, reason = name_for_task(name, tokens, catalog)

    def fits(row) -> bool:
        return row.context is None or tokens <= row.context

    selection = select(model, catalog, lambda provider: provider.name in keys, fits)
    return selection.model.name, ", ".join(filter(None, (reason, selection.reason)))


@pytest.mark.parametrize(
    ("name", "low", "high", "model"),
    [
        ("chat", 0.5, 0.9, "8x7b"),
        ("code", 0.1, 0.3, "8x7b"),
        ("analysis", 0.4, 0.6, "8x22b"),
        ("creative", 0.7, 0.9, "8x7b"),
        ("translate", 0.1, 0.4, "8x7b"),
        ("summarize", 0.1, 0.4, "8x7b"),
    ],
)
def test_each_task_has_a_temperature_and_a_model(name, low, high, model):
    assert low <= task_preset(name).temperature <= high
    assert task_preset(name).model == model
    assert for_task(name, 1_000, "together")[0] == f"together:{model}"


def test_there_are_six_tasks_whose_strengths_the_catalog_knows():
    assert list(TASKS) == ["chat", "code", "analysis", "creative", "translate", "summarize"]
    known = {strength for model in Catalog().models for strength in model.strengths}
    assert {strength for preset in TASKS.values() for strength in preset.strengths} <= known


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Code", "Did you mean code? Tasks are chat, code,"),
        ("summarise", "Did you mean summarize?"),
        ("fly", "Tasks are"),
    ],
)
def test_an_unknown_task_is_refused_with_the_closest_name(name, hint):
    for use in (task_preset, lambda name: for_task(name, 1)):
        with pytest.raises(BadArguments, match="no task") as error:
            use(name)
        assert error.value.hint.startswith(hint)


def test_a_prompt_too_long_for_the_smaller_model_goes_to_the_larger():
    assert for_task("chat", 32_768, "together") == ("together:8x7b", "8x7b chosen for chat")
    assert for_task("chat", 32_769, "together") == (
        "together:8x22b",
        "8x22b chosen for 32,769 tokens, answer included (8x7b takes 32,768)",
    )


@pytest.mark.parametrize("keys", [(), ("together",), ("fireworks", "ollama"), ("mistral",)])
def test_the_name_for_a_task_depends_on_no_key(keys):
    """Only the provider does; so a recorded notebook finds its answers on any machine."""
    names = {for_task("code", 1_000, *keys)[0].partition(":")[2]}
    assert names == {"8x7b"}


ACME = """
name = "acme"
base_url = "https://acme.example/v1"
key_env = "ACME_API_KEY"
[[models]]
id = "mixtral-cheap"
aliases = ["8x7b"]
context = {context}
price = {{ input = "0.01", output = "0.01" }}
"""


def test_a_cheaper_provider_is_selected_only_if_the_prompt_fits_there(read):
    catalog = read(ACME.format(context=8_000))
    keys = ("acme", "openrouter")
    assert for_task("code", 8_000, *keys, catalog=catalog) == (
        "acme:8x7b",
        "8x7b chosen for code",  # the other one's price is not known
    )
    assert for_task("code", 8_001, *keys, catalog=catalog) == (
        "openrouter:8x7b",
        "8x7b chosen for code",
    )


OF_TWO = "the cheapest of 2 providers with a key"
OF_THREE = OF_TWO.replace("2", "3")


def meant(name: str, *keys: str, catalog: Catalog | None = None) -> tuple[str, str]:
    """The name of the model that a name means where these providers have a key, and the reason."""
    selection = select(name, catalog or Catalog(), lambda provider: provider.name in keys)
    return selection.model.name, selection.reason


@pytest.mark.parametrize(
    ("name", "keys", "model", "reason"),
    [
        ("8x7b", [], "together:8x7b", ""),  # as the catalog has it: the error names Together
        ("8x7b", ["together"], "together:8x7b", ""),
        ("8x7b", ["mistral"], "together:8x7b", ""),  # retired there
        ("8x7b", ["fireworks"], "together:8x7b", ""),  # dedicated at both
        (" 8X7B ", ["openrouter", "together"], "openrouter:8x7b", ""),  # the other is dedicated
        ("8x7b", ["openrouter"], "openrouter:8x7b", ""),
        ("8x7b", ["openrouter", "fireworks"], "openrouter:8x7b", ""),
        ("8x7b", ["ollama", "openrouter"], "openrouter:8x7b", ""),  # whether it runs is not known
        ("8x22b", ["ollama"], "ollama:8x22b", ""),
        ("8x7b", ["ollama", "together"], "ollama:8x7b", ""),  # dedicated at Together
        ("8x7b", ["mistral", "ollama"], "ollama:8x7b", ""),  # a key for what is retired
        ("8x7b", ["mistral", "together"], "together:8x7b", ""),
        ("together:8x7b", ["fireworks"], "together:8x7b", ""),
        ("Together:8x7b", ["fireworks"], "together:8x7b", ""),
        ("open-mixtral-8x7b", ["fireworks"], "mistral:8x7b", ""),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", ["openrouter"], "together:8x7b", ""),
        ("mixtral", ["openrouter"], "openrouter:8x7b", ""),
        ("gpt-6-luna", ["openrouter"], "openrouter:gpt-6-luna", ""),
        ("gpt-6-luna", ["openai", "openrouter"], "openai:gpt-6-luna", OF_TWO),
        ("claude-sonnet-5.5", ["openrouter"], "openrouter:claude-sonnet-5-5", ""),
        ("gpt-oss-20b", ["groq", "fireworks", "openrouter"], "openrouter:gpt-oss-20b", OF_THREE),
        ("gpt-99", ["openrouter"], "openai:gpt-99", ""),  # not in any file
        ("openai:8x7b", ["fireworks"], "openai:8x7b", ""),
    ],
)
def test_a_bare_alias_means_the_cheapest_provider_with_a_key(name, keys, model, reason):
    assert meant(name, *keys) == (model, reason)


def test_no_key_is_looked_for_where_there_is_no_choice():
    for name in ("disco", "local", "together:8x7b", "gpt-9", "openai:gpt-9", "open-mixtral-8x7b"):
        asked = []
        select(name, Catalog(), asked.append)
        assert asked == []
    asked = []
    select("8x7b", Catalog(), lambda provider: asked.append(provider.name))
    assert asked == ["openrouter", "ollama"], "the others do not serve it"


def test_an_unknown_name_stays_unknown():
    with pytest.raises(UnknownModel, match="'8x7'"):
        meant("8x7", "fireworks")


HOME = """
name = "{name}"
[[models]]
id = "our-team/mixtral-1"
aliases = ["8x7b"]
status = "available"
price = {{ input = "{price}", output = "{price}" }}
"""


def test_of_equal_prices_the_catalog_s_first_is_asked(read):
    catalog = read(HOME.format(name="together", price=1), HOME.format(name="zeta", price=1))
    assert meant("8x7b", "zeta", "together", catalog=catalog) == ("together:8x7b", OF_TWO)


def test_a_key_for_a_retired_row_does_not_outrank_a_server_that_is_set_up(read):
    """Not even if it is the catalog's first."""
    retired = HOME.format(name="acme", price=1).replace('"available"', '"retired"')
    catalog = read(f"{retired}", 'name = "acme"\nrank = 0\nkey_env = "ACME_API_KEY"')
    assert catalog.serving("8x7b")[0].provider.name == "acme"
    mine = HOME.format(name="ollama", price=1)
    catalog = read(retired, 'name = "acme"\nrank = 0\nkey_env = "ACME_API_KEY"', mine)
    assert meant("8x7b", "acme", "ollama", catalog=catalog)[0] == "ollama:8x7b"
    assert meant("8x7b", "acme", catalog=catalog)[0] == "acme:8x7b", "nobody else is set up"


def test_a_dedicated_endpoint_is_used_only_with_its_provider_s_name(read):
    dedicated = HOME.format(name="acme", price=1).replace('"available"', '"dedicated"')
    catalog = read(dedicated, HOME.format(name="ollama", price=1))
    assert meant("8x7b", "acme", "ollama", catalog=catalog)[0] == "ollama:8x7b"
    assert meant("acme:8x7b", "acme", "ollama", catalog=catalog)[0] == "acme:8x7b"


def test_a_server_of_the_user_s_own_may_serve_what_its_provider_does_not(monkeypatch):
    monkeypatch.setenv("TOGETHER_BASE_URL", "http://127.0.0.1:9/v1")
    assert meant("8x7b", "together", "openrouter")[0] == "together:8x7b"
    monkeypatch.setenv("TOGETHER_BASE_URL", "https://api.together.xyz/v1")
    assert meant("8x7b", "together", "openrouter")[0] == "openrouter:8x7b"


def test_a_user_s_row_stands_for_its_provider(read):
    """The package's, behind it, is another model: it may be cheaper."""
    catalog = read(HOME.format(name="fireworks", price=9))
    selection = select("8x7b", catalog, lambda provider: provider.name == "fireworks")
    assert selection.model.id == "our-team/mixtral-1"


def test_a_user_s_alias_outranks_the_package_s(read):
    """It is not theirs to choose, even where that row has no price."""
    catalog = read(HOME.format(name="together", price=1).replace("price =", "# price ="))
    assert meant("8x7b", "together", "fireworks", catalog=catalog) == ("together:8x7b", "")
    assert select("8x7b", catalog, lambda provider: True).model.id == "our-team/mixtral-1"


def families(wanted: str) -> list[str]:
    """The names of what is suited, each once."""
    found = suited(Catalog(), wanted)
    return list(dict.fromkeys(model.aliases[0] for model in found if model.total_params))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("long documents", ["8x22b"]),
        ("Complex Reasoning ", ["8x22b"]),
        ("low cost", ["8x7b"]),
        ("German", ["disco"]),
        ("offline", ["local"]),
        ("analysis", ["8x22b"]),
        ("code", ["8x7b"]),
        ("translate", ["8x7b"]),
        ("summarize", ["8x22b", "8x7b"]),
    ],
)
def test_models_are_found_by_a_strength_or_a_task(wanted, found):
    assert sorted(families(wanted)) == sorted(found)


def test_the_best_come_first_then_those_that_are_served_then_the_cheap_ones():
    assert [model.name for model in suited(Catalog(), "long documents")] == [
        *("ollama:8x22b", "openrouter:8x22b", "together:8x22b", "fireworks:8x22b", "mistral:8x22b")
    ]
    both = [model.name for model in suited(Catalog(), "creative")]
    assert both[0] == "openrouter:8x7b"
    assert both.index("ollama:8x7b") > both.index("mistral:8x7b"), "it has one of the two strengths"


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("resoning", "complex reasoning"),
        ("coding", "code"),
        ("long document", "long documents"),
        ("mathematic", "mathematics"),
        ("summarise", "summarize"),
    ],
)
def test_an_unknown_strength_is_refused_with_the_closest_one(wanted, meant):
    with pytest.raises(BadArguments, match="good for") as error:
        suited(Catalog(), wanted)
    assert error.value.hint.startswith(f"Did you mean {meant}? Strengths are ")


@pytest.mark.parametrize("wanted", ["fly to Mars", "", "?!"])
def test_the_hint_lists_strengths_and_tasks(wanted):
    with pytest.raises(BadArguments, match="good for") as error:
        suited(Catalog(), wanted)
    assert error.value.hint.startswith("Strengths are ")
    assert "long documents" in error.value.hint
    assert "tasks are chat" in error.value.hint


@pytest.mark.parametrize("words", [["long documents"], ["long", "documents"]])
def test_the_table_explains(session, words):
    (table,) = shown(session, "models", "--for", *words)
    assert table.rows[0][1] == "ollama:8x22b"
    assert all(sentence in table.caption for sentence in GUIDE.values())
    assert "--task" not in table.caption


def test_the_table_of_a_task_says_what_it_sets(session):
    (table,) = shown(session, "models", "--for", "code")
    assert "--task code: temperature 0.2, 8x7b by default" in table.caption
    assert not any(row[0] for row in table.rows), "the default cannot answer: no key is set"


def test_the_table_needs_no_model_of_the_session_s(session):
    session.model = "gone"
    (table,) = shown(session, "models", "--for", "code")
    assert not any(row[0] for row in table.rows)
