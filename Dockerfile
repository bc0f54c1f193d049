FROM apache/beam_python3.11_sdk:2.77.0
# For --sdk_container_image: workers start with all packages, as they are locked, and this project.
WORKDIR /textrecords
COPY requirements.lock ./
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.lock
COPY setup.py ./
COPY textrecords textrecords
COPY pipelines pipelines
COPY model model
RUN pip install --no-cache-dir --no-deps --no-build-isolation .
