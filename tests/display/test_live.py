"""An answer grows in a cell at a bounded rate, with linear bytes, and ends in static outputs."""

from __future__ import annotations

import pytest
from kernels import Desk, Ran
from server import CUT, Answer, chunk, frames, together, usage

from mixmagic.text.sanitize import sanitize

DISPLAYS = ("display_data", "update_display_data")
# The answer's pieces are this long and this many seconds apart: 20,000 characters a second.
PIECE, GAP = 100, 0.005


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    yield desk
    desk.close()


def paced(text: str, piece: int = PIECE, gap: float = GAP) -> Answer:
    """`text` in pieces, as from a model of even speed."""
    pieces = [text[i : i + piece] for i in range(0, len(text), piece)]
    steps: list = []
    for each in pieces:
        steps += [frames(chunk(each), done=False), gap]
    return Answer([*steps, frames(chunk("", "stop", **usage(9, len(pieces))))])


def prose(size: int) -> str:
    """Markdown of `size` characters, in paragraphs."""
    paragraph = " ".join(["Word after word after word, in *some* sentence or other."] * 8) + "\n\n"
    return (paragraph * (size // len(paragraph) + 1))[:size]


def code(size: int) -> str:
    """One block of code without a blank line."""
    line = "value = compute(value, other, third)  # and so on\n"
    return "```python\n" + line * (size // len(line)) + "```"


def datas_of(ran: Ran) -> list[dict[str, str]]:
    """Return the data of each output that is left in the cell."""
    return [output["data"] for output in ran.outputs if "data" in output]


def assert_is_static(ran: Ran, text: str) -> None:
    """All that is left in the cell is the whole answer, with its text and without widgets."""
    assert ran.status == "ok", ran.text[-500:]
    assert "clear_output" not in ran.kinds
    datas = datas_of(ran)
    assert all(set(data) == {"text/markdown", "text/plain"} for data in datas)
    footer = datas[-1]["text/plain"].rpartition("\n\n")[2]
    assert footer.startswith("together:8x7b · ")
    shown = "".join(data["text/plain"] for data in datas).removesuffix(footer)
    assert shown.replace("\n", "") == text.replace("\n", ""), "each character, once"
    assert ">together:8x7b · " in datas[-1]["text/markdown"]
    for _, message in ran.messages:
        assert not any("widget" in kind for kind in message["content"].get("data", {}))


def test_the_answer_streams_and_ends_in_one_static_output(desk):
    text = prose(1200).replace("*", "")
    ran = desk.run("%%mixtral\nHi", paced(text, gap=0.05))
    assert ran.kinds.count("display_data") == 1
    assert ran.kinds.count("update_display_data") >= 3
    sent = [m["content"]["data"] for _, m in ran.messages if m["msg_type"] in DISPLAYS]
    grown = [data["text/markdown"] for data in sent[:-1] if "waiting" not in str(data)]
    assert all(text.startswith(each) for each in grown), "it grows from its beginning"
    assert all(list(data) == ["text/markdown"] for data in sent[:-1]), "one MIME type on the way"
    assert_is_static(ran, text)
    body, _, footer = ran.markdown.rpartition("\n\n")
    assert body == sanitize(text)
    assert footer.startswith("<")


def test_the_footer_tells_model_tokens_cost_times_and_the_sessions_total(desk):
    desk.run("from mixmagic import session; before = session().ledger.spent()")
    ran = desk.run("%%mixtral\nHi", paced(prose(300), gap=0.05))
    footer = ran.text.splitlines()[-1].split(" · ")
    assert footer[0] == "together:8x7b"
    assert footer[1] == "9 → 3 tokens"
    assert footer[2] == "$0.0000072"
    assert footer[3].startswith("first token 0.")
    assert footer[4].endswith(" tokens/s")
    assert footer[5].startswith("session $")
    assert len(footer) == 6


def test_the_sessions_total_grows_by_what_each_answer_costs(start_kernel, together, monkeypatch):
    together.plan = [Answer(_expensive())]
    kernel = start_kernel()
    totals = [kernel.run("%%mixtral\nHi").text.rpartition("session ")[2] for _ in range(3)]
    assert totals == ["$0.30", "$0.60", "$0.90"]


def _expensive() -> list[bytes]:
    """Half a million tokens, at 0.60 dollars a million."""
    return [frames(chunk("Hm"), chunk("", "stop", **usage(400_000, 100_000)))]


def test_at_most_twenty_display_messages_a_second(desk):
    # 400 pieces a second would be 400 messages a second, were they not gathered.
    ran = desk.run("%%mixtral\nHi", paced(prose(5000), piece=5, gap=0.0025))
    times = [
        message["header"]["date"].timestamp()
        for _, message in ran.messages
        if message["msg_type"] in DISPLAYS
    ]
    assert times[-1] - times[0] > 2, "long enough to count"
    busiest = max(sum(start <= t < start + 1 for t in times) for start in times)
    print(f"\nat most {busiest} display messages in a second, {len(times)} in all")
    # The last, static one does not wait for its turn.
    assert 5 < busiest <= 20 + 1


@pytest.mark.parametrize("make", [prose, code], ids=["prose", "code without blank lines"])
def test_the_bytes_are_linear_in_the_answers_length(desk, make):
    half, full = make(40_000), make(80_000)
    small = desk.run("%%mixtral\nHi", paced(half))
    large = desk.run("%%mixtral\nHi", paced(full))
    assert_is_static(small, half)
    assert_is_static(large, full)
    print(f"\niopub bytes: {len(half):,} -> {small.bytes():,}; {len(full):,} -> {large.bytes():,}")
    assert large.bytes() <= 2.4 * small.bytes()
    # Twenty whole answers a second would be 20 times this.
    assert large.bytes() < 12 * len(full)


@pytest.mark.slow
def test_twenty_thousand_tokens_at_their_usual_speed_are_less_than_a_megabyte(desk):
    """A thousand tokens a second, of four letters: drawn for 20 seconds."""
    ran = desk.run("%%mixtral\nHi", paced(prose(80_000), piece=80, gap=0.02), timeout=120)
    assert_is_static(ran, prose(80_000))
    updates = ran.kinds.count("update_display_data")
    print(f"\niopub bytes: {ran.bytes():,} in {updates} updates")
    assert updates > 100
    assert ran.bytes() < 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "x" * 40_000,
        "A line.\n" + "y" * 40_000,
        "```\n" + "z" * 40_000 + "\n```",
        "$$\n" + "a + " * 10_000 + "a\n$$",
        "```" + "z" * 40_000,
    ],
    ids=[
        "one line",
        "a line behind another",
        "in a code block",
        "in display math",
        "that opens a code block",
    ],
)
def test_one_long_line_is_shown_whole_and_with_linear_bytes(start_kernel, together, text):
    """In a kernel of its own: a drawing that never ends must not spoil the other tests."""
    together.plan = [paced(text, piece=200)]
    ran = start_kernel().run("%%mixtral\nHi", timeout=20)
    assert_is_static(ran, text)
    assert ran.bytes() < 12 * len(text)


def test_a_long_answer_of_a_format_has_its_remark_below_it_too(desk):
    text = f"{code(20_000)}\n\nor:\n\n```python\nx = 1\n```"
    ran = desk.run("%%mixtral -f code\nHi", paced(text, piece=1000))
    assert len(datas_of(ran)) > 1
    assert "the first of 2 code blocks" in datas_of(ran)[-1]["text/plain"].rpartition("\n\n")[2]


def test_an_answer_cut_off_keeps_its_text_and_fails_the_cell(desk):
    desk.run("missing = True")
    ran = desk.run(
        "%%mixtral -o missing_out\nHi", Answer([frames(chunk("Half an"), done=False), 0.2, CUT])
    )
    assert ran.status == "error"
    assert ran.reply["ename"] == "StreamBroken"
    assert len(ran.traceback) == 2
    assert ran.outputs[0]["data"]["text/plain"].startswith("Half an\n\ntogether:8x7b · ≈ ")
    assert "broken off" in ran.outputs[0]["data"]["text/plain"]
    assert [output["kind"] for output in ran.outputs] == ["display_data", "error"]


def test_an_error_inside_the_stream_keeps_the_text_too(desk):
    ran = desk.run(
        "%%mixtral\nHi",
        Answer([frames(chunk("Half an"), {"error": {"message": "out of memory"}}, done=False)]),
    )
    assert ran.status == "error"
    assert "out of memory" in ran.traceback[0]
    assert "Half an" in ran.outputs[0]["data"]["text/plain"]


def test_an_open_code_fence_does_not_swallow_the_footer(desk):
    ran = desk.run("%%mixtral -o fenced\nHi", Answer(together("```python\n", "x = 1")))
    assert ran.markdown.startswith("```python\nx = 1\n```\n\n<")
    assert desk.value("fenced.text") == "```python\nx = 1", "the answer itself is left as it was"


def test_html_and_scripts_of_the_model_are_sent_as_markdown_only(desk):
    ran = desk.run("%%mixtral\nHi", Answer(together("<script>alert(1)</script>")))
    assert set(ran.outputs[0]["data"]) == {"text/markdown", "text/plain"}
