# %% [markdown]
# # 17. Folders of pictures into RAG
#
# A model describes each picture of a folder, the descriptions are indexed, and a question finds the picture again. Two
# things could leak: the picture that is described, which is protected here, and whatever the index keeps, which is the
# description and the path alone.

# %%
import tempfile
from pathlib import Path

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import HumanMessage
from langchain_core.vectorstores import InMemoryVectorStore
from PIL import Image

from langchain_vpp import ImageProtector, image_block, protect
from langchain_vpp.engines import Pixelate

folder = Path(tempfile.mkdtemp())  # stands for your folder
for number in range(3):
    Image.effect_noise((640, 480), 60 + number).convert("RGB").save(folder / f"{number}.jpg")

# %% [markdown]
# `output_size="fit"` sends no more pixels than large providers keep. `batch` protects pictures in parallel. Each
# receipt names the digest of what was sent, which is worth keeping beside the description.

# %%
descriptions = ["a red sign", "a street", "a dog"]
describer = protect(
    FakeListChatModel(responses=descriptions),  # stands for your chat model
    ImageProtector(Pixelate(), level=0.4, output_size="fit"),
)
files = sorted(folder.glob("*.jpg"))
text = {"type": "text", "text": "Describe the picture."}
answers = describer.batch([[HumanMessage([text, image_block(file)])] for file in files])
documents = []
for file, answer in zip(files, answers, strict=True):
    (sent,) = answer.response_metadata["vpp"]["images"]
    documents.append(Document(answer.text, metadata={"file": file.name, "sent": sent["sha256"]}))

# %%
store = InMemoryVectorStore(DeterministicFakeEmbedding(size=16))  # stands for yours
store.add_documents(documents)
(found,) = store.similarity_search(documents[1].page_content, k=1)
print(found.page_content, found.metadata)
assert found.metadata["file"] in {file.name for file in files}
assert set(found.metadata) == {"file", "sent"}  # no picture goes into the index

# %% [markdown]
# A picture that is found is shown to a model through the same protector. Its bytes are then the same, so that the
# provider's cache of prompts stays warm.

# %%
again = describer.invoke([HumanMessage([text, image_block(folder / found.metadata["file"])])])
assert again.response_metadata["vpp"]["images"][0]["sha256"] == found.metadata["sent"]
