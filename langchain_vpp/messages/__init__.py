"""Where pixels travel: block formats of the providers, the walk over messages, spelled-out pictures."""
