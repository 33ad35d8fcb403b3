"""`liif download`: the published data sets, what is missing of them, where they come from."""

import functools
import hashlib
import io
from dataclasses import replace

import pytest
from helpers.archives import tree, zipped
from helpers.pictures import texture
from PIL import Image

from liif.data import catalog as sources


@pytest.fixture
def run(cli, folder):
    """`liif download …` in an empty folder: (status, standard output, standard error)."""
    return functools.partial(cli, "download")


def png(seed):
    file = io.BytesIO()
    Image.fromarray(texture(8, 8, seed)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def tiny_div2k(server, tmp_path, monkeypatch):
    """Every archive of DIV2K with two images, on the server; the records say so."""
    parts = []
    for part in sources.DIV2K.parts:
        (folder,) = part.folders
        file = part.urls[0].rpartition("/")[2]
        inside = folder.removeprefix("DIV2K/")
        path = zipped(tmp_path / file, **{f"{inside}/{i}.png": png(i) for i in range(2)})
        server.files[f"/DIV2K/{file}"] = data = path.read_bytes()
        path.unlink()
        checksum = "sha256:" + hashlib.sha256(data).hexdigest()
        parts.append(replace(part, folders={folder: 2}, size=len(data), checksum=checksum))
    data_set = replace(sources.DIV2K, parts=tuple(parts))
    monkeypatch.setattr(sources, "DATA_SETS", (data_set, sources.BENCHMARK, sources.CELEBAHQ))
    return f"{server.at}/DIV2K"


def test_div2k(run, tiny_div2k, server, tmp_path):
    server.faults["/DIV2K/DIV2K_valid_HR.zip"] = ["break", "no ranges"]
    status, out, _ = run("div2k-valid", "--from", tiny_div2k + "/")
    assert status == 0
    assert "DIV2K. Terms: academic research only" in out and "div2k-valid-lr-x4: done" in out
    root = tmp_path / "datasets" / "DIV2K"
    wanted = {f"DIV2K_valid_LR_bicubic/X{scale}" for scale in (2, 3, 4)} | {"DIV2K_valid_HR"}
    assert set(tree(root)) == {f"{folder}/{i}.png" for folder in wanted for i in range(2)}
    status, out, _ = run("DIV2K", "--from", tiny_div2k, "--keep")
    assert status == 0 and "div2k-valid-hr: present in datasets" in out
    assert len(list(root.rglob("*.png"))) == 16
    assert sorted(path.name for path in root.glob("*.zip")) == [
        "DIV2K_train_HR.zip", *(f"DIV2K_train_LR_bicubic_X{scale}.zip" for scale in (2, 3, 4))
    ]  # fmt: skip
    requests = len(server.requests)
    assert run("div2k")[0] == 0 and len(server.requests) == requests


def test_what_is_missing_is_filled_in_and_nothing_overwritten(run, tiny_div2k, tmp_path):
    use = ("div2k_train_hr", "--from", tiny_div2k, "--data-root", "d")
    assert run(*use)[0] == 0
    images = tmp_path / "d" / "DIV2K" / "DIV2K_train_HR"
    (images / "1.png").unlink()
    assert run(*use)[0] == 0 and (images / "1.png").read_bytes() == png(1)
    (images / "1.png").unlink()
    (images / "0.png").write_bytes(b"cut off")
    status, _, err = run(*use)
    assert status == 1 and "DIV2K_train_HR/0.png: differs from the one in DIV2K_train_HR.zip" in err


def test_downloads_that_fail(run, tiny_div2k, server, monkeypatch):
    server.files["/DIV2K/DIV2K_valid_HR.zip"] = bytes(700)
    status, _, err = run("div2k-valid-hr", "--from", tiny_div2k)
    assert status == 1 and "DIV2K_valid_HR.zip: holds 700 bytes, expected" in err
    assert "--from URL" in err and "Traceback" not in err
    assert "must be an address" in run("div2k-valid-hr", "--from", "ftp://x")[2]
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    assert "not enough room" in run("div2k", "--from", tiny_div2k)[2]


def test_an_archive_that_holds_too_little(run, tiny_div2k, monkeypatch):
    (data_set, *others) = sources.DATA_SETS
    parts = tuple(replace(part, folders=dict.fromkeys(part.folders, 3)) for part in data_set.parts)
    monkeypatch.setattr(sources, "DATA_SETS", (replace(data_set, parts=parts), *others))
    status, _, err = run("div2k-valid-hr", "--from", tiny_div2k)
    assert status == 1 and "DIV2K_valid_HR holds 2 of 3 images" in err


def test_sets_without_a_source_are_explained(run):
    status, out, _ = run("celebahq")
    assert status == 1
    assert "no copies may be passed on" in out and "github.com/switchablenorms/CelebAMask-HQ" in out


def test_names_and_the_list(run):
    status, _, err = run("div3k")
    assert status == 1 and err.startswith("error: div3k: unknown data set; choose from div2k, ")
    assert "div2k-train-lr-x2" in err and "urban100" in err
    assert "liif data list" in run()[2]
    status, out, _ = run("--list")
    assert status == 0 and "div2k-train-hr          3.53 GB" in out


def test_records():
    for data_set in sources.DATA_SETS:
        for part in data_set.parts:
            assert len({url.rpartition("/")[2] for url in part.urls}) <= 1, "one file, many mirrors"
            assert all(url.startswith("https://") for url in part.urls)
            if part.urls:
                kind, _, digest = part.checksum.partition(":")
                assert len(bytes.fromhex(digest)) == hashlib.new(kind).digest_size
            assert all(folder.startswith(part.unpack_to) for folder in part.folders)
    assert sum(sum(part.folders.values()) for part in sources.DIV2K.parts) == 4 * 900
    names = [part.name for _, parts in sources.select(["div2k-train", "set5"]) for part in parts]
    assert names == [
        "div2k-train-hr", "div2k-train-lr-x2", "div2k-train-lr-x3", "div2k-train-lr-x4", "benchmark"
    ]  # fmt: skip
