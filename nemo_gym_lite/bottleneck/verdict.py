"""What is told of a run: what held its throughput back, and what to change."""

from dataclasses import dataclass

from nemo_gym_lite.clients import Json


@dataclass(frozen=True, slots=True)
class Verdict:
    """What held a run back.

    Attributes:
        cause: In a word, for programs.
        found: What was seen, with figures.
        advice: What to change.
    """

    cause: str
    found: str
    advice: str

    def __str__(self) -> str:
        """As two lines for a terminal."""
        return f"what held throughput back: {self.found}\n  {self.advice}"

    def as_json(self) -> Json:
        """For the run's record."""
        return {"cause": self.cause, "found": self.found, "advice": self.advice}
