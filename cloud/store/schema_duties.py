"""The tables of what servers share: who has which duty, and when what each of them holds comes to an end."""

from sqlalchemy import BigInteger, Column, String, Table

from cloud.store.schema import Instant, metadata

duties = Table(
    "duties",
    metadata,
    Column("duty", String(20), primary_key=True),
    Column("holder", String(100), nullable=False),  # a process; empty: it was given up
    Column("term", BigInteger, nullable=False),  # grows with every holder
    Column("beats", BigInteger, nullable=False),  # grows with the holder's every sign of life
    Column("since", Instant, nullable=False),  # for people, by the holder's clock; so is the next
    Column("beat_at", Instant, nullable=False),
)

endings = Table(
    "endings",  # certificates, signatures, lists
    metadata,
    Column("kind", String(30), primary_key=True),  # of the alert
    Column("subject", String(120), primary_key=True),
    Column("ends_at", Instant, nullable=False),
    Column("told_at", Instant, nullable=False),
)
