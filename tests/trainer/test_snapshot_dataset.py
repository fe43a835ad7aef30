"""From a snapshot to pictures to train on: a face stands where it stood and is as large as it was."""

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import cv2
import numpy as np
import pytest

from contract.crops import Role
from contract.dataset import Answer, Example, Snapshot, Use
from contract.errors import ContractError
from trainer.dataset import Split, label_path, read_split
from trainer.snapshot import GREY, build, compose, mix, write_mix

JPEG = cv2.imencode(".jpg", np.full((100, 80, 3), 200, np.uint8))[1].tobytes()


def example(number: int = 1, **changes: Any) -> Example:
    values: dict[str, Any] = {
        "crop": UUID(int=number), "jpeg_digest": sha256(JPEG).hexdigest(), "answer": Answer.WITH_MASK, "box": (0.25, 0.2, 0.75, 0.8),
        "use": Use.TRAIN, "role": Role.CONTROL, "device": "front", "at": datetime(2026, 5, 4, 12, tzinfo=UTC),
        "scores": (0.8, 0.1, 0.1), "model_digest": "0" * 64, "frame_size": (640, 480), "origin": (100, 50), "scale": 0.5,
    }  # fmt: skip
    return Example(**{**values, **changes})


def test_a_crop_stands_at_its_place_at_native_scale() -> None:
    frame, row = compose(example(), JPEG)
    assert frame.shape == (480, 640, 3)
    assert (frame[50:250, 100:260] > 190).all()  # 80 x 100 px at half scale were 160 x 200
    outside = frame.copy()
    outside[50:250, 100:260] = GREY
    assert (outside == GREY).all()
    kind, x, y, w, h = (float(part) for part in row.split())
    assert (kind, x * 640, y * 480, w * 640, h * 480) == pytest.approx((0, 180, 150, 80, 120), abs=1e-3)


def test_what_hangs_over_the_edge_is_cut() -> None:
    frame, row = compose(example(origin=(560, 400)), JPEG)
    assert (frame[400:, 560:] > 190).all()
    x, w = float(row.split()[1]), float(row.split()[3])
    assert x + w / 2 <= 1.0 + 1e-6


def test_a_plate_shows_where_nobody_is() -> None:
    plate = np.full((480, 640, 3), 7, np.uint8)
    frame, _ = compose(example(), JPEG, plate)
    assert (frame[:50] == 7).all()
    assert (plate == 7).all()


def test_no_face_no_box() -> None:
    assert compose(example(answer=Answer.NOT_A_FACE), JPEG)[1] == ""


@pytest.mark.parametrize(
    "changes", [{"frame_size": (10**9, 480)}, {"origin": (640, 0)}, {"scale": 1e-6}, {"box": (0.5, 0.5, 0.5, 0.9)}]
)
def test_a_geometry_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        compose(example(**changes), JPEG)


@pytest.mark.parametrize("jpeg", [b"", b"nonsense"])
def test_bytes_that_are_no_picture_are_refused(jpeg: bytes) -> None:
    with pytest.raises(ContractError, match="is no picture"):
        compose(example(), jpeg)


def snapshot() -> Snapshot:
    return Snapshot.of(
        [
            example(1),
            example(2, answer=Answer.NOT_A_FACE),
            example(3, use=Use.JUDGE),
            example(4, use=Use.JUDGE, device="side"),
            example(5, use=Use.JUDGE),
        ]
    )


def test_control_crops_judge_and_never_teach(tmp_path: Path) -> None:
    built = build(snapshot(), lambda _: JPEG, tmp_path / "set")
    assert [path.stem for path in read_split(built.data, "train").images] == [str(UUID(int=1)), str(UUID(int=2))]
    assert [path.stem for path in read_split(built.data, "judge").images] == [str(UUID(int=one)) for one in (3, 4, 5)]
    assert built.judge_groups == (0, 1, 0)
    assert label_path(built.train[1]).read_text() == ""


def test_crops_that_are_gone_or_that_no_decoder_reads_are_left_out_and_counted(tmp_path: Path) -> None:
    given = iter([None, JPEG, JPEG, None, JPEG[:300]])
    built = build(snapshot(), lambda _: next(given), tmp_path / "set")
    assert [path.stem for path in built.train] == [str(UUID(int=2))]
    assert [path.stem for path in built.judge] == [str(UUID(int=3))]
    assert (built.judge_groups, built.gone, built.unreadable) == ((0,), 2, 1)


def test_the_same_snapshot_gives_the_same_bytes(tmp_path: Path) -> None:
    def content(folder: Path) -> dict[str, bytes]:
        build(snapshot(), lambda _: JPEG, folder)
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.jpg")}

    first = content(tmp_path / "one")
    assert first == content(tmp_path / "two")
    assert len(first) == 5


def paths(name: str, number: int) -> list[Path]:
    return [Path(f"/{name}/{index}.jpg") for index in range(number)]


def test_an_epoch_is_half_base_two_fifths_composites_one_tenth_background() -> None:
    listed = mix(paths("base", 500), paths("crops", 200), paths("empty", 50))
    shares = [sum(str(one).startswith(f"/{name}") for one in listed) for name in ("base", "crops", "empty")]
    assert shares == [500, 400, 100]
    assert all(one in listed for one in paths("crops", 200))


def test_few_crops_are_not_shown_more_than_five_times() -> None:
    listed = mix(paths("base", 500), paths("crops", 4), [])
    assert sum(str(one).startswith("/crops") for one in listed) == 20
    assert mix([], [], []) == []


def test_the_mixed_set_can_be_read_by_the_training(tmp_path: Path) -> None:
    built = build(snapshot(), lambda _: JPEG, tmp_path / "set")
    data, kinds = write_mix(tmp_path / "mix", [Split("judge", built.judge)], built.train, [built.judge_split])
    assert kinds == {"base": 3, "composites": 1, "background": 1, "epoch": 10}
    assert len(read_split(data, "mix").images) == 10
    assert len(read_split(data, "val").images) == 3
