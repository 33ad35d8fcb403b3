"""Download files over HTTP; interrupted downloads are resumed.

A file is downloaded to NAME.part and renamed when it is complete and its checksum is correct.
NAME.part.tag names the version on the server, so that two versions are never mixed, and
NAME.part.lock keeps a second process from it.
"""

import hashlib
import logging
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from liif.core.errors import UserError
from liif.core.files import check_room
from liif.core.lock import file_lock
from liif.core.progress import progress_bar

log = logging.getLogger("liif")

PAUSES = (1.0, 4.0, 15.0, 60.0)
"""Seconds before each retry of a mirror."""
PROGRESS = 1 << 20
"""Bytes of progress after which the count of retries starts again."""
CHUNK = 1 << 18

_Response = HTTPResponse | HTTPError
_BROKEN = (OSError, HTTPException, ValueError)  # raised when a connection fails


@dataclass
class _MirrorError(Exception):
    """A failure of one mirror; `final` if a retry would not help."""

    reason: str
    final: bool = False

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class _Download:
    """A file that is being downloaded."""

    part: Path
    tag: Path
    size: int | None
    checksum: str | None
    unpacks: bool


def fetch(
    urls: Sequence[str],
    target: Path,
    *,
    size: int | None = None,
    checksum: str | None = None,
    unpacks: bool = False,
    pauses: Sequence[float] = PAUSES,
    timeout: float = 30,
) -> None:
    """Download a file from the first mirror that works; do nothing if the file exists.

    Args:
        urls: http(s) addresses of the file, in the order in which they are tried.
        target: the file to write. An interrupted download of it is resumed.
        size: number of bytes, if known.
        checksum: "md5:…" or "sha256:…", if known.
        unpacks: require room for a second, unpacked copy.
        pauses: seconds before each retry of a mirror.
        timeout: seconds without data after which a connection counts as broken.

    Raises UserError if all mirrors fail (the message gives each reason), the disk is full or not
    writable, or `target` is a different file.
    """
    for url in urls:
        if not re.match("https?://[^/]", url):
            raise UserError(f"{url}: must be an address that starts with http:// or https://")
    part, tag = (target.with_name(f"{target.name}.{end}") for end in ("part", "part.tag"))
    download = _Download(part, tag, size, checksum, unpacks)
    failures: list[str] = []
    try:
        if target.exists():
            with target.open("rb") as file:
                if problem := _mismatch(file, download):
                    raise UserError(f"{target}: exists already, but {problem}; move it away")
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = target.with_name(f"{target.name}.part.lock")
        with file_lock(lock) as is_held, part.open("a+b") as file:
            if is_held is False:
                raise UserError(f"{part}: another process is downloading it")
            for url in urls:
                try:
                    _from_mirror(url, file, download, pauses, timeout)
                    break
                except _MirrorError as error:
                    failures.append(f"{url}: {error}")
                    if len(failures) < len(urls):
                        log.warning("%s; trying %s", failures[-1], urls[len(failures)])
        if len(failures) < len(urls):
            os.replace(part, target)
        elif part.stat().st_size == 0:
            part.unlink()
        if not part.exists():
            tag.unlink(missing_ok=True)
            lock.unlink(missing_ok=True)
    except OSError as error:  # of files; those of the network are _MirrorErrors
        raise UserError(
            f"{target}: cannot be written: {error.strerror or error}; the downloaded part is kept, "
            "and the same command resumes it"
        ) from None
    if len(failures) == len(urls):
        summary = f"{target.name}: cannot be downloaded from any mirror"
        raise UserError("\n  ".join([summary, *failures]))


def _from_mirror(
    url: str, file: IO[bytes], download: _Download, pauses: Sequence[float], timeout: float
) -> None:
    """Download the missing part from one mirror and check the complete file."""
    left, furthest = list(pauses), file.seek(0, os.SEEK_END)
    while True:
        try:
            is_continued = _transfer(url, file, download, timeout)
            if (problem := _mismatch(file, download)) is None:
                return
            file.truncate(0)
            # The part of an earlier connection may have been wrong: start again from zero.
            raise _MirrorError(problem, final=not is_continued)
        except _MirrorError as error:
            reached = file.seek(0, os.SEEK_END)
            if reached >= furthest + PROGRESS:
                left, furthest = list(pauses), reached
            if error.final or not left:
                raise
            log.info("%s: %s; again in %g s", url, error, left[0])
            time.sleep(left.pop(0))


def _transfer(url: str, file: IO[bytes], download: _Download, timeout: float) -> bool:
    """Request the missing part and append it; return whether there was an earlier part."""
    start, version = file.seek(0, os.SEEK_END), _read_tag(download.tag, url)
    if start and start == download.size:
        return True
    if start > (download.size or start) or not (version or download.checksum):
        start = file.truncate(0)
    headers = {"User-Agent": "liif"}
    if start:
        headers |= {"Range": f"bytes={start}-", **({"If-Range": version} if version else {})}
    with _open(Request(url, headers=headers), timeout) as response:
        first, total = _extent(response)
        if response.status == 416 and start and start == total:
            return True  # nothing is missing
        if first not in (0, start):
            file.truncate(0)
            raise _MirrorError("does not send the requested part of the file", final=not start)
        if download.size is not None and total not in (None, download.size):
            raise _MirrorError(f"holds {total} bytes, expected {download.size}", final=True)
        if first == 0:  # also if it cannot resume or has a new version
            start = file.truncate(0)
        check_room(download.part.parent, (total or 0) * (1 + download.unpacks) - start)
        etag, date = (response.headers.get(name, "") for name in ("ETag", "Last-Modified"))
        version = date if etag.startswith("W/") else etag or date  # W/… does not identify the bytes
        download.tag.write_text(f"{url}\n{version}", encoding="utf-8")
        reached, name = start, download.part.stem
        with progress_bar(total=total, unit="B", unit_scale=True, initial=start, desc=name) as bar:
            while chunk := _read(response):
                file.write(chunk)
                bar.update(len(chunk))
                reached += len(chunk)
                if reached > (download.size or reached):
                    file.truncate(0)
                    raise _MirrorError(f"sends more than {download.size} bytes", final=True)
    if total is not None and reached != total:
        raise _MirrorError(f"the connection broke at {reached} of {total} bytes")
    return start > 0


class _Redirects(HTTPRedirectHandler):
    """Follow redirects to http and https only, and not from https to http."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme not in {"https", req.type}:
            raise _MirrorError(f"redirects to {newurl}, which is not allowed", final=True)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(request: Request, timeout: float) -> _Response:
    """Return the response to a request, with status 2xx or 416."""
    try:
        return build_opener(_Redirects).open(request, timeout=timeout)
    except HTTPError as error:
        if error.code == 416:
            return error
        passing = error.code >= 500 or error.code in (408, 425, 429)
        raise _MirrorError(f"HTTP {error.code} {error.reason}", final=not passing) from None
    except _BROKEN as error:
        raise _MirrorError(str(getattr(error, "reason", error)) or type(error).__name__) from None


def _read(response: _Response) -> bytes:
    try:
        return response.read(CHUNK)
    except _BROKEN as error:
        raise _MirrorError(f"the connection broke ({error or type(error).__name__})") from None


def _extent(response: _Response) -> tuple[int | None, int | None]:
    """Return the first byte's position of a response and the size of the file; None if unknown."""
    if response.status == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    stated = response.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", stated)
    if response.status not in (206, 416) or found is None:
        return None, None
    first, total = (None if number is None else int(number) for number in found.groups())
    return first, total


def _read_tag(tag: Path, url: str) -> str:
    """Return the version of the partial file if it came from this address; "" if unknown."""
    text = tag.read_text(encoding="utf-8") if tag.exists() else ""
    source, _, version = text.partition("\n")
    return version if source == url else ""


def _mismatch(file: IO[bytes], download: _Download) -> str | None:
    """Return what is wrong with a complete file; None if nothing is."""
    size = file.seek(0, os.SEEK_END)
    if download.size is not None and size != download.size:
        return f"it has {size} bytes, expected {download.size}"
    if download.checksum is None:
        return None
    kind, _, expected = download.checksum.partition(":")
    digest = hashlib.new(kind, usedforsecurity=False)
    file.seek(0)
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    found = digest.hexdigest()
    return None if found == expected else f"its {kind} is {found}, expected {expected}"
