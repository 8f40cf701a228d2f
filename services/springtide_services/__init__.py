"""The processes of Springtide: ingest, trainer, gRPC server, command line."""
