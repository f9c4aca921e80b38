"""The training loop, its parts and its settings."""
