# The gateway as an image: built with Rust and Node, run by Node alone and not as root.
#
#   docker build --tag tidegate .
#   docker run --publish 7000:7000 --publish 5683:5683/udp \
#     --volume "$PWD/tidegate.config.yaml:/srv/tidegate/tidegate.config.yaml:ro" tidegate
#
# Without a configuration it listens on its own loopback only. One for a container
# listens on tcp://0.0.0.0:7000 and udp://0.0.0.0:5683, and says `auth`, or
# `anonymous: true` where the network may be trusted. Durable data: mount a volume that
# the user `node` may write to, and name it as `dataDir`.

FROM rust:1-bookworm AS native
WORKDIR /build
# What the library for DTLS is built with: of the base image's release, whatever version that has.
# hadolint ignore=DL3008
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends clang cmake ninja-build
COPY Cargo.toml Cargo.lock ./
COPY crates crates
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked -p tidegate-node --features dtls && \
    cp target/release/libtidegate_node.so /build/tidegate.node

FROM node:22-bookworm-slim AS control
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm install --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY bin bin
RUN node node_modules/typescript/bin/tsc -p tsconfig.build.json && \
    node bin/dashboard.mjs && \
    npm prune --omit=dev --no-audit --no-fund

FROM node:22-bookworm-slim
ENV NODE_ENV=production TIDEGATE_NATIVE=/opt/tidegate/tidegate.node
WORKDIR /srv/tidegate
RUN chown node:node /srv/tidegate && ln -s /opt/tidegate/bin/tidegate.mjs /usr/local/bin/tidegate
COPY package.json /opt/tidegate/
COPY --chmod=755 bin/tidegate.mjs /opt/tidegate/bin/
COPY --from=control /build/node_modules /opt/tidegate/node_modules
COPY --from=control /build/dist /opt/tidegate/dist
COPY --from=native /build/tidegate.node /opt/tidegate/
# The user `node` of the image, by number: so that whoever runs it can see that it is not root.
USER 1000:1000
EXPOSE 7000 5683/udp 7001
# The admin address of the defaults; a configuration that moves it says so here too.
ENV TIDEGATE_HEALTH=http://127.0.0.1:7001/health
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s \
    CMD ["node", "-e", "fetch(process.env.TIDEGATE_HEALTH).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/opt/tidegate/bin/tidegate.mjs"]
CMD ["run"]
