"""Published data sets in the project's format: ``vpp data convert NAME SOURCE OUT``."""

from __future__ import annotations

from trainer.data.adapters.converting import ADAPTERS, Converted, convert_data
from trainer.data.adapters.format import Adapter, Item, Options

__all__ = ["ADAPTERS", "Adapter", "Converted", "Item", "Options", "convert_data"]
