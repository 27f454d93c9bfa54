"""The other end of a browser's peer connection.

ICE, DTLS and SCTP are real; its audio is silence, and events go through the data channel `oai-events`.

    peer = await answer(offer)        # peer.localDescription.sdp answers the browser
    connect(peer, call)               # from now on, when one ends, so does the other

Importing this takes half a second.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aioice.ice
import orjson
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole
from aiortc.mediastreams import AudioStreamTrack

from emulator.openai.errors import ApiError

if TYPE_CHECKING:
    from aiortc import MediaStreamTrack, RTCDataChannel

    from emulator.openai.calls.call import Call

EVENTS_CHANNEL = "oai-events"

# aioice leaves loopback out, and the stand-in is nowhere else.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"] if use_ipv4 or use_ipv6 else []


async def answer(offer: str) -> RTCPeerConnection:
    """Answer a browser's offer.

    Raises:
        ApiError: it is not SDP that can be answered.
    """
    peer = RTCPeerConnection()
    peer.addTrack(AudioStreamTrack())

    @peer.on("track")
    async def _listen(track: MediaStreamTrack) -> None:
        sink = MediaBlackhole()
        sink.addTrack(track)
        await sink.start()

    try:
        await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
    except (ValueError, IndexError, KeyError) as error:
        await peer.close()
        raise ApiError(f"Invalid SDP offer: {error}", code="invalid_offer", param="sdp") from error
    return peer


def connect(peer: RTCPeerConnection, call: Call) -> None:
    """Connect a browser and a call: when one ends, so does the other."""
    call.reachable = False

    @peer.on("datachannel")
    def _attach(channel: RTCDataChannel) -> None:
        if channel.label == EVENTS_CHANNEL:
            call.note("note", "browser attached", {})
            channel.on("message", call.receive_from_browser)
            call.attach_browser(lambda event: _send(channel, event))

    @peer.on("connectionstatechange")
    def _hang_up_if_closed() -> None:
        if peer.connectionState in {"failed", "closed"}:
            call.hang_up()

    call.start(_close_at_end(peer), "peer connection")


async def _close_at_end(peer: RTCPeerConnection) -> None:
    """Close the connection at the call's end, which cancels this task."""
    try:
        await asyncio.Event().wait()
    finally:
        await peer.close()


def _send(channel: RTCDataChannel, event: dict[str, Any]) -> None:
    if channel.readyState == "open":
        channel.send(orjson.dumps(event).decode())
