"""The command line ``vpp``: commands are found among the installed packages."""
