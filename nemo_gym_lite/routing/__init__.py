"""Model calls: which endpoint a session talks to, what counts as a failure, and when to try again."""
