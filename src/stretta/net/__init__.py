"""The only room that touches sockets, the event loop and the kernel."""
