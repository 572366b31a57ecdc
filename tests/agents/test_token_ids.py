"""What an agent says of the token ids that its turns carry, near and far."""

import pytest

from .conftest import call, message


def with_ids(item, prompt, generated):
    return {
        **item,
        "prompt_token_ids": prompt,
        "generation_token_ids": generated,
        "generation_log_probs": [-0.5] * len(generated),
    }


@pytest.mark.parametrize(
    ("second_prompt", "contiguous"),
    [([1, 2, 3, 4], True), ([1, 2, 9, 4], False), ([1, 2], False)],
    ids=["same tokens", "another tokenisation", "a shortened prompt"],
)
async def test_a_row_says_whether_each_prompt_begins_with_the_turn_before(world, row, second_prompt, contiguous):
    world.model.turns = [
        [with_ids(call("add", '{"by": 1}'), [1, 2], [3])],
        [with_ids(message("done"), second_prompt, [5])],
    ]
    agent = await world.agent()

    played = await agent.run(row)

    assert played["token_ids_contiguous"] is contiguous
    assert played["response"]["output"][-1]["generation_token_ids"] == [5]


async def test_a_row_without_token_ids_says_nothing_of_them(world, row):
    world.model.turns = [[call("add", '{"by": 1}')], [message("done")]]
    agent = await world.agent()

    assert "token_ids_contiguous" not in await agent.run(row)
