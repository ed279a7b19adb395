import { Command, Help, Option } from 'commander'
import { analysers, each, igmpVersion, list, ports, seconds, wholeNumber } from './cli-values.ts'
import type {
  CaptureOptions,
  CheckOptions,
  CniOptions,
  CommandOptions,
  DecryptOptions,
  FaultsOptions,
  JoinOptions,
  JudgeOptions,
  LabOptions,
  ListOptions,
  McastOptions,
  NetflowOptions,
  ProbeOptions,
  RunOptions,
  SendOptions,
} from './commands/options.ts'
import type { Io } from './io.ts'
import { castproofVersion } from './version.ts'

/** Runs `commands/<name>.ts` with what the command line said. */
export type Dispatch = <Name extends keyof CommandOptions>(name: Name, options: CommandOptions[Name]) => Promise<void>

const EXIT_CODES = `
Exit codes:
  0  all passed (skips and waivers are allowed and counted)
  1  the system under test broke a requirement; for faults: a survivor or an idle case
  2  bad arguments or suite
  3  this machine or target cannot, or nothing ran but skips
  4  could not judge
  70 a bug in castproof
  130, 143  stopped by SIGINT, SIGTERM, after teardown`

/** The grammar of ARCHITECTURE section 9: names and flags are a contract. */
export function commandLine(io: Io, dispatch: Dispatch): Command {
  const program = new Command('castproof')
    .description('Packet-level proof that a network delivers IP multicast.')
    .version(castproofVersion(), '-V, --version', 'print the version')
    .enablePositionalOptions()
    .showHelpAfterError('(castproof COMMAND --help shows what a command takes)')
    .exitOverride()
    .configureHelp({ optionDescription })
    .configureOutput({
      writeOut: text => io.stdout.write(text),
      writeErr: text => io.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error:/, 'castproof:')),
      getOutHelpWidth: () => io.stdout.columns ?? 100,
      getErrHelpWidth: () => io.stdout.columns ?? 100,
    })
  for (const add of [addRun, addJudge, addCheck, addList, addExplain, addFaults]) add(program, dispatch)
  for (const add of [
    addSend,
    addJoin,
    addCapture,
    addDecrypt,
    addNetflow,
    addLab,
    addMcast,
    addCni,
    addProbe,
    addAgent,
  ])
    add(program, dispatch)
  return withExamples(
    program,
    ['castproof run', 'castproof run suites/igmp --junit out/', 'castproof probe'],
    EXIT_CODES,
  )
}

/** An option that may repeat starts as an empty list, which is no default worth telling. */
function optionDescription(this: void, option: Option): string {
  return new Help().optionDescription(option).replace(/ ?\(default: \[\]\)/, '')
}

function withExamples(command: Command, examples: string[], more = ''): Command {
  const lines = examples.map(example => `  ${example}`).join('\n')
  return command.addHelpText('after', `\nExamples:\n${lines}\n${more}`.trimEnd())
}

function sandboxOption(): Option {
  const where = 'on this kernel, in a virtual machine, or there what this kernel lacks'
  return new Option('--sandbox <where>', where).choices(['auto', 'host', 'vm']).default('auto')
}

const KERNEL_OPTION = ['--kernel <version>', "of the virtual machine: a Debian kernel's, such as 6.1"] as const

function addRun(program: Command, dispatch: Dispatch): void {
  const command = program
    .command('run')
    .description('bring a target up, run suites on real packets, judge them, report')
    .argument('[suites...]', 'YAML files or folders (default: the suites that come with castproof)')
    .option(
      '--target <name[:file]>',
      'what to test, may repeat (default: what each case is for, reference or router)',
      each,
      [],
    )
    .option('--profile <name|file>', 'cases, timers, declared policy; may repeat, the later wins', each, [])
    .addOption(sandboxOption())
    .option(...KERNEL_OPTION)
    .option('--filter <expr>', 'only the cases that match')
    .option('--seed <n>', 'seed of every random choice (default: 1)', wholeNumber(0, 0xffffffff))
    .option('--out <dir>', 'the run directory (default: a new one under castproof-runs/)')
    .option('--junit <dir>', 'also write JUnit XML there')
    .option('--fault <name>', 'break the reference datapath in this way, may repeat', list, [])
    .option('--waivers <file>', 'known deviations')
    .option('--keys <file>', "open a target's ESP with these (docs/encryption.md)")
    .option('--summary <file>', 'also append a Markdown summary there, such as $GITHUB_STEP_SUMMARY')
    .option('--sonobuoy', 'be a Sonobuoy plugin: progress posts, results and done file in its folder', false)
    .option('--repeat <n>', 'run everything this often', wholeNumber(1, 100_000), 1)
    .option('--jobs <n>', 'cases side by side', wholeNumber(1, 1024))
    .option('--keep', 'leave the target up, with names', false)
    .option('--quiet', 'only failures and the summary', false)
    .option('--image <ref>', 'the probe image of target kubernetes (default: localhost/castproof:dev)')
    .action((suites: string[], options: Omit<RunOptions, 'suites'>) => dispatch('run', { ...options, suites }))
  withExamples(command, [
    'castproof run',
    'castproof run suites/igmp suites/delivery/exactly-once.yaml --junit out/',
    'castproof run --target reference --fault wrong-group-mac',
    'castproof run --profile timing --repeat 20 --quiet',
  ])
}

function addJudge(program: Command, dispatch: Dispatch): void {
  const command = program
    .command('judge')
    .description('recompute every verdict from the recorded packets; needs no root')
    .argument('<run-dir>', 'a directory that castproof run wrote')
    .option('--keys <file>', 'open ESP with these (docs/encryption.md), not with the keys that the run left')
    .option('--junit <dir>', 'also write JUnit XML there')
    .option('--json', 'print result.json instead', false)
    .option('--quiet', 'only failures and the summary', false)
    .action((directory: string, options: Omit<JudgeOptions, 'directory'>) =>
      dispatch('judge', { ...options, directory }),
    )
  withExamples(command, [
    'castproof judge castproof-runs/20260203-040506',
    'castproof judge run-from-a-colleague --junit out/',
  ])
}

function addCheck(program: Command, dispatch: Dispatch): void {
  const command = program
    .command('check')
    .description('validate suites without sending a frame')
    .argument('<suites...>', 'YAML files or folders')
    .option('--profile <name|file>', 'as for run', each, [])
    .action((suites: string[], options: Omit<CheckOptions, 'suites'>) => dispatch('check', { ...options, suites }))
  withExamples(command, ['castproof check suites', 'castproof check my-suite.yaml'])
}

function addList(program: Command, dispatch: Dispatch): void {
  const command = program
    .command('list')
    .description('suites, cases, requirements, and which case covers which')
    .argument('[suites...]', 'YAML files or folders (default: the suites that come with castproof)')
    .option('--requirements', 'by requirement instead of by case', false)
    .option('--json', 'as JSON', false)
    .action((suites: string[], options: Omit<ListOptions, 'suites'>) => dispatch('list', { ...options, suites }))
  withExamples(command, ['castproof list', 'castproof list --requirements', 'castproof list suites/igmp --json'])
}

function addExplain(program: Command, dispatch: Dispatch): void {
  const command = program
    .command('explain')
    .description('a case or requirement: RFC section, bytes sent, what passes, which faults it kills')
    .argument('<id>', 'of a case or a requirement')
    .action((id: string) => dispatch('explain', { id }))
  withExamples(command, ['castproof explain D01', 'castproof explain igmp/join'])
}

function addFaults(program: Command, dispatch: Dispatch): void {
  const command = program
    .command('faults')
    .description('the fault matrix: which case notices which built-in fault')
    .argument('[suites...]', 'YAML files or folders (default: the suites that come with castproof)')
    .option('--fault <name>', 'this row only, may repeat', list, [])
    .addOption(sandboxOption())
    .option(...KERNEL_OPTION)
    .option('--self', 'faults of the generators, too (none are built in yet)', false)
    .option('--out <dir>', 'folder of the run directories (default: a new one under castproof-runs/)')
    .option('--json', 'as JSON', false)
    .action((suites: string[], options: Omit<FaultsOptions, 'suites'>) => dispatch('faults', { ...options, suites }))
  withExamples(command, [
    'castproof faults',
    'castproof faults --fault duplicate-local --fault leak-20ms',
    'castproof faults suites/encryption',
  ])
}

function addSend(program: Command, dispatch: Dispatch): void {
  const command = program
    .command('send')
    .description('send a stream of multicast UDP datagrams by hand')
    .option('--interface <name>', 'where the frames leave; required, unless --pcap')
    .option('--netns <path|name>', 'network namespace of the interface')
    .option('--pcap <file>', 'write the frames to a pcap file instead of sending them')
    .addOption(
      new Option('--engine <name>', 'how they are sent: cap is libpcap, xdp the fastest into a veth')
        .choices(['afpacket', 'cap', 'xdp'])
        .default('afpacket'),
    )
    .option('--group <address>', 'destination', '233.252.0.1')
    .option('--port <n>', 'UDP destination port', wholeNumber(1, 65535), 5001)
    .option('--source <address>', "IPv4 source (default: the interface's)")
    .option('--ttl <n>', 'IPv4 TTL', wholeNumber(0, 255), 16)
    .option('--count <n>', 'datagrams', wholeNumber(1, 4_000_000_000), 10)
    .option('--pps <n>', 'datagrams a second (default: as fast as it goes)', wholeNumber(1, 100_000_000))
    .option('--size <bytes>', 'Ethernet frame without FCS', wholeNumber(60, 9014), 60)
    .action((options: SendOptions) => dispatch('send', options))
  withExamples(command, [
    'castproof send --interface eth1 --group 239.1.2.3 --port 5001 --count 100 --pps 10',
    'castproof send --interface eth0 --netns blue --count 1000000 --size 1400',
    'castproof send --interface veth0 --engine xdp --count 10000000',
    'castproof send --pcap stream.pcap --count 1000',
  ])
}

function addJoin(program: Command, dispatch: Dispatch): void {
  const command = program
    .command('join')
    .description('be an IGMP host by hand: join, answer queries, count copies, leave on Ctrl-C')
    .requiredOption('--interface <name>', 'where reports leave and copies arrive')
    .option('--netns <path|name>', 'network namespace of the interface')
    .requiredOption('--group <address>', 'group, may repeat', list, [])
    .option('--version <n>', 'IGMP version', igmpVersion, 3)
    .option('--address <address>', "the host's address (default: the interface's)")
    .option('--source <address>', 'of the source filter (IGMPv3), may repeat', list, [])
    .addOption(new Option('--mode <mode>', 'of the source filter').choices(['include', 'exclude']))
    .option('--seconds <n>', 'leave after this long', seconds)
    .action((options: JoinOptions) => dispatch('join', options))
  withExamples(command, [
    'castproof join --interface eth1 --group 239.1.2.3',
    'castproof join --interface eth1 --group 232.1.2.3 --source 10.0.0.1 --mode include',
    'castproof join --interface eth0 --netns blue --group 239.1.2.3 --version 2 --seconds 10',
  ])
}

function addCapture(program: Command, dispatch: Dispatch): void {
  const command = program
    .command('capture')
    .description('capture to pcapng with kernel nanosecond stamps; stops on Ctrl-C')
    .requiredOption('--interface <name>', 'where to listen')
    .option('--netns <path|name>', 'network namespace of the interface')
    .option('--filter <expr>', 'pcap-filter(7) expression')
    .requiredOption('-w, --write <file>', 'pcapng file')
    .option('--count <n>', 'stop once there are so many frames', wholeNumber(1))
    .option('--seconds <n>', 'stop after this long', seconds)
    .action((options: CaptureOptions) => dispatch('capture', options))
  withExamples(command, [
    'castproof capture --interface eth1 -w out.pcapng',
    "castproof capture --interface eth0 --netns blue --filter 'igmp or udp port 5001' --seconds 10 -w out.pcapng",
  ])
}

function addDecrypt(program: Command, dispatch: Dispatch): void {
  const command = program
    .command('decrypt')
    .description('open the ESP of a capture: what was inside takes the place of each frame')
    .argument('<capture>', 'pcapng or pcap, Ethernet')
    .requiredOption('--keys <file>', "keys: YAML, Cilium's secret, or Wireshark's esp_sa")
    .requiredOption('-o, --output <file>', 'pcapng file')
    .option('--json', 'the summary as JSON', false)
    .action((capture: string, options: Omit<DecryptOptions, 'capture'>) => dispatch('decrypt', { ...options, capture }))
  withExamples(command, [
    'castproof decrypt eth0.pcapng --keys keys.yaml -o clear.pcapng',
    'castproof decrypt eth0.pcapng --keys ~/.config/wireshark/esp_sa -o clear.pcapng --json',
  ])
}

function addNetflow(program: Command, dispatch: Dispatch): void {
  const command = program
    .command('netflow')
    .description('NetFlow v5, v9 and IPFIX by hand: flows, replication, and what the numbers do not say')
    .argument('[capture]', 'pcapng or pcap of what a collector gets')
    .option('--listen <udp:[address:]port>', 'be the collector instead; stops on Ctrl-C')
    .option('--netns <path|name>', 'network namespace to listen in')
    .option(
      '--port <n>',
      'in a capture: the UDP port of the collector, may repeat (default: 2055, 4739, 9995, 9996)',
      ports,
      [],
    )
    .option('--name <index=name>', 'what an interface is called, may repeat', each, [])
    .addOption(
      new Option('--analyser <name>', 'feed the capture to this collector and judge its totals, may repeat')
        .choices(['nfdump', 'nfacctd'])
        .argParser(analysers)
        .default([]),
    )
    .option('--claim <index=packets>', 'what an analyser says came in there: judged, may repeat', each, [])
    .option('--count <n>', 'stop after so many datagrams', wholeNumber(1))
    .option('--seconds <n>', 'stop after this long', seconds)
    .option('--json', 'every record and finding as a JSON object a line', false)
    .action((capture: string | undefined, options: Omit<NetflowOptions, 'capture'>) =>
      dispatch('netflow', { ...options, ...(capture === undefined ? {} : { capture }) }),
    )
  withExamples(command, [
    'castproof netflow --listen udp:2055',
    'castproof netflow --listen udp:192.168.5.1:2055 --netns collector --seconds 60',
    'castproof netflow collector.pcapng --name 415=Gi1/0 --name 418=Gi2/0',
    'castproof netflow collector.pcapng --port 9999 --json',
    'castproof netflow collector.pcapng --analyser nfdump --claim 415=12000',
  ])
}

function addLab(program: Command, dispatch: Dispatch): void {
  const lab = program.command('lab').description('bring a target up and leave it there')
  const which = (command: Command): Command => command.option('--lab <id>', 'which lab, when there are several')
  const run = (action: LabOptions['action'], given: Partial<LabOptions>): Promise<void> =>
    dispatch('lab', { fault: [], program: [], all: false, json: false, ...given, action })
  lab
    .command('up')
    .description('bring it up, print what it is made of')
    .option('--target <name[:file]>', 'default: reference')
    .option('--suite <file>', 'take the topology of this suite')
    .option('--fault <name>', 'break the reference datapath in this way, may repeat', list, [])
    .action((options: Partial<LabOptions>) => run('up', options))
  which(lab.command('down'))
    .description('remove it')
    .option('--all', 'every lab of ours, and only those', false)
    .action((options: Partial<LabOptions>) => run('down', options))
  which(lab.command('status'))
    .description('labs, nodes, pods, addresses')
    .option('--json', 'as JSON', false)
    .action((options: Partial<LabOptions>) => run('status', options))
  which(lab.command('shell'))
    .description('a shell, or a program, in a pod or node')
    .argument('<place>', 'pod or node')
    .argument('[program...]', 'instead of a shell')
    .passThroughOptions()
    .action((place: string, words: string[], options: Partial<LabOptions>) =>
      run('shell', { ...options, place, program: words }),
    )
  withExamples(lab, [
    'castproof lab up',
    'castproof lab shell n2-1',
    'castproof lab shell n1-1 socat - UDP4-DATAGRAM:233.252.0.1:5001',
    'castproof lab down --all',
  ])
}

function addMcast(program: Command, dispatch: Dispatch): void {
  const mcast = program.command('mcast').description("the reference datapath's tables in a lab")
  const where = (command: Command): Command =>
    command
      .option('--node <name>', 'one node (default: all)')
      .option('--lab <id>', 'which lab, when there are several')
      .option('--json', 'as JSON', false)
  const run = (table: McastOptions['table'], action: McastOptions['action']) => (group: string, options: object) =>
    dispatch('mcast', { json: false, ...options, table, action, group })
  const group = mcast.command('group').description('groups that are enabled')
  where(group.command('list'))
    .description('list them')
    .action(options => run('group', 'list')('all', options))
  where(group.command('add').argument('<address>')).description('enable one').action(run('group', 'add'))
  where(group.command('delete').argument('<address>')).description('disable one').action(run('group', 'delete'))
  const subscriber = mcast.command('subscriber').description('members of groups')
  where(subscriber.command('list').argument('[group]', 'a group, or all', 'all'))
    .description('list them')
    .action(run('subscriber', 'list'))
  where(mcast.command('drops'))
    .description('what the datapath dropped, by reason')
    .action(options => run('drops', 'list')('all', options))
  withExamples(mcast, [
    'castproof mcast group add 225.0.0.11',
    'castproof mcast group list',
    'castproof mcast subscriber list all --node n1',
    'castproof mcast drops --json',
  ])
}

function addCni(program: Command, dispatch: Dispatch): void {
  const cni = program.command('cni').description("the reference datapath as a cluster's network (deploy/reference-cni)")
  const places = { binDir: '/opt/cni/bin', confDir: '/etc/cni/net.d', runtimeBinDir: '/opt/cni/bin' }
  const run = (action: CniOptions['action'], options: Partial<CniOptions>): Promise<void> =>
    dispatch('cni', { ...places, fault: [], ...options, action })
  cni
    .command('agent')
    .description('serve this node until stopped: datapath, CNI plugin, custom resources')
    .option('--node <name>', 'its name in the cluster (default: $NODE_NAME)')
    .option('--fault <name>', 'break the datapath in this way, may repeat', list, [])
    .option('--bin-dir <dir>', 'where the plugin is put', places.binDir)
    .option('--conf-dir <dir>', 'where the network configuration is put', places.confDir)
    .option('--runtime-bin-dir <dir>', 'the former as the container runtime sees it', places.runtimeBinDir)
    .action((options: Partial<CniOptions>) => run('agent', options))
  cni
    .command('faults')
    .argument('[names...]', 'faults; none: the datapath is right')
    .description("exchange the datapath of this node's agent for one with these faults; members must join again")
    .action((fault: string[]) => run('faults', { fault }))
  cni
    .command('ask')
    .description('answer each line of standard input, tables or drops, with a line of JSON')
    .action(() => run('ask', {}))
  cni
    .command('restart')
    .description("restart this node's control plane from the datapath's tables")
    .action(() => run('restart', {}))
  withExamples(cni, [
    'castproof cni agent --node worker-1',
    'castproof cni faults wrong-group-mac',
    'castproof cni faults',
  ])
}

/** Not for people: what it speaks is in runner/agent/protocol.ts. */
function addAgent(program: Command, dispatch: Dispatch): void {
  const command = program
    .command('agent')
    .description('the far end of a command prefix: targets exec and kubernetes start it where their hosts are')
    .action(() => dispatch('agent', {}))
  withExamples(command, ['castproof agent', 'ssh n1 castproof agent', 'ip netns exec rx castproof agent'])
}

function addProbe(program: Command, dispatch: Dispatch): void {
  const command = program
    .command('probe')
    .description('what this machine can do, and the remedy for what it cannot')
    .option('--json', 'as JSON', false)
    .action((options: ProbeOptions) => dispatch('probe', options))
  withExamples(command, ['castproof probe', 'castproof probe --json'])
}
