/** Other surroundings for a mesh than the machine of the tests: namespaces that live as long as one process. */
import { type ChildProcess, spawn } from 'node:child_process'

/**
 * Sockets of IPv6 don't exist for a program that is started by this and for all that it starts: what a kernel without
 * IPv6 answers (EAFNOSUPPORT). A namespace without IPv6 addresses is not enough for that, because a mesh makes
 * namespaces of its own, which have them again.
 */
const withoutIpv6Sockets =
  `
my ($prctl, $socket) = ` +
  '`uname -m`' +
  ` =~ /aarch64/ ? (167, 198) : (157, 41);
my @code = ([0x20, 0, 0, 0], [0x15, 0, 3, $socket], [0x20, 0, 0, 16], [0x15, 0, 1, 10],
  [6, 0, 0, 0x00050000 | 97], [6, 0, 0, 0x7fff0000]);
my $filter = join "", map { pack "SCCL", @$_ } @code;
my $program = pack "S x6 P", scalar(@code), $filter;
syscall($prctl, 22, 2, $program) == 0 or die "seccomp: $!";
exec @ARGV or die $!`

export class Surroundings {
  /** For `MeshOptions.enter`. */
  readonly enter: readonly string[]
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, enter: readonly string[]) {
    this.#child = child
    this.enter = enter
  }

  /** A machine whose kernel has no IPv6, with a loopback of its own. */
  static async withoutIpv6(): Promise<Surroundings> {
    const child = await hold(
      ['--net'],
      'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ip link set lo up',
    )
    const enter = ['nsenter', '-t', String(child.pid), '-n', '--']
    return new Surroundings(child, [...enter, 'perl', '-e', withoutIpv6Sockets, '--'])
  }

  /**
   * Like a container: own processes and mounts, nothing in /run, and a checkout that can't be written.
   * @param checkout the folder that becomes read-only
   */
  static async container(checkout: string): Promise<Surroundings> {
    const child = await hold(
      ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc', '--uts', '--ipc', '--net'],
      `ip link set lo up; mount -t tmpfs none /run; mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"`,
      checkout,
    )
    // The parent of the new processes is unshare; their first one is its child.
    const script =
      'pid=$(cat /proc/$0/task/$0/children); exec nsenter -t $pid -m -p -u -i -n -- "$@"'
    return new Surroundings(child, ['sh', '-c', script, String(child.pid)])
  }

  /** Ends all that runs in there. */
  stop(): void {
    this.#child.kill('SIGKILL')
  }
}

/** Makes namespaces, prepares them by a script, and keeps them. */
async function hold(flags: string[], script: string, word = 'sh'): Promise<ChildProcess> {
  const line = `set -e; ${script}; echo ready; exec sleep infinity`
  const child = spawn('unshare', [...flags, 'sh', '-c', line, word], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await new Promise<void>((done, fail) => {
    child.stdout.once('data', () => done())
    child.once('exit', (code) => fail(new Error(`unshare ended with ${code}`)))
  })
  return child
}
