"""The local certificate authority: it signs certificates for servers on this machine.

It is made on first use and kept in the user's data folder (XDG Base Directory Specification). Only
the owner can read its key. A client that trusts it trusts little: it can sign for the names and
networks of this machine only (RFC 5280 section 4.2.1.10), and no further authority.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import ipaddress
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stretta.errors import UsageError
from stretta.net.interfaces import local_networks
from stretta.net.tls import AUTHORITY_NAME, data_folder

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    Constraints = list[x509.GeneralName]

__all__ = ["own_certificate"]

AUTHORITY_LIFETIME = dt.timedelta(days=3650)

LIFETIME = dt.timedelta(days=364)
"""The lifetime of a certificate; many clients refuse more than 398 days, or 825."""

RENEW = dt.timedelta(days=30)
"""A certificate that expires within this time is replaced."""


def own_certificate(names: Sequence[str]) -> tuple[str, str]:
    """Return the files of a certificate for these names and addresses, and of its authority.

    Make them if they are missing, expire soon, or do not cover the names. Raises UsageError when
    that fails.
    """
    try:
        import cryptography  # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise UsageError(
            "cannot make a certificate",
            "the package cryptography is not installed",
            "Install it: pip install 'stretta[tls]', or give a certificate: --tls-cert FILE",
        ) from None
    folder = data_folder()
    ca_file, key_file, leaf_file = (folder / n for n in ("ca.pem", "ca.key", "server.pem"))
    names = sorted(set(names))
    try:
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        with _locked(folder / "lock"):
            authority = _load_authority(ca_file, key_file)
            if authority is None or not _may_sign(authority[0], names):
                authority = _make_authority(names)
                _write_private(key_file, _pem_of_key(authority[1]))
                _write_private(ca_file, _pem_of(authority[0]))
                leaf_file.unlink(missing_ok=True)
            if not _is_good(leaf_file, names):
                _write_private(leaf_file, _issue(*authority, names))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot keep a certificate in {folder}",
            str(error),
            "Give one: --tls-cert FILE --tls-key FILE, or another folder in XDG_DATA_HOME.",
        ) from error
    return str(leaf_file), str(ca_file)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of the folder: two first starts must agree on one authority (flock(2))."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _load_authority(
    ca_file: Path, key_file: Path
) -> tuple[x509.Certificate, EllipticCurvePrivateKey] | None:
    """Return the authority that was made before; None if there is none that fits."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    if not (ca_file.exists() and key_file.exists()):
        return None
    certificate = x509.load_pem_x509_certificate(ca_file.read_bytes())
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    left = certificate.not_valid_after_utc - _now()
    if not isinstance(key, ec.EllipticCurvePrivateKey) or left < RENEW + LIFETIME:
        return None
    return certificate, key


def _may_sign(authority: x509.Certificate, names: Sequence[str]) -> bool:
    """Return whether an authority is constrained as this version does it, and covers the names."""
    from cryptography import x509  # noqa: PLC0415

    try:
        basic = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
        found = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:  # an early version made it
        return False
    return basic.path_length == 0 and all(_covers(found, name) for name in names)


def _covers(constraints: x509.NameConstraints, name: str) -> bool:
    address = _address(name)
    for permitted in constraints.permitted_subtrees or ():
        value = permitted.value
        if address is not None:
            if not isinstance(value, str) and address in value:
                return True
        elif isinstance(value, str) and (name == value or name.endswith(f".{value}")):
            return True
    return False


def _make_authority(names: Sequence[str]) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    """Return a new authority for this machine: its certificate and key."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name("local authority")
    builder = (
        _builder(subject, subject, key, AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(_permitted(names), None), critical=True)
    )
    return builder.sign(key, hashes.SHA256()), key


def _permitted(names: Sequence[str]) -> Constraints:
    """Return the names and networks of this machine, and the names that are asked for."""
    from cryptography import x509  # noqa: PLC0415

    networks = {ipaddress.ip_network(text, strict=False) for text in local_networks()}
    hosts = {"localhost"}
    for name in names:
        address = _address(name)
        if address is None:
            hosts.add(name)
        elif not any(address in network for network in networks):
            networks.add(ipaddress.ip_network(address))
    return [
        *(x509.DNSName(host) for host in sorted(hosts)),
        *(x509.IPAddress(network) for network in sorted(networks, key=str)),
    ]


def _issue(
    authority: x509.Certificate, authority_key: EllipticCurvePrivateKey, names: Sequence[str]
) -> bytes:
    """Return a certificate for the names, its key and its authority, in PEM form."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import ExtendedKeyUsageOID  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    general: Constraints = []
    for name in names:
        address = _address(name)
        general.append(x509.DNSName(name) if address is None else x509.IPAddress(address))
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    builder = (
        _builder(_name("server"), authority.subject, key, LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(usage, critical=False)
        .add_extension(x509.SubjectAlternativeName(general), critical=False)
        .add_extension(identifier, critical=False)
    )
    certificate = builder.sign(authority_key, hashes.SHA256())
    return _pem_of_key(key) + _pem_of(certificate) + _pem_of(authority)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, lifetime: dt.timedelta
) -> x509.CertificateBuilder:
    from cryptography import x509  # noqa: PLC0415

    return x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=_now() - dt.timedelta(days=1),  # some clocks are behind
        not_valid_after=_now() + lifetime,
    ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509  # noqa: PLC0415

    return x509.KeyUsage(
        digital_signature=not signs_certificates, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=signs_certificates,
        crl_sign=signs_certificates, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _name(unit: str) -> x509.Name:
    from cryptography import x509  # noqa: PLC0415

    return x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, AUTHORITY_NAME),
            x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        ]
    )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _pem_of(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_of_key(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write_private(path: Path, data: bytes) -> None:
    """Write a file atomically; only its owner may read it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)


def _is_good(leaf: Path, names: Sequence[str]) -> bool:
    """Return whether a certificate exists, covers these names, and does not expire soon."""
    from cryptography import x509  # noqa: PLC0415

    if not leaf.exists():
        return False
    certificate = x509.load_pem_x509_certificate(leaf.read_bytes())
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    known = {str(name.value) for name in found}
    return known.issuperset(names) and certificate.not_valid_after_utc - _now() > RENEW
