import type { Trial } from './capability.ts'
import { inFreshNamespace, words } from './namespace.ts'

/** Devices and queueing that targets are made of: each is made once in a namespace of its own. */
export const DEVICE_TRIALS: readonly Trial[] = [
  device(
    'veth',
    ['reference', 'router', 'bridge', 'host', 'tests'],
    'CONFIG_VETH',
    'ip link add name probe0 type veth peer name probe1',
  ),
  device(
    'vxlan',
    ['reference', 'tests'],
    'CONFIG_VXLAN',
    'ip link add cilium_vxlan type vxlan external dstport 8472 nolearning',
  ),
  device('bridge', ['bridge'], 'CONFIG_BRIDGE_IGMP_SNOOPING', 'ip link add name probe0 type bridge mcast_snooping 1'),
  device('netem', ['netem'], 'CONFIG_NET_SCH_NETEM', 'tc qdisc add dev lo root netem delay 1ms'),
  device(
    'esp',
    ['esp'],
    'CONFIG_INET_ESP and CONFIG_CRYPTO_GCM',
    `ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 1 mode tunnel aead rfc4106(gcm(aes)) 0x${'0'.repeat(40)} 128`,
  ),
]

function device(name: string, neededFor: string[], kernelOption: string, line: string): Trial {
  return {
    name,
    neededFor,
    ofKernel: true,
    remedy: `needs root and a kernel with ${kernelOption} (modprobe its module), or --sandbox vm`,
    run: async () => {
      await inFreshNamespace(words(line))
      return 'made one'
    },
  }
}
