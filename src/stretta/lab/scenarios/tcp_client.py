"""A minimal TCP client: connect, send, receive, close."""

import socket
import sys

if __name__ == "__main__":
    words = sys.argv[1:]
    message = b"x" * int(words[1]) if words[0] == "--size" else words[0].encode()
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.connect(("10.0.0.2", 12000))
    connection.sendall(message)
    try:
        reply = connection.recv(65536)
        print(f"received {len(reply)} bytes: {reply[:20].decode()}")
        if len(reply) < len(message):
            connection.recv(65536)
    except OSError as error:
        print(f"received no more: {error.strerror}")
    connection.close()
