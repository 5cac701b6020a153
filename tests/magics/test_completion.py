"""Completion in the magics' lines and bodies: in a real kernel, and in a terminal's shell."""

from __future__ import annotations

import re
from types import SimpleNamespace

import IPython
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from server import Answer, together
from traitlets.config import Config

from mixmagic import magics

pytestmark = pytest.mark.skipif(
    IPython.version_info < (8, 6), reason="IPython has no matchers before 8.6"
)

SETUP = """
class Thing:
    __slots__ = ("inner", "data_frame")
    _hidden = 1
    @property
    def costly(self):
        ran.append("a property")
        return self
ran = []
thing = Thing()
thing.inner = thing
thing.data_frame = [1]
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    from kernels import Desk

    desk = Desk(tmp_path_factory.mktemp("desk"))
    assert desk.run(SETUP).status == "ok"
    yield desk
    desk.close()


def completed(desk, typed: str) -> tuple[list[str], list[str]]:
    """Complete at `|`; return the texts that the cell could become, and their kinds."""
    position = typed.index("|")
    code = typed.replace("|", "")
    client = desk.kernel.client
    sent = client.complete(code, position)
    while True:
        reply = client.get_shell_msg(timeout=30)
        if reply["parent_header"]["msg_id"] == sent:
            break
    content = reply["content"]
    start, end = content["cursor_start"], content["cursor_end"]
    assert end == position
    kinds = [each["type"] for each in content["metadata"]["_jupyter_types_experimental"]]
    return [f"{code[:start]}{match}{code[end:]}" for match in content["matches"]], kinds


NAMES = ["alias", "budget", "cache", "cassette", "chats", "doctor", "history", "jobs", "local",
    "login", "logout", "models", "prices", "running", "set", "spend", "templates", "translate",
    "use"]  # fmt: skip
PERIODS = ("session", "day", "month")
CASES = [
    ("%%mixtral --ma|", ["%%mixtral --max-tokens"]),
    ("%%mixtral --d|\nHello", ["%%mixtral --dry-run\nHello"]),
    ("\n%%mixtral --d|", ["\n%%mixtral --dry-run"]),
    ("%%mixtral -m mistral:8|", ["%%mixtral -m mistral:8x7b", "%%mixtral -m mistral:8x22b"]),
    ("%%mixtral --model=mistral:8x7|", ["%%mixtral --model=mistral:8x7b"]),
    ("%%mixtral --task cha|", ["%%mixtral --task chat"]),
    ("%%mixtral -s 'two words' -f h|", ["%%mixtral -s 'two words' -f html"]),
    ("%%mixtral --as cu|", ["%%mixtral --as curl"]),
    ("%mixtral -f h|", ["%mixtral -f html"]),
    ("for _ in x:\n    %mixtral -f h|", ["for _ in x:\n    %mixtral -f html"]),
    ("x = %mixtral -f h|", ["x = %mixtral -f html"]),
    ("%mixmagic l|", ["%mixmagic local", "%mixmagic login", "%mixmagic logout"]),
    ("%mixmagic b|", ["%mixmagic budget"]),
    ("%mixmagic use mistral:8x7|", ["%mixmagic use mistral:8x7b"]),
    ("%mixmagic models openr|", ["%mixmagic models openrouter"]),
    ("%mixmagic models openrouter --l|", ["%mixmagic models openrouter --live"]),
    ("%mixmagic budget --per d|", ["%mixmagic budget --per day"]),
    ("%mixmagic budget --per |", [f"%mixmagic budget --per {p}" for p in PERIODS]),
    ("%mixmagic budget 1 --n|", ["%mixmagic budget 1 --notebook"]),
    ("%mixmagic spend --by=d|", ["%mixmagic spend --by=day"]),
    ("%mixmagic local i|", ["%mixmagic local install"]),
    ("%mixmagic doctor -|", ["%mixmagic doctor -h", "%mixmagic doctor --help"]),
    ("%%mixtral\nSee {{ thin|", ["%%mixtral\nSee {{ thing"]),
    ("%%mixtral\nSee {{thing.da| }} now", ["%%mixtral\nSee {{thing.data_frame }} now"]),
    (
        "%%mixtral\n{{ thing }}\n{{ len(thing.inner.inner.da|",
        ["%%mixtral\n{{ thing }}\n{{ len(thing.inner.inner.data_frame"],
    ),
    ("%%mixtral\n{{ thing._hid|", ["%%mixtral\n{{ thing._hidden"]),
    ("%%mixtral\n{{ sor|", ["%%mixtral\n{{ sorted"]),
    ("%mixtral -f html See {{ thin|", ["%mixtral -f html See {{ thing"]),
    ("%mixtral {{ thin|", ["%mixtral {{ thing"]),
]


@pytest.mark.parametrize(("typed", "expected"), CASES)
def test_completions(desk, typed, expected):
    assert completed(desk, typed)[0] == expected


def test_attributes_are_found_without_running_properties(desk):
    texts, kinds = completed(desk, "%%mixtral\n{{ thing.|")
    assert texts == [f"%%mixtral\n{{{{ thing.{each}" for each in ("costly", "data_frame", "inner")]
    assert set(kinds) == {"attribute"}
    assert desk.value("ran") == []
    _, others = completed(desk, "%%mixtral\n{{ thing.costly.|")
    assert "attribute" not in others  # jedi reads the property's source, and may know more


@pytest.mark.parametrize(
    "typed",
    [
        "%%mixtral\nthe option --ma|",
        "%%mixtral\n{{ thing }} thin|",
        "%%time\n%%mixtral --ma|",
        "%%writefile x\n{{ thing.da|",
        "%%mixtralx --ma|",
        "# %mixtral --ma|",
        "print('%mixtral --ma|')",
        "%mixtral Please, no --ma|",
        "%mixmagic nothing --li|",
        "%mixmagic\nuse mistral:8x7|",
        "%%mixmagic\n{{ thin|",
        "%%mixtral -s --m|",
        "%%mixtral -f html=x|",
    ],
)
def test_nothing_is_offered_elsewhere(desk, typed):
    _, kinds = completed(desk, typed)
    assert not {"option", "value", "command", "variable", "attribute"} & set(kinds)


def names(desk, typed):
    """Return the names that are offered for what has been typed in braces."""
    texts, _ = completed(desk, f"%%mixtral\n{{{{ {typed}|")
    return [text.rpartition(" ")[2] for text in texts]


def test_python_s_names_are_offered_if_none_of_the_notebook_s_fits(desk):
    desk.run("orders = quarters = data = 1")
    assert names(desk, "r") == ["ran"]
    assert names(desk, "d") == ["data"]
    assert names(desk, "o") == ["orders"]
    assert names(desk, "di") == ["dict", "dir", "display", "divmod"]
    assert names(desk, "op") == ["open"]
    assert "error" in names(desk, "er")


def test_tables_and_their_columns_go_before_other_names(desk):
    desk.run("import pandas as pd; table = pd.DataFrame({'zone': ['x'], 'text': [1], 'a b': [2]})")
    desk.run("zeros = ['a', 'b']; zlen = 5")
    texts, kinds = completed(desk, "%%mixtral --each |")
    offered = [text.rpartition(" ")[2] for text in texts]
    assert offered[0] == "table"
    assert "zeros" in offered
    assert "zlen" not in offered
    assert set(kinds) == {"value"}
    for typed, expected in (
        ("%%mixtral --each table -t 0\nSee {{ z|", ["zone", "zeros", "zlen"]),
        ("%%mixtral -t 0 --each=table\nSee {{ te|", ["text"]),
        ("%%mixtral --each zeros\nSee {{ te|", ["text"]),
        ("%mixtral --each table See {{ zo|", ["zone"]),
    ):
        texts, _ = completed(desk, typed)
        assert [text.rpartition(" ")[2] for text in texts] == expected, typed
    texts, _ = completed(desk, "%%mixtral\nSee {{ zo|")
    assert not texts or "zone" not in texts[0]
    desk.run("del table, zeros, zlen")


def test_the_numbers_of_jobs_are_offered(desk):
    desk.run(
        "import mixmagic\n_job = mixmagic.session().journal.begin(b'x', name='n', model='m',"
        " prompt='p', source='r', options={})"
    )
    assert completed(desk, "%mixmagic jobs show |")[0] == ["%mixmagic jobs show 1"]
    assert completed(desk, "%mixmagic jobs re|")[0] == ["%mixmagic jobs resume"]


def test_for_a_value_no_one_else_offers_python(desk):
    for typed in ("%%mixtral -s |", "%%mixtral -s i|", "%mixtral -m in|", "%mixmagic use in|"):
        assert completed(desk, typed)[0] == [typed.replace("|", "")]


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The session's own words, in a notebook with a few names."""
    from kernels import Desk

    desk = Desk(tmp_path_factory.mktemp("real"))
    names = "import json\nclass Person: pass\nperson = {'type': 'object'}\npeople = list[Person]"
    desk.run(f"{names}\ndef f(): pass\nplain = 1\n_hidden = {{}}")
    yield desk
    desk.close()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("%%mixtral -m 8|", ["8x7b", "8x22b"]),
        ("%%mixtral --model=8|", ["8x7b", "8x22b"]),
        ("%%mixtral -m disc|", ["disco"]),
        ("%mixmagic use 8|", ["8x7b", "8x22b"]),
        ("%mixmagic prices together:8|", ["together:8x7b", "together:8x22b"]),
        ("%%time\n%mixtral -m disc|", ["disco"]),
        ("%%capture seen\nx = 1\n%mixmagic use disc|", ["disco"]),
        ("%mixtral f|", ["fix"]),
        ("%mixtral -m 8x7b f|", ["fix"]),
        ("%%mixtral --schema |", ["Person", "people", "person"]),
        ("%%mixtral -o p|", ["person", "plain"]),
        ("%%mixtral -o new|", ["new"]),
        ("%%mixtral --chat |", ["chat"]),
        ("%%mixtral -c --ma|", ["--max-tokens"]),
        ("%%mixtral -c -t 0 -m disc|", ["disco"]),
        ("%mixmagic chats |", ["list", "show", "forget", "save"]),
        ("%mixmagic |", NAMES),
        ("%mixmagic chats f|", ["forget"]),
        ("%mixmagic chats forget --a|", ["--all"]),
    ],
)
def test_the_names_that_people_type(real, typed, expected):
    texts, _ = completed(real, typed)
    before = re.sub(r"[^\s=]*\|$", "", typed)
    assert texts == [f"{before}{each}" for each in expected]


def test_a_cell_s_first_line_is_not_a_prompt(real):
    assert "%mixtral fix" in completed(real, "%mixtral |")[0]
    assert "%%mixtral fix" not in completed(real, "%%mixtral |")[0]


def test_the_names_of_conversations(real):
    assert real.run("%%mixtral -c tea\nHi", Answer(together("Hello"))).status == "ok"
    for before in ("%%mixtral -c ", *(f"%mixmagic chats {c} " for c in ("show", "forget", "save"))):
        assert completed(real, f"{before}|")[0][0] == f"{before}tea"
        assert completed(real, f"{before}t|")[0] == [f"{before}tea"]


def test_jedi_is_not_started_for_it(start_kernel):
    kernel = start_kernel()
    assert kernel.run(SETUP).status == "ok"
    fresh = SimpleNamespace(kernel=kernel)
    for typed, _ in CASES:
        completed(fresh, typed)
    grammars = "import parso.grammar; print(len(parso.grammar._loaded_grammars))"
    assert kernel.run(grammars).text.strip() == "0"
    completed(fresh, "import os\nos.pat|")
    assert kernel.run(grammars).text.strip() != "0"  # it would have been seen


def test_after_unloading_nothing_is_offered(start_kernel):
    kernel = start_kernel()
    desk = SimpleNamespace(kernel=kernel)
    assert completed(desk, "%%mixtral --max|")[0] == ["%%mixtral --max-tokens"]
    kernel.run("%unload_ext mixmagic")
    assert completed(desk, "%%mixtral --max|")[0] != ["%%mixtral --max-tokens"]
    kernel.run("%load_ext mixmagic")
    assert completed(desk, "%%mixtral --max|")[0] == ["%%mixtral --max-tokens"]


@pytest.fixture
def shell():
    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    yield shell
    magics.unregister(shell)
    InteractiveShell.clear_instance()


def offered(shell, typed: str) -> list[str]:
    with provisionalcompleter():
        return [each.text for each in shell.Completer.completions(typed, len(typed))]


def test_in_a_terminal_s_shell(shell, session):
    magics.register(shell, session)
    shell.user_ns["answer"] = "text"
    assert offered(shell, "%%mixtral -m loc") == ["local"]
    assert offered(shell, "%mixmagic us") == ["use"]
    assert offered(shell, "%%mixtral\nSee {{ answ") == ["answer"]
    assert "isupper" in offered(shell, "%%mixtral\nSee {{ answer.")


def test_values_that_cannot_be_read_show_no_traceback(shell, session, home, capsys):
    magics.register(shell, session)
    (home / "config" / "catalog").mkdir(parents=True)
    (home / "config" / "catalog" / "mine.toml").write_text("not TOML")
    assert offered(shell, "%mixmagic use lo") != ["local"]
    assert "".join(capsys.readouterr()) == ""


def test_an_alias_is_completed_as_its_magic_is(real):
    real.run("%alias_magic ai mixtral\n%alias_magic again ai")
    for before in ("%ai --max", "%%ai --max", "x = %again -t 0 --max"):
        assert completed(real, f"{before}|")[0] == [f"{before}-tokens"], before
