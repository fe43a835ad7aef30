"""Sends a message by e-mail, over TLS unless the server is this machine."""

import smtplib
import ssl
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Literal

from contract.errors import ContractError, TryAgainError

WAIT_S = 10.0


class NotMailedError(TryAgainError):
    """The mail server did not take it; the message says why."""


@dataclass(frozen=True, slots=True)
class Mailer:
    """One message to one person at a time."""

    host: str
    port: int
    tls: Literal["starttls", "tls", "none"]
    sender: str
    context: ssl.SSLContext
    user: str = ""
    password: str = ""

    def send(self, to: str, subject: str, text: str, message_id: str, now: datetime) -> None:
        """Raises NotMailedError."""
        message = EmailMessage()
        message["From"], message["To"] = self.sender, to
        message["Subject"] = " ".join(subject.split())
        message["Date"] = format_datetime(now)
        message["Message-ID"] = f"<{message_id}@{self.sender.partition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        try:
            with self._connect() as server:
                if self.tls == "starttls":
                    server.starttls(context=self.context)  # refuses where the server cannot
                if self.user:
                    server.login(self.user, self.password)
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            raise NotMailedError(f"the mail server {self.host}: {_why(error)}") from error

    def _connect(self) -> smtplib.SMTP:
        if self.tls == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=WAIT_S, context=self.context)
        return smtplib.SMTP(self.host, self.port, timeout=WAIT_S)


def read_password(path: Path | None) -> str:
    """The file's first line. Raises ContractError where it cannot be read."""
    if path is None:
        return ""
    try:
        return path.read_text().splitlines()[0] if path.stat().st_size else ""
    except (OSError, ValueError) as error:
        raise ContractError(f"cannot read alerts.smtp_password {path}: {error}") from error


def _why(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, said = next(iter(error.recipients.values()))
        return f"refuses the recipient: {code} {said.decode(errors='replace')}"[:200]
    if isinstance(error, smtplib.SMTPResponseException):
        raw: bytes | str = error.smtp_error
        return f"{error.smtp_code} {raw.decode(errors='replace') if isinstance(raw, bytes) else raw}"[:200]
    return str(getattr(error, "strerror", None) or error or type(error).__name__)[:200]
