"""The command line ``vpp``."""
