"""The learned protector network (torch) and its configuration."""
