"""The media type and charset of a body, and whether it is text. Pure."""

from __future__ import annotations

import codecs
import re
from encodings import normalize_encoding
from encodings.aliases import aliases

__all__ = ["charset_of", "is_plain", "is_text", "media_type"]

BOMS = {
    codecs.BOM_UTF8: "utf_8",
    codecs.BOM_UTF16_LE: "utf_16_le",
    codecs.BOM_UTF16_BE: "utf_16_be",
}
"""Byte order marks and their codecs (WHATWG Encoding, section 6)."""

CODECS = {
    **{name: name for name in (
        "utf_8", "utf_16_be", "utf_16_le", "iso8859_2", "iso8859_3", "iso8859_4", "iso8859_5",
        "iso8859_6", "iso8859_7", "iso8859_8", "iso8859_10", "iso8859_13", "iso8859_14",
        "iso8859_15", "iso8859_16", "koi8_r", "koi8_u", "mac_roman", "mac_cyrillic", "cp866",
        "cp874", "cp932", "cp949", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255",
        "cp1256", "cp1257", "cp1258", "gb18030", "euc_jp", "iso2022_jp",
    )},
    # labels that mean another encoding (WHATWG Encoding, section 4.2)
    "ascii": "cp1252", "latin_1": "cp1252", "iso8859_1": "cp1252", "iso8859_9": "cp1254",
    "iso8859_11": "cp874", "tis_620": "cp874", "gb2312": "gb18030", "gbk": "gb18030",
    "euc_kr": "cp949", "shift_jis": "cp932", "big5": "big5hkscs", "big5hkscs": "big5hkscs",
    "utf_16": "utf_16_le", "windows_874": "cp874", "iso_8859_8_i": "iso8859_8",
    "visual": "iso8859_8", "logical": "iso8859_8", "mac": "mac_roman", "csmacintosh": "mac_roman",
    "mac_ukrainian": "mac_cyrillic", "koi": "koi8_r", "koi8": "koi8_r", "koi8_ru": "koi8_u",
    "dos_874": "cp874", "gb_2312_80": "gb18030", "csgb2312": "gb18030", "cn_big5": "big5hkscs",
    "windows_31j": "cp932", "windows_949": "cp949", "cseuckr": "cp949", "iso_ir_149": "cp949",
    "unicode": "utf_16_le", "ucs_2": "utf_16_le", "iso_10646_ucs_2": "utf_16_le",
    "unicode_1_1_utf_8": "utf_8", "unicode11utf8": "utf_8", "unicode20utf8": "utf_8",
}  # fmt: skip
"""The codecs of the web's encodings (WHATWG Encoding, section 4), by Python's name of the label.

Python's other codecs (UTF-7, punycode, rot13, ...) are left out: a peer must not choose them.
"""

MAX_SNIFFED = 1024
"""Bytes of a body, and characters of a Content-Type, that are searched for a charset."""

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
    """Return the codec of a text: from its BOM, Content-Type, or meta element, else UTF-8.

    ``beginning`` is the start of the body; its first kilobyte is used (WHATWG HTML section
    13.2.3.2).

    >>> charset_of("text/html; charset=latin1", b""), charset_of(None, b"<meta charset=euc-jp>")
    ('cp1252', 'euc_jp')
    """
    for bom, codec in BOMS.items():
        if beginning.startswith(bom):
            return codec
    found = _CHARSET.search((content_type or "")[:MAX_SNIFFED])
    named = (found[1] or found[2] or "") if found else ""
    if not named:
        sniffed = beginning[:MAX_SNIFFED]
        inside = _META.search(sniffed) or _XML.match(sniffed)
        named = inside[1].decode("ascii") if inside else "utf-8"
    return _codec(named) or "utf_8"


def _codec(label: str) -> str | None:
    """Return the codec for the label of an encoding, None for an unknown one.

    >>> _codec("Windows-1251"), _codec("x-sjis"), _codec("utf-7"), _codec("idna")
    ('cp1251', 'cp932', None, None)
    """
    name = normalize_encoding(label.strip(" \t\n\f\r")).lower()
    names = (name, name.removeprefix("x_"))
    known = (CODECS.get(aliases.get(name, name)) for name in names)
    return next(filter(None, known), None)


def is_plain(content_type: str | None) -> bool:
    """Return whether the media type alone determines charset and kind: the body can be ignored.

    >>> is_plain("text/event-stream"), is_plain("image/png"), is_plain("text/html"), is_plain(None)
    (True, True, False, False)
    """
    kind = media_type(content_type)
    needs_body = kind in {"", "application/octet-stream"} or kind.endswith(("html", "xml"))
    return not needs_body or _CHARSET.search((content_type or "")[:MAX_SNIFFED]) is not None


def is_text(content_type: str | None, beginning: bytes) -> bool:
    """Return whether a body is text, from its media type and its first bytes.

    >>> is_text("text/plain", b"ciao"), is_text("text/plain", b"\\x00"), is_text(None, b"\\x89PNG")
    (True, False, False)
    """
    kind = media_type(content_type)
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    charset = charset_of(content_type, beginning)
    if b"\0" in beginning and not charset.startswith("utf_16"):
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
