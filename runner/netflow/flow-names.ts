import type { FlowMessage } from '../../captures/flow-message.ts'
import type { FlowAddress } from '../../captures/flow-record.ts'
import { formatIpv4 } from '../../generators/wire/address.ts'
import { FLOW_FIELD, V9_SCOPE } from '../../generators/wire/flow-fields.ts'
import type { DataRecord } from '../../generators/wire/flow-sets.ts'
import { fieldIndex, fieldValue, formatIpv6, numberOf } from '../../generators/wire/flow-value.ts'

const SCOPE_INTERFACE = 2
const MAX_NAMES = 65_536

/** What exporters say about themselves in Options Data Records, and what the user says of interfaces. */
export class ExporterFacts {
  /** One packet of so many was looked at, by exporter and Source ID. */
  readonly sampling = new Map<string, number>()
  readonly #given: ReadonlyMap<number, string>
  readonly #learnt = new Map<string, string>()

  constructor(given: ReadonlyMap<number, string>) {
    this.#given = given
  }

  /** `415`, or its name where somebody told it. 0 is what the document calls Null. */
  interfaceName(exporter: FlowAddress, index: number | undefined): string {
    if (index === undefined) return '-'
    const given = this.#given.get(index)
    if (given !== undefined || index === 0) return given ?? 'Null'
    return this.#learnt.get(`${exporter} ${index}`) ?? String(index)
  }

  learn(record: DataRecord, message: FlowMessage): void {
    this.#learnName(record, message.exporter)
    const stream = `${exporterText(message.exporter)} source ID ${message.sourceId}`
    const interval = samplingOf(record) ?? (message.samplingInterval || undefined)
    if (interval !== undefined && interval > 1 && this.sampling.size < MAX_NAMES) this.sampling.set(stream, interval)
  }

  #learnName(record: DataRecord, exporter: FlowAddress): void {
    const name = fieldIndex(record, FLOW_FIELD.interfaceName)
    if (name < 0 || this.#learnt.size >= MAX_NAMES) return
    const index = interfaceIndexOf(record)
    const text = String(fieldValue(record, name) ?? '')
    if (index !== undefined && text !== '') this.#learnt.set(`${exporter} ${index}`, text)
  }
}

function interfaceIndexOf(record: DataRecord): number | undefined {
  const { fields } = record.template
  const scope = fields.findIndex(({ id, enterprise }) => enterprise === V9_SCOPE && id === SCOPE_INTERFACE)
  const index = scope >= 0 ? scope : fieldIndex(record, FLOW_FIELD.ingressInterface)
  return index < 0 ? undefined : numberOf(record, index)
}

/** Fields 34, 50 and 305 say the same in NetFlow v5 and v9's early, v9's later and PSAMP's way. */
function samplingOf(record: DataRecord): number | undefined {
  const ids = [FLOW_FIELD.samplingInterval, FLOW_FIELD.samplerRandomInterval, FLOW_FIELD.samplingPacketInterval]
  const index = ids.map(id => fieldIndex(record, id)).find(found => found >= 0)
  return index === undefined ? undefined : numberOf(record, index)
}

export function exporterText(address: FlowAddress | undefined): string {
  if (address === undefined) return '-'
  return typeof address === 'number' ? formatIpv4(address) : formatIpv6(address)
}
