"""Recipes: the demo, and the steps by which each shipped artifact was made."""
