"""Hard cases: how they are counted, what a wrong list says, and what the gate and the card make of them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.config import FACTORY_MODEL
from agent.vision.geometry import Box
from contract.labels import LABELS, Label
from contract.release import MANIFEST_NAME, MODEL_NAME, read_manifest
from rehearsal.hard import write_pack
from trainer.card import HARD, write_card
from trainer.complete import keep, record, tell
from trainer.dataset import read_split
from trainer.hard import Case, Seen, Tally, as_json, share_right, table, tally
from trainer.judge import Exhibit, Judgement, judge
from trainer.pack import Pack

WITH, BARE, WRONG = LABELS
PHOTOGRAPHS = Path(__file__).resolve().parents[2] / "trainer" / "hard_photographs.csv"


def box(x: float, width: float = 0.2) -> Box:
    return Box(x, 0.2, x + width, 0.4)


def seen(case: Case, truth: list[tuple[float, Label]], said: list[tuple[float, Label]]) -> Seen:
    return Seen(case, [(box(x), label) for x, label in truth], [(box(x), label) for x, label in said])


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (seen(Case.HAND, [(0.1, BARE)], [(0.1, BARE)]), Tally(Case.HAND, 1, 1, 1, {})),
        (seen(Case.HAND, [(0.1, BARE)], [(0.12, WITH)]), Tally(Case.HAND, 1, 1, 0, {WITH: 1})),
        (seen(Case.HAND, [(0.1, BARE)], []), Tally(Case.HAND, 1, 0, 0, {})),
        (seen(Case.HAND, [(0.1, BARE)], [(0.6, BARE)]), Tally(Case.HAND, 1, 0, 0, {})),  # elsewhere
        (seen(Case.HAND, [(0.1, BARE)], [(0.1, WITH), (0.1, BARE)]), Tally(Case.HAND, 1, 1, 0, {WITH: 1})),  # surest
        (
            seen(Case.CUP, [(0.1, BARE), (0.5, WITH)], [(0.5, WRONG), (0.1, BARE)]),
            Tally(Case.CUP, 2, 2, 1, {WRONG: 1}),
        ),
        (seen(Case.POSTER_BARE, [], []), Tally(Case.POSTER_BARE, 1, 0, 1, {})),
        (seen(Case.POSTER_BARE, [], [(0.1, BARE), (0.5, WITH)]), Tally(Case.POSTER_BARE, 1, 1, 0, {BARE: 1})),
        (seen(Case.POSTER_MASKED, [(0.5, WITH)], [(0.5, WITH)]), Tally(Case.POSTER_MASKED, 1, 0, 1, {})),  # a passer-by
        (seen(Case.POSTER_MASKED, [(0.5, WITH)], [(0.1, WITH)]), Tally(Case.POSTER_MASKED, 1, 1, 0, {WITH: 1})),
    ],
)  # fmt: skip
def test_a_picture_is_counted_as_what_was_said_of_it(picture: Seen, expected: Tally) -> None:
    assert tally([picture]) == (expected,)


def test_half_an_overlap_finds_a_face_and_less_does_not() -> None:
    for shift, found in ((0.066, 1), (0.068, 0)):  # IoU of two boxes .2 wide: (.2 - s) / (.2 + s)
        (one,) = tally([seen(Case.VISOR, [(0.1, BARE)], [(0.1 + shift, BARE)])])
        assert one.found == found


def test_cases_are_counted_apart_and_the_share_is_over_all() -> None:
    pictures = [
        seen(Case.CUP, [(0.1, BARE)], [(0.1, BARE)]),
        seen(Case.HAND, [(0.1, BARE)], [(0.1, WITH)]),
        seen(Case.HAND, [(0.1, BARE)], [(0.1, BARE)]),
        seen(Case.POSTER_BARE, [], [(0.1, BARE)]),
    ]
    counted = tally(pictures)
    assert [one.case for one in counted] == [Case.HAND, Case.POSTER_BARE, Case.CUP]
    assert [(one.faces, one.right) for one in counted] == [(2, 1), (1, 0), (1, 1)]
    assert share_right(counted) == 0.5
    assert share_right(()) == 0


def test_the_table_says_shares_and_what_was_said_wrongly() -> None:
    told = table(as_json((Tally(Case.HAND, 8, 6, 2, {WITH: 3, WRONG: 1}), Tally(Case.CUP, 2, 2, 2, {}))))
    assert "| hand | 8 | 75 % | 25 % | with_mask 3, mask_worn_incorrectly 1 |" in told
    assert "| cup | 2 | 100 % | 100 % | - |" in told
    assert "Of all 10, 40.0 % are said right." in told


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hard") / "drawn"
    write_pack(folder, images=2 * len(Case), seed=5)
    return folder / "data.yaml"


def trainer(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainer", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


def test_the_command_counts_every_case_of_the_pack(data: Path) -> None:
    done = trainer("hard", FACTORY_MODEL, "--data", data, "--split", "test", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert list(told["cases"]) == [case.value for case in Case]
    for one in told["cases"].values():
        assert one["faces"] == 2
        assert one["right"] <= 2
    assert sum(one["found"] for case, one in told["cases"].items() if "poster" not in case) > 15
    whole = trainer("hard", FACTORY_MODEL, "--data", data)
    assert f"Of all 24, {100 * told['right']:.1f} % are said right." in whole.stdout


def test_only_the_pictures_that_the_list_names_are_shown(data: Path, tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("file,case\ncup_0011.jpg,beard\n")
    pack = Pack.read(data, "test", tmp_path / "few.csv")
    assert [(image.name, case) for image, case in pack.pictures] == [("cup_0011.jpg", Case.BEARD)]
    assert [(one.case, one.faces) for one in pack.show(FACTORY_MODEL)] == [(Case.BEARD, 1)]


@pytest.mark.parametrize(
    ("cases", "fault"),
    [
        ("file,case\nelsewhere.jpg,hand\n", "line 2: 'elsewhere.jpg' is not in split 'test'"),
        ("file,case\ncup_0011.jpg,cup\nhand_0000.jpg,fist\n", "line 3: 'fist' is no case; known: hand, beard"),
        ("file,case\ncup_0011.jpg,cup\ncup_0011.jpg,hand\n", "line 3: 'cup_0011.jpg' was named before"),
        ("file,case\n", "names no case"),
        ("", "names no case"),
        ("picture,kind\ncup_0011.jpg,cup\n", "line 2: None is not in split"),
        ("file,case\ncup_0011.jpg\n", "line 2: None is no case"),
        (None, "cannot read the cases"),
    ],
)
def test_what_is_wrong_with_a_list_is_said_in_one_line(
    data: Path, tmp_path: Path, cases: str | None, fault: str
) -> None:
    listing = tmp_path / "cases.csv"
    if cases is not None:
        listing.write_text(cases)
    done = trainer("hard", FACTORY_MODEL, "--data", data, "--split", "test", "--cases", listing)
    assert done.returncode == 2
    assert done.stdout == ""
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("trainer: ")]
    assert fault in said


def test_hard_cases_of_the_gate_need_a_file_and_a_split(data: Path) -> None:
    done = trainer("gate", FACTORY_MODEL, "--data", f"{data}:test", "--hard", "nowhere")
    assert done.returncode == 2
    assert "--hard takes DATA.yaml:SPLIT, not 'nowhere'" in done.stderr


@pytest.fixture(scope="module")
def word(data: Path) -> Judgement:
    """The factory model against itself."""
    exhibit = Exhibit.of("drawn", read_split(data, "test"))
    return judge(FACTORY_MODEL, FACTORY_MODEL, [exhibit], hard=Pack.read(data, "test"))


def test_the_same_file_again_loses_no_hard_case(word: Judgement) -> None:
    assert [pair.champion.case for pair in word.hard] == list(Case)
    assert all(pair.champion == pair.candidate for pair in word.hard)
    assert not any("hard cases" in objection for objection in word.objections)


def test_what_was_judged_is_told_and_written_down(
    word: Judgement, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(word)
    assert "hard cases, said right: " in capsys.readouterr().out
    record(word, tmp_path / "gate.json")
    told = json.loads((tmp_path / "gate.json").read_text())["hard"]
    assert told["candidate"] == as_json([pair.candidate for pair in word.hard])


def test_the_card_shows_the_hard_cases_that_its_manifest_knows(word: Judgement, data: Path, tmp_path: Path) -> None:
    for name in (MODEL_NAME, MANIFEST_NAME):
        shutil.copyfile(FACTORY_MODEL.with_name(name), tmp_path / name)
    model, scored = tmp_path / MODEL_NAME, read_manifest(FACTORY_MODEL).metrics
    plain = {name: one for name, one in scored.items() if not name.startswith(HARD)}
    without = write_card(read_manifest(model).model_copy(update={"metrics": plain}), tmp_path).read_text()
    assert "Hard cases" not in without
    keep(Pack.read(data, "test"), word, model)
    manifest = read_manifest(model)
    assert set(manifest.metrics) == {*plain, "hard: drawn"}
    card = (tmp_path / "README.md").read_text()
    assert "`trainer hard model.tflite --data drawn/data.yaml --split test`, 24 images:" in card
    assert table(as_json([pair.candidate for pair in word.hard])) in card
    assert set(without.splitlines()) < set(card.splitlines())


@pytest.mark.photographs
def test_the_listed_photographs_are_in_the_split_that_nothing_was_trained_on(photographs: Path) -> None:
    pack = Pack.read(photographs / "masks" / "data.yaml", "train_val", PHOTOGRAPHS)
    assert len(pack.pictures) == len(PHOTOGRAPHS.read_text().split()) - 1
