"""What the index of groups costs, and that it finds them wherever their rows are."""

import random
import tracemalloc

from nemo_gym_lite.training.group_index import GroupIndex, Place


def test_groups_are_found_in_any_order_of_their_rollouts():
    index = GroupIndex()
    rows = [(task, rollout) for task in range(50) for rollout in range(4)]
    random.Random(1).shuffle(rows)
    for start, (task, rollout) in enumerate(rows):
        index.add(index.see({"_ng_key": str(task), "agent_ref": {"name": "a"}}), Place(rollout, 1.0, start))

    groups = [[rows[place.start] for place in places] for _, places in index.groups()]

    assert sorted(groups) == [[(task, rollout) for rollout in range(4)] for task in range(50)]
    assert index.largest() == {"a": 4}


def test_a_rollout_takes_less_than_100_bytes():
    tracemalloc.start()
    index = GroupIndex()
    for number in range(30_000):
        index.add(index.see({"_ng_key": str(number // 4), "agent_ref": {"name": "a"}}), Place(number % 4, 1.0, number))
    for _ in index.groups():
        pass
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < 100 * 30_000
