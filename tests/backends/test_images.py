"""Images on the wire: refusals of providers, and dialects that rewrite messages."""

from __future__ import annotations

import json

import pytest
from server import Answer, refusal
from server import together as words

from mixmagic.backends import wire
from mixmagic.backends.http.listing import entries
from mixmagic.catalog import Catalog
from mixmagic.core.values import Dialect, Image, Message, Model, Provider, Request, Text
from mixmagic.errors import ImagesUnsupported, MixmagicError
from mixmagic.structured.openai_strict import response_format

PIXEL = Image(b"\x89PNG")
PROMPT = [Message("user", (Text("What?"), PIXEL))]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}

# As providers word it.
REFUSALS = [
    (400, {"error": {"message": "Invalid content type. image_url is only supported by certain"
        " models.", "type": "invalid_request_error", "param": "messages.[0].content.[1].type"}}),
    (400, {"error": {"message": "'messages.0' : for 'role:user' the following must be satisfied"
        "[('messages.0.content' : value must be a string)]"}}),
    (422, {"error": {"message": "Failed to deserialize the JSON body into the target type:"
        " messages[0]: unknown variant `image_url`, expected `text` at line 1 column 2"}}),
    (404, {"error": {"message": "No endpoints found that support image input", "code": 404}}),
    (400, {"object": "error", "message": "Image input is not enabled for this model"}),
    (400, {"error": {"message": "At most 0 image(s) may be provided in one prompt."}}),
    (400, {"error": {"message": "acme/tiny is not a multimodal model"}}),
    (500, {"error": {"message": "image input is not supported - hint: you may need the mmproj"}}),
    (500, {"error": {"message": "this model is missing data required for image input"}}),
    (400, {"error": "Model does not support images. Please use a model that does."}),
]  # fmt: skip
# Of one image, or of something else.
OTHERS = [
    (400, {"error": {"message": "image exceeds 5 MB maximum: 6 MB"}}),
    (400, {"error": {"message": "You uploaded an unsupported image. Please make sure your image"
        " has of one the following formats: ['png', 'jpeg']."}}),
    (400, {"error": {"message": "Could not process image"}}),
    (400, {"error": {"message": "At most 5 images are supported per request"}}),
    (401, {"error": {"message": "Images are not supported with this key"}}),
    (400, {"error": {"message": "temperature is too high"}}),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), REFUSALS)
def test_a_provider_s_refusal_of_images_is_named(session, together, status, body):
    together.plan = [refusal(status, body)]
    with pytest.raises(ImagesUnsupported) as caught:
        session.ask(PROMPT, model="together:acme/tiny")
    assert caught.value.message.startswith("together:acme/tiny does not see images: Together")
    assert (caught.value.status, caught.value.transmitted) == (status, True)
    together.plan = [refusal(status, body)]
    with pytest.raises(MixmagicError) as without:
        session.ask("What?", model="together:acme/tiny")
    assert not isinstance(without.value, ImagesUnsupported)


@pytest.mark.parametrize(("status", "body"), OTHERS)
def test_other_refusals_stay_as_they_are(session, together, status, body):
    together.plan = [refusal(status, body)]
    with pytest.raises(MixmagicError) as caught:
        session.ask(PROMPT, model="together:acme/tiny")
    assert not isinstance(caught.value, ImagesUnsupported)


def encoded(*refuses: str, **params) -> dict:
    model = Model("m", Provider("acme", "Acme", dialect=Dialect(refuses=refuses)))
    content = (Text("What?"), PIXEL)
    messages = (Message("system", "Be brief."), Message("user", content), Message("user", "Hm?"))
    return wire.encode(Request(model, messages, params))


def test_a_refused_system_prompt_goes_before_the_parts():
    (message,) = encoded("system")["messages"]
    texts = ("Be brief.", "What?", "Hm?")
    before, what, after = ({"type": "text", "text": text} for text in texts)
    assert message == {"role": "user", "content": [before, what, IMAGE, after]}


def test_a_refused_schema_goes_beside_the_parts():
    form = response_format({"type": "object", "properties": {"a": {"type": "integer"}}})
    body = encoded("system", "response_format", response_format=form)
    assert "response_format" not in body
    (message,) = body["messages"]
    assert [part["type"] for part in message["content"]].count("image_url") == 1
    assert "JSON Schema" in json.dumps(message["content"])


@pytest.mark.parametrize(
    ("entry", "sees"),
    [
        ({"architecture": {"input_modalities": ["text", "image"]}}, True),
        ({"architecture": {"input_modalities": ["text"]}}, False),
        ({"supported_input_modalities": ["text", "image", "audio"]}, True),
        ({"capabilities": {"vision": True}}, True),
        ({"capabilities": {"vision": False, "completion_chat": True}}, False),
        ({"capabilities": {"image_input": {"supported": True}}}, True),
        ({"supports_image_input": False}, False),
        ({"capabilities": ["vision"]}, None),
        ({"vision": "yes"}, None),
        ({}, None),
    ],
)
def test_a_live_list_tells_which_models_see(entry, sees):
    provider = Provider("acme", "Acme")
    (found,) = entries(provider, json.dumps([{"id": "m", **entry}]).encode())
    assert found.get("images") is sees
    (model,) = Catalog().merge(provider, [found])
    assert model.images is sees


def test_what_a_live_list_tells_holds_for_the_next_call(session, together):
    listed = {"id": "acme/tiny", "architecture": {"input_modalities": ["text"]}}
    together.plan = [Answer([json.dumps([listed]).encode()], type="application/json"),
                     Answer(words("A pixel."))]  # fmt: skip
    session.live_models("together")
    with pytest.raises(ImagesUnsupported):
        session.ask(PROMPT, model="together:acme/tiny")
    assert len(together.received) == 1
