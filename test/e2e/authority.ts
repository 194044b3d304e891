/** A certification authority of openssl's in a folder: `ca.pem`, `ca.crl`, and `<name>.pem` with `<name>.key` of each it issues. */
import { spawnSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"

export interface Authority {
  /** A certificate with a common name and alternative names. */
  issue(name: string, subject: string, names: string): void
  /** One of X.509 version 1, as openssl makes it without extensions; ends a number of days from now. */
  issueOld(name: string, subject: string, days: number): void
  /** It stands in the list from now on. */
  revoke(name: string): void
}

/** With an empty list. Throws what openssl complains of. */
export function createAuthority(folder: string): Authority {
  const openssl = (...args: string[]): void => {
    const done = spawnSync("openssl", args, { cwd: folder, encoding: "utf8" })
    if (done.status !== 0) throw new Error(`openssl ${args.join(" ")}: ${done.stderr}`)
  }
  const write = (name: string, text: string): void => writeFileSync(join(folder, name), text)
  const list = (): void => openssl("ca", "-gencrl", "-config", "ca.cnf", "-out", "ca.crl")
  const section = "database=index.txt\nserial=serial\nnew_certs_dir=.\ncertificate=ca.pem\nprivate_key=ca.key"
  const rules =
    "default_md=sha256\ndefault_days=30\ndefault_crl_days=30\npolicy=any\nunique_subject=no\ncopy_extensions=none\ncrlnumber=crlnumber\ncrl_extensions=list"
  const policy = "[any]\ncommonName=optional\norganizationName=optional\n[list]\nauthorityKeyIdentifier=keyid"
  write("ca.cnf", `[ca]\ndefault_ca=own\n[own]\n${section}\n${rules}\n${policy}\n`)
  write("index.txt", "")
  write("serial", "1000\n")
  write("crlnumber", "01\n")
  const key = ["-newkey", "rsa:2048", "-nodes"]
  openssl("req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=own", "-days", "30")
  list()
  return {
    issue: (name, subject, names) => {
      openssl("req", ...key, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", subject)
      write(`${name}.ext`, `subjectAltName=${names}\nkeyUsage=digitalSignature\n`)
      openssl(
        "ca",
        "-batch",
        "-config",
        "ca.cnf",
        "-in",
        `${name}.csr`,
        "-out",
        `${name}.pem`,
        "-extfile",
        `${name}.ext`,
      )
    },
    issueOld: (name, subject, days) => {
      const time = (at: number): string => `${new Date(at).toISOString().replace(/[-:T]|\.\d+/g, "")}`
      const [begins, ends] = [time(Date.now() - 2 * 86_400_000), time(Date.now() + days * 86_400_000)]
      openssl("req", ...key, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", subject)
      const whole = ["-in", `${name}.csr`, "-out", `${name}.pem`, "-startdate", begins, "-enddate", ends]
      openssl("ca", "-batch", "-config", "ca.cnf", ...whole)
    },
    revoke: (name) => {
      openssl("ca", "-config", "ca.cnf", "-revoke", `${name}.pem`)
      list()
    },
  }
}
