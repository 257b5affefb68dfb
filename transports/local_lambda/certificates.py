"""Certificates for TLS on loopback: made when the local Lambda is opened, gone when it is closed.

Owns a certificate authority, whose private key is never written and forgotten as soon as it has
signed the one certificate; and the file with the authority's own certificate, which callers are
told to trust. Keys are of ECDSA over P-256: the cheapest handshake for both ends.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from transports.errors import MissingExtra

try:
    import trustme
except ModuleNotFoundError as error:
    raise MissingExtra("TLS of transports.local_lambda", "trustme", "local") from error

CA_FILE = "ca.pem"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Certificates:
    """What a server needs for TLS, and what its callers need.

    Attributes:
        context: the server's.
        ca_bundle: the file that callers trust, what AWS's SDKs take as ``AWS_CA_BUNDLE``.
    """

    context: ssl.SSLContext
    ca_bundle: Path


def make_certificates(host: str, directory: Path) -> Certificates:
    """Make a certificate for *host* and loopback's other names.

    Args:
        host: the address that is listened on.
        directory: a private one, where the authority's certificate is written.

    Raises:
        OSError: nothing can be written there.
    """
    authority = trustme.CA(path_length=0, organization_name="local Lambda")
    certificate = authority.issue_cert(*dict.fromkeys((host, *_LOOPBACK)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # OpenSSL reads a key from a file only; this one is readable by its owner, and removed at once.
    with certificate.private_key_and_cert_chain_pem.tempfile(dir=str(directory)) as path:
        context.load_cert_chain(path)
    ca_bundle = directory / CA_FILE
    ca_bundle.touch(mode=0o600, exist_ok=False)
    ca_bundle.write_bytes(authority.cert_pem.bytes())
    return Certificates(context, ca_bundle)
