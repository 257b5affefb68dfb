"""The bundle's archive: the same files give the same bytes.

Names are sorted; times, modes and the system that made it are constants; so is the compression.
(zlib's output may differ between its implementations: ``content_sha256`` does not.)

Spec: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import hashlib
import stat
import zipfile
from base64 import b64encode
from collections.abc import Mapping
from io import BytesIO

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the format knows no earlier time, and none with a zone
_UNIX = 3
_READ_BY_ALL = (stat.S_IFREG | 0o644) << 16  # Lambda runs functions as a user of its own
_COMPRESSION_LEVEL = 6  # 9 takes several times as long for 0.8 % less


def write_archive(files: Mapping[str, bytes]) -> bytes:
    """Return a ``.zip`` of *files*: path, with slashes → contents."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            info = zipfile.ZipInfo(path, _EARLIEST)
            info.create_system = _UNIX
            info.external_attr = _READ_BY_ALL
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, files[path], compresslevel=_COMPRESSION_LEVEL)
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    """Return the digest as ``sha256sum`` prints it."""
    return hashlib.sha256(data).hexdigest()


def code_sha256(data: bytes) -> str:
    """Return the digest as AWS Lambda shows it: ``CodeSha256`` of a function's configuration.

    https://docs.aws.amazon.com/lambda/latest/api/API_FunctionConfiguration.html
    """
    return b64encode(hashlib.sha256(data).digest()).decode("ascii")


def content_sha256(files: Mapping[str, bytes]) -> str:
    """Return a digest of paths and contents, whatever compressed them."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path}\0{hashlib.sha256(files[path]).hexdigest()}\n".encode())
    return digest.hexdigest()
