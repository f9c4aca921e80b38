"""How each shipped artifact is made, and the demo."""
