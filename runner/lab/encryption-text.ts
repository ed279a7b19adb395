import type { XfrmState } from '../observation.ts'
import type { NodeEncryption } from './protocol.ts'

/** As `cilium-dbg encrypt status` has it, node by node. */
export function encryptionText(mode: string | undefined, nodes: NodeEncryption): string[] {
  if (mode === undefined) return ['Encryption:  Disabled']
  return [`Encryption:  IPsec (${mode})`, ...nodes.flatMap(nodeText)]
}

function nodeText({ node, states, errors }: NodeEncryption[number]): string[] {
  const counted = Object.entries(errors).filter(([, count]) => count > 0)
  const sum = counted.reduce((total, [, count]) => total + count, 0)
  return [
    `  ${node}  Keys in use: ${states.length} (SPI ${spis(states)})`,
    `      Max Seq. Number: ${highest(states)}`,
    `      Errors: ${sum}`,
    ...counted.map(([name, count]) => `        ${name}: ${count}`),
  ]
}

function spis(states: readonly XfrmState[]): string {
  return [...new Set(states.map(state => state.spi))].sort((a, b) => a - b).join(', ') || 'none'
}

/** Of what was sent: beyond the last one an SA sends nothing. */
function highest(states: readonly XfrmState[]): string {
  const most = states.reduce<XfrmState | undefined>(
    (best, one) => (one.oseq > (best?.oseq ?? 0) ? one : best),
    undefined,
  )
  return most ? `0x${most.oseq.toString(16)}/${most.esn ? '0xffffffffffffffff' : '0xffffffff'}` : 'N/A'
}
