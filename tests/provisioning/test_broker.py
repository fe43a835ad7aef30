"""The generated configuration in a real mosquitto: who gets in, and what is delivered to whom.

A subscription's answer and a PUBACK prove nothing here; every test waits for a later, permitted message on the same path and
then looks at what came before it.
"""

import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contract.errors import ContractError
from contract.tls import CERTIFICATE
from contract.topics import Channel, Topic, every
from provisioning.broker import write_broker
from provisioning.ca import MOST_OF_A_ROLE, Role
from provisioning.office import Office, found_office, open_office
from rehearsal.processes import wait_until
from tests.provisioning.conftest import Fleet, enrolled, topic, up_to_a_fence

FROM_DEVICE = (Channel.EVENTS, Channel.CROPS, Channel.HEALTH, Channel.REPORTED)


def test_a_device_is_heard_by_the_cloud_and_hears_its_acknowledgement(fleet: Fleet) -> None:
    cloud, door = fleet.cloud(), fleet.connect("door-a")
    door.hear(topic("door-a", Channel.ACKS), topic("door-a", Channel.DESIRED))
    for channel in FROM_DEVICE:
        door.say(topic("door-a", channel), channel.encode())
    wait_until(lambda: len(cloud.heard) == 4, within_s=10, what="the cloud hearing all four channels")
    assert set(cloud.heard) == {(topic("door-a", channel), channel.encode()) for channel in FROM_DEVICE}
    cloud.say(topic("door-a", Channel.ACKS), b"stored")
    cloud.say(topic("door-a", Channel.DESIRED), b"release 4", retain=True)
    wait_until(lambda: len(door.heard) == 2, within_s=10, what="the device hearing both channels")


def test_the_cloud_hears_no_answers_and_speaks_no_events(fleet: Fleet) -> None:
    cloud, door = fleet.cloud(), fleet.connect("door-a")
    cloud.hear("#")
    cloud.say(topic("door-a", Channel.EVENTS), b"forged")
    cloud.say(topic("door-a", Channel.ACKS), b"stored")
    assert up_to_a_fence(cloud, topic("door-a", Channel.EVENTS), speaker=door) == set()


def test_several_consumers_share_what_the_doors_say(fleet: Fleet, tmp_path: Path) -> None:
    """One identity each: the broker takes the client's name from the certificate, and one name is one connection."""
    shared = f"$share/cloud/{every(Channel.EVENTS)}"
    consumers = []
    for number in (1, 2, MOST_OF_A_ROLE):
        folder = tmp_path / f"consumer-{number}"
        fleet.office.certify_service(Role.CLOUD, folder, now=datetime.now(UTC), number=number)
        consumers.append(fleet.peer(folder))
        assert consumers[-1].open(), fleet.log
        consumers[-1].hear(shared)
    door = fleet.connect("door-a")
    said = {str(number).encode() for number in range(30)}
    for one in sorted(said):
        door.say(topic("door-a", Channel.EVENTS), one)
    wait_until(lambda: sum(len(one.heard) for one in consumers) == 30, within_s=10, what="all events being heard")
    assert {payload for one in consumers for _, payload in one.heard} == said
    assert all(one.connected and one.heard for one in consumers)
    for wrong in (0, MOST_OF_A_ROLE + 1):
        with pytest.raises(ContractError, match=f"Use 1 to {MOST_OF_A_ROLE}"):
            fleet.office.certify_service(Role.CLOUD, tmp_path / "wrong", now=datetime.now(UTC), number=wrong)
    assert not (tmp_path / "wrong").exists()


def test_what_the_patterns_give_the_cloud_is_no_devices_topic(fleet: Fleet) -> None:
    """Pattern lines hold for every user; the cloud's name must therefore be outside a device's grammar."""
    cloud, own = fleet.cloud(), "mf/v1/00/service.cloud/events"
    cloud.say(own, b"as if a device")
    wait_until(lambda: bool(cloud.heard), within_s=10, what="mosquitto granting the pattern")
    with pytest.raises(ContractError, match="cannot name a device"):
        Topic.parse(own)


def test_nobody_gets_in_without_a_certificate(fleet: Fleet) -> None:
    """[49] Already the handshake fails; the broker reads no word of MQTT."""
    for client_id in ("", "door-a"):
        nobody = fleet.peer(None, client_id=client_id)
        assert not nobody.open()
        assert not nobody.answered


def test_the_same_name_from_another_ca_does_not_get_in(fleet: Fleet, tmp_path: Path) -> None:
    """[50]"""
    assert fleet.connect("door-a").connected
    found_office(tmp_path / "foreign", "test CA", now=datetime.now(UTC))
    with open_office(tmp_path / "foreign") as foreign:
        forged = enrolled(foreign, "door-a", tmp_path / "forged")
    assert not fleet.peer(forged).open()


def test_an_expired_certificate_does_not_get_in(fleet: Fleet, tmp_path: Path) -> None:
    """[51]"""
    long_ago = datetime.now(UTC) - timedelta(days=91)
    old = enrolled(fleet.office, "door-a", tmp_path / "old", now=long_ago)
    assert not fleet.peer(old).open()
    renewed = enrolled(fleet.office, "door-a", tmp_path / "old")  # the same key: only the dates differ
    assert fleet.peer(renewed).open()


def test_a_revoked_certificate_does_not_get_in_again(fleet: Fleet) -> None:
    """[52] The broker reads the list on SIGHUP, while others stay connected."""
    other = fleet.connect("door-b")
    fleet.connect("door-a").close()
    fleet.revoke("door-a")
    assert not fleet.peer(fleet.door("door-a")).open()
    assert fleet.connect("door-c").connected
    assert not other.ended


def test_a_live_session_of_a_revoked_device_ends_with_a_restart(fleet: Fleet) -> None:
    """[53] [54] SIGHUP alone leaves it; the restart cuts it, and it does not come back."""
    stolen = fleet.connect("door-a")
    fleet.revoke("door-a")
    assert not fleet.peer(fleet.door("door-a")).open()
    assert not stolen.ended
    fleet.restart()
    wait_until(lambda: stolen.ended, within_s=10, what="the revoked device losing its session")
    assert not fleet.peer(fleet.door("door-a")).open()
    assert fleet.cloud().connected


def test_a_stolen_session_ends_when_its_replacement_connects(fleet: Fleet, tmp_path: Path) -> None:
    """[53] One name, one session: the new card of the same door throws the revoked one out, without a restart."""
    stolen = fleet.connect("door-a")
    fleet.revoke("door-a")
    replacement = fleet.peer(enrolled(fleet.office, "door-a", tmp_path / "new-card"))
    assert replacement.open()
    wait_until(lambda: stolen.ended, within_s=10, what="the revoked device losing its session")
    assert not fleet.peer(fleet.door("door-a")).open()
    assert not replacement.ended


def test_a_revocation_list_that_has_run_out_shuts_everybody_out_until_it_is_issued_anew(fleet: Fleet) -> None:
    """[64]"""
    door = fleet.door("door-a")
    fleet.office.write_revocations(now=datetime.now(UTC) - timedelta(days=8))
    fleet.hand_list_over()
    assert not fleet.peer(door).open()
    fleet.office.write_revocations(now=datetime.now(UTC))
    fleet.hand_list_over()
    assert fleet.peer(door).open()


def test_nothing_said_in_anothers_name_is_delivered(fleet: Fleet) -> None:
    """[55] On any channel, in any shard."""
    cloud, liar, other = fleet.cloud(), fleet.connect("door-a"), fleet.connect("door-b")
    other.hear(topic("door-b", Channel.ACKS), topic("door-b", Channel.DESIRED))
    for channel in Channel:
        liar.say(topic("door-b", channel), b"forged")
        liar.say(f"mf/v1/00/door-b/{channel}", b"forged")
    liar.say(topic("door-a", Channel.ACKS), b"forged")
    assert up_to_a_fence(cloud, topic("door-a", Channel.EVENTS), speaker=liar) == set()
    assert up_to_a_fence(other, topic("door-b", Channel.ACKS), speaker=cloud) == set()


@pytest.mark.parametrize(
    "wanted",
    [
        "#", "mf/v1/#", "mf/v1/+/+/acks", "mf/v1/+/door-b/acks", "+/+/+/+/+", "$SYS/#",
        "$share/group/mf/v1/+/+/acks", "$share/group/#",
    ],
)  # fmt: skip
def test_a_device_that_listens_wide_hears_only_its_own(fleet: Fleet, wanted: str) -> None:
    """[56]"""
    cloud, curious, other = fleet.cloud(), fleet.connect("door-a"), fleet.connect("door-b")
    curious.hear(topic("door-a", Channel.ACKS), wanted)
    cloud.say(topic("door-b", Channel.ACKS), b"for b alone")
    cloud.say(topic("door-b", Channel.DESIRED), b"for b alone", retain=True)
    other.say(topic("door-b", Channel.EVENTS), b"from b")
    wait_until(lambda: len(cloud.heard) == 1, within_s=10, what="the cloud hearing door-b")
    assert up_to_a_fence(curious, topic("door-a", Channel.ACKS), speaker=cloud) == set()


def test_a_last_will_in_anothers_name_is_not_spoken(fleet: Fleet) -> None:
    """[57]"""
    cloud = fleet.cloud()
    liar = fleet.peer(fleet.door("door-a"), will=topic("door-b", Channel.HEALTH))
    if liar.open():  # a broker may also refuse such a will at once
        liar.vanish()
    honest = fleet.connect("door-c", will=topic("door-c", Channel.HEALTH))
    honest.vanish()
    wait_until(lambda: bool(cloud.heard), within_s=10, what="the honest door's last will")
    assert cloud.heard == [(topic("door-c", Channel.HEALTH), b"last will")]


def test_nothing_is_retained_in_anothers_name(fleet: Fleet) -> None:
    """[58]"""
    cloud, liar = fleet.cloud(), fleet.connect("door-a")
    liar.say(topic("door-b", Channel.DESIRED), b"forged", retain=True)
    liar.say(topic("door-b", Channel.HEALTH), b"forged", retain=True)
    up_to_a_fence(cloud, topic("door-a", Channel.EVENTS), speaker=liar)
    late, second = fleet.connect("door-b"), fleet.peer(fleet.configuration.parent.parent / "cloud")
    late.hear(topic("door-b", Channel.DESIRED), topic("door-b", Channel.ACKS))
    assert second.open()
    second.hear(topic("door-b", Channel.HEALTH))
    second.hear("mf/v1/+/+/events")
    assert up_to_a_fence(second, topic("door-b", Channel.EVENTS), speaker=late) == set()
    assert up_to_a_fence(late, topic("door-b", Channel.ACKS), speaker=second) == set()


def test_a_client_id_is_no_way_into_anothers_session(fleet: Fleet) -> None:
    """[59]"""
    cloud, victim = fleet.cloud(), fleet.connect("door-b", client_id="door-b")
    victim.hear(topic("door-b", Channel.ACKS))
    thief = fleet.connect("door-a", client_id="door-b")
    thief.hear(topic("door-b", Channel.ACKS), topic("door-a", Channel.ACKS))
    cloud.say(topic("door-b", Channel.ACKS), b"for b alone")
    assert up_to_a_fence(thief, topic("door-a", Channel.ACKS), speaker=cloud) == set()
    assert victim.heard == [(topic("door-b", Channel.ACKS), b"for b alone")]
    assert not victim.ended


@pytest.mark.parametrize("name", ["127.0.0.1", "broker.example.org"])
def test_a_broker_under_another_name_is_refused_by_the_client(fleet: Fleet, name: str) -> None:
    """[65] Its certificate says localhost."""
    context = ssl.create_default_context(cafile=fleet.ca)
    with (
        socket.create_connection(("127.0.0.1", fleet.port), timeout=5) as plain,
        pytest.raises(ssl.SSLCertVerificationError, match="mismatch"),
    ):
        context.wrap_socket(plain, server_hostname=name)


def test_the_brokers_certificate_lets_nobody_in_as_a_client(fleet: Fleet) -> None:
    assert not fleet.peer(fleet.configuration.parent).open()


def test_a_devices_certificate_does_not_make_a_broker(fleet: Fleet, tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=fleet.ca)
    context.check_hostname = False
    door = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    identity = fleet.door("door-a")
    door.load_cert_chain(identity / CERTIFICATE, identity / "key.pem")
    to_client, from_client, to_server, from_server = (ssl.MemoryBIO() for _ in range(4))
    client = context.wrap_bio(to_client, from_client, server_hostname="localhost")
    server = door.wrap_bio(to_server, from_server, server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    to_server.write(from_client.read())
    with pytest.raises(ssl.SSLWantReadError):
        server.do_handshake()
    to_client.write(from_server.read())
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        client.do_handshake()


def test_a_message_too_large_for_the_contract_is_not_delivered(fleet: Fleet) -> None:
    """[66]"""
    cloud, loud, other = fleet.cloud(), fleet.connect("door-a"), fleet.connect("door-b")
    loud.say(topic("door-a", Channel.CROPS), bytes(300_000))
    wait_until(lambda: loud.ended, within_s=10, what="the broker hanging up")
    assert up_to_a_fence(cloud, topic("door-b", Channel.EVENTS), speaker=other) == set()


def test_plain_tcp_gets_no_answer(fleet: Fleet) -> None:
    with socket.create_connection(("127.0.0.1", fleet.port), timeout=5) as plain:
        plain.sendall(b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x1e\x00\x00\x00")
        try:
            answer = plain.recv(64)
        except ConnectionError:
            answer = b""
    assert not answer.startswith(b"\x20")  # no CONNACK; at most a TLS alert


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_broker_speaks_tls_1_2_and_1_3(fleet: Fleet, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=fleet.ca)
    context.minimum_version = context.maximum_version = version
    identity = fleet.door("door-a")
    context.load_cert_chain(identity / CERTIFICATE, identity / "key.pem")
    with (
        socket.create_connection(("127.0.0.1", fleet.port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        assert secure.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]


def test_the_broker_can_be_written_again_while_its_key_stays(fleet: Fleet, office: Office) -> None:
    folder = fleet.configuration.parent
    before = {name: (folder / name).read_bytes() for name in ("key.pem", "mosquitto.conf", CERTIFICATE)}
    write_broker(office, folder, hosts=["localhost"], now=datetime.now(UTC), port=fleet.port, bind="127.0.0.1")
    after = {name: (folder / name).read_bytes() for name in before}
    assert [name for name in before if before[name] != after[name]] == [CERTIFICATE]
    fleet.restart()
    assert fleet.connect("door-a").connected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hosts": []}, "--host"),
        ({"hosts": ["a b"]}, "is no host"),
        ({"hosts": ["*.example.org"]}, "is no host"),
        ({"port": 0}, "is no port"),
        ({"bind": "127.0.0.1\nallow_anonymous true"}, "printable"),
        ({"run_as": "me\nallow_anonymous true"}, "printable"),
    ],
)
def test_a_bad_broker_is_refused_before_anything_is_written(
    office: Office, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    options: dict[str, object] = {"hosts": ["localhost"], "now": datetime.now(UTC), **changes}
    with pytest.raises(ContractError, match=words):
        write_broker(office, tmp_path / "bad", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "bad" / "mosquitto.conf").exists()
