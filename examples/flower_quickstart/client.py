"""A client as a process of its own: `python client.py PARTITION [ADDRESS]`. It waits until the server is up."""

import sys

import flower_client  # type: ignore[import-not-found]  # a neighbour, found when this is run

import hansa.interop.flower as fl

if __name__ == "__main__":
    address = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:8080"
    fl.client.start_numpy_client(server_address=address, client=flower_client.DigitsClient(int(sys.argv[1])))
