"""Small data sets on disk and on a server of our own: found, downloaded, kept, and refused when they are not intact."""

from __future__ import annotations

import gzip
import hashlib
import io
import socket
import struct
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from hansa.data.cifar import BATCH
from hansa.data.datasets import load_cifar, load_idx
from hansa.data.files import Places
from hansa.data.idx import parse_idx
from hansa.data.sources import CIFAR10, About, CifarSet, IdxSet, Source
from hansa.errors import DatasetCorrupt, DatasetMissing


@dataclass
class Site:
    """A web server on this machine: what it has, what it cuts off, and what was asked of it."""

    base: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A running server; its requests stay on this machine whatever proxy the environment names."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    published = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix("/")
            published.requests.append(name)
            if name not in published.files:
                self.send_error(404)
                return
            content = published.files[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: published.cut.get(name)])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the one overridden
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        published.base = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield published
        server.shutdown()
        thread.join()


def as_idx(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    """`array` as an IDX file of bytes."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def tiny(site: Site) -> IdxSet:
    """Six training and four test images, published gzipped on `site`."""

    def publish(name: str, shape: tuple[int, ...]) -> Source:
        values = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
        content = as_idx(values % 3 if len(shape) == 1 else values)
        site.files[name] = gzip.compress(content, mtime=0)
        return Source(name, site.base + name, hashlib.sha256(content).hexdigest(), "tiny")

    return IdxSet(
        About("tiny", "Tiny", ("a", "b", "c"), (0.5,), (0.25,), "none", "nobody"),
        train=(publish("train-images.gz", (6, 4, 4)), publish("train-labels.gz", (6,))),
        test=(publish("test-images.gz", (4, 4, 4)), publish("test-labels.gz", (4,))),
    )


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(None, tmp_path / "cache")


def put(folder: Path, site: Site, *, unpacked: bool = False) -> None:
    """Everything that `site` publishes, into `folder`."""
    folder.mkdir(parents=True)
    for name, packed in site.files.items():
        if unpacked:
            (folder / name.removesuffix(".gz")).write_bytes(gzip.decompress(packed))
        else:
            (folder / name).write_bytes(packed)


class TestDownload:
    def test_into_the_cache_and_from_it_ever_after(self, site: Site, tiny: IdxSet, places: Places) -> None:
        data = load_idx(tiny, places)
        assert data.train["x"].shape == (6, 1, 4, 4)
        assert data.test["y"].tolist() == [0, 1, 2, 0]
        assert len(site.requests) == 4
        again = load_idx(tiny, replace(places, download=False))
        assert np.array_equal(again.train["x"], data.train["x"])
        assert len(site.requests) == 4

    def test_leaves_whole_files_and_nothing_else(self, site: Site, tiny: IdxSet, places: Places) -> None:
        load_idx(tiny, places)
        assert {path.name: path.read_bytes() for path in (places.cache / "tiny").iterdir()} == site.files

    @pytest.mark.parametrize("damage", ["truncated", "altered", "another file"])
    def test_refuses_what_is_not_the_published_file(
        self, site: Site, tiny: IdxSet, places: Places, damage: str
    ) -> None:
        good = site.files["train-images.gz"]
        altered = gzip.compress(gzip.decompress(good)[:-1] + b"!")
        site.files["train-images.gz"] = {"truncated": good[:-9], "altered": altered, "another file": b"<html>"}[damage]
        with pytest.raises(DatasetCorrupt, match=r"train-images.gz .* expected sha256 \w{64}, found") as caught:
            load_idx(tiny, places)
        assert caught.value.where == site.base + "train-images.gz"
        assert list((places.cache / "tiny").iterdir()) == []
        site.files["train-images.gz"] = good
        load_idx(tiny, places)

    def test_says_what_to_do_when_it_breaks_off(self, site: Site, tiny: IdxSet, places: Places) -> None:
        site.cut["train-labels.gz"] = 10
        with pytest.raises(DatasetMissing, match="broke off after 10 of"):
            load_idx(tiny, places)
        assert [path.name for path in (places.cache / "tiny").iterdir()] == ["train-images.gz"]

    def test_says_what_to_do_when_it_is_not_there(self, site: Site, tiny: IdxSet, places: Places) -> None:
        del site.files["train-images.gz"]
        with pytest.raises(DatasetMissing, match="404") as caught:
            load_idx(tiny, places)
        for part in (site.base + "train-images.gz", str(places.cache / "tiny"), "HANSA_DATA", "tiny/train-images.gz"):
            assert part in caught.value.hint

    def test_says_what_to_do_when_nobody_answers(self, tiny: IdxSet, places: Places) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # and nobody listens
            url = f"http://127.0.0.1:{taken.getsockname()[1]}/train-images.gz"
            offline = replace(tiny, train=(replace(tiny.train[0], url=url), tiny.train[1]))
            with pytest.raises(DatasetMissing, match="refused") as caught:
                load_idx(offline, places)
        assert url in caught.value.hint

    @pytest.mark.parametrize("terminal", [False, True])
    def test_shows_a_bar_in_a_terminal_only(
        self,
        tiny: IdxSet,
        places: Places,
        terminal: bool,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
            monkeypatch.delenv(name, raising=False)
        if terminal:
            monkeypatch.setenv("FORCE_COLOR", "1")  # to rich, the same as being one
        load_idx(tiny, places)
        out, err = capfd.readouterr()
        assert out == ""
        assert ("train-images.gz" in err) == terminal
        assert terminal or err == ""

    def test_can_be_switched_off(self, site: Site, tiny: IdxSet, places: Places) -> None:
        with pytest.raises(DatasetMissing, match="switched off"):
            load_idx(tiny, replace(places, download=False))
        assert site.requests == []

    def test_speaks_http_only(self, tiny: IdxSet, places: Places, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"")
        local = replace(tiny, train=(replace(tiny.train[0], url=(tmp_path / "secret").as_uri()), tiny.train[1]))
        with pytest.raises(DatasetMissing, match="not an http address"):
            load_idx(local, places)


class TestFolder:
    @pytest.mark.parametrize("unpacked", [False, True])
    @pytest.mark.parametrize("inside", ["tiny", ""])
    def test_is_looked_through_first(
        self, site: Site, tiny: IdxSet, places: Places, tmp_path: Path, inside: str, unpacked: bool
    ) -> None:
        put(tmp_path / "mine" / inside, site, unpacked=unpacked)
        load_idx(tiny, replace(places, folder=tmp_path / "mine"))
        assert site.requests == []
        assert not places.cache.exists()

    def test_need_not_have_everything(self, site: Site, tiny: IdxSet, places: Places, tmp_path: Path) -> None:
        put(tmp_path / "mine" / "tiny", site)
        (tmp_path / "mine" / "tiny" / "test-labels.gz").unlink()
        load_idx(tiny, replace(places, folder=tmp_path / "mine"))
        assert site.requests == ["test-labels.gz"]

    @pytest.mark.parametrize("damage", ["truncated", "altered"])
    def test_is_told_of_a_damaged_file(
        self, site: Site, tiny: IdxSet, places: Places, tmp_path: Path, damage: str
    ) -> None:
        put(tmp_path / "mine" / "tiny", site)
        path = tmp_path / "mine" / "tiny" / "train-images.gz"
        good = path.read_bytes()
        path.write_bytes(good[:-9] if damage == "truncated" else gzip.compress(b"?" + gzip.decompress(good)[1:]))
        with pytest.raises(DatasetCorrupt, match="expected sha256") as caught:
            load_idx(tiny, replace(places, folder=tmp_path / "mine"))
        assert caught.value.where == str(path)
        assert "delete" in caught.value.hint
        assert site.requests == []

    def test_of_another_set_is_passed_over(self, site: Site, tiny: IdxSet, places: Places, tmp_path: Path) -> None:
        # MNIST and Fashion-MNIST have the same file names.
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "train-images.gz").write_bytes(gzip.compress(b"another set's"))
        mine = replace(places, folder=tmp_path / "mine")
        load_idx(tiny, mine)
        assert len(site.requests) == 4
        with pytest.raises(DatasetCorrupt, match="expected sha256"):
            load_idx(tiny, replace(mine, cache=tmp_path / "other", download=False))


def test_writers_must_be_those_of_the_images(site: Site, tiny: IdxSet, places: Places, tmp_path: Path) -> None:
    rows = np.zeros((9, 8), ">i4")
    rows[:, 0] = [0, 1, 2, 0, 1, 2, 7, 7, 7]
    rows[:, 2] = range(100, 109)
    for change, fits in ((0, True), (1, False)):
        rows[3, 0] = change
        content = struct.pack(">4B2I", 0, 0, 0x0C, 2, 9, 8) + rows.tobytes()
        (tmp_path / "tiny").mkdir(exist_ok=True)
        (tmp_path / "tiny" / "writers").write_bytes(content)
        writers = Source("writers.gz", "", hashlib.sha256(content).hexdigest(), "tiny")
        written = replace(tiny, train=(*tiny.train, writers))
        if fits:
            data = load_idx(written, replace(places, folder=tmp_path))
            assert data.train["writer"].tolist() == [100, 101, 102, 103, 104, 105]
        else:
            with pytest.raises(DatasetCorrupt, match="not those of these images"):
                load_idx(written, replace(places, folder=tmp_path))


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0\x08", b"\0\0\x07\x01\0\0\0\0", b"\1\0\x08\x01\0\0\0\0", as_idx(np.zeros((2, 3), np.uint8))[:-1]],
)
def test_refuses_what_is_no_idx_file(content: bytes) -> None:
    with pytest.raises(DatasetCorrupt, match="IDX") as caught:
        parse_idx(content, "here")
    assert caught.value.where == "here"


@pytest.fixture(scope="module")
def batches() -> dict[str, bytes]:
    """Binary files as big as the real ones; the labels count up, and each pixel is its place in the record."""
    record = np.arange(BATCH // 10_000, dtype=np.int64).astype(np.uint8)
    records = np.tile(record, (10_000, 1))
    records[:, 0] = np.arange(10_000) % 10
    return dict.fromkeys((*CIFAR10.train, CIFAR10.test), records.tobytes())


class TestCifar:
    def packed(self, batches: dict[str, bytes]) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
            for name, content in {"readme.html": b"hello", **batches}.items():
                member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return out.getvalue()

    def published(self, archive: bytes, url: str = "") -> CifarSet:
        sha256 = hashlib.sha256(archive).hexdigest()
        return replace(CIFAR10, archive=replace(CIFAR10.archive, url=url, sha256=sha256))

    def test_from_the_archive(self, batches: dict[str, bytes], site: Site, places: Places) -> None:
        name = CIFAR10.archive.file
        site.files[name] = self.packed(batches)
        files = self.published(site.files[name], site.base + name)
        data = load_cifar(files, places)
        assert data.train["x"].shape == (50_000, 3, 32, 32)
        assert data.test.label_counts().tolist() == [1000] * 10
        # The first row of the green channel is bytes 1025 to 1056 of the record.
        assert data.train["x"][123, 1, 0].tolist() == [n % 256 for n in range(1025, 1057)]
        assert data.source.endswith("the original binary archive")
        load_cifar(files, places)
        assert site.requests == [name]

    @pytest.mark.parametrize("inside", ["cifar10/cifar-10-batches-bin", "cifar-10-batches-bin", "cifar10", ""])
    def test_from_unpacked_files(self, batches: dict[str, bytes], places: Places, tmp_path: Path, inside: str) -> None:
        folder = tmp_path / "mine" / inside
        folder.mkdir(parents=True)
        for name, content in batches.items():
            (folder / name).write_bytes(content)
        data = load_cifar(CIFAR10, Places(tmp_path / "mine", places.cache, download=False))
        assert len(data.train) == 50_000
        assert "unpacked" in data.source

    def test_unpacked_files_that_are_not_whole(self, batches: dict[str, bytes], places: Places, tmp_path: Path) -> None:
        for name, content in batches.items():
            (tmp_path / name).write_bytes(content)
        here = Places(tmp_path, places.cache, download=False)
        (tmp_path / "data_batch_3.bin").write_bytes(b"\x0a" + batches["data_batch_3.bin"][1:])
        with pytest.raises(DatasetCorrupt, match="label 10 is none of the 10"):
            load_cifar(CIFAR10, here)
        (tmp_path / "data_batch_3.bin").write_bytes(batches["data_batch_3.bin"][:-1])
        with pytest.raises(DatasetCorrupt, match=f"data_batch_3.bin has {BATCH - 1} bytes, expected {BATCH}"):
            load_cifar(CIFAR10, here)
        (tmp_path / "data_batch_3.bin").unlink()
        with pytest.raises(DatasetMissing, match=r"data_batch_3.bin is not beside test_batch.bin"):
            load_cifar(CIFAR10, here)

    def test_an_altered_archive(self, places: Places, tmp_path: Path) -> None:
        (tmp_path / "cifar10").mkdir()
        (tmp_path / "cifar10" / CIFAR10.archive.file).write_bytes(b"cut off")
        with pytest.raises(DatasetCorrupt, match=CIFAR10.archive.sha256):
            load_cifar(CIFAR10, Places(tmp_path, places.cache))

    @pytest.mark.parametrize("damage", ["unreadable", "altered"])
    def test_altered_jpegs(self, places: Places, tmp_path: Path, damage: str) -> None:
        folder = tmp_path / "cifar10-jpeg"
        folder.mkdir()
        for source in (CIFAR10.train_jpeg, CIFAR10.test_jpeg):
            if damage == "unreadable":
                (folder / source.file).write_bytes(b"PK\x03\x04 and no more")
            else:
                np.savez(
                    folder / source.file,
                    jpeg=np.zeros(9, np.uint8),
                    offset=np.array([0, 9], np.int32),
                    label=np.zeros(1, np.uint8),
                )
        with pytest.raises(DatasetCorrupt, match=CIFAR10.train_jpeg.sha256) as caught:
            load_cifar(CIFAR10, Places(tmp_path, places.cache, download=False))
        assert caught.value.where == str(folder / CIFAR10.train_jpeg.file)
