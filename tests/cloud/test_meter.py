"""How much rubbish a door may send, who must wait for whom, and what becomes of what is not opened."""

from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.ingest.gatekeeper import LEAST_SHARE, Gatekeeper, Turned
from cloud.ingest.meter import NOBODY, Meter, Sender, in_turns, sender_of
from cloud.ingest.parcels import Fault, Message, Misfit, Parcel
from cloud.rules import MeterRules
from contract.errors import TryAgainError
from contract.topics import Channel, Topic
from tests.cloud.conftest import batch, pass_event
from tests.cloud.test_ingest import opened

RULES = MeterRules(misfits=10, misfits_a_minute=60, cool_down_s=5)
FRONT = Sender("front", "events")


def message(device: str, channel: Channel = Channel.EVENTS, *, qos: int = 1, payload: bytes = b"{") -> Message:
    return Message(Topic(device, channel).text, payload, 1, qos)


def misfit(device: str, channel: Channel = Channel.EVENTS) -> Parcel:
    return Parcel(message(device, channel), device, misfit=Misfit(Fault.MALFORMED, "not JSON"))


class Book:
    """A ledger that may be away."""

    def __init__(self) -> None:
        self.away = False
        self.turned: dict[Sender, int] = {}

    def turned_away(self, turned: Sequence[Turned], *, now: datetime) -> None:
        if self.away:
            raise TryAgainError("the database is away")
        for one in turned:
            self.turned[one.sender] = self.turned.get(one.sender, 0) + one.messages


class Gate:
    """A gatekeeper whose clock a test moves."""

    def __init__(self, rules: MeterRules = RULES, *, window: int = 4_000) -> None:
        self.now_s, self.book = 0.0, Book()
        self.keeper = Gatekeeper(rules, self.book, window=window, clock=lambda: self.now_s)

    def send(self, *messages: Message) -> tuple[int, int]:
        """How many were let in, and how many turned away."""
        kept, away = self.keeper.sift(messages)
        return len(kept), len(away)

    def flood(self, device: str, number: int, channel: Channel = Channel.EVENTS) -> int:
        """Bad messages one by one; how many were opened."""
        found = 0
        for _ in range(number):
            kept, _ = self.keeper.sift([message(device, channel)])
            self.keeper.opened(misfit(device, channel) for _ in kept)
            self.keeper.taken([misfit(device, channel) for _ in kept])
            found += len(kept)
        return found


@pytest.mark.parametrize(
    ("steps", "shut"),
    [
        ([(0, 0)] * 9, False),
        ([(0, 0)] * 10, True),
        ([(1, 0)] * 200, False),  # one a second is what is allowed for ever
        ([(0.5, 0)] * 25, True),
        ([(0, 16 * 1024)] * 4, False),  # a long one counts for more
        ([(0, 16 * 1024)] * 5, True),
        ([(0, 1_000_000)], True),
        ([(0, 0)] * 9 + [(3600, 0)] * 9, False),
        ([(-5, 0)] * 9, False),  # a clock that goes back gives nothing
    ],
)
def test_a_budget_is_spent_by_messages_and_bytes_and_refills(steps: list[tuple[float, int]], shut: bool) -> None:
    meter, now_s = Meter(RULES), 100.0
    for passed_s, size in steps:
        now_s += passed_s
        meter.charge(FRONT, size, now_s)
    assert meter.is_shut(FRONT, now_s) is shut


def test_whoever_is_shut_out_comes_back_with_what_refilled_meanwhile() -> None:
    meter = Meter(RULES)
    assert [meter.charge(FRONT, 0, 0.0) for _ in range(12)] == [False] * 9 + [True, False, False]
    assert (meter.is_shut(FRONT, 4.9), meter.is_shut(FRONT, 5.0)) == (True, False)
    meter.reopen(5.0)
    assert not meter.anybody_shut
    assert [meter.charge(FRONT, 0, 5.0) for _ in range(5)] == [False] * 4 + [True]


def test_however_many_send_the_meter_remembers_a_bounded_number_and_the_latest() -> None:
    meter = Meter(RULES, senders=100)
    for number in range(1_000):
        meter.charge(Sender(f"door-{number}", "events"), 1_000_000, 0.0)
    assert sum(meter.is_shut(Sender(f"door-{number}", "events"), 1.0) for number in range(1_000)) == 100
    assert meter.is_shut(Sender("door-999", "events"), 1.0)
    meter.charge(FRONT, 0, 1e6)  # all others are full again, and need no bucket
    assert [meter.charge(FRONT, 0, 1e6) for _ in range(9)] == [False] * 8 + [True]


@pytest.mark.parametrize(
    ("topic", "sender"),
    [
        (Topic("front", Channel.EVENTS).text, FRONT),
        ("mf/v1/a-shard-of-its-own/front/events", FRONT),  # whatever the shard, the broker let no other write it
        ("mf/v1/00/front/desired", Sender("front", "")),
        ("mf/v1/00/../events", NOBODY),
        ("mf/v1/00/front/events/more", NOBODY),
        ("", NOBODY),
    ],
)
def test_a_sender_is_the_name_that_the_broker_proved(topic: str, sender: Sender) -> None:
    assert sender_of(topic) == sender


def test_a_flooder_is_shut_out_in_the_channel_it_floods_and_nobody_else_is() -> None:
    gate = Gate()
    assert gate.flood("front", 1_000) == 10
    assert gate.flood("front", 5, Channel.CROPS) == 5
    assert gate.send(message("front"), message("back"), message("front", Channel.HEALTH)) == (2, 1)
    gate.keeper.tell(at_once=True)
    assert gate.book.turned == {FRONT: 991}


def test_what_was_turned_away_is_counted_though_the_database_was_away() -> None:
    gate = Gate()
    gate.flood("front", 30)
    gate.book.away = True
    gate.keeper.tell(at_once=True)
    gate.flood("front", 30)
    gate.book.away = False
    gate.keeper.tell()  # it told less than a second ago
    assert gate.book.turned == {}
    gate.now_s = 2.0
    gate.keeper.tell()
    assert gate.book.turned == {FRONT: 50}


def test_an_honest_backlog_is_let_in_whole() -> None:
    """As much as the broker may send ahead, of fifty doors that were away for days."""
    gate, rng = Gate(), Random(1)
    backlog = [message(f"door-{rng.randrange(50)}") for _ in range(4_000)]
    assert [gate.send(*backlog[at : at + 100]) for at in range(0, 4_000, 100)] == [(100, 0)] * 40


def test_nothing_more_is_read_while_as_much_waits_as_was_asked_for() -> None:
    """Whatever the broker sends beyond that; quality 0 has an end of its own."""
    gate = Gate(window=1_000)
    gate.send(*[message(f"door-{number % 50}") for number in range(999)])
    gate.send(*[message(f"door-{number % 50}", qos=0) for number in range(500)])
    assert not gate.keeper.full
    gate.send(message("front"))
    assert gate.keeper.full
    gate.keeper.taken([Parcel(message(f"door-{number % 50}", qos=0), "door") for number in range(500)])
    assert gate.keeper.full
    gate.keeper.taken([Parcel(message("front"), "front")])
    assert not gate.keeper.full
    gate.send(message("front"))
    gate.keeper.forget()
    assert not gate.keeper.full


def test_one_door_alone_may_fill_three_quarters_of_the_window_and_then_has_its_share() -> None:
    gate = Gate()
    kept = sum(gate.send(*[message("front")] * 100)[0] for _ in range(40))
    assert 3_000 <= kept <= 3_200
    assert gate.send(message("back")) == (1, 0)
    gate.keeper.taken([Parcel(message("front"), "front")] * 2_500)
    assert gate.send(*[message("front")] * 100) == (100, 0)


def test_a_door_with_all_it_may_have_under_way_is_never_turned_away() -> None:
    gate = Gate(window=600)
    assert gate.send(*[message("back")] * 500) == (500, 0)
    assert gate.send(*[message("front")] * 400) == (400, 0)
    assert LEAST_SHARE > 400


def test_quality_0_of_many_has_an_end_and_of_one_ends_at_its_share() -> None:
    gate = Gate(window=1_000)
    one = sum(gate.send(message("front", qos=0))[0] for _ in range(10_000))
    assert one <= 1_000
    many = sum(gate.send(message(f"door-{number}", qos=0))[0] for number in range(10_000))
    assert 1_000 < one + many <= 2_002
    gate.keeper.forget()
    assert gate.send(message("front", qos=0)) == (1, 0)


def test_off_means_that_everything_is_opened() -> None:
    gate = Gate(MeterRules(enabled=False, misfits=1))
    assert gate.flood("front", 1_000) == 1_000
    assert gate.send(*[message("front")] * 8_000) == (8_000, 0)


def test_a_flooder_waits_behind_itself_and_the_others_do_not() -> None:
    now = datetime.now(UTC)

    def parcel(device: str, passes: int) -> Parcel:
        payload = batch(device, *(pass_event(number) for number in range(passes)))
        return opened(message(device, payload=payload), now)

    waiting = [parcel("flood", 10) for _ in range(20)] + [parcel("front", 1), parcel("back", 2), parcel("front", 1)]
    order = [one.message.topic.split("/")[3] for one in in_turns(waiting)]
    assert order == ["flood", "front", "back", "front"] + ["flood"] * 19


@given(st.lists(st.sampled_from(["a0", "b0", "c0"]), max_size=60))
def test_turns_lose_nothing_and_keep_each_senders_order(devices: list[str]) -> None:
    parcels = [Parcel(message(device)._replace(mid=number), device) for number, device in enumerate(devices)]
    found = in_turns(parcels)
    assert sorted(one.message.mid for one in found) == list(range(len(parcels)))
    for device in set(devices):
        mids = [one.message.mid for one in found if one.device == device]
        assert mids == sorted(mids)
