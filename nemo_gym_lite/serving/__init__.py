"""Servers, the client between them, and the near and far side of each edge."""
