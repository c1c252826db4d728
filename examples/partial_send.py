"""send() sends a part, sendall() waits: shown on a real connection with a slow reader.

Run it: python3 examples/partial_send.py
"""

import socket
import threading

MESSAGE = b"x" * 1_000_000


def main() -> None:
    """Send the same message with send(), then with sendall(), to a slow reader."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        connection, _ = listener.accept()

    with client, connection:
        client.setblocking(False)  # a blocking send() would wait until a part fits
        taken = client.send(MESSAGE)
        print(f"send() took {taken} of {len(MESSAGE)} bytes: nobody has read anything yet")
        calls = 1
        try:
            while True:
                taken += client.send(MESSAGE[taken:])
                calls += 1
        except BlockingIOError:
            print(f"after {calls} calls and {taken} bytes there is no room at all:")
            print("a blocking socket would wait here, this one raised BlockingIOError")

        client.setblocking(True)
        received = []

        def read() -> None:
            while sum(received) < taken + len(MESSAGE):
                received.append(len(connection.recv(65536)))

        reader = threading.Thread(target=read)
        reader.start()  # nothing was read before
        client.sendall(MESSAGE)
        print(f"sendall() took all {len(MESSAGE)}, and returned when the last byte had a place")
        reader.join()
        print(f"the reader needed {len(received)} calls of recv() for {sum(received)} bytes")


if __name__ == "__main__":
    main()
