"""Finds out whether what an endpoint refuses depends on how much it is asked.

An engine that is full, or an API that counts requests, refuses less when it is asked less. A balancer with a dead
server behind it, or an account that others use too, refuses the same share however little is asked, and who backs off
from that ends at one request at a time. So shares are compared: that of a time with one limit, and that of a later
time with half or twice as much.
"""

from dataclasses import dataclass

ENOUGH, PLENTY = 30, 120
"""Replies from which a share can be told, and after which a time ends although the limit stayed where it was."""

LESS = 0.7
"""A limit or a share of at most so much of another one is a lower one."""

SAME = 0.5
"""A share that is still so much of what it was at a higher limit has other reasons than the limit."""

FEWEST = 3.0
"""Fewer refusals are the odd one that any API has."""


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
        """A request was answered or refused; one that was sent at an earlier limit than this does not count."""
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
        if self._limit_before and self._limit <= LESS * self._limit_before:
            self.share = share if share > SAME * self._share_before else 0.0
        elif LESS * self._limit > self._limit_before and SAME * share > self._share_before:
            self.share = 0.0  # more was asked, and far more was refused
        else:
            self.share = min(self.share, (self.share + share) / 2)
        self._limit_before, self._share_before = self._limit, share


@dataclass(slots=True)
class CutTrial:
    """Finds out whether letting in less made a model's endpoints refuse less.

    Attributes:
        usual: Share of all replies that is refused in any case, as the last cut showed; 0 if that cut helped.
        in_vain: The last cut was just found to have changed nothing; reset by whoever heeds it.
    """

    usual: float = 0.0
    in_vain: bool = False
    _at_cut: float = 0.0

    def is_harm(self, answered: float, refused: float, harmful: float) -> bool:
        """Whether a cut is called for, which is then on trial: whether more than the share `harmful` was lately
        refused, and more than usual."""
        replies = answered + refused
        share = refused / replies if replies else 0.0
        if replies >= ENOUGH:
            if self._at_cut:
                self.in_vain = share > LESS * self._at_cut
                self.usual = max(self.usual, share) if self.in_vain else 0.0
                self._at_cut = 0.0
            elif share < LESS * self.usual:
                self.usual = 0.0
        elif self._at_cut or self.usual:
            return False
        if refused < FEWEST or share <= max(harmful, self.usual / LESS):
            return False
        self._at_cut = share
        return True
