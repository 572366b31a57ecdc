"""One tool, one question: the model must ask for the right city and report what the tool said."""

import re
import zlib
from typing import Annotated

import orjson
from fastapi import FastAPI
from pydantic import BaseModel, Field, StringConstraints

from nemo_gym_lite.base_resources_server import (
    BaseResourcesServerConfig,
    BaseVerifyRequest,
    BaseVerifyResponse,
    SimpleResourcesServer,
)
from nemo_gym_lite.openai_utils import (
    NeMoGymResponse,
    NeMoGymResponseFunctionToolCall,
    NeMoGymResponseOutputMessage,
    NeMoGymResponseOutputText,
)

CONDITIONS = ("sunny", "cloudy", "light rain", "heavy rain", "drizzle", "fog", "thunderstorms", "strong wind")

City = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class SimpleWeatherResourcesServerConfig(BaseResourcesServerConfig):
    """Configuration; there is nothing to set."""


class GetWeatherRequest(BaseModel):
    """Arguments of the tool `get_weather`."""

    city: City


class GetWeatherResponse(BaseModel):
    """The weather that the tool reports."""

    city: str
    temperature_c: int
    conditions: str


class SimpleWeatherVerifyRequest(BaseVerifyRequest):
    """A row of the data with the model's response; `cities` are those that the task asks about.

    A row may leave them out, as a request that only warms the model up does; it earns nothing.
    """

    cities: list[City] | None = Field(default=None, min_length=1)


class SimpleWeatherVerifyResponse(BaseVerifyResponse):
    """The verdict with its parts: calls made, cities looked up, cities reported rightly."""

    cities: list[str]
    num_tool_calls: int
    num_cities_called: int
    num_cities_reported: int


class SimpleWeatherResourcesServer(SimpleResourcesServer):
    """Invents each city's weather from its name, so that the same city always has the same weather."""

    config: SimpleWeatherResourcesServerConfig

    def setup_webserver(self) -> FastAPI:
        """Add the tool's route."""
        app = super().setup_webserver()
        app.post("/get_weather")(self.get_weather)
        return app

    async def get_weather(self, body: GetWeatherRequest) -> GetWeatherResponse:
        """Report the weather of one city."""
        return weather_of(body.city)

    async def verify(self, body: SimpleWeatherVerifyRequest) -> SimpleWeatherVerifyResponse:
        """Reward 1 if each city was looked up and its weather stands in the final message, else 0."""
        calls = weather_calls(body.response)
        called = {folded(city) for city in calls if city is not None}
        report = final_text(body.response)
        cities = body.cities or []
        found = [city for city in cities if folded(city) in called]
        reported = [city for city in found if reports(report, weather_of(city))]
        return SimpleWeatherVerifyResponse(
            **{**dict(body), "cities": cities},
            reward=float(bool(cities) and len(reported) == len(cities)),
            num_tool_calls=len(calls),
            num_cities_called=len(found),
            num_cities_reported=len(reported),
        )


def folded(city: str) -> str:
    """Return the city's name without its country, case and surrounding space: `Paris, France` is `paris`."""
    return city.partition(",")[0].strip().casefold()


def weather_of(city: str) -> GetWeatherResponse:
    """Invent the weather of `city`: 1 to 35 degrees, always the same for the same city."""
    draw = zlib.crc32(folded(city).encode())
    return GetWeatherResponse(
        city=city, temperature_c=1 + draw % 35, conditions=CONDITIONS[draw // 35 % len(CONDITIONS)]
    )


def weather_calls(response: NeMoGymResponse) -> list[str | None]:
    """Return the city of each call of `get_weather`, None where the arguments name none."""
    return [
        _city_argument(item.arguments)
        for item in response.output
        if isinstance(item, NeMoGymResponseFunctionToolCall) and item.name == "get_weather"
    ]


def final_text(response: NeMoGymResponse) -> str:
    """Return the text of the last message, empty if the response ends with something else."""
    last = response.output[-1] if response.output else None
    if not isinstance(last, NeMoGymResponseOutputMessage):
        return ""
    return "".join(part.text for part in last.content if isinstance(part, NeMoGymResponseOutputText))


def reports(text: str, weather: GetWeatherResponse) -> bool:
    """Whether `text` holds the temperature as a number of its own and the conditions, in any case."""
    temperature = re.search(rf"(?<![\d.,-]){weather.temperature_c}(?![\d]|[.,]\d)", text)
    return temperature is not None and weather.conditions in text.casefold()


def _city_argument(arguments: str) -> str | None:
    try:
        parsed = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return None
    city = parsed.get("city") if isinstance(parsed, dict) else None
    return city if isinstance(city, str) else None


if __name__ == "__main__":
    SimpleWeatherResourcesServer.run_webserver()
