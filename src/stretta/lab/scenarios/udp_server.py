"""A minimal UDP server: one reply for each datagram."""

import socket

if __name__ == "__main__":
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("", 12000))
        while True:
            data, client = server.recvfrom(2048)
            server.sendto(data.upper(), client)
