"""Finds out whether what an endpoint refuses depends on how much it is asked.

An engine that is full, or an API that counts requests, refuses less when it is asked less. A balancer with a dead
server behind it, or an account that others use too, refuses the same share however little is asked, and who backs off
from that ends at one request at a time. So shares are compared: that of a time with one limit, and that of a later
time with half or twice as much.
"""

from dataclasses import dataclass

ENOUGH, PLENTY = 30, 120
"""Replies from which a share can be told, and after which a time ends although the limit stayed where it was."""

SAME = 0.7
"""A share that is still so much of what it was at twice the limit has other reasons than the limit."""

JUDGED, FEWEST = 10.0, 3.0
"""Replies after a cut from which it can be told what it changed; fewer refusals are the odd one that any API has."""


@dataclass(slots=True)
class Refusals:
    """One endpoint's. Times are clock seconds.

    Attributes:
        share: Of all replies, those that were refusals whatever the limit was; 0 as long as the limit explains them.
    """

    share: float = 0.0
    _limit: float = 0.0  # when this time began
    _since_s: float = float("-inf")
    _replies: int = 0
    _refused: int = 0
    _limit_before: float = 0.0
    _share_before: float = 0.0

    def note(self, limit: float, sent_s: float, now_s: float, *, refused: bool) -> None:
        """A request was answered or refused.

        Args:
            limit: Requests that the endpoint gets at a time now.
            sent_s: When it was sent; what was sent at an earlier limit does not count.
            now_s: Clock time.
            refused: How it ended.
        """
        if sent_s < self._since_s:
            return
        self._limit = self._limit or limit
        self._replies += 1
        self._refused += refused
        moved = not self._limit / 2 < limit < self._limit * 2
        if self._replies >= ENOUGH and (moved or self._replies >= PLENTY):
            self._compare(self._refused / self._replies)
            self._limit, self._since_s, self._replies, self._refused = limit, now_s, 0, 0

    def _compare(self, share: float) -> None:
        if self._limit_before and self._limit <= SAME * self._limit_before:
            self.share = share if share > SAME * self._share_before else 0.0
        elif SAME * self._limit > self._limit_before and SAME * share > self._share_before:
            self.share = 0.0  # more was asked, and more was refused
        elif self.share:
            self.share = share
        self._limit_before, self._share_before = self._limit, share


@dataclass(slots=True)
class CutTrial:
    """Finds out whether letting in less made a model's endpoints refuse less.

    Attributes:
        usual: Share of all replies that is refused in any case, as the last cut showed; 0 if that cut helped.
    """

    usual: float = 0.0
    _at_cut: float = 0.0

    def is_harm(self, answered: float, refused: float, harmful: float) -> bool:
        """Whether a cut is called for, which is then on trial.

        Args:
            answered: Requests lately answered.
            refused: Requests lately refused.
            harmful: Share of refusals that is, unless it is usual.
        """
        replies = answered + refused
        share = refused / replies if replies else 0.0
        if self._at_cut:
            if replies < JUDGED:
                return False
            self.usual = share if share > SAME * self._at_cut else 0.0
            self._at_cut = 0.0
        elif replies >= JUDGED and share < SAME * self.usual:
            self.usual = 0.0
        if refused < FEWEST or share <= max(harmful, self.usual / SAME):
            return False
        self._at_cut = share
        return True
