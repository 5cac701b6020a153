"""Texts and conversations whose tokens are counted, and mistral-common to count them with."""

from __future__ import annotations

import base64
import functools
import random

from hypothesis import strategies as st
from mistral_common.protocol.instruct.messages import AssistantMessage, SystemMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from mixmagic.calls.tokens import Count
from mixmagic.core.values import Message, Model, Provider

HERE = Provider("here", "Here")
V1, V3 = (Model(name, HERE, tokenizer=name) for name in ("mistral-v1", "mistral-v3"))
UNKNOWN = Model("unknown", HERE)
# The two whose counts are exact, and two of 131,000 byte pairs, to hold the bound against.
ORACLES = {
    "mistral-v1": MistralTokenizer.v1,
    "mistral-v3": MistralTokenizer.v3,
    "tekken 240718": lambda: MistralTokenizer.v3(is_tekken=True),
    "tekken 240911": lambda: MistralTokenizer.v3(is_tekken=True, is_mm=True),
}
_CHANCE = random.Random(4711)
CORPUS = {
    "English": "The ship's crew hadn't expected the storm, but they'd prepared for nearly"
    " everything else: spare sails, rope, and two weeks' worth of biscuits. 'Ready?' she asked.",
    "French": "Où étiez-vous l'été dernier ? J'ai mangé des crêpes à Saint-Malo, près de la"
    " forêt ; c'était déjà l'automne, et le vent soufflait « très » fort sur la côte.",
    "German": "Der Donaudampfschifffahrtsgesellschaftskapitän überquerte die Straße, während"
    " größere Fußgängergruppen äußerst höflich warteten. Ärger gab es trotzdem öfter.",
    "Spanish": "¿Cuándo llegará el niño a la estación? ¡Qué lástima! Mañana habrá más lluvia en"
    " España, según dijo el señor Ibáñez después del café.",
    "Italian": "Perché non c'è più caffè? La città è bellissima, però l'università è lontana e"
    " gl'indirizzi dell'aeroporto sono già cambiati.",
    "Chinese": "人工智能正在改变我们的生活方式。今天天气很好,我们去公园散步吧!龘靐齉爩。",
    "code": "def f(x: int) -> list[str]:\n    if x >= 0x1F and not (x & 1):\n\treturn"
    ' [f"{i:>{x}}\\n" for i in range(x**2)]  # TODO\n\n\n        pass\r\nclass __A_b__: ...\n',
    "base64": base64.b64encode(_CHANCE.randbytes(1200)).decode(),
    "hex": _CHANCE.randbytes(600).hex(),
    "numbers": "3.14159 1,234,567.89 | 2026-11-24T22:17:48Z | -1e-9 | 0000 |  5 |   7\n" * 4,
    "emoji": "👩‍💻🦊🇫🇷👨‍👩‍👧‍👦 ❤️‍🔥 🏳️‍🌈 ok 👍🏽 \U0001fae8",
    "blanks": " \t  \n\n   x    \u00a0\u3000\u2003 \x0b\x0c\x85\u2028 y       .   \n   \n ",
    "NUL": "\x00a\x00\x00 \x00 b\x01\x7f",
    "a long word": "pneumonoultramicroscopicsilicovolcanoconiosis" * 40,
    "consonants": "qxzjqvwkxq jqxz QXZJ" * 20,
    "pairs": "th he in er an re on at en nd ti es or te of ed is it al ar st to nt ba na",
    "one letter": "a" * 3000,
    "empty": "",
    "a blank": " ",
    "replaced": "a\ufffdb \ufffd\ufffd",
    "CRLF": "first\r\nsecond\r\n\r\n\r\nthird\r",
    "combined": "e\u0301 Z\u0351\u036b\u0343\u036a\u0302\u0358a\u0361lgo \u202eright\u202c \ufeff",
    "other scripts": "Привет, мир! שלום مرحبا नमस्ते สวัสดี こんにちは 안녕하세요 ﷽ ꧁ \U0001d518 𓀀",
    "the template itself": "[INST] a [/INST] <s></s> <unk> [REFERENCE_DOC_3]<0x0A> ▁▁ [TOOL_CALLS]",
}
_PARTS = [
    *("the", "qu", "'re", "'s", "0", "Ab", "_", ".", "x" * 20, "é", "ß", "中", "🦊", "\u0301"),
    *("\n", "\r\n", " ", "  ", "    ", "\t", "\x00", "\ufffd"),
    *("▁", "[INST]", "</s>", "[REFERENCE_DOC_1]"),
]
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(_PARTS),
        max_size=30,
    ).map("".join),
)
ROLES = st.sampled_from(["user", "user", "assistant", "system"])
CONVERSATIONS = st.lists(st.builds(Message, ROLES, TEXTS), max_size=6)
_CLASSES = {"user": UserMessage, "assistant": AssistantMessage, "system": SystemMessage}


@functools.cache
def oracle(name: str) -> MistralTokenizer:
    return ORACLES[name]()


def counted(messages: list[Message], name: str) -> int:
    """The tokens that mistral-common encodes the conversation to."""
    turns = [_CLASSES[message.role](content=message.content) for message in messages]
    request = ChatCompletionRequest(messages=turns)
    return len(oracle(name).encode_chat_completion(request).tokens)


def cut(text: str, name: str) -> int:
    """The tokens that mistral-common encodes the text to."""
    encoder = oracle(name).instruct_tokenizer.tokenizer
    return len(encoder.encode(text, bos=False, eos=False))


def talk(*turns: str) -> list[Message]:
    """A conversation: `"s: …"` is the system's, `"u: …"` the user's, `"a: …"` the assistant's."""
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return [Message(roles[turn[0]], turn[3:]) for turn in turns]


def exactly(number: int) -> Count:
    return Count(number, number, exact=True)
