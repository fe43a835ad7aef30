"""The tables of what people say of doors, of alerts, and of what doors said beyond counts."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)

from cloud.store.schema import Instant, metadata

sites = Table(
    "sites",
    metadata,
    Column("slug", String(39), primary_key=True),
    Column("name", String(80), nullable=False),
    Column("time_zone", String(60), nullable=False),
    Column("week", JSON, nullable=False),  # seven texts, Monday first
    Column("closed", JSON, nullable=False),  # dates, ISO 8601
)

doors = Table(
    "doors",  # what people say of a device; one without a row works as well
    metadata,
    Column("device", String(39), ForeignKey("devices.name"), primary_key=True),
    Column("title", String(80), nullable=False),
    Column("site", String(39), ForeignKey("sites.slug")),
    Column("note", Text, nullable=False),
    Column("installed_at", Date),
    Column("plan", JSON),  # null: the device's own setting stands; so for the next two
    Column("sampling", JSON),
    Column("week", JSON),  # other hours than the site's
)
Index("ix_doors_site", doors.c.site)

vitals = Table(
    "vitals",  # more of a device's newest heartbeat, and what is worth remembering of earlier ones
    metadata,
    Column("device", String(39), ForeignKey("devices.name"), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("lag_s", Float),  # from the heartbeat's own time until it was here
    Column("temperature_c", Float),
    Column("coverage_today", Float),
    Column("words", JSON, nullable=False),  # of its trouble
    Column("edgetpu_at", Instant),  # when it last counted on one
    Column("events_lost", BigInteger, nullable=False),
    Column("losing_at", Instant),  # when that last grew
    Column("certificate_ends", Instant),  # of the door's own; null: it does not say
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", String(30), nullable=False),
    Column("subject", String(120), nullable=False),  # a device, or a part of the service
    Column("open", Boolean),  # true or null: at most one is open of each kind and subject
    Column("door", String(39)),
    Column("reason", Text, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("reminded_at", Instant, nullable=False),
    Column("closed_at", Instant),
    UniqueConstraint("kind", "subject", "open"),
)
Index("ix_alerts_opened_at", alerts.c.opened_at)

alert_messages = Table(
    "alert_messages",  # what is on its way to people
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("alert", Uuid, ForeignKey("alerts.id"), nullable=False),
    Column("channel", String(10), nullable=False),
    Column("target", String(400), nullable=False),
    Column("body", JSON, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("next_at", Instant),  # null: it was sent or given up
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("sent_at", Instant),
    Column("error", Text, nullable=False, server_default=""),
)
Index("ix_alert_messages_next_at", alert_messages.c.next_at)

announced = Table(
    "announced",  # doors that Home Assistant was told of
    metadata,
    Column("prefix", String(40), primary_key=True),
    Column("device", String(39), primary_key=True),
)
