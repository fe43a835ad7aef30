"""`provisioning ca | service | broker | token | csr | enrol | serve | revoke | crl`: who is who, before the first boot."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from contract.errors import ContractError, TryAgainError
from provisioning import durable
from provisioning.broker import hand_revocations, write_broker
from provisioning.ca import REQUEST_LIMIT, Role
from provisioning.csr import make_request, store_certificate
from provisioning.enrol import enrol, new_token
from provisioning.exchange import enrol_at
from provisioning.office import found_office, open_office


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, or 2 with one line on stderr that says what to do."""
    options = _parser().parse_args(arguments)
    try:
        _run(options, datetime.now(UTC))
    except (ContractError, TryAgainError) as error:
        print(f"provisioning: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"provisioning: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="provisioning", description="Identities for doors, cloud and broker.")
    commands = parser.add_subparsers(dest="command", required=True)
    with_ca = argparse.ArgumentParser(add_help=False)
    with_ca.add_argument("--ca", type=Path, default=Path("ca"), metavar="FOLDER", help="the CA's folder (default: ca)")

    ca = commands.add_parser("ca", help="make a certificate authority; keep its folder offline")
    ca.add_argument("folder", type=Path)
    ca.add_argument("--name", default="maskfleet CA")

    service = commands.add_parser("service", parents=[with_ca], help="make or renew a service's identity")
    service.add_argument("role", type=Role, choices=list(Role))
    service.add_argument("folder", type=Path)
    service.add_argument(
        "--host", action="append", default=[], help="for web: a name or address that clients call it by"
    )
    service.add_argument(
        "--number", type=int, default=1, help="for cloud: which of several consumers; each needs an identity of its own"
    )

    broker = commands.add_parser("broker", parents=[with_ca], help="write or renew the folder that mosquitto runs from")
    broker.add_argument("folder", type=Path)
    broker.add_argument("--host", action="append", required=True, help="a name or address that clients call it by")
    broker.add_argument("--port", type=int, default=8883)
    broker.add_argument("--bind", metavar="ADDRESS", help="listen on this address only")
    broker.add_argument("--run-as", metavar="USER", help="the user it runs as, who owns the folder (default: you)")

    broker.add_argument(
        "--home-assistant",
        default="",
        metavar="PREFIX",
        help="let the cloud announce doors below it, usually homeassistant",
    )

    token = commands.add_parser(
        "token", parents=[with_ca], help="print a one-time token for a device, good for 24 hours"
    )
    token.add_argument("device")

    csr = commands.add_parser("csr", help="on the device: make its key, which never leaves, and its request")
    csr.add_argument("device")
    csr.add_argument("folder", type=Path)

    enrolment = commands.add_parser(
        "enrol",
        help="exchange a token for a certificate: over HTTPS on the device (DEVICE FOLDER --url), or by files (--csr --out)",
    )
    enrolment.add_argument("device", nargs="?", help="with --url: the device's name")
    enrolment.add_argument("folder", nargs="?", type=Path, help="with --url: gets key, certificate.pem and ca.pem")
    enrolment.add_argument("--token", required=True, help="the device's token; - reads it from standard input")
    enrolment.add_argument("--url", help="where `provisioning serve` listens: https://HOST:PORT")
    enrolment.add_argument(
        "--ca", type=Path, default=Path("ca"), metavar="PATH", help="the CA's folder; with --url its ca.pem is enough"
    )
    enrolment.add_argument("--csr", type=Path, metavar="FILE")
    enrolment.add_argument("--out", type=Path, metavar="FOLDER", help="gets certificate.pem and ca.pem")

    serving = commands.add_parser(
        "serve", parents=[with_ca], help="let devices enrol over HTTPS; stop it when they have"
    )
    serving.add_argument("identity", type=Path, help="the folder that `provisioning service web` made")
    serving.add_argument("--host", default="0.0.0.0", help="address to listen on (default: all)")  # noqa: S104
    serving.add_argument("--port", type=int, default=8444, help="0 takes a free one and says which")

    revoke = commands.add_parser("revoke", parents=[with_ca], help="revoke all certificates of a device or service")
    revoke.add_argument("name")
    crl = commands.add_parser("crl", parents=[with_ca], help="issue the revocation list anew; once a day")
    for command in (revoke, crl):
        command.add_argument("--broker", type=Path, metavar="FOLDER", help="hand the list to this broker")
    return parser


def _run(options: argparse.Namespace, now: datetime) -> None:
    if options.command == "ca":
        found_office(options.folder, options.name, now=now)
        print(f"made a CA in {options.folder}; its key signs every identity: keep the folder offline, and a copy safe")
        return
    if options.command == "csr":
        print(make_request(options.device, options.folder))
        return
    if options.command == "serve":
        from provisioning.serve import serve  # fastapi and uvicorn: not on a device

        serve(options.ca, options.identity, options.host, options.port, lambda: datetime.now(UTC))
        return
    if options.command == "enrol" and options.url:
        if options.device is None or options.folder is None or options.csr or options.out:
            raise ContractError(
                "with --url it is: provisioning enrol DEVICE FOLDER --url URL --ca ca.pem --token TOKEN"
            )
        enrol_at(options.url, options.ca, _token(options), options.device, options.folder)
        print(f"{options.device} has its identity in {options.folder}")
        return
    if options.command == "enrol" and (options.csr is None or options.out is None or options.device):
        raise ContractError("it takes --csr FILE and --out FOLDER, or --url URL with DEVICE and FOLDER")
    with open_office(options.ca) as office:
        match options.command:
            case "service":
                office.certify_service(options.role, options.folder, now=now, hosts=options.host, number=options.number)
                print(f"{options.role.numbered(options.number)} has its identity in {options.folder}")
            case "broker":
                path = write_broker(
                    office, options.folder, hosts=options.host, now=now,
                    port=options.port, bind=options.bind, run_as=options.run_as,
                    home_assistant=options.home_assistant,
                )  # fmt: skip
                print(f"start it with: mosquitto -c {path}")
            case "token":
                print(new_token(office, options.device, now=now))
            case "enrol":
                csr = durable.read(options.csr, limit=REQUEST_LIMIT)
                store_certificate(options.out, enrol(office, _token(options), csr, now=now), office.ca)
                print(f"certificate.pem and ca.pem are in {options.out}")
            case "revoke":
                count = office.revoke(options.name, now=now)
                print(f"revoked {count} certificates of {options.name}")
            case _:
                office.write_revocations(now=now)
        if options.command in ("revoke", "crl"):
            _hand_over(options, durable.read(options.ca / "crl.pem", limit=2**24))


def _token(options: argparse.Namespace) -> str:
    return str(sys.stdin.readline().strip() if options.token == "-" else options.token)  # noqa: S105


def _hand_over(options: argparse.Namespace, crl: bytes) -> None:
    if options.broker is None:
        print(f"the list is {options.ca / 'crl.pem'}; hand it to the broker with --broker FOLDER")
        return
    hand_revocations(options.broker, crl)
    print("the broker has the list: send it SIGHUP; only a restart ends a session that is open now")


if __name__ == "__main__":
    sys.exit(main())
