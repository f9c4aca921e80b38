"""The embedded default: drawn scenes, a small local vision model and its OpenAI-compatible server."""
