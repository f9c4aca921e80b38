# %% [markdown]
# # 20. A vision model of Hugging Face, in this process
#
# `TransformersChatModel` (extra `huggingface`) loads any image-text-to-text model from a folder or the hub. Here
# it is a LLaVA of random weights, so its answers mean nothing; with yours, leave the first cells out.

# %%
import sys
import tempfile
from importlib.util import find_spec

if find_spec("transformers") is None:
    print("This recipe needs the extra huggingface: pip install 'langchain-vpp[huggingface]'.")
    sys.exit()

import tokenizers
import transformers as hf
from langchain_core.messages import HumanMessage
from PIL import Image

from langchain_vpp import ImageProtector, image_block, protect
from langchain_vpp.engines import Pixelate
from trainer.oracle.transformers import TransformersChatModel

# %%
folder = tempfile.mkdtemp()
words = [
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
    "a",
    "sign",
]
vocabulary = {word: number for number, word in enumerate(words)}
special = dict(zip(("unk_token", "pad_token", "bos_token", "eos_token"), words[:4], strict=True))
reader = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=words[0]))
reader.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
hf.LlavaProcessor(
    image_processor=hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
    tokenizer=hf.PreTrainedTokenizerFast(
        tokenizer_object=reader, additional_special_tokens=["<image>"], **special
    ),
    patch_size=16,
    vision_feature_select_strategy="default",
    num_additional_image_tokens=1,
    chat_template="{% for turn in messages %}{{ turn['role'] }} : {% for part in turn['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}{% endfor %}"
    "{% endfor %}assistant : ",
).save_pretrained(folder)
small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
eyes = hf.CLIPVisionConfig(**small, image_size=32, patch_size=16, projection_dim=16)
text = hf.LlamaConfig(**small, vocab_size=len(words), num_key_value_heads=2, pad_token_id=1)
hf.LlavaForConditionalGeneration(
    hf.LlavaConfig(
        vision_config=eyes.to_dict(), text_config=text.to_dict(), image_token_index=4, vision_feature_layer=-1
    )
).save_pretrained(folder)

# %% [markdown]
# It is a chat model as any other: protect it, use it in a chain, or train against it with
# `vpp train --model transformers:FOLDER`.

# %%
model = protect(TransformersChatModel(model=folder, max_new_tokens=4), ImageProtector(Pixelate(), level=0.6))
picture = Image.effect_noise((64, 48), 60).convert("RGB")
answer = model.invoke([HumanMessage([{"type": "text", "text": "what is it"}, image_block(picture)])])
print(answer.text, answer.usage_metadata)
(sent,) = answer.response_metadata["vpp"]["images"]
assert sent["sha256"]
