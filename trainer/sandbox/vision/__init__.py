"""Local vision models: networks, questions, training and weights."""
