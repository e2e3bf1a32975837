"""Makes calls continuously, four at a time over one channel, until nothing listens any more.

Prints how many calls were answered and how many were lost.
"""

import sys
import threading
import time

import grpc

channel = grpc.insecure_channel(sys.argv[1], options=[("grpc.enable_http_proxy", 0)])
place = channel.unary_unary("/orders.v1.Orders/Place")
answered, lost = [], []


def load(offset):
    time.sleep(offset * 0.05)
    while True:
        try:
            answered.append(place(b"", timeout=20))
        except grpc.RpcError as error:
            if "connection refused" in error.details().lower():
                return
            lost.append(error)
            print(f"lost: {error.code()}: {error.details()}", file=sys.stderr)
            # The process is ending, or has ended.
            time.sleep(0.05)


clients = [threading.Thread(target=load, args=(offset,)) for offset in range(4)]
for client in clients:
    client.start()
for client in clients:
    client.join()
print(len(answered), len(lost))
