"""Nothing lost, nothing doubled: from a counted pass to the cloud's own acknowledgement."""
