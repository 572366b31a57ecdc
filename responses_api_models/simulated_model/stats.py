"""What the engine has seen, counted where nobody else can miscount: the proof of "exactly once"."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from responses_api_models.simulated_model.arrivals import Arrivals
from responses_api_models.simulated_model.history import History


@dataclass(slots=True)
class EngineStats:
    """Counts since the start or the last `clear`. The tables are bounded, so memory stays flat."""

    sessions_kept: int
    prompts_kept: int
    arrivals_kept: int = 0
    calls: int = 0
    """Generation requests that arrived."""
    completed: int = 0
    """Answers handed over whole; a caller killed before that is counted as aborted instead."""
    aborted: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    prompt_tokens: int = 0
    generation_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens of earlier turns of a session that came back here: what a prefix cache would hold."""
    rejected: int = 0
    by_status: Counter[int] = field(default_factory=Counter)
    by_fault: Counter[str] = field(default_factory=Counter)
    finished: Counter[str] = field(default_factory=Counter)
    """Answers by finish reason, in vLLM's words: stop, length, abort, error."""
    sessions: dict[str, int] = field(default_factory=dict)
    """Calls by session id (`X-Session-ID`), failed ones included."""
    prompts: dict[int, int] = field(default_factory=dict)
    """Completed answers by digest of the conversation that was answered."""

    arrivals: Arrivals = field(init=False)
    """When requests came, what they took and how they ended."""
    history: History = field(default_factory=History)
    """Load over time."""

    _under_way: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.arrivals = Arrivals(self.arrivals_kept)

    @property
    def repeated(self) -> int:
        """Completed answers to a conversation that had been answered before."""
        return self.completed - len(self.prompts)

    def arrive(self, session_id: str | None) -> bool:
        """Count a request that has just come in; true if its session has been here before."""
        self.calls += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        if session_id is None:
            return False
        calls = self.sessions.get(session_id, 0)
        if calls or len(self.sessions) < self.sessions_kept:
            self.sessions[session_id] = calls + 1
        return calls > 0

    def leave(self, status: int | None) -> None:
        """Count a request that is over; `status` is None where no status line went out."""
        self.in_flight -= 1
        if status is not None:
            self.by_status[status] += 1

    def begin(self, digest: int) -> int:
        """Note that a conversation is being answered; returns how often it was, or is being, answered already."""
        earlier = self.prompts.get(digest, 0) + self._under_way[digest]
        self._under_way[digest] += 1
        return earlier

    def end(self, digest: int) -> None:
        """Note that a conversation is no longer being answered."""
        self._under_way[digest] -= 1
        if not self._under_way[digest]:
            del self._under_way[digest]

    def complete(self, digest: int, prompt_tokens: int, generation_tokens: int, finish_reason: str) -> None:
        """Count an answer that was handed over."""
        self.completed += 1
        self.prompt_tokens += prompt_tokens
        self.generation_tokens += generation_tokens
        self.finished["length" if finish_reason == "length" else "stop"] += 1
        answers = self.prompts.get(digest, 0)
        if answers or len(self.prompts) < self.prompts_kept:
            self.prompts[digest] = answers + 1

    def clear(self) -> None:
        """Start counting anew; requests in flight stay in flight."""
        kept = (self.sessions_kept, self.prompts_kept, self.arrivals_kept)
        fresh = EngineStats(*kept, in_flight=self.in_flight, _under_way=self._under_way)
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))

    def as_json(self, *, sessions: bool = False, prompts: bool = False) -> dict[str, Any]:
        """The counts as a JSON object, with the tables where asked for."""
        plain = ("calls", "completed", "aborted", "rejected", "in_flight", "max_in_flight", "prompt_tokens")
        summary: dict[str, Any] = {name: getattr(self, name) for name in (*plain, "generation_tokens", "cached_tokens")}
        summary["by_status"] = {str(status): count for status, count in self.by_status.items()}
        summary["by_fault"] = dict(self.by_fault)
        summary["finished"] = dict(self.finished)
        summary["distinct_sessions"] = len(self.sessions)
        summary["distinct_prompts"] = len(self.prompts)
        summary["repeated"] = self.repeated
        summary["max_answers_per_prompt"] = max(self.prompts.values(), default=0)
        if sessions:
            summary["sessions"] = self.sessions
        if prompts:
            summary["prompts"] = {f"{digest:016x}": count for digest, count in self.prompts.items()}
        return summary
