"""Published data sets: archives, their checksums, and the folders that they unpack to."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from liif.core.errors import UserError


@dataclass(frozen=True)
class DataSetPart:
    """A part of a data set that is downloaded in one archive."""

    name: str
    """`liif data download NAME` downloads the parts named NAME or NAME-…."""
    folders: dict[str, int]
    """Folders under the data root that the part consists of, with the number of images in each."""
    urls: tuple[str, ...] = ()
    """Mirrors of the archive in the order in which they are tried; none if the part cannot be
    downloaded: see the data set's `instructions`."""
    unpack_to: str = ""
    """The folder under the data root that the archive is unpacked to."""
    size: int | None = None
    """Bytes of the archive; None if not recorded."""
    checksum: str | None = None
    """Checksum of the archive, md5:… or sha256:…."""
    aliases: tuple[str, ...] = ()
    """Other names of the part."""

    def has_name(self, name: str) -> bool:
        """Return whether a name means this part, or a group of parts that it belongs to."""
        return f"{self.name}-".startswith(f"{name}-") or name in self.aliases


@dataclass(frozen=True)
class DataSet:
    """A published set of images."""

    name: str
    title: str
    terms: str  # the publishers' terms of use, as far as they are known
    parts: tuple[DataSetPart, ...]
    instructions: str  # how to get the data set if it cannot be downloaded


def select(names: list[str]) -> list[tuple[DataSet, list[DataSetPart]]]:
    """Return the parts that these names mean, grouped by data set; names ignore case. Raises
    UserError if a name is unknown."""
    names = [name.lower().replace("_", "-") for name in names]
    for name in names:
        if not any(part.has_name(name) for part in PARTS):
            known = [data_set.name for data_set in DATA_SETS]
            known += [n for part in PARTS for n in (part.name, *part.aliases)]
            listed = ", ".join(dict.fromkeys(known))
            raise UserError(f"{name}: unknown data set; choose from {listed}")
    chosen = [(each, [p for p in each.parts if any(map(p.has_name, names))]) for each in DATA_SETS]
    return [(data_set, parts) for data_set, parts in chosen if parts]


def find_part(path: str) -> tuple[DataSetPart, int | None] | None:
    """Return the part that a path under the data root belongs to, and how many images belong there;
    the number is None for paths inside one of its folders. None for paths of no part."""
    place = PurePosixPath(path)
    for part in PARTS:
        for folder, images in part.folders.items():
            if place.is_relative_to(folder):
                return part, images if place == PurePosixPath(folder) else None
    return None


# The authors' server and a copy at one fixed version; both have the checksums below.
_DIV2K_MIRRORS = (
    "https://data.vision.ee.ethz.ch/cvl/DIV2K/",
    "https://huggingface.co/datasets/goodfellowliu/DIV2K/resolve/"
    "d8a7b7e82add5be32adb51d9442b7932b1739e89/",
)


# Archive DIV2K_….zip, images, bytes, checksum.
_DIV2K_ARCHIVES = """\
train_HR 800 3530603713 sha256:9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335
train_LR_bicubic_X2 800 925390592 sha256:a53a424317575838dadce4bcd97cf7b744d6855f43740ed5f0245af3cf4bd850
train_LR_bicubic_X3 800 427847282 md5:ad80b9fe40c049a07a8a6c51bfab3b6d
train_LR_bicubic_X4 800 246914039 md5:76c43ec4155851901ebbe8339846d93d
valid_HR 100 448993893 sha256:20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc
valid_LR_bicubic_X2 100 117763600 sha256:60eed9875c697df51204aa579e2a699e1d5215095788a097ff54dd17e2664d57
valid_LR_bicubic_X3 100 54513392 md5:18b1d310f9f88c13618c287927b29898
valid_LR_bicubic_X4 100 ? md5:21962de700c8d368c6ff83314480eff0
"""  # noqa: E501


def _div2k(file: str, images: str, size: str, checksum: str) -> DataSetPart:
    kind, _, scale = file.partition("_bicubic_")  # …_LR_bicubic_X2.zip holds …_LR_bicubic/X2/
    folder = f"DIV2K/DIV2K_{kind}_bicubic/{scale}" if scale else f"DIV2K/DIV2K_{kind}"
    return DataSetPart(
        name="-".join(["div2k", *f"{kind}_{scale}".lower().strip("_").split("_")]),
        folders={folder: int(images)},
        urls=tuple(f"{mirror}DIV2K_{file}.zip" for mirror in _DIV2K_MIRRORS),
        unpack_to="DIV2K",
        size=None if size == "?" else int(size),
        checksum=checksum,
    )


DIV2K = DataSet(
    name="div2k",
    title="DIV2K",
    terms="academic research only; the photographs belong to their owners",
    parts=tuple(_div2k(*line.split()) for line in _DIV2K_ARCHIVES.splitlines()),
    instructions="""\
Try again later: the server is sometimes slow. Or give the address of another folder that holds the
archive with --from URL (its checksum is verified), or unpack the archive by hand; the layout is in
datasets/README.md.""",
)

BENCHMARK = DataSet(
    name="benchmark",
    title="Set5, Set14, B100, Urban100",
    terms="Set5, Set14: none stated; B100: non-commercial research and education; Urban100: "
    "photographs from Flickr",
    parts=(
        DataSetPart(
            name="benchmark",
            folders={
                f"benchmark/{name}/{kind}": images
                for name, images in (("Set5", 5), ("Set14", 14), ("B100", 100), ("Urban100", 100))
                for kind in ("HR", "LR_bicubic/X2", "LR_bicubic/X3", "LR_bicubic/X4")
            },
            urls=("https://cv.snu.ac.kr/research/EDSR/benchmark.tar",),
            checksum="md5:4ace41d33c2384b97e6b320cd0afd6ba",
            aliases=("set5", "set14", "b100", "urban100"),
        ),
    ),
    instructions="""\
The server is often unavailable. Instead:
1. Get the high-resolution images from a copy, for example
   https://huggingface.co/datasets/eugenesiow/Set5 (and …/Set14, …/BSD100, …/Urban100),
   and put them into benchmark/Set5/HR (benchmark/Set14/HR, benchmark/B100/HR, …) under the data
   root.
2. Make the low-resolution ones with the lines of Python in datasets/README.md, "Set5, Set14,
   B100, Urban100"; for Set5, Set14 and B100 the result equals the published images exactly.
3. liif data check""",
)

CELEBAHQ = DataSet(
    name="celebahq",
    title="CelebA-HQ, 256, 128, 64 and 32 px",
    terms="non-commercial research only; no copies may be passed on",
    parts=(
        DataSetPart(
            name="celebahq",
            folders={
                f"CelebAHQ/{side}/{split}": images
                for side in (256, 128, 64, 32)
                for split, images in (("train", 25000), ("test", 5000))
            },
        ),
    ),
    instructions="""\
The archive that the LIIF authors used is no longer available. Instead:
1. Get CelebAMask-HQ (3 GB, the same 30,000 faces as JPEG files) by hand from
   https://github.com/switchablenorms/CelebAMask-HQ and unpack it; or rebuild the originals with
   https://github.com/tkarras/progressive_growing_of_gans.
2. Make CelebAHQ/256, 128, 64 and 32 under the data root, train and test in each, with the lines
   of Python in datasets/README.md, "CelebA-HQ".
3. liif data check""",
)

DATA_SETS = (DIV2K, BENCHMARK, CELEBAHQ)
PARTS = [part for data_set in DATA_SETS for part in data_set.parts]
