"""Learn which kinds of words and regions a task needs, with a few hundred answers and no network."""
