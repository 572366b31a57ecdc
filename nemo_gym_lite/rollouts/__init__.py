"""The line that a rollout walks: source → plan → collector → sink, and resume, which closes the circle."""
