"""From messages to messages that may be sent."""
