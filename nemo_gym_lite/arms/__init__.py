"""Arms: named variants of a prompt, of which every task is played under each."""
