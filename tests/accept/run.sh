#!/usr/bin/env bash
# The acceptance run: large objects, kills, outages. Called by `make accept` inside `parts.sh run`; about ten minutes.
#
#   parts.sh run -- tests/accept/run.sh [--quick]    --quick: 60 jobs and nothing larger than 512 MiB, for development
#
# CIPHERMILL_TEST_BIN is the program under test (a release build), CIPHERMILL_TEST_DRIVER the example `accept`
# (default: examples/accept beside it).
set -euo pipefail

: "${CIPHERMILL_TEST_GARAGE:?runs inside tests/support/parts.sh run -- ...}" "${CIPHERMILL_TEST_BIN:?a release build of ciphermill}"
export AWS_ACCESS_KEY_ID="$CIPHERMILL_TEST_GARAGE_KEY" AWS_SECRET_ACCESS_KEY="$CIPHERMILL_TEST_GARAGE_SECRET"
export AWS_REGION=us-east-1 AWS_ENDPOINT_URL="$CIPHERMILL_TEST_GARAGE" AWS_EC2_METADATA_DISABLED=true
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL_S3 AWS_ENDPOINT_URL_KMS
exec "${CIPHERMILL_TEST_DRIVER:-$(dirname "$CIPHERMILL_TEST_BIN")/examples/accept}" "$@"
