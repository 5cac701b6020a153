"""The keywords of a call: one list for type checkers, help, and the completion of Python."""

from __future__ import annotations

import inspect
import re

import pytest
from kernels import Kernel

import mixmagic
from mixmagic.core.keywords import Parameters
from mixmagic.core.params import _KNOWN
from mixmagic.tasks.question import _OF_THE_CALL

FUNCTIONS = [
    mixmagic.ask,
    mixmagic.stream,
    mixmagic.aask,
    mixmagic.astream,
    mixmagic.map,
    mixmagic.Session.ask,
    mixmagic.Session.request,
]


def test_they_are_all_that_a_call_takes():
    assert set(Parameters.__annotations__) == {*_OF_THE_CALL, *_KNOWN}


@pytest.mark.parametrize("name", sorted(Parameters.__annotations__))
def test_each_is_described(name):
    assert f"\n        {name}: " in str(inspect.getdoc(Parameters)).replace("\n    ", "\n        ")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_signatures_list_them(function):
    given = inspect.signature(function).parameters
    assert set(Parameters.__annotations__) <= set(given)
    assert given["temperature"].annotation == "float | None"
    assert given["temperature"].default is None
    assert given["cache"].default == "auto"
    assert not any(each.kind is each.VAR_KEYWORD for each in given.values())


def completions(kernel: Kernel, code: str) -> list[str]:
    sent = kernel.client.complete(code, len(code))
    while True:
        reply = kernel.client.get_shell_msg(timeout=60)
        if reply["parent_header"].get("msg_id") == sent:
            return reply["content"]["matches"]


def test_a_kernel_completes_them(kernel):
    kernel.run("import mixmagic; session = mixmagic.session(); from mixmagic import ask")
    for call in (
        "mixmagic.ask(",
        "mixmagic.stream(",
        "await mixmagic.aask(",
        "async for piece in mixmagic.astream(",
        "mixmagic.map(",
        "session.ask(",
        "session.request(",
        "ask(",
        "answer = mixmagic.ask(\n    ",
    ):
        assert completions(kernel, f'{call}"x", temp') == ["temperature="], call
        assert {"top_p=", "top_k=", "top_logprobs="} <= set(completions(kernel, f'{call}"x", to'))


def test_a_kernel_shows_them_in_its_help(kernel):
    kernel.run("import mixmagic")
    sent = kernel.client.inspect("mixmagic.ask", 12)
    reply = kernel.client.get_shell_msg(timeout=60)
    while reply["parent_header"].get("msg_id") != sent:
        reply = kernel.client.get_shell_msg(timeout=60)
    shown = re.sub(r"\x1b\[[\d;]*m", "", reply["content"]["data"]["text/plain"])
    assert "temperature: 'float | None' = None" in shown
