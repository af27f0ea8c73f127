"""Pure codecs, one module per wire format: bytes in, values out; MalformedError for bytes that break the format."""
