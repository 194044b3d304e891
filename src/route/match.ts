/**
 * Match builders: the same data as in YAML, with completion in the editor and a way to
 * add conditions. `path("/api/**").withHeader("x-tenant")` is `{ path, header }`.
 */
import type { CertificateMatch, Match, TextMatch } from "../model/match.ts"

/** A condition; each `with*` gives a new one that must hold as well. */
export class MatchBuilder implements Match {
  declare readonly path?: TextMatch
  declare readonly host?: string
  declare readonly method?: string | readonly string[]
  declare readonly header?: Readonly<Record<string, TextMatch | true>>
  declare readonly query?: Readonly<Record<string, TextMatch | true>>
  declare readonly topic?: string
  declare readonly clientId?: TextMatch
  declare readonly user?: TextMatch
  declare readonly protocol?: string | readonly string[]
  declare readonly source?: string | readonly string[]
  declare readonly sni?: string
  declare readonly certificate?: boolean | CertificateMatch

  constructor(match: Match) {
    Object.assign(this, match)
  }

  withPath(path: TextMatch): MatchBuilder {
    return new MatchBuilder({ ...this, path })
  }

  withHost(host: string): MatchBuilder {
    return new MatchBuilder({ ...this, host })
  }

  withMethod(...method: string[]): MatchBuilder {
    return new MatchBuilder({ ...this, method })
  }

  /** Without a value: the header must be there. */
  withHeader(name: string, value: TextMatch | true = true): MatchBuilder {
    return new MatchBuilder({ ...this, header: { ...this.header, [name]: value } })
  }

  withQuery(name: string, value: TextMatch | true = true): MatchBuilder {
    return new MatchBuilder({ ...this, query: { ...this.query, [name]: value } })
  }

  withTopic(topic: string): MatchBuilder {
    return new MatchBuilder({ ...this, topic })
  }

  withClientId(clientId: TextMatch): MatchBuilder {
    return new MatchBuilder({ ...this, clientId })
  }

  withUser(user: TextMatch): MatchBuilder {
    return new MatchBuilder({ ...this, user })
  }

  withProtocol(...protocol: string[]): MatchBuilder {
    return new MatchBuilder({ ...this, protocol })
  }

  withSource(...source: string[]): MatchBuilder {
    return new MatchBuilder({ ...this, source })
  }

  withSni(sni: string): MatchBuilder {
    return new MatchBuilder({ ...this, sni })
  }

  /** A valid client certificate was shown, or, by `false`, none was. */
  withCertificate(certificate: boolean | CertificateMatch = true): MatchBuilder {
    return new MatchBuilder({ ...this, certificate })
  }
}

const none = new MatchBuilder({})

/** `/a` exact, `/a/**` prefix, `/a/{id}` one segment, `{ regex }`. */
export const path = (value: TextMatch): MatchBuilder => none.withPath(value)
/** `a.com`, or `*.a.com` for one or more labels in front. */
export const host = (value: string): MatchBuilder => none.withHost(value)
export const method = (...values: string[]): MatchBuilder => none.withMethod(...values)
/** Without a value: the header must be there. */
export const header = (name: string, value: TextMatch | true = true): MatchBuilder => none.withHeader(name, value)
export const query = (name: string, value: TextMatch | true = true): MatchBuilder => none.withQuery(name, value)
/** Topic filter with `+` and `#`. */
export const topic = (filter: string): MatchBuilder => none.withTopic(filter)
export const clientId = (value: TextMatch): MatchBuilder => none.withClientId(value)
/** The user that authenticated: with a CONNECT, or by certificate. */
export const user = (value: TextMatch): MatchBuilder => none.withUser(value)
export const protocol = (...values: string[]): MatchBuilder => none.withProtocol(...values)
/** CIDRs or addresses of the peer. */
export const source = (...cidrs: string[]): MatchBuilder => none.withSource(...cidrs)
export const sni = (name: string): MatchBuilder => none.withSni(name)
/** A valid client certificate was shown, or, by `false`, none was. */
export const certificate = (wanted: boolean | CertificateMatch = true): MatchBuilder => none.withCertificate(wanted)
