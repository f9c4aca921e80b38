"""Drawn data sets: scenes and staff cards."""
