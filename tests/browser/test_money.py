"""Budgets, dry runs, prices and spending as a user sees them in JupyterLab."""

from __future__ import annotations

from server import Answer, chunk, frames, usage

from browser.front_ends import error_lines

_ASK = "%%mixtral -m {} --max-tokens 2000\nWhat is a median?"


def _counted(prompt: int, completion: int) -> Answer:
    end = chunk("", "stop", **usage(prompt, completion))
    return Answer([frames(chunk("The middle value."), done=False), frames(end)])


def _cells(lab, index: int) -> list[list[str]]:
    """The cells of the table below a cell."""
    rows = lab.cell(index).locator(".jp-RenderedHTML tr").all()
    return [row.locator("th, td").all_inner_texts() for row in rows]


def _points(lab, index: int) -> set[float]:
    """Positions of the decimal points of the table's amounts, in pixels from the left."""
    found = (
        lab.cell(index)
        .locator("td")
        .evaluate_all(
            """cells => cells.filter(each => /\\$\\d*\\.\\d/.test(each.textContent)).map(each => {
            const words = document.createTreeWalker(each, NodeFilter.SHOW_TEXT);
            let node = words.nextNode();
            while (!node.data.includes(".")) node = words.nextNode();
            const point = document.createRange();
            point.setStart(node, node.data.indexOf("."));
            point.setEnd(node, node.data.indexOf(".") + 1);
            return point.getBoundingClientRect().left;
        })"""
        )
    )
    return {round(left, 1) for left in found}


def test_what_a_session_costs_is_seen(lab, provider):
    provider.plan = [_counted(16, 1200), _counted(16, 500), _counted(16, 1990)]
    provider.received.clear()
    lab.open(
        "money",
        *(_ASK.format(model) for model in ("8x7b", "8x22b", "8x7b")),
        "%mixmagic spend",
        "%mixmagic budget 0.01",
        "%%mixtral --dry-run --max-tokens 2000\nWhat is a median?",
        "%mixmagic prices 8x7b",
        "%mixmagic spend --elsewhere",
    )
    lab.run()

    head, *rows, total = _cells(lab, 4)
    assert head[:2] == ["model", "calls"]
    assert [row[0].partition(":")[0] for row in rows] == ["together", "together"]
    assert total[0] == "total"
    assert [row[-1] for row in (*rows, total)] == ["$0.00193", "$0.00062", "$0.00255"]
    assert len(_points(lab, 4)) == 1, "one below the other, the total's too"
    lab.wait(lab.cell(4).locator("svg, img").count)
    assert lab.text(5).startswith(
        "This session's budget is $0.01: $0.0026 spent, $0.0074 remaining"
    )
    assert "about " in dict(_cells(lab, 6))["cost likely"]
    assert {"ollama:8x7b", "together:8x7b"} < {row[1] for row in _cells(lab, 7)[1:]}
    assert "Mistral AI" in _cells(lab, 8)[0]
    assert len(provider.received) == 3
    lab.cell(8).scroll_into_view_if_needed()


def test_a_refusal_is_two_lines_and_stops_run_all(lab, provider):
    provider.received.clear()
    lab.open("refused", "%mixmagic budget 0.00001", _ASK.format("8x7b"), "print('not run')")
    lab.run()

    first, second = error_lines(lab.outputs(2).last)
    assert first.startswith("BudgetExceeded: This call could cost up to $0.0013")
    assert second.startswith("Hint: Raise it (`%mixmagic budget DOLLARS`), or ask less: no --max")
    assert lab.prompt(3) == "[ ]:"
    assert provider.received == []
