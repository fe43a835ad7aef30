"""What people are told of codes that other parts of the cloud use, ready for the catalogue."""

from collections.abc import Mapping

from cloud.fleet.alerts import Kind
from cloud.ingest.parcels import Fault
from cloud.web.language import N_
from contract.labels import Label

LABEL_NAMES: Mapping[Label, str] = {
    Label.WITH_MASK: N_("With mask"),
    Label.WITHOUT_MASK: N_("Without mask"),
    Label.MASK_WORN_INCORRECTLY: N_("Worn incorrectly"),
}
ROLES = (N_("viewer"), N_("labeller"), N_("operator"), N_("admin"))
# As RULES in cloud/fleet/alerts.py names them in messages.
ALERT_TITLES: Mapping[Kind, str] = {
    Kind.DOOR_SILENT: N_("door silent"),
    Kind.CAMERA: N_("camera in trouble"),
    Kind.ACCELERATOR_LOST: N_("accelerator lost"),
    Kind.COVERAGE_LOW: N_("coverage low"),
    Kind.COMPLIANCE_LOW: N_("compliance low"),
    Kind.OUTBOX_LOSING: N_("outbox losing passes"),
    Kind.FLOODING: N_("flooding"),
    Kind.CONSUMER_AWAY: N_("no consumer running"),
    Kind.BROKER_DOWN: N_("broker out of reach"),
    Kind.CERTIFICATE_ENDING: N_("certificate about to end"),
    Kind.SIGNATURES_ENDING: N_("release signatures about to end"),
    Kind.REVOCATIONS_ENDING: N_("revocation list about to end"),
    Kind.DOOR_CERTIFICATE: N_("door's certificate about to end"),
}
FAULTS: Mapping[Fault, tuple[str, str]] = {  # what it means, what to do
    Fault.TOPIC: (N_("sent to a topic that is not ours"), N_("See which program publishes there; the broker's rules should not let it.")),
    Fault.OVERSIZED: (N_("longer than a message may be"), N_("Update the agent of that door.")),
    Fault.FOREIGN: (N_("speaks of another door than its own"), N_("Check that no two devices share a certificate or a name.")),
    Fault.MALFORMED: (N_("not what the contract says"), N_("Update the agent of that door; if it is current, report it as a fault.")),
    Fault.PICTURE: (N_("a crop whose picture is not the plain kind"), N_("Update the agent of that door; if it is current, somebody may be trying something.")),
    Fault.CONFLICT: (N_("an id that is known, with other content"), N_("Check that no two cards were copied from one: each door needs its own.")),
    Fault.FLOODING: (N_("more than is opened of one door; each line counts one hour"), N_("Update the agent of that door; if it goes on, revoke its certificate: the others are answered meanwhile.")),
    Fault.UNSTORABLE: (N_("the database will not take it"), N_("See the cloud's log for the reason.")),
}  # fmt: skip
