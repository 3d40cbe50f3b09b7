"""What protoc makes of the .proto, and of what that makes a package.

    python -m service.protos.generate FOLDER

protoc writes imports relative to the root of the .proto files, where another package of the
name could be; here they begin at service.protos.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parent
_PROTO: Final = "sketchd/v1/sketchd.proto"
_MADE: Final = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")


def generate(folder: Path) -> list[Path]:
    """Write the generated files under `folder`. Raises RuntimeError where protoc fails."""
    from grpc_tools import protoc

    out = str(folder)
    outputs = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
    status = protoc.main(["protoc", f"-I{_ROOT}", *outputs, _PROTO])
    if status != 0:
        raise RuntimeError(f"protoc ended with {status}")
    stem = (folder / _PROTO).with_suffix("")
    made = [stem.with_name(stem.name + ending) for ending in _MADE]
    for file in made:
        text = file.read_text()
        file.write_text(text.replace("from sketchd.v1 ", "from service.protos.sketchd.v1 "))
    return made


if __name__ == "__main__":
    for made in generate(Path(sys.argv[1])):
        print(made)
