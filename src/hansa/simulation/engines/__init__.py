"""Engines: ways to compute the local training of many clients, one a file. They never import each other's frameworks."""
