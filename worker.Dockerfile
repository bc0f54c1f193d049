FROM apache/beam_python3.11_sdk:2.77.0
# For --sdk_container_image of Beam (`docker build --file worker.Dockerfile .`): workers start with the
# packages that run stages, as they are locked, and this project; those of tests and reports stay out.
WORKDIR /textrecords
COPY requirements-worker.lock ./
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement requirements-worker.lock
COPY setup.py ./
COPY textrecords textrecords
COPY pipelines pipelines
COPY model model
RUN pip install --no-cache-dir --no-deps --no-build-isolation .
