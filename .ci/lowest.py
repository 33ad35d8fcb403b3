"""Print the lowest versions that pyproject.toml allows, as requirements for pip.

python .ci/lowest.py [EXTRA ...]
"""

import re
import sys
from pathlib import Path

import tomllib

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
wanted = [*project["dependencies"], *(line for name in sys.argv[1:] for line in extras[name])]
print("\n".join(re.sub(r">=([\w.]+).*", r"==\1", line) for line in wanted))
