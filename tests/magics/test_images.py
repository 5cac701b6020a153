"""Images in the prompts of `%%mixtral`, in a real kernel."""

from __future__ import annotations

import base64
import io

import PIL.Image
import pytest
from kernels import Desk
from server import Answer, chunk, frames, usage
from server import together as words

SAID = Answer(words("A line."))
FIGURE = """
import matplotlib.figure
import PIL.Image
red = PIL.Image.new("RGB", (40, 30), "red")
fig = matplotlib.figure.Figure()
ax = fig.subplots()
lines = ax.plot([1, 2, 4])
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    catalog = desk.home / "config" / "catalog"
    catalog.mkdir(parents=True)
    (catalog / "together.toml").write_text(
        'name = "together"\n'
        '[[models]]\nid = "acme/sees"\naliases = ["sees"]\nimages = true\ncontext = 32768\n'
        "price = { input = 1, output = 2 }\n"
        '[[models]]\nid = "acme/blind"\naliases = ["blind"]\nimages = false\n'
    )
    assert desk.run(FIGURE).status == "ok"
    yield desk
    desk.close()


def parts(desk: Desk) -> list[str | tuple[int, int]]:
    """The parts of the last message: texts, and the sizes of images."""
    content = desk.sent["messages"][-1]["content"]
    assert isinstance(content, list), content
    return [part["text"] if part["type"] == "text" else size(part) for part in content]


def size(part: dict) -> tuple[int, int]:
    kind, data = part["image_url"]["url"].split(";base64,")
    assert kind in ("data:image/png", "data:image/jpeg")
    return PIL.Image.open(io.BytesIO(base64.b64decode(data))).size


def test_a_figure_is_sent_at_its_place_and_the_footer_says_so(desk):
    ran = desk.run("%%mixtral -m sees\nWhat does {{ fig }} show, and {{ red }}?", SAID)
    assert ran.status == "ok", ran.text
    before, figure, between, red, after = parts(desk)
    assert (before, between, after) == ("What does ", " show, and ", "?\n")
    assert red == (40, 30)
    assert 300 < figure[0] < 700
    assert f"2 images ({figure[0]}×{figure[1]}, 40×30)" in ran.text
    assert "[image 40×30]" in desk.value("__import__('mixmagic').session().history[-1].prompt")


def test_in_one_line_and_as_the_whole_prompt(desk):
    assert desk.run("%mixtral -m sees {{ red }}", SAID).status == "ok"
    assert parts(desk) == [(40, 30)]


def test_the_name_of_an_image_that_is_not_there_is_told_of(desk):
    ran = desk.run('%%mixtral -m blind\nName {{ "plots/no.png" }} better.', SAID)
    assert desk.sent["messages"][-1]["content"] == "Name plots/no.png better.\n"
    assert '"plots/no.png" sent as text: it names no PNG, JPEG, GIF or WebP file' in ran.text


def test_a_scaled_image_is_told_of(desk):
    desk.run("large = PIL.Image.new('L', (3136, 1000))")
    ran = desk.run("%%mixtral -m sees\n{{ large }}", SAID)
    assert parts(desk) == [(1568, 500)]
    assert "large scaled down from 3136×1000" in ran.text


def test_inside_of_a_template(desk):
    folder = desk.home / "config" / "templates"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "look.md").write_text("Look: {{ cell }}\nOf {{ len(cell) }}: {{ cell.upper() }}")
    ran = desk.run("%%mixtral -m sees --template look\nthis {{ red }}", SAID)
    assert ran.status == "ok", ran.text
    assert parts(desk) == ["Look: this ", (40, 30), "\n\nOf 19: THIS [IMAGE 40×30]"]


def test_a_conversation_keeps_its_images(desk):
    desk.run("%%mixtral -m sees -c talk\nWhat is {{ red }}?", SAID)
    ran = desk.run("%%mixtral -m sees -c talk\nAnd its color?", SAID)
    first, _, second = desk.sent["messages"]
    assert [part["type"] for part in first["content"]] == ["text", "image_url", "text"]
    assert second["content"] == "And its color?\n"
    assert "1 image of earlier messages" in ran.text
    shown = desk.run("%mixmagic chats show talk").text
    assert "What is [image 40×30]?" in shown
    assert "base64" not in shown


@pytest.mark.parametrize(
    ("code", "says", "hint"),
    [
        ("%%mixtral -m blind\n{{ red }}", "blind does not see images", "-m together:"),
        ("%%mixtral -m local\n{{ fig }}", "local does not see images", "-m together:"),
        ("%%mixtral -m sees -s '{{ red }}'\nHi", "system prompt cannot", "into the prompt"),
        ("%%mixtral -m sees\n{{ {'a': red} }}", "inside of another", "braces of its own"),
        ("%%mixtral -m sees\n{{ lines }}", "a part of a figure", ".figure"),
    ],
)
def test_a_refusal_is_two_lines_and_sends_nothing(desk, code, says, hint):
    desk.plan(SAID)
    ran = desk.kernel.run(code)
    assert ran.status == "error", ran.text
    assert len(ran.traceback) == 2
    assert says in ran.traceback[0]
    assert hint in ran.traceback[1]
    assert desk.server.received == []


def test_nothing_is_an_image_with_raw(desk):
    desk.run("%%mixtral -m sees --raw\n{{ red }}", SAID)
    assert desk.sent["messages"][-1]["content"] == "{{ red }}\n"


def test_a_dry_run_tells_the_images_and_their_tokens(desk):
    desk.plan(SAID)
    ran = desk.kernel.run("%%mixtral -m sees --dry-run\nCompare {{ red }} and {{ red }}.")
    assert "2 images, about 2,200 tokens of these, at most 96,338" in ran.text
    assert desk.server.received == []


def test_a_budget_holds_for_the_most_that_an_image_can_be_counted(desk):
    desk.plan(SAID)
    ran = desk.kernel.run("%%mixtral -m sees --budget 0.04\n{{ red }}")
    assert ran.reply["ename"] == "BudgetExceeded"
    assert desk.server.received == []
    assert desk.run("%%mixtral -m sees --budget 0.08\n{{ red }}", SAID).status == "ok"


def test_a_program_reads_the_image_beside_the_notebook(desk):
    ran = desk.run("%%mixtral -m sees --as openai\nWhat is {{ red }}?", SAID)
    assert ran.status == "ok", ran.text
    (file,) = desk.home.parent.glob("image-*.png")
    assert file.name in ran.text
    assert PIL.Image.open(io.BytesIO(file.read_bytes())).size == (40, 30)
    assert len(ran.text) < 1_200


def test_again_sends_the_image_once_more(desk):
    desk.run("%%mixtral -m sees\nWhat is {{ red }}?", SAID)
    desk.run("red, kept = None, red")
    ran = desk.run("%mixtral again -t 1", SAID)
    desk.run("red = kept")
    assert ran.status == "ok", ran.text
    assert parts(desk) == ["What is ", (40, 30), "?\n"]


def test_in_the_background(desk):
    desk.run("%%mixtral -m sees --bg -o late\nWhat is {{ red }}?", SAID)
    assert desk.value("late.text") == "A line."
    assert parts(desk) == ["What is ", (40, 30), "?\n"]


def test_after_examples(desk):
    desk.run("pairs = [('a dog?', 'no'), ('a cat?', 'yes')]")
    ran = desk.run("%%mixtral -m sees --examples pairs\n{{ red }}?", SAID)
    assert ran.status == "ok", ran.text
    assert parts(desk) == [(40, 30), "?\n"]
    assert len(desk.sent["messages"]) == 5


def test_a_schema_is_asked_for_beside_the_image(desk):
    desk.run("from dataclasses import dataclass\n@dataclass\nclass Seen:\n    color: str")
    said = Answer(words('{"color": "red"}'))
    ran = desk.run("%%mixtral -m sees --schema Seen -o seen\nWhat is {{ red }}?", said)
    assert ran.status == "ok", ran.text
    assert desk.value("seen.color") == "red"
    assert parts(desk) == ["What is ", (40, 30), "?\n"]


def test_of_several_answers(desk):
    two = Answer([frames(chunk("red", "stop", **usage(9, 2)))])
    ran = desk.run("%%mixtral -m sees -n 2 -o both\n{{ red }}", two)
    assert ran.status == "ok", ran.text
    assert parts(desk) == [(40, 30)]
