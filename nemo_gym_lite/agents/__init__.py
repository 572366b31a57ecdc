"""Agents that play rollouts."""
