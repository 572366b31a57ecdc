"""Fills the prompt templates of users with a row's fields."""

from collections.abc import Mapping
from typing import Any

from nemo_gym_lite.errors import ConfigError


def filled(template: str, fields: Mapping[str, Any], where: str) -> str:
    """The text with `{field}` replaced.

    Args:
        template: The text.
        fields: By name.
        where: Whose template it is, for errors.

    Raises:
        ConfigError: A field is missing, or a brace is no field's.
    """
    try:
        return template.format_map(fields)
    except KeyError as error:
        raise ConfigError(
            f"{where} names the field {error}, which this row does not have", f"its fields are {', '.join(fields)}"
        ) from None
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{where} does not fit this row: {error}", "fields are written {name}, and braces of the text {{ }}"
        ) from None
