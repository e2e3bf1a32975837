"""Queries grpc.health.v1: health.py ADDRESS check|watch|list [SERVICE]. One line per response."""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

address, method, service = (sys.argv[1:] + [""])[:3]
stub = health_pb2_grpc.HealthStub(grpc.insecure_channel(address))
word = health_pb2.HealthCheckResponse.ServingStatus.Name
request = health_pb2.HealthCheckRequest(service=service)

try:
    if method == "check":
        print(word(stub.Check(request, timeout=10).status))
    elif method == "watch":
        for answer in stub.Watch(request, wait_for_ready=True):
            print(word(answer.status), flush=True)
    elif method == "list":
        statuses = stub.List(health_pb2.HealthListRequest(), timeout=10).statuses
        for name in sorted(statuses):
            print(f"{name!r} {word(statuses[name].status)}")
except grpc.RpcError as error:
    print(error.code().name)
