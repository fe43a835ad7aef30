"""`agent doctor`: every part of a door looked at once, while the agent runs or not, in words and with what to do."""

import itertools
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from agent import clock
from agent.config import AgentSettings, CameraSettings
from agent.health.certificate import Certificate
from agent.health.checks import (
    FAULT,
    OK,
    WARNING,
    Probe,
    check_certificate,
    check_clock,
    check_coral,
    check_disk,
    check_machine,
    check_outbox,
)
from agent.health.finding import Finding
from agent.health.probe import Probe as CoralProbe
from agent.health.selftest import selftest
from agent.health.usb import sticks
from agent.update.slots import Slots
from agent.vision.camera import Camera, Clip, open_camera
from agent.vision.detector import Detector
from contract.errors import ContractError
from contract.release import compiled_file, read_manifest
from contract.settings import broker_address
from contract.tls import ANSWER_S, client_context, meaning, why_refused

FIRST_FRAME_S = 5.0
WATCH_S = 2.0  # how long frames are counted after the first
LEAST_FPS = 12.0  # below it people are missed

Open = Callable[[], Camera]


def examine_door(
    settings: AgentSettings, *, root: Path = Path("/"), now: Callable[[], datetime] = clock.now,
    synchronised: Callable[[], bool] = clock.synchronised, probe: Probe | None = None,
) -> list[Finding]:  # fmt: skip
    """All checks, in the order in which a person would look; takes up to about 20 s, and disturbs no running agent."""
    return [
        check_camera(settings.camera, root),
        check_coral(root, probe=probe or (lambda: _try_coral(settings, root))),
        check_model(settings),
        *check_machine(root, settings.outbox.folder),
        check_disk(settings.outbox.folder),
        check_outbox(settings.outbox.folder),
        check_clock(now(), synchronised=synchronised()),
        check_certificate(settings.broker.identity, settings.device, now()),
        check_broker(settings, now()),
    ]


def check_camera(settings: CameraSettings, root: Path) -> Finding:
    """It opens, gives a frame within 5 s, and enough of them; one that the agent has is left to it."""
    name, source = "camera", settings.source
    live = source == "picamera" or source.isdecimal() or "://" in source
    if not live:
        return _clip(name, Path(source))
    if "://" not in source:
        nodes = [root / "dev" / f"video{source}"] if source.isdecimal() else sorted(root.glob("dev/video*"))
        if not any(node.exists() for node in nodes):
            wanted = f"no /dev/video{source}" if source.isdecimal() else "no camera at all under /dev/video*"
            fix = "plug it in (the Pi's own: power off, check the ribbon), or set camera.source"
            return Finding(name, FAULT, wanted, fix)
        holder = _holder(root, nodes)
        if holder:
            return Finding(name, OK, f"{source} is in use by {holder}, so it was left alone")
    return _watch(name, source, lambda: open_camera(source, size=(settings.width, settings.height), fps=settings.fps))


def check_model(settings: AgentSettings) -> Finding:
    """The model that would run loads, fits its manifest, and sees what it should in its golden frames."""
    name, model = "model", _model(settings)
    fix = "set model.path to a good one, or take it out for the factory model"
    try:
        detector = Detector.load(model, threads=settings.model.threads)
        found = selftest(detector, model)
    except (ContractError, OSError) as error:
        return Finding(name, FAULT, str(error), fix)
    if found.faults:
        return Finding(name, FAULT, found.faults[0], fix)
    golden = found.frames > 0
    proof = "sees what it should in its golden frames" if golden else "loads; it came without golden frames"
    return Finding(name, OK, f"release {detector.manifest.release}, {detector.manifest.input_size} px: {proof}")


def check_broker(settings: AgentSettings, now: datetime) -> Finding:
    """Found, reached, believed, and it believes us. No session is opened, so a running agent keeps its own."""
    name = "broker"
    host, port, tls = broker_address(settings.broker.url)
    try:
        context = client_context(settings.broker.identity) if tls and settings.broker.identity else None
    except ContractError as error:
        return Finding(name, FAULT, str(error), "enrol again with a new token: `provisioning enrol`")
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return Finding(name, FAULT, f"{host} has no address: {reason}", "check broker.url, and the network's DNS")
    try:
        ends, version = _handshake(host, port, context)
    except ssl.SSLError as error:
        return Finding(name, FAULT, f"{host}:{port}: {meaning(str(error))}", "mend what it says; passes wait meanwhile")
    except OSError as error:
        fix = f"let TCP {port} out, and see whether the broker runs; passes wait meanwhile"
        return Finding(name, FAULT, f"{host}:{port}: {(error.strerror or str(error)).lower()}", fix)
    refused = why_refused(host, port, context)
    if refused:
        return Finding(name, FAULT, f"{host}:{port}: {refused}", "mend what it says; passes wait meanwhile")
    if ends is None:
        return Finding(name, OK, f"{host}:{port} answers, without TLS, which is for this machine alone")
    said = f"{host}:{port} accepts this door by {version}; its certificate is valid until {ends:%Y-%m-%d}"
    if (ends - now).days < 14:
        return Finding(name, WARNING, said, "tell whoever runs the broker to renew it")
    return Finding(name, OK, said)


def _model(settings: AgentSettings) -> Path:
    """The one that this door would begin with."""
    if not settings.update.url:
        return settings.model.path
    return Slots(settings.update.folder, settings.model.path).last_good()


def _try_coral(settings: AgentSettings, root: Path) -> Finding:
    """Run the model's compiled file on it, in a process of its own; one that somebody holds is left to them."""
    name, model = "accelerator", _model(settings)
    if settings.model.accelerator == "cpu":
        return Finding(name, WARNING, "a Coral, but model.accelerator is `cpu`", "take that setting out")
    holder = _holder(root, [stick.node for stick in sticks(root)])
    if holder:
        return Finding(name, OK, f"the Coral is in use by {holder}, so it was left alone")
    try:
        compiled = compiled_file(model, read_manifest(model))
    except ContractError as error:
        return Finding(name, FAULT, str(error), "see the line of the model")
    if compiled is None:
        fix = "take a release that was compiled for it"
        return Finding(name, WARNING, "a Coral, but this model has no file for it: this door counts on the CPU", fix)
    verdict = CoralProbe(compiled, library=settings.model.edgetpu_library).wait()
    if verdict.reason:
        return Finding(name, FAULT, verdict.reason, "mend what it says; the door counts on the CPU meanwhile")
    return Finding(name, OK, f"the Coral runs this model in {verdict.ms:g} ms")


def _handshake(host: str, port: int, context: ssl.SSLContext | None) -> tuple[datetime | None, str]:
    """When the server's certificate ends and the TLS version; raises OSError, ssl.SSLError among them."""
    with socket.create_connection((host, port), timeout=ANSWER_S) as plain:
        if context is None:
            return None, ""
        with context.wrap_socket(plain, server_hostname=host) as secure:
            der = secure.getpeercert(binary_form=True)
            ends = Certificate.from_der(der).ends if der else datetime.max.replace(tzinfo=UTC)
            return ends, secure.version() or "TLS"


def _clip(name: str, path: Path) -> Finding:
    try:
        clip = Clip(path)
        frame = next(clip.frames())
    except (ContractError, StopIteration) as error:
        return Finding(name, FAULT, str(error) or f"{path} holds no frame", "set camera.source")
    height, width = frame.pixels.shape[:2]
    return Finding(name, OK, f"the clip {path.name}, {width} x {height} px, {clip.fps:g} frames a second")


def _watch(name: str, source: str, opening: Open) -> Finding:
    """Look at a live camera from a thread of its own, since one that hangs may do so for ever."""
    times: list[float] = []
    sizes: list[tuple[int, int]] = []
    faults: list[str] = []
    cameras: list[Camera] = []

    def look() -> None:
        try:
            cameras.append(opening())
            for frame in cameras[0].frames():
                sizes.append((frame.pixels.shape[1], frame.pixels.shape[0]))
                times.append(time.monotonic())
        except Exception as error:  # noqa: BLE001 - a driver may raise anything, and the doctor says it
            faults.append(str(error) or type(error).__name__)

    looker = threading.Thread(target=look, name="doctor-camera", daemon=True)
    begun = time.monotonic()
    looker.start()
    while not times and looker.is_alive() and time.monotonic() - begun < FIRST_FRAME_S:
        time.sleep(0.05)
    if times:
        time.sleep(WATCH_S)
    for camera in cameras:
        camera.close()
    looker.join(2.0)
    fix = "check its cable, its address and whether another program has it"
    if not times:
        said = faults[0] if faults else f"{source} gave no frame within {FIRST_FRAME_S:g} s"
        return Finding(name, FAULT, said, fix)
    fps = (len(times) - 1) / max(0.1, times[-1] - times[0])
    said = f"{source}, {sizes[0][0]} x {sizes[0][1]} px, {fps:.1f} frames a second"
    if fps < LEAST_FPS:
        return Finding(
            name, WARNING, f"{said}: people are missed below {LEAST_FPS:g}", "more light, or a smaller frame"
        )
    return Finding(name, OK, said)


def _holder(root: Path, nodes: list[Path]) -> str:
    """Who has one of these devices open, as far as this user may see; "" for nobody."""
    wanted = {str(Path("/") / node.relative_to(root)) for node in nodes}
    for process in sorted(root.glob("proc/[0-9]*")):
        if process.name == str(os.getpid()):
            continue
        words: list[str] = []
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            held = {str(handle.readlink()) for handle in (process / "fd").iterdir()} & wanted
        except PermissionError:
            held = {"?"} if _is_agent(words) else set()
        except OSError:
            continue
        if held:
            return f"{Path(words[0]).name} (process {process.name})" if not _is_agent(words) else "the running agent"
    return ""


def _is_agent(words: list[str]) -> bool:
    """Whether a command line is `agent run`, or `python -m agent run`."""
    return any(Path(one).name == "agent" and then == "run" for one, then in itertools.pairwise(words))
