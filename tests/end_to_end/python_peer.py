"""A client on Python's websockets, driven by pipes.

`python_peer.py URL` sends the lines `text FRAME` and `binary FRAME` of its standard input, prints each frame that it
receives as a line, and closes at the end of its input; then its last line is `closed CODE`.
"""

import sys
import threading

from websockets.sync.client import connect


def send_lines(socket):
    for line in sys.stdin:
        kind, _, frame = line.rstrip("\n").partition(" ")
        socket.send(frame if kind == "text" else frame.encode())
    socket.close()


def main(url):
    with connect(url) as socket:
        threading.Thread(target=send_lines, args=[socket], daemon=True).start()
        for frame in socket:
            print(frame, flush=True)
    print("closed", socket.close_code, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
