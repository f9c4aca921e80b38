"""Module paths of version 0.1 and where their names are today; the old ones go with version 0.3."""

from typing import Final

HOMES: Final = {
    "langchain_vpp.blocks": (
        "langchain_vpp.messages.walk",
        "langchain_vpp.messages.plan",
        "langchain_vpp.messages.dialects",
    ),
    "langchain_vpp.chat_model": ("langchain_vpp.runnables.chat_model",),
    "langchain_vpp.documents": ("langchain_vpp.images.pdf",),
    "langchain_vpp.embedded": ("langchain_vpp.messages.spelled",),
    "langchain_vpp.faces": ("langchain_vpp.engines.faces",),
    "langchain_vpp.fast": ("langchain_vpp.images.fast",),
    "langchain_vpp.folders": ("langchain_vpp.batch",),
    "langchain_vpp.ingress": (
        "langchain_vpp.runnables.runnable",
        "langchain_vpp.runnables.values",
        "langchain_vpp.runnables.calls",
        "langchain_vpp.runnables.classes",
    ),
    "langchain_vpp.pixels": (
        "langchain_vpp.images.codec",
        "langchain_vpp.images.fast",
        "langchain_vpp.images.srgb",
    ),
    "langchain_vpp.protection": (
        "langchain_vpp.image_protector",
        "langchain_vpp.guard.gate",
        "langchain_vpp.guard.receipt",
        "langchain_vpp.guard.level",
        "langchain_vpp.guard.pictures",
    ),
    "langchain_vpp.protector": ("langchain_vpp.network.protector",),
    "langchain_vpp.protector_config": ("langchain_vpp.network.config",),
    "langchain_vpp.provider_sizes": ("langchain_vpp.providers",),
    "langchain_vpp.upload_cost": ("langchain_vpp.cli.upload_cost",),
}
"""Old module path -> the module paths that hold its names."""

RENAMED: Final = {
    "langchain_vpp.pixels.Reduced": "ScaledImage",
    "langchain_vpp.pixels.bare": "strip_metadata",
    "langchain_vpp.pixels.decode_reduced": "decode_scaled",
}
"""Old path of a name -> its name today."""
