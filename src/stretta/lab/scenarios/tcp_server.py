"""A minimal TCP server: one receive and one reply for each client, one after the other."""

import socket

if __name__ == "__main__":
    with socket.create_server(("", 12000)) as listener:
        while True:
            connection, client = listener.accept()
            with connection:
                data = connection.recv(1024)
                connection.sendall(data.upper())
