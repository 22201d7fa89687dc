"""Transforms: what changes an update on its way out of a client, and back in at the server. One idea a file."""
