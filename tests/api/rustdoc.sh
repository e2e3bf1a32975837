#!/bin/sh
# rustdoc with its unstable features.
RUSTC_BOOTSTRAP=1 exec rustdoc "$@"
