"""Pixels in messages: block formats of the providers, the walk over messages, spelled-out pictures."""
