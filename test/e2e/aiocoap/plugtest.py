"""The server of the ETSI plugtests of CoAP by aiocoap, on a free port: the resources that
their cases name. It prints its port once it is there."""

import asyncio
import hashlib
import socket
import sys

import aiocoap.resource as resource
from aiocoap import Context, Message
from aiocoap.numbers import codes

LARGE = b"".join(b"line %04d of a large resource\n" % line for line in range(60))


class Value(resource.Resource):
    """A value that PUT changes; tagged, with If-Match and If-None-Match."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def tag(self):
        return hashlib.sha256(self.value).digest()[:6]

    async def render_get(self, request):
        if self.value is None:
            return Message(code=codes.NOT_FOUND)
        if self.tag() in request.opt.etags:
            return Message(code=codes.VALID, etag=self.tag())
        return Message(payload=self.value, content_format=0, etag=self.tag())

    async def render_put(self, request):
        wanted = request.opt.if_match
        if wanted and (self.value is None or not {self.tag(), b""} & set(wanted)):
            return Message(code=codes.PRECONDITION_FAILED)
        if request.opt.if_none_match and self.value is not None:
            return Message(code=codes.PRECONDITION_FAILED)
        is_new, self.value = self.value is None, request.payload
        return Message(code=codes.CREATED if is_new else codes.CHANGED, etag=self.tag())

    async def render_post(self, request):
        return Message(code=codes.CREATED, location_path=("location1", "location2", "location3"))

    async def render_delete(self, request):
        return Message(code=codes.DELETED)


class Separate(resource.Resource):
    async def render_get(self, request):
        await asyncio.sleep(1)
        return Message(payload=b"later", content_format=0)


class Query(resource.Resource):
    async def render_get(self, request):
        return Message(payload="&".join(request.opt.uri_query).encode(), content_format=0)

    async def render_post(self, request):
        return Message(code=codes.CREATED, location_query=("first=1", "second=2"))


class Formats(resource.Resource):
    async def render_get(self, request):
        payloads = {None: b"text", 0: b"text", 41: b"<xml/>"}
        if request.opt.accept not in payloads:
            return Message(code=codes.NOT_ACCEPTABLE)
        return Message(payload=payloads[request.opt.accept], content_format=request.opt.accept or 0)


class Aged(resource.Resource):
    """A value that says how often it was asked for, and how long it is fresh: two seconds."""

    def __init__(self):
        super().__init__()
        self.count = 0

    async def render_get(self, request):
        self.count += 1
        return Message(payload=b"%d" % self.count, content_format=0, max_age=2)


class Upper(resource.Resource):
    async def render_post(self, request):
        return Message(code=codes.CHANGED, payload=request.payload.upper(), content_format=0)

    async def render_fetch(self, request):
        return Message(code=codes.CONTENT, payload=request.payload + LARGE, content_format=0)

    async def render_patch(self, request):
        return Message(code=codes.CHANGED, payload=b"PATCH")

    async def render_ipatch(self, request):
        return Message(code=codes.CHANGED, payload=b"iPATCH")


class Observed(resource.ObservableResource):
    """Its state is what was PUT last, with the format of that; DELETE ends it."""

    def __init__(self):
        super().__init__()
        self.state, self.format, self.is_there = b"first", 0, True

    async def render_get(self, request):
        if not self.is_there:
            return Message(code=codes.NOT_FOUND)
        return Message(payload=self.state, content_format=self.format, max_age=30)

    async def render_put(self, request):
        self.state, self.format, self.is_there = request.payload, request.opt.content_format or 0, True
        self.updated_state()
        return Message(code=codes.CHANGED)

    async def render_delete(self, request):
        self.is_there = False
        self.updated_state()
        return Message(code=codes.DELETED)


async def main():
    site = resource.Site()
    site.add_resource([".well-known", "core"], resource.WKCResource(site.get_resources_as_linkheader))
    for path, own in {
        "test": Value(b"hello"),
        "seg1/seg2/seg3": Value(b"segments"),
        "validate": Value(b"one"),
        "create1": Value(None),
        "separate": Separate(),
        "query": Query(),
        "location-query": Query(),
        "multi-format": Formats(),
        "aged": Aged(),
        "large": Value(LARGE),
        "large-update": Value(LARGE),
        "large-create": Value(LARGE),
        "large-post": Upper(),
        "obs": Observed(),
    }.items():
        site.add_resource(path.split("/"), own)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = await Context.create_server_context(site, bind=("127.0.0.1", port))
    print(f"port {port}", flush=True)
    # Until whoever started it closes standard input.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await context.shutdown()


asyncio.run(main())
