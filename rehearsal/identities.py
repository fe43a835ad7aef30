"""Who is who in a rehearsal: a CA, a broker, a cloud and doors, each with an identity made the way a real one is made."""

from datetime import UTC, datetime
from pathlib import Path

from provisioning.broker import write_broker
from provisioning.ca import Role
from provisioning.csr import REQUEST, make_request, store_certificate
from provisioning.enrol import enrol, new_token
from provisioning.office import found_office, open_office


class Identities:
    """A CA of its own in `folder`, and an identity folder for everybody who asks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._office = folder / "ca"
        found_office(self._office, "rehearsal CA", now=_now())

    def configure_broker(self, folder: Path, port: int) -> Path:
        """The configuration of a mosquitto that lets in only who has a certificate of this CA."""
        with open_office(self._office) as office:
            return write_broker(office, folder, hosts=["localhost"], now=_now(), port=port, bind="127.0.0.1")

    def cloud(self) -> Path:
        """The cloud's identity folder."""
        folder = self._folder / "cloud"
        with open_office(self._office) as office:
            office.certify_service(Role.CLOUD, folder, now=_now())
        return folder

    def door(self, name: str) -> Path:
        """A door's identity folder: a key made there, and a certificate for a one-time token; enrolled only once."""
        folder = self._folder / name
        if not folder.exists():
            now = _now()
            make_request(name, folder)
            with open_office(self._office) as office:
                token = new_token(office, name, now=now)
                store_certificate(folder, enrol(office, token, (folder / REQUEST).read_bytes(), now=now), office.ca)
        return folder


def _now() -> datetime:
    return datetime.now(UTC)
