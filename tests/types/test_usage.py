"""What the sum of several turns' usage says."""

from nemo_gym_lite.openai_utils import (
    NeMoGymResponseInputTokensDetails,
    NeMoGymResponseOutputTokensDetails,
    NeMoGymResponseUsage,
    accumulate_response_usage,
)


def usage(inputs, outputs, cached=None, thought=None):
    return NeMoGymResponseUsage(
        input_tokens=inputs,
        input_tokens_details=NeMoGymResponseInputTokensDetails(cached_tokens=cached),
        output_tokens=outputs,
        output_tokens_details=NeMoGymResponseOutputTokensDetails(reasoning_tokens=thought),
        total_tokens=inputs + outputs,
    )


def test_usage_adds_up_over_turns():
    assert NeMoGymResponseUsage.sum_from_list([usage(1, 2, 3, 4), usage(10, 20, 30, 40)]) == usage(11, 22, 33, 44)


def test_no_usage_sums_to_zero():
    assert NeMoGymResponseUsage.sum_from_list([]) == usage(0, 0, 0, 0)


def test_a_detail_that_one_turn_does_not_tell_is_unknown_in_the_sum():
    assert accumulate_response_usage(usage(1, 1, 5, 5), usage(1, 1)) == usage(2, 2)


def test_a_missing_usage_leaves_the_other_as_it_is():
    one = usage(1, 2, 3, 4)

    assert accumulate_response_usage(None, one) == one
    assert accumulate_response_usage(one, None) == one
    assert accumulate_response_usage(None, None) is None


def test_accumulating_changes_neither_side():
    one, two = usage(1, 2, 3, 4), usage(1, 2, 3, 4)
    accumulate_response_usage(one, two).input_tokens_details.cached_tokens = 99

    assert one == two == usage(1, 2, 3, 4)
