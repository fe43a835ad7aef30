"""A folder that mosquitto runs from: mutual TLS, names from certificates, and a list of who may say what where."""

import getpass
from datetime import datetime
from pathlib import Path

from contract.errors import ContractError
from contract.home import reader_patterns, require_prefix, writer_patterns
from contract.tls import CA, CERTIFICATE, KEY
from contract.topics import cloud_patterns, device_patterns
from provisioning import durable
from provisioning.ca import MOST_OF_A_ROLE, Role
from provisioning.office import CRL, Office

CONFIGURATION = "mosquitto.conf"
ACCESS = "access.acl"
DATA = "data"


def write_broker(
    office: Office,
    folder: Path,
    *,
    hosts: list[str],
    now: datetime,
    port: int = 8883,
    bind: str | None = None,
    run_as: str | None = None,
    home_assistant: str = "",
) -> Path:
    """Write or renew everything that `mosquitto -c` needs into `folder`; returns the configuration's path.

    `hosts` are the names clients call the broker by, `bind` the one address it listens on (all without one), `run_as` the
    user it runs as, who must own the folder; `home_assistant` is the prefix below which the cloud may announce doors, none
    without one. The configuration is last, so a start never finds it half made. Raises
    ContractError.
    """
    folder = folder.absolute()
    if not 0 < port < 65536:
        raise ContractError(f"{port} is no port; use 1 to 65535, usually 8883")
    _require_one_line(str(folder), bind or "", run_as or "")
    office.certify_broker(hosts, folder, now=now)
    durable.write(folder / ACCESS, access_list(home_assistant).encode())
    durable.write(folder / CRL, office.write_revocations(now=now))
    durable.make_folder(folder / DATA)
    durable.write(folder / CONFIGURATION, _configuration(folder, port, bind, run_as or getpass.getuser()).encode())
    return folder / CONFIGURATION


def hand_revocations(folder: Path, crl: bytes) -> None:
    """Give a broker its new revocation list; it reads it on SIGHUP. Raises ContractError where no broker is."""
    if not (folder / CONFIGURATION).exists():
        raise ContractError(f"no broker in {folder}; make one with `provisioning broker {folder} --host NAME`")
    durable.write(folder / CRL, crl)


def access_list(home_assistant: str = "") -> str:
    """Mosquitto's ACL: every device its own leaves, every consumer of the cloud its half of each, and with a prefix Home
    Assistant's topics.

    Raises ContractError for a prefix that is none.
    """
    cloud, home = list(cloud_patterns()), list[str]()
    if home_assistant:
        require_prefix(home_assistant)
        cloud += writer_patterns(home_assistant)
        home = [f"user {Role.HOME_ASSISTANT.user}", *reader_patterns(home_assistant), ""]
    # Patterns hold for every user, the cloud's too; the dot in its name keeps `mf/v1/+/service.cloud/...` out of the grammar.
    lines = [*device_patterns(), ""]
    for number in range(1, MOST_OF_A_ROLE + 1):
        lines += [f"user {Role.CLOUD.numbered(number)}", *cloud, ""]
    return "\n".join([*lines, *home])


def _configuration(folder: Path, port: int, bind: str | None, run_as: str) -> str:
    return "\n".join(
        [
            "# Written by `provisioning broker`; run that again rather than edit this.",
            f"listener {port} {bind}" if bind else f"listener {port}",
            f"cafile {folder / CA}",
            f"certfile {folder / CERTIFICATE}",
            f"keyfile {folder / KEY}",
            f"crlfile {folder / CRL}",
            "tls_version tlsv1.2",  # the least
            "require_certificate true",
            "use_identity_as_username true",
            "use_username_as_clientid true",  # else one device takes over another's session
            "allow_anonymous false",
            f"acl_file {folder / ACCESS}",
            "message_size_limit 262144",
            "max_packet_size 266240",
            "max_inflight_messages 20",
            "max_queued_messages 10000",
            "persistent_client_expiration 14d",
            "persistence true",
            f"persistence_location {folder / DATA}/",
            f"user {run_as}",
            *(f"log_type {kind}" for kind in ("error", "warning", "notice", "information")),
            "",
        ]
    )


def _require_one_line(*texts: str) -> None:
    for text in texts:
        if not text.isprintable():
            raise ContractError(f"{text[:60]!r} cannot stand in mosquitto's configuration; use printable characters")
