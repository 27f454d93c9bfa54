"""Pub/Sub on one machine, as far as leasing calls needs it.

    async with serve() as server:
        server.host_port

`broker` and `backlog` hold all of the behaviour and do no I/O; `checks` says what is refused; `server` puts gRPC around
them. Google's real clients talk to it as to Google's own emulator, through `PUBSUB_EMULATOR_HOST`.
"""

from emulator.pubsub.server import Server, serve

__all__ = ["Server", "serve"]
