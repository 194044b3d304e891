/** A started gateway over FakeNative, for the tests of this folder. */
import type { ExecutionContext } from "ava"
import { createGateway, type Gateway } from "../../src/gateway/index.ts"
import { type FakeGateway, FakeNative } from "../../src/native/index.ts"

export interface Started {
  readonly gateway: Gateway
  readonly native: FakeGateway
}

/** Closed when the test ends. Nothing on disk, one worker. */
export async function start(t: ExecutionContext, config: object = {}): Promise<Started> {
  const fake = new FakeNative()
  const gateway = await createGateway({ workers: 1, dataDir: false, ...config }, { native: fake })
  await gateway.start()
  t.teardown(() => gateway.close())
  return { gateway, native: fake.gateway }
}

/** Resolves once `check` holds; it is asked at every turn of the event loop, for 20 s at most. */
export async function until(check: () => boolean): Promise<void> {
  const end = Date.now() + 20_000
  while (!check()) {
    if (Date.now() > end) throw new Error(`still not so after 20 s: ${check}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}
