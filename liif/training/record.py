"""record.json in a run folder: what is needed to repeat the run, one entry for each start."""

import hashlib
import json
import logging
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from liif.core.errors import UserError
from liif.core.files import to_json, write_atomically
from liif.core.hardware import device_name
from liif.images.rgb8 import list_images

PACKAGES = ("liif", "torch", "torchvision", "numpy", "pillow")
LARGEST_PATCH = 2**20
"""Bytes of a diff that are kept."""
GIT_TIMEOUT = 20.0
"""Seconds."""
SAMPLED_FILES = 1000
"""Most files of a folder whose bytes are compared."""

log = logging.getLogger("liif")
Entry = dict[str, Any]


def write_record(
    folder: Path,
    *,
    config: str,
    seed: int,
    data: Mapping[str, Entry],
    device: torch.device,
    processes: int = 1,
    branch_of: Path | None = None,
) -> None:
    """Append this start of a run to record.json in its folder. Any failure is only a warning.

    Args:
        config: the resolved configuration as YAML.
        data: a `fingerprint` for each dotted key of the configuration that names data.
        branch_of: the checkpoint that a new branch starts from.
    """
    try:
        file = folder / "record.json"
        entries = read_record(folder)
        if not entries and file.exists():
            file.replace(folder / "record.damaged.json")
        entry = {
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": shlex.join([Path(sys.executable).name, *sys.argv]),
            "folder": os.getcwd(),
            "config": _digest(config.encode()),
            "seed": seed,
            "git": _git_state(folder, entries),
            "versions": _versions(),
            "device": device_name(device),
            "threads": torch.get_num_threads(),
            "processes": processes,
            "host": platform.node(),
            "data": dict(data),
            "branch_of": None if branch_of is None else os.path.abspath(branch_of),
        }
        content = to_json([*entries, entry], indent=1) + "\n"
        write_atomically(file, content.encode("utf-8", "backslashreplace"))
    except Exception as error:
        log.warning("%s: no record of this start: %s", folder, error)


def read_record(folder: Path) -> list[Entry]:
    """Return the starts of a run, oldest first; none if the record is missing or damaged."""
    try:
        entries: Any = json.loads((folder / "record.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    is_ours = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    return entries if is_ours else []


def is_recorded(found: Entry, recorded: Entry) -> bool:
    """Return whether data is the same as recorded; version 0.1 recorded no `sample`."""
    same = [found.get(key) == recorded.get(key, found.get(key)) for key in ("digest", "sample")]
    return "digest" in found and "digest" in recorded and all(same)


def recorded_data(folder: Path) -> dict[str, Entry]:
    """Return the fingerprints of the data at the last start of a run, by dotted key."""
    try:
        data: Any = read_record(folder)[-1]["data"]
        return {str(key): found for key, found in data.items() if "digest" in found}
    except (LookupError, TypeError, AttributeError):
        return {}


def recorded_threads(folder: Path) -> int | None:
    """Return the number of threads at the first start of a run; None where it is not recorded."""
    threads: Any = next(iter(read_record(folder)), {}).get("threads")
    return threads if isinstance(threads, int) and threads > 0 else None


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except ImportError:  # used without having been installed
            found[name] = None
    return dict(found, cuda=torch.version.cuda, platform=platform.platform())


def _git_state(folder: Path, before: list[Entry]) -> Entry | None:
    """Return commit and changes of the repository of the package, else of the current directory;
    None without git. The diff goes to dirty-N.patch unless an earlier start wrote the same one."""
    for place in (Path(__file__).parent, Path.cwd()):
        commit = _git(place, "rev-parse", "HEAD")
        if commit is None:
            continue
        root = Path(os.fsdecode(_git(place, "rev-parse", "--show-toplevel") or b"").rstrip("\n"))
        # Run at the root: in a sub-folder, status may cover less than diff.
        diff = _git(root, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD") or b""
        status = _git(root, "status", "--porcelain") or b""
        state: Entry = {
            "commit": commit.decode().strip(),
            "repository": str(root),
            "changed": status.decode("utf-8", "replace").splitlines()[:100],
            "diff": _digest(diff) if diff else None,
            "diff_bytes": len(diff),
            "patch": None,
        }
        if diff:
            state["patch"] = _same_patch(state["diff"], before) or f"dirty-{len(before) + 1}.patch"
            if not (folder / state["patch"]).exists():
                write_atomically(folder / state["patch"], diff[:LARGEST_PATCH])
        return state
    return None


def _same_patch(digest: str, before: list[Entry]) -> str | None:
    states = [entry.get("git") or {} for entry in before]
    return next((state["patch"] for state in states if state.get("diff") == digest), None)


def _git(place: Path, *command: str) -> bytes | None:
    """Return git's output; None if there is no git, no repository, or no answer in time."""
    try:
        return subprocess.run(
            ["git", "--no-optional-locks", "-C", str(place), *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_TIMEOUT,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def fingerprint(path: Path) -> Entry:
    """Return what identifies a folder of images, or a file.

    `digest` covers the names and sizes of the files and `sample` some of their bytes, so that a
    copy has the same; `newest` is when one of them was last written. Where nothing can be read
    there is only `path` and `error`.
    """
    try:
        files = [path] if path.is_file() else list_images(path)
        root = path if path.is_dir() else path.parent
        stats = [file.stat() for file in files]
        step = -(-len(files) // SAMPLED_FILES)
        sample = b"".join(_ends(file) for file in files[::step])
    except (OSError, UserError) as error:
        return {"path": str(path), "error": str(error)}
    names = [file.relative_to(root).as_posix() for file in files]
    rows = [[name, s.st_size] for name, s in zip(names, stats, strict=True)]
    newest = datetime.fromtimestamp(max(s.st_mtime for s in stats), timezone.utc)
    return {
        "path": os.path.abspath(path),
        "files": len(files),
        "bytes": sum(s.st_size for s in stats),
        "digest": _digest(json.dumps(rows).encode()),
        "sample": _digest(sample),
        "newest": newest.isoformat(timespec="seconds"),
    }


def _ends(file: Path) -> bytes:
    """Return a digest of the first and the last bytes of a file."""
    with file.open("rb") as opened:
        first = opened.read(4096)
        opened.seek(max(0, file.stat().st_size - 4096))
        return _digest(first + opened.read()).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
