"""The studio: a page on this machine that shows what a chat model would see of a picture."""
