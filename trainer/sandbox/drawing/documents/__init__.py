"""Pages as a browser renders them, with invented people: letters, chats, tables, cards, forms."""
