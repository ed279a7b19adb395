"""alter.py FILE STATEMENT FRAME...: changes frames of a pcapng in place, as scapy reads and writes them.

The statement sees `p`, the frame. scapy writes pcapng with one interface and microseconds, so only the bytes of a frame go
through it: blocks, interfaces, times and options stay as they are. A length or checksum that must follow the change is
deleted by the statement: scapy then makes it anew.
"""

import struct
import sys

from scapy.contrib.igmpv3 import IGMPv3gr  # noqa: F401
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN  # noqa: F401
from scapy.packet import Raw  # noqa: F401
from scapy.utils import rdpcap  # noqa: F401

ENHANCED_PACKET = 6
path, statement, *numbers = sys.argv[1:]
wanted = {int(number) for number in numbers}


def altered(data):
    scope = {**globals(), "p": Ether(data)}
    exec(statement, scope)
    return bytes(scope["p"])


def rewritten(block):
    (length,) = struct.unpack_from("<I", block, 20)
    data = altered(block[28 : 28 + length])
    options = block[28 + (length + 3 & ~3) : -4]
    body = data + bytes(-len(data) % 4) + options
    total = 32 + len(body)
    lengths = struct.pack("<II", len(data), len(data))
    return struct.pack("<II", ENHANCED_PACKET, total) + block[8:20] + lengths + body + struct.pack("<I", total)


source = open(path, "rb").read()
out, at, number = bytearray(), 0, 0
while at < len(source):
    kind, total = struct.unpack_from("<II", source, at)
    block = source[at : at + total]
    number += kind == ENHANCED_PACKET
    out += rewritten(block) if kind == ENHANCED_PACKET and number in wanted else block
    at += total
open(path, "wb").write(out)
