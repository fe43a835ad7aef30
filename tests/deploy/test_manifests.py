"""The compose file and the Kubernetes manifest: commands and settings that exist, secrets that are not in them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloud.__main__ import COMMANDS
from cloud.config import CloudSettings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
COMPOSE, SETTINGS = DEPLOY / "container" / "compose.yaml", DEPLOY / "container" / "cloud.toml"
MANIFEST = DEPLOY / "kubernetes" / "maskfleet.yaml"


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(MANIFEST.read_text()))


def one(kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in documents() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def pods() -> Iterator[dict[str, Any]]:
    for each in documents():
        if each["kind"] in ("Job", "StatefulSet", "Deployment"):
            yield each["spec"]["template"]["spec"]


def settings_of(words: list[str], file: Path) -> CloudSettings:
    """What `cloud` would make of these arguments; raises where a command or a setting does not exist."""
    command, *options = words
    assert command in COMMANDS
    assert options[:2] == ["--config", "/etc/maskfleet/cloud.toml"]
    assert set(options[2::2]) <= {"--set"}
    return CloudSettings.load(file, dict(each.split("=", 1) for each in options[3::2]))


def test_compose_starts_commands_that_exist_with_settings_that_exist() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    ours = {name: each for name, each in services.items() if each.get("image") == "maskfleet-cloud"}
    names = {settings_of(each["command"], SETTINGS).client_id for name, each in ours.items() if "consume" in name}
    assert len(names) == 2  # each consumer has a name of its own at the broker
    assert settings_of(ours["serve"]["command"], SETTINGS).share


def test_kubernetes_starts_commands_that_exist_with_settings_that_exist(tmp_path: Path) -> None:
    file = tmp_path / "cloud.toml"
    file.write_text(one("ConfigMap", "cloud")["data"]["cloud.toml"])
    for pod in pods():
        for container in pod["containers"]:
            words = [each.replace("$(POD_NAME)", "consume-1") for each in container["args"]]
            assert settings_of(words, file).share


def test_every_consumer_has_an_identity_of_its_own() -> None:
    consume = one("StatefulSet", "consume")["spec"]
    (identities,) = [each for each in consume["template"]["spec"]["volumes"] if each["name"] == "identities"]
    paths = [item["path"] for source in identities["projected"]["sources"] for item in source["secret"]["items"]]
    for number in range(consume["replicas"]):
        assert {f"consume-{number}/{name}" for name in ("key.pem", "certificate.pem", "ca.pem")} <= set(paths)


def test_servers_may_be_many_and_the_releases_lie_with_one() -> None:
    claims = {}
    for name in ("serve", "releases"):
        spec = one("Deployment", name)["spec"]
        mounted = [each for each in spec["template"]["spec"]["volumes"] if "persistentVolumeClaim" in each]
        claims[name] = (spec["replicas"], len(mounted), spec.get("strategy", {}).get("type"))
        assert one("Service", name)["spec"]["selector"] == spec["selector"]["matchLabels"]
    assert claims == {"serve": (2, 0, None), "releases": (1, 1, "Recreate")}
    open_to = one("NetworkPolicy", "pages")["spec"]["podSelector"]["matchExpressions"]
    assert open_to == [{"key": "app", "operator": "In", "values": ["serve", "releases"]}]


def test_pods_may_do_nothing_that_they_need_not() -> None:
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_every_volume_that_is_mounted_exists() -> None:
    for pod in pods():
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("file", [COMPOSE, SETTINGS, MANIFEST], ids=lambda file: file.name)
def test_no_secret_is_written_down(file: Path) -> None:
    assert not re.search(r"(?i)(password|secret_access_key)\s*[:=]\s*[\"']?[a-z0-9]{6,}", file.read_text())
    assert "://maskfleet:" not in file.read_text()
