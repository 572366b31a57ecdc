"""Makes values that satisfy a JSON schema, which is what vLLM's guided decoding gives for tool arguments.

Values are taken from the task's text where they fit (a city, a number), because that is what a model that has
understood the task would pass; else they are drawn.
"""

import re
from dataclasses import dataclass, field
from math import ceil, floor
from random import Random
from typing import Any

Schema = dict[str, Any] | bool

_NAMES = re.compile(r"(?<=[a-z,;:] )[A-Z][\w'-]+(?: [A-Z][\w'-]+)*|(?<=[\"`])[^\"`\n]{1,60}(?=[\"`])")
_NUMBERS = re.compile(r"-?\d+(?:\.\d+)?")
_FORMATS = {
    "date": "2024-05-17",
    "date-time": "2024-05-17T09:30:00Z",
    "time": "09:30:00Z",
    "duration": "PT1H",
    "email": "ada@sim.test",
    "hostname": "sim.test",
    "ipv4": "192.0.2.7",
    "ipv6": "2001:db8::7",
    "uri": "http://sim.test/page",
    "uuid": "7d444840-9dc0-41d1-b245-5ffdce74fad2",
}
_GUESSES = (
    *_FORMATS.values(),
    "a",
    "A",
    "ab",
    "abc",
    "ABC",
    "1",
    "12",
    "123",
    "1234",
    "12345",
    "AB12",
    "+15550100",
)
_WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbor")
_MAX_DEPTH = 6


@dataclass(slots=True)
class Hints:
    """What the task's text offers as values, in the order in which it is mentioned.

    Attributes:
        text: The whole text, lower case, to find enumerated values in.
        names: Proper names and quoted strings.
        numbers: Numbers.
    """

    text: str = ""
    names: list[str] = field(default_factory=list)
    numbers: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, text: str) -> "Hints":
        """Find the names and numbers in a text."""
        return cls(text.lower(), _NAMES.findall(text), [float(number) for number in _NUMBERS.findall(text)])

    @property
    def left(self) -> int:
        """Names and numbers that no value has taken yet."""
        return len(self.names) + len(self.numbers)


class ValueMaker:
    """Draws values for one schema document.

    Args:
        root: The schema that `$ref` paths start from.
        random: Source of the draws.
        hints: Values to prefer where the schema allows them; each is used once.
    """

    def __init__(self, root: Schema, random: Random, hints: Hints) -> None:
        self._root = root
        self._random = random
        self._hints = hints

    def value(self, schema: Schema, depth: int = 0) -> Any:
        """A value that satisfies `schema`; optional properties are left out once `depth` is large."""
        schema = self._resolve(schema)
        if "const" in schema:
            return schema["const"]
        if options := schema.get("enum"):
            mentioned = [option for option in options if str(option).lower() in self._hints.text]
            return self._random.choice(mentioned or options)
        match self._type(schema):
            case "object":
                made: Any = self._object(schema, depth)
            case "array":
                made = self._array(schema, depth)
            case "string":
                made = self._string(schema)
            case "integer" | "number" as kind:
                made = self._number(schema, whole=kind == "integer")
            case "boolean":
                made = self._random.random() < 0.5
            case _:
                made = None
        return made

    def _resolve(self, schema: Schema) -> dict[str, Any]:
        """Follow references and alternatives until one plain schema is left."""
        if isinstance(schema, bool):
            return {}
        if "$ref" in schema:
            target: Any = self._root
            for key in str(schema["$ref"]).removeprefix("#").strip("/").split("/"):
                if key:
                    target = target[key.replace("~1", "/").replace("~0", "~")]
            return self._resolve(_merged({key: schema[key] for key in schema if key != "$ref"}, target))
        for word in ("anyOf", "oneOf"):
            if options := schema.get(word):
                rest = {key: schema[key] for key in schema if key != word}
                real = [option for option in options if option != {"type": "null"}]
                return self._resolve(_merged(rest, self._random.choice(real or options)))
        if parts := schema.get("allOf"):
            whole = {key: schema[key] for key in schema if key != "allOf"}
            for part in parts:
                whole = _merged(whole, self._resolve(part))
            return self._resolve(whole)
        return schema

    @staticmethod
    def _type(schema: dict[str, Any]) -> str:
        named = schema.get("type")
        if isinstance(named, list):
            named = next((name for name in named if name != "null"), "null")
        if named:
            return str(named)
        if "properties" in schema:
            return "object"
        return "array" if "items" in schema else "string"

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties: dict[str, Schema] = schema.get("properties", {})
        required = list(schema.get("required", ()))
        made = {}
        for name in [*properties, *(name for name in required if name not in properties)]:
            if name in required or (depth < _MAX_DEPTH and self._random.random() < 0.3):
                made[name] = self.value(properties.get(name, {"type": "string"}), depth + 1)
        extra = schema.get("additionalProperties", True)
        while len(made) < schema.get("minProperties", 0):
            made[f"key_{len(made)}"] = self.value(extra, depth + 1)
        return made

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        fewest = schema.get("minItems", 0)
        most = min(schema.get("maxItems", fewest + 2), fewest + 2)
        length = self._random.randint(max(fewest, min(1, most)) if depth < _MAX_DEPTH else fewest, most)
        first = schema.get("prefixItems", [])
        items = [self.value(part, depth + 1) for part in first[:length]]
        for _ in range(20 * length):  # unique items of a small set may need several draws
            if len(items) >= length:
                break
            item = self.value(schema.get("items", {"type": "string"}), depth + 1)
            if not schema.get("uniqueItems") or item not in items:
                items.append(item)
        return items

    def _string(self, schema: dict[str, Any]) -> str:
        shortest, longest = schema.get("minLength", 0), schema.get("maxLength", 1_000)
        if (named := schema.get("format")) in _FORMATS:
            return _FORMATS[named]
        pattern = re.compile(schema.get("pattern", ""))

        def fits(text: str) -> bool:
            return shortest <= len(text) <= longest and pattern.search(text) is not None

        for name in self._hints.names:
            if fits(name):
                self._hints.names.remove(name)
                return name
        drawn = self._random.choice(_WORDS)
        candidates = (drawn, (drawn * -(-shortest // len(drawn)))[: max(shortest, 1)][:longest], *_GUESSES)
        fitting: str = next((text for text in candidates if fits(text)), candidates[1])
        return fitting

    def _number(self, schema: dict[str, Any], *, whole: bool) -> float | int:
        step = schema.get("multipleOf", 1 if whole else None)
        low, high = _bounds(schema, step or 1e-6)
        for number in self._hints.numbers:
            if low <= number <= high and (step is None or number % step == 0):
                self._hints.numbers.remove(number)
                return int(number) if whole else number
        if step is None:
            return self._random.uniform(low, high)
        drawn = self._random.randint(ceil(low / step), floor(high / step)) * step
        return int(drawn) if whole else drawn


def _bounds(schema: dict[str, Any], step: float) -> tuple[float, float]:
    """Least and greatest number allowed; where only one end is given the range is 100 steps wide."""
    low = schema.get("minimum")
    if (above := schema.get("exclusiveMinimum")) is not None:
        low = above + step if low is None else max(low, above + step)
    high = schema.get("maximum")
    if (below := schema.get("exclusiveMaximum")) is not None:
        high = below - step if high is None else min(high, below - step)
    width = 100 * max(step, 1)
    if low is None:
        low = 0 if high is None else min(0, high - width)
    return low, (max(low, 0) + width if high is None else high)


def _merged(schema: dict[str, Any], more: Schema) -> dict[str, Any]:
    """Both schemas at once, as far as tool schemas need it."""
    if isinstance(more, bool):
        return schema
    both = {**schema, **more}
    if "properties" in schema and "properties" in more:
        both["properties"] = {**schema["properties"], **more["properties"]}
    if "required" in schema and "required" in more:
        both["required"] = [*schema["required"], *more["required"]]
    return both
