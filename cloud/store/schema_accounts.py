"""The tables of people: accounts, their sessions and links, attempts to sign in, and the audit log."""

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text, Uuid

from cloud.store.schema import Instant, metadata

accounts = Table(
    "accounts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", String(60), nullable=False),
    Column("key", String(200), nullable=False, unique=True),  # the name without its case: no two look alike
    Column("role", String(10), nullable=False),
    Column("password", Text),  # argon2; null: none yet, or signed in elsewhere
    Column("subject", String(600), unique=True),  # issuer and subject at an identity provider
    Column("made_at", Instant, nullable=False),
    Column("signed_in_at", Instant),
    Column("disabled_at", Instant),
)

sessions = Table(
    "sessions",
    metadata,
    Column("sha256", String(64), primary_key=True),  # of the cookie's token; the token itself is nowhere
    Column("account", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("address", String(45), nullable=False),
    Column("browser", String(200), nullable=False),
)
Index("ix_sessions_account", sessions.c.account)

invitations = Table(
    "invitations",  # one-time links: for a new account, or for a new password of one
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("account", Uuid, ForeignKey("accounts.id")),  # null: whoever uses it gets a new account
    Column("name", String(60)),  # null: the visitor chooses
    Column("role", String(10), nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("made_by", String(80), nullable=False),
    Column("expires_at", Instant, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("key", String(64), primary_key=True),  # SHA-256 of whose attempts these are
    Column("failures", Integer, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("good_at", Instant),
)

audit = Table(
    "audit",  # only ever added to; each row's hash covers the one before
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("who", String(80), nullable=False),
    Column("what", String(40), nullable=False),
    Column("about", String(200), nullable=False),
    Column("detail", JSON, nullable=False),
    Column("previous", String(64), nullable=False, unique=True),  # the database itself keeps a fork out
    Column("hash", String(64), nullable=False),
)
Index("ix_audit_who", audit.c.who)
Index("ix_audit_what", audit.c.what)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1; its lock puts writers in a row
    Column("number", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)
