"""The records of a ZIP file whose members are stored as a stream (PKWARE APPNOTE 6.3.10). Pure.

A member's checksum and sizes follow its content, in a data descriptor. Records are in the ZIP64
form where a number needs more than 32 bits.
"""

from __future__ import annotations

import struct

__all__ = ["central_record", "data_descriptor", "end_records", "local_header"]

DESCRIPTOR_FLAG, UTF8_FLAG = 0x8, 0x800
MAX_32, MAX_16 = 0xFFFFFFFF, 0xFFFF
VERSION, ZIP64_VERSION = 20, 45
UNIX = 3 << 8
FILE_MODE, FOLDER_MODE = 0o100644 << 16, 0o040755 << 16 | 0x10

DosTime = tuple[int, int]


def dos_time(moment: tuple[int, ...]) -> DosTime:
    """Return the time and date fields for (year, month, day, hour, minute, second).

    The years that the format knows are 1980 to 2107.

    >>> dos_time((1980, 1, 1, 0, 0, 2)), dos_time((1970, 1, 1, 0, 0, 2))
    ((1, 33), (0, 33))
    """
    if moment[0] < 1980:
        moment = (1980, 1, 1, 0, 0, 0)
    elif moment[0] > 2107:
        moment = (2107, 12, 31, 23, 59, 58)
    year, month, day, hour, minute, second = moment
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day


def local_header(name: bytes, time: DosTime, *, is_folder: bool, is_large: bool) -> bytes:
    """Return the record before a member's content; a large member may exceed 4 GiB."""
    flags = UTF8_FLAG | (0 if is_folder else DESCRIPTOR_FLAG)
    version, size = (ZIP64_VERSION, MAX_32) if is_large else (VERSION, 0)
    extra = struct.pack("<HHQQ", 1, 16, 0, 0) if is_large else b""
    fields = (version, flags, 0, *time, 0, size, size, len(name), len(extra))
    return struct.pack("<4s5H3L2H", b"PK\x03\x04", *fields) + name + extra


def data_descriptor(checksum: int, size: int, *, is_large: bool) -> bytes:
    """Return the record after a member's content."""
    form = "<4sLQQ" if is_large else "<4sLLL"
    return struct.pack(form, b"PK\x07\x08", checksum, size, size)


def central_record(
    name: bytes, time: DosTime, *, is_folder: bool, checksum: int, size: int, offset: int
) -> bytes:
    """Return a member's record in the central directory."""
    extra = b""
    if size >= MAX_32 or offset >= MAX_32:
        extra = struct.pack("<HHQQQ", 1, 24, size, size, offset)
        size = offset = MAX_32
    version = ZIP64_VERSION if extra else VERSION
    flags = UTF8_FLAG | (0 if is_folder else DESCRIPTOR_FLAG)
    mode = FOLDER_MODE if is_folder else FILE_MODE
    versions = (UNIX | version, version)
    lengths = (len(name), len(extra), 0, 0, 0)
    fields = (*versions, flags, 0, *time, checksum, size, size, *lengths, mode, offset)
    return struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *fields) + name + extra


def end_records(members: int, size: int, offset: int) -> bytes:
    """Return the records after a central directory of ``size`` bytes that starts at ``offset``."""
    records = b""
    if members >= MAX_16 or size >= MAX_32 or offset >= MAX_32:
        version = ZIP64_VERSION
        numbers = (members, members, size, offset)
        records = struct.pack(
            "<4sQ2H2L4Q", b"PK\x06\x06", 44, UNIX | version, version, 0, 0, *numbers
        )
        records += struct.pack("<4sLQL", b"PK\x06\x07", 0, offset + size, 1)
        members, size, offset = min(members, MAX_16), min(size, MAX_32), min(offset, MAX_32)
    numbers = (members, members, size, offset)
    return records + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, *numbers, 0)
