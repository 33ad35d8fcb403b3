"""Unpacking of archives: malicious, damaged and too large ones; nothing is left half-unpacked."""

import io
import os
import tarfile
import zipfile

import pytest
from helpers.archives import tree, zipped
from helpers.faulty_server import CONTENT

from liif.core.errors import UserError
from liif.data.unpack import unpack


def tarred(path, *members, mode="w:gz"):
    """Members: (name, content) or a TarInfo."""
    with tarfile.open(path, mode) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            tar.addfile(info, io.BytesIO(member[1]))
    return path


def special(kind, target="/etc/passwd"):
    info = tarfile.TarInfo("images/link")
    info.type, info.linkname = kind, target
    return info


def zip_link(path):
    info = zipfile.ZipInfo("images/link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr(info, "/etc/passwd")
    return path


@pytest.mark.parametrize("mode", ["zip", "w:", "w:gz", "w:xz"])
def test_archives_are_unpacked(tmp_path, mode):
    content = {"images/a": b"1", "images/deep/b": b"2" * 5000}
    path = tmp_path / "archive"
    if mode == "zip":
        zipped(path, **{"images/": b""}, **content)
    else:
        folder = tarfile.TarInfo("./images")
        folder.type = tarfile.DIRTYPE
        tarred(path, folder, *content.items(), mode=mode)
    unpack(path, tmp_path / "out")
    assert tree(tmp_path / "out") == content
    (tmp_path / "out" / "images" / "a").unlink()
    (tmp_path / "out" / "images" / "mine").write_bytes(b"3")
    unpack(path, tmp_path / "out")
    assert tree(tmp_path / "out") == {**content, "images/mine": b"3"}
    assert os.listdir(tmp_path / "out") == ["images"]


OUTSIDE = ["../x", "images/../../x", "/tmp/x", "..\\x", "C:\\x", "C:x", "\\\\host\\x"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        *((lambda path, n=name: zipped(path, **{"ok": b"1", n: b"2"}), "outside the folder")
          for name in OUTSIDE),
        *((lambda path, n=name: tarred(path, ("ok", b"1"), (n, b"2")), "outside the folder")
          for name in OUTSIDE),
        (zip_link, "images/link is a link or a device"),
        *((lambda path, k=kind: tarred(path, ("images/ok", b"1"), special(k)), "is a link or a dev")
          for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE,
                       tarfile.FIFOTYPE)),
        (lambda path: zipped(path, a=bytes(3 * 2**20)), "unpacks to more than"),
        (lambda path: tarred(path, ("a", bytes(3 * 2**20))), "unpacks to more than"),
        (lambda path: path.write_bytes(b"no archive") and path, "damaged"),
        (lambda path: path.write_bytes(b"") or path, "damaged"),
    ],
)  # fmt: skip
def test_archives_that_are_refused(tmp_path, make, said):
    path = make(tmp_path / "archive")
    before = tree(tmp_path)
    with pytest.raises(UserError, match="archive: ") as caught:
        unpack(path, tmp_path / "out")
    assert said in str(caught.value)
    assert tree(tmp_path) == before, "not one file of it"
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize("kind", ["zip", "w:", "w:gz", "w:xz"])
@pytest.mark.parametrize("harm", ["cut", "flip"])
def test_damaged_archives(tmp_path, kind, harm):
    if kind == "zip":
        path = zipped(tmp_path / "archive", **{"images/a": CONTENT, "images/b": CONTENT})
    else:
        members = ("images/a", CONTENT), ("images/b", CONTENT)
        path = tarred(tmp_path / "archive", *members, mode=kind)
    data = bytearray(path.read_bytes())
    if harm == "cut":
        del data[len(data) // 2 :]
    else:  # a plain tar has checksums of its headers only
        data[10 if kind == "w:" else len(data) // 4] ^= 255
    path.write_bytes(data)
    with pytest.raises(UserError, match="archive: "):
        unpack(path, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_a_file_of_the_user_is_not_overwritten(tmp_path):
    path = zipped(tmp_path / "archive", **{"images/a": b"1", "images/b": b"2"})
    (tmp_path / "out" / "images").mkdir(parents=True)
    (tmp_path / "out" / "images" / "b").write_bytes(b"mine")
    with pytest.raises(UserError, match="images/b: differs from the one in archive; move it away"):
        unpack(path, tmp_path / "out")
    assert tree(tmp_path / "out") == {"images/b": b"mine"}


def test_an_interrupted_unpacking_leaves_nothing(tmp_path, monkeypatch):
    path = zipped(tmp_path / "archive", **{"images/a": b"1", "images/b": b"2"})

    def interrupted(source, target):
        if source.name == "images/b":
            raise KeyboardInterrupt
        target.write(source.read())

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfileobj", interrupted)
        with pytest.raises(KeyboardInterrupt):
            unpack(path, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []
    killed = tmp_path / "out" / ".archive.unpacking" / "images"
    killed.mkdir(parents=True)
    (killed / "c").write_bytes(b"of a process that was killed")
    unpack(path, tmp_path / "out")
    assert tree(tmp_path / "out") == {"images/a": b"1", "images/b": b"2"}


def test_a_disk_without_room_to_unpack(tmp_path, monkeypatch):
    path = tarred(tmp_path / "archive", ("images/a", CONTENT))
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"not enough room: 300 kB needed, 1 kB free"):
        unpack(path, tmp_path / "out")
