"""Downloads from servers with many kinds of failures."""

import hashlib
import os
import resource

import pytest
from helpers.faulty_server import CONTENT, SUM

from liif.core import download
from liif.core.download import fetch
from liif.core.errors import UserError
from liif.core.lock import file_lock


@pytest.fixture
def get(server, tmp_path):
    """Fetches paths of the server to one file, with two quick retries; gives that file."""

    def get(*paths, **known):
        known = {"pauses": (0, 0.01), **known}
        fetch([server.at + path for path in paths or ("/a",)], tmp_path / "data" / "file", **known)
        assert os.listdir(tmp_path / "data") == ["file"]
        return tmp_path / "data" / "file"

    return get


@pytest.fixture
def fails(get):
    def fails(*paths, **known):
        with pytest.raises(UserError) as caught:
            get(*paths, **known)
        return str(caught.value)

    return fails


def test_a_download_leaves_only_the_file(get, server, capfd):
    assert get(size=len(CONTENT), checksum=SUM).read_bytes() == CONTENT
    md5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
    assert get(checksum=md5).read_bytes() == CONTENT
    assert len(server.requests) == 1, "what is there is not fetched again"
    assert capfd.readouterr().err == "", "a bar is for terminals"


def test_another_file_of_that_name_is_not_overwritten(get, fails, server):
    file = get()
    file.write_text("mine")
    assert "exists already, but it has 4 bytes, expected 5; move it away" in fails(size=5)
    assert "exists already, but its sha256 is " in fails(checksum=SUM)
    assert file.read_text() == "mine" and len(server.requests) == 1


@pytest.mark.parametrize("known", [{}, {"checksum": SUM}, {"size": len(CONTENT)}])
def test_a_broken_connection_is_resumed(get, server, known):
    server.faults["/a"] = ["break", "break"]
    assert get(**known).read_bytes() == CONTENT
    assert server.served == len(CONTENT), "no byte twice"
    assert [request[1:] for request in server.requests] == [
        (None, None), ("bytes=150000-", '"1"'), ("bytes=225000-", '"1"'),
    ]  # fmt: skip


@pytest.mark.parametrize("known", [{}, {"checksum": SUM}])
def test_an_interrupted_download_is_resumed_by_the_next(get, fails, server, tmp_path, known):
    server.faults["/a"] = ["break"] * 3
    message = fails(**known)
    assert f"{server.at}/a: the connection broke at 262500 of 300000 bytes" in message
    assert (tmp_path / "data" / "file.part").stat().st_size == 262500
    assert get(**known).read_bytes() == CONTENT
    assert server.served == len(CONTENT)


def test_ctrl_c_keeps_the_downloaded_part(get, server, tmp_path, monkeypatch):
    chunks = [CONTENT[:1000]]

    def read(response):
        if chunks:
            return chunks.pop()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "_read", read)
        with pytest.raises(KeyboardInterrupt):
            get()
    assert (tmp_path / "data" / "file.part").read_bytes() == CONTENT[:1000]
    assert get().read_bytes() == CONTENT
    assert server.requests[-1] == ("/a", "bytes=1000-", '"1"')


def test_progress_restarts_the_count_of_retries(get, server, monkeypatch):
    monkeypatch.setattr(download, "PROGRESS", 1000)
    server.faults["/a"] = ["break"] * 6
    assert get(pauses=[0]).read_bytes() == CONTENT


def test_two_versions_are_never_mixed(get, fails, server):
    server.faults["/a"] = ["break"] * 3
    fails()
    other = CONTENT[::-1]
    server.files["/a"], server.etags["/a"] = other, '"2"'
    assert get().read_bytes() == other
    assert server.requests[-1] == ("/a", "bytes=262500-", '"1"')


def test_without_a_checksum_another_mirror_starts_from_zero(get, server):
    server.faults["/a"] = ["break"] * 3
    get("/a", "/b")
    assert server.requests[-1] == ("/b", None, None)


def test_with_a_checksum_another_mirror_resumes(get, server):
    server.faults["/a"] = ["break"] * 3
    assert get("/a", "/b", checksum=SUM).read_bytes() == CONTENT
    assert server.requests[-1] == ("/b", "bytes=262500-", None) and server.served == len(CONTENT)


@pytest.mark.parametrize("known", [{}, {"checksum": SUM}])
@pytest.mark.parametrize("fault", ["no ranges", "wrong range", "416", "500"])
def test_servers_that_cannot_resume(get, server, fault, known):
    server.faults["/a"] = ["break", fault]
    assert get(**known).read_bytes() == CONTENT


def test_a_part_that_is_complete(get, server, tmp_path):
    for size in (len(CONTENT), None):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / "file.part").write_bytes(CONTENT)
        get(size=size, checksum=SUM).unlink()
        assert server.served == 0
    assert server.requests == [("/a", "bytes=300000-", None)], "answered with 416"


@pytest.mark.parametrize("length", [1000, len(CONTENT), len(CONTENT) + 5])
def test_a_part_that_is_wrong(get, tmp_path, length):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file.part").write_bytes(bytes(length))
    assert get(checksum=SUM).read_bytes() == CONTENT
    (tmp_path / "data" / "file").rename(tmp_path / "data" / "file.part")
    assert get("/b").read_bytes() == CONTENT


def test_wrong_bytes_are_deleted_and_the_next_mirror_is_tried(get, fails, server, tmp_path):
    server.faults["/a"] = ["wrong bytes"] * 2
    wrong = hashlib.sha256(bytes(len(CONTENT))).hexdigest()
    message = fails(checksum=SUM)
    assert f"{server.at}/a: its sha256 is {wrong}, expected {SUM[7:]}" in message
    assert os.listdir(tmp_path / "data") == []
    assert get("/a", "/b", checksum=SUM).read_bytes() == CONTENT
    assert [path for path, *_ in server.requests] == ["/a", "/a", "/b"]


def test_a_page_of_another_size_is_not_downloaded(fails, server):
    server.files["/a"] = b"<html>sorry</html>"
    assert "/a: holds 18 bytes, expected 300000" in fails(size=len(CONTENT))
    server.files["/a"] = CONTENT
    server.faults["/a"] = ["short", "short"]
    assert "/a: holds 150000 bytes, expected 300000" in fails(size=len(CONTENT))
    assert "/a: its sha256 is " in fails(checksum=SUM)


def test_errors_of_servers(get, fails, server):
    assert "/none: HTTP 404 Not Found" in fails("/none")
    assert len(server.requests) == 1, "asking again would not help"
    server.faults["/a"] = ["204", "503", "500"]
    assert "/a: does not send the requested part of the file" in fails()
    assert get().read_bytes() == CONTENT and len(server.requests) == 5


def test_redirects(get, fails, server):
    server.faults["/away"] = [f"to {server.at}/a"] * 2
    server.faults["/a"] = ["break"]
    assert get("/away").read_bytes() == CONTENT
    assert server.served == len(CONTENT), "the range goes along"
    get().unlink()
    server.faults["/away"] = ["to ftp://127.0.0.1/x", "to file:///etc/passwd"]
    assert "/away: redirects to ftp://127.0.0.1/x, which is not allowed" in fails("/away")
    assert "'file:///etc/passwd' is not allowed" in fails("/away")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/file", "data:,x", "/a", "http:"])
def test_invalid_addresses(tmp_path, url):
    with pytest.raises(UserError, match="must be an address that starts with http"):
        fetch([url], tmp_path / "file")


def test_a_timeout_is_a_broken_connection(get, server):
    server.faults["/a"] = ["hang"]
    assert get(timeout=0.1).read_bytes() == CONTENT


def test_an_unreachable_server(tmp_path, server):
    with pytest.raises(
        UserError, match=r"cannot be downloaded from any mirror\n  http://127.0.0.1:9/x: .*refused"
    ):
        fetch(["http://127.0.0.1:9/x"], tmp_path / "file", pauses=())


def test_a_full_disk_is_reported_before_the_download(fails, server, monkeypatch):
    usage = type("usage", (), {"free": 500_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    message = fails(unpacks=True)
    assert "data: not enough room: 600 kB needed, 500 kB free; make room" in message
    assert "not enough" not in fails("/none")


def test_a_disk_that_fills_up_during_the_download(get, fails, server, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        message = fails(checksum=SUM)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "file: cannot be written: File too large; the downloaded part is kept" in message
    assert get(checksum=SUM).read_bytes() == CONTENT


def test_places_that_cannot_be_written(fails, tmp_path):
    (tmp_path / "data").write_text("a file")
    assert "cannot be written" in fails()


def test_one_process_at_a_time(fails, tmp_path):
    (tmp_path / "data").mkdir()
    with file_lock(tmp_path / "data" / "file.part.lock"):
        assert "file.part: another process is downloading it" in fails()
