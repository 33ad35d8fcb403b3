"""Fetching files over HTTP, continued where they stopped.

A file arrives as NAME.part and is renamed once it is whole and its checksum is right; NAME.part.tag
beside it names the version that was being fetched, so that two versions are never mixed.
"""

import hashlib
import http.client
import logging
import os
import re
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from liif.core.errors import UserError
from liif.core.files import check_room
from liif.core.progress import progress_bar

if sys.platform != "win32":
    import fcntl

log = logging.getLogger("liif")

PAUSES = (1.0, 4.0, 15.0, 60.0)
"""Seconds before each new try of a mirror."""
PROGRESS = 1 << 20
"""Bytes after which a broken connection counts as the first one again."""
CHUNK = 1 << 18

_Response = http.client.HTTPResponse | HTTPError


class _MirrorError(Exception):
    """One mirror did not deliver; `final`: asking it again would not help."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


@dataclass(frozen=True)
class _Wanted:
    """A file on its way, and what is known of it."""

    part: Path
    size: int | None
    checksum: str | None
    copies: int
    """How many times its size the disk must hold."""

    @property
    def tag(self) -> Path:
        return self.part.with_name(f"{self.part.name}.tag")


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
    """Download a file from the first mirror that delivers it; nothing to do if it is there.

    Args:
        urls: mirrors of one file, http or https, in the order in which they are tried.
        target: where it goes. What an interrupted download left beside it is continued.
        size: in bytes, if known.
        checksum: "md5:…" or "sha256:…", if known.
        unpacks: there must be room for as much again.
        pauses: seconds before each new try of a mirror.
        timeout: seconds of silence after which a connection counts as broken.

    Raises:
        UserError: no mirror delivers it (with the reason for each), no room, not writable, or
            another file of that name is there already.
    """
    for url in urls:
        if not re.match("https?://[^/]", url):
            raise UserError(f"{url}: must be an address that starts with http:// or https://")
    part = target.with_name(f"{target.name}.part")
    wanted = _Wanted(part, size, checksum, 2 if unpacks else 1)
    failures: list[str] = []
    try:
        if target.exists():
            with target.open("rb") as file:
                if problem := _mismatch(file, wanted):
                    raise UserError(f"{target}: is there already, but {problem}; move it away")
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(part) as file:
            for url in urls:
                try:
                    _from_mirror(url, file, wanted, pauses, timeout)
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
            wanted.tag.unlink(missing_ok=True)
    except OSError as error:  # those of the network are _MirrorErrors
        raise UserError(
            f"{target}: cannot be written: {error.strerror or error}; what has arrived is kept, "
            "and the same command goes on from there"
        ) from None
    if len(failures) == len(urls):
        raise UserError("\n  ".join([f"{target.name}: no mirror delivers it", *failures]))


@contextmanager
def _locked(part: Path) -> Generator[IO[bytes], None, None]:
    """The file, to read and to append, for one process at a time."""
    with part.open("a+b") as file:
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{part}: another process is downloading it") from None
            except OSError:
                pass  # a network disk without locks
        yield file


def _from_mirror(
    url: str, file: IO[bytes], wanted: _Wanted, pauses: Sequence[float], timeout: float
) -> None:
    """Fetch what is missing from one mirror and check the whole."""
    left, furthest = list(pauses), file.seek(0, os.SEEK_END)
    while True:
        try:
            is_continued = _transfer(url, file, wanted, timeout)
            problem = _mismatch(file, wanted)
            if problem is None:
                return
            file.truncate(0)
            # If it was begun by an earlier connection, that may have been wrong: again from zero.
            raise _MirrorError(problem, final=not is_continued)
        except _MirrorError as error:
            reached = file.seek(0, os.SEEK_END)
            if reached >= furthest + PROGRESS:
                left, furthest = list(pauses), reached
            if error.final or not left:
                raise
            log.info("%s: %s; again in %g s", url, error, left[0])
            time.sleep(left.pop(0))


def _transfer(url: str, file: IO[bytes], wanted: _Wanted, timeout: float) -> bool:
    """One connection: ask for what is missing, append it. Whether there was something before."""
    start, version = file.seek(0, os.SEEK_END), _read_tag(wanted.tag, url)
    if start and start == wanted.size:
        return True
    if start > (wanted.size or start) or not (version or wanted.checksum):
        start = file.truncate(0)
    headers = {"User-Agent": "liif"}
    if start:
        headers |= {"Range": f"bytes={start}-", **({"If-Range": version} if version else {})}
    with _open(Request(url, headers=headers), timeout) as response:
        first, total = _extent(response)
        if response.status == 416 and start and start == total:
            return True  # nothing was missing
        if first not in (0, start):
            file.truncate(0)
            raise _MirrorError("answers with another part than was asked for", final=not start)
        if wanted.size is not None and total not in (None, wanted.size):
            raise _MirrorError(f"holds {total} bytes, expected {wanted.size}", final=True)
        if first == 0:  # also where it cannot continue, or has another version by now
            start = file.truncate(0)
        check_room(wanted.part.parent, (total or 0) * wanted.copies - start)
        _write_tag(wanted.tag, url, response)
        reached = start
        with progress_bar(
            total=total, unit="B", unit_scale=True, initial=start, desc=wanted.part.stem
        ) as bar:
            while chunk := _read(response):
                file.write(chunk)
                bar.update(len(chunk))
                reached += len(chunk)
                if reached > (wanted.size or reached):
                    file.truncate(0)
                    raise _MirrorError(f"sends more than {wanted.size} bytes", final=True)
    if total is not None and reached != total:
        raise _MirrorError(f"the connection broke at {reached} of {total} bytes")
    return start > 0


class _Redirects(HTTPRedirectHandler):
    """To the web only, and not from a secure address to one that is not."""

    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> Request | None:
        if urlsplit(newurl).scheme not in {"https", req.type}:
            raise _MirrorError(f"leads to {newurl}, which is not followed", final=True)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(request: Request, timeout: float) -> _Response:
    """The answer to a request: 2xx or 416."""
    try:
        return build_opener(_Redirects).open(request, timeout=timeout)
    except HTTPError as error:
        if error.code == 416:
            return error
        passing = error.code >= 500 or error.code in (408, 425, 429)
        raise _MirrorError(f"HTTP {error.code} {error.reason}", final=not passing) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _MirrorError(str(getattr(error, "reason", error)) or type(error).__name__) from None


def _read(response: _Response) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _MirrorError(f"the connection broke ({error or type(error).__name__})") from None


def _extent(response: _Response) -> tuple[int | None, int | None]:
    """Where in the file an answer begins, and the size of the whole; None where it does not say."""
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
    """The version of the file that is being fetched from an address, "" if it is not known."""
    if not tag.exists():
        return ""
    of, _, version = tag.read_text(encoding="utf-8").partition("\n")
    return version if of == url else ""


def _write_tag(tag: Path, url: str, response: _Response) -> None:
    etag, date = (response.headers.get(name, "") for name in ("ETag", "Last-Modified"))
    version = date if etag.startswith("W/") else etag or date  # a weak one allows other bytes
    tag.write_text(f"{url}\n{version}", encoding="utf-8")


def _mismatch(file: IO[bytes], wanted: _Wanted) -> str | None:
    """What is wrong with a whole file, if anything is."""
    size = file.seek(0, os.SEEK_END)
    if wanted.size is not None and size != wanted.size:
        return f"it has {size} bytes, expected {wanted.size}"
    if wanted.checksum is None:
        return None
    kind, _, expected = wanted.checksum.partition(":")
    digest = hashlib.new(kind, usedforsecurity=False)
    file.seek(0)
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    found = digest.hexdigest()
    return None if found == expected else f"its {kind} is {found}, expected {expected}"
