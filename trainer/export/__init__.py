"""Trained protectors as ONNX graphs."""

from trainer.export.export import Exported, Recheck, export, recheck

# The name `export` stands for the function, not for the module that defines it: the module is imported here, once, so
# that a later `import trainer.export.export` leaves the name as it is.
__all__ = ["Exported", "Recheck", "export", "recheck"]
