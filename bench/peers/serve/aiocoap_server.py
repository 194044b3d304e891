"""aiocoap with a value at /t/bench. Argument: the port."""

import asyncio
import sys

from aiocoap import CHANGED, Context, Message
from aiocoap.resource import Resource, Site


class Value(Resource):
    value = b""

    async def render_get(self, request):
        return Message(payload=self.value)

    async def render_put(self, request):
        self.value = request.payload
        return Message(code=CHANGED)


async def main():
    site = Site()
    site.add_resource(["t", "bench"], Value())
    await Context.create_server_context(site, bind=("127.0.0.1", int(sys.argv[1])))
    await asyncio.get_running_loop().create_future()


asyncio.run(main())
