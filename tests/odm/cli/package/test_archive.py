from __future__ import annotations

import hashlib
import zipfile
from io import BytesIO

from odm.cli.package.archive import code_sha256, content_sha256, sha256, write_archive

FILES = {"b/c.py": b"c = 1\n" * 100, "a.py": b"a = 1\n", "b/__init__.py": b""}


def test_the_same_files_give_the_same_bytes_in_whatever_order_they_come() -> None:
    assert write_archive(FILES) == write_archive(dict(sorted(FILES.items())))
    assert content_sha256(FILES) == content_sha256(dict(sorted(FILES.items())))


def test_names_times_and_modes_are_fixed() -> None:
    with zipfile.ZipFile(BytesIO(write_archive(FILES))) as archive:
        entries = archive.infolist()
        assert archive.read("b/c.py") == FILES["b/c.py"]
    assert [each.filename for each in entries] == ["a.py", "b/__init__.py", "b/c.py"]
    assert {each.date_time for each in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {oct(each.external_attr >> 16) for each in entries} == {"0o100644"}
    assert {each.create_system for each in entries} == {3}


def test_a_digest_of_the_contents_notices_names_and_bytes() -> None:
    digests = {
        content_sha256(FILES),
        content_sha256({**FILES, "a.py": b"a = 2\n"}),
        content_sha256({"z.py" if path == "a.py" else path: FILES[path] for path in FILES}),
    }
    assert len(digests) == 3


def test_digests_are_written_as_their_readers_do() -> None:
    assert sha256(b"") == hashlib.sha256(b"").hexdigest()
    # What AWS Lambda says of an empty string's worth of code.
    assert code_sha256(b"") == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
