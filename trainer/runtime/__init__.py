"""Runtime services of learning: random generators, precision, cancellation."""
