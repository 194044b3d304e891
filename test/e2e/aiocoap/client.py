"""A device by aiocoap, with OSCORE where a folder holds its context: `METHOD PATH BODY`,
`observe PATH` and `large PATH` on standard input, what comes back on standard output."""

import asyncio
import sys

import aiocoap


async def main(gateway, folder=None):
    context = await aiocoap.Context.create_client_context()
    if folder is not None:
        context.client_credentials.load_from_dict({f"{gateway}/*": {"oscore": {"basedir": folder}}})
    loop = asyncio.get_running_loop()
    observing = []
    print("ready", flush=True)

    async def watch(path):
        request = context.request(aiocoap.Message(code=aiocoap.GET, uri=gateway + path, observe=0))
        first = await request.response
        print(f"observed {first.code} {first.payload.decode()}", flush=True)
        try:
            async for message in request.observation:
                print(f"observed {message.code} {message.payload.decode()}", flush=True)
        except aiocoap.error.Error as error:
            print(f"observed no more: {error!r}", flush=True)

    while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        word, path, *rest = line.split(" ", 2)
        try:
            if word == "observe":
                observing.append(asyncio.create_task(watch(path)))
                continue
            body = b"0123456789" * 300 if word == "large" else " ".join(rest).encode()
            code = aiocoap.PUT if word == "large" else getattr(aiocoap, word)
            message = aiocoap.Message(code=code, uri=gateway + path, payload=body)
            answer = await context.request(message).response
            print(f"{line[:40]}: {answer.code} {len(answer.payload)} {answer.payload[:60].decode()}", flush=True)
        except Exception as error:
            print(f"{line[:40]}: failed {error!r}", flush=True)


asyncio.run(main(*sys.argv[1:]))
