import { execFileSync } from 'node:child_process'
import * as assert from 'uvu/assert'
import { createNetns, inNetns, type Netns } from '../generators/linux/netns.ts'
import { formatIpv4 } from '../generators/wire/address.ts'
import { suite } from '../test/suite.ts'
import { objectPath } from './object-path.ts'
import { SOCKET_COUNTER_FAULTS, SOCKET_FAULTS, socketFaultMask } from './socket-faults.ts'
import { readRefused, readSockets, SOCKET_LAYOUT, type SocketRow, SocketStats } from './socket-stats.ts'

const test = suite('socket counters and the kernel', { timeoutMs: 60_000 })

interface BtfType {
  kind: string
  name: string
  size?: number
  members?: { name: string; bits_offset: number }[]
}

function struct(name: string): BtfType {
  const file = objectPath('socket-stats')
  const dump = execFileSync('bpftool', ['-j', 'btf', 'dump', 'file', file], { encoding: 'utf8' })
  const found = (JSON.parse(dump).types as BtfType[]).find(type => type.kind === 'STRUCT' && type.name === name)
  if (!found) throw new Error(`no struct ${name} in BTF`)
  return found
}

for (const [name, layout] of Object.entries(SOCKET_LAYOUT))
  test(`layout of struct ${name}`, () => {
    const { size, members = [] } = struct(name)
    const fromBtf = Object.fromEntries(members.map(member => [member.name, member.bits_offset / 8]))
    assert.equal({ ...layout }, { sizeBytes: size, ...fromBtf })
  })

test('faults are those of the header, in their order', () => {
  const header = new URL('socket-faults.h', import.meta.url).pathname
  const names = execFileSync('grep', ['-oE', '^\tSOCKET_FAULT_[A-Z0-9_]+', header], { encoding: 'utf8' })
  const bits = names
    .trim()
    .split('\n')
    .map(name => name.trim().slice('SOCKET_FAULT_'.length))
  assert.equal(
    SOCKET_COUNTER_FAULTS.map(fault => fault.name.toUpperCase().replaceAll('-', '_')),
    bits.filter(name => name !== 'MAX'),
  )
  assert.is(socketFaultMask([SOCKET_FAULTS[3]?.name ?? '', 'sockets-swapped']), 8n)
})

/** Runs a Python program in a namespace whose sockets are counted; what it prints, and the rows. */
function counted(program: string): { printed: string[]; rows: SocketRow[] } {
  const ns = prepared()
  const stats = SocketStats.load()
  try {
    const cookie = stats.addPod(ns)
    const printed = inNetns(ns, () => execFileSync('python3', ['-c', PRELUDE + program], { encoding: 'utf8' }))
    const rows = readSockets(stats.maps)
    assert.ok(rows.every(row => row.netns === cookie && row.binary.includes('/python3')))
    assert.is(readRefused(stats.maps), 0)
    return { printed: printed.trim().split('\n'), rows }
  } finally {
    stats.close()
    ns.close()
  }
}

function prepared(): Netns {
  const ns = createNetns()
  const batch = [
    'link set lo up',
    'link add d0 type veth peer name d1',
    'addr add 10.9.0.1/24 dev d0',
    'link set d0 up',
    'link set d1 up',
    'route add 224.0.0.0/4 dev d0',
  ]
  inNetns(ns, () => execFileSync('ip', ['-batch', '-'], { input: batch.join('\n') }))
  return ns
}

const PRELUDE = `
import socket, struct
GROUP, PORT = '239.1.1.1', 5000
def receiver(rcvbuf=None, bind=''):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if rcvbuf: s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    s.bind((bind, PORT))
    return s
def join(s): s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + socket.inet_aton('10.9.0.1'))
def sender(): return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def drops(s): return struct.unpack('9I', s.getsockopt(socket.SOL_SOCKET, 55, 36))[8]
def drained(s):
    s.settimeout(0.2)
    n = bytes = 0
    try:
        while True: bytes += len(s.recv(70000)); n += 1
    except socket.timeout: return n, bytes
`

const row = (rows: readonly SocketRow[], local: string): SocketRow => {
  const found = rows.find(each => formatIpv4(each.local) === local)
  if (!found) throw new Error(`no row of ${local} among ${rows.map(each => formatIpv4(each.local))}`)
  return found
}

test('what finds no room is what the kernel says it is: sk_drops, and what the program read', () => {
  const { printed, rows } = counted(`
r = receiver(rcvbuf=2304, bind='127.0.0.1')
s = sender()
for i in range(200): s.sendto(b'x' * (i + 1), ('127.0.0.1', PORT))
n, read = drained(r)
print(n); print(read); print(drops(r))
`)
  const { rx, tx, drops, dropBytes } = row(rows, '127.0.0.1')
  assert.equal([rx.segs - drops, rx.bytes - dropBytes, drops].map(String), printed)
  assert.ok(drops > 0)
  assert.equal([rx.segs, rx.bytes, tx.segs, tx.bytes], [200, 20_100, 200, 20_100])
})

test('each of two sockets gets a group’s datagrams, fragmented ones whole; what is looped back has been sent once', () => {
  const { printed, rows } = counted(`
a, b, s = receiver(), receiver(), sender()
join(a); join(b)
for i in range(7): s.sendto(b'x' * 100, (GROUP, PORT))
s.sendto(b'x' * 5000, (GROUP, PORT))
print(*drained(a)); print(*drained(b))
`)
  assert.equal(printed, ['8 5700', '8 5700'])
  const { rx, drops } = row(rows, '239.1.1.1')
  assert.equal([rx.segs, rx.bytes, drops], [16, 11_400, 0])
  const { tx } = row(rows, '10.9.0.1')
  assert.equal([tx.segs, tx.bytes], [8, 5700])
})

test('segments of UDP_SEGMENT are counted one by one', () => {
  const { printed, rows } = counted(`
r, s = receiver(bind='127.0.0.1'), sender()
s.setsockopt(socket.IPPROTO_UDP, 103, 500)
s.sendto(b'x' * 2300, ('127.0.0.1', PORT))
print(*drained(r))
`)
  assert.equal(printed, ['5 2300'])
  const { rx, tx } = row(rows, '127.0.0.1')
  assert.equal([rx.segs, rx.bytes, tx.segs, tx.bytes], [5, 2300, 5, 2300])
})

test('a burst is two or more less than a millisecond apart', () => {
  const { rows } = counted(`
import time
r, s = receiver(bind='127.0.0.1'), sender()
for n in (3, 1, 2, 1):
    for i in range(n): s.sendto(b'x', ('127.0.0.1', PORT))
    time.sleep(0.05)
`)
  const { rx, tx } = row(rows, '127.0.0.1')
  assert.equal([rx.segs, rx.bursts, tx.bursts], [7, 2, 2])
})

test('sockets of other namespaces and of before are nobody’s', () => {
  const [ours, other] = [prepared(), prepared()]
  const stats = SocketStats.load()
  try {
    stats.addPod(ours)
    const talk = 's = sender(); r = receiver(bind="127.0.0.1"); s.sendto(b"x", ("127.0.0.1", PORT))'
    inNetns(other, () => execFileSync('python3', ['-c', PRELUDE + talk]))
    assert.equal(readSockets(stats.maps), [])
  } finally {
    stats.close()
    ours.close()
    other.close()
  }
})

test.run()
