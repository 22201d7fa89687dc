"""The server as a process of its own: `python server.py [ADDRESS]`. It waits for two clients."""

import sys

import flower_client  # type: ignore[import-not-found]  # a neighbour, found when this is run

import hansa.interop.flower as fl

if __name__ == "__main__":
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8080"
    history = fl.server.start_server(
        server_address=address, config=fl.server.ServerConfig(num_rounds=5), strategy=flower_client.strategy(2)
    )
    print(history)
