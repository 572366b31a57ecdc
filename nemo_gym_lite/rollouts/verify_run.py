"""Sets a verification up, from its servers to its signals, and takes it all down again."""

import asyncio
import signal
from contextlib import AsyncExitStack

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.compose import Composed
from nemo_gym_lite.config.masking import mask_secrets
from nemo_gym_lite.rollouts.conduct import answering
from nemo_gym_lite.rollouts.connect import Seat, connect_environments, processes_of_checks, seats
from nemo_gym_lite.rollouts.deferred import refuse_what_cannot_wait
from nemo_gym_lite.rollouts.discovery import find_servers
from nemo_gym_lite.rollouts.manifest import flatten, what_decides
from nemo_gym_lite.rollouts.progress import say
from nemo_gym_lite.rollouts.stored import Stored
from nemo_gym_lite.rollouts.verification import Verification, Verified
from nemo_gym_lite.rollouts.verify_options import VerifyOptions
from nemo_gym_lite.serving.client import open_http
from nemo_gym_lite.serving.launcher import Launcher


async def verify(composed: Composed[VerifyOptions], stored: Stored) -> Verified:
    """Score stored rollouts with running servers or with its own, which are stopped at the end.

    Raises:
        ConfigError: An agent is not configured, its check needs a session, or the output was begun with other settings.
        OutputError: The output is in use, not ours, or cannot be written.
        ServerStartError: A server did not come up, or would not stay up.
    """
    options = composed.options
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(open_http(options.deadlines))
        neighbours = await find_servers(composed, http)
        placed = seats(neighbours.servers, stored.agents)
        clients = connect_environments(placed, http, options.deadlines, neighbours.tree)
        stack.push_async_callback(clients.close)
        verification = Verification(options, stored, _asked(placed), mask_secrets(neighbours.tree))
        stack.callback(verification.close)
        if not neighbours.running and (started := processes_of_checks(placed, neighbours.servers)):
            await stack.enter_async_context(Launcher(started, neighbours.tree, show=say))
        await refuse_what_cannot_wait(clients.resources, "ng_verify_rollouts")
        _say_beginning(verification, stored)

        def stop() -> None:
            say("stopping: checks in flight may finish; press Ctrl-C again to cancel them")
            verification.stop()

        answers = {signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGUSR1: verification.tell}
        with answering(asyncio.get_running_loop(), answers):
            return await verification.run(clients, http)


def _asked(placed: list[Seat]) -> Json:
    """What decides how checks come out: the environments' settings."""
    environments = [seat.resources for seat in placed if seat.resources is not None]
    return flatten({"verified_by": {server.name: what_decides(server.config) for server in environments}})


def _say_beginning(verification: Verification, stored: Stored) -> None:
    if stored.without_response:
        say(f"{stored.without_response} lines of {stored.path} hold no response and are left out")
    if stored.delivered_since:
        say(f"{stored.delivered_since} rollouts of {stored.path} were delivered since and are left out")
    if verification.output.done.rows:
        say(f"{verification.output.done.rows} rollouts are scored already; scoring what is missing")
