"""Doors' messages made by chance: sound ones, and ones that are spoilt in every way, each with what must become of it."""

import copy
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from random import Random
from typing import Any
from uuid import UUID

from cloud.ingest.parcels import LIMITS, Message
from contract.topics import FROM_DEVICE, Channel, Topic
from tests.cloud.keeping_kit import jpeg
from tests.fuzz.hostile import EVERYTHING, NAMES, NIL, TEXTS, TIMES

DOORS = tuple(f"door-{number:02d}" for number in range(20))
PICTURES = tuple(jpeg(seed, 32) for seed in range(4))
DELIVERED = re.compile(rf"mf/v1/[^/+#]+/[^/+#]+/(?:{'|'.join(FROM_DEVICE)})")
SENDABLE = [one for one in TEXTS if "\ud800" not in one]


def delivered(topic: str) -> bool:
    """Whether a broker takes it, and a consumer asks for it."""
    return DELIVERED.fullmatch(topic) is not None and topic.isprintable()


class Fate(StrEnum):
    """What must become of a message."""

    SOUND = "sound"  # stored, and not in quarantine
    BAD = "bad"  # in quarantine, once, with every delivery counted
    EITHER = "either"  # spoilt by chance: the one or the other


@dataclass(frozen=True, slots=True)
class Sent:
    """One message, and the ids of the passes in it where it is sound."""

    message: Message
    fate: Fate
    ids: tuple[UUID, ...] = ()


class Mischief:
    """An endless supply of messages, by chance and by `rng` alone."""

    def __init__(self, rng: Random, now: datetime) -> None:
        self._rng, self._now = rng, now
        self._sequence = 0
        self._boots = {door: UUID(int=rng.getrandbits(128)) for door in DOORS}
        self._earlier: list[Sent] = []

    def next(self) -> Sent:
        """A third are sound, some of those for the second time."""
        sent = self._next()
        if len(self._earlier) < 50:
            self._earlier.append(sent)
        else:
            self._earlier[self._rng.randrange(50)] = sent
        return sent

    def _next(self) -> Sent:
        rng = self._rng
        match rng.randrange(12):
            case 0 | 1 | 2 | 3:
                return self._sound()
            case 4 if self._earlier:
                return rng.choice(self._earlier)
            case 5:
                return self._astray()
            case 6:
                return self._raw()
            case 7:
                return self._surely_bad()
            case 8 if any(one.fate is Fate.SOUND and one.ids for one in self._earlier):
                return self._conflict()
            case _:
                return self._spoilt()

    def _sound(self, channel: Channel | None = None) -> Sent:
        channel = channel or self._rng.choice((Channel.EVENTS, Channel.EVENTS, *FROM_DEVICE))
        door = self._rng.choice(DOORS)
        value, ids = self._value(channel, door)
        if self._rng.random() < 0.3:
            value["later"] = self._rng.choice(SENDABLE)[:300]  # of a version to come; ignored
        return Sent(Message(Topic(door, channel).text, self._encoded(channel, value)), Fate.SOUND, ids)

    def _spoilt(self) -> Sent:
        """One to three places of a sound message, or of its bytes."""
        rng = self._rng
        channel, door = rng.choice(FROM_DEVICE), rng.choice(DOORS)
        value, _ = self._value(channel, door)
        for _ in range(rng.randint(1, 3)):
            _spoil(value, rng)
        payload = self._encoded(channel, value)
        if rng.random() < 0.3:
            payload = _gnawed(payload, rng)
        return Sent(Message(Topic(door, channel).text, payload), Fate.EITHER)

    def _surely_bad(self) -> Sent:
        rng = self._rng
        channel, door = rng.choice(FROM_DEVICE), rng.choice(DOORS)
        value, _ = self._value(channel, door)
        match rng.randrange(6):
            case 0:
                value["device"] = rng.choice([one for one in (*DOORS, *NAMES) if one != door])
            case 1:
                value["schema_version"] = rng.choice((0, 2, 10**30, None, "one", [1]))
            case 2:
                del value["device"]
            case 3:
                spoilt = value
                if channel is Channel.EVENTS:
                    del value["events"][1:]
                    spoilt = value["events"][0]
                spoilt[{"events": "confidence", "crops": "scale", "health": "fps", "reported": "release"}[channel]] = rng.choice(
                    (float("nan"), float("inf"), 10**400, -1, "many", [], {})
                )  # fmt: skip
            case 4:
                payload = self._encoded(channel, value)
                return self._bad(door, channel, payload[: rng.randrange(len(payload))])
            case _:
                value["padding"] = "x" * LIMITS[channel]
        return self._bad(door, channel, self._encoded(channel, value))

    def _astray(self) -> Sent:
        """A sound body under a topic that is nobody's."""
        rng = self._rng
        channel, door = rng.choice(FROM_DEVICE), rng.choice(DOORS)
        value, _ = self._value(channel, door)
        shard = Topic(door, channel).text.split("/")[2]
        wrong = f"{(int(shard, 16) + 1) % 256:02x}"
        topic = rng.choice((
            f"mf/v1/{wrong}/{door}/{channel}", f"mf/v1/{shard.upper()}x/{door}/{channel}", f"mf/v1/{shard}/{door}/acks",
            f"mf/v1/{shard}/{door}/desired", f"mf/v1/{shard}/{door}/{rng.choice(TEXTS)}", f"mf/v2/{shard}/{door}/{channel}",
            f"mf/v1/{shard}/{rng.choice(NAMES)}/{channel}", f"mf/v1/{shard}/{door}/{channel}/", f"/mf/v1/{shard}/{door}/{channel}",
            rng.choice(TEXTS), "/" * rng.randrange(200),
        ))  # fmt: skip
        return Sent(Message(topic, self._encoded(channel, value)), Fate.BAD)

    def _raw(self) -> Sent:
        rng = self._rng
        deep = rng.choice((b"[", b'{"a":', b'{"events":[', b'{"device":[')) * rng.choice((10, 1_000, 8_000))
        payload = rng.choice(
            (
                rng.randbytes(rng.randrange(200)),
                b"",
                b"\0",
                b"\xff\xfe",
                b"null",
                b"[]",
                b"{}",
                b"1e999",
                deep,
                b'"' + b"\\u0000" * 50,
            )
        )
        return self._bad(rng.choice(DOORS), rng.choice(FROM_DEVICE), payload)

    def _conflict(self) -> Sent:
        """An id that is stored, with another body."""
        known = self._rng.choice([one for one in self._earlier if one.fate is Fate.SOUND and one.ids])
        door = Topic.parse(known.message.topic).device
        value, _ = self._value(Channel.EVENTS, door)
        del value["events"][1:]
        value["events"][0]["id"] = str(known.ids[0])
        return self._bad(door, Channel.EVENTS, self._encoded(Channel.EVENTS, value))

    def _bad(self, door: str, channel: Channel, payload: bytes) -> Sent:
        return Sent(Message(Topic(door, channel).text, payload), Fate.BAD)

    def _value(self, channel: Channel, door: str) -> tuple[dict[str, Any], tuple[UUID, ...]]:
        rng, base = self._rng, {"schema_version": 1, "device": door}
        match channel:
            case Channel.EVENTS:
                events = [self._pass(door) for _ in range(rng.randint(1, 4))]
                return base | {"events": events}, tuple(UUID(one["id"]) for one in events)
            case Channel.CROPS:
                picture = rng.randrange(len(PICTURES))
                return base | {
                    "id": str(UUID(int=rng.getrandbits(128))), "at": self._time(), "role": rng.choice(("control", "priority")),
                    "window": str(NIL), "window_passes": 12, "weight": 3.5, "scores": [0.4, 0.5, 0.1], "label": "with_mask",
                    "box": [0.2, 0.2, 0.8, 0.8], "frame_size": [640, 480], "origin": [10, 20], "scale": 1.0,
                    "model_digest": "a" * 64, "jpeg_digest": sha256(PICTURES[picture]).hexdigest(),
                }, ()  # fmt: skip
            case Channel.HEALTH:
                hours = rng.randrange(30)
                return base | {
                    "state": rng.choice(("online", "offline")), "boot": str(self._boots[door]), "at": self._time(), "fps": 12.5,
                    "uptime_s": rng.random() * 1e5, "release": 3, "frames": rng.getrandbits(40), "passes": self._sequence,
                    "trouble": [rng.choice(SENDABLE)[:200]],
                    "trouble_words": ["camera_lost"], "board": {"temperature_c": 50.5, "disk_free_bytes": 10**9}, "drift": 0.5,
                    "coverage": {"since": self._time(), "open": [60] * hours, "seen": [30] * hours, "clock_synchronised": True},
                }, ()  # fmt: skip
            case _:
                return base | {
                    "at": self._time(), "release": 3, "digest": "b" * 64, "step": "idle", "wanted": 3, "number": 2,
                    "reason": rng.choice(SENDABLE)[:300],
                }, ()  # fmt: skip

    def _pass(self, door: str) -> dict[str, Any]:
        rng = self._rng
        self._sequence += 1
        return {
            "id": str(UUID(int=rng.getrandbits(128))), "at": self._time(), "direction": rng.choice(("in", "out")),
            "label": "without_mask", "confidence": rng.random(), "release": rng.choice((3, 4)), "accelerator": "edgetpu",
            "boot": str(self._boots[door]), "sequence": self._sequence, "line": rng.choice((None, "left")),
        }  # fmt: skip

    def _time(self) -> str:
        """Mostly a minute of today; else one that is possible and wrong."""
        if self._rng.random() < 0.1:
            return self._rng.choice(
                (
                    "1970-01-01T00:00:00Z",
                    "9998-12-31T11:59:59-12:00",
                    "0002-01-01T14:00:00+14:00",
                    "2038-01-19T03:14:08Z",
                )
            )
        return (self._now - timedelta(minutes=self._rng.randrange(600))).isoformat()

    def _encoded(self, channel: Channel, value: dict[str, Any]) -> bytes:
        body = json.dumps(value, ensure_ascii=self._rng.random() < 0.5).encode(errors="surrogatepass")
        if channel is not Channel.CROPS:
            return body
        wanted = value.get("jpeg_digest")
        return body + b"\n" + next((one for one in PICTURES if sha256(one).hexdigest() == wanted), PICTURES[0])


def _spoil(value: Any, rng: Random) -> None:
    """Put something hostile somewhere in a JSON tree, or take something away."""
    inner: Any = value
    while True:
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(inner[key], dict | list) and inner[key] and rng.random() < 0.8:
            inner = inner[key]
            continue
        break
    match rng.randrange(5):
        case 0:
            del inner[key]
        case 1:
            nest: Any = rng.choice(TEXTS)
            for _ in range(rng.choice((2, 50, 900))):
                nest = [nest]
            inner[key] = nest
        case 2:
            inner[key] = rng.choice(TIMES)
        case _:
            inner[key] = copy.deepcopy(rng.choice(EVERYTHING))


def _gnawed(payload: bytes, rng: Random) -> bytes:
    """Bytes changed, cut out, or a key said twice."""
    data = bytearray(payload)
    at = rng.randrange(len(data))
    match rng.randrange(4):
        case 0:
            data[at] = rng.randrange(256)
        case 1:
            del data[at : at + rng.randint(1, 20)]
        case 2:
            data[at:at] = rng.choice((b"\0", b"\xc0\x80", b"\xed\xa0\x80", b"\\ud800", b"//", b"NaN", b","))
        case _:
            data[1:1] = b'"device":"door-00","id":null,"events":[],'
    return bytes(data)
