"""A broker of three machines: NATS servers with JetStream, speaking MQTT 3.1.1, behind one address that finds a living one."""

import shutil
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from rehearsal.processes import Child, RehearsalError, free_port, listens, wait_until

NODES = 3
READY_S = 30.0
COPY_BYTES = 65_536


class NatsCluster:
    """Three real servers on loopback; every stream and session is kept by all three, and two suffice to go on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.mqtt_ports = [free_port() for _ in range(NODES)]
        self._client_ports = [free_port() for _ in range(NODES)]
        self._route_ports = [free_port() for _ in range(NODES)]
        self._nodes: list[Child | None] = [None] * NODES

    def start(self) -> Self:
        """Start all three; returns when they listen and have elected one that leads."""
        for number in range(NODES):
            self.start_node(number)
        wait_until(lambda: all(map(listens, self.mqtt_ports)), within_s=READY_S, what="three NATS servers listening")
        wait_until(self._led, within_s=READY_S, what="a leader among the NATS servers")
        return self

    def start_node(self, number: int) -> None:
        """Start one, or start it again with what it had on disk."""
        program = shutil.which("nats-server", path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
        if program is None:
            raise RehearsalError("nats-server is not installed: run `make test`, or `apt-get install nats-server`")
        folder = self._folder / f"node-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "nats.conf"
        config.write_text(self._configuration(number, folder))
        self._nodes[number] = Child(f"nats-{number}", [program, "-c", config], log=folder / "nats.log")

    def kill_node(self, number: int) -> None:
        """SIGKILL: no goodbye."""
        node = self._nodes[number]
        if node:
            node.kill()

    def stop(self) -> None:
        for node in self._nodes:
            if node:
                node.stop()

    def _led(self) -> bool:
        for number, node in enumerate(self._nodes):
            if node is None:
                return False
            node.require_running()
            log = (self._folder / f"node-{number}" / "nats.log").read_text(errors="replace")
            if "JetStream cluster new metadata leader" in log or "Self is new JetStream cluster metadata leader" in log:
                return True
        return False

    def _configuration(self, number: int, folder: Path) -> str:
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self._route_ports)
        return f"""server_name: node-{number}
listen: "127.0.0.1:{self._client_ports[number]}"
jetstream {{ store_dir: "{folder}", max_memory_store: 67108864, max_file_store: 1073741824 }}
cluster {{ name: doors, listen: "127.0.0.1:{self._route_ports[number]}", routes: [{routes}] }}
mqtt {{ listen: "127.0.0.1:{self.mqtt_ports[number]}", ack_wait: "10s", max_ack_pending: 1000, stream_replicas: {NODES} }}
max_payload: 262144
"""


class Balancer:
    """One address before several: what a load balancer or a DNS name with several addresses is to a fleet.

    Every connection goes to the first machine that accepts it, the machine tried first changing from one to the next.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports, self._turn = list(ports), 0
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        threading.Thread(target=self._accept, name="balancer", daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._door.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._door.accept()
                threading.Thread(target=self._serve, args=(near,), name="balanced", daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near:
            self._turn += 1
            for step in range(len(self._ports)):
                try:
                    far = socket.create_connection(
                        ("127.0.0.1", self._ports[(self._turn + step) % len(self._ports)]), timeout=1.0
                    )
                except OSError:
                    continue
                far.settimeout(None)
                with far:
                    back = threading.Thread(target=_copy, args=(far, near), name="balanced-back", daemon=True)
                    back.start()
                    _copy(near, far)
                    back.join()
                return


def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Bytes until either side ends, then end both."""
    with suppress(OSError):
        while data := source.recv(COPY_BYTES):
            sink.sendall(data)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
