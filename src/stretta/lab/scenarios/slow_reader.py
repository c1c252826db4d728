"""A server that waits, and then reads slowly to the end."""

import socket
import time

if __name__ == "__main__":
    with socket.create_server(("", 12000)) as listener:
        connection, client = listener.accept()
        with connection:
            time.sleep(0.4)
            total = 0
            while data := connection.recv(262144):
                total += len(data)
                time.sleep(0.005)
            print(f"read {total} bytes")
