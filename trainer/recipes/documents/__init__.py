"""Letters, chats, tables and ID cards as a browser renders them, with invented private items, and reading them."""
