"""The doctor: right about what it sees, in words, and nobody notices that it was there."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.config import AgentSettings, CameraSettings
from agent.delivery.outbox import Outbox
from agent.delivery.shelf import Letter
from agent.health.certificate import Certificate
from agent.health.checks import check_certificate, check_clock, check_coral, check_disk, check_machine, check_outbox
from agent.health.doctor import check_broker, check_camera, check_model, examine_door
from agent.health.finding import Finding, Verdict, as_json, table
from contract.errors import ContractError
from contract.tls import CA, CERTIFICATE
from rehearsal.identities import Identities
from rehearsal.processes import Mosquitto, free_port
from rehearsal.scene import Scene, write_clip
from tests.agent.test_board import machine

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
OK, WARNING, FAULT = Verdict.OK, Verdict.WARNING, Verdict.FAULT


def settings(**values: object) -> AgentSettings:
    return AgentSettings.load(
        None, {"device": "door-1", **{name.replace("__", "."): one for name, one in values.items()}}
    )


@pytest.fixture
def identities(tmp_path: Path) -> Identities:
    return Identities(tmp_path / "identities")


@pytest.fixture
def secure(identities: Identities, tmp_path: Path) -> Iterator[Mosquitto]:
    server = Mosquitto(tmp_path / "broker", configure=identities.configure_broker).start()
    yield server
    server.stop()


def stick(folder: Path, ids: tuple[str, str] = ("1a6e", "089a"), *, speed: str = "5000", node: bool = True) -> Path:
    device = "sys/bus/usb/devices/2-1"
    files = {"idVendor": ids[0], "idProduct": ids[1], "speed": speed, "busnum": "2", "devnum": "7"}
    root = machine(folder, {f"{device}/{name}": f"{text}\n" for name, text in files.items()})
    return machine(root, {"dev/bus/usb/002/007": ""}) if node else root


def with_library(root: Path) -> Path:
    return machine(root, {"usr/lib/aarch64-linux-gnu/libedgetpu.so.1.0": ""})


@pytest.mark.parametrize("ids", [("1a6e", "089a"), ("18d1", "9302")])
def test_a_coral_that_is_all_right_is_found_under_both_of_its_names(tmp_path: Path, ids: tuple[str, str]) -> None:
    found = check_coral(with_library(stick(tmp_path, ids)))
    assert found.verdict is OK
    assert "a Coral at 2-1, 5000 Mbit/s" in found.said


def test_what_is_wrong_with_a_coral_is_said(tmp_path: Path) -> None:
    assert check_coral(tmp_path / "none").said == "no Coral on USB: this door counts on the CPU"
    slow = check_coral(with_library(stick(tmp_path / "slow", speed="480")))
    assert (slow.verdict, "480 Mbit/s: not USB 3" in slow.said) == (WARNING, True)
    bare = check_coral(stick(tmp_path / "bare"))
    assert (bare.verdict, bare.fix) == (FAULT, "install libedgetpu1-std")
    locked = check_coral(with_library(stick(tmp_path / "locked", node=False)))
    assert locked.verdict is FAULT
    assert "may not use" in locked.said
    other = check_coral(stick(tmp_path / "other", ("1d6b", "0003")))
    assert other.verdict is WARNING


def test_a_probe_that_fails_has_the_last_word(tmp_path: Path) -> None:
    crash = Finding("accelerator", FAULT, "its library crashed", "install another build")
    assert check_coral(with_library(stick(tmp_path)), probe=lambda: crash) == crash


@pytest.mark.parametrize(
    ("flags", "celsius", "verdicts"),
    [("0", 48, [OK, OK]), ("50000", 76, [WARNING, WARNING]), ("50005", 85, [FAULT, FAULT]), ("4", 60, [OK, OK])],
)
def test_supply_and_heat_are_judged(tmp_path: Path, flags: str, celsius: int, verdicts: list[Verdict]) -> None:
    root = machine(tmp_path, {
        "sys/devices/platform/soc/soc:firmware/get_throttled": flags,
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone0/temp": str(celsius * 1000),
    })  # fmt: skip
    assert [one.verdict for one in check_machine(root, tmp_path)] == verdicts


def test_a_disk_that_takes_what_it_is_given_is_left_as_it_was(tmp_path: Path) -> None:
    assert check_disk(tmp_path).verdict in (OK, WARNING)
    assert list(tmp_path.iterdir()) == []
    assert check_disk(tmp_path / "missing").verdict is FAULT
    times = iter([0.0, 1.5])
    assert check_disk(tmp_path, clock=lambda: next(times)).said.endswith("slow")


@pytest.mark.parametrize(
    ("now", "synchronised", "verdict"),
    [(NOW, True, OK), (NOW, False, WARNING), (datetime(1970, 1, 1, tzinfo=UTC), False, FAULT)],
)
def test_a_clock_is_judged(now: datetime, synchronised: bool, verdict: Verdict) -> None:
    assert check_clock(now, synchronised=synchronised).verdict is verdict


def test_a_certificate_is_read_as_the_library_for_it_reads_it(identities: Identities) -> None:
    for path in (
        identities.door("door-1") / CERTIFICATE,
        identities.door("door-1") / CA,
        identities.cloud() / CERTIFICATE,
    ):
        ours = Certificate.from_pem(path.read_text())
        theirs = x509.load_pem_x509_certificate(path.read_bytes())
        assert (ours.begins, ours.ends) == (theirs.not_valid_before_utc, theirs.not_valid_after_utc)
        assert ours.name == theirs.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value


def test_bytes_that_are_no_certificate_are_refused(identities: Identities) -> None:
    text = (identities.door("door-1") / CERTIFICATE).read_text()
    der = x509.load_pem_x509_certificate(text.encode()).public_bytes(Encoding.DER)
    for broken in (b"", b"\x30", der[:-1], der[:40], b"\x30\x84\xff\xff\xff\xff", b"\x02\x01\x00", os.urandom(64)):
        with pytest.raises(ContractError):
            Certificate.from_der(broken)
    for no_pem in ("", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----", text[:200]):
        with pytest.raises(ContractError):
            Certificate.from_pem(no_pem)


@pytest.mark.parametrize(
    ("device", "days", "verdict", "said"),
    [
        ("door-1", 0, OK, "days left"), ("door-1", 80, WARNING, "days left"), ("door-1", 91, FAULT, "it ended on"),
        ("door-1", -2, FAULT, "not valid before"), ("door-2", 0, FAULT, "it is for 'door-1', but this door is 'door-2'"),
    ],
)  # fmt: skip
def test_the_doors_own_certificate_is_judged(
    identities: Identities, device: str, days: int, verdict: Verdict, said: str
) -> None:
    found = check_certificate(identities.door("door-1"), device, datetime.now(UTC) + timedelta(days=days))
    assert (found.verdict, said in found.said) == (verdict, True)


def test_an_identity_that_is_not_there_is_a_fault_and_none_is_none(tmp_path: Path) -> None:
    assert check_certificate(tmp_path / "none", "door-1", NOW).verdict is FAULT
    assert check_certificate(None, "door-1", NOW).verdict is OK


def test_an_outbox_is_read_while_the_agent_has_it_open_and_after(tmp_path: Path) -> None:
    assert check_outbox(tmp_path / "outbox").said.startswith("empty")
    outbox = Outbox.open(tmp_path / "outbox", cap_bytes=64 * 1024)
    outbox.put_events([Letter(UUID(int=number), b"x") for number in range(3)])
    assert check_outbox(tmp_path / "outbox").said == "3 events and 0 crops wait"
    outbox.put_events([Letter(UUID(int=9), b"x" * 100_000)])
    lost = check_outbox(tmp_path / "outbox")
    assert (lost.verdict, "ever given up: 1 events" in lost.said) == (WARNING, True)
    outbox.close()
    assert check_outbox(tmp_path / "outbox") == lost
    (tmp_path / "outbox" / "crops.db").write_bytes(b"no database at all, but long enough" * 40)
    assert check_outbox(tmp_path / "outbox").verdict is FAULT


def test_a_broker_that_knows_us_is_well_and_our_session_is_left_alone(
    secure: Mosquitto, identities: Identities, tmp_path: Path
) -> None:
    door = settings(broker__url=secure.url, broker__identity=identities.door("door-1"))
    found = check_broker(door, datetime.now(UTC))
    assert found.verdict is OK, found.said
    assert "accepts this door by TLSv1.3; its certificate is valid until" in found.said
    assert check_broker(door, datetime.now(UTC) + timedelta(days=360)).verdict is WARNING
    assert "door-1" not in (tmp_path / "broker" / "mosquitto.log").read_text()


def test_what_keeps_a_broker_from_us_is_said(secure: Mosquitto, identities: Identities, tmp_path: Path) -> None:
    stranger = Identities(tmp_path / "elsewhere").door("door-1")
    foreign = check_broker(settings(broker__url=secure.url, broker__identity=stranger), NOW)
    assert (foreign.verdict, "of another CA than our ca.pem" in foreign.said) == (FAULT, True)
    (stranger / CA).write_bytes((identities.door("door-1") / CA).read_bytes())
    unknown = check_broker(settings(broker__url=secure.url, broker__identity=stranger), NOW)
    assert (unknown.verdict, "it does not know our certificate's CA" in unknown.said) == (FAULT, True)
    silent = check_broker(settings(broker__url=f"mqtt://127.0.0.1:{free_port()}"), NOW)
    assert (silent.verdict, "connection refused" in silent.said) == (FAULT, True)
    nowhere = settings(broker__url="mqtts://no-such-host.invalid", broker__identity=identities.door("door-1"))
    assert "has no address" in check_broker(nowhere, NOW).said


def test_a_model_that_does_not_fit_its_manifest_is_a_fault(tmp_path: Path) -> None:
    assert check_model(settings()).verdict is OK
    factory = settings().model.path
    for name in ("model.tflite", "manifest.json"):
        (tmp_path / name).write_bytes((factory.parent / name).read_bytes())
    (tmp_path / "model.tflite").write_bytes(b"TFL3" + factory.read_bytes()[4:-1])
    found = check_model(settings(model__path=tmp_path / "model.tflite"))
    assert (found.verdict, "is not the file" in found.said) == (FAULT, True)


def test_a_camera_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    for source, said in (("0", "no /dev/video0"), ("picamera", "no camera at all"), ("/no/clip.mp4", "no clip")):
        found = check_camera(CameraSettings(source=source), tmp_path)
        assert (found.verdict, said in found.said, bool(found.fix)) == (FAULT, True, True)


def test_a_camera_that_another_program_has_is_left_to_it(tmp_path: Path) -> None:
    root = machine(tmp_path, {
        "dev/video0": "", "proc/41/cmdline": "/usr/bin/sleep\0" + "1\0",
        "proc/42/cmdline": "/opt/maskfleet/bin/python\0/opt/maskfleet/bin/agent\0run\0--config\0a.toml\0",
    })  # fmt: skip
    for process, target in (("41", "/dev/null"), ("42", "/dev/video0")):
        (root / "proc" / process / "fd").mkdir()
        (root / "proc" / process / "fd" / "5").symlink_to(target)
    found = check_camera(CameraSettings(source="0"), root)
    assert (found.verdict, found.said) == (OK, "0 is in use by the running agent, so it was left alone")


def test_a_network_camera_that_does_not_answer_is_a_fault_within_seconds(tmp_path: Path) -> None:
    found = check_camera(CameraSettings(source=f"rtsp://127.0.0.1:{free_port()}/door"), tmp_path)
    assert (found.verdict, "gave no frame within 5 s" in found.said) == (FAULT, True)


def test_a_whole_door_is_examined_and_the_exit_code_tells_a_fault(tmp_path: Path, broker: Mosquitto) -> None:
    write_clip(Scene("passage", seed=61, people=1, gap_s=0.5), tmp_path / "door.mp4")
    (tmp_path / "outbox").mkdir()
    (tmp_path / "agent.toml").write_text(
        f'device = "door-1"\n[camera]\nsource = "{tmp_path / "door.mp4"}"\n[broker]\nurl = "{broker.url}"\n'
        f'[outbox]\nfolder = "{tmp_path / "outbox"}"\n'
    )
    found = examine_door(
        AgentSettings.load(tmp_path / "agent.toml"),
        root=tmp_path / "no machine",
        now=lambda: NOW,
        synchronised=lambda: True,
    )
    assert [one.check for one in found if one.verdict is FAULT] == []
    assert len({one.check for one in found}) == len(found) == 10

    def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "agent", "doctor", "--config", str(tmp_path / "agent.toml"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    well = doctor("--json")
    assert (well.returncode, json.loads(well.stdout)["verdict"]) in ((0, "ok"), (0, "warning"))
    ill = doctor("--set", "camera.source=/no/clip.mp4")
    assert ill.returncode == 1
    assert "✘ camera" in ill.stdout
    assert "\033[" not in ill.stdout


def test_a_table_says_the_fix_under_the_fault_and_sums_up() -> None:
    found = [Finding("camera", OK, "fine"), Finding("disk", FAULT, "full", "make room")]
    assert table(found, colour=False) == (
        " ✔ camera  fine\n ✘ disk    full\n           → make room\n\n This door cannot do all of its work: 1 fault.\n"
    )
    assert json.loads(as_json(found))["findings"][1] == {
        "check": "disk", "verdict": "fault", "said": "full", "fix": "make room"
    }  # fmt: skip
