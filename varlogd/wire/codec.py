"""Bytes to messages and back: the only place that knows CBOR and JSON.

A message is a frozen `msgspec.Struct`. Decoding has two steps, both strict: the bytes become plain
values under bounds that make hostile input cheap (depth, no indefinite lengths, no duplicate keys, no
tags, nothing after the end), and the plain values become a message of exactly the type asked for, or
an error that names the field. Unknown *extra* fields are ignored, so that a newer peer can say more.
"""

from __future__ import annotations

import io
from typing import Any, TypeVar

import cbor2
import msgspec

from varlogd.errors import ProtocolError
from varlogd.wire.limits import DEPTH_MAX

T = TypeVar("T")


def _refuse_tag(_decoder: object, tag: object = None) -> object:
    """None of our messages has a tag, and several of them make a decoder work or build strange objects."""
    raise ValueError(f"a CBOR tag: {tag}")


# cbor2 decodes these tags itself unless told otherwise: dates, big numbers, fractions, regular
# expressions, MIME, UUIDs, shared values, sets, IP addresses, ...; each is refused like the unknown ones.
_BUILT_IN_TAGS = (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 43000, 52, 54, 100, 256, 258, 260, 261, 1004, 55799)
_REFUSED = dict.fromkeys(_BUILT_IN_TAGS, _refuse_tag)


def encode_cbor(message: msgspec.Struct) -> bytes:
    """The CBOR bytes of a message (RFC 8949, definite lengths)."""
    return cbor2.dumps(msgspec.to_builtins(message, builtin_types=(bytes,)))


def decode_cbor(data: bytes, kind: type[T] | Any) -> T:
    """The message of type ``kind`` (a Struct or a union of tagged Structs) in ``data``.

    Raises ProtocolError for anything else; the text names the field and never repeats the bytes.
    """
    stream = io.BytesIO(data)
    try:
        plain = cbor2.load(
            stream,
            tag_hook=_refuse_tag,
            semantic_decoders=_REFUSED,
            max_depth=DEPTH_MAX,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
    except (cbor2.CBORError, ValueError, EOFError, RecursionError, OverflowError, MemoryError, TypeError) as error:
        raise ProtocolError(f"not a CBOR message: {type(error).__name__}") from error
    if stream.tell() != len(data):
        raise ProtocolError("bytes after the end of the message")
    message: T = _shape(plain, kind)
    return message


def encode_json(message: msgspec.Struct | dict[str, Any]) -> str:
    """The JSON text of a message: one line."""
    return msgspec.json.encode(message).decode()


def decode_json(data: str, kind: type[T] | Any) -> T:
    """The message of type ``kind`` in JSON text; raises ProtocolError as `decode_cbor` does."""
    try:
        message: T = msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"not a message of this protocol: {error}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {error}") from error
    return message


def _shape(plain: object, kind: type[T] | Any) -> T:
    try:
        message: T = msgspec.convert(plain, type=kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ProtocolError(f"not a message of this protocol: {error}") from error
    return message
