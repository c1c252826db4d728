"""A minimal UDP client: sends one datagram, receives one."""

import socket
import sys

if __name__ == "__main__":
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.sendto(sys.argv[1].encode(), ("10.0.0.2", 12000))
    reply, server = client.recvfrom(2048)
    print(f"received {reply.decode()}")
    client.close()
