"""What collector and worker may rely on when they talk."""

import asyncio
import os
import socket

import pytest

from nemo_gym_lite.rollouts.wire import Outbox, Wire


@pytest.fixture
async def ends():
    """Both ends of a connection, each with the list of what it took."""
    loop = asyncio.get_running_loop()
    made = []
    for sock in socket.socketpair():
        taken = []
        take = lambda head, rest, taken=taken: taken.append((head, bytes(rest)))  # noqa: E731
        _, wire = await loop.create_unix_connection(lambda take=take: Wire(take), sock=sock)
        made.append((wire, taken))
    yield made
    for wire, _ in made:
        wire.close()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_messages_arrive_whole_and_in_order_whatever_their_size(ends):
    (here, _), (_, taken) = ends
    sizes = [0, 1, 70_000, 5_000_000, 3]
    bodies = [os.urandom(size) for size in sizes]
    for number, body in enumerate(bodies):
        here.send({"number": number}, [body[:100], body[100:]])

    await until(lambda: len(taken) == len(sizes))

    assert taken == [({"number": number}, body) for number, body in enumerate(bodies)]


async def test_both_ends_talk_at_once(ends):
    (here, heard_here), (there, heard_there) = ends
    for number in range(1000):
        here.send({"a": number})
        there.send({"b": number})

    await until(lambda: len(heard_here) == len(heard_there) == 1000)

    assert [head["b"] for head, _ in heard_here] == [head["a"] for head, _ in heard_there] == list(range(1000))


async def test_what_was_sent_whole_is_taken_before_the_loss_is_told(ends):
    (here, _), (there, taken) = ends
    here.send({"last": "words"}, [b"x" * 1000])
    await until(lambda: taken)
    here.close()

    async with asyncio.timeout(10):
        await there.lost

    assert taken == [({"last": "words"}, b"x" * 1000)]


async def test_a_message_that_was_cut_short_is_not_taken():
    ours, theirs = socket.socketpair()
    taken = []
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_unix_connection(lambda: Wire(lambda head, _: taken.append(head)), sock=ours)
    theirs.send(b"\x0b\0\0\0" + b"\x05\0\0\0\0\0\0\0" + b'{"cut":true}')
    theirs.close()

    async with asyncio.timeout(10):
        await wire.lost

    assert taken == []


async def test_sending_to_an_end_that_is_gone_is_no_error(ends):
    (here, _), (there, _) = ends
    there.close()
    async with asyncio.timeout(10):
        await here.lost

    here.send({"too": "late"})


async def test_everything_of_one_turn_of_the_event_loop_is_sent_together():
    sent, waiting = [], []

    def flush():
        sent.append(list(waiting))
        waiting.clear()

    outbox = Outbox(flush)
    for number in range(5):
        waiting.append(number)
        outbox.mark()
    await asyncio.sleep(0.01)
    waiting.append(5)
    outbox.mark()
    await asyncio.sleep(0.01)

    assert sent == [[0, 1, 2, 3, 4], [5]]
