/** A broker behind the gateway that says exactly what a test wants it to say. */
import { once } from "node:events"
import { type AddressInfo, createServer, type Socket } from "node:net"
import type { ExecutionContext } from "ava"
import type { IConnectPacket } from "mqtt-packet"
import { RawClient, type Target, type Version } from "./raw.ts"

export interface Meeting {
  readonly client: RawClient
  readonly broker: RawClient
  readonly connect: IConnectPacket
}

export interface FakeBroker {
  readonly port: number
  /**
   * A client that came through the gateway, the broker's end of its connection, and the CONNECT that the broker got;
   * `properties`: of the CONNACK.
   */
  meet(target: Target, connect?: object, properties?: object): Promise<Meeting>
}

/** Closed when the test ends. */
export async function fakeBroker(t: ExecutionContext<unknown>): Promise<FakeBroker> {
  const sockets: Socket[] = []
  const server = createServer((socket) => sockets.push(socket)).listen(0, "127.0.0.1")
  await once(server, "listening")
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return {
    port: (server.address() as AddressInfo).port,
    async meet(target, terms = {}, properties = {}) {
      const version = ((terms as { protocolVersion?: Version }).protocolVersion ?? 5) as Version
      const coming = once(server, "connection") as Promise<[Socket]>
      const joining = RawClient.connect(target, terms)
      const broker = RawClient.over((await coming)[0], version)
      const connect = await broker.expect("connect")
      broker.send({ cmd: "connack", reasonCode: 0, returnCode: 0, sessionPresent: false, properties })
      const { client, connack } = await joining
      t.is(connack?.cmd, "connack")
      return { client, broker, connect }
    },
  }
}
