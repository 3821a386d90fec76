"""The tables. A change here needs a migration in ``migrations/versions``."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Base of the tables."""


class RunRow(Base):
    """One run; its results are rows of their own, so that finished work survives anything."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    created: Mapped[str] = mapped_column(String(32), index=True)
    name: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(16))
    verdict: Mapped[str] = mapped_column(String(16), default="")
    #: `crenel.run.RunInfo` of its beginning, as JSON.
    info: Mapped[str] = mapped_column(Text)
    #: What to measure, as JSON: enough to continue or repeat the run.
    job: Mapped[str] = mapped_column(Text)
    #: `crenel.run.Run` as JSON, once the run has ended; empty while it runs.
    record: Mapped[str] = mapped_column(Text, default="")


class ResultRow(Base):
    """How one check ended on one target."""

    __tablename__ = "results"
    __table_args__ = (UniqueConstraint("run_id", "target", "check_id"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), index=True)
    target: Mapped[str] = mapped_column(String(200))
    check_id: Mapped[str] = mapped_column(String(32))
    #: `crenel.auditor.execute.Result` as JSON.
    body: Mapped[str] = mapped_column(Text)


class BaselineRow(Base):
    """A named run."""

    __tablename__ = "baselines"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))


class AcceptedRow(Base):
    """A risk that somebody accepted: who, why, until when."""

    __tablename__ = "accepted"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    fingerprint: Mapped[str] = mapped_column(String(32), index=True)
    owner: Mapped[str] = mapped_column(String(200))
    reason: Mapped[str] = mapped_column(Text)
    #: ISO date, the last day on which it holds.
    until: Mapped[str] = mapped_column(String(10))
    #: Of the finding when it was accepted; empty: any.
    severity: Mapped[str] = mapped_column(String(16), server_default="", default="")
