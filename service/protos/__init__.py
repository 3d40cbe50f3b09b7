"""The gRPC interface: sketchd/v1/sketchd.proto and what protoc makes of it.

Generated files are never edited; `make proto` writes them again, and a test holds them equal.
"""
