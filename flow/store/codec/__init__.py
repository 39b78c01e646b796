"""The codec of stored values: msgpack, codecs by type, and what a node's output is decoded by."""

from __future__ import annotations

from flow.exports import only
from flow.store.codec.codecs import Codecs
from flow.store.codec.hints import Hint, Hints, decoder_of, item_decoder_of
from flow.store.codec.protocol import Codec

__all__ = ["Codec", "Codecs", "Hint", "Hints", "decoder_of", "item_decoder_of"]
__dir__ = only(__all__)
