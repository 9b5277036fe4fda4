"""Holds a whole session as a client that is not ours: written from docs/protocol.md alone, on PyPI `websockets`.

Reads one JSON object on stdin:
  url, session, token   as the platform was given them
  photos                paths of photos, in the order in which they are taken: as many for a capture as it asks for
  answers               {text of a question: text of its right option}
  watch_ms              how long to watch
  speed                 how much faster than life the server's session clock runs (1 unless given)
  drop_at_ms            when to lose the connection once, in ms of watching (never unless given)
Prints what it saw as one JSON object on stdout. Exits 0 if the session was closed with a verdict, 1 with a reason if not.
"""

import asyncio
import base64
import hashlib
import json
import struct
import sys
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

TEXT_LIMIT_BYTES = 4 * 1024 * 1024
# How long a person takes to answer, ms.
ANSWER_AFTER_MS = 3_000


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def burst(frames: list) -> bytes:
    """Photos with the times at which they were taken, as section 6 puts them together."""
    zero = frames[0][0]
    parts = [struct.pack(">II", ct - zero, len(photo)) + photo for ct, photo in frames]
    return b"IVB1" + bytes([len(frames)]) + b"".join(parts)


class Key:
    """The client's own P-256 key pair."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())

    def public(self) -> str:
        point = self._private.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        return base64url(point)

    def sign(self, text: str) -> str:
        r, s = utils.decode_dss_signature(self._private.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


class Player:
    """A player without a picture: its position follows from the clock."""

    def __init__(self, clock) -> None:
        self._clock, self._from_ms, self._since, self.playing, self.duration_ms = clock, 0, 0, False, 0

    def pos_ms(self) -> int:
        played = self._clock() - self._since if self.playing else 0
        return min(self._from_ms + played, self.duration_ms)

    def set(self, playing: bool) -> None:
        self._from_ms, self._since, self.playing = self.pos_ms(), self._clock(), playing

    def state(self) -> dict:
        return {"playing": self.playing, "pos_ms": self.pos_ms(), "rate": 1.0}


class Session:
    """What outlives a connection, and what was seen."""

    def __init__(self, given: dict) -> None:
        self.given, self.key = given, Key()
        self.speed = given.get("speed", 1)
        self.zero = time.monotonic()
        self.player = Player(self.ct)
        self.socket = None  # while welcomed
        self.kept = []  # events that are not acknowledged
        self.nothing_kept = asyncio.Event()
        self.seq = self.acknowledged = 0
        self.photos = list(given["photos"])
        self.on_the_way = {}  # capture: [nonce, photo, seq of the commitment, sent]
        self.cameras = {}  # capture: the task that takes its photos, likewise
        self.answers = {}  # prompt: the task that answers it, whatever becomes of the connection
        self.dropped = False
        self.seen = {"connections": 0, "welcomes": [], "prompts": {}, "captures": {}, "notices": [], "errors": []}
        self.closed = None

    def ct(self) -> int:
        return int((time.monotonic() - self.zero) * 1000 * self.speed)

    def sleep(self, ms: float):
        return asyncio.sleep(ms / 1000 / self.speed)

    async def send(self, kind: str, data: dict) -> None:
        """Takes an event down, and sends it if there is a connection; if not, the next one does."""
        self.seq += 1
        event = {"seq": self.seq, "ct": self.ct(), "type": kind, "data": data}
        self.kept.append(event)
        self.nothing_kept.clear()
        if self.socket is not None:
            await self.socket.send(json.dumps(event))

    async def playback(self, event: str, playing: bool) -> None:
        self.player.set(playing)
        await self.send("playback", {"event": event, **self.player.state()})

    # --- the connection -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        while self.closed is None:
            options = {"subprotocols": ["invigil.v1"], "compression": None, "max_size": TEXT_LIMIT_BYTES}
            async with connect(self.given["url"], **options) as socket:
                self.seen["connections"] += 1
                try:
                    await self.converse(socket)
                except ConnectionClosed as closed:
                    if closed.rcvd is not None and 4000 <= closed.rcvd.code < 5000:
                        raise
                finally:
                    self.socket = None
            await self.sleep(1_000)

    async def converse(self, socket) -> None:
        welcome = await self.handshake(socket)
        self.seen["welcomes"].append(welcome)
        self.player.duration_ms = welcome["duration_ms"]
        self.acknowledge(welcome["acknowledged"])
        for event in self.kept:  # also those that come while these are sent
            await socket.send(json.dumps(event))
        self.socket = socket
        reader = asyncio.create_task(self.read(socket))
        watcher = asyncio.create_task(self.watch(socket, welcome))
        done, pending = await asyncio.wait([reader, watcher], return_when=asyncio.FIRST_COMPLETED)
        if watcher in done and reader not in done and not self.dropping(watcher):
            await reader
        for task in pending:
            task.cancel()
        for task in done:
            task.result()

    def dropping(self, watcher) -> bool:
        return watcher.exception() is None and watcher.result() == "dropped"

    async def handshake(self, socket) -> dict:
        challenge = json.loads(await socket.recv())
        assert challenge["type"] == "challenge", challenge
        session, token = self.given["session"], self.given["token"]
        await socket.send(json.dumps({
            "type": "hello", "session": session, "token": token, "key": self.key.public(),
            "signature": self.key.sign(f"invigil.v1\n{challenge['nonce']}\n{session}\n{token}"),
            "ct": self.ct(), "acknowledged": self.acknowledged,
        }))  # fmt: skip
        while True:
            message = json.loads(await socket.recv())
            if message["type"] == "ping":
                await self.pong(socket, message)
            elif message["type"] == "welcome":
                return message
            else:
                raise RuntimeError(f"instead of a welcome: {message}")

    async def pong(self, socket, ping: dict) -> None:
        await socket.send(json.dumps({"type": "pong", "id": ping["id"], "ct": self.ct()}))

    # --- the lesson ---------------------------------------------------------------------------------------------

    async def watch(self, socket, welcome: dict) -> str:
        if self.seq == 0:
            await self.send("page", {"visible": True, "focused": True, **self.player.state()})
            await self.send("windows", {"count": 1})
            await self.playback("play", True)
        while self.player.pos_ms() < self.given["watch_ms"]:
            await self.sleep(welcome["heartbeat_ms"])
            await self.send("heartbeat", self.player.state())
            if not self.dropped and self.player.pos_ms() >= self.given.get("drop_at_ms", float("inf")):
                self.dropped = True
                socket.transport.abort()
                return "dropped"
        await self.playback("pause", False)
        # Once the pause is on disk nothing more is asked; what was asked is answered first.
        await self.nothing_kept.wait()
        await asyncio.gather(*self.answers.values(), *self.cameras.values())
        await socket.send(json.dumps({"type": "close", "reason": "left"}))
        return "closing"

    async def read(self, socket) -> None:
        async for text in socket:
            message = json.loads(text)
            handle = getattr(self, "on_" + message["type"].replace(".", "_"), None)
            if handle is not None:
                await handle(socket, message)
            if self.closed is not None:
                return

    async def on_ping(self, socket, message: dict) -> None:
        await self.pong(socket, message)

    async def on_ack(self, socket, message: dict) -> None:
        self.acknowledge(message["seq"])
        await self.send_photos(socket)

    def acknowledge(self, seq: int) -> None:
        self.acknowledged = max(self.acknowledged, seq)
        self.kept = [event for event in self.kept if event["seq"] > self.acknowledged]
        if not self.kept:
            self.nothing_kept.set()

    async def on_renew(self, socket, message: dict) -> None:
        self.given["token"] = message["token"]

    async def on_prompt(self, socket, message: dict) -> None:
        if message["prompt"] not in self.answers:
            answer = self.given["answers"][message["text"]]
            assert answer in message["options"], message
            self.answers[message["prompt"]] = asyncio.create_task(self.answer(message["prompt"], answer))

    async def answer(self, prompt: str, answer: str) -> None:
        await self.sleep(ANSWER_AFTER_MS)
        try:
            await self.send("prompt.answered", {"prompt": prompt, "answer": answer})
        except ConnectionClosed:
            pass  # it is kept, and sent on the next connection

    async def on_prompt_closed(self, socket, message: dict) -> None:
        self.seen["prompts"][message["prompt"]] = message["outcome"]

    async def on_capture(self, socket, message: dict) -> None:
        capture = message["capture"]
        if capture in self.on_the_way:
            self.on_the_way[capture][0], self.on_the_way[capture][3] = message["nonce"], False
            return await self.send_photos(socket)
        if capture not in self.cameras:
            self.cameras[capture] = asyncio.create_task(self.take(message))

    async def take(self, message: dict) -> None:
        """Takes the photos one after the other, puts them together and commits to them."""
        assert message["challenge"] is None, message
        frames = []
        for number in range(message["frames"]):
            if number:
                await self.sleep(message["frame_every_ms"])
            with open(self.photos.pop(0), "rb") as file:
                frames.append((self.ct(), file.read()))
        submission = frames[0][1] if len(frames) == 1 else burst(frames)
        assert len(submission) <= message["bytes_limit"], message
        digest = hashlib.sha256(submission).hexdigest()
        # Noted before it is sent: the connection may be lost over it.
        self.on_the_way[message["capture"]] = [message["nonce"], submission, self.seq + 1, False]
        try:
            await self.send("capture.submitted", {"capture": message["capture"], "sha256": digest})
        except ConnectionClosed:
            pass  # it is kept, and sent on the next connection

    async def send_photos(self, socket) -> None:
        for capture, way in self.on_the_way.items():
            nonce, photo, seq, sent = way
            if sent or seq > self.acknowledged:
                continue
            way[3] = True
            header = json.dumps({"capture": capture, "nonce": nonce, "ct": self.ct()}).encode()
            await socket.send(struct.pack(">I", len(header)) + header + photo)

    async def on_photo_received(self, socket, message: dict) -> None:
        self.on_the_way.pop(message["capture"], None)

    async def on_capture_closed(self, socket, message: dict) -> None:
        self.on_the_way.pop(message["capture"], None)
        self.seen["captures"][message["capture"]] = message["outcome"]

    async def on_pause(self, socket, message: dict) -> None:
        await self.playback("pause", False)
        await socket.send(json.dumps({"type": "ready"}))

    async def on_play(self, socket, message: dict) -> None:
        await self.playback("play", True)

    async def on_notice(self, socket, message: dict) -> None:
        self.seen["notices"].append(message)

    async def on_error(self, socket, message: dict) -> None:
        self.seen["errors"].append(message)

    async def on_closed(self, socket, message: dict) -> None:
        self.closed = message


def main() -> int:
    session = Session(json.load(sys.stdin))
    try:
        asyncio.run(session.run())
    except (ConnectionClosed, RuntimeError) as error:
        print(error, session.seen["errors"], file=sys.stderr)
        return 1
    print(json.dumps({**session.seen, "events": session.seq, "closed": session.closed}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
