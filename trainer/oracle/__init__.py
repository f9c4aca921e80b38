"""The chat model as a black box: queries, answers, and the ledger of what was paid."""
