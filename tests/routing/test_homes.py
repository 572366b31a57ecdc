"""Where sessions start and when they move; pure."""

import random
from collections import Counter

from nemo_gym_lite.routing.endpoint_state import EndpointState
from nemo_gym_lite.routing.homes import Homes


def endpoints(*in_flight):
    return [EndpointState(f"http://{n}/v1", in_flight=count) for n, count in enumerate(in_flight)]


def homes(placement="least_loaded", affinity="session", margin=4):
    return Homes(placement, affinity, margin, random.Random(0))


def start(table, session_id, states):
    home = table.choose(session_id, states)
    table.settle(session_id, home)
    home.in_flight += 1
    return home


def test_round_robin_takes_one_endpoint_after_the_other_whatever_their_load():
    states, table = endpoints(50, 0, 7), homes("round_robin")
    order = [states.index(start(table, f"s{n}", states)) for n in range(6)]

    assert order == [0, 1, 2, 0, 1, 2]
    assert not table.is_overloaded(states[0], states)


def test_all_sessions_of_a_task_start_at_one_endpoint_and_the_tasks_are_spread():
    states, table = endpoints(0, 0, 0, 0), homes(affinity="task", margin=8)
    tasks = {task: {start(table, f"{task}-{n}", states) for n in range(4)} for task in range(40)}

    assert all(len(used) == 1 for used in tasks.values())
    assert set(Counter(next(iter(used)).base_url for used in tasks.values()).values()) == {10}


def test_a_task_leaves_its_endpoint_when_that_has_more_than_the_margin_in_flight_and_goes_on_where_it_went():
    states, table = endpoints(0, 0), homes(affinity="task", margin=4)
    first = [start(table, f"7-{n}", states) for n in range(5)]
    second = [start(table, f"7-{n}", states) for n in range(5, 9)]

    assert len(set(first)) == 1
    assert set(second) == {state for state in states if state is not first[0]}


def test_an_endpoint_is_overloaded_only_with_more_than_twice_the_least_load_too():
    table = homes(margin=4)
    home, other = endpoints(190, 100)

    assert not table.is_overloaded(home, [home, other])
    home.in_flight = 201
    assert table.is_overloaded(home, [home, other])


def test_sessions_count_where_they_live_and_nowhere_else():
    states, table = endpoints(0, 0), homes()
    table.settle("s", states[0])
    table.settle("s", states[1])
    assert [state.sessions for state in states] == [0, 1]

    table.end("s")
    table.end("s")
    assert [state.sessions for state in states] == [0, 0]
    assert len(table) == 0


def test_where_the_ends_of_sessions_are_told_the_endpoint_with_the_fewest_gets_the_next_one():
    states, table = endpoints(5, 0), homes()
    for n in range(3):
        table.settle(f"s{n}", states[1])
    assert table.choose("new", states) is states[1]

    table.finish("s0")
    assert table.choose("new", states) is states[0]
