"""The same work on several machines or in several processes; only commands import it."""
