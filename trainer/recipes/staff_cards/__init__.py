"""Trains the artifact that comes with the package: ``python -m trainer.recipes.staff_cards --faces DIR --out DIR``."""
