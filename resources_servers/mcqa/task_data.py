"""What a row of a multiple-choice task holds besides the prompt."""

from typing import Any

from pydantic import BaseModel

from resources_servers.mcqa.grading import GradingMode


class TaskData(BaseModel):
    """A question's key and how replies to it are read.

    Attributes:
        options: List of `{"A": "text of option A"}`; an option whose text is null is none.
        expected_answer: The right letter.
        grading_mode: How a reply is read, unless the server's configuration says so for all rows.
        template_metadata: `output_regex`, a pattern or a list of patterns that find the letter before `grading_mode`
            is asked; `answer_prefix`, what comes before the letter, for `lenient_answer_colon_md`; more is ignored.
        metadata: Whatever the data's author keeps there; no check reads it.
        uuid: The question's id, if it has one.
    """

    uuid: str | None = None
    options: list[dict[str, str | None]] | None = None
    expected_answer: str | None = None
    metadata: dict[str, Any] | None = None
    grading_mode: GradingMode = "strict_single_letter_boxed"
    template_metadata: dict[str, Any] | None = None
