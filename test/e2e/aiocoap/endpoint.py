"""A device by aiocoap that registers in a resource directory: `register`, `simple` and
`leave` on standard input, a line for each that is done on standard output."""

import asyncio
import sys

import aiocoap
import aiocoap.resource as resource
from aiocoap.resourcedirectory.client.register import Registerer


class Temperature(resource.Resource):
    def get_link_description(self):
        return {"rt": "temperature", "if": "sensor"}

    async def render_get(self, request):
        return aiocoap.Message(payload=b"21.5", content_format=0)


async def main(directory, name):
    site = resource.Site()
    site.add_resource([".well-known", "core"], resource.WKCResource(site.get_resources_as_linkheader))
    site.add_resource(["temp"], Temperature())
    context = await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", 0))
    registerer = None
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        if line == "register":
            registerer = Registerer(
                context, rd=directory, lt=60, registration_parameters={"ep": name, "et": "thermometer"}
            )
            for _ in range(100):
                await asyncio.sleep(0.05)
                if registerer.state == "registered":
                    break
            print(f"state {registerer.state}", flush=True)
        elif line == "simple":
            uri = f"{directory}/.well-known/rd?ep={name}-simply&lt=60"
            answer = await context.request(aiocoap.Message(code=aiocoap.POST, uri=uri)).response
            print(f"simple {answer.code}", flush=True)
        elif line == "leave":
            await registerer.shutdown()
            print("left", flush=True)
    await context.shutdown()


asyncio.run(main(*sys.argv[1:]))
