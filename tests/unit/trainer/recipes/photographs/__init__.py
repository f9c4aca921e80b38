"""Tests of the photographs' recipe."""
