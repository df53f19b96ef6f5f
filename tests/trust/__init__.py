"""The promises of the kernel, gone through point by point: `make trust`. The tests run a part of each."""
