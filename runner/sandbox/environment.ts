/** What the guest's programs are to know of this process's environment: where programs are. */
export function guestEnvironment(): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root' }
}
