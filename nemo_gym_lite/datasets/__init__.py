"""Data files of agents: which there are, whether their rows are valid, what they hold, and one file of them."""
