# All that the targets of the Makefile need, as it is locked. They keep what they write in data/ and
# out/, for a volume each.
FROM python:3.11-slim-bookworm
RUN apt-get update \
  && apt-get install --yes --no-install-recommends make \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /textrecords
COPY LICENSE Makefile pyproject.toml requirements.lock requirements-worker.lock setup.py ./
COPY textrecords textrecords
COPY model model
COPY pipelines pipelines
RUN make setup
ENTRYPOINT ["make"]
