"""The user's own catalog files: they extend and override the package's."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from mixmagic.catalog import FREE, Catalog
from mixmagic.core.money import Price
from mixmagic.errors import BadArguments

MIXTRAL = "mistralai/Mixtral-8x7B-Instruct-v0.1"


@pytest.fixture
def read(tmp_path):
    """Write catalog files and read them."""
    folder = tmp_path / "catalog"
    folder.mkdir()

    def read(**files: str | bytes) -> Catalog:
        for name, text in files.items():
            raw = text if isinstance(text, bytes) else text.encode()
            (folder / f"{name}.toml").write_bytes(raw)
        return Catalog(folder)

    return read


def test_a_missing_folder_is_an_empty_one(tmp_path):
    assert Catalog(tmp_path / "none").models == Catalog().models


def test_the_session_reads_the_user_s_folder(home):
    from mixmagic.sessions import Session

    folder = home / "config" / "catalog"
    folder.mkdir(parents=True)
    (folder / "acme.toml").write_text('name = "acme"\nbase_url = "http://acme/v1"')
    assert Session().catalog.resolve("acme:x").provider.base_url == "http://acme/v1"


@pytest.mark.parametrize("context", [0, -5])
def test_a_context_that_is_no_number_of_tokens_is_unknown(read, context):
    row = f'name = "together"\n[[models]]\nid = "{MIXTRAL}"\ncontext = {context}'
    assert read(together=row).resolve("8x7b").context is None


def test_a_new_provider(read):
    catalog = read(
        acme="""
        name = "acme"
        base_url = "http://acme.test/v1"
        key_required = false
        [dialect]
        rename = { max_tokens = "max_completion_tokens" }
        [[models]]
        id = "road-runner"
        aliases = ["rr"]
        price = { input = "0.10", output = 0.20 }
        """
    )
    model = catalog.resolve("rr")
    assert model == catalog.resolve("acme:road-runner")
    assert model.price == Price(Decimal("0.10"), Decimal("0.20"))
    assert model.provider.label == "acme"
    assert model.provider.dialect.rename == {"max_tokens": "max_completion_tokens"}
    assert catalog.resolve("8x7b").provider.name == "together"


def test_a_row_is_overridden_field_by_field(read):
    catalog = read(
        mine=f"""
        name = "together"
        [[models]]
        id = "{MIXTRAL}"
        price = {{ input = "0.50", output = "0.55" }}
        status = "available"
        """
    )
    model, known = catalog.resolve("8x7b"), Catalog().resolve("8x7b")
    assert model.price == Price(Decimal("0.50"), Decimal("0.55"))
    assert model.status == "available"
    assert (model.id, model.aliases, model.context) == (MIXTRAL, known.aliases, known.context)
    assert len(catalog.models) == len(Catalog().models)


def test_a_price_has_a_day_a_source_and_its_discounts(read):
    catalog = read(
        acme="""
        name = "acme"
        [[models]]
        id = "x"
        price = { input = "1", output = "2", batch = "0.5", cached = "0.1", since = 2026-10-01, \
source = "acme.test/prices" }
        [[models]]
        id = "y"
        price = { input = 1, output = 2, batch = 1, cached = 0 }
        [[models]]
        id = "z"
        price = { input = 1, output = 2, cache_write = "1.25" }
        [[models]]
        id = "free"
        price = { input = 1, output = 2, cache_write = 0 }
        """.replace("\\\n", "")
    )
    price = catalog.resolve("acme:x").price
    one, two, half, tenth = map(Decimal, ("1", "2", "0.5", "0.1"))
    assert price == Price(one, two, batch=half, cached=tenth, since=date(2026, 10, 1))
    assert price.source == "acme.test/prices"
    price = catalog.resolve("acme:y").price
    assert price == Price(one, two, cached=Decimal(0))
    assert price.source == "your own acme.toml"
    assert catalog.resolve("acme:z").price == Price(one, two, cache_write=Decimal("1.25"))
    assert catalog.resolve("acme:free").price == Price(one, two, cache_write=Decimal(0))


def test_a_user_s_price_replaces_the_package_s_whole(read):
    """No discount, source or day of the old one is left: they were not said of the new one."""
    catalog = read(
        mine=f"""
        name = "together"
        [[models]]
        id = "{MIXTRAL}"
        price = {{ input = "0.50", output = "0.55" }}
        [[models]]
        id = "mistralai/Mixtral-8x22B-Instruct-v0.1"
        price = {{ input = "1", output = "1" }}
        checked = 2026-11-24
        """
    )
    model, known = catalog.resolve("8x7b"), Catalog().resolve("8x7b")
    assert (known.price.batch, known.checked) == (Decimal("0.5"), date(2026, 11, 22))
    assert (model.price.batch, model.checked) == (1, None)
    assert model.price.source == "your own mine.toml"
    assert catalog.resolve("8x22b").checked == date(2026, 11, 24)
    assert catalog.resolve("disco") == Catalog().resolve("disco")


def test_a_user_s_alias_outranks_the_package_s(read):
    catalog = read(
        mine="""
        name = "together"
        [[models]]
        id = "me/my-endpoint"
        aliases = ["8x7b"]
        """
    )
    for name in ("8x7b", "together:8x7b"):
        assert catalog.resolve(name).id == "me/my-endpoint"
    assert catalog.resolve("mixtral").id == MIXTRAL
    assert catalog.resolve(MIXTRAL).id == MIXTRAL


def test_a_provider_is_overridden_field_by_field_for_all_its_rows(read):
    catalog = read(
        mine="""
        name = "together"
        base_url = "https://proxy.example/v1"
        """
    )
    provider = catalog.providers["together"]
    assert provider.base_url == "https://proxy.example/v1"
    assert provider.key_env == "TOGETHER_API_KEY"
    rows = [model for model in catalog.models if model.provider.name == "together"]
    assert len(rows) == len(Catalog().rows_of(Catalog().providers["together"]))
    assert all(model.provider is provider for model in rows)
    assert catalog.resolve("together:anything").provider is provider


def test_a_user_s_files_may_build_on_each_other(read):
    """Files are read in the order of their names; the later one overrides."""
    catalog = read(
        a='name = "acme"\nlabel = "First"\n[[models]]\nid = "x"\ncontext = 1\naliases = ["ex"]',
        b='name = "acme"\nlabel = "Second"\n[[models]]\nid = "x"\ncontext = 2',
    )
    model = catalog.resolve("ex")
    assert (model.context, model.provider.label) == (2, "Second")


def test_a_free_provider_s_rows_are_free(read):
    catalog = read(home='name = "garage"\nfree = true\n[[models]]\nid = "x"')
    assert catalog.resolve("garage:x").price == FREE
    assert catalog.resolve("garage:y").price == FREE


def test_numbers_stay_numbers_that_json_can_carry(read):
    """A dialect's fields go into requests, a row's options into a backend."""
    catalog = read(
        acme="""
        name = "acme"
        [dialect]
        always = { temperature = 0.7, nested = { list = [0.5] } }
        [[models]]
        id = "x"
        options = { threshold = 0.25 }
        """
    )
    model = catalog.resolve("acme:x")
    assert type(model.provider.dialect.always["temperature"]) is float
    assert type(model.provider.dialect.always["nested"]["list"][0]) is float
    assert type(model.options["threshold"]) is float


HEAD = 'name = "acme"\n'
ROW = f'{HEAD}[[models]]\nid = "x"\n'


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("name =", id="no TOML"),
        pytest.param(b'name = "\xff"', id="no UTF-8"),
        pytest.param('label = "x"', id="no name"),
        pytest.param("name = 5", id="a name that is no text"),
        pytest.param(f"{HEAD}colour = 1", id="unknown provider field"),
        pytest.param(f"{HEAD}free = 'yes'", id="free that is no yes or no"),
        pytest.param(f"{HEAD}[dialect]\ncolour = 1", id="unknown dialect field"),
        pytest.param(f"{HEAD}dialect = 1", id="dialect that is no table"),
        pytest.param(f"{HEAD}models = 1", id="models that is no list"),
        pytest.param(f'{HEAD}[models]\nid = "x"', id="one table of models"),
        pytest.param(f"{HEAD}[[models]]\ncontext = 1", id="no id"),
        pytest.param(f"{HEAD}[[models]]\nid = 5", id="an id that is no text"),
        pytest.param(f"{ROW}colour = 1", id="unknown model field"),
        pytest.param(f'{ROW}price = "0.60"', id="price that is no table"),
        pytest.param(f'{ROW}price = {{ input = "1" }}', id="half a price"),
        pytest.param(f'{ROW}price = {{ input = "1", output = "$1" }}', id="price with a sign"),
        pytest.param(f'{ROW}price = {{ input = "1", outptu = "1" }}', id="misspelt price"),
        pytest.param(f'{ROW}price = {{ input = "nan", output = "1" }}', id="price that is none"),
        pytest.param(f'{ROW}price = {{ input = "-1", output = "1" }}', id="negative price"),
        pytest.param(f'{ROW}price = {{ input = "1", output = "1e13" }}', id="price of a mistake"),
        pytest.param(f"{ROW}price = {{ input = true, output = 1 }}", id="price that is a yes"),
        *(
            pytest.param(f'{ROW}price = {{ input = "1", output = "1", {field} }}', id=field)
            for field in (
                'batch = "1.01"',
                'batch = "-0.1"',
                'batch = "half"',
                'cached = "-1"',
                'cached = "inf"',
                "cached = []",
                'cache_write = "-1"',
                'cache_write = "nan"',
                'cache_write = "1e13"',
                "cache_write = true",
                'since = "2026-10-01"',
                "since = 2026-10-01T00:00:00",
                "since = 2026",
                "source = 5",
                "source = 2026-10-01",
            )
        ),
        pytest.param(f"{ROW}checked = 2026-10-01T00:00:00", id="checked that has a time"),
        pytest.param(f'{ROW}aliases = "fast"', id="aliases that are one text"),
        pytest.param(f"{ROW}aliases = 5", id="aliases that are no list"),
        pytest.param(f"{ROW}aliases = [5]", id="aliases that are no texts"),
        pytest.param(f'{ROW}context = "32k"', id="context that is no number"),
        pytest.param(f"{ROW}checked = '2026'", id="checked that is no date"),
        pytest.param(f"{ROW}total_params = 'many'", id="parameters that are no number"),
    ],
)
def test_a_bad_file_is_named(read, tmp_path, text):
    """Refused at once and by name: else it would fail, or mean something odd, far from here."""
    with pytest.raises(BadArguments) as caught:
        read(bad=text)
    assert str(tmp_path / "catalog" / "bad.toml") in caught.value.message
    assert "move it away" in caught.value.hint


@pytest.mark.parametrize(
    ("price", "says"),
    [
        ('{ input = "1" }', "a price needs an output"),
        ('{ input = "1", output = "$1" }', "the output of a price cannot be '$1'"),
        ('{ input = "1", output = "1", batch = "2" }', "batch is a factor from 0 to 1, not 2"),
        ('{ input = "1", output = "1", cached = "-1" }', "the cached of a price cannot be '-1'"),
        ('{ input = "1", output = "1", since = "soon" }', "since cannot be 'soon'"),
        (
            '{ input = "1", output = "1", cache_write = "free" }',
            "the cache_write of a price cannot be 'free'",
        ),
        ('"0.60"', "a price is a table, not '0.60'"),
    ],
)
def test_a_bad_price_is_told_apart_from_others(read, price, says):
    with pytest.raises(BadArguments) as caught:
        read(bad=f"{ROW}price = {price}")
    assert f"is invalid: {says}" in caught.value.message


def test_a_folder_in_a_file_s_place_is_named(read, tmp_path):
    (tmp_path / "catalog" / "folder.toml").mkdir()
    with pytest.raises(BadArguments, match=r"folder\.toml is invalid"):
        read()


def test_the_examples_of_the_readme_are_catalog_files(read):
    text = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    examples = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    whole = [each for each in examples if 'name = "' in each]
    assert len(whole) >= 4
    for each in whole:
        catalog = read(example=each)
        assert catalog.providers[re.search(r'^name = "(\w+)"', each, re.MULTILINE)[1]]
    rows = [each for each in examples if each not in whole]
    catalog = read(example='name = "openai"\n' + "\n".join(rows))
    assert "temperature" in catalog.resolve("openai:o4-mini").refuses


def test_a_model_whose_template_opens_its_thinking_is_marked(read):
    catalog = read(
        ours='name = "openai"\n[[models]]\nid = "r1"\nthinks = true\n[[models]]\nid = "b"'
    )
    assert catalog.resolve("openai:r1").thinks
    assert not catalog.resolve("openai:b").thinks
    with pytest.raises(BadArguments, match="thinks"):
        read(ours='name = "openai"\n[[models]]\nid = "r1"\nthinks = "yes"').resolve("openai:r1")


CAPABLE = """
name = "acme"
key_required = false
images = true
thinking = false
[[models]]
id = "plain"
[[models]]
id = "blind"
images = false
schema = true
thinking = true
"""


def test_a_model_s_capabilities_are_its_row_s_else_its_provider_s_else_unknown(read):
    catalog = read(acme=CAPABLE)
    plain, blind = catalog.resolve("acme:plain"), catalog.resolve("acme:blind")
    assert (plain.images, plain.schema, plain.thinking) == (True, None, False)
    assert (blind.images, blind.schema, blind.thinking) == (False, True, True)
    unlisted = catalog.resolve("acme:nobody-listed-it")
    assert (unlisted.images, unlisted.schema, unlisted.thinking) == (True, None, False)


def test_a_later_file_s_default_holds_for_the_rows_that_said_nothing(read):
    catalog = read(acme=CAPABLE, later='name = "acme"\nimages = false\nschema = true')
    assert (catalog.resolve("acme:plain").images, catalog.resolve("acme:plain").schema) == (
        False,
        True,
    )
    assert catalog.resolve("acme:plain").thinking is False
    assert catalog.resolve("acme:blind").thinking is True


@pytest.mark.parametrize("value", ['"yes"', "1", '["images"]'])
@pytest.mark.parametrize("name", ["images", "schema", "thinking"])
def test_a_capability_is_true_or_false(read, name, value):
    with pytest.raises(BadArguments, match=name):
        read(acme=f'name = "acme"\n[[models]]\nid = "x"\n{name} = {value}')
    with pytest.raises(BadArguments, match=name):
        read(acme=f'name = "acme"\n{name} = {value}')


def test_a_price_may_depend_on_the_length_of_the_prompt(read):
    row = 'name = "acme"\n[[models]]\nid = "x"\nprice = {{ input = 1, output = 2, {} }}'
    more = 'above = 272_000, long = { input = "2", output = 3 }, source = "acme.test"'
    price = read(acme=row.format(more)).resolve("acme:x").price
    assert (price.above, price.long) == (272_000, Price(Decimal(2), Decimal(3)))
    assert price.long.source == "acme.test"
    for wrong in (
        "above = 5",
        "long = { input = 1, output = 1 }",
        "above = 0, long = { input = 1, output = 1 }",
        'above = "5", long = { input = 1, output = 1 }',
        "above = 5, long = 7",
        "above = 5, long = { input = 1 }",
    ):
        with pytest.raises(BadArguments, match="is invalid"):
            read(acme=row.format(wrong))
