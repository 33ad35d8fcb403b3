"""The same demands with bytes that atheris chooses by the branches that they reach:

    pip install atheris && python tests/fuzz/guided.py images -runs=100000

images or configs; what follows is libFuzzer's, such as a folder of files to start from. It ends at
the first case that fails, and keeps it in the working folder as crash-*."""

import os
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["PIL", "yaml", "liif.images.rgb8", "liif.core.config_file"]
):
    from liif.core.config_file import load_config
    from liif.core.errors import UserError
    from liif.images.rgb8 import read_image
    from liif.training.config import TrainConfig

WHAT = {"images": read_image, "configs": lambda path: load_config(TrainConfig, path)}


def main():
    what = WHAT[sys.argv.pop(1)]
    os.environ["LIIF_MAX_PIXELS"] = "1M"
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x"

        def case(data):
            file.write_bytes(data)
            with suppress(UserError):
                what(file)
            assert os.listdir(folder) == ["x"]

        atheris.Setup([*sys.argv, "-timeout=20", "-rss_limit_mb=3000"], case)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
