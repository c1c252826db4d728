"""The recordings of real runs in tests/see/recordings, and how each is drawn."""

import json
from pathlib import Path

from stretta.see.json_document import from_document
from stretta.see.render.terminal import draw

HERE = Path(__file__).parent / "see"
RECORDINGS = sorted((HERE / "recordings").glob("*.json"))
PICTURES = HERE / "pictures"


def document(name):
    """Return the JSON document of a recording."""
    return json.loads((HERE / "recordings" / f"{name}.json").read_text(encoding="utf-8"))


def load(name):
    """Return the timeline of a recording."""
    return from_document(document(name))


def picture(timeline):
    """Return a timeline as the terminal shows it, and its links, one a line."""
    links = []
    for link in timeline.links:
        size = f", bytes {link.first} to {link.last - 1}" if link.last else ""
        links.append(f"{link.source} > {link.target}: {link.kind} ({link.cause}{size})")
    return draw(timeline, width=80) + "\n" + "\n".join(links) + "\n"
