"""On the Raspberry Pi: pixels become passes, and no pass is lost on the way to the cloud."""
