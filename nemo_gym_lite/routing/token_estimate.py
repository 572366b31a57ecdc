"""Guesses what requests under way will take, from what the answers before them took. It decides nothing itself."""

import math
from dataclasses import dataclass

from nemo_gym_lite.routing.limiter import Size

FIRST_ANSWERS = 8
"""So many answers, and twice as many as are under way, are enough to guess by: the first ones to come are short."""

CAUTIOUS_SHARE = 4
"""While too few answers are known to guess by, a request counts as this part of the tokens of a minute."""

HARMLESS_SHARE = 16
"""A request that says what its answer takes at most counts as that much, if it is no larger part of a minute's tokens:
then the limit is kept whatever comes, and enough requests are under way all the same."""

SLACK = 3.0
"""Standard deviations by which the answers under way may together be longer than expected."""

_FADING = 0.99
"""Weight that what was learned of answers keeps with each further one."""


@dataclass(slots=True)
class _FadingMean:
    """A mean in which older values count less."""

    value: float = 0.0
    weight: float = 0.0

    def add(self, value: float) -> None:
        self.weight = self.weight * _FADING + 1.0
        self.value += (value - self.value) / self.weight


class TokenEstimate:
    """What is known of answers: how long they are, and how long they take."""

    def __init__(self) -> None:
        self._answers = 0
        self._mean = _FadingMean()  # of their tokens
        self._square = _FadingMean()  # of the squares of those
        self._slowest_s = 0.0

    def learn(self, output_tokens: float, took_s: float) -> None:
        """Take an answer in."""
        output = max(1.0, output_tokens)
        self._answers += 1
        self._mean.add(output)
        self._square.add(output * output)
        self._slowest_s = max(took_s, self._slowest_s * _FADING)

    def expected(self, size: Size, limit: float, under_way: int, longest_s: float) -> float:
        """Tokens that a request counts as for as long as it is under way.

        Long answers are under way for longer, so those that are have not the mean length of all that came, but
        the mean weighted by length. `limit` is that of a minute, `longest_s` how long the oldest has been under way.
        """
        most = math.inf if size.most_output is None else float(size.most_output)
        if most <= limit / HARMLESS_SHARE:
            return size.prompt_tokens + most
        output = self._square.value / max(1.0, self._mean.value)
        if self._answers < max(FIRST_ANSWERS, 2 * under_way) or longest_s > self._slowest_s:
            output = max(output, limit / CAUTIOUS_SHARE)
        return size.prompt_tokens + min(output, most)

    def slack(self, under_way: int) -> float:
        """Tokens by which requests under way may together take more than expected."""
        return SLACK * math.sqrt(under_way * max(0.0, self._square.value - self._mean.value**2))
