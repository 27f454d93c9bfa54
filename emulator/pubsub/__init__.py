"""Pub/Sub on one machine, as far as leasing calls needs it.

    async with serve() as server:
        server.host_port
        server.latency.slow_down(3)   # as a Pub/Sub in trouble; see `latency` for what each method can do

`broker` and `backlog` hold all of the behaviour and do no I/O; `checks` says what is refused; `server` puts gRPC around
them, and `latency` how long it takes. Google's real clients talk to it as to Google's own emulator, through
`PUBSUB_EMULATOR_HOST`.
"""

from emulator.pubsub.server import Server, serve

__all__ = ["Server", "serve"]
