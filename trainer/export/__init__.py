"""Trained protectors as ONNX graphs (extra ``export``)."""

from trainer.export.export import Exported, Recheck, export, recheck

# The name `export` stands for the function, not for the module that defines it: see `trainer.evaluation`.
__all__ = ["Exported", "Recheck", "export", "recheck"]
