/**
 * What the tests need besides npm packages: programs nobody here wrote, from the distribution (when we are
 * root and apt is there) and from pinned packages. What can't be had is left to the tests, which
 * then skip and name it.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Program on the PATH → the Debian package that has it. */
const programs: Record<string, string> = {
  nft: 'nftables',
  iptables: 'iptables',
  ip: 'iproute2',
  tcpdump: 'tcpdump',
  openssl: 'openssl',
  curl: 'curl',
  setpriv: 'util-linux',
  nsenter: 'util-linux',
  python3: 'python3',
  pip3: 'python3-pip',
}

export async function prepareTestTools(root: string): Promise<void> {
  // Debian keeps network tools in sbin, which an unprivileged PATH may lack.
  process.env.PATH = `${process.env.PATH}${delimiter}/usr/sbin${delimiter}/sbin`
  const missing = new Set(
    Object.entries(programs)
      .filter(([program]) => !onPath(program))
      .map(([, name]) => name),
  )
  if (missing.size > 0) installPackages([...missing])
  const fetcher = join(root, 'tools/kubectl.ts')
  if (existsSync(fetcher)) {
    const { kubectlPath } = (await import(fetcher)) as {
      kubectlPath(version: string): Promise<string>
    }
    await kubectlPath('1.35').catch((error: unknown) =>
      console.log(`kubectl is missing: ${String(error)}`),
    )
    await kubectlPath('1.32').catch((error: unknown) =>
      console.log(`kubectl is missing: ${String(error)}`),
    )
  }
  const { envoyPath } = await import('./envoy.ts')
  await envoyPath().catch((error: unknown) => console.log(`Envoy is missing: ${String(error)}`))
  const { vmagentPath } = await import('./vmagent.ts')
  await vmagentPath().catch((error: unknown) => console.log(`vmagent is missing: ${String(error)}`))
}

export function onPath(program: string): boolean {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .some((folder) => existsSync(join(folder, program)))
}

function installPackages(names: string[]): void {
  if (process.getuid?.() !== 0 || !onPath('apt-get')) {
    console.log(
      `missing for some tests: ${names.join(', ')} (install them with your package manager)`,
    )
    return
  }
  console.log(`installing ${names.join(', ')} ...`)
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  spawnSync('apt-get', ['update', '-q'], { env: environment, stdio: 'ignore' })
  try {
    const options = ['install', '-y', '-q', '--no-install-recommends']
    execFileSync('apt-get', [...options, ...names], { env: environment, stdio: 'pipe' })
  } catch (error) {
    console.log(`apt-get failed: ${String(error)}`)
  }
}
