# Kelly Edge to try with sound files: `play`, `demo`, and `rehearse` on JACK's dummy driver. Nothing of the host is used
# but a folder of music; compose.yaml says how. For a box that plays live see docs/deploy.md.
FROM debian:bookworm-slim AS build
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      build-essential pkg-config python3-dev python3-venv swig libasound2-dev libsystemd-dev
COPY . /src
RUN python3 -m venv /opt/kelly-edge \
 && PYPI=1 /opt/kelly-edge/bin/pip install --no-cache-dir '/src[box,report]'

FROM debian:bookworm-slim
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      python3 jackd2 libasound2 libasound2-plugins libportaudio2 fluidsynth fluid-soundfont-gm \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/kelly-edge /opt/kelly-edge
RUN mkdir -m 1777 /music
ENV PATH=/opt/kelly-edge/bin:/usr/bin:/bin HOME=/tmp
WORKDIR /music
ENTRYPOINT ["kelly-edge"]
CMD ["demo", "--out", "demo"]
