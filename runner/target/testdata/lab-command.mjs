// Asks a lab's supervisor over its socket, for the inventory of a test: `castproof mcast` takes longer to start than to answer.
// node lab-command.mjs SOCKET enable|disable GROUP, or tables|drops NODE
import { createConnection } from 'node:net'
import { createInterface } from 'node:readline'

const [path, op, subject] = process.argv.slice(2)
const number = address => address.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0)
const request = op === 'enable' || op === 'disable' ? { op, group: number(subject) } : { op }
const socket = createConnection(path, () => socket.write(`${JSON.stringify(request)}\n`))
createInterface({ input: socket }).once('line', line => {
  const reply = JSON.parse(line)
  socket.end()
  if (!reply.ok) {
    console.error(reply.error)
    process.exitCode = 1
    return
  }
  const of = Array.isArray(reply.result) ? reply.result.find(({ node }) => node === subject) : undefined
  if (of) console.log(JSON.stringify(of.groups ?? of.reasons))
})
