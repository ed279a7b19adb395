"""Traffic from real sockets: send GROUP PORT PAYLOAD BURST GAP_MS [COUNT] | receive GROUP PORT [RCVBUF SLEEP_MS]"""
import socket, sys, time

mode, address, port, *rest = sys.argv[1], sys.argv[2], int(sys.argv[3]), *map(int, sys.argv[4:])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if mode == "send":
    size, burst, gap_ms, count = (*rest, 1 << 60)[:4]
    due = time.monotonic()
    print("ready", flush=True)
    for _ in range(count):
        for _ in range(burst):
            sock.sendto(b"x" * size, (address, port))
        due += gap_ms / 1000
        time.sleep(max(0, due - time.monotonic()))
else:
    rcvbuf, sleep_ms = (*rest, 0, 0)[:2]
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if rcvbuf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    sock.bind(("", port))
    if int(address.split(".")[0]) >= 224:
        interface = socket.if_nametoindex("eth0")
        membership = socket.inet_aton(address) + bytes(4) + interface.to_bytes(4, sys.byteorder)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    print("ready", flush=True)
    while True:
        sock.recv(65536)
        time.sleep(sleep_ms / 1000)
