"""AWS Signature Version 4 for one request again and again: a POST to one URL.

The SDK signs whatever request it is given, which costs a sixth of what a caller computes for a
command. Here method, URL and the signed headers never change but for the date and the token, so all
that does not depend on the payload is made beforehand, and the key once a day. The tests hold it
against ``botocore.auth.SigV4Auth``. Credentials, and when they are refreshed, remain the SDK's.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Protocol
from urllib.parse import quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Keys(Protocol):
    """The SDK's frozen credentials."""

    @property
    def access_key(self) -> str | None:
        """Identifies the secret key."""
        ...

    @property
    def secret_key(self) -> str | None:
        """Never sent."""
        ...

    @property
    def token(self) -> str | None:
        """The session token of temporary credentials."""
        ...


class Signer:
    """Signs POST requests to one URL.

    Args:
        url: with its path and query encoded, the query's parameters in the order of their names.
        region: of the service.
        service: its name in signatures, e.g. ``lambda``.
    """

    def __init__(self, url: str, region: str, service: str) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        if parts.port is not None and parts.port != _DEFAULT_PORTS.get(parts.scheme):
            host = f"{host}:{parts.port}"
        # For all services but S3 a path's encoding is encoded once more.
        path = quote(parts.path or "/", safe="/~")
        self._head = f"POST\n{path}\n{parts.query}\nhost:{host}\nx-amz-date:"
        self._region = region
        self._service = service
        self._key_of: tuple[str, str] = ("", "")
        self._key = b""

    def headers(self, keys: Keys, payload: bytes, now: float | None = None) -> dict[str, str]:
        """Return the headers that make a request with *payload* a signed one.

        Args:
            keys: credentials.
            payload: the request's body.
            now: when it is sent (epoch, s); by default now.
        """
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        day = date[:8]
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        headers = {"X-Amz-Date": date}
        # Signed without the blanks around it, so sent without them: a file's line end is one.
        if session := (keys.token or "").strip():
            headers["X-Amz-Security-Token"] = session
            token = f"x-amz-security-token:{session}\n"
            names = "host;x-amz-date;x-amz-security-token"
        else:
            token, names = "", "host;x-amz-date"
        digest = hashlib.sha256(payload).hexdigest()
        request = f"{self._head}{date}\n{token}\n{names}\n{digest}"
        hashed = hashlib.sha256(request.encode()).hexdigest()
        signature = hmac.digest(
            self._signing_key(keys.secret_key or "", day),
            f"{_ALGORITHM}\n{date}\n{scope}\n{hashed}".encode(),
            "sha256",
        ).hex()
        headers["Authorization"] = (
            f"{_ALGORITHM} Credential={(keys.access_key or '').strip()}/{scope}, "
            f"SignedHeaders={names}, "
            f"Signature={signature}"
        )
        return headers

    def _signing_key(self, secret: str, day: str) -> bytes:
        if self._key_of != (secret, day):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key, self._key_of = key, (secret, day)
        return self._key
