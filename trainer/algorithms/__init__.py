"""Learning algorithms in pure torch: no files, no network, no LangChain."""
