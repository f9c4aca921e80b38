"""Audit of the photographs' artifact: whether faces, people and words can still be found, and what is kept."""
