"""Measurements of learned admission: simulated worlds, and drawn tasks against the exhaustive front."""
