"""Downloads from servers that fail in every way, archives that attack, and `liif download`."""

import hashlib
import io
import os
import resource
import tarfile
import threading
import zipfile
from collections import defaultdict
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from conftest import texture
from PIL import Image

from liif import cli, download
from liif.commands import download as command
from liif.data import sources
from liif.download import fetch
from liif.errors import UserError
from liif.unpack import unpack

CONTENT = np.random.default_rng(0).bytes(300_000)
SUM = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`; each request takes the next of `server.faults` of its path."""

    def do_GET(self):
        server, faults = self.server, self.server.faults[self.path]
        fault = faults.pop(0) if faults else ""
        asked = self.headers["Range"]
        server.requests.append((self.path, asked, self.headers["If-Range"]))
        data = server.files.get(self.path)
        if fault.startswith("to "):
            return self.answer(302, b"", Location=fault[3:])
        if data is None or fault.isdecimal():
            return self.answer(int(fault or 404), b"")
        if fault == "hang":
            server.stopped.wait(10)
            return None
        etag = server.etags.get(self.path)
        headers = {"ETag": etag} if etag else {}
        if self.headers["If-Range"] not in (None, etag):
            asked = None
        start, status, size = 0, 200, len(data)
        if asked and fault != "no ranges":
            start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
            if start >= size:
                return self.answer(416, b"", **{"Content-Range": f"bytes */{size}"})
            shown = start + 1 if fault == "wrong range" else start
            headers["Content-Range"] = f"bytes {shown}-{size - 1}/{size}"
        body = data[start:]
        if fault == "wrong bytes":
            body = bytes(len(body))
        if fault == "short":
            body = body[: len(body) // 2]
        half = len(body) // 2 if fault == "break" else len(body)
        return self.answer(status, body[:half], **{"Content-Length": len(body), **headers})

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.server.served += len(body)
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.files, server.faults = {"/a": CONTENT, "/b": CONTENT}, defaultdict(list)
    server.requests, server.served, server.etags = [], 0, {"/a": '"1"', "/b": '"9"'}
    server.stopped = threading.Event()
    server.at = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.stopped.set()
    server.shutdown()
    thread.join()
    server.server_close()


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


# Fetching


def test_a_file_and_nothing_else(get, server, capfd):
    assert get(size=len(CONTENT), checksum=SUM).read_bytes() == CONTENT
    md5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
    assert get(checksum=md5).read_bytes() == CONTENT
    assert len(server.requests) == 1, "what is there is not fetched again"
    assert capfd.readouterr().err == "", "a bar is for terminals"


def test_another_file_of_that_name_is_not_overwritten(get, fails, server):
    file = get()
    file.write_text("mine")
    assert "is there already, but it has 4 bytes, expected 5; move it away" in fails(size=5)
    assert "is there already, but its sha256 is " in fails(checksum=SUM)
    assert file.read_text() == "mine" and len(server.requests) == 1


@pytest.mark.parametrize("known", [{}, {"checksum": SUM}, {"size": len(CONTENT)}])
def test_a_broken_connection_is_continued(get, server, known):
    server.faults["/a"] = ["break", "break"]
    assert get(**known).read_bytes() == CONTENT
    assert server.served == len(CONTENT), "no byte twice"
    assert [request[1:] for request in server.requests] == [
        (None, None), ("bytes=150000-", '"1"'), ("bytes=225000-", '"1"'),
    ]  # fmt: skip


@pytest.mark.parametrize("known", [{}, {"checksum": SUM}])
def test_an_interrupted_download_is_continued_by_the_next(get, fails, server, tmp_path, known):
    server.faults["/a"] = ["break"] * 3
    message = fails(**known)
    assert f"{server.at}/a: the connection broke at 262500 of 300000 bytes" in message
    assert (tmp_path / "data" / "file.part").stat().st_size == 262500
    assert get(**known).read_bytes() == CONTENT
    assert server.served == len(CONTENT)


def test_ctrl_c_leaves_the_part(get, server, tmp_path, monkeypatch):
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


def test_patience_as_long_as_something_comes(get, server, monkeypatch):
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


def test_without_a_checksum_another_mirror_starts_anew(get, server):
    server.faults["/a"] = ["break"] * 3
    get("/a", "/b")
    assert server.requests[-1] == ("/b", None, None)


def test_with_a_checksum_another_mirror_continues(get, server):
    server.faults["/a"] = ["break"] * 3
    assert get("/a", "/b", checksum=SUM).read_bytes() == CONTENT
    assert server.requests[-1] == ("/b", "bytes=262500-", None) and server.served == len(CONTENT)


@pytest.mark.parametrize("known", [{}, {"checksum": SUM}])
@pytest.mark.parametrize("fault", ["no ranges", "wrong range", "416", "500"])
def test_servers_that_cannot_continue(get, server, fault, known):
    server.faults["/a"] = ["break", fault]
    assert get(**known).read_bytes() == CONTENT


def test_a_part_that_is_whole_already(get, server, tmp_path):
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


def test_wrong_bytes_are_thrown_away_and_the_next_mirror_is_asked(get, fails, server, tmp_path):
    server.faults["/a"] = ["wrong bytes"] * 2
    wrong = hashlib.sha256(bytes(len(CONTENT))).hexdigest()
    message = fails(checksum=SUM)
    assert f"{server.at}/a: its sha256 is {wrong}, expected {SUM[7:]}" in message
    assert os.listdir(tmp_path / "data") == []
    assert get("/a", "/b", checksum=SUM).read_bytes() == CONTENT
    assert [path for path, *_ in server.requests] == ["/a", "/a", "/b"]


def test_a_page_instead_of_the_file_is_not_even_fetched(fails, server):
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
    assert "/a: answers with another part than was asked for" in fails()
    assert get().read_bytes() == CONTENT and len(server.requests) == 5


def test_redirects(get, fails, server):
    server.faults["/away"] = [f"to {server.at}/a"] * 2
    server.faults["/a"] = ["break"]
    assert get("/away").read_bytes() == CONTENT
    assert server.served == len(CONTENT), "the range goes along"
    get().unlink()
    server.faults["/away"] = ["to ftp://127.0.0.1/x", "to file:///etc/passwd"]
    assert "/away: leads to ftp://127.0.0.1/x, which is not followed" in fails("/away")
    assert "'file:///etc/passwd' is not allowed" in fails("/away")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/file", "data:,x", "/a", "http:"])
def test_addresses_that_are_none(tmp_path, url):
    with pytest.raises(UserError, match="must be an address that starts with http"):
        fetch([url], tmp_path / "file")


def test_silence_is_a_broken_connection(get, server):
    server.faults["/a"] = ["hang"]
    assert get(timeout=0.1).read_bytes() == CONTENT


def test_nobody_there(tmp_path, server):
    with pytest.raises(
        UserError, match=r"no mirror delivers it\n  http://127.0.0.1:9/x: .*refused"
    ):
        fetch(["http://127.0.0.1:9/x"], tmp_path / "file", pauses=())


def test_no_room(fails, server, monkeypatch):
    usage = type("usage", (), {"free": 500_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    message = fails(unpacks=True)
    assert "data: not enough room: 600 kB needed, 500 kB free; make room" in message
    assert "not enough" not in fails("/none")


def test_a_disk_that_is_full_all_the_same(get, fails, server, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        message = fails(checksum=SUM)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "file: cannot be written: File too large; what has arrived is kept" in message
    assert get(checksum=SUM).read_bytes() == CONTENT


def test_places_that_cannot_be_written(fails, tmp_path):
    (tmp_path / "data").write_text("a file")
    assert "cannot be written" in fails()


def test_one_process_at_a_time(fails, tmp_path):
    (tmp_path / "data").mkdir()
    with (tmp_path / "data" / "file.part").open("wb") as other:
        download.fcntl.flock(other, download.fcntl.LOCK_EX)
        assert "file.part: another process is downloading it" in fails()


# Unpacking


def zipped(path, **entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in entries.items():
            bundle.writestr(name, content)
    return path


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


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("mode", ["zip", "w:", "w:gz", "w:xz"])
def test_unpack(tmp_path, mode):
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


def test_no_room_to_unpack(tmp_path, monkeypatch):
    path = tarred(tmp_path / "archive", ("images/a", CONTENT))
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"not enough room: 300 kB needed, 1 kB free"):
        unpack(path, tmp_path / "out")


# The command


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """`liif download …` in an empty folder: (status, standard output, standard error)."""
    monkeypatch.setitem(cli.COMMANDS, "download", command)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIIF_DATA", raising=False)

    def run(*arguments):
        status = cli.main(["download", *arguments])
        return status, *capsys.readouterr()

    return run


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
    assert status == 1 and err.startswith("error: div3k: no such data set; there are div2k, ")
    assert "div2k-train-lr-x2" in err and "urban100" in err
    assert "liif download --list" in run()[2]
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
            assert all(folder.startswith(part.into) for folder in part.folders)
    assert sum(sum(part.folders.values()) for part in sources.DIV2K.parts) == 4 * 900
    names = [part.name for _, parts in sources.select(["div2k-train", "set5"]) for part in parts]
    assert names == [
        "div2k-train-hr", "div2k-train-lr-x2", "div2k-train-lr-x3", "div2k-train-lr-x4", "benchmark"
    ]  # fmt: skip
