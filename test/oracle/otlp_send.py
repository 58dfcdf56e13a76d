#!/usr/bin/env python3
"""Sends the right requests of otlp_requests.py to an OTLP receiver: what the
receivers of the tests are tried with before the library is.
"""

from __future__ import annotations

import argparse
import sys
import urllib.request

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from otlp_requests import REQUEST, traces

STUBS = {"traces": TraceServiceStub, "metrics": MetricsServiceStub, "logs": LogsServiceStub}
TIMEOUT_S = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("protocol", choices=("grpc", "http"))
    parser.add_argument("address", help="HOST:PORT")
    parser.add_argument("signal", choices=tuple(STUBS))
    parser.add_argument("--spans", type=int, default=1)
    given = parser.parse_args()
    request = traces(given.spans) if given.signal == "traces" else REQUEST[given.signal]()
    if given.protocol == "grpc":
        with grpc.insecure_channel(given.address) as channel:
            STUBS[given.signal](channel).Export(request, timeout=TIMEOUT_S, wait_for_ready=True)
    else:
        url = f"http://{given.address}/v1/{given.signal}"
        headers = {"Content-Type": "application/x-protobuf"}
        with urllib.request.urlopen(
            urllib.request.Request(url, request.SerializeToString(), headers), timeout=TIMEOUT_S
        ):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
