"""Decoders of records that other tools write. Begin with `cloudevents`; `mapping` makes events of JSON objects."""
