"""Drawn data sets without real people."""
