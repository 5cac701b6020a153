"""A key on a magic's line is refused with the reason, and not repeated."""

from __future__ import annotations

import subprocess
import sys

import pytest
from canary import leaks
from kernels import Desk
from server import whole

from mixmagic.commands._parser import refuse_keys
from mixmagic.errors import BadArguments

KEY = "canary-4711"
SPELLINGS = [
    "--api-key {}", "--api_key {}", "--api-key={}", "--api_key={}", "--API_KEY={}", "--apikey {}",
    "--key {}", "--key={}", "-k {}", "-k{}", "-k={}", "-key {}", "--token {}", "--token={}",
    "--access-token {}", "--auth-token={}", "--secret {}", "--password {}", "--bearer {}",
    "--together-api-key {}", "--TOGETHER_API_KEY={}", "api_key={}", "api-key={}", "key={}",
    "--together__api__key {}", "token={}", "TOGETHER_API_KEY={}", "--auth {}", "--authorization {}",
    '--header "Authorization: Bearer {}"', "--header 'x-api-key: {}'",
]  # fmt: skip
LINES = [
    "%%mixtral {}\nHello", "%%mixtral -m 8x7b {} -t 0\nHello", "%%mixtral -t 0 {}\nHello",
    "%mixtral {} Hello", "%mixtral -t 0 {} Hello",
    "%mixmagic {}", "%mixmagic use {}", "%mixmagic use 8x7b {}", "%mixmagic {} use 8x7b",
    "%mixmagic models {}", "%mixmagic models together --live {}", "%mixmagic spend {}",
    "%mixmagic login {}", "%mixmagic login together {}", "%mixmagic logout together {}",
    "%mixmagic doctor {}",
]  # fmt: skip


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    made = Desk(tmp_path_factory.mktemp("desk"))
    yield made
    made.close()


@pytest.mark.parametrize("line", LINES)
def test_every_spelling_is_refused_with_the_reason_and_without_the_key(desk, line):
    desk.plan(whole("Hi"))
    for spelling in SPELLINGS:
        ran = desk.run(line.format(spelling.format(KEY)))
        assert ran.reply.get("ename") == "BadArguments", (spelling, ran.text)
        assert "Never type an API key here" in ran.traceback[0], (spelling, ran.traceback)
        assert "%mixmagic login PROVIDER" in ran.traceback[1]
        said = [repr(m) for _, m in ran.messages if m["msg_type"] != "execute_input"]
        assert leaks(*said, repr(ran.reply)) == [], spelling
    assert desk.server.received == []


@pytest.mark.parametrize(
    "line",
    ["%mixmagic login together {}", "%mixmagic login {}", "%mixmagic logout {}", "%mixmagic use {}",
     "%mixmagic models {}", "%mixmagic {}", "%mixmagic spend {}", "%%mixtral {}\nHello"],
)  # fmt: skip
@pytest.mark.parametrize(
    "key",
    ["sk-canary-0123456789abcdef", "fw_canary0123456789abcdef", "tgp_v1_canary0123456789abcdef",
     "canary0123456789abcdef0123456789abcdef0123456789abcdef0123456789"],
)  # fmt: skip
def test_a_value_that_looks_like_a_key_is_refused_without_a_name_too(desk, line, key):
    ran = desk.run(line.format(key))
    assert ran.status == "error"
    assert "Never type an API key here" in ran.traceback[0]
    said = [repr(m) for _, m in ran.messages if m["msg_type"] != "execute_input"]
    assert leaks(*said, repr(ran.reply)) == []


def test_login_does_not_repeat_an_unknown_provider(desk):
    ran = desk.run(f"%mixmagic login {KEY}")
    assert len(ran.traceback) == 2
    assert "together" in ran.traceback[1]
    assert leaks(repr(ran.reply)) == []


@pytest.mark.parametrize(
    "text",
    ["-m together:our-team/mixtral-8x7b-0a1b2c", "--max-tokens 5", "--max-token 5", "--no-stream",
     "-s 'Explain api_key=…'", "use local:/models/0123456789abcdef0123456789abcdef01234567/a.gguf",
     "models together --live", "use mistralai/Mixtral-8x22B-Instruct-v0.1", "doctor", "spend",
     "use openai:keyboard-model", "What is a key?", "Why is api_key=None wrong?", "--system x"],
)  # fmt: skip
def test_other_text_is_not_refused(text):
    from mixmagic.magics.mixtral import Mixtral

    if not text.startswith("-s "):  # whose value is the user's text
        refuse_keys(text, anywhere=not text.startswith(("What", "Why")))
    Mixtral.parser().leading(text)


def test_a_wrong_option_that_is_not_a_key_still_gets_its_hint(desk):
    ran = desk.run("%%mixtral --max-token 5\nHello")
    assert "Did you mean --max-tokens?" in ran.traceback[1]


@pytest.mark.parametrize("prompt", ["What does --api-key do?", "Is key=value a pair?"])
def test_a_prompt_is_the_user_s_own_text(desk, prompt):
    for cell in (f"%%mixtral\n{prompt}", f"%mixtral -t 0 {prompt}"):
        ran = desk.run(cell, whole("Hi"))
        assert ran.status == "ok", ran.text
        assert desk.sent["messages"][-1]["content"].strip() == prompt


@pytest.mark.parametrize(
    "prompt",
    [
        "key=value pairs in Python, what are they?",
        "token=None is a default. Why?",
        "d41d8cd98f00b204e9800998ecf8427e is the md5 of what?",
        "key-value-stores-explained is a title, is it?",
        "Authorization: how does it work?",
    ],
)
def test_a_prompt_may_begin_like_a_key(desk, prompt):
    ran = desk.run(f"%mixtral -o x1 {prompt}", whole("Hi"))
    assert ran.status == "ok", ran.text
    assert desk.sent["messages"][-1]["content"] == prompt


@pytest.mark.parametrize(
    "prompt",
    [
        f"key={KEY} Hello",
        f"Authorization: Bearer {KEY}",
        "sk-canary-0123456789abcdef Hello",
        "canary0123456789abcdef0123456789abcdef0123456789abcdef0123456789",
    ],
)
def test_a_prompt_that_begins_with_a_key_is_refused(desk, prompt):
    desk.plan(whole("Hi"))
    ran = desk.run(f"%mixtral {prompt}")
    assert "Never type an API key here" in ran.traceback[0]
    assert desk.server.received == []


LONG = """
from mixmagic.errors import BadArguments
from mixmagic.commands._parser import refuse_keys
for head in ("", "-", "--", "-k", "key", "api-", "sk-", "authorization"):
    for piece in ("a", "_", "-", "a_", "a-", "_a-", "1", "-a ", "api", "key", "-key", " ", "é_"):
        for end in ("", "!", "=", ":", "key", "é"):
            for anywhere in (True, False):
                try:
                    refuse_keys(head + piece * (10_000 // len(piece)) + end, anywhere=anywhere)
                except BadArguments:
                    pass
"""


def test_a_long_line_is_searched_fast():
    """1,248 lines of 10,000 characters, in a process that can be killed."""
    subprocess.run([sys.executable, "-c", LONG], timeout=20, check=True)


def test_the_reason_names_no_key():
    with pytest.raises(BadArguments) as caught:
        refuse_keys(f"--api-key {KEY}")
    assert leaks(str(caught.value), repr(caught.value), *caught.value.__notes__) == []
