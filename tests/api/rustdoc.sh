#!/bin/sh
# rustdoc, with what is not stable yet.
RUSTC_BOOTSTRAP=1 exec rustdoc "$@"
