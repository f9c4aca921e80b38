"""Vision models of Hugging Face: loaded from a folder as any other, and asked about protected pictures alone."""

from __future__ import annotations

import base64
import json

import pytest
from langchain_core.messages import HumanMessage

from langchain_vpp import ImageProtector, image_block, protect
from langchain_vpp.engines import Pixelate
from langchain_vpp.images.codec import decode_image
from tests.integration.recording import noise_png
from tests.integration.self_hosted import TGI
from trainer.oracle.ledger import Budget, Ledger
from trainer.oracle.model_spec import ModelSpec
from trainer.oracle.oracle import Oracle
from trainer.oracle.query import Query

pytest.importorskip("transformers", reason="needs the extra huggingface; `make scale` has it")

from trainer.oracle.transformers import TransformersChatModel

pytestmark = pytest.mark.slow(seconds=20)
WORDS = [
    "<unk>",
    "<pad>",
    "<s>",
    "</s>",
    "<image>",
    "user",
    "assistant",
    ":",
    "what",
    "is",
    "it",
    "?",
    "a",
    "b",
]
TEMPLATE = """{% for m in messages %}{{ m['role'] }} : {% for c in m['content'] -%}
{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }} {% endif %}{% endfor %}{% endfor %}assistant : """
ORIGINAL = noise_png(7, (48, 48))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A LLaVA of random weights, a few kilobytes in size."""
    import tokenizers
    import torch
    import transformers as hf

    place = tmp_path_factory.mktemp("llava")
    words = {word: number for number, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    fast = hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
    )
    pictures = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    hf.LlavaProcessor(
        image_processor=pictures,
        tokenizer=fast,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(place)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = hf.CLIPVisionConfig(**small, image_size=32, patch_size=16, projection_dim=16)
    text = hf.LlamaConfig(
        **small, vocab_size=len(WORDS), num_key_value_heads=2, pad_token_id=1, bos_token_id=2, eos_token_id=3
    )
    config = hf.LlavaConfig(
        vision_config=vision.to_dict(),
        text_config=text.to_dict(),
        image_token_index=4,
        vision_feature_layer=-1,
    )
    torch.manual_seed(0)
    hf.LlavaForConditionalGeneration(config).save_pretrained(place)
    return place


@pytest.fixture
def seen(monkeypatch):
    """Pictures that a processor was given."""
    from transformers import LlavaProcessor

    found, honest = [], LlavaProcessor.apply_chat_template

    def apply(self, conversation, **options):
        found.extend(
            part["image"] for turn in conversation for part in turn["content"] if part["type"] == "image"
        )
        return honest(self, conversation, **options)

    monkeypatch.setattr(LlavaProcessor, "apply_chat_template", apply)
    return found


def message(block):
    return HumanMessage([{"type": "text", "text": "what is it ?"}, block])


@pytest.mark.parametrize("dialect", ["image", "image_url"])
def test_a_local_model_sees_the_protected_picture(folder, seen, dialect):
    url = f"data:image/png;base64,{base64.b64encode(ORIGINAL).decode()}"
    block = image_block(ORIGINAL) if dialect == "image" else {"type": "image_url", "image_url": {"url": url}}
    protector = ImageProtector(Pixelate(), level=0.5)
    model = protect(TransformersChatModel(model=str(folder), max_new_tokens=4), protector)
    answer = model.invoke([message(block)])
    expected = decode_image(protector.protect_encoded(ORIGINAL))
    assert [each.tobytes() for each in seen] == [expected.tobytes()]
    assert answer.usage_metadata["input_tokens"] > 4
    assert answer.response_metadata["vpp"]["images"]


def test_a_picture_changes_what_a_local_model_computes(folder):
    import torch

    model = TransformersChatModel(model=str(folder), max_new_tokens=4)
    given = []
    model._network.model.vision_tower.register_forward_pre_hook(lambda _, pixels: given.append(*pixels))
    model.invoke([message(image_block(noise_png(1, (48, 48))))])
    model.invoke([message(image_block(noise_png(2, (48, 48))))])
    first, second = given
    assert first.shape == (1, 3, 32, 32)
    assert not torch.equal(first, second)


def test_a_local_model_is_an_oracle_by_name(folder, tmp_path):
    model = ModelSpec.parse(f"transformers:{folder}").build()
    with Ledger(tmp_path / "ledger.sqlite", model="m") as ledger:
        oracle = Oracle(model, ledger, Budget(5))
        (answer,) = oracle.ask([Query(ORIGINAL, "what is it ?", ("a", "b"))], purpose="train")
    assert answer is not None
    assert answer.input_tokens > 0


def test_what_is_no_picture_that_came_along_is_refused(folder):
    model = TransformersChatModel(model=str(folder))
    with pytest.raises(NotImplementedError, match="takes no block 'image'"):
        model.invoke([message({"type": "image", "url": "http://127.0.0.1/x.png"})])


def test_langchain_huggingface_shows_a_local_model_no_pixels(folder):
    """The reason for a class of our own: see ``ChatHuggingFace._to_chat_prompt``."""
    hugging = pytest.importorskip("langchain_huggingface")
    import transformers as hf

    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    chat = hugging.ChatHuggingFace.model_construct(tokenizer=tokenizer)
    tokenizer.chat_template = TEMPLATE
    prompts = [chat._to_chat_prompt([message(image_block(noise_png(seed)))]) for seed in (1, 2)]
    assert prompts[0] == prompts[1]  # whatever the picture
    assert "<image>" in prompts[0]


def test_langchain_huggingface_sends_protected_pictures_to_an_endpoint(monkeypatch):
    hugging = pytest.importorskip("langchain_huggingface")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with TGI() as server:
        endpoint = hugging.HuggingFaceEndpoint(
            model=server.base_url, task="image-text-to-text", huggingfacehub_api_token="none"
        )
        chat = hugging.ChatHuggingFace(llm=endpoint, model_id="tiny")
        url = f"data:image/png;base64,{base64.b64encode(ORIGINAL).decode()}"
        protector = ImageProtector(Pixelate(), level=0.5)
        answer = protect(chat, protector).invoke([message({"type": "image_url", "image_url": {"url": url}})])
    (body,) = server.bodies
    (sent,) = [part for part in json.loads(body)["messages"][0]["content"] if part["type"] != "text"]
    assert base64.b64encode(ORIGINAL) not in body
    assert base64.b64encode(protector.protect_encoded(ORIGINAL)).decode() in json.dumps(sent)
    assert answer.text == "a street"
