"""An object store for tests: moto's server as a process, and clients of it."""

import os
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

from cloud.store.places import Bucket
from cloud.store.s3 import S3Blobs, new_client
from rehearsal.processes import Child, free_port, listens, wait_until

REGION = "eu-central-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}


class ObjectStore:
    """The server, and buckets in it."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        self._child = Child("object store", command, log=folder / "moto.log")
        wait_until(lambda: listens(port) or not self._child.running, within_s=30, what="the object store listening")
        self._child.require_running()
        os.environ.update(CREDENTIALS)  # boto3 finds them by its own chain
        self.client = new_client(self.endpoint, REGION)

    def bucket(self) -> Bucket:
        """A new one, with a prefix."""
        name = f"pictures-{uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return Bucket(name, "site/")

    def blobs(self, bucket: Bucket | None = None, **options: Any) -> S3Blobs:
        """Pictures in a bucket, by default in a new one."""
        return S3Blobs(self.client, bucket or self.bucket(), **options)

    def stop(self) -> None:
        self._child.stop()
