"""Data sets: the folder format, its checks, and train-test overlap."""
