"""A small network camera: RTSP with JPEG over RTP (RFC 2326, RFC 2435), interleaved; it can fall silent or hang up."""

import socket
import struct
import threading
import time
from typing import Literal, Self

import cv2
import numpy as np

SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=door\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:track1\r\n"
PACKET = 1400  # bytes of a picture in one packet
Then = Literal["go on", "hang up", "fall silent"]


class NetworkCamera:
    """Serves grey frames, each 4 levels brighter than the one before, to one caller after another.

    `frames` of them, and `then` what it says; `speaks` False is one that accepts and never answers.
    """

    def __init__(
        self, *, frames: int = 10**6, then: Then = "go on", speaks: bool = True, fps: float = 20.0, port: int = 0
    ) -> None:  # fmt: skip
        self.frames, self.then, self.speaks, self.fps = frames, then, speaks, fps
        self.callers = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self._open: list[socket.socket] = []
        self._stop = threading.Event()
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def address(self) -> str:
        return f"rtsp://door:pass%40word@127.0.0.1:{self.port}/stream"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for caller in self._open:
            caller.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            self.callers += 1
            self._open.append(caller)
            if self.speaks:
                threading.Thread(target=self._talk, args=(caller,), daemon=True).start()

    def _talk(self, caller: socket.socket) -> None:
        try:
            with caller.makefile("rb") as lines:
                while request := lines.readline().decode():
                    headers = {}
                    while (line := lines.readline().decode().strip()) != "":
                        name, _, value = line.partition(":")
                        headers[name.lower()] = value.strip()
                    caller.sendall(_answer(request.split()[0], headers["cseq"]))
                    if request.startswith("PLAY"):
                        self._play(caller)
                        if self.then == "hang up":
                            caller.shutdown(socket.SHUT_RDWR)
                            return
        except (OSError, KeyError):
            return

    def _play(self, caller: socket.socket) -> None:
        number, begun = 0, time.monotonic()
        for index in range(self.frames):
            if self._stop.wait(max(0.0, begun + index / self.fps - time.monotonic())):
                return
            for packet in _packets(index, self.fps):
                head = struct.pack(">BBHII", 0x80, 26 | (packet[0] << 7), number & 0xFFFF, packet[1], 7)
                body = head + packet[2]
                caller.sendall(b"$\x00" + struct.pack(">H", len(body)) + body)
                number += 1


def _answer(method: str, number: str) -> bytes:
    more = {
        "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
        "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n",
        "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
    }.get(method, "Session: 1\r\n")
    return f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{more}\r\n{SDP if method == 'DESCRIBE' else ''}".encode()


def _packets(index: int, fps: float) -> list[tuple[bool, int, bytes]]:
    """(last of its picture, time stamp in 1/90,000 s, payload) for one picture."""
    picture = np.full((96, 128, 3), 16 + index * 4 % 224, np.uint8)
    picture[::8] = 200
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    tables, at = b"", 2
    while jpeg[at + 1] != 0xDA:
        length = struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
        if jpeg[at + 1] == 0xDB:
            tables += jpeg[at + 5 : at + 2 + length]
        at += 2 + length
    scan = jpeg[at + 2 + struct.unpack(">H", jpeg[at + 2 : at + 4])[0] : -2]
    stamp, found = round(index / fps * 90_000), []
    for start in range(0, len(scan), PACKET):
        head = struct.pack(">I", start) + bytes((1, 255, 128 // 8, 96 // 8))
        if start == 0:
            head += struct.pack(">BBH", 0, 0, len(tables)) + tables
        found.append((start + PACKET >= len(scan), stamp, head + scan[start : start + PACKET]))
    return found
