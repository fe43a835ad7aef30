"""Walks to a line, a measured error and a signed record: on drawn doors, where every pass is known, and as an installer meets it."""

import base64
import json
import re
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import load_pem_x509_certificate

from agent.__main__ import main
from agent.commission.fit import Walk, fit
from agent.commission.record import Acceptance, Signed, canonical, read, sign, verify, write
from agent.commission.watch import Take, best_line, count, watch
from agent.commission.wizard import describe, judge, walk
from agent.config import FACTORY_MODEL, AgentSettings
from agent.vision.detector import Detector, Faces
from agent.vision.doorway import Doorway
from agent.vision.frame import Frame
from agent.vision.geometry import Point, Zone
from agent.vision.pipeline import Look
from contract.errors import ContractError
from contract.tls import CERTIFICATE, KEY
from provisioning.ca import Authority, Request, certificate_text
from provisioning.csr import make_key, store_certificate
from rehearsal.scene import LINES, Kind, Scene, truth_path, write_clip
from tests.agent.told import Told
from tests.agent.walkers import DOWN, FPS, Frames, path

NOW = datetime.now(UTC).replace(microsecond=0)  # the certificates of the real program's runs must be valid


def take(entered: int, left: int, frames: Frames) -> Take:
    return Take(entered, left, tuple(Look(found, index / FPS) for index, found in enumerate(frames)))


def places(*stops: tuple[float, float]) -> tuple[Point, ...]:
    return tuple(found.box.centre for (found,) in path(*stops))


@pytest.mark.parametrize(
    ("walks", "crossed"),
    [
        ([(1, 0, (0.5, 0.1), (0.5, 0.9)), (0, 1, (0.5, 0.9), (0.5, 0.1))], "down"),
        ([(1, 0, (0.5, 0.9), (0.5, 0.1)), (0, 1, (0.5, 0.1), (0.5, 0.9))], "up"),
        ([(1, 0, (0.1, 0.3), (0.9, 0.35)), (0, 1, (0.9, 0.3), (0.1, 0.3))], "right"),
        ([(1, 0, (0.9, 0.3), (0.1, 0.35)), (1, 0, (0.9, 0.6), (0.1, 0.5))], "left"),
        ([(1, 0, (0.4, 0.6), (0.6, 0.95)), (1, 0, (0.6, 0.55), (0.5, 0.95)), (0, 0, (0.1, 0.3), (0.9, 0.3))], "down"),
    ],
)
def test_the_line_lies_across_the_walks_with_in_where_they_said(
    walks: list[tuple[int, int, tuple[float, float], tuple[float, float]]], crossed: str
) -> None:
    best = fit([Walk(entered, left, (places(*stops),)) for entered, left, *stops in walks])[0]
    assert best.error == 0
    far = {"down": Point(0.5, 2), "up": Point(0.5, -1), "right": Point(2, 0.5), "left": Point(-1, 0.5)}[crossed]
    assert best.line.offset(far) > 0.8  # the far side is in, and the line lies about square to the way there
    for entered, left, *stops in walks:
        if entered or left:
            assert min(abs(best.line.offset(Point(*stop))) for stop in stops) > 0.1


def test_of_as_many_in_as_out_the_first_one_goes_in() -> None:
    both = path((0.5, 0.9), (0.5, 0.1)) + [[]] * 30 + path((0.5, 0.1), (0.5, 0.9))
    line = best_line([take(1, 1, both)], None)
    assert line.offset(Point(0.5, 0.0)) > 0.2


def test_a_line_is_fitted_inside_the_zone() -> None:
    zone = Zone.of([(0.5, 0), (1, 0), (1, 1), (0.5, 1)])
    frames = [a + b for a, b in zip(path((0.2, 0.9), (0.2, 0.1)), path((0.8, 0.1), (0.8, 0.9)), strict=True)]
    line = best_line([take(1, 0, frames)], zone)
    assert count(take(1, 0, frames), Doorway.of([line], zone)).off(take(1, 0, frames)) == 0


def test_no_face_at_all_is_said_with_what_to_do() -> None:
    with pytest.raises(ContractError, match="look towards the camera"):
        best_line([take(1, 0, [[]] * 40)], None)


class Script:
    """An installer who answers from a list."""

    def __init__(self, *answers: str) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self._answers = list(answers)

    def say(self, text: str) -> None:
        self.said.append(text)

    def ask(self, text: str) -> str:
        self.asked.append(text)
        return self._answers.pop(0) if self._answers else ""


class Corridor:
    """A camera before which scene after scene is played, nobody in between, until `close`."""

    trouble: str | None = None
    dropped = 0

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self._scenes = scenes
        self._closed = False

    def frames(self) -> Iterator[Frame]:
        at_s = 0.0
        for scene in self._scenes:
            for index in range(scene.frames + 40):
                yield Frame(scene.render(min(index, scene.frames + 20))[0], at_s)
                at_s += 1 / scene.fps

    def close(self) -> None:
        self._closed = True


def one_way(way: str, seed: int) -> Scene:
    """A drawn door that one person passes in this direction."""
    while [one.direction for one in Scene("passage", seed=seed, people=1).passes()] != [way]:
        seed += 1
    return Scene("passage", seed=seed, people=1)


def test_an_installer_walks_in_and_out_and_the_door_knows_its_line() -> None:
    camera = Corridor([one_way(way, 100 * index) for index, way in enumerate(("in", "out"))])
    eyes, installer = Detector.load(FACTORY_MODEL), Script()
    seen = walk(camera, eyes, 2, zone=None, terminal=installer)
    wrong = Doorway.of([DOWN])  # what stood in the settings
    doorway = judge(seen, wrong, keep=False, terminal=installer)
    assert doorway.lines[0].offset(Point(1, 0.5)) > 0.3  # left to right is in
    record = describe(
        seen, doorway, device="door-1", at=NOW, software="1", eyes=eyes, clip=False, fitted=True
    )  # fmt: skip
    assert (record.entered, record.left, record.counted_in, record.counted_out, record.error_percent) == (1, 1, 1, 1, 0)
    assert record.fps == pytest.approx(15, abs=0.2)
    assert record.frame_size == (640, 480)
    assert [ask[:13] for ask in installer.asked] == [f"Walk {n} of 2: "[:13] for n in (1, 2)]
    assert ["IN" in ask for ask in installer.asked] == [True, False]
    text = "\n".join(installer.said)
    assert text.count("a face is followed (1)") == 2
    assert "1 face: from left to right" in text
    assert "[door]\nline = [" in text
    kept = judge(seen, wrong, keep=True, terminal=installer)
    assert kept == wrong
    assert describe(
        seen, kept, device="door-1", at=NOW, software="1", eyes=eyes, clip=False, fitted=False
    ).error_percent == 100  # fmt: skip


class Nobody:
    """Eyes that find nothing."""

    def look(self, pixels: object) -> Faces:
        return Told()


class Empty:
    """A camera that shows an empty door, or nothing."""

    dropped = 0

    def __init__(self, frames: int, trouble: str | None = None) -> None:
        self._frames, self.trouble = frames, trouble

    def frames(self) -> Iterator[Frame]:
        picture = Scene("passage", seed=1, people=1).render(0)[0]
        yield from (Frame(picture, index / 2) for index in range(self._frames))

    def close(self) -> None:
        pass


def test_a_walk_without_a_face_is_walked_again_or_left_out() -> None:
    installer = Script("", "", "", "s", "", "S")
    seen = walk(Empty(500), Nobody(), 2, zone=None, terminal=installer)
    assert [(one.entered, one.left) for one in seen.takes] == [(1, 0), (0, 1)]
    assert sum("once more" in ask for ask in installer.asked) == 3


@pytest.mark.parametrize(
    ("frames", "trouble", "fault"),
    [(0, "camera 0 does not answer", "camera 0 does not answer: is the agent still running"), (1, None, "has ended")],
)
def test_a_camera_that_shows_nothing_is_said(frames: int, trouble: str | None, fault: str) -> None:
    with pytest.raises(ContractError, match=fault):
        walk(Empty(frames, trouble), Nobody(), 2, zone=None, terminal=Script())


def test_looking_on_ends_when_the_walk_is_over_or_nobody_comes() -> None:
    picture = Scene("passage", seed=1, people=1).render(0)[0]

    class Scripted:
        def __init__(self, frames: Frames) -> None:
            self._frames = iter(frames)

        def look(self, pixels: object) -> Faces:
            return Told(next(self._frames, []))

    def lasted(frames: Frames) -> float:
        endless = (Frame(picture, index / FPS) for index in range(2000))
        looks = watch(endless, Scripted(frames), zone=None, tell=lambda text: None)
        return looks[-1].at_s

    assert lasted(path((0.5, 0.1), (0.5, 0.9))) == pytest.approx(1.6 + 2, abs=0.2)
    assert lasted([]) == pytest.approx(30, abs=0.2)
    assert lasted(path((0.5, 0.5), *[(0.5, 0.5)] * 100)) == pytest.approx(45, abs=0.2)  # somebody stays


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    """An enrolled door's folder."""
    folder = tmp_path / "identity"
    key = make_key(folder)
    authority = Authority.found("Test CA", now=NOW)
    certificate = authority.issue_device(Request("door-1", key.public_key()), now=NOW)
    store_certificate(folder, certificate, certificate_text(authority.certificate))
    return folder


def acceptance(device: str = "door-1", at: datetime = NOW) -> Acceptance:
    record = {
        "device": device, "at": at, "software": "0.1.0", "release": 1, "model_digest": "a" * 64, "accelerator": "cpu",
        "source": "walks", "frame_size": (640, 480), "fps": 15.0, "door": {"lines": [{"line": (0.0, 0.5, 1.0, 0.5)}]},
        "fitted": True, "entered": 1, "left": 0, "counted_in": 1, "counted_out": 0, "error_percent": 0.0,
        "walks": [{"entered": 1, "left": 0, "counted_in": 1, "counted_out": 0, "faces": 1, "lasted_s": 2.0}],
    }  # fmt: skip
    return Acceptance.from_parsed(record)


def test_a_record_is_signed_by_the_doors_key_as_others_would_check_it(identity: Path, tmp_path: Path) -> None:
    write(sign(acceptance(), identity), tmp_path / "record.json")
    signed = read(tmp_path / "record.json")
    verify(signed, identity / CERTIFICATE)
    assert signed.signature
    public = load_pem_x509_certificate((identity / CERTIFICATE).read_bytes()).public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(base64.b64decode(signed.signature.value), canonical(signed.record), ec.ECDSA(hashes.SHA256()))
    assert not re.search(r"png|jpe?g|label|mask\b", canonical(signed.record).decode())


def test_what_was_changed_or_is_anothers_is_refused(identity: Path, tmp_path: Path) -> None:
    good = sign(acceptance(), identity)
    other = tmp_path / "other"
    make_key(other)
    forged = sign(acceptance(), other)
    assert good.signature and forged.signature
    better = good.record.model_copy(update={"error_percent": 1.0})
    old = acceptance(at=NOW - timedelta(days=3))
    strange = good.signature.model_copy(update={"value": "???"})
    for wrong, fault in (
        (Signed(record=good.record), "not signed"),
        (good.model_copy(update={"record": better}), "does not fit"),
        (forged, "does not fit"),
        (Signed(record=acceptance("door-2"), signature=good.signature), "door-2, but the certificate is of 'door-1'"),
        (Signed(record=old, signature=good.signature), "certificate was not valid"),
        (good.model_copy(update={"signature": strange}), "not base64"),
    ):
        with pytest.raises(ContractError, match=fault):
            verify(wrong, identity / CERTIFICATE)
    (identity / KEY).write_bytes((other / KEY).read_bytes())
    with pytest.raises(ContractError, match="does not fit"):  # key and certificate do not belong together
        sign(acceptance(), identity)
    (identity / KEY).unlink()
    with pytest.raises(ContractError, match=r"cannot read .*key\.pem"):
        sign(acceptance(), identity)


def agent(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agent", *map(str, arguments)]
    env = {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=280, check=False, cwd=folder, env=env, stdin=subprocess.DEVNULL
    )


@pytest.mark.parametrize(("kind", "seed"), [("passage", 62), ("entrance", 72)])
def test_a_clip_of_walks_gives_the_line_that_counts_them(kind: Kind, seed: int, tmp_path: Path, identity: Path) -> None:
    clip, config = tmp_path / "door.mp4", tmp_path / "door.toml"
    write_clip(Scene(kind, seed=seed, people=8), clip)
    ways = [one["direction"] for one in json.loads(truth_path(clip).read_text())["passes"]]
    config.write_text(
        f'device = "door-1"\n[broker]\nurl = "mqtts://broker:8883"\nidentity = "{identity}"\n[door]\nline = [0.0, 0.1, 0.1, 0.0]\n'
    )
    config.chmod(0o640)
    walked = ("--in", ways.count("in"), "--out", ways.count("out"))
    done = agent("commission", "--config", config, "--clip", clip, *walked, "--write", folder=tmp_path)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr
    record = tmp_path / "acceptance-door-1.json"
    found = read(record).record
    assert (found.entered, found.left) == (ways.count("in"), ways.count("out"))
    assert found.error_percent == 0, done.stdout
    assert "signed with the door's key" in done.stdout
    (x0, y0, x1, y1), (u0, v0, u1, v1) = found.door.lines[0].line, LINES[kind]
    across = (x1 - x0) * (u1 - u0) + (y1 - y0) * (v1 - v0)
    assert across / (((x1 - x0) ** 2 + (y1 - y0) ** 2) * ((u1 - u0) ** 2 + (v1 - v0) ** 2)) ** 0.5 > 0.7
    assert AgentSettings.load(config).door.line == found.door.lines[0].line
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    checked = agent("commission", "--verify", record, "--certificate", identity / CERTIFICATE, folder=tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "the signature fits" in checked.stdout
    again = agent("commission", "--config", config, "--clip", clip, *walked, "--keep", folder=tmp_path)  # type: ignore[arg-type]
    assert "error 0 %" in again.stdout
    assert not read(record).record.fitted


def test_a_door_without_an_identity_is_told_that_its_record_proves_nothing(tmp_path: Path) -> None:
    clip, config, record = tmp_path / "door.mp4", tmp_path / "door.toml", tmp_path / "record.json"
    write_clip(Scene("passage", seed=62, people=2), clip)
    config.write_text('device = "door-1"\n')
    done = agent(
        "commission", "--config", config, "--clip", clip, "--in", "1", "--out", "1", "--record", record, folder=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "UNSIGNED: this door has no [broker] identity" in done.stdout
    checked = agent("commission", "--verify", record, "--certificate", "none.pem", folder=tmp_path)
    assert checked.returncode == 2
    assert "not signed: it proves nothing" in checked.stderr


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "commission needs --config FILE, or --verify"),
        (["--verify", "none.json"], "--verify needs --certificate"),
        (["--verify", "none.json", "--certificate", "none.pem"], "cannot read the record none.json"),
        (["--verify", "door.toml", "--certificate", "none.pem"], "door.toml is no acceptance record"),
        (["--config", "door.toml", "--clip", "none.mp4"], "say how many people"),
        (["--config", "door.toml", "--clip", "none.mp4", "--in", "1"], "no clip at none.mp4"),
        (["--config", "door.toml", "--clip", "none.mp4", "--in", "1", "--frames", "9"], "two numbers A-B"),
        (["--config", "door.toml", "--walks", "0"], "--walks must be 1 to 100"),
        (["--config", "lines.toml"], "this door's lines: left, right; say which"),
    ],
)
def test_what_is_wrong_with_a_commission_is_said_in_one_line(
    tmp_path: Path,
    arguments: list[str],
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "door.toml").write_text('device = "door-1"\n')
    lines = "".join(f'[[door.lines]]\nname = "{name}"\nline = [0, 0.5, 1, 0.5]\n' for name in ("left", "right"))
    (tmp_path / "lines.toml").write_text(f'device = "door-1"\n{lines}')
    assert main(["commission", *arguments]) == 2
    (said,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("agent: "))
    assert fault in said


@pytest.mark.photographs
def test_on_a_real_platform_four_of_five_people_go_over_one_line(photographs: Path, tmp_path: Path) -> None:
    """Five masked people come towards the camera; the fifth is still in the middle of the picture when the shot ends."""
    config, record = tmp_path / "door.toml", tmp_path / "record.json"
    config.write_text('device = "door-1"\n[camera]\nfps = 30\n')
    clip = photographs / "video" / "station_platform_masked.mp4"
    told = ("--frames", "46-291", "--in", "5", "--out", "0", "--record", record)
    done = agent("commission", "--config", config, "--clip", clip, *told, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = read(record).record
    assert (found.counted_in, found.counted_out) == (4, 0)
    assert found.error_percent == 20
