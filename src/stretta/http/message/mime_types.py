"""Media types by file name, the same on every machine. Pure."""

from __future__ import annotations

import mimetypes

__all__ = ["media_type_of"]

EXTENSIONS = {
    ".7z": "application/x-7z-compressed",
    ".aac": "audio/aac",
    ".apk": "application/vnd.android.package-archive",
    ".avif": "image/avif",
    ".bib": "text/x-bibtex",
    ".c": "text/plain",
    ".cjs": "text/javascript",
    ".conf": "text/plain",
    ".deb": "application/vnd.debian.binary-package",
    ".epub": "application/epub+zip",
    ".flac": "audio/flac",
    ".geojson": "application/geo+json",
    ".go": "text/plain",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".ico": "image/x-icon",
    ".ics": "text/calendar",
    ".ipynb": "application/x-ipynb+json",
    ".java": "text/plain",
    ".js": "text/javascript",
    ".json": "application/json",
    ".json5": "application/json5",
    ".jsonld": "application/ld+json",
    ".jxl": "image/jxl",
    ".log": "text/plain",
    ".m4a": "audio/mp4",
    ".m4v": "video/mp4",
    ".map": "application/json",
    ".markdown": "text/markdown",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".mkv": "video/matroska",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".opus": "audio/ogg",
    ".otf": "font/otf",
    ".pcapng": "application/x-pcapng",
    ".py": "text/x-python",
    ".rar": "application/vnd.rar",
    ".rs": "text/plain",
    ".sh": "text/x-shellscript",
    ".sqlite": "application/vnd.sqlite3",
    ".toml": "application/toml",
    ".ts": "text/plain",
    ".ttc": "font/collection",
    ".ttf": "font/ttf",
    ".wasm": "application/wasm",
    ".wav": "audio/wav",
    ".weba": "audio/webm",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xhtml": "application/xhtml+xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
"""Types (IANA) that Python's table lacks, or that differ between versions of Python."""

COMPRESSED = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "compress": "application/x-compress",
    "br": "application/x-brotli",
}
"""Types of compressed files; the content is not decompressed, so its own type does not apply."""

TABLE = mimetypes.MimeTypes()
for extension, known_type in EXTENSIONS.items():
    TABLE.add_type(known_type, extension)


def media_type_of(name: str) -> str:
    """Return the Content-Type of a file of this name; text is UTF-8.

    >>> media_type_of("canto.md"), media_type_of("a.WOFF2"), media_type_of("a.tar.gz")
    ('text/markdown; charset=utf-8', 'font/woff2', 'application/gzip')
    >>> media_type_of("Makefile")
    'application/octet-stream'
    """
    # guess_type() expects a URL, in which colons and semicolons have a meaning
    known, coding = TABLE.guess_type("x" + name.replace(":", "_").replace(";", "_").lower())
    if coding is not None:
        return COMPRESSED.get(coding, "application/octet-stream")
    if known is None:
        return "application/octet-stream"
    return f"{known}; charset=utf-8" if known.startswith("text/") else known
