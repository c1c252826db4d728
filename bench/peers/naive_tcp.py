"""The simplest TCP server there is: one client after the other, one recv, one send, close."""

import socket
import sys

with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.send(connection.recv(1024).upper())
