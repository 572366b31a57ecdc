"""Reads what hosted models cost: `configs/prices.yaml`, and a file of the user's laid over it."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, Field, NonNegativeFloat, ValidationError

from nemo_gym_lite.config.files import read_yaml
from nemo_gym_lite.config.roots import INSTALL_ROOT, find
from nemo_gym_lite.config.wording import complaints
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.budget import Price

DEFAULT_PRICES = Path("configs/prices.yaml")

_SNAPSHOT = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|latest)$")
"""Services name a dated snapshot in their replies where an alias was asked for."""


class PriceEntry(BaseModel, frozen=True, extra="forbid"):
    """The price of one model, in US dollars for a million tokens, and where it was read."""

    input: NonNegativeFloat = Field(description="prompt tokens")
    cached_input: NonNegativeFloat | None = Field(
        default=None, description="prompt tokens from the service's cache; left out, as dear as the others"
    )
    output: NonNegativeFloat = Field(description="generated tokens, reasoning included")
    date: str = Field(default="", description="day on which the source said so")
    source: str = Field(default="", description="where the figures are from")
    note: str = Field(default="", description="what the figures leave out")

    @property
    def price(self) -> Price:
        """The figures alone."""
        cached = self.input if self.cached_input is None else self.cached_input
        return Price(self.input, cached, self.output)


class PriceList:
    """Prices by the name that a model is asked for."""

    def __init__(self, entries: Mapping[str, PriceEntry]) -> None:
        self.entries = dict(entries)

    def __call__(self, model: str) -> Price | None:
        """The price of `model`, or of the alias that it is a dated snapshot of; None if it is not listed."""
        entry = self.entries.get(model) or self.entries.get(_SNAPSHOT.sub("", model))
        return None if entry is None else entry.price


def read_prices(path: Path = DEFAULT_PRICES) -> PriceList:
    """Read the list that comes with the package, and lay `path` over it, model by model.

    Raises:
        ConfigError: A file is not there, or does not hold prices.
    """
    entries = _entries(INSTALL_ROOT / DEFAULT_PRICES)
    found = find(path)
    if found is None:
        raise ConfigError(f"prices: no such file: {path}", "write one as docs/guides/budgets.md shows")
    if found.resolve() != (INSTALL_ROOT / DEFAULT_PRICES).resolve():
        entries |= _entries(found)
    return PriceList(entries)


def refuse_unpriced(prices: PriceList, models: Iterable[str], path: Path) -> None:
    """Check that a budget in dollars can be kept; models that only the rows name are not known yet.

    Raises:
        ConfigError: A model has no price.
    """
    for model in models:
        if prices(model) is None:
            raise ConfigError(
                f"max_cost_usd: no price of model {model!r} is in {path}",
                "add one with +prices=my_prices.yaml (docs/guides/budgets.md), or use +max_total_tokens=",
            )


def _entries(path: Path) -> dict[str, PriceEntry]:
    entries = {}
    for name, value in read_yaml(path).items():
        try:
            entries[name] = PriceEntry.model_validate(value)
        except ValidationError as error:
            lines = [f"{path}: price of {name!r}:", *(f"  {line}" for line in complaints(error))]
            raise ConfigError("\n".join(lines), "docs/guides/budgets.md has one to copy") from error
    return entries
