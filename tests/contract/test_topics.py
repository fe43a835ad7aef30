import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import ContractError
from contract.identity import require_device_id
from contract.topics import FROM_DEVICE, TO_DEVICE, Channel, Topic, cloud_patterns, device_patterns, every, shard_of

devices = st.from_regex(r"[a-z0-9][a-z0-9-]{1,38}", fullmatch=True)


@given(device=devices, channel=st.sampled_from(Channel))
def test_a_topic_survives_writing_and_reading(device: str, channel: Channel) -> None:
    topic = Topic(device, channel)
    assert Topic.parse(topic.text) == topic


def test_a_topic_reads_as_agreed() -> None:
    assert Topic("door-1", Channel.EVENTS).text == f"mf/v1/{shard_of('door-1')}/door-1/events"
    assert shard_of("door-1") == "0e"
    assert every(Channel.ACKS) == "mf/v1/+/+/acks"


def test_every_channel_goes_one_way_and_is_written_by_one_side_and_read_by_the_other() -> None:
    assert sorted([*FROM_DEVICE, *TO_DEVICE]) == sorted(Channel)
    turned = {"read": "write", "write": "read"}
    devices = {tuple(line.replace("%u", "+").split()[1:]) for line in device_patterns()}
    cloud = {tuple(line.split()[1:]) for line in cloud_patterns()}
    assert {(turned[access], text) for access, text in devices} == cloud
    assert cloud >= {("read", "mf/v1/+/+/events"), ("write", "mf/v1/+/+/acks")}
    assert not any("#" in text for _, text in cloud)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("mf/v2/0e/door-1/events", "not of the form"),
        ("mf/v1/0e/door-1", "not of the form"),
        ("mf/v1/0e/door-1/events/more", "not of the form"),
        ("mf/v1/00/door-1/events", "belongs to 0e"),
        ("mf/v1/0e/door-1/secrets", "unknown channel"),
        ("mf/v1/0e/../events", "cannot name a device"),
        ("mf/v1/0e/DOOR/events", "cannot name a device"),
        ("mf/v1/0e/+/events", "cannot name a device"),
        ("", "not of the form"),
    ],
)
def test_a_foreign_topic_is_refused_with_its_fault(text: str, fault: str) -> None:
    with pytest.raises(ContractError, match=fault):
        Topic.parse(text)


@pytest.mark.parametrize(
    "name", ["", "a", "-door", "door_1", "Door", "d" * 40, "door/1", "door+", "dé", "door\n", "door\x00"]
)
def test_a_name_that_means_something_elsewhere_cannot_name_a_device(name: str) -> None:
    with pytest.raises(ContractError, match="cannot name a device"):
        require_device_id(name)


@given(st.text())
def test_any_text_is_either_a_topic_or_refused(text: str) -> None:
    try:
        topic = Topic.parse(text)
    except ContractError:
        return
    assert topic.text == text
