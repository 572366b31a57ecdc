"""The tool loop under the name by which other agents import it."""

from nemo_gym_lite.agents.simple_agent import SimpleAgent

__all__ = ["SimpleAgent"]
