"""Scored rollouts as training data: chat messages, preference pairs, groups and token ids, from a file of any size."""
