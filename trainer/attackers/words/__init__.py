"""Attackers that read private words in protected pictures, with readers that no protector uses."""
