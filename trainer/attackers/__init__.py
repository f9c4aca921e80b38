"""Independent adversaries, for evaluation only: training never imports them, or they would not be independent."""
