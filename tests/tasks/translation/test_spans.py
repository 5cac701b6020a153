from __future__ import annotations

import doctest

import pytest
from linear import is_linear

from mixmagic.tasks.translation import fault, scan, spans
from mixmagic.tasks.translation.spans import mask


@pytest.mark.parametrize("module", [fault, scan, spans], ids=lambda module: module.__name__)
def test_examples_are_true(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


# Each text, and what it hides.
HIDDEN = [
    ("Call `df.head()` now.", ["`df.head()`"]),
    ("Call ``a`b`` now.", ["``a`b``"]),
    ("A tick ` alone, then `x`.", ["` alone, then `"]),
    ("Three ``` alone.", []),
    ("Area $x^2$ of \\(y_1\\), $$\nz\n$$ and \\\\(a+b\\\\).",
     ["$x^2$", "\\(y_1\\)", "$$\nz\n$$", "\\\\(a+b\\\\)"]),
    ("It costs $5 and then $10 more, or US$3.", []),
    ("It costs 5$ less than 10$ for you.", []),
    ("See \\begin{align}a &= b\\end{align} there.", ["\\begin{align}a &= b\\end{align}"]),
    ("See [the guide](a(b).md) here.", ["a(b).md"]),
    ('See [the guide](<a b.md> "The title") here.', ["<a b.md>"]),
    ("![A cat](img/cat.png) sat.", ["img/cat.png"]),
    ("[![Badge text](b.svg)](https://c.d)", ["b.svg", "https://c.d"]),
    ("See [this text][ref] and [^note].", ["[ref]", "[^note]"]),
    ("As in [@knuth, p. 3] and [see @doe; @roe].", ["[@knuth, p. 3]", "[see @doe; @roe]"]),
    ("As \\cite[p. 3]{knuth} shows in \\ref{fig:a}.", ["\\cite[p. 3]{knuth}", "\\ref{fig:a}"]),
    ("See {ref}`intro` and :py:class:`~a.B` too.", ["{ref}`intro`", ":py:class:`~a.B`"]),
    ("See {doc}`the text <intro>` too.", ["{doc}`", " <intro>`"]),
    ("Set $HOME, ${USER} and $HOME:$PATH.", ["$HOME", "${USER}", "$HOME", "$PATH"]),
    ("Set $HOME/data/x.csv, %APPDATA%\\x.", ["$HOME/data/x.csv", "%APPDATA%\\x"]),
    ("Go to /usr/bin, ./x, ~/y and C:\\data\\new.", ["/usr/bin", "./x", "~/y", "C:\\data\\new"]),
    ("Read data/train.csv and README.md, and/or both.", ["data/train.csv", "README.md"]),
    ("Mail a.b@c.org. Or see www.x.com!", ["a.b@c.org", "www.x.com"]),
    ("(see https://x.y/z_(w)). Also **https://a.b/c**.", ["https://x.y/z_(w)", "https://a.b/c"]),
    ("Or <https://a.b>, <me@c.org>; example.com/x is one.",
     ["<https://a.b>", "<me@c.org>", "example.com/x"]),
    ("A <b>bold</b>&nbsp;word<br/> here.", ["<b>", "</b>&nbsp;", "<br/>"]),
    ('A <img src="x" alt="y > z"> and <kbd>Ctrl</kbd> here.',
     ['<img src="x" alt="y > z">', "<kbd>Ctrl</kbd>"]),
    ("A <!-- note\nhere --> b, a < b and c > d.", ["<!-- note\nhere -->"]),
    ("Hi {x}, {}, {0:.2f}, {n!r:>10}, {a.b[0]}.",
     ["{x}", "{}", "{0:.2f}", "{n!r:>10}", "{a.b[0]}"]),
    ("Hi {{ user.name }} {% if x %}yes{% endif %}.",
     ["{{ user.name }}", "{% if x %}", "{% endif %}"]),
    ("%s of %(n)d at %-5.2f%% is 100% sure.", ["%s", "%(n)d", "%-5.2f%%"]),
    ("Smile :smile: at 10:30:45 :+1: now.", [":smile:", ":+1:"]),
    ("A title {#the-title .big} here.", ["{#the-title .big}"]),
    ("The color #1f77b4 of plot_it() with max_n and --no-color.",
     ["#1f77b4", "plot_it()", "max_n", "--no-color"]),
    ("Two \\* three \\_ four.", ["\\*", "\\_"]),
    ("Ask @user, not user @ home.", ["@user"]),
    ("The marks [[7]] and [ [ 3] ] are text.", ["[[7]]", "[ [ 3] ]"]),
    ("First  \nsecond\\\nthird.", ["  \n", "\\\n"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "hidden"), HIDDEN, ids=range(len(HIDDEN)))
def test_what_must_not_change_is_hidden(text, hidden):
    assert list(mask(text, markdown=True).hidden) == hidden


@pytest.mark.parametrize(("text", "hidden"), HIDDEN, ids=range(len(HIDDEN)))
def test_marks_are_found_again_in_any_case_and_with_spaces(text, hidden):
    masked = mask(text, markdown=True)
    loud = masked.text.upper().replace("[[", "[[ ").replace("]]", " ]]")
    for answer, read in ((masked.text, str), (loud, str.upper), (masked.text.lower(), str.lower)):
        restored = masked.restore(answer)
        assert restored.faults == ()
        expected = read(text)
        for part in hidden:
            expected = expected.replace(read(part), part)
        assert restored.text == expected
    assert "[[" not in text or masked.restore(masked.text).text == text


def test_an_embedded_picture_is_hidden_whole():
    data = "data:image/png;base64," + "aB3/" * 50_000
    assert mask(f"The plot: ![a line]({data})", markdown=True).text == "The plot: ![a line]([[1]])"
    assert mask(f'The plot <img src="{data}"/> here', markdown=True).text == "The plot [[1]] here"


@pytest.mark.parametrize(
    "opening", ["[", "`", "<a ", "$a ", "{{", "](a", "<!--", "[^", "\\begin{a}", "a/", "a_", "@"]
)
def test_a_text_of_openings_takes_linear_time(opening):
    def read(text):
        masked = mask(text, markdown=True)
        masked.restore(masked.text)

    assert is_linear(read, lambda size: opening * (size // len(opening)), 60_000, most=20)


def test_terms_are_hidden_as_whole_words_in_their_case():
    text = "A DataFrame and a dataframe, DataFrames, C++ and C."
    assert mask(text, markdown=True, terms=["DataFrame", "C++", "C"]).hidden == (
        "DataFrame", "C++", "C",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "text", "messages"),
    [
        ("Appelez [[1]].", "Appelez `f(x)`.", ["`$y$` is missing."]),
        ("[[2]] [[1]] [[1]]", "$y$ `f(x)` `f(x)`", ["`f(x)` occurs 2 times, not 1."]),
        ("[[1]] [[2]] [[9]]", "`f(x)` $y$ ", ["[[9]] does not occur in the text."]),
        ("", "", ["`f(x)` is missing.", "`$y$` is missing."]),
        ("[[]] [[x]] [[1", "[[]] [[x]] [[1", ["`f(x)` is missing.", "`$y$` is missing."]),
        (f"[[{'9' * 5000}]] [[1]][[2]]", f"[[{'9' * 5000}]] `f(x)`$y$", []),
    ],
    ids=range(6),
)
def test_a_damaged_answer_gives_the_best_text_and_names_the_real_part(answer, text, messages):
    restored = mask("Call `f(x)` with $y$.", markdown=True).restore(answer)
    assert restored.text == text
    assert [fault.message for fault in restored.faults] == messages


def test_equal_parts_may_change_places():
    masked = mask("`x` is `x`, not `y`.", markdown=True)
    assert masked.restore("[[2]] ist [[1]], nicht [[3]].").faults == ()
    assert [fault.message for fault in masked.restore("[[1]], nicht [[3]]").faults] == [
        "`x` is missing (1 of 2)."
    ]


def test_a_link_keeps_its_form():
    masked = mask("See [the guide](a.md) now.", markdown=True)
    assert masked.restore("Siehe [die Anleitung] ( [[1]] ).").text == "Siehe [die Anleitung](a.md)."
    broken = masked.restore("Siehe die Anleitung [[1]].")
    assert [fault.message for fault in broken.faults] == ["The link to `a.md` is broken."]


def test_a_link_whose_text_is_its_label_gets_the_label_when_the_text_changes():
    masked = mask("See [Guide] and [More][].", markdown=True, labels={"guide", "more"})
    assert masked.restore(masked.text.upper()).text == "SEE [GUIDE] AND [MORE][]."
    restored = masked.restore("Voir [Manuel][[1]] et [Plus][[2]].")
    assert (restored.text, restored.faults) == ("Voir [Manuel][Guide] et [Plus][More].", ())
    broken = masked.restore("Voir le manuel [[1]] et [Plus][[2]].")
    assert [fault.message for fault in broken.faults] == ["The link [Guide] is broken."]


def test_spaces_that_a_model_adds_inside_an_element_are_removed():
    masked = mask("That <b>you</b> can check[^1]  \nit<br/> now.", markdown=True)
    restored = masked.restore("Que [[1]] vous [[2]] pouvez [[3]] vérifier [[4]] [[5]] ici.")
    assert restored.text == "Que <b>vous</b> pouvez[^1] vérifier  \n<br/> ici."
    kept = mask("A <b> word </b> [^1] here.", markdown=True)
    assert kept.restore(kept.text).text == kept.source


def test_line_ends_of_an_answer_become_spaces():
    masked = mask(" One `a\nb` two.\n", markdown=True)
    assert masked.restore("\nUn [[1]]\n  deux.\n\n").text == " Un `a\nb` deux.\n"


@pytest.mark.parametrize(
    ("text", "has_words"),
    [("`x` $y$", False), ("12.5", False), ("x", False), ("Été", True), ("你", True), ("", False)],
)
def test_a_text_without_words_needs_no_model(text, has_words):
    assert mask(text, markdown=True).has_words is has_words
