"""A door's steward on a made machine, with a clock that the test turns and a service manager that listens."""

import socket
from pathlib import Path
from typing import Self

from agent.health.notify import Notifier
from agent.health.opening import Opening
from agent.health.steward import Signs, Steward

DAY = 1_795_392_000.0  # 2026-11-23, a Monday, 00:00 UTC
FPS = 15


class Machine:
    """Time passes by `run`; the wall clock and what the sensors say are set by the test."""

    def __init__(self, folder: Path, *, offset_s: float = DAY, synchronised: bool = True) -> None:
        self.root, self.state = folder / "root", folder / "state"
        self.state.mkdir(parents=True, exist_ok=True)
        self.now_s = 100.0  # what the growing clock says; it knows no date
        self.offset_s, self.synchronised = offset_s, synchronised
        self.frames, self.looking_s, self.uncommitted_s = 0, 0.0, 0.0
        self.framed_s: float | None = None
        self.trouble: str | None = None
        self._heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._heard.bind(str(folder / "notify"))
        self._heard.setblocking(False)
        self.steward = self.start()

    def start(self, opening: Opening | None = None) -> Steward:
        """The agent starts (again)."""
        self.frames, self.framed_s = 0, None
        self.steward = Steward(
            opening or Opening.of([], "UTC"), self.state, begun_s=self.now_s, wall=lambda: self.now_s + self.offset_s,
            synchronised=lambda: self.synchronised, notifier=Notifier(self._heard.getsockname()), root=self.root,
        )  # fmt: skip
        return self.steward

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def heat(self, celsius: float) -> None:
        self.write("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
        self.write("sys/class/thermal/thermal_zone0/temp", f"{celsius * 1000:.0f}\n")

    def run(self, seconds: float, *, camera: bool = True, model: bool = True, step_s: float = 1.0) -> list[str]:
        """Let time pass, a tick each `step_s`; returns what the service manager heard."""
        heard = []
        for number in range(int(seconds / step_s)):
            self.now_s += step_s
            if camera:
                self.framed_s = self.now_s
            if camera and model:
                self.frames += 1
            self.looking_s = 0.0 if model else self.looking_s + step_s
            self.steward.tick(self.now_s, self.signs())
            if number % 3 == 0:  # before the socket's queue is full
                heard += self._drain()
        return heard + self._drain()

    def signs(self) -> Signs:
        return Signs(self.frames, self.framed_s, self.looking_s, self.uncommitted_s, self.trouble, (), 1, "all is well")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.steward.close(self.now_s)
        self._heard.close()

    def _drain(self) -> list[str]:
        said = []
        while True:
            try:
                said.append(self._heard.recv(4096).decode())
            except BlockingIOError:
                return said
