"""The network of a learned protector (torch), and its configuration (without torch)."""
