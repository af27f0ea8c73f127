"""The stored corpora: what earlier fuzzing found, one archive a harness, smallest inputs that reach what all reach.

stored.py unpack FOLDER      each archive into FOLDER/NAME, beside what is there
stored.py pack FOLDER        each FOLDER/NAME anew into its archive, the same bytes for the same inputs
"""

import io
import sys
import tarfile
from pathlib import Path

STORED = Path(__file__).resolve().parent / "corpus"


def unpack(folder: Path) -> None:
    """Write the inputs below a folder, under the names they had."""
    for archive in sorted(STORED.glob("*.tar.xz")):
        target = folder / archive.name.removesuffix(".tar.xz")
        target.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as inputs:
            for entry in inputs:
                content = inputs.extractfile(entry)
                assert content is not None, f"{archive} holds more than files"
                (target / Path(entry.name).name).write_bytes(content.read())


def pack(folder: Path) -> None:
    """Store the inputs that lie below a folder, and nothing of who packed them and when."""
    STORED.mkdir(exist_ok=True)
    for source in sorted(path for path in folder.iterdir() if path.is_dir()):
        with tarfile.open(STORED / f"{source.name}.tar.xz", "w:xz") as inputs:
            for path in sorted(source.iterdir()):
                content = path.read_bytes()
                entry = tarfile.TarInfo(path.name)
                entry.size = len(content)
                inputs.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    {"unpack": unpack, "pack": pack}[sys.argv[1]](Path(sys.argv[2]))
