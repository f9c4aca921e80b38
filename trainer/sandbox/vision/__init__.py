"""Small local vision models that stand in for a chat model."""
