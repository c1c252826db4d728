"""A client that sends more than the kernel can buffer: with send(), then with sendall()."""

import socket

MESSAGE = bytes(4_000_000)

if __name__ == "__main__":
    connection = socket.create_connection(("10.0.0.2", 12000))
    connection.setblocking(False)
    taken = connection.send(MESSAGE)
    print(f"send() took {taken} of {len(MESSAGE)} bytes")
    connection.setblocking(True)
    connection.sendall(MESSAGE[taken:])
    print("sendall() took the rest")
    connection.close()
