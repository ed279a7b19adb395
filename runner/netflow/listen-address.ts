import { asIpv4 } from '../../generators/wire/address.ts'
import { UserError } from '../suite/errors.ts'

/** Where to listen: `udp:2055`, `udp:192.0.2.1:2055`. */
export interface ListenAddress {
  address: number
  port: number
}

export function parseListen(text: string): ListenAddress {
  const [, dotted = '0.0.0.0', port = ''] = /^udp:(?:([\d.]+):)?(\d{1,5})$/.exec(text) ?? []
  const address = asIpv4(dotted)
  if (address === undefined || port === '' || Number(port) < 1 || Number(port) > 65535) throw wrong(text)
  return { address, port: Number(port) }
}

function wrong(text: string): UserError {
  return new UserError('bad-listen', `--listen ${text} is no place to listen`, {
    hint: 'udp:PORT or udp:ADDRESS:PORT, for example udp:2055',
  })
}

/** `415=Gi1/0`: what a person calls an interface. */
export function parseNames(texts: readonly string[]): Map<number, string> {
  return new Map(
    texts.map(text => {
      const [, index = '', name = ''] = /^(\d{1,10})=(.+)$/.exec(text) ?? []
      if (index === '')
        throw new UserError('bad-name', `--name ${text} names no interface`, {
          hint: 'INDEX=NAME, for example 415=Gi1/0',
        })
      return [Number(index), name]
    }),
  )
}
