"""Pictures: from bytes to pixels and back, sizes, colours, pages of documents."""
