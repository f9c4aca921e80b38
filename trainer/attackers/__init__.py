"""Independent adversaries, for evaluation only. Training never imports them, or they would not be independent."""
