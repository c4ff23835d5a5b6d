"""What a run of the command line leaves, to be compared byte by byte."""

import json


def results(out):
    """Return the bytes of all results of a run; time and workers may differ."""
    files = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    provenance = json.loads(files.pop("provenance.json"))
    del provenance["wall_seconds"]
    provenance.pop("workers", None)
    assert len(files) == 6
    return files | {"provenance": provenance}
