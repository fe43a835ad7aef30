"""Who may use which route: what has no line here, nobody may use (403)."""

from cloud.web.roles import Access, Role, Scope

VIEWER, LABELLER, OPERATOR, ADMIN = Role
TRAINER, LABELS, READ, METRICS = Scope


def _open() -> Access:
    return Access(public=True)


def _for(role: Role, *scopes: Scope, audit: str = "", counts: bool = False) -> Access:
    return Access(role, frozenset(scopes), audit=audit, counts=counts)


def _machine(*scopes: Scope, audit: str = "") -> Access:
    return Access(None, frozenset(scopes), audit=audit)


# "METHOD /path" as the route is written -> the least role, and the scopes of which a machine's token needs one.
# `audit="..."`: no successful answer leaves before the log has a row with these words.
# `counts=True`: open to everybody where the setting accounts.public_counts is on.
ROUTES: dict[str, Access] = {
    "GET /static/": _open(),
    "GET /healthz": _open(),
    "GET /tuf/metadata/{name}": _open(),
    "GET /tuf/targets/releases/{release}/{name}": _open(),
    "GET /sign-in": _open(),
    "POST /sign-in": _open(),
    "GET /sign-in/oidc": _open(),
    "GET /sign-in/oidc/back": _open(),
    "POST /language": _open(),
    "GET /welcome/{token}": _open(),
    "POST /welcome/{token}": _open(),
    # pages
    "GET /": _for(VIEWER, counts=True),
    "GET /doors": _for(VIEWER),
    "GET /doors.csv": _for(VIEWER, audit="door health exported"),
    "GET /quarantine": _for(VIEWER),
    "GET /quarantine/forget": _for(ADMIN),
    "POST /quarantine/forget": _for(ADMIN, audit="quarantine forgotten"),
    "GET /doors/{name}": _for(VIEWER, counts=True),
    "GET /fleet": _for(VIEWER),
    "GET /learning": _for(VIEWER),
    "GET /label": _for(LABELLER),
    "GET /docs": _for(VIEWER),
    "GET /alerts": _for(VIEWER),
    "GET /settings": _for(OPERATOR),
    "GET /settings/{device}": _for(OPERATOR),
    # one's own account
    "GET /account": _for(VIEWER),
    "POST /account/password": _for(VIEWER),
    "POST /account/sessions/end": _for(VIEWER),
    "POST /sign-out": _for(VIEWER),
    "GET /api/v1/me": _for(VIEWER, *Scope),
    # other people
    "GET /users": _for(ADMIN),
    "POST /users/invite": _for(ADMIN),
    "POST /users/links/end": _for(ADMIN),
    "POST /users/{account}/role": _for(ADMIN),
    "POST /users/{account}/reset": _for(ADMIN),
    "POST /users/{account}/disable": _for(ADMIN),
    "GET /audit": _for(ADMIN, audit="audit log read"),
    # counts and health
    "GET /api/v1/openapi.json": _for(VIEWER, READ),
    "GET /api/v1/doors": _for(VIEWER, READ, METRICS, counts=True),
    "GET /api/v1/counts": _for(VIEWER, READ, counts=True),
    "GET /api/v1/compliance": _for(VIEWER, READ, counts=True),
    "GET /api/v1/counts.{kind}": _for(VIEWER, READ, audit="counts exported"),
    "GET /api/v1/quarantine": _for(VIEWER, READ),
    "GET /api/v1/service": _for(VIEWER, READ, METRICS, counts=True),
    "GET /api/v1/live": _for(VIEWER, READ, counts=True),
    "GET /api/v1/alerts": _for(VIEWER, READ, METRICS),
    "GET /metrics": _for(VIEWER, METRICS),
    # sites and doors
    "GET /api/v1/sites": _for(VIEWER, READ),
    "PUT /api/v1/sites/{slug}": _for(OPERATOR, audit="site changed"),
    "DELETE /api/v1/sites/{slug}": _for(OPERATOR, audit="site removed"),
    "GET /api/v1/door-settings": _for(VIEWER, READ),
    "PUT /api/v1/door-settings/{device}": _for(OPERATOR, audit="door settings changed"),
    "DELETE /api/v1/door-settings/{device}": _for(OPERATOR, audit="door settings removed"),
    "GET /api/v1/retention": _for(VIEWER, READ),
    # labels
    "GET /api/v1/labels/next": _for(LABELLER, LABELS, TRAINER),
    "POST /api/v1/labels": _for(LABELLER, LABELS, TRAINER, audit="label"),
    "POST /api/v1/labels/undo": _for(LABELLER, LABELS, TRAINER, audit="label taken back"),
    "GET /api/v1/labels/progress": _for(VIEWER, READ, LABELS, TRAINER),
    "GET /api/v1/crops/{digest}.jpg": _for(LABELLER, LABELS, TRAINER, audit="picture"),
    "GET /api/v1/crops/{crop}/header": _machine(LABELS, TRAINER, audit="crop header"),
    "GET /api/v1/snapshots/{digest}": _machine(TRAINER, audit="snapshot"),
    # trainings, releases, rollouts
    "GET /api/v1/jobs": _for(VIEWER, READ, TRAINER),
    "POST /api/v1/jobs": _for(OPERATOR, TRAINER, audit="job asked for"),
    "POST /api/v1/jobs/claim": _machine(TRAINER),
    "POST /api/v1/jobs/{job}/progress": _machine(TRAINER),
    "POST /api/v1/jobs/{job}/outcome": _machine(TRAINER, audit="job ended"),
    "PUT /api/v1/releases/{release}/{name}": _machine(TRAINER, audit="release file"),
    "POST /api/v1/releases/{release}/publish": _machine(TRAINER, audit="release published"),
    "POST /api/v1/releases/prolong": _machine(TRAINER, audit="releases prolonged"),
    "GET /api/v1/rollout": _for(VIEWER, READ, TRAINER),
    "POST /api/v1/rollout/{verb}": _for(OPERATOR, audit="rollout"),
}
