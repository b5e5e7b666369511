"""Read a format of your own: here, lines of JSON. Any generator of samples will do.

python examples/own_reader.py [FILE.jsonl]   # {"file": "a.jpg", "person": "Ann", "cam": 2}
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from trireid import Gallery, Sample, load_artifact
from trireid.gallery import index_source
from trireid.samples.sources import open_source


def read_lines(path: Path) -> Iterator[Sample]:
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        row = json.loads(line)
        file = path.parent / row["file"]
        yield Sample(id=f"line {number}", rgb=file, identity=row["person"], camera=row["cam"])


def draw_lines(folder: Path) -> Path:
    rows = [{"file": "gone.png", "person": "Ann", "cam": 0}]  # rejected, and reported
    for n, entry in enumerate(open_source("synthetic:person:3")):
        Image.fromarray(entry.sample.rgb).save(folder / f"{n}.png")
        rows.append({"file": f"{n}.png", "person": entry.sample.identity, "cam": n % 4})
    (folder / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder / "list.jsonl"


with tempfile.TemporaryDirectory() as folder:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else draw_lines(Path(folder))
    with Gallery.open(f"{folder}/a.gallery", load_artifact("person")) as gallery:
        report = index_source(read_lines(path), gallery)
        print(f"{report}; the gallery holds {len(gallery)}")
        for each in report.to_json()["rejected"]:
            print(f"rejected: {each['location']}: {each['error']}")
