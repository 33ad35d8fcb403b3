"""Listing of the image files in a folder."""

import errno
import os
from pathlib import Path

import pytest

from liif.core.errors import UserError
from liif.images.rgb8 import list_images


def test_list_is_recursive_sorted_by_posix_path_and_knows_images_by_suffix(tmp_path):
    wanted = ["A.PNG", "b/z.jpeg", "b/z/a.Tif", "b.webp", "c.bmp", "d.jpg", "e.tiff", "f.ppm"]
    wanted += ["g.pgm", "h.gif"]
    other = ["Thumbs.db", "notes.txt", ".hidden.png", ".cache/i.png", "b/.DS_Store", "png"]
    for name in wanted + other:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = [file.relative_to(tmp_path).as_posix() for file in list_images(tmp_path)]
    assert found == sorted(wanted)


def test_list_follows_links_and_survives_loops(noise_folder, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(noise_folder)
    (root / "loop").symlink_to(root)
    (root / "gone.png").symlink_to(tmp_path / "nothing.png")
    found = [file.relative_to(root).as_posix() for file in list_images(root)]
    assert found == ["linked/a.png", "linked/b.png", "linked/sub/c.png"]


def test_list_of_a_single_file(noise_folder):
    assert list_images(noise_folder / "a.png") == [noise_folder / "a.png"]


def test_missing_and_empty_folders_are_errors_that_name_the_folder(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme.txt").touch()
    monkeypatch.chdir(tmp_path)
    for name in ["missing", "empty", "empty/readme.txt"]:
        with pytest.raises(UserError) as caught:
            list_images(Path(name))
        message = str(caught.value)
        assert message.startswith(str(tmp_path / name))
        for part in [".png", "--set data_root=", "LIIF_DATA", "datasets/README.md"]:
            assert part in message


def test_a_folder_that_cannot_be_listed(noise_folder, monkeypatch):
    def closed(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(UserError, match="Permission denied"):
        list_images(noise_folder)
