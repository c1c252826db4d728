"""The development certificate authority: it signs certificates for servers on this machine.

It is made on first use and kept in the user's data folder (XDG Base Directory Specification). Only
the owner can read its key.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stretta.errors import UsageError

__all__ = ["data_folder", "own_certificate"]

VALID = dt.timedelta(days=364)
"""The lifetime of a certificate; many clients refuse more than 398 days."""

RENEW = dt.timedelta(days=30)
"""A certificate that expires within this time is replaced."""


def data_folder() -> Path:
    """Return the folder of the user's data."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "stretta"


def own_certificate(names: Sequence[str]) -> tuple[str, str]:
    """Return the files of a certificate for these names and addresses, and of its authority.

    Make them if they are missing. Raises UsageError when that fails.
    """
    try:
        import trustme  # noqa: PLC0415 - an extra
    except ImportError:
        raise UsageError(
            "cannot make a certificate",
            "the package trustme is not installed",
            "Install it: pip install 'stretta[tls]', or give a certificate: --tls-cert FILE",
        ) from None
    folder = data_folder()
    ca_file, key_file, leaf_file = (folder / n for n in ("ca.pem", "ca.key", "server.pem"))
    names = sorted(set(names))
    try:
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        if ca_file.exists() and key_file.exists():
            authority = trustme.CA.from_pem(ca_file.read_bytes(), key_file.read_bytes())
        else:
            authority = trustme.CA(organization_name="Stretta on this machine")
            _write_private(key_file, authority.private_key_pem.bytes())
            _write_private(ca_file, authority.cert_pem.bytes())
            leaf_file.unlink(missing_ok=True)
        if not _still_good(leaf_file, names):
            now = dt.datetime.now(dt.UTC)
            leaf = authority.issue_cert(
                *names,
                organization_name="Stretta on this machine",
                organization_unit_name="server",
                not_before=now - dt.timedelta(days=1),  # some clocks are behind
                not_after=now + VALID,
            )
            _write_private(leaf_file, leaf.private_key_and_cert_chain_pem.bytes())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot keep a certificate in {folder}",
            str(error),
            "Give one: --tls-cert FILE --tls-key FILE, or another folder in XDG_DATA_HOME.",
        ) from error
    return str(leaf_file), str(ca_file)


def _write_private(path: Path, data: bytes) -> None:
    """Write a file atomically; only its owner may read it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)


def _still_good(leaf: Path, names: Sequence[str]) -> bool:
    """Return whether a certificate exists, covers these names, and does not expire soon."""
    from cryptography import x509  # noqa: PLC0415 - it comes with trustme

    if not leaf.exists():
        return False
    certificate = x509.load_pem_x509_certificate(leaf.read_bytes())
    covered: Any = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    known = {str(name.value) for name in covered}
    left = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
    return known.issuperset(names) and left > RENEW
