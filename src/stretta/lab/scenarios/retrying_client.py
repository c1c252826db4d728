"""The same request twice: without retries, and with them."""

import subprocess
import sys

ASK = [sys.executable, "-m", "stretta", "udp", "client", "-a", "10.0.0.2", "--timeout", "0.5"]

if __name__ == "__main__":
    for retries in ("0", "2"):
        print(f"asking with --retries {retries}", flush=True)
        subprocess.run([*ASK, "--retries", retries, "ciao"], check=False, stdin=subprocess.DEVNULL)
