from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from agent.clock import Reading, Stamp
from agent.report import Reporter, coarse, redated, uuid7
from agent.vision.counter import Crossing
from contract.events import Accelerator, Direction, PassEvent
from contract.labels import Label

NOON = datetime(2026, 11, 24, 12, 0, 30, 250_000, UTC)
times = st.integers(1_577_836_800_000, 4_102_444_800_000).map(lambda ms: datetime.fromtimestamp(ms / 1000, UTC))


def reporter(now: datetime = NOON, resolution_s: int = 60, *, trusted: bool = True) -> Reporter:
    return Reporter(
        boot=UUID(int=1),
        release=lambda at_s: 4,
        accelerator=lambda _: Accelerator.CPU,
        resolution_s=resolution_s,
        read=lambda: Reading(now, Stamp(UUID(int=9), 500.0), trusted),
    )


@given(times, st.binary(min_size=10, max_size=10))
def test_an_id_is_a_version_7_uuid_with_the_clock_of_its_event(at: datetime, noise: bytes) -> None:
    made = uuid7(at, lambda _: noise)
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert made.int >> 80 == int(at.timestamp() * 1000)


@given(times, st.sampled_from([1, 60, 1200, 3600]))
def test_time_is_rounded_down_and_never_by_more_than_the_resolution(at: datetime, resolution_s: int) -> None:
    rounded = coarse(at, resolution_s)
    assert timedelta(0) <= at - rounded < timedelta(seconds=resolution_s + 1)
    assert int(rounded.timestamp()) % resolution_s == 0


def test_neither_the_event_nor_its_id_tells_the_second() -> None:
    event, _ = reporter().event(Crossing(10.0, Direction.IN, Label.WITH_MASK, 0.9, age_s=1.5))
    assert event.at == NOON.replace(second=0, microsecond=0)
    assert event.id.int >> 80 == int(event.at.timestamp() * 1000)


def test_a_pass_is_dated_when_it_happened() -> None:
    event, _ = reporter(NOON.replace(second=1)).event(Crossing(10.0, Direction.IN, Label.WITH_MASK, 0.9, age_s=1.5))
    assert event.at == NOON.replace(minute=0, second=0, microsecond=0) - timedelta(minutes=1)


def test_passes_are_numbered_without_gaps() -> None:
    maker = reporter()
    events = [maker.event(Crossing(1.0, Direction.OUT, Label.WITHOUT_MASK, 1.0))[0] for _ in range(3)]
    assert [event.sequence for event in events] == [0, 1, 2]
    assert len({event.id for event in events}) == 3
    assert maker.passes == 3


def test_only_a_pass_whose_time_is_unknown_is_stamped_with_the_moment_it_happened() -> None:
    crossing = Crossing(10.0, Direction.IN, Label.WITH_MASK, 0.9, age_s=1.5)
    event, stamp = reporter().event(crossing)
    assert (event.clock_synchronised, stamp) == (True, None)
    event, stamp = reporter(trusted=False).event(crossing)
    assert (event.clock_synchronised, stamp) == (False, Stamp(UUID(int=9), 498.5))


def test_a_pass_in_the_first_second_of_1970_is_a_pass() -> None:
    event, _ = reporter(datetime(1970, 1, 1, tzinfo=UTC), trusted=False).event(
        Crossing(1.0, Direction.IN, Label.WITH_MASK, 0.9, age_s=1.5)
    )
    assert event.id.version == 7


def test_a_redated_event_differs_in_its_time_and_flag_alone() -> None:
    event, _ = reporter(datetime(1970, 1, 1, 0, 5, tzinfo=UTC), trusted=False).event(
        Crossing(1.0, Direction.OUT, Label.WITHOUT_MASK, 0.7)
    )
    again = PassEvent.decode(redated(event.encode(), NOON, 60, sure=True), limit=1000)
    assert again == event.model_copy(update={"at": NOON.replace(second=0, microsecond=0), "clock_synchronised": True})
