"""The contract written down for others: JSON Schema of every message, and an AsyncAPI document of every channel."""

from typing import Any

from contract.crops import CROP_LIMIT, CropHeader
from contract.dataset import Snapshot
from contract.events import EVENTS_LIMIT, Acknowledgement, EventBatch
from contract.fleet import DESIRED_LIMIT, REPORTED_LIMIT, Desired, Reported
from contract.health import HEALTH_LIMIT, Heartbeat
from contract.jobs import Claim, Job, Outcome, Progress
from contract.release import Manifest
from contract.topics import PREFIX, TO_DEVICE, Channel
from contract.wire import SCHEMA_VERSION, Wire

MESSAGES: dict[Channel, type[Wire]] = {
    Channel.EVENTS: EventBatch,
    Channel.CROPS: CropHeader,
    Channel.HEALTH: Heartbeat,
    Channel.REPORTED: Reported,
    Channel.ACKS: Acknowledgement,
    Channel.DESIRED: Desired,
}
FILES: dict[str, type[Wire]] = {
    "manifest": Manifest,
    "snapshot": Snapshot,
    "job": Job,
    "job-claim": Claim,
    "job-progress": Progress,
    "job-outcome": Outcome,
}
_LIMITS = {
    Channel.EVENTS: EVENTS_LIMIT,
    Channel.CROPS: CROP_LIMIT,
    Channel.HEALTH: HEALTH_LIMIT,
    Channel.REPORTED: REPORTED_LIMIT,
    Channel.DESIRED: DESIRED_LIMIT,
}
_NOTES = {
    Channel.CROPS: "One line of JSON as described, a newline, and the JPEG's bytes.",
    Channel.ACKS: "From the cloud, after its commit. Only then does the device forget.",
    Channel.HEALTH: "Also the device's last will, with state `offline`.",
}


def json_schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema (draft 2020-12) by message name."""
    models = {str(channel): model for channel, model in MESSAGES.items()} | FILES
    return {
        name: {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema(mode="validation")}
        for name, model in models.items()
    }


def asyncapi() -> dict[str, Any]:
    """An AsyncAPI 3.0 document of the topics that carry messages today."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for channel, model in MESSAGES.items():
        name = str(channel)
        note = (model.__doc__ or "").strip() + (f" {_NOTES[channel]}" if channel in _NOTES else "")
        limit = f" At most {_LIMITS[channel]} bytes." if channel in _LIMITS else ""
        channels[name] = {
            "address": f"{PREFIX}/{{shard}}/{{device}}/{name}",
            "description": note + limit,
            "parameters": {
                "shard": {"description": "First two hex digits of the SHA-256 of the device's name."},
                "device": {"description": "The device's name: 2 to 39 of a-z, 0-9 and '-', no '-' first."},
            },
            "messages": {
                model.__name__: {"payload": {"$ref": f"{name}.schema.json"}, "contentType": "application/json"}
            },
            "bindings": {"mqtt": {"bindingVersion": "0.2.0"}},
        }
        action = "receive" if channel in TO_DEVICE else "send"
        operations[f"{action}_{name}"] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{name}"},
            "bindings": {"mqtt": {"qos": 1, "retain": channel is Channel.DESIRED, "bindingVersion": "0.2.0"}},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "maskfleet doors",
            "version": f"{SCHEMA_VERSION}.0.0",
            "description": "What a door and the cloud say to each other over MQTT, seen from the door.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
    }
