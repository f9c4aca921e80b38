"""The learning algorithms: pure torch, no files, no network, no LangChain."""
