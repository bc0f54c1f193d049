"""A worker on a cluster, which Flink and Spark start on each machine to run stages in Python.

In Beam's container images a Go program does this. Here the packages are already installed, so there
is nothing to download: the engine passes its address, and Beam's own worker does the rest.
"""

import argparse
import os

import grpc
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc
from apache_beam.runners.worker import sdk_worker_main
from apache_beam.runners.worker.worker_id_interceptor import WorkerIdInterceptor
from google.protobuf import json_format, text_format


def main() -> None:
    """Runs stages until the engine closes the connection."""
    parser = argparse.ArgumentParser(prog="textrecords-worker", description=__doc__)
    parser.add_argument("--id", required=True, help="the engine's id of this worker")
    parser.add_argument("--provision_endpoint", required=True, help="of the engine: HOST:PORT")
    args, _ = parser.parse_known_args()
    WorkerIdInterceptor._worker_id = args.id
    info = _provision(args.provision_endpoint, args.id)
    os.environ |= {
        "WORKER_ID": args.id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
        "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.control_endpoint),
        "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.logging_endpoint),
    }
    sdk_worker_main.main([])


def _provision(url: str, worker_id: str) -> beam_provision_api_pb2.ProvisionInfo:
    """Gets the worker's configuration from the engine."""
    request = beam_provision_api_pb2.GetProvisionInfoRequest()
    with grpc.insecure_channel(url) as channel:
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        return service.GetProvisionInfo(request, metadata=[("worker_id", worker_id)]).info


if __name__ == "__main__":
    main()
