"""What a body is: its media type, its charset, text or not. Pure."""

from __future__ import annotations

import codecs
import re

__all__ = ["charset_of", "is_text", "media_type"]

BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""What a text may begin with, and what that says (WHATWG Encoding, section 6)."""

WIDER = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
}
"""What those who name the first in fact send (WHATWG Encoding, section 4.2)."""

_CHARSET = re.compile(r";\s*charset\s*=\s*(?:\"([^\"]*)\"|([^\s;]*))", re.IGNORECASE)
_META = re.compile(rb"<meta\s[^>]*?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]+)", re.IGNORECASE)
_XML = re.compile(rb"<\?xml\s[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9_.:-]+)[\"']")
_TEXT_TYPE = re.compile(
    r"text/.*|(?:application|image|model|message|multipart)/(?:.*\+)?"
    r"(?:json|xml|javascript|ecmascript|yaml|toml|sql|graphql|x-sh|x-ndjson|x-www-form-urlencoded)"
)


def media_type(content_type: str | None) -> str:
    """Return the type and subtype of a Content-Type, in lower case; '' without one.

    >>> media_type("Text/HTML; charset=utf-8")
    'text/html'
    """
    return (content_type or "").partition(";")[0].strip().lower()


def charset_of(content_type: str | None, beginning: bytes) -> str:
    """Return the codec of a text: its BOM's, its header's, its meta element's, else UTF-8.

    ``beginning`` is the first kilobyte of the body (WHATWG HTML section 13.2.3.2).

    >>> charset_of("text/html; charset=latin1", b""), charset_of(None, b"<meta charset=euc-jp>")
    ('cp1252', 'euc_jp')
    """
    for bom, codec in BOMS.items():
        if beginning.startswith(bom):
            return codec
    found = _CHARSET.search(content_type or "")
    named = (found[1] or found[2] or "") if found else ""
    if not named:
        inside = _META.search(beginning) or _XML.match(beginning)
        named = inside[1].decode("ascii") if inside else "utf-8"
    try:
        info = codecs.lookup(named)
    except (LookupError, ValueError):
        return "utf-8"
    # hex, zip and others turn bytes into bytes
    if not getattr(info, "_is_text_encoding", True):
        return "utf-8"
    return WIDER.get(info.name, info.name)


def is_text(content_type: str | None, beginning: bytes) -> bool:
    """Return whether a body is text that can be shown, from its type and its first bytes.

    >>> is_text("text/plain", b"ciao"), is_text("text/plain", b"\\x00"), is_text(None, b"\\x89PNG")
    (True, False, False)
    """
    kind = media_type(content_type)
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    charset = charset_of(content_type, beginning)
    if b"\0" in beginning and not charset.startswith(("utf-16", "utf_16", "utf-32", "utf_32")):
        return False
    if _TEXT_TYPE.fullmatch(kind):
        return True
    if kind and kind != "application/octet-stream":
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(beginning)
    except UnicodeDecodeError:
        return False
    return True
