"""Trains the artifact that comes with the package: ``python -m trainer.default_artifact --faces DIR --out DIR``."""
