"""Sandbox: drawn pictures of nobody, small local vision models, and an OpenAI-compatible server in front of them."""
