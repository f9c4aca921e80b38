"""Recipe of the artifact for staff cards: ``python -m trainer.recipes.staff_cards --faces DIR --out DIR``."""
