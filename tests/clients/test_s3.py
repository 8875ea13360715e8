"""An S3 client against an S3 server: signed requests, streamed uploads, parts, ranges."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from tests.clients.passage import CREDENTIALS, Passage, without
from tests.clients.servers import program
from tests.kit import network

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

boto3 = pytest.importorskip("boto3", reason="boto3 is not installed (group clients)", exc_type=ImportError)
pytest.importorskip("moto", reason="moto is not installed (group clients)", exc_type=ImportError)
config = pytest.importorskip("botocore.config")

BODY = bytes(range(256)) * 4096
VARYING = {"x-amzn-requestid", "x-amz-request-id", "x-amz-id-2", "last-modified", "server", "date"}


@pytest.fixture(scope="module")
def passage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Passage]:
    """Two S3 servers and the proxy before them."""
    directory = tmp_path_factory.mktemp("s3")
    environment = {"MOTO_S3_CUSTOM_ENDPOINTS": "", "S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true", "PYTHONWARNINGS": "ignore"}

    def serve(name: str) -> Any:
        port = network.free_port()
        command = [sys.executable, "-m", "moto.server", "-H", network.HOST, "-p", str(port)]
        return program(command, port, environment=environment, log=directory / f"{name}.log")

    with serve("live") as live, serve("shadow") as shadow, Passage(live, shadow) as passage:
        yield passage


def connected(url: str, **options: Any) -> Any:
    """A client that signs, and retries nothing."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="secret",
        config=config.Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
        **options,
    )


@pytest.fixture
def s3(passage: Passage) -> Iterator[Any]:
    """A client that goes through the proxy."""
    passage.go_through()
    client = connected(passage.url)
    yield client
    client.close()


def bucket(passage: Passage, s3: Any, name: str) -> str:
    """A bucket of the test's own, at both servers."""
    s3.create_bucket(Bucket=name)
    passage.check()
    passage.forget()
    return name


def test_objects_there_and_back(passage: Passage, s3: Any) -> None:
    """Put, head, get, range, list and delete: signed fields, Host among them, arrive as they were signed."""
    passage.forget()
    name = bucket(passage, s3, "objects")
    key = "a key/with ü, + and %2F.bin"
    s3.put_object(Bucket=name, Key=key, Body=BODY, Metadata={"mine": "x  y"}, ContentType="application/x-test")
    assert s3.head_object(Bucket=name, Key=key)["ContentLength"] == len(BODY)
    assert s3.get_object(Bucket=name, Key=key)["Body"].read() == BODY
    assert s3.get_object(Bucket=name, Key=key, Range="bytes=5-99")["Body"].read() == BODY[5:100]
    assert [found["Key"] for found in s3.list_objects_v2(Bucket=name)["Contents"]] == [key]
    s3.delete_object(Bucket=name, Key=key)
    heard = passage.check()
    assert {answer.status for answer in heard} == {200, 204, 206}
    for request, _ in passage.live.exchanges():
        assert request.one("Host") == passage.url.removeprefix("http://")
        assert "SignedHeaders=" in request.one("Authorization")


def test_a_streamed_upload_is_chunked_inside_and_out(passage: Passage, tmp_path: Path) -> None:
    """Over TLS the client sends aws-chunked with a checksum as trailer, after `Expect: 100-continue`: that layer is not ours to undo."""
    authority = trustme.CA()
    leaf = authority.issue_cert(network.HOST)
    cert, key, ca = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    leaf.cert_chain_pems[0].write_to_path(cert)
    leaf.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(ca)
    tls = {"tls": {"cert": str(cert), "key": str(key)}}
    with Passage(passage.direct, passage.shadow.target, listener=tls) as secure:
        client = connected(secure.url.replace("http://", "https://"), verify=str(ca))
        client.create_bucket(Bucket="streams")
        client.put_object(Bucket="streams", Key="stream", Body=io.BytesIO(BODY), ChecksumAlgorithm="SHA256")
        assert client.get_object(Bucket="streams", Key="stream")["Body"].read() == BODY
        client.close()
        secure.settle()
        (live, _), (copy, _) = (
            next(pair for pair in relay.exchanges() if pair[0].method == "PUT" and pair[0].target == "/streams/stream")
            for relay in (secure.live, secure.shadow)
        )
        assert live.one("Content-Encoding") == "aws-chunked"
        assert live.one("X-Amz-Trailer").lower() == "x-amz-checksum-sha256"
        assert live.body.rstrip().rpartition(b"\r\n")[2].startswith(b"x-amz-checksum-sha256:")
        assert len(live.body) > len(BODY)
        assert copy.body == live.body
        assert secure.world.fates().keys() == {"paired"}


def test_multipart_upload(passage: Passage, s3: Any) -> None:
    """Parts of 5 MiB, completed in order, are one object; both servers hold the same."""
    name = bucket(passage, s3, "parts")
    large = BODY * 11
    part = 5 * 1024 * 1024
    upload = s3.create_multipart_upload(Bucket=name, Key="large")["UploadId"]
    # The servers draw upload ids of their own: the shadow cannot know live's. Its answers are outcomes like any other.
    parts = []
    for number, at in enumerate(range(0, len(large), part), 1):
        answer = s3.upload_part(Bucket=name, Key="large", UploadId=upload, PartNumber=number, Body=large[at : at + part])
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    s3.complete_multipart_upload(Bucket=name, Key="large", UploadId=upload, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=name, Key="large")["Body"].read() == large
    passage.check()
    assert sum(len(request.body) for request, _ in passage.live.exchanges() if request.method == "PUT") >= len(large)


def test_an_error_is_the_servers_own(passage: Passage, s3: Any) -> None:
    """An error document passes as it is, and the client makes its exception of it."""
    passage.forget()
    with pytest.raises(s3.exceptions.NoSuchBucket):
        s3.get_object(Bucket="no-such-bucket", Key="x")
    (answer,) = passage.check()
    assert answer.status == 404
    assert b"NoSuchBucket" in answer.body


def test_direct_and_through_agree(passage: Passage, s3: Any) -> None:
    """The same questions direct and through the proxy: the same answers, but for ids and times."""
    name = bucket(passage, s3, "agree")
    s3.put_object(Bucket=name, Key="k", Body=BODY)
    passage.check()
    heard = {}
    for way in (passage.go_direct, passage.go_through):
        way()
        passage.forget()
        client = connected(passage.url)
        client.get_object(Bucket=name, Key="k")["Body"].read()
        client.list_objects_v2(Bucket=name)
        client.close()
        answers = passage.heard_direct()
        heard[way.__name__] = [(one.target, one.status, without(one.fields, VARYING), one.body) for one in answers]
    passage.settle()
    assert heard["go_direct"] == heard["go_through"]


def test_signatures_stay_with_live_by_default(passage: Passage) -> None:
    """Unless asked to keep them, a copy carries no Authorization: what was signed for live is not shown to a shadow."""
    with Passage(passage.direct, passage.shadow.target, mirror={"credentials": "remove"}) as other:
        client = connected(other.url)
        client.list_buckets()
        client.close()
        other.settle()
        (live, _), (copy, _) = other.live.exchanges()[0], other.shadow.exchanges()[0]
        assert live.has("Authorization")
        assert not copy.has("Authorization")
        assert without(live.fields, CREDENTIALS, {"traceparent"}) == without(copy.fields, {"traceparent", "x-shadow-mirror"})
