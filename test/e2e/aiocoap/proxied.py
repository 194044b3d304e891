"""Asks a forward proxy by aiocoap, by Proxy-Scheme or, for HTTP, by Proxy-Uri: a URI a line on standard input, what comes back on standard output."""

import asyncio
import sys

import aiocoap
from aiocoap.proxy.client import ProxyForwarder


async def main(proxy):
    context = await aiocoap.Context.create_client_context()
    forwarder = ProxyForwarder(f"coap://{proxy}", context)
    loop = asyncio.get_running_loop()
    while uri := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        try:
            request = aiocoap.Message(code=aiocoap.GET, uri=uri)
            if request.opt.proxy_uri is not None:
                # The forwarder knows Proxy-Scheme only.
                request.remote = forwarder.proxy_address
                answer = await context.request(request).response
            else:
                answer = await forwarder.request(request).response
            print(f"{answer.code} {answer.payload.decode()}", flush=True)
        except Exception as error:
            print(f"failed {error!r}", flush=True)


asyncio.run(main(*sys.argv[1:]))
