"""Services that all learning shares: random generators, precision, cancellation, the fit loop, checkpoints."""
