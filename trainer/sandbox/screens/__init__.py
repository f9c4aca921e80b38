"""A model of screens and documents: it answers from the text that it can read in a picture, tokens included."""
