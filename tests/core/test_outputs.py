"""The guard of outputs: an input under any of its names, and what exists already."""

import os
import unicodedata
from pathlib import Path

import pytest

from liif.core.errors import UserError
from liif.core.outputs import check_outputs

NAMES = [
    "in/é.jpg",
    "in/../in/é.jpg",
    "./in//é.jpg",
    "in/symbolic.png",
    "in/hard.png",
    "folder/é.jpg",
    "IN/É.JPG",
    unicodedata.normalize("NFD", "in/é.jpg"),
]
"""All of the picture in/é.jpg."""


@pytest.fixture
def picture(folder):
    Path("in").mkdir()
    Path("in/é.jpg").write_bytes(b"input")
    Path("in/symbolic.png").symlink_to("é.jpg")
    Path("in/hard.png").hardlink_to("in/é.jpg")
    Path("folder").symlink_to("in", target_is_directory=True)
    return Path("in/é.jpg")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_input_is_no_output_under_any_name(picture, name, overwrite):
    with pytest.raises(UserError, match=r"is an input|of the input in/é\.jpg") as found:
        check_outputs([Path("fine.png"), Path(name)], [None, picture], overwrite=overwrite)
    assert str(found.value).startswith(f"{Path(name)}: ")


@pytest.mark.parametrize("name", NAMES)
def test_an_output_is_no_input_given_under_any_name(picture, name):
    with pytest.raises(UserError, match="choose another name"):
        check_outputs([picture], [Path(name)], overwrite=True)


def test_existing_files_are_kept_unless_overwrite(picture):
    Path("dangling.png").symlink_to("nowhere.png")
    for name in (*NAMES[:6], "dangling.png"):
        with pytest.raises(UserError, match="exists already; --overwrite replaces it"):
            check_outputs([Path(name)], overwrite=False)
        check_outputs([Path(name)], overwrite=True)
    check_outputs([Path("new/a.png"), Path("new/b.png")], [picture], overwrite=False)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("in", "is a folder"),
        ("pipe", "is a pipe or a device"),
        ("in/é.jpg/x.png", "its folder is a file"),
        ("in/é.jpg/sub/x.png", "cannot be written"),
        ("n" * 300 + ".png", "cannot be written: File name too long"),
    ],
)
def test_what_cannot_be_written_is_said_before(picture, name, said):
    os.mkfifo("pipe")
    with pytest.raises(UserError, match=said):
        check_outputs([Path(name)], overwrite=True)


def test_one_file_for_two_outputs(folder):
    with pytest.raises(UserError, match="two outputs"):
        check_outputs([Path("a.png"), Path("./A.png")], overwrite=True)
